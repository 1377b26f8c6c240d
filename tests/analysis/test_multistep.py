"""Multistep methods as data: what is scaled, what is refused, and orders by another route."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import numpy as np
import pytest

from analysis.errors import InputError
from analysis.methods import METHODS, method
from analysis.multistep import ImexMultistep, MultistepMethod

MULTISTEP = [n for n in METHODS if isinstance(method(n), MultistepMethod)]
MIXED = [n for n in METHODS if isinstance(method(n), ImexMultistep)]


def residual_order(alpha, beta, h=(0.02, 0.01)):
    """Slope of rho(e^h) - h sigma(e^h), which is C h^(p+1): the definition by a Taylor series."""

    def residual(h):
        # In 60 digits: rounding of doubles hides orders above 5.
        with mpmath.workdps(60):
            e = mpmath.e**h
            total = mpmath.mpf(0)
            for j, (a, b) in enumerate(zip(alpha, beta, strict=True)):
                coefficient = mpmath.mpf(a.numerator) / a.denominator
                slope = mpmath.mpf(b.numerator) / b.denominator
                total += (coefficient - h * slope) * e**j
            return mpmath.log(abs(total))

    return float(residual(h[0]) - residual(h[1])) / np.log(h[0] / h[1]) - 1


@pytest.mark.parametrize("name", MULTISTEP)
def test_order_is_that_of_the_residual(name):
    found = method(name)
    assert residual_order(found.alpha, found.beta) == pytest.approx(found.order, abs=0.15)


@pytest.mark.parametrize("name", MIXED)
def test_both_parts_have_the_order(name):
    found = method(name)
    slopes = [residual_order(found.alpha, beta) for beta in (found.beta, found.beta_implicit)]
    assert min(slopes) == pytest.approx(found.order, abs=0.15)


@pytest.mark.parametrize("name", [n for n in MULTISTEP if n != "leapfrog"])
def test_methods_of_the_registry_are_zero_stable(name):
    """Roots of rho: 1 is simple, the others are inside, or the method converges to nothing."""
    roots = np.roots([float(a) for a in method(name).alpha[::-1]])
    assert np.sum(np.abs(roots) > 1 - 1e-9) == 1


def test_coefficients_are_scaled():
    found = MultistepMethod("bdf2", alpha=["1/2", -2, "3/2"], beta=[0, 0, 1])
    assert (found.alpha, found.beta) == (method("bdf2").alpha, method("bdf2").beta)
    assert (found.steps, found.explicit, found.order) == (2, False, 2)
    assert method("ab3").explicit


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MultistepMethod("m", [1], [1]), "k \\+ 1 >= 2 coefficients"),
        (lambda: MultistepMethod("m", [-1, 1], [1]), "got 2 and 1 of them"),
        (lambda: MultistepMethod("m", [-1, 0], [1, 0]), "the last of alpha not zero"),
        (lambda: MultistepMethod("m", [1, 1], [1, 0]), "a consistent method.*got order -1"),
        (lambda: MultistepMethod("m", [-1, 1], [2, 0]), "a consistent method.*got order 0"),
        (lambda: MultistepMethod("m", [-1.0, 1], [1, 0]), "exact table entries"),
        (lambda: ImexMultistep("m", [-1, 1], [0, 1], [0, 1]), "does not read the new step"),
        (lambda: ImexMultistep("m", [-1, 1], [1, 0], [0, 2]), "a consistent method"),
    ],
)
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_order_of_a_pair_is_the_smaller_one():
    alpha, beta = method("sbdf2").alpha, method("sbdf2").beta
    rough = [0, Fraction(2, 3), 0]
    assert ImexMultistep("m", alpha, rough, method("sbdf2").beta_implicit).order == 1
    assert ImexMultistep("m", alpha, beta, [0, Fraction(2, 3), 0]).order == 1
