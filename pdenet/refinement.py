"""Networks on finer meshes: more time steps, or more pixels, for the same equation (theory §5).

A network with steps ``h`` on images of mesh width ``dx`` is one discretisation of a partial
differential equation; here it becomes another one of the same. Refined in time, weights are
interpolated; refined in space, stencils are those of the same operators. Both directions work.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from analysis.differential import at_spacing, galerkin
from analysis.errors import InputError, unknown_name
from analysis.time_basis import interpolation
from pdenet.layers.block import Block
from pdenet.layers.time_weights import BasisBlock
from pdenet.network_config import NetworkConfig
from pdenet.networks import PDENet
from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import LeanConv2d

KEEPS = ("stencil", "operator", "averages")
"""What a network keeps on another mesh: its numbers, its differential operators
(``analysis.differential.at_spacing``), or its action on averages over cells (``galerkin``)."""


def refine_in_time(network: PDENet, factor: int = 2) -> PDENet:
    """The same equation in ``factor`` times as many steps of ``h / factor``.

    Weights per step, scales, shifts and running statistics are interpolated linearly between the
    middles of the steps; shared weights and bases in time keep their functions, and only the
    statistics of the steps are interpolated. Where weights move little from step to step, the
    change of the network is ``O(h)`` for a method of first order (Haber & Ruthotto 2017, §4).

    Args:
        network: left as it is.
        factor: a whole number, at least 1.

    Returns:
        A new network, on the same device, of the same precision and mode.

    Raises:
        InputError: for another factor.

    >>> from pdenet.networks import NetworkConfig
    >>> fine = refine_in_time(PDENet(NetworkConfig(steps=2, step_size=0.5)))
    >>> fine.config.steps, fine.config.step_size
    (4, 0.25)
    """
    return with_steps(network, network.config.steps * _whole("factor", factor))


@torch.no_grad()
def with_steps(network: PDENet, steps: int) -> PDENet:
    """The same equation over the same time in another number of steps, more or fewer.

    As ``refine_in_time``, whose arguments, result and errors it shares.
    """
    config = network.config
    step_size = config.step_size * config.steps / _whole("steps", steps)
    found = _built_like(network, replace(config, steps=steps, step_size=step_size))
    for old, new in zip(network.blocks, found.blocks, strict=True):
        assert isinstance(old, Block)
        assert isinstance(new, Block)
        _copy_block(old, new)
    for name in ("opening", "connectors", "classifier"):
        _load(getattr(found, name), getattr(network, name).state_dict())
    return found.train(network.training)


@torch.no_grad()
def refine_in_space(network: PDENet, factor: float = 2, *, keep: str = "stencil") -> PDENet:
    """The same network for images of ``factor`` times as many pixels an axis.

    The stencils of the blocks and of the opening move to the mesh width ``1 / factor``; operators
    within a pixel (1x1, the connectors) have none. Every coupling keeps its structure, and
    five-point stencils theirs.

    ``keep="operator"`` is the move of theory §5: a smooth image gives close features at both
    resolutions, while ``h ||K||^2`` grows by up to ``factor^8`` where a stencil holds d_xxyy, and
    limits of the step are to be looked at again. ``keep="averages"`` grows by ``factor^4`` at
    most. ``keep="stencil"`` leaves the weights, and every limit, as they are. Networks trained
    on a coarse mesh go on best on a fine one with the numbers they have: features of real images
    are no smooth fields, and refined differences of high order drown the rest
    (``benchmarks/multilevel.py``). It is the default.

    Args:
        network: left as it is.
        factor: positive; 1/2 moves to a coarser mesh.
        keep: one of ``KEEPS``.

    Returns:
        A new network, on the same device, of the same precision, mode and configuration.

    Raises:
        InputError: for a factor that is not positive, an unknown ``keep``.
    """
    if keep not in KEEPS:
        raise unknown_name("keep", keep, KEEPS)
    if not (isinstance(factor, int | float) and 0 < factor < float("inf")):
        raise InputError("a positive factor", repr(factor), "pass factor=2")
    found = copy.deepcopy(network)
    if keep == "stencil":
        return found
    move = {"operator": at_spacing, "averages": galerkin}[keep]
    for module in found.modules():
        if isinstance(module, StencilOperator) and max(module.kernel_size) > 1:
            _move_stencils(module, lambda stencils: move(stencils, 1.0, 1.0 / factor))
    return found


def _whole(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"a whole number of at least 1 as {name}", repr(value), "pass 2")
    return value


def _built_like(network: PDENet, config: NetworkConfig) -> PDENet:
    """A network of another configuration with device and precision of a given one."""
    with torch.random.fork_rng(devices=[]):  # initial weights must not advance the caller's
        found = PDENet(config)
    return found.to(next(network.parameters()))


def _copy_block(old: Block, new: Block) -> None:
    """Weights and statistics of a block as those of a block of more or fewer steps."""
    if len(old.steps) == len(new.steps):  # weights shared, or functions in time
        for source, target in zip(old.steps, new.steps, strict=True):
            _load(target, source.state_dict())
    else:
        _interpolate(old.steps, new.steps)
    if isinstance(old, BasisBlock):
        assert isinstance(new, BasisBlock)
        _interpolate(old.statistics, new.statistics)


def _interpolate(old: nn.ModuleList, new: nn.ModuleList) -> None:
    """Everything that modules of old steps keep, at the times of new ones."""
    states = [module.state_dict() for module in old]
    for module, weights in zip(new, interpolation(len(old), len(new)).tolist(), strict=True):
        _load(module, {name: _combined(weights, [s[name] for s in states]) for name in states[0]})


def _combined(weights: list[float], tensors: list[Tensor]) -> Tensor:
    """A weighted mean; of counts (batches seen) the largest."""
    used = [(w, tensor) for w, tensor in zip(weights, tensors, strict=True) if w]
    if not tensors[0].is_floating_point():
        return torch.stack([tensor for _, tensor in used]).amax(dim=0)
    found = used[0][1] * used[0][0]
    for weight, tensor in used[1:]:
        found = found.add(tensor, alpha=weight)
    return found


def _load(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Take a state as copies in its own memory layout."""
    copies = module.state_dict()  # with the versions of its modules, which loading looks at
    copies.update((name, value.clone()) for name, value in state.items())
    module.load_state_dict(copies, assign=True)


def _move_stencils(operator: StencilOperator, move: Callable[[Tensor], Tensor]) -> None:
    """Apply a linear map of stencils to the weights of an operator, in its structure.

    The map sends single numbers (the centre) to themselves, so the blocks of a lean operator that
    are one number stay what they are.
    """
    if isinstance(operator, LeanConv2d):
        centre = operator.pointwise.diagonal()
        stencils = _among_zeros(operator, operator.stencils)
        row, column = (k // 2 for k in operator.kernel_size)
        stencils[..., row, column] = centre
        moved = move(stencils)
        centre.copy_(moved[..., row, column])
        operator.stencils.copy_(_taps(operator, moved))
        return
    for name, parameter in operator.named_parameters():
        if name != "bias":
            parameter.copy_(_taps(operator, move(_among_zeros(operator, parameter))))


def _among_zeros(operator: StencilOperator, taps: Tensor) -> Tensor:
    """Stored taps as whole stencils ``(..., k1, k2)``."""
    if operator.tap_index is None:
        return taps
    leading, size = taps.shape[:-1], operator.kernel_size
    zeros = taps.new_zeros(*leading, size[0] * size[1])
    return zeros.index_copy(-1, operator.tap_index, taps).reshape(*leading, *size)


def _taps(operator: StencilOperator, stencils: Tensor) -> Tensor:
    """The taps of whole stencils that an operator stores."""
    if operator.tap_index is None:
        return stencils
    return stencils.flatten(-2).index_select(-1, operator.tap_index)
