"""Other steppers for the trained weights: what the adviser recommends for each offending step."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from analysis.adviser import Plan, plans
from analysis.clouds import RealInterval
from analysis.errors import InputError
from pdenet.inspection.verdict import Verdict
from pdenet.integrators.choice import step_method
from pdenet.layers.time_step import TimeStep
from pdenet.networks import PDENet, per_step


class SubSteps(TimeStep):
    """A time step of size h taken as several equal steps of one method with the same weights.

    Args:
        step: the step that is replaced; its right-hand side is shared, not copied.
        method: name of the method of the sub-steps.
        count: their number.
    """

    def __init__(self, step: TimeStep, method: str, count: int) -> None:
        super().__init__(step.term, method, step.step_size / count)
        self.count = count

    def forward(self, y: Tensor) -> Tensor:
        """State after all sub-steps."""
        for _ in range(self.count):
            y = super().forward(y)
        return y

    def multiply_adds(self, height: int, width: int, earlier: int = 1_000) -> int:
        """Multiply-adds of all sub-steps for one image."""
        return self.count * super().multiply_adds(height, width, earlier)


def explicit_plan(verdict: Verdict, claim: str) -> Plan | None:
    """The cheapest explicit way through one step of a monotone field; None where none is known.

    Args:
        verdict: of a step with a certified curvature and no negative gain.
        claim: ``non-expansive``, a theorem (theory §4.2), or ``linear``, of frozen modes alone.
    """
    theory, step = verdict.theory, verdict.layer.module
    if theory.curvature is None or not theory.step_size or theory.nonexpansive_limit is None:
        return None
    # The curvature of a step of two parts is that of one of them: it says nothing of the whole.
    if not isinstance(step, TimeStep) or step.family != "explicit":
        return None
    spectrum = RealInterval(-theory.curvature, 0.0)
    found = plans(spectrum, time=theory.step_size, claim=claim)  # type: ignore[arg-type]
    one_step = (plan for plan in found if not plan.solves and plan.error is not None)
    return next((plan for plan in one_step if _steps_networks(plan.method)), None)


def _steps_networks(name: str) -> bool:
    """Whether a network can take the steps: not where they have more stages than a table."""
    try:
        step_method(name)
    except InputError:
        return False
    return True


def with_plans(network: PDENet, chosen: Mapping[str, Plan]) -> PDENet:
    """The same weights with the named steps taken as planned."""
    copied = per_step(copy.deepcopy(network))
    for name, plan in chosen.items():
        parent, _, child = name.rpartition(".")
        holder, step = copied.get_submodule(parent), copied.get_submodule(name)
        assert isinstance(holder, nn.ModuleList) and isinstance(step, TimeStep)
        holder[int(child)] = SubSteps(step, plan.method, plan.steps)
    return copied


def chosen_plans(offenders: Sequence[Verdict], claim: str) -> dict[str, Plan] | None:
    """A plan for every offending step by its name, None where one of them has none."""
    found = {v.layer.name: explicit_plan(v, claim) for v in offenders}
    known = {name: plan for name, plan in found.items() if plan is not None}
    return known if len(known) == len(found) else None
