"""Exact polynomials against sympy, closed forms and their own definition."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from analysis import polynomial_roots
from analysis import polynomials as poly

X = sympy.Symbol("x")


def as_sympy(p):
    return sympy.Poly([sympy.Rational(Fraction(a)) for a in reversed(p)], X)


def from_roots(*roots):
    p = (1,)
    for root in roots:
        p = poly.multiply(p, (-Fraction(root), 1))
    return p


coefficients = st.lists(st.integers(-50, 50), min_size=1, max_size=7).filter(any)
factors = st.lists(
    st.tuples(st.lists(st.integers(-6, 6), min_size=2, max_size=4), st.integers(1, 3)),
    min_size=1,
    max_size=3,
).filter(lambda parts: all(part[-1] for part, _ in parts))


def expand(parts):
    p = (1,)
    for part, multiplicity in parts:
        for _ in range(multiplicity):
            p = poly.multiply(p, part)
    return p


@given(factors)
def test_square_free_factors_are_those_of_sympy(parts):
    p = expand(parts)
    ours = {
        (factor if factor[-1] > 0 else tuple(-a for a in factor), k)
        for factor, k in poly.square_free_factors(p)
    }
    theirs = {
        (poly.primitive([int(a) for a in reversed(f.all_coeffs())]), k)
        for f, k in as_sympy(poly.primitive(p)).sqf_list()[1]
    }
    assert ours == theirs


@given(factors)
def test_real_roots_are_those_of_sympy(parts):
    p = expand(parts)
    expected = sorted({sympy.re(r) for r in as_sympy(p).real_roots()}, key=lambda r: r.evalf(60))
    found = polynomial_roots.real_roots(p)
    assert len(found) == len(expected)
    assert found == [float(r.evalf(40)) for r in expected]


@given(factors, st.integers(-4, 4), st.integers(0, 5))
def test_sturm_counts_the_roots_of_a_half_open_interval(parts, lower, width):
    p = expand(parts)
    upper = lower + width
    roots = {r for r in as_sympy(p).real_roots() if bool(r > lower) and bool(r <= upper)}
    assert polynomial_roots.count_real_roots(p, lower, upper) == len(roots)
    assert polynomial_roots.count_real_roots(p) == len(set(as_sympy(p).real_roots()))


@given(coefficients, coefficients)
def test_gcd_and_quotient(p, q):
    common = poly.gcd(p, q)
    expected = sympy.gcd(as_sympy(p), as_sympy(q))
    assert poly.primitive([int(a) for a in reversed(expected.all_coeffs())]) == common
    assert poly.multiply(poly.quotient(p, common), common) == poly.trim(p)


@given(coefficients, st.fractions(-3, 3, max_denominator=20))
def test_evaluation_sign_and_derivative(p, x):
    exact = as_sympy(p).eval(sympy.Rational(x))
    assert poly.evaluate(p, x) == Fraction(int(exact.p), int(exact.q))
    assert polynomial_roots.sign_at(p, x) == np.sign(exact)
    slope = as_sympy(p).diff()
    assert poly.trim(poly.derivative(p)) == poly.trim(
        [int(a) for a in reversed(slope.all_coeffs())]
    )


def test_division_with_a_rest_is_refused():
    with pytest.raises(ArithmeticError, match="leaves a rest"):
        poly.quotient((1, 0, 1), (1, 1))


@given(st.lists(st.integers(-1000, 1000), min_size=4, max_size=12).filter(lambda p: p[-1]))
def test_every_root_is_correctly_rounded(p):
    # A root is rounded correctly if it lies between the mid-points to the neighbouring doubles.
    for root in polynomial_roots.real_roots(p):
        below, above = (math.nextafter(root, direction) for direction in (-math.inf, math.inf))
        low, high = ((Fraction(root) + Fraction(x)) / 2 for x in (below, above))
        assert (
            polynomial_roots.count_real_roots(p, low, high)
            + (polynomial_roots.sign_at(p, low) == 0)
            >= 1
        )


def test_integer_roots_of_wilkinson_are_exact():
    assert polynomial_roots.real_roots(from_roots(*range(1, 31))) == [
        float(k) for k in range(1, 31)
    ]


def test_roots_at_zero_and_dyadic_ties():
    assert polynomial_roots.real_roots((0, 0, -1, 1)) == [0.0, 1.0]
    tie = Fraction(2**53 + 1, 2**54)  # half-way between two doubles
    assert polynomial_roots.real_roots((-tie, 1)) == [0.5]
    assert polynomial_roots.real_roots((7,)) == [] and polynomial_roots.real_roots((1, 0, 1)) == []


def test_close_roots_are_told_apart():
    gap = Fraction(1, 10**30)
    p = from_roots(1, 1 + gap, 1 - gap)
    assert polynomial_roots.count_real_roots(p) == 3
    assert polynomial_roots.count_real_roots(p, 1, 2) == 1
    assert polynomial_roots.real_roots(p) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("roots", "expected"),
    [
        ((1, 1, 2), 2.0),
        ((1, 1, 1), 1.0),
        ((0, 0, 3), 3.0),
        ((-1, -2), None),
        ((2, 2, 5, 5, 5, 7), 5.0),
        ((Fraction(1, 3), Fraction(1, 3)), None),
    ],
)
def test_only_roots_of_odd_multiplicity_change_the_sign(roots, expected):
    assert polynomial_roots.first_sign_change(from_roots(*roots)) == expected


@given(factors, st.integers(-3, 3))
def test_sign_after_is_the_sign_a_little_further(parts, x):
    p = expand(parts)
    later = [r for r in as_sympy(p).real_roots() if bool(r > x)]
    step = min(float(later[0]) - x, 1.0) / 2 if later else 1.0
    assert polynomial_roots.sign_after(p, x) == polynomial_roots.sign_at(p, x + Fraction(step))


def test_degree_sixty_with_double_roots_is_quick():
    # T_30(1 + z / 900)^2 - 1 touches zero 29 times before it leaves at z = -1800.
    chebyshev = [(1,), (1, Fraction(1, 900))]
    for _ in range(29):
        twice = poly.multiply((2, Fraction(2, 900)), chebyshev[-1])
        chebyshev.append(poly.add(twice, chebyshev[-2], -1))
    excess = poly.add(poly.multiply(chebyshev[30], chebyshev[30]), (1,), -1)
    reflected = [-a if k % 2 else a for k, a in enumerate(excess)]
    start = time.perf_counter()
    assert polynomial_roots.first_sign_change(reflected) == 1800.0
    assert polynomial_roots.count_real_roots(reflected) == 31
    assert time.perf_counter() - start < 10
    expected = 900 * (1 - np.cos(np.pi * np.arange(31) / 30))
    np.testing.assert_allclose(
        polynomial_roots.real_roots(reflected), expected, rtol=1e-14, atol=1e-12
    )


@given(st.lists(st.integers(-9, 9), min_size=3, max_size=9).filter(lambda p: p[0] and p[-1]))
def test_complex_roots_factor_the_polynomial(p):
    roots = polynomial_roots.complex_roots(p)
    assert len(roots) == len(p) - 1
    expected = sympy.Poly(list(reversed(p)), X).nroots(n=30, maxsteps=500)
    distance = np.abs(np.array([complex(r) for r in expected])[:, None] - roots)
    size = np.maximum(np.abs(roots), 1e-3)
    # nroots loses half of its digits at double roots.
    assert np.all(distance.min(axis=0) <= 1e-9 * size)
    value = np.prod(1 - 0.3 / roots)
    assert value == pytest.approx(np.polyval(p[::-1], 0.3) / p[0], rel=1e-9, abs=1e-9)


def test_complex_roots_keep_full_precision_where_coefficients_cancel():
    # Roots of T_30(1 + z / 900): known in closed form, lost by any solver in double precision.
    chebyshev = [(1,), (1, Fraction(1, 900))]
    for _ in range(29):
        twice = poly.multiply((2, Fraction(2, 900)), chebyshev[-1])
        chebyshev.append(poly.add(twice, chebyshev[-2], -1))
    exact = -1800 * np.sin(np.pi * (2 * np.arange(30) + 1) / 120) ** 2
    found = polynomial_roots.complex_roots(chebyshev[30])
    np.testing.assert_allclose(np.sort(found.real), np.sort(exact), rtol=1e-14)
    assert np.abs(found.imag).max() < 1e-12
