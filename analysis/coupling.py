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
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp

from analysis.backend import Array, detach, like, namespace, to_double, to_numpy
from analysis.errors import InputError
from analysis.grid import Grid, offsets
from analysis.stencils import shift_matrix, star_mask
from analysis.symbols import Symbol, alias


def require(condition: bool, expected: str, got: object, remedy: str) -> None:
    """Raise InputError unless the condition holds."""
    if not condition:
        raise InputError(expected, got, remedy)


@dataclass(frozen=True, eq=False)
class Coupling(ABC):
    """A convolution operator with a given coupling of its channels.

    Attributes:
        stride: step of the output pixels, the same on every axis.
        five_point: stencils without corners (five of the nine points of a 3x3 stencil).

    Raises:
        InputError: for wrong shapes, even stencils, non-positive strides or groups and for
            corners that are not zero in a five-point stencil.
    """

    name: ClassVar[str]
    _channel_axes: ClassVar[int]
    stride: int = field(default=1, kw_only=True)
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
        stride = self.stride
        require(
            isinstance(stride, int | np.integer) and stride >= 1,
            "a whole stride of at least 1",
            stride,
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
    def _symbol_unstrided(self, phases: Array) -> Symbol:
        """Symbol from ``phases[f, t] = exp(i w_f . p_t)``, shape ``(F, taps)``."""

    @abstractmethod
    def scale_rows(self, scale: Array) -> Coupling:
        """``diag(scale) K`` in the tightest structure that holds it; ``scale`` is ``(c_out,)``."""

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
        return tuple(k // 2 for k in self.kernel_shape)

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
        weight and costs as much as full.
        """
        return self.weights

    def symbol_at(self, frequencies: np.ndarray) -> Symbol:
        """Symbol at any frequencies.

        Args:
            frequencies: NumPy array ``(F, dimension)`` in radians a pixel of the input grid. A
                strided operator folds ``w + 2 pi j / stride`` onto ``w``.
        """
        frequencies = np.asarray(frequencies, dtype=float)
        taps = offsets(self.kernel_shape)
        require(
            frequencies.ndim == 2 and frequencies.shape[1] == taps.shape[1],
            f"frequencies of shape (F, {taps.shape[1]})",
            frequencies.shape,
            "pass one row a frequency",
        )
        shifts = itertools.product(range(self.stride), repeat=self.dimension)
        symbols = []
        for shift in shifts:
            aliased = frequencies + 2 * np.pi * np.array(shift) / self.stride
            phases = like(np.exp(1j * aliased @ taps.T), self._stencils(), complex_=True)
            symbols.append(self._symbol_unstrided(phases))
        if self.stride == 1:
            return symbols[0]
        return alias(symbols, self.stride ** (-self.dimension / 2))

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

    def grid_frequencies(self, grid: Grid, *, half: bool = False) -> np.ndarray:
        """Frequencies of the symbol on a grid, ``(F, dimension)``; ``half`` drops conjugates."""
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
        coarse = Grid(tuple(n // self.stride for n in grid.shape), boundary=grid.boundary)
        frequencies = coarse.half_frequencies()[0] if half else coarse.frequencies()
        return frequencies / self.stride

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
        return [shift_matrix(tuple(offset), grid)[kept] for offset in offsets(self.kernel_shape)]

    def to_dense(self, grid: Grid) -> np.ndarray:
        """The operator as a dense NumPy matrix, ``(c_out * pixels_out, c_in * pixels)``."""
        return self.to_sparse(grid).toarray()

    def double(self) -> Self:
        """The coupling with detached float64 weights, as certificates need them."""
        return replace(self, **{name: to_double(a) for name, a in self._arrays().items()})

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


def check_axes(name: str, array: Array, axes: int) -> None:
    """Raise InputError unless the array has so many channel axes and 1 to 3 spatial ones."""
    spatial = array.ndim - axes
    expected = f"{name} of {axes} channel and 1 to 3 spatial axes"
    got = f"shape {tuple(array.shape)}"
    require(1 <= spatial <= 3, expected, got, "reshape the weights")
    require(min(array.shape) >= 1, "at least one channel and one tap an axis", got, "add some")


def check_scale(scale: Array, channels: int) -> None:
    """Raise InputError unless there is one scale an output channel."""
    shape = tuple(scale.shape)
    require(shape == (channels,), f"a scale of shape ({channels},)", shape, "one number a channel")


def flatten_taps(stencils: Array, channel_axes: int) -> Array:
    """Stencils as rows of taps, shape ``(..., taps)``."""
    return namespace(stencils).reshape(stencils, (*stencils.shape[:channel_axes], -1))


def transform(stencils: Array, phases: Array) -> Array:
    """Symbols of stencils ``(..., taps)`` at the phases ``(F, taps)``, shape ``(F, ...)``."""
    xp = namespace(stencils)
    flat = xp.reshape(stencils, (-1, stencils.shape[-1]))
    values = phases @ xp.matrix_transpose(xp.astype(flat, phases.dtype))
    return xp.reshape(values, (phases.shape[0], *stencils.shape[:-1]))


def column(scale: Array, reference: Array) -> Array:
    """A scale of the output channels, shaped to multiply the leading axis of the reference."""
    check_scale(scale, int(reference.shape[0]))
    return namespace(scale).reshape(scale, (-1,) + (1,) * (reference.ndim - 1))
