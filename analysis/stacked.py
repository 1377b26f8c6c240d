"""Operators stacked on one input, as a dissipative reaction needs them (theory §4.10)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from analysis.backend import Array, device, namespace
from analysis.coupling import Coupling
from analysis.couplings import Full
from analysis.gram import Gram
from analysis.symbols import Symbol
from analysis.taps import check_scale, require


@dataclass(frozen=True, eq=False)
class Stacked(Coupling):
    """Several operators on the same input, their outputs one below the other (theory §4.10).

    Attributes:
        parts: operators with equal input channels, dimension and stride 1.
    """

    name: ClassVar[str] = "stacked"
    _channel_axes: ClassVar[int] = 2
    parts: tuple[Coupling, ...] = ()

    def _check_shapes(self) -> None:
        inputs = {(p.channels_in, p.dimension, p.stride, p.dilation) for p in self.parts}
        plain = {(self.stride, self.dilation)} | {(s, d) for *_, s, d in inputs} == {(1, 1)}
        require(
            len(inputs) == 1 and plain,
            "operators with the same input, stride 1 and dilation 1",
            sorted(inputs),
            "stack operators that act on one feature map",
        )

    def _stencils(self) -> Array:
        return max((part._stencils() for part in self.parts), key=lambda a: a.shape[-1])

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Largest number of taps of every axis."""
        return tuple(max(k) for k in zip(*(p.kernel_shape for p in self.parts), strict=True))

    @property
    def channels_out(self) -> int:
        """Sum of the output channels."""
        return sum(part.channels_out for part in self.parts)

    @property
    def channels_in(self) -> int:
        """Number of input channels."""
        return self.parts[0].channels_in

    @property
    def weights(self) -> int:
        """Sum of the weights."""
        return sum(part.weights for part in self.parts)

    @property
    def multiply_adds_per_pixel(self) -> int:
        """Sum of the multiply-adds."""
        return sum(part.multiply_adds_per_pixel for part in self.parts)

    def axis_even(self) -> bool:
        """Whether the stencils of all parts are even in each axis."""
        return all(part.axis_even() for part in self.parts)

    def dense_weight(self) -> Array:
        """The dense weights one below the other, smaller stencils padded by zeros."""
        padded = [_pad_stencils(part.dense_weight(), self.kernel_shape) for part in self.parts]
        return namespace(padded[0]).concat(padded, axis=0)

    def _symbol_unstrided(self, phases: Array, *, constant: bool) -> Symbol:
        return Full(self.dense_weight())._symbol_unstrided(phases, constant=constant)

    def gram(self) -> Gram:
        """The Gram polynomial of the dense weights."""
        return Full(self.dense_weight()).gram()

    def tap_norms(self) -> float:
        """``sum_p ||K_p||_F``, at most the sum over the parts."""
        return sum(part.tap_norms() for part in self.parts)

    def scale_rows(self, scale: Array) -> Stacked:
        """``diag(scale) K``."""
        check_scale(scale, self.channels_out)
        ends = np.cumsum([part.channels_out for part in self.parts])
        starts = ends - [part.channels_out for part in self.parts]
        scaled = (
            p.scale_rows(scale[a:b]) for p, a, b in zip(self.parts, starts, ends, strict=True)
        )
        return replace(self, parts=tuple(scaled))

    def weights_by_name(self) -> dict[str, Array]:
        """The arrays of all parts."""
        return {
            f"{number}.{name}": array
            for number, part in enumerate(self.parts)
            for name, array in part.weights_by_name().items()
        }

    def records_gradient(self) -> bool:
        """Whether automatic differentiation follows a weight of any part."""
        return any(part.records_gradient() for part in self.parts)

    def double(self) -> Stacked:
        """All parts with detached float64 weights."""
        return replace(self, parts=tuple(part.double() for part in self.parts))

    def numpy(self) -> Stacked:
        """All parts with detached NumPy weights."""
        return replace(self, parts=tuple(part.numpy() for part in self.parts))

    def largest_weight(self) -> float:
        """Largest modulus of a weight of any part."""
        return max(part.largest_weight() for part in self.parts)

    def times(self, factor: float) -> Stacked:
        """All parts times a number."""
        return replace(self, parts=tuple(part.times(factor) for part in self.parts))


def _pad_stencils(weight: Array, kernel_shape: tuple[int, ...]) -> Array:
    """Dense weights with their stencils centred in larger ones."""
    xp = namespace(weight)
    for axis, (k, wanted) in enumerate(zip(weight.shape[2:], kernel_shape, strict=True), start=2):
        if k == wanted:
            continue
        shape = list(weight.shape)
        shape[axis] = (wanted - k) // 2
        margin = xp.zeros(tuple(shape), dtype=weight.dtype, device=device(weight))
        weight = xp.concat([margin, weight, margin], axis=axis)
    return weight
