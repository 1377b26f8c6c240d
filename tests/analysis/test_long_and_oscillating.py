"""Stabilised methods of any length and methods for oscillators, against exact polynomials."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from analysis.contractivity import internal_amplification, ssp_coefficient
from analysis.errors import InputError
from analysis.methods import method, tableau
from analysis.one_step import stabilised_step
from analysis.oscillator_stability import OscillatorStability
from analysis.splitting import SplittingMethod
from analysis.stabilised_stability import EXACT_STAGES, StabilisedFunction
from analysis.stability import StabilityFunction
from analysis.stability_of import stability_of
from analysis.steps import largest_stable_step
from tests.analysis.references import distance_of_multisets

FAMILIES = ("rkc1", "rkc2", "rkl1", "rkl2")


def exact(found):
    return StabilityFunction(found.polynomial, (Fraction(1),))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stages", [2, 3, 4, 5, 12, 13, 30])
@pytest.mark.parametrize("damping", ["0", "1/20", "3"])
def test_the_closed_form_is_the_exact_polynomial(family, stages, damping):
    found = method(f"{family}:stages={stages},damping={damping}")
    R, closed = exact(found), StabilisedFunction(found)
    assert closed.real_interval == pytest.approx(R.real_interval, rel=1e-13)
    assert closed.imaginary_interval == R.imaginary_interval
    z = np.array([-0.3 * R.real_interval + 0.1j, -0.9 * R.real_interval, 0.5j, -1.0 + 1j])
    assert closed(z) == pytest.approx(R(z), abs=1e-11)
    assert distance_of_multisets(closed.zeros, R.zeros) < 1e-9 * np.abs(R.zeros).max()


@pytest.mark.parametrize("stages", range(2, 31))
def test_undamped_chebyshev_reaches_twice_the_square_of_its_stages(stages):
    assert stability_of(f"rkc1:stages={stages},damping=0").real_interval == 2.0 * stages**2


@pytest.mark.parametrize("stages", [2, 3, 7, 10, 31, 64, 200, 999])
def test_intervals_of_any_length_in_closed_form(stages):
    intervals = {
        family: stability_of(f"{family}:stages={stages},damping=0").real_interval
        for family in FAMILIES
    }
    assert intervals["rkc1"] == pytest.approx(2 * stages**2, rel=1e-13)
    assert intervals["rkl1"] == pytest.approx(stages**2 + stages, rel=1e-13)
    # The formulas of order two are those of even s; odd ones reach further.
    low = (stages**2 + stages - 2) / 2, 2 / 3 * (stages**2 - 1)
    for family, formula in zip(("rkl2", "rkc2"), low, strict=True):
        if stages % 2:
            assert formula < intervals[family] < formula + 2
        else:
            assert intervals[family] == pytest.approx(formula, rel=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_two_hundred_damped_stages_end_where_the_recurrence_does(family):
    found = method(f"{family}:stages=200")
    R = stability_of(found)
    assert isinstance(R, StabilisedFunction)
    end = R.real_interval

    def step(z):
        with mpmath.workdps(60):
            z, before, now = mpmath.mpf(z), mpmath.mpf(1), None
            first = found.recurrence[0]
            now = 1 + mpmath.mpf(first.mu_slope.numerator) / first.mu_slope.denominator * z
            for stage in found.recurrence[1:]:
                mu, nu, slope, shift = (mpmath.mpf(x.numerator) / x.denominator for x in stage)
                before, now = (
                    now,
                    (1 - mu - nu) + mu * now + nu * before + slope * z * now + shift * z,
                )
            return abs(now)

    assert step(-end * (1 - 1e-10)) < 1 < step(-end * (1 + 1e-10))
    for share in (0.03, 0.31, 0.77):
        assert float(step(-end * share)) == pytest.approx(abs(R(-end * share)), abs=1e-10)


def test_a_long_method_judges_spectra_off_the_axis():
    assert EXACT_STAGES < 50
    z = np.array([-1000.0, -300 + 3j, -300 - 3j])
    found = largest_stable_step("rkc1:stages=50,damping=1", z)
    reference = largest_stable_step(exact(method("rkc1:stages=50,damping=1")), z)
    assert found.step_size == pytest.approx(reference.step_size, rel=1e-8)


def oscillation(found, w, count=4000):
    """The largest displacement of y'' = -y over many steps of size sqrt(w)."""
    h, q, p, largest = math.sqrt(w), 1.0, 0.3, 0.0
    for _ in range(count):
        for part, fraction in found.flows:
            if part == "drift":
                q += float(fraction) * h * p
            else:
                p -= float(fraction) * h * q
        largest = max(largest, abs(q))
    return largest


@pytest.mark.parametrize("name", ["symplectic-euler", "verlet", "ruth3"])
def test_oscillators_stay_bounded_up_to_the_interval_and_no_further(name):
    found = method(name)
    R = OscillatorStability.of(found)
    end = R.imaginary_interval
    assert oscillation(found, (0.999 * end) ** 2) < 100
    assert oscillation(found, (1.001 * end) ** 2) > 1e6
    assert R(0.7j * end) == pytest.approx(1.0, abs=1e-12)
    assert R(1.01j * end) > 1
    assert not R.exceeds_one(np.array([0.999j * end]))
    assert R.exceeds_one(np.array([1.001j * end]))


def test_the_trace_is_that_of_the_step_matrix():
    found = method("ruth3")
    R = OscillatorStability.of(found)
    for w in (0.1, 1.0, 5.0):
        M = np.eye(2)
        for part, fraction in found.flows:
            a = float(fraction)
            M = np.array([[1, a], [0, 1]] if part == "drift" else [[1, 0], [-a * w, 1]]) @ M
        trace = np.polyval([float(a) for a in reversed(R.trace)], w)
        assert trace == pytest.approx(np.trace(M), rel=1e-13)
        assert R(1j * math.sqrt(w)) == pytest.approx(np.abs(np.linalg.eigvals(M)).max(), rel=1e-7)


def test_verlet_is_judged_on_frequencies():
    assert OscillatorStability.of(method("verlet")).imaginary_interval == 2.0
    found = largest_stable_step("verlet", [3j, -3j])
    assert found.step_size == pytest.approx(2 / 3)
    assert any("strictly below" in warning for warning in found.warnings)
    assert largest_stable_step("verlet", [-1.0 + 1j]).step_size == 0.0
    with pytest.raises(InputError, match="drift and kick"):
        OscillatorStability.of(method("strang"))
    backwards = SplittingMethod("b", [("drift", 2), ("kick", 1), ("drift", -1)])
    assert OscillatorStability.of(backwards).imaginary_interval == 2.0


# Kraaijevanger 1991; Gottlieb, Ketcheson & Shu 2011, chapters 4 to 6.
SSP = {
    "euler": 1,
    "heun": 1,
    "midpoint": 0,
    "ssprk33": 1,
    "ssprk43": 2,
    "ssprk104": 6,
    "ssprk2:stages=5": 4,
    "ssprk2:stages=9": 8,
    "rk4": 0,
    "implicit-midpoint": 2,
    "crank-nicolson": 2,
    "backward-euler": math.inf,
    "sdirk2": 1 + math.sqrt(2),
}


@pytest.mark.parametrize("name", SSP)
def test_ssp_coefficients_are_those_in_print(name):
    assert ssp_coefficient(tableau(name)) == pytest.approx(SSP[name], rel=1e-14)


def test_ssp_coefficients_by_convex_combinations():
    """SSPRK(4,3) in Shu-Osher form: every stage a convex combination of Euler steps of h / 2."""
    rng = np.random.default_rng(0)
    bound = ssp_coefficient(tableau("ssprk43"))
    # Upwind advection keeps the total variation under Euler for h <= 1: so does h <= bound.
    n, y = 60, np.zeros(60)
    y[20:30] = 1
    y += 0.1 * rng.random(n)

    def variation(v):
        return np.abs(np.diff(v, append=v[:1])).sum()

    def step(v, h):
        f = lambda u: np.roll(u, 1) - u  # noqa: E731
        slopes = []
        for row in tableau("ssprk43").A:
            slopes.append(
                f(v + h * sum((float(a) * k for a, k in zip(row, slopes, strict=False)), 0 * v))
            )
        return v + h * sum(float(b) * k for b, k in zip(tableau("ssprk43").b, slopes, strict=True))

    assert variation(step(y, bound)) <= variation(y) * (1 + 1e-14)
    assert variation(step(y, 1.3 * bound)) > variation(y)


def test_ssp_of_multistep_methods():
    ab1, ssp32 = method("ab1"), method("bdf2")
    assert ssp_coefficient(ab1) == 1.0
    assert ssp_coefficient(ssp32) == 0.0
    from analysis.multistep import MultistepMethod

    # SSP multistep, 3 steps, order 2 (Shu 1988): y3 = 3/4 y2 + 1/4 y0 + 3/2 h f2, C = 1/2.
    shu = MultistepMethod("shu", ["-1/4", 0, "-3/4", 1], [0, 0, "3/2", 0])
    assert shu.order == 2
    assert ssp_coefficient(shu) == 0.5


@pytest.mark.parametrize("name", ["rkc1:stages=8", "rkl2:stages=9", "rkc2:stages=5"])
def test_errors_inside_a_step_are_amplified_as_predicted(name):
    found = method(name)
    z = -0.6 * stability_of(name).real_interval
    recurrence = [tuple(float(x) for x in stage) for stage in found.recurrence]
    exact_step = stabilised_step(recurrence, lambda y: z * y, np.array([1.0]), 1.0)[0]
    total = 0.0
    for j in range(found.stages):
        # The step with an error of one made in stage j, by running the recurrence with it.
        values = [1.0]
        for k, (mu, nu, slope, shift) in enumerate(recurrence):
            older = values[k - 1] if k else 0.0
            new = (1 - mu - nu) + mu * values[k] + nu * older + slope * z * values[k] + shift * z
            values.append(new + (k == j))
        total += abs(values[-1] - exact_step)
    assert internal_amplification(found, np.array([z])).value == pytest.approx(total, rel=1e-9)
    table = internal_amplification(found.tableau, np.array([z])).value
    A, b = (np.array(x, dtype=float) for x in (found.tableau.A, found.tableau.b))
    by_inverse = np.abs(z * b @ np.linalg.inv(np.eye(found.stages) - z * A)).sum()
    assert table == pytest.approx(by_inverse, rel=1e-9)


def test_internal_amplification_needs_points():
    with pytest.raises(InputError, match="at least one point"):
        internal_amplification(tableau("rk4"), np.zeros(0))
