"""Additive Runge-Kutta methods: R(z, w) and its limits against the stages and grids."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from analysis.errors import InputError
from analysis.half_line import first_positive
from analysis.imex_limits import largest_stable
from analysis.imex_stability import ExactFlows, imex_stability_function
from analysis.methods import METHODS, method
from analysis.stability import stability_function
from analysis.stability_of import imex_limits
from analysis.tableau import ButcherTableau, ImexTableau

NAMES = [name for name in METHODS if isinstance(method(name), ImexTableau)]


def by_stages(found, z, w):
    """One step on y' = lambda y + mu y, stage by stage."""
    E, H = (np.array(t.A, dtype=float) for t in (found.explicit, found.implicit))
    b, d = (np.array(t.b, dtype=float) for t in (found.explicit, found.implicit))
    stages = []
    for i in range(found.stages):
        known = 1 + sum((z * E[i, j] + w * H[i, j]) * y for j, y in enumerate(stages))
        stages.append(known / (1 - w * H[i, i]))
    return 1 + sum((z * b[i] + w * d[i]) * y for i, y in enumerate(stages))


def sub_steps(found, count):
    """The method made of `count` equal steps: a table of degree that the search must bear."""
    parts = []
    for table in (found.explicit, found.implicit):
        s, A = (
            table.stages,
            [[Fraction(0)] * (table.stages * count) for _ in range(table.stages * count)],
        )
        for block in range(count):
            for i in range(s):
                for before in range(block):
                    for j in range(s):
                        A[block * s + i][before * s + j] = table.b[j] / count
                for j in range(s):
                    A[block * s + i][block * s + j] = table.A[i][j] / count
        parts.append(ButcherTableau("part", A, [x / count for x in table.b] * count))
    return ImexTableau(f"{count} x {found.name}", *parts)


@pytest.mark.parametrize("name", NAMES)
def test_the_function_is_what_the_stages_give(name):
    found, rng = method(name), np.random.default_rng(0)
    R = imex_stability_function(found)
    for _ in range(20):
        z = complex(*rng.normal(size=2)) * 3
        w = -abs(rng.normal()) * 10 ** rng.uniform(-2, 4) + 1j * rng.normal()
        assert R(z, w) == pytest.approx(by_stages(found, z, w), rel=1e-11)
    explicit = stability_function(found.explicit)
    assert R(0.3j - 1, 0) == pytest.approx(explicit(0.3j - 1), rel=1e-13)
    implicit = stability_function(found.implicit)
    assert R(0, -2.5) == pytest.approx(implicit(-2.5), rel=1e-13)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("angle", [0.0, math.pi / 4, 1.45])
def test_limits_hold_within_and_not_beyond(name, angle):
    R, limits = imex_stability_function(method(name)), imex_limits(name, angle)
    t = np.concatenate([[0.0], np.logspace(-6, 9, 6000)])
    edges = np.concatenate([-t * np.exp(1j * a) for a in np.linspace(-angle, angle, 7)])
    for end, direction in ((limits.real, -1.0), (limits.imaginary, 1j)):
        for x in np.linspace(0, 1, 25)[1:] * end:
            assert np.abs(R(direction * x, edges)).max() <= 1 + 1e-10
        beyond = 1.001 * end if end else 0.3
        assert np.abs(R(direction * beyond, edges)).max() > 1


def test_limits_in_closed_form():
    # Forward and backward Euler: |1 - x| <= 1 + t for every t >= 0 is x <= 2.
    assert imex_limits("ars111").real == 2.0
    assert imex_limits("ars111").imaginary == 0.0
    # At infinity |R| of ARS(2,3,2) is |z| 2 sqrt(2) / 3.
    assert imex_limits("ars232").real == pytest.approx(3 / (2 * math.sqrt(2)), rel=1e-12)
    assert imex_limits("ars232").imaginary == pytest.approx(3 / (2 * math.sqrt(2)), rel=1e-12)
    assert imex_limits("strang").real == math.inf


@pytest.mark.parametrize("name", NAMES)
def test_pairs_leave_where_a_fine_grid_says(name):
    R, rng = imex_stability_function(method(name)), np.random.default_rng(1)
    for _ in range(8):
        z = complex(-abs(rng.normal()), rng.normal()) * 2
        w = complex(-np.exp(2 * rng.normal()), rng.normal())
        found = R.first_exit(np.array([z]), np.array([w]), math.inf).step
        steps = np.linspace(1e-3, 60, 60000)
        outside = np.abs(R(steps * z, steps * w)) > 1 + 1e-12
        expected = steps[np.argmax(outside)] if outside.any() else math.inf
        assert found == pytest.approx(expected, abs=2e-3) or (found > 60 and expected == math.inf)
        if math.isfinite(found):
            assert abs(R(found * z, found * w)) == pytest.approx(1, abs=1e-9)
            assert not R.exceeds_one(0.999 * found * z, 0.999 * found * w)


def test_growth_next_to_zero_is_seen_however_small():
    # Forward Euler on an imaginary part: |R|^2 = 1 + h^2, beside an implicit part that is zero.
    R = imex_stability_function(method("ars111"))
    assert R.first_exit(np.array([1e-3j]), np.array([0j]), math.inf).step == 0.0
    # The implicit part damps: (1 + y^2) <= (1 + t)^2 up to a step in closed form.
    found = R.first_exit(np.array([1j]), np.array([-0.25 + 0j]), math.inf).step
    assert found == pytest.approx(0.5 / (1 - 0.25**2), rel=1e-12)


def test_pairs_that_balance_stay_on_the_circle():
    flows = ExactFlows()
    assert flows.first_exit(np.array([1j]), np.array([-3j]), math.inf).step == math.inf
    assert not flows.exceeds_one(np.array([1.0]), np.array([-1.0]))
    assert flows.exceeds_one(np.array([1.0]), np.array([-0.9]))
    assert flows(-1.0, 2.0) == pytest.approx(math.e)


def test_a_method_of_many_stages_and_a_pole_in_the_wedge():
    twice = imex_limits(sub_steps(method("ars222"), 2))
    assert twice.real >= 2 * imex_limits("ars222").real * (1 - 1e-9)
    negative = ImexTableau(
        "pole",
        ButcherTableau("e", [[0, 0], [-1, 0]], [1, 0]),
        ButcherTableau("i", [[0, 0], [0, -1]], [0, 1]),
    )
    assert imex_limits(negative) == imex_limits(negative, 0.0)
    assert imex_limits(negative).real == 0.0


def test_wedges_and_methods_are_checked():
    with pytest.raises(InputError, match="angle from 0 to below pi / 2"):
        imex_limits("ars222", 1.6)
    with pytest.raises(InputError, match="explicit and an implicit part"):
        imex_limits("rk4")


def test_first_positive_by_roots_in_closed_form():
    # (h - 1)(h - 3) is positive at once; -(h - 1)^2 touches; -(h - 2)(h + 1) never again.
    rows = np.array([[-6.0, 5.0, -1.0], [-1.0, 2.0, -1.0], [-2.0, 0.0, 0.5]])
    found = first_positive(rows, np.abs(rows), math.inf)
    assert (found.step, found.which) == (pytest.approx(2.0), 0) or found.which == 2
    assert first_positive(rows[1:2], np.abs(rows[1:2]), math.inf).which == -1
    assert first_positive(rows[2:], np.abs(rows[2:]), math.inf).step == pytest.approx(2.0)
    assert first_positive(rows[2:], np.abs(rows[2:]), 1.0) == (1.0, -1)
    assert first_positive(np.array([[0.0, 1e-30]]), np.array([[1.0, 1e-30]]), 5.0).step == 0.0
    # What cancelled to zero leaves no noise behind that would hide the small ones.
    small = np.array([[0.0, -1e-20, 1e-20]])
    found = first_positive(small, np.array([[1.0, 1e-20, 1e-20]]), math.inf)
    assert found.step == pytest.approx(1.0)
    far = np.array([[-1e12, 1e-12]])
    assert first_positive(far, np.abs(far), math.inf).step == pytest.approx(1e24)


def test_the_end_of_an_interval_by_tests_at_points():
    assert largest_stable(lambda x: x <= Fraction(7, 5), 2.0) == pytest.approx(1.4, rel=1e-12)
    assert largest_stable(lambda x: x <= Fraction(1, 10**6), 2.0) == pytest.approx(1e-6, rel=1e-9)
    assert largest_stable(lambda x: False, 2.0) == 0.0
    assert largest_stable(lambda x: True, 2.0) == 2.0
    assert largest_stable(lambda x: True, 0.0) == 0.0
