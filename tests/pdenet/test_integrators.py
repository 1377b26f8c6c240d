"""Explicit steps in torch: the exact method is the one that is used, and rounding stays small."""

import math
import weakref
from fractions import Fraction

import pytest
import torch

from analysis.errors import InputError
from analysis.methods import METHODS, method, tableau
from analysis.ode_problems import circle, kepler
from analysis.stabilised import StabilisedMethod
from analysis.stability import stability_function
from analysis.tableau import ButcherTableau
from pdenet.integrators.explicit import (
    ExplicitStepper,
    coefficients_of,
    recurrence_coefficients,
    rk_step,
    stabilised_step,
    step_coefficients,
    take_step,
)
from pdenet.layers.terms import DiffusionReactionTerm
from pdenet.layers.time_step import TimeStep
from pdenet.operators.conv import DepthwiseConv2d, PointwiseConv2d

TABLES = [
    name for name in METHODS if isinstance(method(name), ButcherTableau) and method(name).explicit
]
STABILISED = [
    *("rkc1:stages=5", "rkc2:stages=4", "rkl1:stages=5", "rkl2:stages=4"),
    *("rkc1:stages=2,damping=0", "rkl2:stages=3,damping=0.05", "rkc1:stages=1", "rkl2:stages=2"),
]
EXPLICIT = [*TABLES, *STABILISED]


@pytest.mark.parametrize("name", EXPLICIT)
def test_linear_step_is_the_stability_function(name):
    table, coefficients = tableau(name), coefficients_of(method(name))
    generator = torch.Generator().manual_seed(1)
    A = torch.randn(5, 5, dtype=torch.float64, generator=generator)
    y = torch.randn(5, dtype=torch.float64, generator=generator)
    expected, power = torch.zeros_like(y), y
    for coefficient in stability_function(table).numerator:  # ascending powers of z = h A
        expected = expected + float(coefficient) * power
        power = 0.4 * (A @ power)
    step = take_step(coefficients, lambda v: A @ v, y, 0.4)
    torch.testing.assert_close(step, expected, rtol=3e-13, atol=0)


# The error from which on the leading term rules; the finer one stays above rounding.
TARGET = {1: 2e-3, 2: 1e-4, 3: 1e-6, 4: 1e-9, 5: 1e-10}


def observed_order(order, coefficients, problem):
    """Slope of the error over the whole integration."""

    def f(v):
        return torch.from_numpy(problem.f(v.numpy()))

    def error(steps):
        y, h, total = torch.from_numpy(problem.y0), problem.end / steps, 0.0
        for i in range(1, steps + 1):
            y = take_step(coefficients, f, y, h)
            total += float((y - torch.from_numpy(problem.exact(i * h))).square().sum())
        return math.sqrt(total / steps)

    steps = 16
    while not (coarse := error(steps)) < TARGET[order]:
        steps *= 2
        assert steps < 20000
    return math.log2(coarse / error(2 * steps))


@pytest.mark.parametrize("name", EXPLICIT)
def test_observed_order(name):
    """On systems that see every tree (tests of ``analysis.ode_problems``)."""
    found = method(name)
    # The leading term of tsit5 is so small that the next one hides it on the circle.
    problem = kepler() if name == "tsit5" else circle()
    slope = observed_order(found.order, coefficients_of(found), problem)
    assert slope == pytest.approx(found.order, abs=0.15)


def test_a_table_of_one_order_less_is_found_out():
    wrong = ButcherTableau(
        "wrong",
        [[0] * 4, ["1/2", 0, 0, 0], [0, "1/2", 0, 0], [0, "1/2", "1/2", 0]],
        tableau("rk4").b,
    )
    slope = observed_order(3, coefficients_of(wrong), circle())
    assert slope == pytest.approx(3, abs=0.15)


# Stabilised methods by their recurrence.


def diffusion(dtype):
    """Periodic second differences of 64 points: eigenvalues from -4 to 0."""
    eye = torch.eye(64, dtype=dtype)
    return eye.roll(1, 0) + eye.roll(-1, 0) - 2 * eye


@pytest.mark.parametrize("family", ["rkc1", "rkc2", "rkl1", "rkl2"])
@pytest.mark.parametrize("stages", [2, 3, 7, 20])
def test_the_recurrence_is_the_step_of_the_table(family, stages):
    found = method(f"{family}:stages={stages}")
    y = torch.linspace(-1, 1, 6, dtype=torch.float64)

    def f(v):
        return -3 * v + torch.sin(v.flip(0)) * v[0]

    torch.testing.assert_close(
        stabilised_step(found, f, y, 0.5), rk_step(found.tableau, f, y, 0.5), rtol=1e-11, atol=0
    )


@pytest.mark.parametrize(
    ("family", "limit"), [("rkc1", 4750), ("rkc2", 1620), ("rkl1", 2550), ("rkl2", 1270)]
)
def test_rounding_stays_small_with_many_stages_where_the_table_loses_digits(family, limit):
    found = method(f"{family}:stages=50")
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(64, 100, dtype=torch.float64, generator=generator)
    h = 0.95 * limit / 4
    exact = stabilised_step(found, lambda v: diffusion(v.dtype) @ v, y, h)

    def error(step):
        return float((step.double() - exact).norm() / y.norm())

    single, matrix = y.float(), diffusion(torch.float32)
    recurrence = error(stabilised_step(found, lambda v: matrix @ v, single, h))
    table = error(rk_step(found.tableau, lambda v: matrix @ v, single, h))
    assert recurrence < 1.5e-5
    assert table > 10 * recurrence  # the same method, by 1275 weights that cancel
    assert float(exact.norm()) < float(y.norm())


def test_three_slopes_are_kept_instead_of_all():
    alive = []

    def f(v):
        slope = -v
        alive.append(weakref.ref(slope))
        most[0] = max(most[0], sum(ref() is not None for ref in alive))
        return slope

    for step, most_alive in (
        (lambda y: stabilised_step(method("rkc2:stages=30"), f, y, 1.0), 3),
        (lambda y: rk_step(tableau("rkc2:stages=30"), f, y, 1.0), 30),
    ):
        most = [0]
        alive.clear()
        step(torch.ones(3))
        assert most[0] == most_alive


def test_gradients_of_a_stabilised_step():
    generator = torch.Generator().manual_seed(2)
    W = torch.randn(3, 3, dtype=torch.float64, generator=generator).requires_grad_()
    y = torch.randn(3, dtype=torch.float64, generator=generator).requires_grad_()
    for name in ("rkc1:stages=4", "rkc2:stages=5", "rkl2:stages=3"):
        found = method(name)
        assert torch.autograd.gradcheck(
            lambda y, W, found=found: stabilised_step(found, lambda v: torch.tanh(W @ v), y, 0.3),
            (y, W),
        )


def test_transforms_of_a_stabilised_step():
    """Forward and reverse derivatives, batched over tangents, and a compiled step."""
    found = method("rkc2:stages=4")
    y = torch.linspace(-1, 1, 3, dtype=torch.float64)

    def step(v):
        return stabilised_step(found, lambda u: torch.sin(u.flip(0)) * u, v, 0.3)

    reverse, forward = torch.func.jacrev(step)(y), torch.func.jacfwd(step)(y)
    torch.testing.assert_close(forward, reverse, rtol=1e-13, atol=1e-15)
    numeric = torch.stack([(step(y + e) - step(y - e)) / 2e-6 for e in 1e-6 * torch.eye(3)], 1)
    torch.testing.assert_close(reverse, numeric, rtol=1e-7, atol=1e-8)
    rates = torch.linspace(0, 1, 5, dtype=torch.float64)
    batched = torch.func.vmap(lambda r: stabilised_step(found, lambda u: -r * u, y, 0.3))(rates)
    one = stabilised_step(found, lambda u: -rates[3] * u, y, 0.3)
    torch.testing.assert_close(batched[3], one)


def test_a_network_steps_by_the_recurrence():
    term = DiffusionReactionTerm(
        DepthwiseConv2d(2, 2, bias=False),
        torch.nn.Identity(),
        PointwiseConv2d(2, 2, 1),
        torch.nn.Identity(),
        "tanh",
    ).double()
    step = TimeStep(term, "rkc2:stages=6", 0.2)
    assert isinstance(step.exact_method, StabilisedMethod)
    assert step.stepper == ExplicitStepper(recurrence_coefficients(method("rkc2:stages=6")))
    assert step.stepper.coefficients.evaluations == 6
    assert step.tableau == tableau("rkc2:stages=6")
    y = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(step(y), rk_step(step.tableau, term, y, 0.2), rtol=1e-10, atol=1e-12)
    with pytest.raises(InputError, match="at most 50 stages for the steps of a network, got 51"):
        TimeStep(term, "rkl1:stages=51", 0.2)


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
    y = torch.ones(3, dtype=dtype)
    assert stabilised_step(method("rkl2:stages=3"), torch.tanh, y, 0.1).dtype == dtype
    # A right-hand side in half precision, as under autocast, does not lower that of the state.
    half = stabilised_step(method("rkl2:stages=3"), lambda v: torch.tanh(v).bfloat16(), y, 0.1)
    assert half.dtype == dtype


def test_implicit_methods_are_refused():
    with pytest.raises(InputError, match="explicit Runge-Kutta method, got backward-euler"):
        rk_step(tableau("backward-euler"), torch.tanh, torch.ones(1), 0.1)
