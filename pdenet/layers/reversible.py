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
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from analysis.errors import InputError
from pdenet.integrators.choice import step_method
from pdenet.integrators.splitting import Halves, PartitionedStepper
from pdenet.layers.wave_terms import HamiltonianTerm, SecondOrderTerm

if TYPE_CHECKING:
    from pdenet.layers.block import TimeStep


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
        there is no double backward).
    """
    weights = list(dict.fromkeys(p for step in steps for p in step.parameters()))
    y, z = halves
    return ReversibleSteps.apply(steps, y, z, *weights)


class ReversibleSteps(torch.autograd.Function):
    """The steps without a graph, and their gradient from the last state alone."""

    @staticmethod
    def forward(ctx: Any, steps: Sequence[TimeStep], y: Tensor, z: Tensor, *weights: Tensor) -> Any:
        """All steps."""
        ctx.steps, ctx.weights = steps, weights
        halves = (y, z)
        for step in steps:
            halves = step(halves)
        ctx.save_for_backward(*(half.detach() for half in halves))
        return halves

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, y_gradient: Tensor, z_gradient: Tensor) -> Any:
        """Undo one flow after the other, and take its gradient where it starts."""
        y, z = ctx.saved_tensors
        # Weights arrive as themselves, so that a shared one collects all its gradients.
        sums: dict[Tensor, Tensor] = {}
        state = {"y": y, "z": z}
        gradients = {"y": y_gradient, "z": z_gradient}
        with frozen_statistics(ctx.steps):
            for step in reversed(ctx.steps):
                _undo(step, state, gradients, sums)
        wanted = ctx.needs_input_grad[3:]
        found = [sums.get(w) if need else None for w, need in zip(ctx.weights, wanted, strict=True)]
        return None, gradients["y"], gradients["z"], *found


def _undo(
    step: TimeStep,
    state: dict[str, Tensor],
    gradients: dict[str, Tensor],
    sums: dict[Tensor, Tensor],
) -> None:
    """The state before a step and the gradients there, in place of those behind it."""
    stepper, term = step.stepper, step.term
    assert isinstance(term, HamiltonianTerm | SecondOrderTerm)
    assert isinstance(stepper, PartitionedStepper)  # by check_reversible
    weights = [p for p in step.parameters() if p.requires_grad]
    for part, fraction in reversed(stepper.flows):
        moved, source, slope_of = (
            ("y", "z", term.drift) if part == "drift" else ("z", "y", term.kick)
        )
        time = fraction * step.step_size
        with torch.enable_grad():
            start = state[source].detach().requires_grad_()
            slope = slope_of(start)
            found = torch.autograd.grad(
                slope, (start, *weights), gradients[moved], allow_unused=True
            )
        state[moved] = torch.sub(state[moved], slope.detach(), alpha=time)
        gradients[source] = torch.add(gradients[source], found[0], alpha=time)
        for weight, gradient in zip(weights, found[1:], strict=True):
            if gradient is not None:
                before = sums.get(weight)
                scaled = gradient * time
                sums[weight] = scaled if before is None else before.add_(scaled)


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
