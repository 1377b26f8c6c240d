"""A grade for the claim of each layer: theory and measurement side by side (theory §4)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from analysis.dynamics import GRADES, product
from pdenet.inspection.crosscheck import FROZEN, NON_EXPANSIVE, Theory, theory_of
from pdenet.inspection.growth import Growth, measure_growth
from pdenet.inspection.reader import Layer
from pdenet.inspection.wave_steps import FrozenMode, fastest_mode
from pdenet.layers.time_step import TimeStep

SEPARATION = 1e-9
"""Excess over one, beyond rounding, from which a pair counts as separated."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """Theory, measurement and grade of one layer.

    Attributes:
        layer: the layer.
        theory: what theory says of it.
        growth: what was measured.
        grade: one of ``GRADES``.
        contradicted: whether a pair of inputs contradicts the claim of the layer.
        warnings: sentences of theory and measurement.
        mode: of a claim about frozen coefficients beyond its limit, the mode that grows most.
    """

    layer: Layer
    theory: Theory
    growth: Growth
    grade: str
    contradicted: bool
    warnings: tuple[str, ...]
    mode: FrozenMode | None = None

    @property
    def pair(self) -> tuple[Tensor, Tensor]:
        """The two inputs that are kept as evidence: a state and that plus its growing mode."""
        if self.mode is None:
            return self.growth.first, self.growth.second
        y, z = self.mode.state.chunk(2, dim=0)
        return self.mode.state, torch.cat((y + self.mode.mode, z))

    def to_json(self, measured_on: str, counter_pair: str | None) -> dict[str, Any]:
        """The keys of the command-line contract for one layer."""
        theory = self.theory
        interval = theory.norm
        return {
            "name": self.layer.name,
            "kind": theory.block,
            "coupling": theory.coupling,
            "method": theory.method,
            "step_size": theory.step_size,
            "norm": None if interval is None else interval.lower,
            "norm_interval": None if interval is None else [interval.lower, interval.upper],
            "norm_certified": theory.norm_certified,
            "curvature": theory.curvature,
            "linear_limit": theory.linear_limit,
            "nonexpansive_limit": theory.nonexpansive_limit,
            "limit": theory.limit,
            "claim": theory.claim,
            "grade": self.grade,
            "statement": theory.statement,
            "growth_certified": theory.growth_certified,
            "frozen_radius": None if self.mode is None else self.mode.radius,
            "measured_growth": self.growth.value,
            "measured_random": self.growth.random,
            "measured_on_data": self.growth.data,
            "measured_on": measured_on,
            "applications": self.layer.applications,
            "counter_pair": counter_pair,
            "warnings": list(self.warnings),
        }


def judge(layer: Layer, *, seed: int = 0) -> Verdict:
    """Theory, measurement and grade of a layer."""
    theory = theory_of(layer)
    growth = measure_growth(
        layer.apply,
        layer.features,
        seed=seed,
        directions=theory.directions,
        points=theory.points,
    )
    mode = None
    if theory.claim == FROZEN and not theory.proved:
        assert isinstance(layer.module, TimeStep)
        # A limit is certified where both halves are semidefinite, and only there.
        semidefinite = theory.linear_limit is not None
        mode = fastest_mode(layer, layer.module, theory.points, semidefinite=semidefinite)
    return grade(layer, theory, growth, mode)


def grade(layer: Layer, theory: Theory, growth: Growth, mode: FrozenMode | None = None) -> Verdict:
    """The grade of a claim.

    *proved*: the theorem holds with its constants. *violated*: a pair of inputs contradicts the
    claim (of frozen coefficients: a state at which a mode grows). *measured*: beyond the theorem,
    but no pair contradicts the claim. *not-applicable*: no theorem speaks of the layer. A measured
    growth above a certified one contradicts theory or program, whatever the claim.
    """
    warnings = list(theory.warnings)
    if not math.isfinite(growth.value):
        warnings.append("the growth could not be measured: values are not finite")
        return Verdict(layer, theory, growth, "not-applicable", False, tuple(warnings))
    if not theory.applicable:
        return Verdict(layer, theory, growth, "not-applicable", False, tuple(warnings))
    if growth.value > theory.growth_certified * (1 + growth.allowance) + growth.allowance:
        warnings.append(
            f"measured growth {growth.value:.12g} exceeds the certified "
            f"{theory.growth_certified:.12g}: a defect of theory or program, please report it"
        )
        return Verdict(layer, theory, growth, "violated", True, tuple(warnings))
    if theory.claim == FROZEN and not theory.proved:
        return _frozen(layer, theory, growth, mode, warnings)
    if theory.claim != NON_EXPANSIVE or theory.proved:
        return Verdict(layer, theory, growth, "proved", False, tuple(warnings))
    if growth.value > 1 + max(growth.allowance, SEPARATION):
        return Verdict(layer, theory, growth, "violated", True, tuple(warnings))
    if theory.nonexpansive_limit is not None:
        warnings.append(
            f"step {theory.step_size:g} is beyond the limit {theory.nonexpansive_limit:.4g}, yet "
            "no pair of inputs was found whose distance grows"
        )
    return Verdict(layer, theory, growth, "measured", False, tuple(warnings))


def _frozen(
    layer: Layer, theory: Theory, growth: Growth, mode: FrozenMode | None, warnings: list[str]
) -> Verdict:
    """The grade of a claim about frozen coefficients beyond its limit."""
    if mode is not None and mode.grows:
        kind = "frequency" if mode.oscillates else "rate"
        warnings.append(
            f"at a state of the network a mode of {kind} {mode.frequency:.4g} grows "
            f"{mode.radius:.4g} times a step while the coefficients stay as they are there"
        )
        return Verdict(layer, theory, growth, "violated", True, tuple(warnings), mode)
    if theory.linear_limit is not None:
        warnings.append(
            f"step {theory.step_size:g} is not below the limit {theory.linear_limit:.4g}, yet no "
            "state was found at which a frozen mode grows"
        )
    return Verdict(layer, theory, growth, "measured", False, tuple(warnings), mode)


def lipschitz_certified(verdicts: Iterable[Verdict]) -> float:
    """Product of the certified growths of all layers as often as they act (theory §4.9)."""
    constants: list[float] = []
    for verdict in verdicts:
        constants += [verdict.theory.growth_certified] * verdict.layer.applications
    return product(constants)


def step_verdicts(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those of the time steps."""
    return [verdict for verdict in verdicts if verdict.layer.kind == "step"]


def count_grades(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many time steps have each grade."""
    counts = Counter(verdict.grade for verdict in step_verdicts(verdicts))
    return {name: counts[name] for name in GRADES if counts[name]}


def first_offender(verdicts: Sequence[Verdict]) -> str | None:
    """Name of the first layer whose claim is contradicted, else of the first without a proof."""
    for wanted in ("violated", "measured"):
        for verdict in verdicts:
            if verdict.grade == wanted:
                return verdict.layer.name
    return None
