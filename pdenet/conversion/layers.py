"""One convolution of torch as an operator of a coupling, or the reason to keep it (theory §2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils.parametrize import is_parametrized

from analysis.backend import to_double
from analysis.coupling import Coupling
from analysis.couplings import Grouped
from analysis.errors import InputError
from analysis.projection import project, projection_error, with_norm_of
from pdenet.conversion.costs import Call, Convolution, multiply_adds, weight_count
from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import OPERATORS

IMAGE_CHANNELS = 4
"""A layer with no more input channels opens a network: it sees colours, not features."""

_ARRAYS = {
    "full": {"weight": "weight"},
    "grouped": {"weight": "weight"},
    "depthwise": {"weight": "stencils"},
    "pointwise": {"weight": "matrix"},
    "lean": {"pointwise": "matrix", "stencils": "stencils"},
    "circulant": {"stencils": "stencils"},
}
"""Parameters of the operators, and the fields of the couplings of ``analysis`` that they hold."""

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
)
"""The functions that follow the calls of a module. Those of its state dict do not go along: they
are about the names of its weights, which change."""


class Kept(Exception):
    """Why a convolution stays as it is, in a few words."""


@dataclass(frozen=True, eq=False)
class Replacement:
    """What takes the place of a convolution.

    Attributes:
        operator: with the nearest weights.
        multiply_adds: of the calls of the convolution, None where they are not known.
        projection_error: None on the meta device, where weights have no values.
    """

    operator: StencilOperator
    multiply_adds: int | None
    projection_error: float | None


class LayerConverter:
    """Makes operators of one coupling from convolutions of torch.

    Args:
        coupling: a key of ``pdenet.operators.conv.OPERATORS``.
        groups: number of groups of the grouped coupling.
        five_point: stencils without corners.
        keep_norm: give the nearest weights the norm of the dense ones.
        sparing: keep what loses most for the little it costs: 1x1 layers and those that open a
            network, unless the coupling loses nothing.
    """

    def __init__(
        self, coupling: str, groups: int, *, five_point: bool, keep_norm: bool, sparing: bool
    ) -> None:
        self.coupling, self.five_point, self.keep_norm = coupling, five_point, keep_norm
        self.groups = groups if coupling == Grouped.name else 1
        self.sparing = sparing and (coupling != "full" or five_point)
        self._made: dict[tuple[int, int], StencilOperator] = {}

    def convert(self, module: Convolution, calls: list[Call] | None) -> Replacement:
        """The operator in place of a convolution.

        Args:
            module: the convolution.
            calls: its uses in a forward, if they are known.

        Raises:
            Kept: where the convolution should stay, with the reason.
        """
        if not isinstance(module, nn.Conv2d):
            raise Kept(f"a {type(module).__name__}, not a Conv2d")
        self._check(module)
        try:
            operator = self._empty(module)
            before = weight_count(module)
            # The ordinary convolution as our own class loses nothing and gains an exact adjoint.
            allowed = before if self.coupling == "full" else before - 1
            if operator.weights > allowed:
                raise Kept(f"no fewer weights: {before} -> {operator.weights}")
            cost = None if calls is None else multiply_adds(operator, calls)
            error = self._fill(operator, module)
        except InputError as refusal:
            raise Kept(f"needs {refusal.expected}, not {refusal.got}") from None
        _carry_over(module, operator)
        return Replacement(operator, cost, error)

    def _check(self, module: nn.Conv2d) -> None:
        """Raise Kept for layers that are not plain, and for those that a default spares."""
        if isinstance(module._parameters.get("weight"), UninitializedParameter):
            raise Kept("has no weights before its first call")
        if is_parametrized(module) or module._parameters.get("weight") is None:
            raise Kept("its weight is computed: a parametrization, weight norm or pruning")
        if module.weight.is_complex():
            raise Kept("complex weights")
        own = [getattr(type(module), name) for name in ("forward", "_conv_forward")]
        plain = own == [nn.Conv2d.forward, nn.Conv2d._conv_forward]
        if not plain or "forward" in module.__dict__:
            raise Kept(f"{type(module).__name__} with a forward of its own")
        if self.sparing and max(module.kernel_size) == 1:
            raise Kept("1x1 already; a filter converts it")
        if self.sparing and module.in_channels <= IMAGE_CHANNELS:
            raise Kept(f"opens the network, {module.in_channels} channels in; a filter converts it")

    def _empty(self, module: nn.Conv2d) -> StencilOperator:
        """An operator with the arguments of the convolution and any weights."""
        with torch.random.fork_rng(devices=[]):  # weights drawn in vain must not cost a number
            return OPERATORS[self.coupling](
                module.in_channels,
                module.out_channels,
                module.kernel_size,  # type: ignore[arg-type]
                module.stride,  # type: ignore[arg-type]
                _pixels(module),  # type: ignore[arg-type]
                module.dilation,  # type: ignore[arg-type]
                self.groups,
                bias=False,
                padding_mode=module.padding_mode,
                five_point=self.five_point,
                device="cpu",
                dtype=module.weight.dtype,
            )

    def _fill(self, operator: StencilOperator, module: nn.Conv2d) -> float | None:
        """Give the operator the nearest weights; layers that shared theirs share again."""
        weight, names = module.weight, _ARRAYS[self.coupling]
        error = None
        if not weight.is_meta:
            dense = to_double(weight)
            if module.groups > 1:
                dense = Grouped(dense, module.groups).dense_weight()
            found = project(dense, self.coupling, groups=self.groups, five_point=self.five_point)
            error = projection_error(dense, found)
            _load(operator, with_norm_of(dense, found) if self.keep_norm else found)
        operator.to(weight.device)
        first = self._made.setdefault((id(weight), module.groups), operator)
        for name in names:
            setattr(operator, name, getattr(first, name))
        return error


def _pixels(module: nn.Conv2d) -> tuple[int, ...]:
    """The padding as numbers: torch knows 'same' for stride 1 only, where it means these."""
    if module.padding == "valid":
        return 0, 0
    if module.padding == "same":
        pairs = zip(module.dilation, module.kernel_size, strict=True)
        return tuple(d * (k // 2) for d, k in pairs)
    return tuple(int(p) for p in module.padding)


@torch.no_grad()
def _load(operator: StencilOperator, found: Coupling) -> None:
    """Copy the weights of a coupling into the parameters of its operator."""
    for name, field in _ARRAYS[found.name].items():
        parameter: Tensor = getattr(operator, name)
        values: Tensor = getattr(found, field)
        if operator.tap_index is not None and field != "matrix":
            values = values.flatten(-2)[..., operator.tap_index.to(values.device)]
        parameter.copy_(values.reshape(parameter.shape))


def _carry_over(module: nn.Conv2d, operator: StencilOperator) -> None:
    """Bias, modes, memory format and hooks of the convolution for the operator."""
    weight = module.weight
    for parameter in operator.parameters():
        parameter.requires_grad_(weight.requires_grad)
    operator.bias = module.bias  # type: ignore[assignment]
    last = weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    if last:
        operator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    operator.train(module.training)
    for name in _HOOKS:
        # The very dictionaries: handles that users keep still remove what they registered.
        hooks: Any = module.__dict__[name]
        object.__setattr__(operator, name, hooks)
