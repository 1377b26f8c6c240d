"""Couplings with stencils in many blocks: full, grouped and circulant (theory §2).

After arXiv 1805.07821; the common part is in ``analysis.coupling``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from analysis.backend import Array, device, like, namespace
from analysis.coupling import Coupling
from analysis.gram import Gram, block_gram
from analysis.symbols import BlockSymbol, ScalarSymbol, Symbol
from analysis.taps import (
    check_axes,
    column,
    flatten_taps,
    form_gradient,
    frobenius_norms,
    require,
    taps_first,
    transform,
)


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

    def _form_gradients(
        self, turned: np.ndarray, group: int, left: np.ndarray, right: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """``Re(conj(u) v^T exp(i p.w))``."""
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

    def _form_gradients(
        self, turned: np.ndarray, group: int, left: np.ndarray, right: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """``Re(conj(u) v^T exp(i p.w))`` in the rows of the group."""
        gradient = np.zeros(self.weight.shape, dtype=left.real.dtype)
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
        """Of the dense weight, or of the transform of the channels where PDENet applies that.

        The transform: ``2.5 C log2 C`` nominally for both ways, and two real stencils and a sum for
        each of the ``C + 2`` numbers of the modes (theory §2). PDENet takes it where
        ``circulant_by_transform`` holds, on the CPU in the channels-last layout in which it trains;
        elsewhere it may take the dense weight, ``taps c_out c_in``.
        """
        outputs, inputs, taps = self.channels_out, self.channels_in, self.taps
        if not circulant_by_transform(outputs, inputs, taps):
            return taps * outputs * inputs
        size = max(outputs, inputs)
        return math.ceil(2.5 * size * math.log2(size)) + (2 * taps + 1) * (size + 2)

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

    def _form_gradients(
        self, turned: np.ndarray, group: int, left: np.ndarray, right: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """``Re(conj(u) v exp(i p.w - 2 pi i j g / C))`` for stencil ``j``, of square circulants."""
        if self.channels_out != self.channels_in:
            return None
        size = self.channels_out
        mode = np.exp(-2j * np.pi * group * np.arange(size) / size)
        value = np.conj(left[0]) * right[0] * turned
        gradient = np.real(mode[:, None] * value).astype(left.real.dtype)
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


TRANSFORM_FROM = 288
"""Weights of a row of the dense circulant matrix from which the transform of the channels is faster
than it: 32 channels and 3x3 stencils, where it takes 2.0 ms and the dense weight 2.9 (measured as
``pdenet.operators.fast.rules`` says)."""


def circulant_by_transform(channels_out: int, channels_in: int, taps: float) -> bool:
    """Whether a circulant operator takes less time by a Fourier transform of its channels.

    >>> circulant_by_transform(64, 64, 9), circulant_by_transform(64, 3, 9)
    (True, False)
    """
    return taps * min(channels_out, channels_in) >= TRANSFORM_FROM


def circulant_index(channels_out: int, channels_in: int) -> np.ndarray:
    """Stencil of every block of a circulant coupling, ``(o - i) mod C``, shape ``(c_out, c_in)``.

    >>> circulant_index(3, 3)
    array([[0, 2, 1],
           [1, 0, 2],
           [2, 1, 0]])
    """
    size = max(channels_out, channels_in)
    return (np.arange(channels_out)[:, None] - np.arange(channels_in)[None, :]) % size
