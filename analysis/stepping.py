"""Time steps of every kind of method in NumPy: simple and readable, to look at small problems.

A stepper takes (y, h) to the state after one step. Implicit equations are solved by Newton's method
to rounding, so that what is seen is the method and not the solver. Networks take their steps from
`pdenet.integrators`.

>>> from analysis.methods import method
>>> from analysis.ode_problems import logistic
>>> problem = logistic()
>>> states = integrate(method("gauss3"), problem, problem.y0, problem.end / 20, 20)
>>> states.shape, bool(abs(states[-1] - problem.exact(problem.end))[0] < 1e-10)
((21, 1), True)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import expm

from analysis.errors import InputError
from analysis.methods import Method, kind, tableau
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.ode_problems import HamiltonianProblem, OdeProblem, SplitProblem
from analysis.one_step import (
    Array,
    Field,
    Flow,
    additive_step,
    difference_jacobian,
    explicit_step,
    implicit_step,
    solve_stage,
    splitting_step,
    stabilised_step,
    weighted_sum,
)
from analysis.splitting import Part, SplittingMethod
from analysis.stabilised import StabilisedMethod
from analysis.tableau import ButcherTableau, ImexTableau

Step = Callable[[Array, float], Array]

_START_SUBSTEPS = 8


@dataclass(frozen=True, eq=False)
class SplitField:
    """y' = explicit(y) + implicit(y), for implicit-explicit methods.

    Attributes:
        explicit: the part that is evaluated, shape (d,) to (d,).
        implicit: the part that equations are solved for, shape (d,) to (d,).
        implicit_jacobian: its derivative, shape (d, d); by differences where it is None.
    """

    explicit: Field
    implicit: Field
    implicit_jacobian: Field | None = None

    def __call__(self, y: Array) -> Array:
        """The sum of both parts."""
        return self.explicit(y) + self.implicit(y)


Problem = Field | OdeProblem | SplitField | Mapping[Part, Flow]
"""What is stepped: a right-hand side, a problem, two parts, or the flows of two parts."""


def integrate(
    method: Method, problem: Problem, y0: ArrayLike, step_size: float, steps: int
) -> Array:
    """All states of a fixed-step integration, shape (steps + 1, d), the first is y0.

    Args:
        method: a method of any kind.
        problem: a right-hand side or an `OdeProblem`; for implicit-explicit methods a `SplitField`
            or `SplitProblem`; for splitting methods the flow (t, y) -> y of each part, a
            `SplitProblem` with a known flow or, for drift and kick, a `HamiltonianProblem`.
        y0: the initial value, shape (d,).
        step_size: h, units of time.
        steps: how many steps to take.

    The first values of a multistep method are those of Gauss's method of order 6 with smaller
    steps. Raises InputError where problem and method do not fit, and where Newton's method fails.
    """
    start = np.array(y0, dtype=np.result_type(np.asarray(y0), float))
    if isinstance(method, MultistepMethod | ImexMultistep):
        return multistep_states(method, problem, start, step_size, steps)
    step, states = stepper(method, problem), [start]
    for _ in range(steps):
        states.append(step(states[-1], step_size))
    return np.array(states)


def stepper(method: Method, problem: Problem) -> Step:
    """The step (y, h) -> y+ of a one-step method.

    >>> from analysis.methods import method
    >>> float(stepper(method("heun"), lambda y: -y)(np.array([1.0]), 1.0)[0])
    0.5
    """
    if isinstance(method, SplittingMethod):
        fractions = [(part, float(fraction)) for part, fraction in method.flows]
        return partial(splitting_step, fractions, _flows(method, problem))
    if isinstance(method, ImexTableau):
        field = _split(method, problem)
        return partial(
            additive_step,
            _arrays(method.explicit),
            _arrays(method.implicit),
            field.explicit,
            field.implicit,
            field.implicit_jacobian,
        )
    f, jacobian = _field(method, problem)
    if isinstance(method, StabilisedMethod):
        recurrence = [tuple(map(float, stage)) for stage in method.recurrence]
        return partial(stabilised_step, recurrence, f)
    if isinstance(method, ButcherTableau) and method.explicit:
        return partial(explicit_step, _arrays(method), f)
    if isinstance(method, ButcherTableau):
        return partial(implicit_step, _arrays(method), f, jacobian)
    raise InputError("a one-step method", f"'{method.name}', {kind(method)}", "use integrate")


def multistep_states(
    method: MultistepMethod | ImexMultistep,
    problem: Problem,
    y0: Array,
    step_size: float,
    steps: int,
) -> Array:
    """All states of sum_j alpha_j y_{n+j} = h sum_j beta_j f(y_{n+j}).

    Implicit-explicit methods have h sum_j beta~_j g(y_{n+j}) beside it.
    """
    h, k = step_size, method.steps
    alpha = [float(a) for a in method.alpha]
    if isinstance(method, ImexMultistep):
        field = _split(method, problem)
        total: Field = field
        parts = [(field.explicit, method.beta), (field.implicit, method.beta_implicit)]
        solved, jacobian = field.implicit, field.implicit_jacobian
    else:
        total, jacobian = _field(method, problem)
        parts, solved = [(total, method.beta)], total
    weights = [[float(x) for x in beta] for _, beta in parts]
    states = _starting_values(total, y0, h, min(k - 1, steps))
    slopes = [[f(y) for y in states] for f, _ in parts]
    while len(states) <= steps:
        known = -weighted_sum(alpha[:k], states[-k:])
        for beta, values in zip(weights, slopes, strict=True):
            known = known + h * weighted_sum(beta[:k], values[-k:])
        states.append(solve_stage(solved, jacobian, known, h * weights[-1][k]))
        for (f, _), values in zip(parts, slopes, strict=True):
            values.append(f(states[-1]))
    return np.array(states)


def _starting_values(f: Field, y0: Array, h: float, count: int) -> list[Array]:
    """y0 and `count` more values, of order 6 in steps of h / 8."""
    step = stepper(tableau("gauss3"), f)
    states = [y0]
    for _ in range(count):
        y = states[-1]
        for _ in range(_START_SUBSTEPS):
            y = step(y, h / _START_SUBSTEPS)
        states.append(y)
    return states


def _arrays(table: ButcherTableau) -> tuple[Array, Array]:
    return np.array(table.A, dtype=float), np.array(table.b, dtype=float)


# What a problem offers to a method.


def _field(method: Method, problem: Problem) -> tuple[Field, Field]:
    """Right-hand side and Jacobian."""
    if isinstance(problem, OdeProblem):
        return problem.f, problem.jacobian
    if callable(problem):
        return problem, partial(difference_jacobian, problem)
    raise _misfit(method, "a right-hand side", problem)


def _split(method: Method, problem: Problem) -> SplitField:
    if isinstance(problem, SplitField):
        return problem
    if isinstance(problem, SplitProblem):
        matrix = problem.linear
        return SplitField(problem.explicit, lambda y: matrix @ y, lambda y: matrix)
    raise _misfit(method, "a SplitField or SplitProblem", problem)


def _flows(method: SplittingMethod, problem: Problem) -> Mapping[Part, Flow]:
    if isinstance(problem, Mapping):
        missing = {part for part, _ in method.flows} - set(problem)
        if missing:
            raise InputError(
                f"a flow of every part of {method.name}",
                f"none of {', '.join(sorted(missing))}",
                "pass {part: flow} with flow(t, y)",
            )
        return problem
    if method.partitioned and isinstance(problem, HamiltonianProblem):
        return {"drift": _drift, "kick": partial(_kick, problem.force)}
    if not method.partitioned and isinstance(problem, SplitProblem) and problem.explicit_flow:
        matrix = problem.linear
        return {"explicit": problem.explicit_flow, "implicit": lambda t, y: expm(t * matrix) @ y}
    wanted = "a HamiltonianProblem" if method.partitioned else "a SplitProblem with a known flow"
    raise _misfit(method, f"the flows of both parts or {wanted}", problem)


def _drift(t: float, y: Array) -> Array:
    q, p = np.split(y, 2)
    return np.concatenate([q + t * p, p])


def _kick(force: Field, t: float, y: Array) -> Array:
    q, p = np.split(y, 2)
    return np.concatenate([q, p + t * force(q)])


def _misfit(method: Method, wanted: str, problem: object) -> InputError:
    return InputError(
        f"{wanted} for '{method.name}', {kind(method)}",
        type(problem).__name__,
        "choose another problem or method",
    )
