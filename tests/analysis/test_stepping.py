"""Steps of every kind of method: observed orders are the proved ones, wrong methods are seen."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.integrate
from scipy.linalg import expm

from analysis.errors import InputError
from analysis.methods import METHODS, method, tableau
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.ode_problems import bernoulli, circle, clock, kepler, pendulum, stiff_circle
from analysis.one_step import difference_jacobian, solve_newton
from analysis.splitting import SplittingMethod
from analysis.stabilised import StabilisedMethod
from analysis.stepping import SplitField, integrate, stepper
from analysis.tableau import ButcherTableau, ImexTableau

# The error from which on the leading term rules; the finer one stays above rounding.
TARGET = {1: 2e-3, 2: 1e-4, 3: 1e-6, 4: 1e-9, 5: 1e-10, 6: 5e-9, 7: 1e-9}


def error(found, problem, whole, steps):
    """Root mean square over the whole integration: at one time an error can vanish by chance."""
    try:
        states = integrate(found, problem, whole.y0, whole.end / steps, steps)
    except InputError:
        return np.inf  # the steps are too large for Newton's method
    truth = np.array([whole.exact(whole.end * i / steps) for i in range(steps + 1)])
    return np.sqrt(np.mean(np.sum((states - truth) ** 2, axis=1)))


def slope(found, problem, whole, order):
    """The slope between two step sizes, the first that falls below the target and half of it."""
    steps = 16
    with np.errstate(all="ignore"):  # the first steps may be too large for any number
        while not (coarse := error(found, problem, whole, steps)) < TARGET[order]:
            steps *= 2
            assert steps < 20000
    fine = error(found, problem, whole, 2 * steps)
    assert fine > 1e-13  # above rounding
    return np.log2(coarse / fine)


def split_circle():
    """The circle in two parts that are both nonlinear, so that every coupled tree is seen."""
    whole = circle()

    def implicit(y):
        return np.array([-np.sin(y[0]) * y[1], y[0] * y[1] - y[1] ** 3])

    def jacobian(y):
        a, b = y
        return np.array([[-np.cos(a) * b, -np.sin(a)], [b, a - 3 * b * b]])

    return SplitField(lambda y: whole.f(y) - implicit(y), implicit, jacobian), whole


def observed(found, order=None):
    """The slope on a problem that sees the order of this kind of method."""
    order = order or found.order
    if isinstance(found, SplittingMethod):
        whole = pendulum() if found.partitioned else bernoulli()
        return slope(found, whole, whole, order)
    if isinstance(found, ImexTableau | ImexMultistep):
        field, whole = split_circle()
        return slope(found, field, whole, order)
    # The leading term of tsit5 is so small that the next one hides it on the circle.
    whole = kepler() if found.name == "tsit5" else circle()
    return slope(found, whole, whole, order)


@pytest.mark.parametrize("name", [*METHODS, "rkc2:stages=3", "rkl1:stages=4,damping=0.05"])
def test_observed_order_is_the_proved_one(name):
    found = method(name)
    assert observed(found) == pytest.approx(found.order, abs=0.15)


# Methods of one order less do not pass: each is compared with the order it seems to have.

THIRD = Fraction(1, 3)


@pytest.mark.parametrize(
    ("wrong", "order"),
    [
        # Of the conditions of order 4 only the tall tree fails.
        (ButcherTableau("rk4", [[0] * 4, ["1/2", 0, 0, 0], [0, "1/2", 0, 0], [0, "1/2", "1/2", 0]],
                        ["1/6", "1/3", "1/3", "1/6"]), 4),
        # Right for linear problems up to order 3.
        (ButcherTableau("linear", [[0, 0, 0], ["1/3", 0, 0], [0, "1/2", 0]], [0, 0, 1]), 3),
        # Simpson's rule with stages of first order.
        (ButcherTableau("simpson", [[0, 0, 0], ["1/2", 0, 0], [1, 0, 0]],
                        ["1/6", "2/3", "1/6"]), 3),
        (tableau("dopri5-embedded"), 5),
        (tableau("fehlberg4"), 5),
        (MultistepMethod("ab3", [0, 0, -1, 1], ["1/3", "-7/6", "11/6", 0]), 3),
        (ImexMultistep("sbdf2", method("sbdf2").alpha, method("sbdf2").beta, [0, 0, "2/3"]), 3),
        (ImexMultistep("sbdf2", method("sbdf2").alpha, [0, "2/3", 0], [0, 0, "2/3"]), 2),
        (SplittingMethod("strang", [("explicit", 0), ("implicit", 1), ("explicit", 1)]), 2),
        (SplittingMethod("verlet", [("kick", "2/5"), ("drift", 1), ("kick", "3/5")]), 2),
        (SplittingMethod("ruth3", [*method("ruth3").flows[::-1]]), 4),
        (StabilisedMethod("rkc1", "rkc1", 5, Fraction(0)), 2),
    ],
    ids=lambda value: getattr(value, "name", None),
)  # fmt: skip
def test_a_method_of_one_order_less_is_found_out(wrong, order):
    assert wrong.order == order - 1
    slope_found = observed(wrong)
    assert slope_found == pytest.approx(order - 1, abs=0.15)
    assert abs(slope_found - order) > 0.15


def test_a_coupling_that_fails_is_found_out():
    """Both parts have order 3 alone, the pair has order 2 (tests of the order conditions)."""
    half, sixth, quarter = Fraction(1, 2), Fraction(1, 6), Fraction(1, 4)
    rows = [[0, 0, 0, 0], [1, 0, 0, 0], [quarter, quarter, 0, 0], [1, 0, 0, 0]]
    explicit = ButcherTableau("explicit", rows, [sixth, sixth, 2 * THIRD, 0])
    for second, order in (([0, 1], 2), ([half, half], 3)):
        A = [[0] * 4, [*second, 0, 0], [quarter, 0, quarter, 0], [half, 0, 0, half]]
        implicit = ButcherTableau("implicit", A, [sixth, 0, 2 * THIRD, sixth])
        pair = ImexTableau("pair", explicit, implicit)
        assert pair.order == order
        assert observed(pair) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("name", ["ars222", "ars443", "sbdf3", "cnab", "cnlf"])
def test_stiff_linear_parts_keep_the_order_of_small_steps(name):
    problem = stiff_circle(20.0)
    found = method(name)
    assert slope(found, problem, problem, found.order) == pytest.approx(found.order, abs=0.15)


# Single steps against formulas written out.


def f(y):
    return np.array([y[1] * y[0] - y[0] ** 2, np.cos(y[0]) - y[1]])


def slopes(y):
    return np.array([[y[1] - 2 * y[0], y[0]], [-np.sin(y[0]), -1.0]])


Y0, H = np.array([0.7, -0.4]), 0.3


def test_an_implicit_step_solves_its_equation():
    new = stepper(method("backward-euler"), f)(Y0, H)
    np.testing.assert_allclose(new, Y0 + H * f(new), rtol=1e-14)
    new = stepper(method("crank-nicolson"), f)(Y0, H)
    np.testing.assert_allclose(new, Y0 + H / 2 * (f(Y0) + f(new)), rtol=1e-14)
    new = stepper(method("implicit-midpoint"), f)(Y0, H)
    np.testing.assert_allclose(new, Y0 + H * f((Y0 + new) / 2), rtol=1e-14)


def test_steps_of_pairs_by_hand():
    field = SplitField(np.sin, f, slopes)
    new = stepper(method("ars111"), field)(Y0, H)
    np.testing.assert_allclose(new, Y0 + H * (np.sin(Y0) + f(new)), rtol=1e-14)
    g = 1 - np.sqrt(2) / 2
    d = -np.sqrt(2) / 2
    stage = Y0 + H * g * np.sin(Y0)
    stage = solve_newton(
        lambda y: y - stage - H * g * f(y), lambda y: np.eye(2) - H * g * slopes(y), stage
    )
    new = stepper(method("ars222"), field)(Y0, H)
    np.testing.assert_allclose(
        new,
        Y0 + H * (d * np.sin(Y0) + (1 - d) * np.sin(stage) + (1 - g) * f(stage) + g * f(new)),
        rtol=1e-14,
    )
    # Without a Jacobian it is found by differences, to the same zero.
    again = stepper(method("ars222"), SplitField(np.sin, f))(Y0, H)
    np.testing.assert_allclose(again, new, rtol=1e-14)


@pytest.mark.parametrize("name", ["leapfrog", "ab3", "bdf2", "am2", "sbdf2", "cnab", "cnlf"])
def test_multistep_states_satisfy_their_formula(name):
    found = method(name)
    field = SplitField(np.sin, f, slopes)
    mixed = isinstance(found, ImexMultistep)
    states = integrate(found, field if mixed else f, Y0, 0.1, 6)
    k = found.steps
    for n in range(6 - k + 1):
        window = states[n : n + k + 1]
        left = sum(float(a) * y for a, y in zip(found.alpha, window, strict=True))
        explicit = np.sin if mixed else f
        right = sum(float(b) * explicit(y) for b, y in zip(found.beta, window, strict=True))
        if mixed:
            implicit = zip(found.beta_implicit, window, strict=True)
            right = right + sum(float(b) * f(y) for b, y in implicit)
        np.testing.assert_allclose(left, 0.1 * right, rtol=0, atol=1e-15)


def test_starting_values_are_accurate():
    problem = circle()
    states = integrate(method("ab6"), problem, problem.y0, 0.05, 5)
    truth = np.array([problem.exact(0.05 * i) for i in range(6)])
    np.testing.assert_allclose(states, truth, rtol=0, atol=1e-14)


def test_fewer_steps_than_a_multistep_method_reads():
    problem = clock()
    states = integrate(method("bdf4"), problem, problem.y0, 0.1, 2)
    assert states.shape == (3, 2)
    assert integrate(method("bdf4"), problem, problem.y0, 0.1, 0).shape == (1, 2)


def test_splittings_by_hand():
    problem = bernoulli(3.0)
    y, h = np.array([0.5]), 0.2
    lie = np.exp(-3 * h) * problem.explicit_flow(h, y)
    np.testing.assert_allclose(stepper(method("lie"), problem)(y, h), lie, rtol=1e-15)
    half = np.exp(-3 * h) * problem.explicit_flow(h / 2, y)
    strang = problem.explicit_flow(h / 2, half)
    np.testing.assert_allclose(stepper(method("strang"), problem)(y, h), strang, rtol=1e-15)


def test_verlet_by_hand_and_energy_stays():
    problem = pendulum()
    q, p = 2.0, 0.0
    h = 0.1
    p_half = p - h / 2 * np.sin(q)
    q_new = q + h * p_half
    p_new = p_half - h / 2 * np.sin(q_new)
    new = stepper(method("verlet"), problem)(np.array([q, p]), h)
    np.testing.assert_allclose(new, [q_new, p_new], rtol=1e-15)
    p_euler = p - h * np.sin(q)
    new = stepper(method("symplectic-euler"), problem)(np.array([q, p]), h)
    np.testing.assert_allclose(new, [q + h * p_euler, p_euler], rtol=1e-15)
    energies = [
        problem.energy(y) for y in integrate(method("verlet"), problem, problem.y0, h, 5000)
    ]
    assert np.ptp(energies) < 1e-2  # over 80 periods


def test_flows_of_ones_own():
    A, B = np.array([[0.0, 1.0], [-1.0, 0.0]]), np.array([[-1.0, 0.3], [0.0, -2.0]])
    flows = {"explicit": lambda t, y: expm(t * A) @ y, "implicit": lambda t, y: expm(t * B) @ y}
    new = stepper(method("strang"), flows)(Y0, H)
    expected = expm(H / 2 * A) @ expm(H * B) @ expm(H / 2 * A) @ Y0
    np.testing.assert_allclose(new, expected, rtol=1e-14)


def test_stabilised_steps_are_those_of_their_table():
    for name in ("rkc1:stages=7", "rkc2:stages=7", "rkl1:stages=7", "rkl2:stages=7,damping=0.1"):
        new = stepper(method(name), f)(Y0, H)
        np.testing.assert_allclose(new, stepper(tableau(name), f)(Y0, H), rtol=1e-13)


def test_a_stabilised_step_of_many_stages_damps_a_stiff_problem():
    # 200 Euler steps would be needed for the stiffest mode; 15 stages of one step of rkl2 do it.
    rates = np.array([1.0, 30.0, 110.0])
    new = stepper(method("rkl2:stages=15"), lambda y: -rates * y)(np.ones(3), 1.0)
    assert np.all(np.abs(new) <= 1)
    assert new[0] == pytest.approx(np.exp(-1), abs=0.04)


def test_an_implicit_step_takes_a_stiff_problem():
    problem = stiff_circle(1e6)
    states = integrate(method("radau-iia3"), problem, problem.y0, 0.1, 20)
    np.testing.assert_allclose(states[-1], problem.exact(2.0), rtol=0, atol=1e-5)
    assert scipy.integrate.solve_ivp(
        lambda _, y: problem.f(y), (0, 2), problem.y0, method="Radau", rtol=1e-8, atol=1e-10
    ).y[:, -1] == pytest.approx(problem.exact(2.0), abs=1e-5)


def test_complex_states():
    new = stepper(method("gauss2"), lambda y: 1j * y)(np.array([1.0 + 0j]), 0.5)
    z = 0.5j
    assert new[0] == pytest.approx((1 + z / 2 + z * z / 12) / (1 - z / 2 + z * z / 12), rel=1e-14)
    states = integrate(method("rk4"), lambda y: 1j * y, np.array([1j]), 0.01, 3)
    assert states.dtype == complex


def test_jacobians_by_differences():
    np.testing.assert_allclose(difference_jacobian(f, Y0), slopes(Y0), atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: integrate(method("heun"), {}, Y0, H, 1), "a right-hand side for 'heun', a Runge"),
        (lambda: integrate(method("ars222"), f, Y0, H, 1), "a SplitField or SplitProblem for 'ars"),
        (lambda: integrate(method("sbdf2"), circle(), Y0, H, 1), "a SplitField or SplitProblem"),
        (lambda: integrate(method("verlet"), circle(), Y0, H, 1), "or a HamiltonianProblem for 'v"),
        (
            lambda: integrate(method("strang"), stiff_circle(), Y0, H, 1),
            "with a known flow for",
        ),
        (lambda: integrate(method("lie"), {"explicit": None}, Y0, H, 1), "got none of implicit"),
        (lambda: stepper(method("bdf2"), f), "a one-step method, got 'bdf2', a linear multistep"),
        (
            lambda: integrate(method("backward-euler"), lambda y: 1 + y**2, Y0, 5.0, 1),
            "implicit equation Newton's method solves",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
