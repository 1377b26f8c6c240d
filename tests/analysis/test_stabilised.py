"""Stabilised methods: closed form, recurrence and table of one method, and published formulas."""

from __future__ import annotations

import math
import pickle
import time
from fractions import Fraction

import numpy as np
import pytest
from numpy.polynomial import Chebyshev, Legendre

from analysis.errors import InputError
from analysis.methods import method, tableau
from analysis.order_conditions import proved_order
from analysis.stabilised import FAMILIES, StabilisedMethod, polynomial_values
from analysis.stepping import stepper

DAMPINGS = [Fraction(0), Fraction(1, 20), Fraction(2, 13), Fraction(7, 3)]
LEAST = {name: family.order for name, family in FAMILIES.items()}


def stabilised(family, stages, damping=Fraction(0)):
    return StabilisedMethod(family, family, stages, damping)


def polynomial_of_table(table):
    """1 + sum_k z^k b A^(k-1) 1, by its definition."""
    stage, coefficients = [Fraction(1)] * table.stages, [Fraction(1)]
    for _ in range(table.stages):
        coefficients.append(sum(w * x for w, x in zip(table.b, stage, strict=True)))
        stage = [sum(a * x for a, x in zip(row, stage, strict=True)) for row in table.A]
    return tuple(coefficients)


@pytest.mark.parametrize("damping", DAMPINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_closed_form_is_the_polynomial_of_the_table(family, damping):
    for stages in range(2, 13):
        found = stabilised(family, stages, damping)
        assert found.polynomial == polynomial_of_table(found.tableau)


@pytest.mark.parametrize("damping", DAMPINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_order_of_the_polynomial_is_that_of_the_table(family, damping):
    for stages in (LEAST[family], 3, 8):
        found = stabilised(family, stages, damping)
        table = found.tableau
        assert found.order == LEAST[family] == proved_order(table.A, table.b, 3)


@pytest.mark.parametrize("legendre", [False, True])
def test_values_and_derivatives_are_those_of_numpy(legendre):
    x = Fraction(1001, 1000)
    found = polynomial_values(legendre, 9, x)
    for j in range(10):
        p = (Legendre if legendre else Chebyshev).basis(j)
        for derivative, values in enumerate(found):
            expected = p.deriv(derivative)(float(x)) if derivative else p(float(x))
            assert float(values[j]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_give_the_polynomial(family):
    found = stabilised(family, 7, Fraction(1, 20))
    a, b, w0, w1 = found.parameters
    for z in (Fraction(-3, 2), Fraction(1, 4)):
        value = polynomial_values(found.legendre, 7, w0 + w1 * z)[0][-1]
        assert a + b * value == sum(c * z**k for k, c in enumerate(found.polynomial))


def test_undamped_legendre_methods_are_those_of_meyer_balsara_and_aslam():
    # J. Comput. Phys. 257 (2014), section 2.
    for s in (2, 3, 9):
        first = stabilised("rkl1", s)
        assert first.parameters == (0, 1, 1, Fraction(2, s * s + s))
        for j, stage in enumerate(first.recurrence[1:], start=2):
            mu = Fraction(2 * j - 1, j)
            assert stage == (mu, Fraction(1 - j, j), mu * Fraction(2, s * s + s), 0)
        second = stabilised("rkl2", s)
        b = [Fraction(1, 3)] * 2
        b += [Fraction(j * j + j - 2, 2 * j * (j + 1)) for j in range(2, s + 1)]
        w1 = Fraction(4, s * s + s - 2)
        assert second.recurrence[0].mu_slope == b[1] * w1
        for j, stage in enumerate(second.recurrence[1:], start=2):
            mu = Fraction(2 * j - 1, j) * b[j] / b[j - 1]
            slope = mu * w1
            assert stage == (
                mu,
                -Fraction(j - 1, j) * b[j] / b[j - 2],
                slope,
                -(1 - b[j - 1]) * slope,
            )


@pytest.mark.parametrize("damping", [Fraction(1, 20), Fraction(2, 13)])
def test_damped_chebyshev_parameters_by_hyperbolic_functions(damping):
    s = 11
    w0 = 1 + damping / s**2
    x = math.acosh(w0)
    value, first = math.cosh(s * x), s * math.sinh(s * x) / math.sinh(x)
    second = (s * s * value - w0 * first) / math.sinh(x) ** 2
    one, two = (stabilised(family, s, damping).parameters for family in ("rkc1", "rkc2"))
    assert float(one.b) == pytest.approx(1 / value, rel=1e-12)
    assert float(one.w1) == pytest.approx(value / first, rel=1e-12)
    assert float(two.b) == pytest.approx(second / first**2, rel=1e-10)
    assert float(two.a) == pytest.approx(1 - second / first**2 * value, rel=1e-9)
    assert float(two.w1) == pytest.approx(first / second, rel=1e-10)


def test_real_intervals_are_the_published_ones():
    """|R| <= 1 up to the published end and > 1 behind it, evaluated in exact numbers."""
    for s in (3, 6, 11):
        ends = {"rkc1": 2 * s * s, "rkl1": s * s + s}
        # All stay up to w0 + w1 z = -1. Behind it P_s leaves [-1, 1]: order 1 is left at once, and
        # so is order 2 of even degree, where R = a + b P_s passes 1.
        ends["rkc2"] = Fraction(2 * (s * s - 1), 3)
        ends["rkl2"] = Fraction(s * s + s - 2, 2)
        for family, end in ends.items():
            polynomial = stabilised(family, s).polynomial

            def R(z, polynomial=polynomial):
                return sum(c * Fraction(z) ** k for k, c in enumerate(polynomial))

            assert all(abs(R(-end * Fraction(k, 40))) <= 1 for k in range(41))
            if LEAST[family] == 1 or s % 2 == 0:
                assert abs(R(-end * Fraction(1001, 1000))) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_inner_stages_have_the_closed_form_too(family):
    """Stage j has the polynomial a_j + b_j P_j(w0 + w1 z): what the recurrence is made of."""
    found = stabilised(family, 6, Fraction(1, 20))
    _, _, w0, w1 = found.parameters
    z = Fraction(-5, 7)
    stages = [Fraction(1), 1 + found.recurrence[0].mu_slope * z]
    for mu, nu, mu_slope, gamma_slope in found.recurrence[1:]:
        inner = mu * stages[-1] + nu * stages[-2] + mu_slope * z * stages[-1] + gamma_slope * z
        stages.append(1 - mu - nu + inner)
    for j in range(LEAST[family], 7):
        at_w0, first, second = (p[j] for p in polynomial_values(found.legendre, j, w0))
        b = 1 / at_w0 if LEAST[family] == 1 else second / first**2
        value = polynomial_values(found.legendre, j, w0 + w1 * z)[0][j]
        assert stages[j] == 1 - b * at_w0 + b * value


def test_two_hundred_stages_take_no_time():
    for family in FAMILIES:
        start = time.perf_counter()
        found = stabilised(family, 200)
        assert len(found.polynomial) == 201 and found.order == LEAST[family]
        assert time.perf_counter() - start < 1


def test_a_thousand_stages():
    # w1 = T_s / T_s' at w0 is (tanh(s x) sinh x / s) with cosh x = w0.
    s = 1000
    x = math.acosh(1 + 0.05 / s**2)
    found = stabilised("rkc1", s, Fraction(1, 20)).parameters.w1
    assert float(found) == pytest.approx(math.sinh(x) / math.tanh(s * x) / s, rel=1e-9)


def test_the_registry_builds_them():
    found = method("rkc1:stages=12")
    assert found == StabilisedMethod("rkc1:stages=12,damping=1/20", "rkc1", 12, Fraction(1, 20))
    assert (found.stages, found.explicit, found.order) == (12, True, 1)
    assert tableau("rkc1:stages=12") is found.tableau
    assert method("rkl2:stages=7").damping == 0
    assert method("rkl1:stages=4,damping=0.05").damping == Fraction(1, 20)
    assert method("rkc2:stages=1000").stages == 1000
    assert pickle.loads(pickle.dumps(found)) == found
    assert hash(found) == hash(method("rkc1:stages=12,damping=0.05"))


def chebyshev_reference(order, s, epsilon, f, y, h):
    """One step of the published recurrence in floating point, T_j by hyperbolic functions."""
    w0 = 1 + epsilon / s**2
    a = math.acosh(w0)
    T = [math.cosh(j * a) for j in range(s + 1)]
    dT = [j * math.sinh(j * a) / math.sinh(a) for j in range(s + 1)]
    d2T = [
        (j * j * math.cosh(j * a) - w0 * j * math.sinh(j * a) / math.sinh(a)) / math.sinh(a) ** 2
        for j in range(s + 1)
    ]
    if order == 1:
        w1, b = T[s] / dT[s], [1 / t for t in T]
    else:
        b = [0.0, 0.0] + [d2T[j] / dT[j] ** 2 for j in range(2, s + 1)]
        b[0] = b[1] = b[2]
        w1 = dT[s] / d2T[s]
    shift = [1 - b[j] * T[j] for j in range(s + 1)]
    f0 = f(y)
    before, now = y, y + b[1] * w1 * h * f0
    for j in range(2, s + 1):
        mu, nu, mut = 2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], 2 * b[j] * w1 / b[j - 1]
        new = (1 - mu - nu) * y + mu * now + nu * before + mut * h * f(now)
        before, now = now, new - shift[j - 1] * mut * h * f0
    return now


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("stages", [2, 3, 5, 9, 20])
@pytest.mark.parametrize("damping", ["1/20", "2/13", "1.5"])
def test_chebyshev_tables_follow_the_published_recurrence(order, stages, damping):
    def f(y):
        return -np.array([3.0, 40.0, 7.0]) * y + np.sin(y[::-1]) * y[0]

    y = np.array([1.0, -0.3, 0.7])
    table = tableau(f"rkc{order}:stages={stages},damping={damping}")
    expected = chebyshev_reference(order, stages, float(Fraction(damping)), f, y, 0.04)
    np.testing.assert_allclose(stepper(table, f)(y, 0.04), expected, rtol=1e-11)


def test_a_table_follows_the_recurrence_of_another_run():
    """A nonlinear step by the table and by the recurrence in floating point."""

    def f(y):
        return -np.array([3.0, 40.0, 7.0]) * y + np.sin(y[::-1]) * y[0]

    y, h = np.array([1.0, -0.3, 0.7]), 0.04
    for family in FAMILIES:
        found = stabilised(family, 9, Fraction(1, 20))
        old, new = y, y + h * float(found.recurrence[0].mu_slope) * f(y)
        for stage in found.recurrence[1:]:
            mu, nu, mut, gat = map(float, stage)
            next_ = (1 - mu - nu) * y + mu * new + nu * old + h * (mut * f(new) + gat * f(y))
            old, new = new, next_
        slopes = np.zeros((9, 3))
        A, b = (np.array(x, dtype=float) for x in (found.tableau.A, found.tableau.b))
        for i in range(9):
            slopes[i] = f(y + h * A[i] @ slopes)
        np.testing.assert_allclose(y + h * b @ slopes, new, rtol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: stabilised("rkc3", 5), "did you mean 'rkc"),
        (lambda: stabilised("rkc2", 1), "2 to 1000 stages of rkc2, got 1"),
        (lambda: stabilised("rkl1", 1001), "1 to 1000 stages of rkl1, got 1001"),
        (lambda: stabilised("rkl1", 5, Fraction(-1)), "a rational damping >= 0, got -1"),
        (lambda: stabilised("rkl1", 5, 0.05), "a rational damping >= 0, got 0.05"),
        (lambda: stabilised("rkl1", 51).tableau, "at most 50 stages for a Butcher table"),
        (lambda: tableau("rkc1:stages=51"), "at most 50 stages.*got 51 of rkc1:stages=51"),
        (lambda: stabilised("rkc1", 251, Fraction(1, 20)).polynomial, "degree 250 or less"),
    ],
)
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(InputError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)
