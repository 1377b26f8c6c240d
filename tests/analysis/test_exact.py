"""Exact numbers with a root: against decimals of 80 digits and SymPy, and as text."""

from __future__ import annotations

import operator
from fractions import Fraction

import mpmath
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import InputError
from analysis.exact import Quadratic, parse_number, root, sign_of, solve, written

rationals = st.fractions(-20, 20, max_denominator=60)
RADICANDS = (2, 3, 5, 6, 15)
numbers = st.builds(lambda a, b: a + b * root(15), rationals, rationals)


def decimal(x):
    """The number with 80 digits, by mpmath."""
    with mpmath.workdps(80):
        if not isinstance(x, Quadratic):
            return mpmath.mpf(x.numerator) / x.denominator
        a, b = decimal(x.rational), decimal(x.factor)
        return a + b * mpmath.sqrt(x.radicand)


def close(x, y):
    with mpmath.workdps(80):
        return abs(x - y) <= mpmath.mpf(10) ** -70 * (1 + abs(x))


@given(numbers, numbers, st.sampled_from([operator.add, operator.sub, operator.mul]))
def test_arithmetic_is_that_of_real_numbers(x, y, operation):
    with mpmath.workdps(80):
        assert close(decimal(operation(x, y)), operation(decimal(x), decimal(y)))


@given(numbers, numbers)
def test_quotients_powers_and_order(x, y):
    with mpmath.workdps(80):
        if y != 0:
            assert close(decimal(x / y), decimal(x) / decimal(y))
        assert close(decimal(x**3), decimal(x) ** 3)
    assert (x < y) == (decimal(x) < decimal(y)) or x == y
    assert sign_of(x) == mpmath.sign(decimal(x))
    assert abs(x) == (x if decimal(x) >= 0 else -x)
    assert (x == y) == (hash(x) == hash(y))


@given(numbers)
def test_doubles_are_the_nearest_ones(x):
    with mpmath.workdps(80):
        assert float(x) == float(decimal(x))  # mpmath rounds to the nearest


def test_nearly_cancelling_parts_keep_all_digits_of_a_double():
    x = root(2) - Fraction(14142135623730950488016887242096980785, 10**37)
    with mpmath.workdps(120):
        exact = mpmath.sqrt(2) - mpmath.mpf(14142135623730950488016887242096980785) / 10**37
        assert float(x) == float(exact)
    assert abs(float(x)) < 1e-36


def test_results_without_a_root_are_fractions():
    assert (1 + root(2)) * (1 - root(2)) == Fraction(-1)
    assert isinstance((1 + root(2)) - root(2), Fraction)
    assert isinstance(root(8) / root(2), Fraction)
    assert isinstance(root(49), Fraction)


def test_one_number_written_with_two_radicands_is_one_number():
    big = 11 * 11 * 13 * 13 * 2  # only squares of small primes are taken out
    assert root(big).radicand == big
    assert root(big) == 143 * root(2)
    assert hash(root(big)) == hash(143 * root(2))
    assert root(big) - 143 * root(2) == 0


def test_different_roots_are_unequal_and_do_not_mix():
    assert root(2) != root(3)
    assert root(2) != 1 and root(2) != Fraction(7, 5)
    with pytest.raises(InputError, match=r"one square root in a method, got sqrt\(2\) and sqrt"):
        root(2) + root(3)
    with pytest.raises(InputError, match="a root of a number >= 0"):
        root(-1)


def test_a_root_of_a_hundred_digits():
    radicand = 10**120 + 7
    x = Fraction(1, 3) + root(radicand) / 10**60
    assert float(x) == pytest.approx(4 / 3, rel=1e-15)
    assert sign_of(x - Fraction(4, 3)) == 1  # by 3.5e-120
    assert parse_number(written(x), "x") == x
    assert str(radicand) in str(x)


@given(st.builds(lambda a, b, d: a + b * root(d), rationals, rationals, st.sampled_from(RADICANDS)))
def test_text_is_read_back(x):
    assert parse_number(str(x), "x") == x
    assert parse_number(written(x), "x") == x
    assert " " not in written(x)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1-sqrt(2)/2", 1 - root(2) / 2),
        ("2*sqrt(8)/3 - 1", -1 + 4 * root(2) / 3),
        ("- 3 sqrt3", -3 * root(3)),
        (".5", Fraction(1, 2)),
        ("1e-3", Fraction(1, 1000)),
        ("+1/3", Fraction(1, 3)),
        ("sqrt(9)", Fraction(3)),
    ],
)
def test_forms_of_numbers(text, value):
    assert parse_number(text, "x") == value


@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "1/2*", "1 2", "1/0", "sqrt(2)/0", "sqrt(-2)", "--1", "nan", "1e999", "1+"],
)
def test_text_that_is_no_number(text):
    with pytest.raises(InputError, match="a number for this, got") as caught:
        parse_number(text, "this")
    assert "\n" not in str(caught.value)


@given(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=3, max_size=3), st.data())
def test_linear_systems(matrix, data):
    def symbolic(x):
        if not isinstance(x, Quadratic):
            return sympy.Rational(x.numerator, x.denominator)
        return symbolic(x.rational) + symbolic(x.factor) * sympy.sqrt(x.radicand)

    if sympy.expand(sympy.Matrix([[symbolic(x) for x in row] for row in matrix]).det()) == 0:
        return
    wanted = data.draw(st.lists(numbers, min_size=3, max_size=3))
    right = [sum((a * x for a, x in zip(row, wanted, strict=True)), Fraction(0)) for row in matrix]
    assert solve(matrix, right) == wanted
