"""Runge-Kutta steps in torch: the exact table is the one that is used."""

import math
from fractions import Fraction

import pytest
import torch

from analysis.errors import InputError
from analysis.methods import tableau
from analysis.stability import stability_function
from analysis.tableau import ButcherTableau
from pdenet.integrators import rk_step, step_coefficients
from tests.contracts import observed_order

EXPLICIT = [
    *("euler", "midpoint", "heun", "ssprk22", "ssprk33", "rk4", "dopri5"),
    *("rkc1:stages=5", "rkc2:stages=4"),
]


@pytest.mark.parametrize("name", EXPLICIT)
def test_linear_step_is_the_stability_function(name):
    table = tableau(name)
    generator = torch.Generator().manual_seed(1)
    A = torch.randn(5, 5, dtype=torch.float64, generator=generator)
    y = torch.randn(5, dtype=torch.float64, generator=generator)
    expected, power = torch.zeros_like(y), y
    for coefficient in stability_function(table).numerator:  # ascending powers of z = h A
        expected = expected + float(coefficient) * power
        power = 0.4 * (A @ power)
    torch.testing.assert_close(
        rk_step(table, lambda v: A @ v, y, 0.4), expected, rtol=1e-13, atol=0
    )


@pytest.mark.parametrize("name", EXPLICIT)
def test_observed_order(name):
    """u' = 1, y' = -2 u y^2 from (0, 1): y = 1 / (1 + u^2), nonlinear and with all derivatives."""
    table = tableau(name)
    start = torch.tensor([0.0, 1.0], dtype=torch.float64)
    exact = torch.tensor([2.0, 1 / 5], dtype=torch.float64)

    def f(v):
        return torch.stack((torch.ones_like(v[0]), -2 * v[0] * v[1] ** 2))

    def solve(steps):
        y = start
        for _ in range(steps):
            y = rk_step(table, f, y, 2 / steps)
        return y

    assert observed_order(solve, exact, 96) == pytest.approx(table.order, abs=0.15)


def test_nodes_and_weights_of_an_asymmetric_table_are_not_mixed_up():
    """One step of y1' = 1, y2' = y1 from zero is h^2 b.c: a value that the linear test pins too."""
    table = ButcherTableau("ralston", [[0, 0], ["2/3", 0]], ["1/4", "3/4"])
    y = torch.zeros(2, dtype=torch.float64)
    step = rk_step(table, lambda v: torch.stack((torch.ones_like(v[0]), v[0])), y, 2.0)
    assert step.tolist() == pytest.approx([2.0, 4 * 0.5])


def test_zero_coefficients_cost_nothing():
    calls = []

    def f(y):
        calls.append(y)
        return torch.full_like(y, math.nan) if len(calls) == 1 else torch.ones_like(y)

    # b_1 = 0: the first slope must not enter the result even as 0 * nan.
    table = ButcherTableau("late", [[0, 0], [0, 0]], [0, 1])
    assert rk_step(table, f, torch.zeros(1), 1.0).item() == 1.0


def test_stages_nobody_uses_are_left_out():
    table = ButcherTableau(
        "heun-fsal", [[0, 0, 0], [1, 0, 0], ["1/2", "1/2", 0]], ["1/2", "1/2", 0]
    )
    assert table.fsal
    assert step_coefficients(table).evaluations == 2


def test_coefficients_are_rounded_once_from_the_exact_table():
    table = tableau("dopri5")
    coefficients = step_coefficients(table)
    assert coefficients is step_coefficients(tableau("dopri5"))  # cached
    assert coefficients.rows[5][1] == float(Fraction(-355, 33))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_precision_is_that_of_the_state(dtype):
    assert rk_step(tableau("rk4"), torch.tanh, torch.ones(3, dtype=dtype), 0.1).dtype == dtype


def test_implicit_methods_are_refused():
    with pytest.raises(InputError, match="explicit Runge-Kutta method, got backward-euler"):
        rk_step(tableau("backward-euler"), torch.tanh, torch.ones(1), 0.1)
