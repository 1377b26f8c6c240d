"""The largest stable step against exact algebra per eigenvalue, dense sampling and closed forms."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import polynomial_roots, polynomials
from analysis.errors import InputError
from analysis.methods import tableau
from analysis.rays import _Boxes, _upper_bound, first_exit
from analysis.stability import StabilityFunction, real_stability_interval, stability_function
from analysis.steps import amplification, largest_stable_step
from analysis.tableau import ButcherTableau

EXPLICIT = ["euler", "midpoint", "heun", "ssprk33", "rk4", "dopri5"]
STABILISED = ["rkc1:stages=5", "rkc1:stages=12", "rkc2:stages=9", "rkc1:stages=12,damping=0"]
ALL = [*EXPLICIT, *STABILISED, "theta:value=0.3"]

# Pade (0, 3): |R| > 1 next to 0 on the imaginary axis, stable again above, decaying at infinity.
PADE = StabilityFunction(
    (Fraction(1),), (Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-1, 6))
)
# A second-degree denominator with R(infinity) = -0.9: bounded, but unstable in a wedge.
WEDGE = StabilityFunction(
    (Fraction(1), Fraction(1, 2), Fraction(-9, 100)),
    (Fraction(1), Fraction(-1, 2), Fraction(1, 10)),
)


def function(method):
    return method if isinstance(method, StabilityFunction) else stability_function(tableau(method))


def exact_exit(R, eigenvalue):
    """First sign change over h of |N(h lambda)|^2 - |D(h lambda)|^2, in rational arithmetic."""
    a, b = Fraction(eigenvalue.real), Fraction(eigenvalue.imag)

    def squared(p):
        re, im, x, y = [], [], Fraction(1), Fraction(0)
        for coefficient in p:
            re.append(coefficient * x)
            im.append(coefficient * y)
            x, y = x * a - y * b, x * b + y * a
        return polynomials.add(polynomials.multiply(re, re), polynomials.multiply(im, im))

    excess = polynomials.add(squared(R.numerator), squared(R.denominator), -1)
    if polynomial_roots.sign_after(excess, 0) > 0:
        return 0.0
    change = polynomial_roots.first_sign_change(excess)
    return math.inf if change is None else change


def modulus(method, spectrum, h):
    return float(np.max(np.abs(function(method)(h * np.asarray(spectrum)))))


@pytest.mark.parametrize("method", [*ALL, PADE, WEDGE, "backward-euler", "crank-nicolson"])
@pytest.mark.parametrize("angle", [1e-12, 1e-8, 1e-4, 0.01, 0.1, 0.4, 0.9, 1.3, 1.5, 1.57])
def test_one_eigenvalue_leaves_where_exact_algebra_says(method, angle):
    eigenvalue = complex(-math.sin(angle), math.cos(angle))
    expected = exact_exit(function(method), eigenvalue)
    found = largest_stable_step(method, [eigenvalue])
    assert found.step_size == pytest.approx(expected, rel=1e-9)
    if math.isfinite(expected):
        assert found.limiting_eigenvalue == eigenvalue


@pytest.mark.parametrize("method", [*EXPLICIT, "rkc2:stages=6", PADE])
def test_the_limiting_eigenvalue_of_a_spectrum_is_the_one_of_exact_algebra(method):
    rng = np.random.default_rng(7)
    for scale in (0.03, 3.0):
        spectrum = -rng.exponential(size=12) + 1j * scale * rng.normal(size=12)
        exits = [exact_exit(function(method), z) for z in spectrum]
        found = largest_stable_step(method, spectrum)
        assert found.step_size == pytest.approx(min(exits), rel=1e-9)
        if math.isfinite(min(exits)):
            assert found.limiting_eigenvalue == spectrum[int(np.argmin(exits))]


complex_left = st.builds(complex, st.floats(-5, -1e-3), st.one_of(st.just(0.0), st.floats(-5, 5)))


@settings(max_examples=40)
@given(st.sampled_from(ALL), st.lists(complex_left, min_size=1, max_size=12))
def test_the_limit_is_sharp(method, spectrum):
    found = largest_stable_step(method, spectrum)
    h = found.step_size
    assert 0 < h < math.inf
    steps = np.linspace(0, 0.999, 150)[1:] * h
    assert max(modulus(method, spectrum, x) for x in steps) <= 1 + 1e-11
    # Growth at 1.001: a graze of the boundary may be over by then, growth just above it may not.
    beyond = max(modulus(method, [found.limiting_eigenvalue], h * x) for x in (1 + 1e-6, 1.001))
    assert beyond > 1
    if "damping=0" not in method:
        limiting = function(method)(0.999 * h * found.limiting_eigenvalue)
        assert abs(limiting) < 1


@settings(max_examples=15)
@given(
    st.sampled_from([*EXPLICIT, "rkc1:stages=12"]),
    st.lists(complex_left, min_size=1, max_size=12),
    st.floats(1e-3, 1e3),
    st.randoms(use_true_random=False),
)
def test_scale_order_and_conjugation_do_not_matter(method, spectrum, scale, random):
    h = largest_stable_step(method, spectrum).step_size
    assert largest_stable_step(method, scale * np.array(spectrum)).step_size == pytest.approx(
        h / scale, rel=1e-9
    )
    mixed = [*spectrum, *np.conj(spectrum), *spectrum]
    random.shuffle(mixed)
    assert largest_stable_step(method, mixed).step_size == pytest.approx(h, rel=1e-12)
    assert h <= min(largest_stable_step(method, [z]).step_size for z in spectrum) * (1 + 1e-12)


def test_real_and_imaginary_spectra_use_the_exact_intervals():
    for name in EXPLICIT:
        expected = real_stability_interval(function(name)) / 8
        found = largest_stable_step(name, np.array([-1.0, -8.0, -0.5]))
        assert (found.step_size, found.limiting_eigenvalue) == (expected, -8)
    assert largest_stable_step("rk4", [2j, -1j]).step_size == math.sqrt(8) / 2
    assert largest_stable_step("rkc1:stages=12,damping=0", [-1, -2.0]).step_size == 144


@pytest.mark.parametrize("method", ["euler", "midpoint", "heun", "rkc1", "rkc2", PADE])
def test_methods_of_imaginary_interval_zero_return_zero(method):
    found = largest_stable_step(method, [1j, -1.0])
    assert found.step_size == 0 and found.limiting_eigenvalue == 1j
    assert "imaginary interval is 0" in found.statement
    for h in (1e-9, 1e-5, 1e-2):
        judged = amplification(method, [1j, -1.0], h)
        assert not judged.stable and judged.eigenvalue == 1j


@pytest.mark.parametrize("angle", [1e-9, 1e-6, 1e-3])
def test_next_to_the_imaginary_axis_the_closed_form_of_euler_holds(angle):
    # |1 + h lambda|^2 = 1 + 2 h Re + h^2 |lambda|^2.
    eigenvalue = 3.0 * complex(-math.sin(angle), math.cos(angle))
    expected = -2 * eigenvalue.real / abs(eigenvalue) ** 2
    assert largest_stable_step("euler", [eigenvalue]).step_size == pytest.approx(expected, rel=1e-9)


def test_rounding_errors_of_the_spectrum_do_not_decide():
    # A skew matrix has imaginary eigenvalues; a solver returns them with real parts of 1e-16.
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(40, 40))
    spectrum = np.linalg.eigvals(matrix - matrix.T)
    assert np.any(spectrum.real > 0)
    found = largest_stable_step("rk4", spectrum)
    assert found.growing_rate == 0
    assert found.step_size == pytest.approx(math.sqrt(8) / np.abs(spectrum).max(), rel=1e-12)
    assert "count as on it" in found.warnings[0]
    assert found.tolerance == pytest.approx(100 * 2.0**-53 * np.abs(spectrum).max())


def test_the_tolerance_follows_the_precision_and_can_be_given():
    single = np.array([1e-6 + 1j, -1j], dtype=np.complex64)
    assert largest_stable_step("rk4", single).growing_rate == 0
    double = single.astype(complex)
    assert largest_stable_step("rk4", double).growing_rate == pytest.approx(1e-6)
    assert largest_stable_step("rk4", double, tolerance=1e-5).step_size == math.sqrt(8)
    assert largest_stable_step("euler", [-1 + 1e-15j]).step_size == 2


def test_zero_eigenvalues_are_neutral():
    assert largest_stable_step("euler", [0.0, -4.0, 0j]).step_size == 0.5
    only = largest_stable_step("rk4", [0.0])
    assert (only.step_size, only.limiting_eigenvalue) == (math.inf, None)
    assert amplification("rk4", [0.0], 3.0).value == 1


def test_a_stable_methods_have_no_limit():
    rng = np.random.default_rng(0)
    spectrum = -rng.exponential(size=50) + 1j * rng.normal(size=50)
    for name in ("backward-euler", "crank-nicolson", "theta:value=0.7"):
        found = largest_stable_step(name, [*spectrum, 1j, -1])
        assert (found.step_size, found.limiting_eigenvalue) == (math.inf, None)
        assert "every step size" in found.statement
        assert amplification(name, spectrum, 1e9).stable


def test_a_growing_problem_gives_zero_and_its_rate():
    found = largest_stable_step("rk4", [-3.0, 0.25 + 2j])
    assert (found.step_size, found.growing_rate) == (0.0, 0.25)
    assert found.limiting_eigenvalue == 0.25 + 2j
    assert "the problem itself grows at rate 0.25" in found.statement
    judged = amplification("rk4", [-3.0, 0.25], 0.5)
    assert not judged.stable and judged.eigenvalue == 0.25
    assert "grows at rate 0.25" in judged.warnings[0] and "exp(h Re lambda)" in judged.warnings[0]


def test_backward_euler_beyond_four_is_an_island():
    # 1 / |1 - h / 2| <= 1 for h >= 4 although exp(h / 2) grows.
    assert largest_stable_step("backward-euler", [0.5]).step_size == 0
    assert not amplification("backward-euler", [0.5], 3.999).stable
    assert amplification("backward-euler", [0.5], 4.0).stable
    judged = amplification("backward-euler", [0.5], 5.0)
    assert judged.stable and judged.value == pytest.approx(1 / 1.5)
    assert "isolated island" in judged.warnings[0]
    assert "the problem itself grows at rate 0.5" in judged.warnings[1]


def test_an_island_of_an_explicit_method_is_named():
    # 1 + z (z + 1) (z + 3/2) (z + 2) / 3: stable to z = -1, not to -3/2, stable again to -2.
    R = StabilityFunction(tuple(map(Fraction, ("1", "1", "13/6", "3/2", "1/3"))), (Fraction(1),))
    assert largest_stable_step(R, [-1.0]).step_size == 1
    assert amplification(R, [-1.0], 0.9).warnings == ()
    assert not amplification(R, [-1.0], 1.25).stable
    judged = amplification(R, [-1.0], 1.6)
    assert judged.stable and "isolated island" in judged.warnings[0]
    assert "all steps up to 1 are stable" in judged.warnings[0]


@pytest.mark.parametrize("method", ALL)
def test_the_limit_itself_is_stable_and_slightly_more_is_not(method):
    rng = np.random.default_rng(11)
    for spectrum in (-rng.exponential(size=9), -rng.exponential(size=9) + 1j * rng.normal(size=9)):
        h = largest_stable_step(method, spectrum).step_size
        assert amplification(method, spectrum, h).stable
        assert amplification(method, spectrum, h).warnings == ()
        if "damping=0" not in method:
            assert not amplification(method, spectrum, h * (1 + 1e-6)).stable


def test_amplification_is_the_largest_modulus():
    judged = amplification("heun", [-1.0, -2.0 + 1j], 0.5)
    expected = np.abs(function("heun")(0.5 * np.array([-1.0, -2.0 + 1j])))
    assert judged.value == pytest.approx(expected.max()) and judged.stable
    assert judged.eigenvalue == [-1.0, -2.0 + 1j][int(np.argmax(expected))]


def test_the_result_says_what_a_list_of_eigenvalues_cannot_know():
    found = largest_stable_step("euler", [-1.0])
    assert "defective" in found.assumption and "non-normal" in found.assumption
    # The reason: one Jordan block at the edge of the region grows, though its eigenvalue does not.
    one = np.eye(2) + found.step_size * np.array([[-1.0, 1.0], [0.0, -1.0]])
    assert np.linalg.norm(np.linalg.matrix_power(one, 100)) > 100


@pytest.mark.parametrize("method", ["rk4", "dopri5", "rkc1:stages=12", PADE, WEDGE])
def test_rays_that_cannot_beat_the_limit_leave_it_alone(method):
    R = function(method)
    length, psi = np.array([1.0, 2.0]), np.array([0.7, 1.1])
    free = first_exit(R, length, psi, math.inf)
    capped = first_exit(R, length, psi, 0.01)
    assert (capped.step, capped.which) == (0.01, -1)
    assert first_exit(R, length, psi, free.step * 2) == pytest.approx(free, rel=1e-12)


@pytest.mark.parametrize("method", ["rk4", "rkc1:stages=12"])
def test_of_one_direction_the_longest_limits(method):
    direction = complex(-0.5, 0.25)
    spectrum = [factor * direction for factor in (0.5, 4.0, 1.0, -0.0, 2.0)]
    found = largest_stable_step(method, spectrum)
    assert found.limiting_eigenvalue == 4 * direction
    single = largest_stable_step(method, [direction]).step_size
    assert found.step_size == pytest.approx(single / 4, rel=1e-12)


@pytest.mark.parametrize("method", ["rkc1:stages=12", "rkc2:stages=9", "rk4", PADE, WEDGE])
def test_the_bound_on_a_box_holds_everywhere_in_it(method):
    R = function(method)
    rng = np.random.default_rng(4)
    n = 4000
    angle = np.sort(rng.uniform(np.pi / 2, np.pi, 60))
    first = rng.integers(0, 60, n)
    last = np.minimum(first + rng.integers(0, 6, n), 59)
    low = rng.uniform(0.2, 2.0 * min(real_stability_interval(R), 10.0), n)
    high = low * (1 + 10.0 ** rng.uniform(-4, -0.3, n))
    bound = _upper_bound(R, _Boxes(low, high, first, last), angle)
    sampled = np.full(n, -np.inf)
    for x in np.linspace(0, 1, 9):
        for y in np.linspace(0, 1, 9):
            phi = angle[first] + y * (angle[last] - angle[first])
            z = (low + x * (high - low)) * np.exp(1j * phi)
            sampled = np.maximum(sampled, np.log(np.abs(R(z))))
    assert np.all(bound >= sampled - 1e-9)
    # Sharp on small boxes, or nothing would ever be known to be stable.
    small = (high - low < 1e-3 * low) & (first == last)
    assert np.median(bound[small] - sampled[small]) < 1e-4


@pytest.mark.parametrize("method", ["rk4", "dopri5", "rkc1:stages=30", "rkc2:stages=20"])
@pytest.mark.parametrize("kind", ["disc", "strip", "circle", "repeated"])
def test_a_hundred_thousand_eigenvalues_take_seconds(method, kind):
    rng = np.random.default_rng(2)
    n = 100_000
    turn = np.exp(2j * np.pi * rng.random(n))
    spectrum = {
        "disc": -1 + 0.99 * np.sqrt(rng.random(n)) * turn,
        "strip": -100 * rng.random(n) + 1e-3j * rng.normal(size=n),
        "circle": -1.001 + turn,
        "repeated": np.repeat(-1 + 0.9 * turn[:100], n // 100),
    }[kind]
    R = function(method)
    real_stability_interval(R), R.zeros
    start = time.perf_counter()
    h = largest_stable_step(R, spectrum).step_size
    # About one second alone on a core; the bound is for a machine that does other things too.
    assert time.perf_counter() - start < 15
    assert modulus(R, spectrum, 0.9999 * h) <= 1
    assert modulus(R, spectrum, 1.0001 * h) > 1


@pytest.mark.parametrize(
    ("spectrum", "message"),
    [
        ([], "at least one eigenvalue"),
        ([-1.0, float("nan")], "1 of 2 infinite or not a number"),
        ([complex(0, math.inf)], "finite eigenvalues"),
        (["a"], "a list of eigenvalues"),
        (None, "finite eigenvalues|a list of eigenvalues"),
    ],
)
def test_a_bad_spectrum_is_refused(spectrum, message):
    for call in (
        lambda: largest_stable_step("euler", spectrum),
        lambda: amplification("euler", spectrum, 0.1),
    ):
        with pytest.raises(InputError, match=message):
            call()


@pytest.mark.parametrize("step_size", [0.0, -1.0, math.nan, math.inf])
def test_a_bad_step_size_is_refused(step_size):
    with pytest.raises(InputError, match="a positive finite step size"):
        amplification("euler", [-1.0], step_size)


def test_bad_methods_and_tolerances_are_refused():
    with pytest.raises(InputError, match="did you mean 'euler'"):
        largest_stable_step("eulr", [-1.0])
    with pytest.raises(InputError, match="a tolerance >= 0"):
        largest_stable_step("euler", [-1.0], tolerance=-1.0)
    table = ButcherTableau("mine", [[0]], [1])
    assert largest_stable_step(table, [-1.0]).step_size == 2
