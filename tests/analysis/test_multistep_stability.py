"""Multistep methods: exact intervals and exits against roots of the polynomial itself and print."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.methods import METHODS, method
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.multistep_stability import ImexRootCondition, RootCondition
from analysis.root_locus import locus_exit, root_radius

NAMES = [name for name in METHODS if isinstance(method(name), MultistepMethod)]
IMEX = [name for name in METHODS if isinstance(method(name), ImexMultistep)]

# Hairer, Norsett & Wanner I and Hairer & Wanner II, III.1 and V.1; Butcher's book, table 461.
REAL = {
    "ab1": 2.0,
    "ab2": 1.0,
    "ab3": 6 / 11,
    "ab4": 0.3,
    "ab5": 90 / 551,
    "ab6": 5 / 57,
    "am1": math.inf,
    "am2": 6.0,
    "am3": 3.0,
    "am4": 90 / 49,
    "am5": 45 / 38,
    "leapfrog": 0.0,
    **{f"bdf{k}": math.inf for k in range(1, 7)},
}
ANGLES = {3: 86.03, 4: 73.35, 5: 51.84, 6: 17.84}


def condition(name):
    return RootCondition.of(method(name))


def largest_root(found, z):
    """The largest root at one point by mpmath, 40 digits."""
    with mpmath.workdps(40):
        a = [mpmath.mpf(float(x)) for x in found.alpha]
        b = [mpmath.mpf(float(x)) for x in found.beta]
        p = [x - mpmath.mpc(z) * y for x, y in zip(a, b, strict=True)]
        while p and abs(p[0]) < mpmath.mpf(10) ** -30:
            p = p[1:]
        roots = mpmath.polyroots(p[::-1], maxsteps=400, extraprec=400) if len(p) > 1 else [0]
        return max(abs(r) for r in roots)


@pytest.mark.parametrize("name", REAL)
def test_real_intervals_are_those_in_print(name):
    assert condition(name).real_interval == pytest.approx(REAL[name], rel=1e-13)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("interval", "direction"), [("real", -1), ("imaginary", 1j)])
def test_intervals_end_where_a_root_leaves_the_disc(name, interval, direction):
    R, found = condition(name), method(name)
    end = getattr(R, f"{interval}_interval")
    if math.isinf(end):
        for x in (1e-3, 0.1, 1.0, 30.0, 1e4):
            assert largest_root(found, x * direction) <= 1 + 1e-20
        return
    for x in np.array([1e-6, 0.1, 0.5, 0.9, 1 - 1e-8]) * end:
        assert largest_root(found, x * direction) <= 1 + mpmath.mpf(10) ** -14
    beyond = end * (1 + 1e-8) if end else 1e-2
    assert largest_root(found, beyond * direction) > 1 + mpmath.mpf(10) ** -18


def test_ten_digits_against_closed_forms():
    # AB3 on the imaginary axis: |zeta| = 1 with cos theta a root of a quadratic; BDF angles, print.
    assert condition("ab2").imaginary_interval == 0.0
    assert condition("ab3").imaginary_interval == pytest.approx(0.7236272269866, abs=1e-12)
    assert condition("leapfrog").imaginary_interval == 1.0
    for steps, degrees in ANGLES.items():
        assert math.degrees(condition(f"bdf{steps}").angle) == pytest.approx(degrees, abs=5e-3)
    assert condition("bdf2").angle == math.pi / 2
    assert condition("ab3").angle == 0.0


def test_infinity_and_zero():
    assert condition("bdf4").at_infinity == 0.0
    assert condition("am1").at_infinity == 1.0
    assert condition("ab2").at_infinity == math.inf
    unstable = RootCondition.of(MultistepMethod("bad", [2, -3, 1], [0, -1, 0]))
    assert not unstable.zero_stable
    assert unstable.real_interval == unstable.imaginary_interval == 0.0
    double = RootCondition.of(MultistepMethod("double", [-1, -1, 1, 1], [0, 2, 2, 0]))
    assert not double.zero_stable
    # Without a step nothing forgives the double root, though it leaves -1 for no other z.
    assert double.imaginary_interval == 0.0
    assert double.first_exit(np.array([-1.0 + 1j]), math.inf).step == 0.0


def brute_exit(found, eigenvalue, limit=60.0):
    """The first step of a fine grid at which a root is outside, by companion matrices."""
    a = np.array([float(x) for x in found.alpha])
    b = np.array([float(x) for x in found.beta])
    for h in np.linspace(limit / 6000, limit, 6000):
        if np.abs(np.roots((a - h * eigenvalue * b)[::-1])).max() > 1 + 1e-9:
            return h
    return math.inf


@pytest.mark.parametrize("name", ["ab2", "ab4", "am3", "bdf3", "bdf5"])
@pytest.mark.parametrize("angle", [0.02, 0.3, 1.0, 1.4, 1.55])
def test_one_eigenvalue_leaves_where_a_fine_grid_says(name, angle):
    eigenvalue = complex(-math.cos(angle), math.sin(angle))
    found = condition(name).first_exit(np.array([eigenvalue]), math.inf)
    assert found.step == pytest.approx(brute_exit(method(name), eigenvalue), abs=1.5e-2)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["ab2", "ab3", "am2", "bdf3", "bdf6"]),
    st.lists(st.tuples(st.floats(0.05, 4), st.floats(0.05, 6)), min_size=1, max_size=6),
)
def test_the_limit_is_sharp_and_the_smallest_of_all(name, parts):
    R = condition(name)
    spectrum = np.array([complex(-a, b) for a, b in parts])
    found = R.first_exit(spectrum, math.inf)
    alone = [R.first_exit(spectrum[k : k + 1], math.inf).step for k in range(len(spectrum))]
    assert found.step == pytest.approx(min(alone), rel=1e-9)
    if math.isinf(found.step):
        return
    steps = found.step * np.linspace(0, 0.999, 60)[1:]
    assert np.max(R(np.multiply.outer(steps, spectrum))) <= 1 + 1e-9
    assert R(found.step * 1.001 * spectrum[found.which]) > 1


@pytest.mark.parametrize("distance", [1e-4, 1e-6, 1e-8])
def test_small_limits_next_to_the_axis_keep_their_digits(distance):
    """AB2 on -d + i leaves at about the cube root of 4 d, where the locus nearly turns back."""
    eigenvalue = complex(-distance, 1.0)
    found = condition("ab2").first_exit(np.array([eigenvalue]), math.inf).step
    assert found == pytest.approx((4 * distance) ** (1 / 3), rel=0.05)
    assert largest_root(method("ab2"), found * (1 - 1e-4) * eigenvalue) < 1
    assert largest_root(method("ab2"), found * (1 + 1e-4) * eigenvalue) > 1


def test_weakly_stable_methods_bear_no_damping():
    assert condition("leapfrog").first_exit(np.array([-0.1 + 1j]), math.inf).step == 0.0


def test_the_radius_is_that_of_the_roots():
    rng = np.random.default_rng(0)
    p = rng.normal(size=(5, 4)) + 1j * rng.normal(size=(5, 4))
    assert root_radius(p) == pytest.approx([np.abs(np.roots(q[::-1])).max() for q in p])
    assert root_radius(np.array([1.0, 2.0, 0.0])) == math.inf


# Explicit part alone, and by a grid of implicit eigenvalues.
@pytest.mark.parametrize("name", IMEX)
@pytest.mark.parametrize("angle", [0.0, math.pi / 6])
def test_limits_over_a_wedge_end_where_a_grid_of_implicit_eigenvalues_says(name, angle):
    R = ImexRootCondition.of(method(name))
    limits = R.limits(angle)
    t = np.concatenate([[0.0], np.logspace(-4, 6, 1500)])
    edges = np.concatenate([-t * np.exp(1j * a) for a in np.linspace(-angle, angle, 5)])
    for end, direction in ((limits.real, -1), (limits.imaginary, 1j)):
        inside = np.linspace(0, 0.999, 12)[1:] * end if end else np.array([])
        for x in inside:
            assert R(direction * x, edges).max() <= 1 + 1e-7
        beyond = 1.002 * end if end else 0.2
        assert (
            max(
                R(s * beyond, edges).max()
                for s in {direction, -direction.real + direction.imag * 1j}
            )
            > 1
        )


@pytest.mark.parametrize("name", IMEX)
def test_pairs_leave_where_a_fine_grid_says(name):
    R, rng = ImexRootCondition.of(method(name)), np.random.default_rng(3)
    for _ in range(6):
        z = complex(-abs(rng.normal()), rng.normal())
        w = -np.exp(2 * rng.normal()) + 0j
        found = R.first_exit(np.array([z]), np.array([w]), math.inf).step
        steps = np.linspace(2e-3, 80, 40000)
        outside = R(steps * z, steps * w) > 1 + 1e-9
        expected = steps[np.argmax(outside)] if outside.any() else math.inf
        assert found == pytest.approx(expected, abs=4e-3) or (found > 80 and expected == math.inf)


def test_known_limits_of_implicit_explicit_methods():
    limits = {name: ImexRootCondition.of(method(name)).limits() for name in IMEX}
    assert limits["sbdf1"].real == pytest.approx(2.0, rel=1e-12)
    assert limits["sbdf2"].real == pytest.approx(4 / 3, rel=1e-12)
    assert limits["sbdf3"].real == pytest.approx(20 / 21, rel=1e-12)
    assert limits["cnab"].real == pytest.approx(1.0, rel=1e-12)
    assert (limits["cnlf"].real, limits["cnlf"].imaginary) == (0.0, 1.0)
    assert limits["sbdf2"].imaginary == limits["cnab"].imaginary == 0.0


def test_an_empty_spectrum_and_a_limit():
    R = condition("ab2")
    assert R.first_exit(np.zeros(0, dtype=complex), 3.0) == (3.0, -1)
    sigma = np.array([[0.5, -1.5, 0.0]]) * 1.0
    assert locus_exit(np.array([0.0, -1.0, 1.0]), sigma.astype(complex), 0.5).which == -1
