"""Back-propagation through reversible steps without stored activations (theory §3).

Symplectic Euler, Stormer-Verlet and their like add to one half of the state what depends on the
other alone. So a step can be undone, and the backward pass recomputes the states from the last one:
memory does not grow with the number of steps, for about one more evaluation of every flow. The
states come back up to rounding, which grows with depth where the steps amplify it.

After Chang et al., Reversible architectures for arbitrarily deep residual neural networks,
arXiv 1709.03698.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase

from analysis.errors import InputError
from pdenet.integrators.choice import step_method
from pdenet.integrators.splitting import Halves, PartitionedStepper
from pdenet.layers.time_step import TimeStep
from pdenet.layers.wave_terms import HamiltonianTerm, SecondOrderTerm


def check_reversible(method: str) -> None:
    """Raise InputError for a method whose steps have no inverse in closed form."""
    name, found = step_method(method)
    if not getattr(found, "partitioned", False):
        raise InputError(
            "symplectic-euler, verlet or another partitioned method for reversible steps",
            repr(name),
            "choose it with a hamiltonian or second-order block, or backpropagation='stored'",
        )


def reversible_steps(steps: Sequence[TimeStep], halves: Halves) -> Halves:
    """All steps one after the other; only the last state is kept for the backward pass.

    Args:
        steps: of one partitioned method; the same step may come several times.
        halves: ``(y, z)``, each ``(B, C, H, W)``.

    Returns:
        The last ``(y, z)``; gradients flow to both halves and to all weights, once (not twice:
        there is no double backward). As for every operation of PyTorch, weights must not change in
        place between the two passes.
    """
    run = Run.of(steps, halves[0].device.type)
    result: Halves = ReversibleSteps.apply(run, *halves, *run.weights())
    return result


@dataclass(frozen=True, eq=False)
class Run:
    """What the backward pass needs to evaluate the flows as the forward pass did.

    Attributes:
        steps: the distinct steps.
        order: their numbers in the order they are taken.
        names: the tensors of the steps that the flows read, as (number of the step, name).
        modes: whether each module was in training mode.
        autocast: device type, precision, and whether autocast was on.
    """

    steps: tuple[TimeStep, ...]
    order: tuple[int, ...]
    names: tuple[tuple[int, str], ...]
    modes: tuple[tuple[nn.Module, bool], ...]
    autocast: tuple[str, torch.dtype, bool]

    @classmethod
    def of(cls, steps: Sequence[TimeStep], device: str) -> Run:
        """The run of some steps, as their modules are now."""
        distinct = tuple(dict.fromkeys(steps))
        number = {id(step): k for k, step in enumerate(distinct)}
        return cls(
            steps=distinct,
            order=tuple(number[id(step)] for step in steps),
            names=tuple((k, name) for k, step in enumerate(distinct) for name in _read(step.term)),
            modes=tuple((m, m.training) for step in distinct for m in step.modules()),
            autocast=(
                device,
                torch.get_autocast_dtype(device),
                torch.is_autocast_enabled(device),
            ),
        )

    def weights(self) -> list[Tensor]:
        """The tensors by their names."""
        found = [dict(_named(step.term)) for step in self.steps]
        return [found[k][name] for k, name in self.names]

    @contextmanager
    def again(self) -> Iterator[None]:
        """Modes and precision of the forward pass inside the block; no batch is counted again."""
        before = [(module, module.training) for module, _ in self.modes]
        device, dtype, enabled = self.autocast
        try:
            for module, training in self.modes:
                module.training = training
            with frozen_statistics(self.steps), torch.autocast(device, dtype, enabled=enabled):
                yield
        finally:
            for module, training in before:
                module.training = training


def _named(term: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from term.named_parameters()
    yield from term.named_buffers()


def _read(term: nn.Module) -> list[str]:
    """Names of what a term reads: its parameters, and statistics that it does not make itself."""
    training = {name for name, module in term.named_modules() if module.training}
    statistics = [name for name, _ in term.named_buffers()]
    kept = [name for name in statistics if name.rpartition(".")[0] not in training]
    return [*(name for name, _ in term.named_parameters()), *kept]


class ReversibleSteps(torch.autograd.Function):
    """The steps without a graph, and their gradient from the last state alone."""

    @staticmethod
    def forward(ctx: Any, run: Run, y: Tensor, z: Tensor, *weights: Tensor) -> Any:
        """All steps."""
        ctx.run = run
        halves = (y, z)
        for number in run.order:
            halves = run.steps[number](halves)
        ctx.save_for_backward(*(half.detach() for half in halves), *weights)
        return halves

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, y_gradient: Tensor, z_gradient: Tensor) -> Any:
        """Undo one flow after the other, and take its gradient where it starts."""
        run: Run = ctx.run
        y, z, *weights = ctx.saved_tensors
        wanted = ctx.needs_input_grad[3:]
        leaves = [w.detach().requires_grad_(need) for w, need in zip(weights, wanted, strict=True)]
        sums: dict[int, Tensor] = {}
        state = {"y": y, "z": z}
        gradients = {"y": y_gradient, "z": z_gradient}
        with run.again():
            for number in reversed(run.order):
                own = [i for i, (k, _) in enumerate(run.names) if k == number]
                tensors = {f"term.{run.names[i][1]}": leaves[i] for i in own}
                inputs = {i: leaves[i] for i in own if wanted[i]}
                _undo(run.steps[number], tensors, inputs, state, gradients, sums)
        found = [sums.get(i) for i in range(len(weights))]
        return None, gradients["y"], gradients["z"], *found


class _Slope(nn.Module):
    """Drift or kick of a term as a module, so that it can be called with given weights."""

    def __init__(self, term: HamiltonianTerm | SecondOrderTerm) -> None:
        super().__init__()
        self.term = term

    def forward(self, part: str, half: Tensor) -> Tensor:
        """``y'`` of the other half, or ``z'``."""
        return self.term.drift(half) if part == "drift" else self.term.kick(half)


def _undo(
    step: TimeStep,
    tensors: dict[str, Tensor],
    inputs: dict[int, Tensor],
    state: dict[str, Tensor],
    gradients: dict[str, Tensor],
    sums: dict[int, Tensor],
) -> None:
    """The state before a step and the gradients there, in place of those behind it."""
    stepper, term = step.stepper, step.term
    assert isinstance(term, HamiltonianTerm | SecondOrderTerm)
    assert isinstance(stepper, PartitionedStepper)  # by check_reversible
    slope_of = _Slope(term)
    for part, fraction in reversed(stepper.flows):
        moved, source = ("y", "z") if part == "drift" else ("z", "y")
        time = fraction * step.step_size
        with torch.enable_grad():
            start = state[source].detach().requires_grad_()
            slope = functional_call(slope_of, tensors, (part, start))
            found = torch.autograd.grad(
                slope,
                (start, *inputs.values()),
                gradients[moved].to(slope.dtype),
                allow_unused=True,
            )
        state[moved] = torch.sub(state[moved], slope.detach(), alpha=time)
        gradients[source] = torch.add(gradients[source], found[0], alpha=time)
        for index, gradient in zip(inputs, found[1:], strict=True):
            if gradient is not None:
                scaled = gradient * time
                before = sums.get(index)
                sums[index] = scaled if before is None else before.add_(scaled)


@contextmanager
def frozen_statistics(steps: Sequence[nn.Module]) -> Iterator[None]:
    """Batch norms inside the block normalise as before but do not count the batch again."""
    norms = {m for step in steps for m in step.modules() if isinstance(m, _NormBase)}
    tracking = [norm for norm in norms if norm.track_running_stats and norm.training]
    for norm in tracking:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in tracking:
            norm.track_running_stats = True
