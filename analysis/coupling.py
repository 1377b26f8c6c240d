"""What every coupling of channels offers: symbols and matrices from stencils (theory §1).

    (K y)[o, x] = sum_i sum_p k[o, i, p] y[i, x + p]            (cross-correlation, as PyTorch)
    K^(w)[o, i] = sum_p k[o, i, p] exp(i p.w)

Weights are arrays of any namespace with the spatial axes last; formulas are differentiable. The
couplings themselves are in ``analysis.couplings``.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp

from analysis.backend import (
    Array,
    accelerated,
    detach,
    like,
    namespace,
    records_gradient,
    to_double,
    to_numpy,
)
from analysis.gram import Gram, SymbolGram, phases, rounding_bound
from analysis.grid import Grid, offsets
from analysis.stencils import shift_matrix, star_mask
from analysis.symbols import Symbol, alias
from analysis.taps import require


@dataclass(frozen=True, eq=False)
class Coupling(ABC):
    """A convolution operator with a given coupling of its channels.

    Attributes:
        stride: step of the output pixels, the same on every axis.
        dilation: distance of neighbouring taps in pixels, the same on every axis.
        five_point: stencils without corners (five of the nine points of a 3x3 stencil).

    Raises:
        InputError: for wrong shapes, even stencils, non-positive strides or groups and for
            corners that are not zero in a five-point stencil.
    """

    name: ClassVar[str]
    _channel_axes: ClassVar[int]
    stride: int = field(default=1, kw_only=True)
    dilation: int = field(default=1, kw_only=True)
    five_point: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        self._check_shapes()
        for array in self._arrays().values():
            kind = namespace(array).isdtype(array.dtype, "complex floating")
            require(not kind, "real weights", f"weights of type {array.dtype}", "pass their parts")
        sizes = self.kernel_shape
        require(
            all(k % 2 == 1 for k in sizes),
            "an odd number of taps an axis",
            sizes,
            "pad the stencil",
        )
        require(1 <= self.dimension <= 3, "1 to 3 spatial axes", sizes, "check the shape")
        for name in ("stride", "dilation"):
            number = getattr(self, name)
            require(
                isinstance(number, int | np.integer) and bool(number >= 1),
                f"a whole {name} of at least 1",
                number,
                "pass 1 or 2",
            )
        if self.five_point:
            corners = to_numpy(self._stencils())[..., ~star_mask(sizes)]
            require(
                not corners.any(),
                "zero corners in a five-point stencil",
                "non-zero corners",
                "pass five_point=False",
            )

    def _arrays(self) -> dict[str, Array]:
        """The fields that hold weights."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.type == "Array"}

    def weights_by_name(self) -> dict[str, Array]:
        """The arrays of weights, those of parts numbered."""
        return self._arrays()

    def records_gradient(self) -> bool:
        """Whether automatic differentiation follows a weight."""
        return any(records_gradient(array) for array in self._arrays().values())

    @abstractmethod
    def _check_shapes(self) -> None:
        """Raise InputError where the arrays do not have the shapes of the coupling."""

    @abstractmethod
    def _stencils(self) -> Array:
        """The array with the spatial axes, shape ``(..., *kernel_shape)``."""

    @property
    @abstractmethod
    def channels_out(self) -> int:
        """Number of output channels."""

    @property
    @abstractmethod
    def channels_in(self) -> int:
        """Number of input channels."""

    @property
    @abstractmethod
    def weights(self) -> int:
        """Number of weights the structure has (theory §2)."""

    @abstractmethod
    def dense_weight(self) -> Array:
        """The stencils of all blocks, shape ``(c_out, c_in, *kernel_shape)``."""

    @abstractmethod
    def _symbol_unstrided(self, phases: Array, *, constant: bool) -> Symbol:
        """Symbol from ``phases[f, t] = exp(i w_f . p_t)`` or derivatives of them, ``(F, taps)``.

        ``constant`` says whether a part that does not depend on the frequency counts.
        """

    @abstractmethod
    def gram(self) -> Gram:
        """``K^(w)^* K^(w)`` or ``K^(w) K^(w)^*``, whichever is smaller, in tightest structure."""

    @abstractmethod
    def tap_norms(self) -> float:
        """``sum_p ||K_p||_F`` over the matrices of the taps, a bound of the norm."""

    @abstractmethod
    def scale_rows(self, scale: Array) -> Coupling:
        """``diag(scale) K`` in the tightest structure that holds it; ``scale`` is ``(c_out,)``."""

    def form_gradients(
        self, frequency: np.ndarray, group: int, left: np.ndarray, right: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """Derivatives of ``Re u* K^(w) v`` by the weights, in which it is linear.

        Args:
            frequency: ``w``, shape ``(d,)``.
            group: the diagonal block of the symbol.
            left, right: ``u`` and ``v`` of the block, NumPy.

        Returns:
            NumPy arrays by the names of the fields that hold weights, or None where the structure
            has no short form for them (a stride, parts, rows of a circulant).
        """
        if self.stride > 1:
            return None
        turned = phases(frequency[None, :], self.offsets)[0]
        return self._form_gradients(turned, group, left, right)

    def _form_gradients(
        self, turned: np.ndarray, group: int, left: np.ndarray, right: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """``form_gradients`` from the phases of the taps, shape ``(taps,)``, for stride 1."""
        return None

    def group_bases(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """Orthonormal columns of the outputs and inputs that a block of the symbol acts between.

        Shapes ``(c_out, rows)`` and ``(c_in, columns)``, of the block without the columns that a
        stride adds.
        """
        return np.eye(self.channels_out), np.eye(self.channels_in)

    def oscillation(self) -> float:
        """A bound of ``sup_w ||K^(w) - M||`` for some constant ``M``; infinite if none is cheap."""
        return math.inf

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Number of taps of every axis."""
        return tuple(int(k) for k in self._stencils().shape[self._channel_axes :])

    @property
    def dimension(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel_shape)

    @property
    def radius(self) -> tuple[int, ...]:
        """Reach of the stencil on every axis, the degree of the symbol in each frequency."""
        return tuple(self.dilation * (k // 2) for k in self.kernel_shape)

    @property
    def offsets(self) -> np.ndarray:
        """Offsets of the taps in pixels, row-major, shape ``(taps, dimension)``."""
        return self.dilation * offsets(self.kernel_shape)

    @property
    def taps(self) -> int:
        """Number of points of a stencil: 9 or 5 for 3x3."""
        if self.five_point:
            return int(star_mask(self.kernel_shape).sum())
        return math.prod(self.kernel_shape)

    @property
    def multiply_adds_per_pixel(self) -> int:
        """Multiply-adds an output pixel of the operator as PDENet applies it (theory §2).

        Equal to the number of weights, except for circulant, which is applied through its dense
        weight or a Fourier transform of its channels.
        """
        return self.weights

    def symbol_at(self, frequencies: np.ndarray) -> Symbol:
        """Symbol at any frequencies.

        Args:
            frequencies: NumPy array ``(F, dimension)`` in radians a pixel of the input grid. A
                strided operator folds ``w + 2 pi j / stride`` onto ``w``.
        """
        frequencies = np.asarray(frequencies, dtype=float)
        require(
            frequencies.ndim == 2 and frequencies.shape[1] == self.dimension,
            f"frequencies of shape (F, {self.dimension})",
            frequencies.shape,
            "pass one row a frequency",
        )
        taps = self.offsets
        return self._fold([phases(w, taps) for w in self.folded(frequencies)], constant=True)

    def derivatives_at(self, frequency: np.ndarray, orders: Sequence[tuple[int, ...]]) -> Array:
        """Derivatives of the symbol at one frequency, shape ``(orders, g, rows, columns)``.

        Args:
            frequency: shape ``(dimension,)``, radians a pixel.
            orders: how often to differentiate by every component, positive for one at least.
        """
        taps = self.offsets
        factors = np.prod((1j * taps) ** np.array(orders)[:, None, :], axis=-1)
        turned = [phases(w, taps) * factors for w in self.folded(frequency[None, :])]
        return self._fold(turned, constant=False).blocks()

    def _fold(self, turned: list[np.ndarray], *, constant: bool) -> Symbol:
        """Symbol from the phases of the frequencies that the stride folds onto each other."""
        stencils = self._stencils()
        symbols = [
            self._symbol_unstrided(like(values, stencils, complex_=True), constant=constant)
            for values in turned
        ]
        return symbols[0] if len(symbols) == 1 else alias(symbols, len(symbols) ** -0.5)

    def folded(self, frequencies: np.ndarray) -> list[np.ndarray]:
        """The ``stride^d`` sets of frequencies that the stride folds onto those given."""
        shifts = itertools.product(range(self.stride), repeat=self.dimension)
        return [frequencies + 2 * np.pi * np.array(shift) / self.stride for shift in shifts]

    @property
    def by_columns(self) -> bool:
        """Whether the symbol has more rows than columns, the columns of a stride counted."""
        return self.channels_out > self.channels_in * self.stride**self.dimension

    def symbol_gram(self, groups: int = 1) -> SymbolGram:
        """Gram matrices by products of symbols that have so many diagonal blocks."""
        columns = self.channels_in * self.stride**self.dimension
        size = min(self.channels_out, columns) // groups
        terms = max(self.channels_out, columns) + self.taps
        bound = rounding_bound(terms, self.tap_norms())
        return SymbolGram(groups, size, bound, lambda w: self.symbol_at(w).blocks())

    def symbol(self, grid: Grid) -> Symbol:
        """Symbol at the frequencies of a grid, in row-major order.

        Args:
            grid: the input grid; periodic, or replicate / reflect where ``has_cosine_transform``
                holds.

        Raises:
            InputError: for a grid of another dimension, for zero padding, for stencils that the
                cosine transform does not diagonalise and for sizes the stride does not divide.
        """
        return self.symbol_at(self.grid_frequencies(grid))

    def grid_frequencies(self, grid: Grid) -> np.ndarray:
        """Frequencies of the symbol on a grid in row-major order, ``(F, dimension)``."""
        return self.output_grid(grid).frequencies() / self.stride

    def half_frequencies(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies without their mirror images, and how often each counts (``Grid``)."""
        frequencies, multiplicity = self.output_grid(grid).half_frequencies()
        return frequencies / self.stride, multiplicity

    def axis_frequencies(self, grid: Grid) -> list[np.ndarray]:
        """Frequencies of every axis, the first of a periodic grid without its second half."""
        coarse = self.output_grid(grid)
        axes = [coarse.axis_frequencies(axis) / self.stride for axis in range(grid.dimension)]
        if grid.boundary == "periodic":
            axes[0] = axes[0][: len(axes[0]) // 2 + 1]
        return axes

    def output_grid(self, grid: Grid) -> Grid:
        """The grid of the output pixels, whose transform diagonalises the operator."""
        self._check_dimension(grid)
        if grid.boundary in ("reflect", "replicate"):
            require(
                self.has_cosine_transform(grid.boundary),
                "stencils even in each axis and stride 1 for a cosine transform (of at most 3 "
                "taps an axis for replicate)",
                f"{self.name} with {self.kernel_shape} taps and boundary {grid.boundary}",
                "use the norm interval instead",
            )
        if grid.boundary == "reflect":
            reach = max(self.radius)
            require(
                min(grid.shape) > reach,
                f"at least {reach + 1} pixels an axis",
                grid.shape,
                "use a larger image",
            )
        divisible = all(n % self.stride == 0 for n in grid.shape)
        require(
            divisible, f"a grid that stride {self.stride} divides", grid.shape, "change the size"
        )
        return Grid(tuple(n // self.stride for n in grid.shape), boundary=grid.boundary)

    def _check_dimension(self, grid: Grid) -> None:
        axes = self.dimension
        require(grid.dimension == axes, f"a grid of {axes} axes", grid.shape, "match the stencil")

    def has_cosine_transform(self, boundary: str) -> bool:
        """Whether the DCT-II (replicate) or DCT-I (reflect) diagonalises the operator.

        It takes stencils that are even in each axis, and for replicate a reach of one pixel: the
        edge repeated twice is no half-sample symmetric extension.
        """
        reach = {"replicate": 1, "reflect": max(self.radius)}.get(boundary, -1)
        return self.stride == 1 and max(self.radius) <= reach and self.axis_even()

    def axis_even(self) -> bool:
        """Whether every stencil is even in EACH axis, ``k[p, q] = k[-p, q] = k[p, -q]``."""
        stencils = to_numpy(self._stencils())
        axes = range(stencils.ndim - self.dimension, stencils.ndim)
        return all(np.array_equal(stencils, np.flip(stencils, axis)) for axis in axes)

    def to_sparse(self, grid: Grid) -> sp.csr_matrix:
        """The operator as a SciPy matrix, built from shifts (NumPy only).

        Rows and columns run over channels first, then over pixels in row-major order; a strided
        operator keeps every ``stride``-th pixel. Works for all four boundaries.
        """
        weight = to_numpy(self.dense_weight()).astype(float)
        shifts = self.shift_matrices(grid)
        rows, columns = shifts[0].shape
        total = sp.csr_matrix((weight.shape[0] * rows, weight.shape[1] * columns))
        flat = weight.reshape(*weight.shape[:2], -1)
        for tap, shift in enumerate(shifts):
            if flat[..., tap].any():
                total = total + sp.kron(sp.csr_matrix(flat[..., tap]), shift, format="csr")
        return total

    def shift_matrices(self, grid: Grid) -> list[sp.csr_matrix]:
        """Sparse ``(pixels_out, pixels)`` matrix of every tap: shifts, thinned by the stride."""
        self._check_dimension(grid)
        pixels = np.arange(grid.size).reshape(grid.shape)
        kept = pixels[tuple(slice(None, None, self.stride) for _ in grid.shape)].ravel()
        return [shift_matrix(tuple(offset), grid)[kept] for offset in self.offsets]

    def to_dense(self, grid: Grid) -> np.ndarray:
        """The operator as a dense NumPy matrix, ``(c_out * pixels_out, c_in * pixels)``."""
        return self.to_sparse(grid).toarray()

    def double(self) -> Self:
        """The coupling with detached float64 weights, as certificates need them."""
        return replace(self, **{name: to_double(a) for name, a in self._arrays().items()})

    @property
    def real_type(self) -> Any:
        """Precision of the singular values, a dtype of the namespace of the weights."""
        return like(np.zeros(0), self._stencils()).dtype

    @property
    def accelerated(self) -> bool:
        """Whether the weights are on a device other than the CPU."""
        return accelerated(self._stencils())

    def numpy(self) -> Self:
        """The coupling with detached NumPy weights of the same precision."""
        arrays: dict[str, Array] = {name: to_numpy(a) for name, a in self._arrays().items()}
        return replace(self, **arrays)

    def largest_weight(self) -> float:
        """Largest modulus of a weight.

        Raises:
            InputError: where a weight is not finite.
        """
        arrays = [detach(array) for array in self._arrays().values()]
        largest = float(np.max([float(namespace(a).max(namespace(a).abs(a))) for a in arrays]))
        remedy = "use a checkpoint before the divergence"
        require(math.isfinite(largest), "finite weights", "nan or inf", remedy)
        return largest

    def times(self, factor: float) -> Self:
        """The operator times a number, in the same structure."""
        return replace(self, **{name: factor * a for name, a in self._arrays().items()})
