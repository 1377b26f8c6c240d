"""Which method and step reach a time most cheaply, safely and accurately enough.

>>> best = plans(np.array([-1000.0, -1.0]), time=1.0, solve_cost=100.0)[0]
>>> best.method, best.steps, best.applications
('rkc1:stages=24', 1, 24)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from analysis.clouds import Complex, Eigenvalues, Pairs, RealInterval
from analysis.contractivity import circle_contractivity_radius
from analysis.errors import InputError
from analysis.imex_stability import ExactFlows, ImexStabilityFunction
from analysis.methods import Method, method
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.splitting import SplittingMethod
from analysis.stabilised import StabilisedMethod
from analysis.stabilised_stability import EXACT_STAGES
from analysis.stability import StabilityFunction
from analysis.stability_of import stability_of
from analysis.steps import largest_stable_step
from analysis.tableau import ButcherTableau, ImexTableau

Claim = Literal["linear", "non-expansive"]

SINGLE = (
    "euler",
    "heun",
    "ssprk33",
    "rk4",
    "ssprk104",
    "dopri5",
    "ab2",
    "ab3",
    "backward-euler",
    "crank-nicolson",
    "sdirk2",
    "radau-iia2",
)
"""Methods of fixed length that are compared where one list of eigenvalues is given."""
STABILISED = ("rkc1", "rkc2", "rkl2")
"""Families whose number of stages is chosen."""
PAIRED = ("ars111", "ars222", "ars232", "ars233", "ars443", "sbdf2", "cnab")
"""Methods that are compared where the eigenvalues of two parts are given: splittings are exact for
numbers, which would tell nothing of their error."""

SAFETY = 0.95
"""Share of the largest stable step that is taken."""
LARGEST_STAGES = 200
_MOST_STEPS = 10**9
_LOOKED_AT = 4096


@dataclass(frozen=True)
class Plan:
    """One way to a time T.

    Attributes:
        method: name of the method.
        step_size: T / steps.
        steps: their number.
        applications: evaluations of the field (the explicit part, where there are two).
        solves: linear or nonlinear solves with the field (the implicit part).
        order: order of the method.
        claim: what is safe: ``linear`` (no frozen mode grows) or ``non-expansive``.
        error: the largest |R(h lambda)^steps - exp(T lambda)|, relative to data of size one, over
            the eigenvalues; of more than 8,192 over the 4,096 slowest and as many others. None
            where the method keeps several values.
        limit: the largest step of the claim.
    """

    method: str
    step_size: float
    steps: int
    applications: int
    solves: int
    order: int
    claim: Claim
    error: float | None
    limit: float

    def cost(self, solve_cost: float) -> float:
        """Applications, and solves as so many applications each."""
        return self.applications + solve_cost * self.solves


def plans(
    spectrum: Any,
    *,
    time: float,
    budget: float | None = None,
    accuracy: float | None = None,
    claim: Claim = "linear",
    solve_cost: float = 10.0,
) -> list[Plan]:
    """Ways to reach a time, the cheapest first.

    Every method takes as few steps as its limit (95 % of it) and the accuracy allow; stabilised
    methods also as few stages. Non-expansive plans need a dissipative symmetric field, whose real
    eigenvalues bound its curvature from above: explicit methods take h <= 2 r_cc / Lambda, of
    which r_cc = s Euler sub-steps are the best with s applications, and backward Euler is firmly
    non-expansive (theory §4.2, §4.5).

    Args:
        spectrum: eigenvalues in 1 / time, a `RealInterval`, or `Pairs` for methods with an
            explicit and an implicit part.
        time: T > 0.
        budget: keep plans of at most this cost.
        accuracy: keep plans with at most this error; methods without an error are left out.
        claim: ``linear`` or ``non-expansive``.
        solve_cost: how many applications one implicit solve costs.

    Raises InputError for numbers out of range, a spectrum that grows or is not real where the claim
    is non-expansive.
    """
    _check(time, budget, accuracy, solve_cost)
    field = _Field.of(spectrum)
    if claim == "non-expansive":
        found = list(_nonexpansive(field, time, accuracy))
    elif claim == "linear":
        found = list(_linear(field, time, accuracy, solve_cost))
    else:
        raise InputError("the claim linear or non-expansive", claim, "choose one")
    found.sort(key=lambda plan: (plan.cost(solve_cost), -plan.order))
    return [plan for plan in found if budget is None or plan.cost(solve_cost) <= budget]


def _check(time: float, *others: float | None) -> None:
    for name, value in zip(
        ("time", "budget", "accuracy", "cost of a solve"), (time, *others), strict=True
    ):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"a positive {name}", value, "pass a number > 0")


@dataclass(frozen=True, eq=False)
class _Field:
    """The eigenvalues, all for limits and some for errors; pairs have two arrays."""

    limits: Any
    parts: tuple[Complex, ...]

    @classmethod
    def of(cls, spectrum: Any) -> _Field:
        if isinstance(spectrum, Pairs):
            explicit, implicit = spectrum.arrays()
            cls._refuse_growth(Eigenvalues.of(explicit + implicit))
            chosen = _spread(explicit + implicit)
            return cls(spectrum, (explicit[chosen], implicit[chosen]))
        if isinstance(spectrum, RealInterval):
            spectrum = np.linspace(spectrum.lowest, spectrum.highest, _LOOKED_AT)
        values = Eigenvalues.of(spectrum)
        cls._refuse_growth(values)
        return cls(values, (values.snapped[_spread(values.snapped)],))

    @staticmethod
    def _refuse_growth(values: Eigenvalues) -> None:
        if values.rate > 0:
            raise InputError(
                "eigenvalues without growth",
                f"a growth rate of {values.rate:.6g}",
                "judge steps of a growing problem one by one with --step",
            )

    @property
    def exact(self) -> Complex:
        """The eigenvalues of the problem itself."""
        return np.asarray(sum(self.parts))


def _spread(values: Complex) -> np.ndarray:
    """Indices of the slowest values, whose errors last, and of others of all sizes."""
    order = np.argsort(np.abs(values))
    if len(order) <= 2 * _LOOKED_AT:
        return order
    others = np.linspace(_LOOKED_AT, len(order) - 1, _LOOKED_AT).round().astype(int)
    return order[np.concatenate([np.arange(_LOOKED_AT), others])]


def _linear(
    field: _Field, time: float, accuracy: float | None, solve_cost: float
) -> Iterator[Plan]:
    pairs = len(field.parts) == 2
    for name in PAIRED if pairs else SINGLE:
        found = method(name)
        limit = largest_stable_step(found, field.limits).step_size
        yield from _planned(found, limit, field, time, accuracy, "linear")
    if not pairs:
        for family in STABILISED:
            yield from _stabilised(family, field, time, accuracy)


def _nonexpansive(field: _Field, time: float, accuracy: float | None) -> Iterator[Plan]:
    values = field.exact
    if len(field.parts) == 2 or np.abs(values.imag).max() > 0:
        raise InputError(
            "real eigenvalues of a symmetric field for a non-expansive step",
            "pairs" if len(field.parts) == 2 else "complex eigenvalues",
            "ask for the linear claim",
        )
    curvature = float(np.abs(values).max())
    for name in SINGLE:
        found = method(name)
        if not isinstance(found, ButcherTableau):
            continue
        radius = circle_contractivity_radius(found)
        limit = 2 * radius / curvature if curvature else math.inf
        yield from _planned(found, limit, field, time, accuracy, "non-expansive")


def _stabilised(family: str, field: _Field, time: float, accuracy: float | None) -> Iterator[Plan]:
    """The plan of a family with the fewest applications, over the number of steps."""
    best: Plan | None = None
    largest = float(np.abs(field.exact).max())
    steps = 1
    while steps <= _MOST_STEPS and (best is None or 2 * steps < best.applications):
        stages = _fewest_stages(family, field, time / steps, largest)
        if stages is not None:
            found = method(f"{family}:stages={stages}")
            limit = largest_stable_step(found, field.limits).step_size
            for plan in _planned(found, limit, field, time, accuracy, "linear", steps):
                plan = replace(plan, method=f"{family}:stages={stages}")
                if best is None or plan.applications < best.applications:
                    best = plan
            if accuracy is None:
                break
        steps = max(steps + 1, math.ceil(steps * 1.25))
    if best is not None:
        yield best


def _fewest_stages(family: str, field: _Field, step: float, largest: float) -> int | None:
    """The fewest stages whose safe step is at least `step`, None where none of 200 is."""

    def enough(stages: int) -> bool:
        found = method(f"{family}:stages={stages}")
        limit = largest_stable_step(found, field.limits).step_size
        return SAFETY * limit >= step

    # Off the real axis hundreds of damped stages would take seconds each.
    most = LARGEST_STAGES if not field.exact.imag.any() else EXACT_STAGES
    low, high = 1, 2
    while not enough(high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _planned(
    found: Method,
    limit: float,
    field: _Field,
    time: float,
    accuracy: float | None,
    claim: Claim,
    least: int = 1,
) -> Iterator[Plan]:
    """The plan with the fewest steps that keep the limit and the accuracy, if there is one."""
    if limit <= 0 or time / (SAFETY * limit) > _MOST_STEPS:
        return
    fewest = least if math.isinf(limit) else max(least, math.ceil(time / (SAFETY * limit)))
    error = _error_of(found, field, time)
    if accuracy is not None:
        if error is None:
            return
        accurate = _fewest(lambda n: error(n) <= accuracy, fewest)
        if accurate is None:
            return
        fewest = accurate
    if fewest > _MOST_STEPS:
        return
    applications, solves = work(found)
    yield Plan(
        found.name,
        time / fewest,
        fewest,
        fewest * applications,
        fewest * solves,
        found.order,
        claim,
        None if error is None else error(fewest),
        limit,
    )


def _fewest(good: Callable[[int], bool], start: int) -> int | None:
    """The smallest n >= start that is good, where all above it are."""
    low, high = start - 1, start
    while not good(high):
        low, high = high, 2 * high
        if high > _MOST_STEPS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if good(middle) else (middle, high)
    return high


def _error_of(found: Method, field: _Field, time: float) -> Callable[[int], float] | None:
    """n -> max |R(T lambda / n)^n - exp(T lambda)|; None for methods of several steps."""
    R = stability_of(found)
    if not isinstance(R, StabilityFunction | ImexStabilityFunction | ExactFlows):
        return None
    with np.errstate(over="ignore"):
        exact = np.exp(time * field.exact)

    def error(steps: int) -> float:
        step = time / steps
        with np.errstate(all="ignore"):
            power = R(*(step * part for part in field.parts)) ** steps
        worst = np.abs(power - exact)
        return float(np.nan_to_num(worst, nan=math.inf).max())

    return error


def work(found: Method) -> tuple[int, int]:
    """Evaluations of the (explicit) field and implicit solves of one step.

    >>> work(method("rk4")), work(method("ars222")), work(method("bdf2")), work(method("verlet"))
    ((4, 0), (2, 2), (0, 1), (1, 0))
    """
    if isinstance(found, StabilisedMethod):
        return found.stages, 0
    if isinstance(found, ButcherTableau):
        if found.explicit:
            # The last stage of such a step is the first of the next one.
            return _stages_read(found) - int(found.fsal), 0
        return 0, sum(1 for i, row in enumerate(found.A) if any(row[i:]))
    if isinstance(found, MultistepMethod):
        return (1, 0) if found.explicit else (0, 1)
    if isinstance(found, ImexTableau):
        solves = sum(1 for i, row in enumerate(found.implicit.A) if row[i])
        return _stages_read(found.explicit), solves
    if isinstance(found, ImexMultistep):
        return 1, 1
    return _flows(found)


def _flows(found: SplittingMethod) -> tuple[int, int]:
    """Kicks, of which the last serves the next step too; or flows of both parts."""
    parts = [part for part, _ in found.flows]
    shared = int(len(parts) > 2 and parts[0] == parts[-1])
    if found.partitioned:
        return parts.count("kick") - shared * (parts[0] == "kick"), 0
    explicit = parts.count("explicit") - shared * (parts[0] == "explicit")
    return explicit, len(parts) - shared - explicit


def _stages_read(table: ButcherTableau) -> int:
    """Stages that another one or the result reads."""
    return sum(any(row[j] for row in table.A) or bool(table.b[j]) for j in range(table.stages))
