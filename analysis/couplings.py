"""The six couplings of channels as data (theory §2), after arXiv 1805.07821.

Each class holds its weights, knows how many there are and gives its symbol in the tightest
structure; the common part is in ``analysis.coupling``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from analysis.backend import Array, detach, device, like, namespace, to_numpy
from analysis.coupling import (
    Coupling,
    check_axes,
    check_scale,
    column,
    flatten_taps,
    form_gradient,
    frobenius_norms,
    require,
    taps_first,
    transform,
)
from analysis.gram import Gram, block_gram, lean_gram, phases
from analysis.symbols import BlockSymbol, LeanSymbol, ScalarSymbol, Symbol


@dataclass(frozen=True, eq=False)
class Full(Coupling):
    """A stencil in every block.

    Attributes:
        weight: shape ``(c_out, c_in, *kernel_shape)``.
    """

    name: ClassVar[str] = "full"
    _channel_axes: ClassVar[int] = 2
    weight: Array

    def _check_shapes(self) -> None:
        check_axes("weights", self.weight, 2)

    def _stencils(self) -> Array:
        return self.weight

    @property
    def channels_out(self) -> int:
        """Number of output channels."""
        return int(self.weight.shape[0])

    @property
    def channels_in(self) -> int:
        """Number of input channels."""
        return int(self.weight.shape[1])

    @property
    def weights(self) -> int:
        """``taps c_out c_in``."""
        return self.taps * self.channels_out * self.channels_in

    def dense_weight(self) -> Array:
        """The weights themselves."""
        return self.weight

    def _symbol_unstrided(self, phases: Array, *, constant: bool) -> Symbol:
        return BlockSymbol(transform(flatten_taps(self.weight, 2), phases)[:, None, :, :])

    def form_gradients(
        self, frequency: np.ndarray, group: int, left: np.ndarray, right: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """``Re(conj(u) v^T exp(i p.w))``; None for a stride."""
        if self.stride > 1:
            return None
        turned = phases(frequency[None, :], self.offsets)[0]
        return {"weight": form_gradient(left, right, turned).reshape(self.weight.shape)}

    def gram(self) -> Gram:
        """The Gram polynomial of one block."""
        taps = taps_first(self.weight, 2)[:, None, :, :]
        return block_gram(self.offsets, taps, self.stride, self.tap_norms(), self.symbol_gram())

    def tap_norms(self) -> float:
        """``sum_p ||K_p||_F``."""
        return frobenius_norms(self.weight, 2)

    def scale_rows(self, scale: Array) -> Full:
        """``diag(scale) K``."""
        return replace(self, weight=self.weight * column(scale, self.weight))


@dataclass(frozen=True, eq=False)
class Depthwise(Coupling):
    """Stencils on the diagonal blocks only.

    Attributes:
        stencils: shape ``(c, *kernel_shape)``.
    """

    name: ClassVar[str] = "depthwise"
    _channel_axes: ClassVar[int] = 1
    stencils: Array

    def _check_shapes(self) -> None:
        check_axes("stencils", self.stencils, 1)

    def _stencils(self) -> Array:
        return self.stencils

    @property
    def channels_out(self) -> int:
        """Number of channels."""
        return int(self.stencils.shape[0])

    @property
    def channels_in(self) -> int:
        """Number of channels."""
        return self.channels_out

    @property
    def weights(self) -> int:
        """``taps c``."""
        return self.taps * self.channels_out

    def dense_weight(self) -> Array:
        """Stencils on the diagonal, zeros off it."""
        return _on_diagonal(self.stencils, self.channels_out, self.channels_in)

    def _symbol_unstrided(self, phases: Array, *, constant: bool) -> Symbol:
        return ScalarSymbol(transform(flatten_taps(self.stencils, 1), phases))

    def form_gradients(
        self, frequency: np.ndarray, group: int, left: np.ndarray, right: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """``Re(conj(u) v exp(i p.w))`` in the channel; None for a stride."""
        if self.stride > 1:
            return None
        gradient = np.zeros(self.stencils.shape, dtype=left.real.dtype)
        turned = phases(frequency[None, :], self.offsets)[0]
        gradient[group] = form_gradient(left, right, turned).reshape(self.kernel_shape)
        return {"stencils": gradient}

    def group_bases(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """The channel itself."""
        unit = np.eye(self.channels_out)[:, [group]]
        return unit, unit

    def gram(self) -> Gram:
        """Squares of moduli, one block a channel."""
        return self.symbol_gram(self.channels_out)

    def tap_norms(self) -> float:
        """``sum_p ||K_p||_F``."""
        return frobenius_norms(self.stencils, 1)

    def scale_rows(self, scale: Array) -> Depthwise:
        """``diag(scale) K``."""
        return replace(self, stencils=self.stencils * column(scale, self.stencils))


def _on_diagonal(stencils: Array, channels_out: int, channels_in: int) -> Array:
    """Stencils ``(m, *k)`` on the leading diagonal blocks, shape ``(c_out, c_in, *k)``."""
    m, spatial = stencils.shape[0], (1,) * (stencils.ndim - 1)
    eye = like(np.eye(m, channels_in), stencils)
    dense = stencils[:, None, ...] * namespace(stencils).reshape(eye, (m, channels_in, *spatial))
    if channels_out == m:
        return dense
    xp = namespace(stencils)
    rest = xp.zeros_like(dense[:1])
    return xp.concat([dense] + [rest] * (channels_out - m), axis=0)


@dataclass(frozen=True, eq=False)
class Pointwise(Coupling):
    """One number in every block (a 1x1 convolution).

    Attributes:
        matrix: shape ``(c_out, c_in)``.
        spatial_axes: number of spatial axes it acts on.
    """

    name: ClassVar[str] = "pointwise"
    _channel_axes: ClassVar[int] = 2
    matrix: Array
    spatial_axes: int = 2

    def _check_shapes(self) -> None:
        got = f"shape {tuple(self.matrix.shape)}"
        require(self.matrix.ndim == 2, "a matrix (c_out, c_in)", got, "drop the spatial axes")
        require(min(self.matrix.shape) >= 1, "at least one channel", got, "add some")

    def _stencils(self) -> Array:
        return self.dense_weight()

    @property
    def channels_out(self) -> int:
        """Number of output channels."""
        return int(self.matrix.shape[0])

    @property
    def channels_in(self) -> int:
        """Number of input channels."""
        return int(self.matrix.shape[1])

    @property
    def weights(self) -> int:
        """``c_out c_in``."""
        return self.channels_out * self.channels_in

    def dense_weight(self) -> Array:
        """The matrix with spatial axes of one tap."""
        shape = (*self.matrix.shape, *(1,) * self.spatial_axes)
        return namespace(self.matrix).reshape(self.matrix, shape)

    def _symbol_unstrided(self, phases: Array, *, constant: bool) -> Symbol:
        return LeanSymbol(self.matrix if constant else 0 * self.matrix, phases[:, :0])

    def form_gradients(
        self, frequency: np.ndarray, group: int, left: np.ndarray, right: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """``Re(conj(u) v^T)``; None for a stride."""
        if self.stride > 1:
            return None
        return {"matrix": np.real(np.conj(left)[:, None] * right)}

    def gram(self) -> Gram:
        """One product for all frequencies."""
        if self.by_columns and self.stride > 1:
            return self.symbol_gram()
        none = self.matrix[:0, :0]
        return lean_gram(self.matrix, lambda w: (none, none), self.by_columns, self.tap_norms(), 0)

    def tap_norms(self) -> float:
        """``||K||_F``."""
        return frobenius_norms(self.matrix[..., None], 2)

    def scale_rows(self, scale: Array) -> Pointwise:
        """``diag(scale) K``."""
        return replace(self, matrix=self.matrix * column(scale, self.matrix))


@dataclass(frozen=True, eq=False)
class Lean(Coupling):
    """Stencils on the diagonal blocks, one number (the centre) off them (1805.07821).

    Attributes:
        matrix: centres of all blocks, shape ``(c_out, c_in)``.
        stencils: the other taps of the diagonal blocks, shape ``(min(c_out, c_in), *kernel_shape)``
            with a zero centre (it belongs to ``matrix``).
    """

    name: ClassVar[str] = "lean"
    _channel_axes: ClassVar[int] = 1
    matrix: Array
    stencils: Array

    def _check_shapes(self) -> None:
        check_axes("stencils", self.stencils, 1)
        smaller = min(self.matrix.shape) if self.matrix.ndim == 2 else None
        require(
            smaller == self.stencils.shape[0],
            "a matrix (c_out, c_in) and min(c_out, c_in) stencils",
            f"shapes {tuple(self.matrix.shape)} and {tuple(self.stencils.shape)}",
            "give one stencil a diagonal block",
        )
        centre = tuple(k // 2 for k in self.stencils.shape[1:])
        require(
            not to_numpy(self.stencils)[(slice(None), *centre)].any(),
            "stencils with a zero centre",
            "a non-zero centre",
            "add the centre to the diagonal of the matrix",
        )

    def _stencils(self) -> Array:
        return self.stencils

    @property
    def channels_out(self) -> int:
        """Number of output channels."""
        return int(self.matrix.shape[0])

    @property
    def channels_in(self) -> int:
        """Number of input channels."""
        return int(self.matrix.shape[1])

    @property
    def weights(self) -> int:
        """``c_out c_in + (taps - 1) min(c_out, c_in)``."""
        off_centre = (self.taps - 1) * min(self.channels_out, self.channels_in)
        return self.channels_out * self.channels_in + off_centre

    def dense_weight(self) -> Array:
        """Stencils on the diagonal plus the matrix at the centre."""
        stencils, xp = self.stencils, namespace(self.stencils)
        centre = np.zeros(self.kernel_shape)
        centre[self.radius] = 1
        matrix = xp.reshape(self.matrix, (*self.matrix.shape, *(1,) * self.dimension))
        diagonal = _on_diagonal(stencils, self.channels_out, self.channels_in)
        return diagonal + matrix * like(centre, stencils)

    def _symbol_unstrided(self, phases: Array, *, constant: bool) -> Symbol:
        matrix = self.matrix if constant else 0 * self.matrix
        return LeanSymbol(matrix, transform(flatten_taps(self.stencils, 1), phases))

    def gram(self) -> Gram:
        """One product for all frequencies, and diagonals."""
        if self.by_columns and self.stride > 1:
            return self.symbol_gram()
        size = int(self.stencils.shape[0])
        diagonals, norms = self._folded_diagonals, self.tap_norms()
        return lean_gram(self.matrix, diagonals, self.by_columns, norms, size)

    def form_gradients(
        self, frequency: np.ndarray, group: int, left: np.ndarray, right: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """``Re(conj(u) v^T)``, and that of the diagonal times the phases; None for a stride."""
        if self.stride > 1:
            return None
        m = int(self.stencils.shape[0])
        turned = phases(frequency[None, :], self.offsets)[0]
        diagonal = (np.conj(left[:m]) * right[:m])[:, None] * turned
        stencils = np.real(diagonal).astype(left.real.dtype).reshape(self.stencils.shape)
        matrix = np.real(np.conj(left)[:, None] * right)
        return {"matrix": matrix, "stencils": stencils}

    def oscillation(self) -> float:
        """``max_i sup_w |d_i(w)|`` from a uniform grid of frequencies (theory §1), 4 % high."""
        return modulus_bound(detach(self.stencils))

    def _folded_diagonals(self, frequencies: np.ndarray) -> tuple[Array, Array]:
        """Means of ``d`` and ``|d|^2`` over the frequencies that the stride folds, ``(F, m)``."""
        taps, xp = flatten_taps(self.stencils, 1), namespace(self.stencils)
        mean, squares = 0.0, 0.0
        for aliased in self.folded(frequencies):
            turned = like(phases(aliased, self.offsets), taps, complex_=True)
            diagonal = transform(taps, turned)
            mean = mean + (diagonal if self.by_columns else xp.conj(diagonal))
            squares = squares + xp.real(diagonal) ** 2 + xp.imag(diagonal) ** 2
        share = self.stride**-self.dimension
        return mean * share, squares * share

    def tap_norms(self) -> float:
        """``sum_p ||K_p||_F``."""
        centres = frobenius_norms(self.matrix[..., None], 2)
        return centres + frobenius_norms(self.stencils, 1)

    def scale_rows(self, scale: Array) -> Lean:
        """``diag(scale) K``."""
        check_scale(scale, self.channels_out)
        diagonal = scale[: self.stencils.shape[0]]
        return replace(
            self,
            matrix=self.matrix * column(scale, self.matrix),
            stencils=self.stencils * column(diagonal, self.stencils),
        )


@dataclass(frozen=True, eq=False)
class Circulant(Coupling):
    """Block ``(o, i)`` depends on ``(o - i) mod C`` only, ``C = max(c_out, c_in)``.

    Attributes:
        stencils: shape ``(C, *kernel_shape)``.
        shape: ``(c_out, c_in)``, default ``(C, C)``; a smaller side keeps the leading rows or
            columns of the circulant.
    """

    name: ClassVar[str] = "circulant"
    _channel_axes: ClassVar[int] = 1
    stencils: Array
    shape: tuple[int, int] | None = None

    def _check_shapes(self) -> None:
        check_axes("stencils", self.stencils, 1)
        channels = (self.channels_out, self.channels_in)
        require(
            max(channels) == self.stencils.shape[0] and min(channels) >= 1,
            "max(c_out, c_in) stencils",
            f"{self.stencils.shape[0]} stencils for {self.channels_out} x {self.channels_in}",
            "give one stencil a diagonal of the circulant",
        )

    def _stencils(self) -> Array:
        return self.stencils

    @property
    def channels_out(self) -> int:
        """Number of output channels."""
        return int(self.stencils.shape[0]) if self.shape is None else self.shape[0]

    @property
    def channels_in(self) -> int:
        """Number of input channels."""
        return int(self.stencils.shape[0]) if self.shape is None else self.shape[1]

    @property
    def weights(self) -> int:
        """``taps max(c_out, c_in)``."""
        return self.taps * max(self.channels_out, self.channels_in)

    @property
    def multiply_adds_per_pixel(self) -> int:
        """``taps c_out c_in``: PDENet applies the gathered dense weight."""
        return self.taps * self.channels_out * self.channels_in

    def dense_weight(self) -> Array:
        """The stencils gathered into all blocks."""
        index = circulant_index(self.channels_out, self.channels_in)
        xp = namespace(self.stencils)
        rows = xp.asarray(index.ravel(), device=device(self.stencils))
        return xp.reshape(xp.take(self.stencils, rows, axis=0), (*index.shape, *self.kernel_shape))

    def _symbol_unstrided(self, phases: Array, *, constant: bool) -> Symbol:
        if self.channels_out != self.channels_in:
            return Full(self.dense_weight())._symbol_unstrided(phases, constant=constant)
        # Circulant blocks: the unitary DFT over the channels diagonalises, with the unnormalised
        # DFT of the first column as eigenvalues. Taps are fewer than frequencies: they go first.
        taps = flatten_taps(self.stencils, 1)
        modes = namespace(taps).fft.fft(like(taps, phases, complex_=True), axis=0)
        return ScalarSymbol(transform(modes, phases))

    def form_gradients(
        self, frequency: np.ndarray, group: int, left: np.ndarray, right: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """``Re(conj(u) v exp(i p.w - 2 pi i j g / C))`` for stencil ``j``, of square circulants."""
        if self.stride > 1 or self.channels_out != self.channels_in:
            return None
        size = self.channels_out
        mode = np.exp(-2j * np.pi * group * np.arange(size) / size)
        turned = np.conj(left[0]) * right[0] * phases(frequency[None, :], self.offsets)[0]
        gradient = np.real(mode[:, None] * turned).astype(left.real.dtype)
        return {"stencils": gradient.reshape(self.stencils.shape)}

    def group_bases(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """The Fourier mode of the channels, an eigenvector of every circulant."""
        if self.channels_out != self.channels_in:
            return super().group_bases(group)
        size = self.channels_out
        mode = np.exp(2j * np.pi * group * np.arange(size) / size) / math.sqrt(size)
        return mode[:, None], mode[:, None]

    def gram(self) -> Gram:
        """Squares of moduli, one block a Fourier mode of the channels, or one block for all."""
        if self.channels_out == self.channels_in:
            return self.symbol_gram(self.channels_out)
        return self._as_full(self.dense_weight()).gram()

    def tap_norms(self) -> float:
        """``sum_p ||K_p||_F``; every stencil stands in as many blocks as the smaller side has."""
        blocks = min(self.channels_out, self.channels_in)
        return math.sqrt(blocks) * frobenius_norms(self.stencils, 1)

    def _as_full(self, weight: Array) -> Full:
        options = {name: getattr(self, name) for name in ("stride", "dilation", "five_point")}
        return Full(weight, **options)

    def scale_rows(self, scale: Array) -> Full:
        """``diag(scale) K``, which is circulant no more."""
        weight = self.dense_weight()
        return self._as_full(weight * column(scale, weight))


def modulus_bound(stencils: Array) -> float:
    """Bound of ``|sum_p k_c,p exp(i p.w)|`` over all frequencies and channels.

    ``max_grid / prod_a cos(pi r_a / N_a)`` on a uniform grid of ``N_a = 16 r_a`` points an axis
    (theory §1), plus an allowance for rounding.
    """
    reach = [k // 2 for k in stencils.shape[1:]]
    axes = [np.pi / (8 * r) * np.arange(16 * r) if r else np.zeros(1) for r in reach]
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(reach))
    half = mesh[mesh[:, 0] <= np.pi]  # |k(-w)| = |k(w)|
    values = Depthwise(stencils).symbol_at(half).norms()
    largest = float(namespace(values).max(values))
    return largest / math.cos(math.pi / 16) ** sum(r > 0 for r in reach) * (1 + 1e-12)


def circulant_index(channels_out: int, channels_in: int) -> np.ndarray:
    """Stencil of every block of a circulant coupling, ``(o - i) mod C``, shape ``(c_out, c_in)``.

    >>> circulant_index(3, 3)
    array([[0, 2, 1],
           [1, 0, 2],
           [2, 1, 0]])
    """
    size = max(channels_out, channels_in)
    return (np.arange(channels_out)[:, None] - np.arange(channels_in)[None, :]) % size


@dataclass(frozen=True, eq=False)
class Grouped(Coupling):
    """``groups`` diagonal blocks, each of them full.

    Attributes:
        weight: shape ``(c_out, c_in / groups, *kernel_shape)``, as in PyTorch.
        groups: number of blocks; divides both channel numbers.
    """

    name: ClassVar[str] = "grouped"
    _channel_axes: ClassVar[int] = 2
    weight: Array
    groups: int = 1

    def _check_shapes(self) -> None:
        check_axes("weights", self.weight, 2)
        require(
            self.groups >= 1 and self.weight.shape[0] % self.groups == 0,
            "a number of groups that divides the channels",
            f"{self.groups} groups for {self.weight.shape[0]} output channels",
            "change the groups",
        )

    def _stencils(self) -> Array:
        return self.weight

    @property
    def channels_out(self) -> int:
        """Number of output channels."""
        return int(self.weight.shape[0])

    @property
    def channels_in(self) -> int:
        """Number of input channels."""
        return int(self.weight.shape[1]) * self.groups

    @property
    def weights(self) -> int:
        """``taps c_out c_in / groups``."""
        return self.taps * self.channels_out * self.channels_in // self.groups

    def _split(self) -> Array:
        """The blocks, shape ``(groups, c_out / groups, c_in / groups, *kernel_shape)``."""
        rows = self.channels_out // self.groups
        shape = (self.groups, rows, *self.weight.shape[1:])
        return namespace(self.weight).reshape(self.weight, shape)

    def dense_weight(self) -> Array:
        """The blocks on the diagonal, zeros off it."""
        blocks, xp = self._split(), namespace(self.weight)
        eye = like(np.eye(self.groups), blocks)
        mask = xp.reshape(eye, (self.groups, 1, self.groups, 1, *(1,) * self.dimension))
        dense = blocks[:, :, None, ...] * mask
        return xp.reshape(dense, (self.channels_out, self.channels_in, *self.kernel_shape))

    def _symbol_unstrided(self, phases: Array, *, constant: bool) -> Symbol:
        return BlockSymbol(transform(flatten_taps(self._split(), 3), phases))

    def form_gradients(
        self, frequency: np.ndarray, group: int, left: np.ndarray, right: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """``Re(conj(u) v^T exp(i p.w))`` in the rows of the group; None for a stride."""
        if self.stride > 1:
            return None
        gradient = np.zeros(self.weight.shape, dtype=left.real.dtype)
        turned = phases(frequency[None, :], self.offsets)[0]
        own = form_gradient(left, right, turned)
        rows = slice(group * len(left), (group + 1) * len(left))
        gradient[rows] = own.reshape(gradient[rows].shape)
        return {"weight": gradient}

    def group_bases(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """The channels of the group."""
        rows, columns = self.channels_out // self.groups, self.channels_in // self.groups
        outputs, inputs = np.eye(self.channels_out), np.eye(self.channels_in)
        own = slice(group * rows, (group + 1) * rows), slice(group * columns, (group + 1) * columns)
        return outputs[:, own[0]], inputs[:, own[1]]

    def gram(self) -> Gram:
        """The Gram polynomials of all groups."""
        taps, direct = taps_first(self._split(), 3), self.symbol_gram(self.groups)
        return block_gram(self.offsets, taps, self.stride, self.tap_norms(), direct)

    def tap_norms(self) -> float:
        """``sum_p ||K_p||_F``."""
        return frobenius_norms(self.weight, 2)

    def scale_rows(self, scale: Array) -> Grouped:
        """``diag(scale) K``."""
        return replace(self, weight=self.weight * column(scale, self.weight))


COUPLINGS: dict[str, type[Coupling]] = {
    kind.name: kind for kind in (Full, Depthwise, Pointwise, Lean, Circulant, Grouped)
}
"""The couplings of theory §2 by name."""
