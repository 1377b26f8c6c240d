"""Stability functions, exact intervals, contractivity radii against matrices, sympy and print."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.contractivity import circle_contractivity_radius
from analysis.exact import Quadratic
from analysis.methods import METHODS, method, tableau
from analysis.stabilised import StabilisedMethod
from analysis.stability import (
    StabilityFunction,
    imaginary_stability_interval,
    real_stability_interval,
    stability_function,
)
from analysis.tableau import ButcherTableau

NAMES = [
    *(n for n in METHODS if isinstance(method(n), ButcherTableau | StabilisedMethod)),
    "rkc1:stages=5,damping=0",
    "rkc1:stages=17",
    "rkc2:stages=6,damping=0",
    "rkc2:stages=15",
    "theta:value=0.2",
    "theta:value=0.8",
]


def function(name):
    return stability_function(tableau(name))


def as_sympy(a):
    if isinstance(a, Quadratic):
        return as_sympy(a.rational) + as_sympy(a.factor) * sympy.sqrt(a.radicand)
    return sympy.Rational(Fraction(a))


def substeps(count, name="euler"):
    """The method made of `count` equal steps of another one."""
    one = tableau(name)
    s = one.stages
    A = [[Fraction(0)] * (s * count) for _ in range(s * count)]
    for block in range(count):
        for i in range(s):
            for earlier in range(block):
                for j in range(s):
                    A[block * s + i][earlier * s + j] = one.b[j] / count
            for j in range(s):
                A[block * s + i][block * s + j] = one.A[i][j] / count
    return ButcherTableau(f"{count} x {name}", A, [w / count for w in one.b] * count)


def step_matrix(method, J):
    """The matrix of one step of size 1 on y' = J y, by solving for all stages together."""
    A, b = (np.array(x, dtype=float) for x in (method.A, method.b))
    s, n = len(b), len(J)
    stages = np.linalg.solve(np.eye(s * n) - np.kron(A, J), np.tile(J, (s, 1)))
    return np.eye(n) + np.kron(b, np.eye(n)) @ stages


@pytest.mark.parametrize("name", NAMES)
def test_the_function_is_what_a_step_does_to_a_linear_system(name):
    rng = np.random.default_rng(3)
    method, R = tableau(name), function(name)
    J = rng.normal(size=(4, 4)) / 2 - np.eye(4)
    one = step_matrix(method, J)
    numerator, denominator = (
        sum(float(a) * np.linalg.matrix_power(J, k) for k, a in enumerate(p))
        for p in (R.numerator, R.denominator)
    )
    np.testing.assert_allclose(denominator @ one, numerator, atol=1e-12)
    values, vectors = scipy.linalg.eig(J)
    np.testing.assert_allclose(one @ vectors, vectors * R(values), atol=1e-12)


def test_exact_coefficients():
    assert function("rk4").numerator == tuple(Fraction(1, math.factorial(k)) for k in range(5))
    assert function("dopri5").numerator == (
        *(Fraction(1, math.factorial(k)) for k in range(6)),
        Fraction(1, 600),
    )
    half = Fraction(1, 2)
    assert function("crank-nicolson") == StabilityFunction((1, half), (1, -half))
    assert function("backward-euler") == StabilityFunction((Fraction(1),), (1, Fraction(-1)))
    assert function("theta:value=0").numerator == function("euler").numerator
    # An unused implicit stage leaves a common factor behind, which has to go.
    padded = ButcherTableau("padded", [[0, 0], [0, 1]], [1, 0])
    assert stability_function(padded) == function("euler")


def test_gauss_of_two_stages_is_the_pade_function_of_degree_two():
    # The matrix part of Gauss is irrational; this table has its stability function, and order 2.
    a = Fraction(1, 12)
    R = StabilityFunction((Fraction(1), Fraction(1, 2), a), (Fraction(1), Fraction(-1, 2), a))
    assert math.isinf(real_stability_interval(R)) and math.isinf(imaginary_stability_interval(R))
    assert R.a_stable


@pytest.mark.parametrize("stages", [30, 50])
def test_chebyshev_methods_are_evaluated_where_powers_cancel(stages):
    R = function(f"rkc1:stages={stages},damping=0")
    z = -2 * stages**2 * np.linspace(0, 1, 200)
    exact = np.cos(stages * np.arccos(1 + z / stages**2))
    np.testing.assert_allclose(R(z).real, exact, atol=1e-11)
    assert R(0.0) == 1


@pytest.mark.parametrize("name", NAMES)
def test_values_are_right_in_the_complex_plane(name):
    R = function(name)
    rng = np.random.default_rng(0)
    z = rng.uniform(-40, 2, 20) + 1j * rng.uniform(-9, 9, 20)
    for point, value in zip(z, R(z), strict=True):
        x = sympy.Rational(Fraction(point.real)) + sympy.I * sympy.Rational(Fraction(point.imag))
        n, d = (
            sum((as_sympy(a) * x**k for k, a in enumerate(p)), sympy.Integer(0))
            for p in (R.numerator, R.denominator)
        )
        expected = complex(n.evalf(60)) / complex(d.evalf(60))
        assert value == pytest.approx(expected, rel=1e-12)


def test_a_pole_is_infinite_and_shapes_are_kept():
    R = function("backward-euler")
    assert np.isinf(np.abs(R(1.0)))
    assert R(np.zeros((2, 3))).shape == (2, 3)
    assert abs(R(-1e300)) < 1e-299


REAL = {
    "euler": 2,
    "midpoint": 2,
    "heun": 2,
    "ssprk22": 2,
    "ssprk33": 2.5127453266,
    "rk4": 2.7852935634,
    "dopri5": 3.3065678926,
    "backward-euler": math.inf,
    "crank-nicolson": math.inf,
    "theta:value=1/4": 4,
    "theta:value=3/4": math.inf,
}
IMAGINARY = {
    "euler": 0,
    "midpoint": 0,
    "heun": 0,
    "ssprk33": math.sqrt(3),
    "rk4": math.sqrt(8),
    "dopri5": 0.9971890086,
    "rkc1": 0,
    "rkc2": 0,
    "backward-euler": math.inf,
    "crank-nicolson": math.inf,
    "theta:value=1/4": 0,
}


@pytest.mark.parametrize(("name", "interval"), REAL.items())
def test_published_real_intervals(name, interval):
    assert real_stability_interval(function(name)) == pytest.approx(interval, abs=1e-10)


@pytest.mark.parametrize(("name", "interval"), IMAGINARY.items())
def test_published_imaginary_intervals(name, interval):
    found = imaginary_stability_interval(function(name))
    # Exactly 0 where the method has none: a tolerance would invent one of 0.01.
    assert found == (interval if interval == 0 else pytest.approx(interval, abs=1e-10))


@pytest.mark.parametrize("stages", range(1, 31))
def test_undamped_first_order_chebyshev_reaches_exactly_twice_the_square(stages):
    R = function(f"rkc1:stages={stages},damping=0")
    assert real_stability_interval(R) == 2 * stages**2
    if stages > 1:
        assert imaginary_stability_interval(R) == 0


def test_two_chebyshev_stages_of_order_two_are_any_two_stages_of_order_two():
    assert function("rkc2:stages=2").numerator == function("heun").numerator


@pytest.mark.parametrize("stages", range(3, 21))
def test_damped_chebyshev_methods_reach_their_published_length(stages):
    first = real_stability_interval(function(f"rkc1:stages={stages}"))
    assert first == pytest.approx((2 - 4 / 3 / 20) * stages**2, rel=0.01)
    second = real_stability_interval(function(f"rkc2:stages={stages}"))
    # Odd methods go further: past the formula R falls from its mean to -1 instead of rising to 1.
    formula = 0.653 * (stages**2 - 1)
    assert formula * 0.995 < second < formula * (1.02 if stages % 2 == 0 else 1.4)


def test_damping_keeps_the_modulus_below_one_inside():
    for name in ("rkc1:stages=9", "rkc2:stages=9"):
        R = function(name)
        z = -np.linspace(2.0, real_stability_interval(R) - 2.0, 4000)
        assert np.abs(R(z)).max() < 0.97


@pytest.mark.parametrize("name", NAMES)
def test_intervals_end_where_the_modulus_passes_one(name):
    R = function(name)
    for interval, direction in (
        (real_stability_interval(R), -1),
        (imaginary_stability_interval(R), 1j),
    ):
        if math.isinf(interval):
            r = np.geomspace(1e-3, 1e9, 4000)
            assert np.abs(R(direction * r)).max() <= 1 + 1e-12
        elif interval == 0:
            assert np.abs(R(direction * 0.2)) > 1
        else:
            r = np.linspace(0, interval, 4000)
            assert np.abs(R(direction * r)).max() <= 1 + 1e-12
            assert np.abs(R(direction * interval * 1.0001)) > 1 + 1e-12


def test_the_real_interval_sees_an_exit_through_a_double_looking_root():
    # |R| touches one at z = -1 (does not end the interval) and leaves at z = -3.
    z = sympy.Symbol("z")
    square = sympy.Poly(1 + z * (z + 1) ** 2 * (z + 3) / 3 / 4, z)
    coefficients = tuple(Fraction(int(a.p), int(a.q)) for a in reversed(square.all_coeffs()))
    assert real_stability_interval(StabilityFunction(coefficients, (Fraction(1),))) == 3.0


@given(st.lists(st.fractions(-1, 1, max_denominator=12), min_size=1, max_size=4))
@settings(max_examples=40)
def test_random_polynomials_agree_with_sympy(higher):
    R = StabilityFunction((Fraction(1), Fraction(1), *higher), (Fraction(1),))
    t = sympy.Symbol("t", real=True)
    for interval, x in (
        (real_stability_interval(R), -t),
        (imaginary_stability_interval(R), sympy.I * t),
    ):
        value = sum((sympy.Rational(a) * x**k for k, a in enumerate(R.numerator)), sympy.Integer(0))
        excess = sympy.Poly(sympy.expand(sympy.re(value) ** 2 + sympy.im(value) ** 2 - 1), t)
        roots = sorted({r for r in excess.real_roots() if r > 0}, key=lambda r: r.evalf(40))
        ends = [sympy.Integer(0), *roots]
        samples = [
            excess.eval((a.evalf(40) + b.evalf(40)) / 2)
            for a, b in zip(ends, [*roots, ends[-1] + 2], strict=True)
        ]
        first = next((k for k, sample in enumerate(samples) if sample > 0), None)
        expected = math.inf if first is None else float(ends[first].evalf(30))
        assert interval == pytest.approx(expected, rel=1e-14)


RADII = {
    "euler": 1,
    "heun": 1,
    "ssprk22": 1,
    "ssprk33": 1,
    "rk4": 1,
    "midpoint": 0,
    "dopri5": 0,
    "rkc2": 0,
    "backward-euler": math.inf,
    "crank-nicolson": 2,
    "theta:value=0": 1,
}


@pytest.mark.parametrize(("name", "radius"), RADII.items())
def test_published_contractivity_radii(name, radius):
    assert circle_contractivity_radius(tableau(name)) == radius


def test_contractivity_of_chebyshev_methods_is_far_below_their_linear_interval():
    undamped, damped = (tableau(f"rkc1:stages=5,damping={d}") for d in ("0", "1/20"))
    assert circle_contractivity_radius(undamped) == pytest.approx(1.43, abs=0.005)
    assert circle_contractivity_radius(damped) == pytest.approx(1.45, abs=0.01)
    assert 2 * circle_contractivity_radius(damped) == pytest.approx(2.9, abs=0.02)
    assert real_stability_interval(stability_function(damped)) == pytest.approx(48.4, abs=0.1)


def test_algebraically_stable_methods_have_no_limit():
    implicit_midpoint = ButcherTableau("implicit midpoint", [["1/2"]], [1])
    assert math.isinf(circle_contractivity_radius(implicit_midpoint))
    radau = ButcherTableau("radau iia", [["5/12", "-1/12"], ["3/4", "1/4"]], ["3/4", "1/4"])
    assert radau.order == 3 and math.isinf(circle_contractivity_radius(radau))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_euler_substeps_attain_the_bound_of_their_number(count):
    assert circle_contractivity_radius(substeps(count)) == count


@pytest.mark.parametrize("name", [*NAMES, "rkc1:stages=20", "rkc1:stages=13"])
def test_no_explicit_method_exceeds_its_number_of_stages(name):
    method = tableau(name)
    if method.explicit:
        assert circle_contractivity_radius(method) <= method.stages


def test_stages_that_do_not_count_are_left_out():
    padded = ButcherTableau("padded", [[0, 0, 0], [1, 0, 0], [0, 1, 0]], ["1/2", "1/2", 0])
    assert circle_contractivity_radius(padded) == circle_contractivity_radius(tableau("heun"))


def test_the_long_route_of_the_radius_agrees_with_the_exact_one(monkeypatch):
    method = tableau("rkc1:stages=7")
    exact = circle_contractivity_radius(method)
    monkeypatch.setattr("analysis.contractivity._EXACT_STAGES", 0)
    assert circle_contractivity_radius(method) == pytest.approx(exact, rel=1e-13)


def largest_disc_value(method, radius, rng):
    """max |1 + b^T Z (I - A Z)^{-1} 1| over Z = diag(z_i) with |z_i + r| = r, the definition."""
    A, b = (np.array(x, dtype=float) for x in (method.A, method.b))
    used = [i for i in range(len(b)) if b[i] or np.any(A[:, i])]
    A, b = A[np.ix_(used, used)], b[used]

    def value(angles):
        z = radius * (np.exp(1j * angles) - 1)
        return -abs(1 + (b * z) @ np.linalg.solve(np.eye(len(b)) - A * z, np.ones(len(b))))

    starts = [*rng.uniform(0, 2 * np.pi, (20, len(b))), *rng.normal(np.pi, 0.3, (10, len(b)))]
    return max(-scipy.optimize.minimize(value, start).fun for start in starts)


@pytest.mark.parametrize(
    "name", ["euler", "heun", "ssprk33", "rk4", "rkc1:stages=3", "rkc1:stages=4,damping=0"]
)
def test_the_radius_is_sharp_by_its_definition(name):
    rng = np.random.default_rng(1)
    method = tableau(name)
    radius = circle_contractivity_radius(method)
    assert largest_disc_value(method, 0.999 * radius, rng) <= 1 + 1e-9
    assert largest_disc_value(method, 1.05 * radius, rng) > 1 + 1e-6


def test_explicit_midpoint_expands_at_every_step_size():
    # Theory 4.2: stage Jacobians -L v v^T, then -L e1 e1^T, both of y' = -K^T sigma(K y + b) type.
    v = np.array([1.0, 1.0]) / math.sqrt(2)
    for h in (1e-3, 1e-2, 0.1, 0.5, 1.0):
        first, second = -h * np.outer(v, v), -h * np.diag([1.0, 0.0])
        one = np.eye(2) + second @ (np.eye(2) + first / 2)
        norm = np.linalg.norm(one, 2)
        assert norm > 1
        assert norm >= math.sqrt(1 + h**4 / 16) * (1 - 1e-15)
    assert circle_contractivity_radius(tableau("midpoint")) == 0
    assert real_stability_interval(function("midpoint")) == 2


@pytest.mark.parametrize("name", ["heun", "ssprk33", "rk4"])
def test_stage_jacobians_do_not_expand_within_the_radius(name):
    # The same kind of stages, at the limit h L = 2 r, for projections in all directions.
    method = tableau(name)
    A, b = (np.array(x, dtype=float) for x in (method.A, method.b))
    rng = np.random.default_rng(5)
    limit = 2 * circle_contractivity_radius(method)
    worst = 0.0
    for _ in range(300):
        angles = rng.uniform(0, np.pi, len(b))
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        slopes = [-limit * np.outer(w, w) for w in directions]
        stages = []
        for i in range(len(b)):
            inner = np.eye(2) + sum((A[i, j] * stages[j] for j in range(i)), np.zeros((2, 2)))
            stages.append(slopes[i] @ inner)
        one = np.eye(2) + sum(w * k for w, k in zip(b, stages, strict=True))
        worst = max(worst, np.linalg.norm(one, 2))
    assert worst <= 1 + 1e-12


def test_a_stability_of_the_theta_family():
    for value in ("0", "0.25", "0.49"):
        assert not function(f"theta:value={value}").a_stable
    for value in ("1/2", "0.51", "1"):
        R = function(f"theta:value={value}")
        assert R.a_stable
        grid = -np.geomspace(1e-3, 1e3, 40)[:, None] + 1j * np.array([0, 1, 9])
        assert np.abs(R(grid)).max() <= 1


def test_bounded_on_the_axis_with_a_pole_on_the_left_is_not_a_stable():
    R = StabilityFunction((Fraction(1),), (Fraction(1), Fraction(1)))
    assert math.isinf(imaginary_stability_interval(R)) and not R.a_stable
