"""Exact solutions against an adaptive integrator, and which order conditions a problem sees."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from analysis.errors import InputError
from analysis.methods import ButcherTableau, tableau
from analysis.ode_problems import (
    HamiltonianProblem,
    OdeProblem,
    SplitProblem,
    bernoulli,
    circle,
    clock,
    kepler,
    logistic,
    pendulum,
    stiff_circle,
)
from analysis.order_conditions import Tree, rooted_trees

PROBLEMS = (
    logistic(),
    clock(),
    circle(),
    pendulum(),
    pendulum(3.1),
    kepler(),
    kepler(0.7),
    bernoulli(),
    bernoulli(0.3),
    stiff_circle(),
    stiff_circle(2.0),
)
SPLIT = [problem for problem in PROBLEMS if isinstance(problem, SplitProblem)]
MECHANICAL = [problem for problem in PROBLEMS if isinstance(problem, HamiltonianProblem)]


def name(problem: OdeProblem) -> str:
    return problem.name


def complex_step(f: Callable, y: np.ndarray) -> np.ndarray:
    """Derivative by an imaginary step: no difference, so no cancellation."""
    columns = [f(y + 1e-30j * unit).imag / 1e-30 for unit in np.eye(len(y))]
    return np.stack(columns, axis=1)


def runge_kutta(problem: OdeProblem, table: ButcherTableau, steps: int) -> np.ndarray:
    h, y = problem.end / steps, problem.y0
    A, b = np.array(table.A, dtype=float), np.array(table.b, dtype=float)
    for _ in range(steps):
        stages = np.zeros((table.stages, y.size))
        for i in range(table.stages):
            stages[i] = problem.f(y + h * A[i] @ stages)
        y = y + h * b @ stages
    return y


def observed_order(problem: OdeProblem, table: ButcherTableau, steps: int = 160) -> float:
    truth = problem.exact(problem.end)
    coarse, fine = (
        np.linalg.norm(runge_kutta(problem, table, n) - truth) for n in (steps, 2 * steps)
    )
    return math.log2(coarse / fine)


@pytest.mark.parametrize("problem", PROBLEMS, ids=name)
def test_the_exact_solution_is_where_an_adaptive_integrator_ends(problem: OdeProblem) -> None:
    times = problem.end * np.array([0.3, 0.77, 1.0])
    found = solve_ivp(
        lambda _, y: problem.f(y),
        (0, problem.end),
        problem.y0,
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
        t_eval=times,
    )
    truth = np.stack([problem.exact(t) for t in times], axis=1)
    assert np.abs(found.y - truth).max() < 1e-9


@pytest.mark.parametrize("problem", PROBLEMS, ids=name)
def test_jacobians_are_the_derivatives(problem: OdeProblem) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        y = problem.exact(0.4) + 0.3 * rng.standard_normal(problem.y0.size)
        assert np.allclose(problem.jacobian(y), complex_step(problem.f, y), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("problem", SPLIT, ids=name)
def test_the_parts_of_a_split_problem_add_up_and_do_not_commute(problem: SplitProblem) -> None:
    rng = np.random.default_rng(1)
    y = problem.exact(0.4) + 0.1 * rng.standard_normal(problem.y0.size)
    stiff = problem.linear @ y
    assert np.allclose(problem.explicit(y) + stiff, problem.f(y), rtol=1e-13)
    slopes = problem.explicit_jacobian(y)
    assert np.allclose(slopes, complex_step(problem.explicit, y), rtol=1e-12, atol=1e-12)
    bracket = slopes @ stiff - problem.linear @ problem.explicit(y)
    assert np.linalg.norm(bracket) > 0.01


def test_the_mild_part_stays_mild_where_the_linear_part_is_stiff() -> None:
    for stiffness in (10.0, 1e6):
        problem = stiff_circle(stiffness)
        slopes = [problem.explicit_jacobian(problem.exact(t)) for t in np.linspace(0, 2, 9)]
        assert max(np.linalg.norm(slope, 2) for slope in slopes) < 8
        assert np.linalg.norm(problem.linear, 2) == pytest.approx(stiffness)


@pytest.mark.parametrize("stiffness", [0.3, 5.0])
def test_the_flow_of_the_mild_part(stiffness: float) -> None:
    problem = bernoulli(stiffness)
    assert problem.explicit_flow is not None
    y = np.array([0.2])
    found = solve_ivp(lambda _, z: problem.explicit(z), (0, 0.8), y, rtol=1e-11, atol=1e-13)
    assert problem.explicit_flow(0.8, y) == pytest.approx(found.y[:, -1], rel=1e-9)
    assert np.isfinite(bernoulli(1e6).exact(1.0)).all()


@pytest.mark.parametrize("problem", MECHANICAL, ids=name)
def test_energy_is_constant_and_force_is_the_field(problem: HamiltonianProblem) -> None:
    half = problem.y0.size // 2
    for t in np.linspace(0, 20, 41):
        y = problem.exact(t)
        assert problem.energy(y) == pytest.approx(problem.energy(problem.y0), rel=1e-12)
        assert np.array_equal(problem.f(y), np.concatenate([y[half:], problem.force(y[:half])]))
    # The force is the gradient of the potential within the energy.
    y = problem.exact(1.1)
    for k in range(half):
        shift = 1e-5 * np.eye(2 * half)[k]
        slope = (problem.energy(y + shift) - problem.energy(y - shift)) / 2e-5
        assert problem.force(y[:half])[k] == pytest.approx(-slope, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("problem", PROBLEMS, ids=name)
def test_methods_have_the_order_that_is_proved(problem: OdeProblem) -> None:
    for method in ("heun", "ssprk33", "rk4"):
        table = tableau(method)
        assert observed_order(problem, table) == pytest.approx(table.order, abs=0.2)


# Which order conditions a problem sees

Coloured = tuple[str, tuple]
X, Y, Z = sp.symbols("x y z")
CIRCLE = [Y**2 * sp.exp(X * Y * (X**2 + Y**2 - 1)), -X * Y / (X**2 + Y**2)]


def coloured(tree: Tree, colours: str) -> set[Coloured]:
    """The tree with every choice of a part of the field at each of its nodes."""
    branches = itertools.product(*(coloured(branch, colours) for branch in tree))
    return {(c, tuple(sorted(some))) for some in branches for c in colours}


def derivatives(field: list, variables: tuple, order: int, points: np.ndarray) -> list[np.ndarray]:
    """All derivatives of a field up to an order at some points, each ``(points, d, ..., d)``."""
    symbolic, found = sp.Array(field), []
    for _ in range(order + 1):
        function = sp.lambdify(variables, symbolic, cse=True)
        values = [np.array(function(*point), float) for point in points]
        found.append(np.stack(values))
        symbolic = sp.permutedims(
            sp.derive_by_array(symbolic, variables), [*range(1, len(symbolic.shape) + 1), 0]
        )
    return found


def differential(tree: Coloured, parts: dict[str, list[np.ndarray]]) -> np.ndarray:
    """``F(t) = f^(k)(F(t_1), ..., F(t_k))`` at all points, shape ``(points, d)``."""
    colour, branches = tree
    value = parts[colour][len(branches)]
    for branch in branches:
        value = np.einsum("p...d,pd->p...", value, differential(branch, parts))
    return value


def independent(columns: list[np.ndarray]) -> bool:
    """Whether no combination vanishes at all points: the rounding errors are about 1e-16."""
    lengths = [np.linalg.norm(column) for column in columns]
    unit = np.stack([c.ravel() / size for c, size in zip(columns, lengths, strict=True)], axis=1)
    return bool(np.linalg.svd(unit, compute_uv=False)[-1] > 1e-9)


@pytest.mark.parametrize("order", range(1, 7))
def test_the_circle_sees_every_order_condition(order: int) -> None:
    """Elementary differentials of an order vanish in no combination along the solution."""
    problem = circle()
    points = np.stack([problem.exact(t) for t in np.linspace(0, problem.end, 40)])
    parts = {"f": derivatives(CIRCLE, (X, Y), order - 1, points)}
    assert np.allclose(parts["f"][0], [problem.f(point) for point in points])
    trees = [tree for shape in rooted_trees(order) for tree in coloured(shape, "f")]
    assert independent([differential(tree, parts) for tree in trees])


@pytest.mark.parametrize("order", range(1, 5))
def test_the_stiff_circle_sees_every_coupling_condition(order: int) -> None:
    """Also those of explicit with implicit parts, but where the linear part has two branches."""
    s, times = 20, np.linspace(0, 2.5, 40)
    x, y = np.tanh(times - 1), 1 / np.cosh(times - 1)
    points = np.stack([x, y, x * y / s], axis=1)
    w = Z - X * Y / s
    mild = [CIRCLE[0] + X + w, CIRCLE[1] + 2 * Y + w * X, X * Y + (Y**3 - X**2 * Y) / s]
    fields = {"e": mild, "i": [-X, -2 * Y, -s * Z]}
    parts = {c: derivatives(field, (X, Y, Z), order - 1, points) for c, field in fields.items()}
    problem = stiff_circle(s)
    for part, exact in (("e", problem.explicit), ("i", lambda y: problem.linear @ y)):
        turned = np.stack([exact(problem.exact(t)) for t in times])
        lengths = np.linalg.norm(parts[part][0], axis=1)
        assert np.allclose(np.linalg.norm(turned, axis=1), lengths)

    def is_seen(tree: Coloured) -> bool:
        colour, branches = tree
        return (colour == "e" or len(branches) < 2) and all(map(is_seen, branches))

    trees = {tree for shape in rooted_trees(order) for tree in coloured(shape, "ei")}
    assert independent([differential(tree, parts) for tree in sorted(filter(is_seen, trees))])


def test_a_method_that_is_right_for_linear_problems_only_is_found_out() -> None:
    """Four stages with ``R = 1 + z + ... + z^4 / 24`` and order two (Jameson's smoother)."""
    table = ButcherTableau(
        "jameson",
        [[0, 0, 0, 0], ["1/4", 0, 0, 0], [0, "1/3", 0, 0], [0, 0, "1/2", 0]],
        [0, 0, 0, 1],
    )
    linear = OdeProblem(
        "linear", lambda y: -y, lambda y: -np.eye(1), lambda t: np.exp([-t]), end=1.0
    )
    assert observed_order(linear, table, 20) == pytest.approx(4, abs=0.1)
    assert observed_order(circle(), table) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: pendulum(0.0), "amplitude"),
        (lambda: pendulum(math.pi), "amplitude"),
        (lambda: kepler(1.0), "eccentricity"),
        (lambda: bernoulli(1.0), "stiffness"),
        (lambda: bernoulli(-1.0), "stiffness"),
        (lambda: stiff_circle(0.0), "stiffness"),
        (lambda: stiff_circle(math.nan), "stiffness"),
    ],
)
def test_values_out_of_range_are_refused(make: Callable, part: str) -> None:
    with pytest.raises(InputError, match=part):
        make()
