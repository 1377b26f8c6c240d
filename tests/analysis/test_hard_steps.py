"""Stable steps that an adversarial search got wrong once: each with the answer by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from analysis.adviser import plans
from analysis.clouds import Disc, Hull, Operator, Pairs
from analysis.errors import InputError
from analysis.multistep import MultistepMethod
from analysis.multistep_stability import RootCondition
from analysis.steps import amplification, largest_stable_step
from analysis.tableau import ButcherTableau


def rotation(size, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def test_common_roots_of_rho_and_sigma_on_the_circle_move_no_limit():
    third = Fraction(3, 14)
    theta = MultistepMethod("theta (zeta + 1)", [-1, 0, 1], [1 - third, 1, third])
    # The theta method with theta = 3 / 14 ends at 2 / (1 - 2 theta).
    assert largest_stable_step(theta, [-1.0]).step_size == pytest.approx(3.5, rel=1e-14)
    assert RootCondition.of(theta).real_interval == pytest.approx(3.5, rel=1e-14)
    euler = MultistepMethod("euler (zeta + 1)", [-1, 0, 1], [1, 1, 0])
    assert largest_stable_step(euler, [-1.0]).step_size == 2.0
    assert largest_stable_step(euler, [-1 + 0.5j]).step_size == pytest.approx(1.6)
    trapezoid = ["1/2", "-1/10", "-1/10", "1/2"]
    found = MultistepMethod("trapezoid", [-1, "11/5", "-11/5", 1], trapezoid)
    assert RootCondition.of(found).imaginary_interval == math.inf


@pytest.mark.parametrize(
    ("name", "explicit", "step"),
    [
        ("cnlf", -0.5237 - 0.0046j, 0.0),  # the other root is -(1 - h z) / (1 + h z)
        ("cnlf", 0.3 + 0.7j, math.inf),
        ("sbdf2", 1.5169 + 0.4777j, math.inf),
        ("sbdf1", 0.7 - 0.1j, math.inf),  # no other root
    ],
)
def test_parts_that_cancel_leave_the_other_roots_to_decide(name, explicit, step):
    assert largest_stable_step(name, Pairs(explicit, -explicit)).step_size == step


@pytest.mark.parametrize("name", ["cnlf", "sbdf3", "cnab", "ars222"])
def test_a_zero_mode_known_to_rounding_is_a_zero_mode(name):
    found = largest_stable_step(name, Pairs([3.4e-14, -1.0], [0.0, -1e4]))
    exact = largest_stable_step(name, Pairs([0.0, -1.0], [0.0, -1e4]))
    assert found.step_size == pytest.approx(exact.step_size, rel=1e-9)
    assert largest_stable_step(name, Pairs(np.zeros(3), np.zeros(3))).step_size == math.inf


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_weak_stability_is_seen_in_any_unit(unit):
    assert largest_stable_step("leapfrog", [(-1e-3 + 1j) * unit]).step_size == 0.0
    assert largest_stable_step("leapfrog", [(-1e-10 + 1j) * unit]).step_size == 0.0
    assert not amplification("leapfrog", [-1e-10 + 1j], 0.5).stable
    assert amplification("leapfrog", [1j], 0.5).stable


def test_a_stiff_block_hides_neither_growth_nor_transients_of_another():
    grows = np.array([[0.4, 30], [0, -0.6]])
    found = largest_stable_step("rk4", Operator.of(np.stack([-1e6 * np.eye(2), grows])))
    assert (found.step_size, found.growing_rate) == (0.0, pytest.approx(0.4))
    together = np.diag([-1e6, 0.4, -0.6])
    together[1, 2] = 30
    assert largest_stable_step("rk4", Operator.of(together)).growing_rate == pytest.approx(0.4)
    shear = np.array([[-0.4, 10], [0, -0.6]])
    assert not Operator.of(np.stack([-1e7 * np.eye(2), shear])).normal


@pytest.mark.parametrize("size", [2, 3])
def test_jordan_blocks_are_put_together_whatever_their_size(size):
    Q = rotation(size)
    operator = Operator.of(Q @ np.diag(np.full(size - 1, 1e3), 1) @ Q.T)
    found = largest_stable_step("rk4", operator)
    assert (found.step_size, found.growing_rate) == (math.inf, 0.0)
    assert any("defective" in warning for warning in found.warnings)
    assert amplification("rk4", operator, 1.0).stable


def test_single_precision_is_remembered():
    Q = rotation(8)
    skew = Q @ np.kron(np.diag([1.0, 2, 3, 4]), [[0, 1], [-4, 0]]) @ Q.T
    single = largest_stable_step("rk4", Operator.of(skew.astype(np.float32))).step_size
    assert single == pytest.approx(math.sqrt(2) * 2 / 8, rel=1e-6)
    values = (1j * np.random.default_rng(0).uniform(-5, 5, 20) + 1e-7).astype(np.complex64)
    assert plans(values, time=1.0)


def test_regions_with_poles_inside_and_hulls():
    assert not amplification("backward-euler", Disc(1.0, 1.5), 1.0).stable
    assert amplification("backward-euler", Disc(-1.0, 0.9), 1.0).stable
    triangle = Hull(np.array([1e-17 + 1j, 1e-17 - 1j, -1]))
    found = largest_stable_step("rk4", triangle, tolerance=1e-10).step_size
    assert found == pytest.approx(2.785293563405282, rel=1e-9)
    assert list(triangle.contains(np.array([-0.5, -2.0, -0.1 + 0.5j, 0.5]))) == [1, 0, 1, 0]
    with pytest.raises(InputError, match="at least one eigenvalue"):
        Hull(np.array([]))


def test_growing_implicit_parts_stop_before_the_pole():
    pair = Pairs(-0.06718725004483765, 0.06718595100724234)
    found = largest_stable_step("ars443", pair).step_size
    assert found < 2 / 0.06718595100724234  # the pole of 1 - w / 2
    assert amplification("ars443", pair, 0.999 * found).stable
    assert not amplification("ars443", pair, 1.01 * found).stable


def test_a_contractive_step_is_looked_for_without_a_linear_limit():
    table = ButcherTableau("r", [["4/3", 0], ["-3/2", "4/3"]], ["-1/4", "5/4"])
    found = largest_stable_step(table, Operator.of([[-1, 1.9], [0, -1]]))
    assert found.step_size == math.inf
    assert found.contractive_step is not None and 0 < found.contractive_step < 0.358


def test_rays_of_methods_with_modulus_one_at_infinity_end():
    table = ButcherTableau("r", [["8/3", 0], ["-8/3", 1]], [0, 1])
    assert largest_stable_step(table, [-1 - 1j]).step_size == math.inf


def test_numbers_at_the_end_of_the_range():
    assert all(plan.solves for plan in plans([-1e300], time=1e300))
    assert plans([-1 + 100j, -100.0], time=1.0)
