"""Tables: order proved and observed, Chebyshev methods against their recurrence, names, errors."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pickle
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate._ivp.rk import RK45

from analysis.errors import InputError
from analysis.exact import Quadratic
from analysis.methods import METHODS, method, tableau
from analysis.order_conditions import density, elementary_weight, nodes, proved_order, rooted_trees
from analysis.stabilised import StabilisedMethod
from analysis.tableau import ButcherTableau
from analysis.tables.implicit import IMPLICIT as IMPLICIT_FAMILIES

TABLES = [n for n in METHODS if isinstance(method(n), ButcherTableau | StabilisedMethod)]
IMPLICIT = [
    name for base, family in IMPLICIT_FAMILIES.items() for name in family.descriptions(base)
]
ORDERS = {
    "euler": 1,
    "forward-euler": 1,
    "midpoint": 2,
    "heun": 2,
    "ssprk22": 2,
    "ssprk33": 3,
    "rk4": 4,
    "dopri5": 5,
    "rkc1:stages=1": 1,
    "rkc1:stages=6": 1,
    "rkc1:stages=12,damping=0": 1,
    "rkc2:stages=2": 2,
    "rkc2:stages=7,damping=0": 2,
    "rkc2:stages=10": 2,
    "backward-euler": 1,
    "crank-nicolson": 2,
    "theta": 2,
    "theta:value=0": 1,
    "theta:value=0.3": 1,
    "theta:value=1": 1,
}


def step(method, f, y, h):
    """One step by the definition; implicit stages by Newton's method of SciPy."""
    A, b = (np.array(x, dtype=float) for x in (method.A, method.b))
    k = np.zeros((method.stages, len(y)))
    if method.explicit:
        for i in range(method.stages):
            k[i] = f(y + h * A[i] @ k)
    else:

        def residual(flat):
            stages = flat.reshape(k.shape)
            return (stages - np.array([f(y + h * row @ stages) for row in A])).ravel()

        start = np.tile(f(y), method.stages)
        k = scipy.optimize.root(residual, start, tol=1e-14).x.reshape(k.shape)
    return y + h * b @ k


def observed_order(method, steps):
    """Slope of the error at t = 1 on a coupled non-linear system that drives itself by its time.

    u' = -2 t u^2, v' = u v cos(t) + t v^2 / (1 + t), t' = 1: quadrature rules and methods that are
    right for linear problems only lose their order here. The reference is a far finer integration.
    """

    def f(y):
        u, v, t = y
        return np.array([-2 * t * u * u, u * v * np.cos(t) + t * v * v / (1 + t), 1.0])

    start = np.array([1.0, 0.5, 0.0])
    fine = scipy.integrate.solve_ivp(
        lambda _, y: f(y), (0, 1), start, method="DOP853", rtol=1e-13, atol=1e-15
    ).y[:, -1]
    assert fine[0] == pytest.approx(0.5, rel=1e-12)
    errors = []
    for n in steps:
        y = start
        for _ in range(n):
            y = step(method, f, y, 1 / n)
        errors.append(np.linalg.norm(y - fine))
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_proved_order(name, order):
    assert tableau(name).order == order


@pytest.mark.parametrize("name", ORDERS)
def test_observed_order_is_the_proved_one(name):
    method = tableau(name)
    steps = (16, 24, 32) if method.order == 5 else (64, 96, 128)
    assert observed_order(method, steps) == pytest.approx(method.order, abs=0.15)


def test_a_method_right_for_quadrature_only_is_found_out():
    # Weights of Simpson's rule with stages of first order: orders 1 to 3 of y' = f(t) hold.
    wrong = ButcherTableau("wrong", [[0, 0, 0], ["1/2", 0, 0], [1, 0, 0]], ["1/6", "2/3", "1/6"])
    assert wrong.order == 2
    assert observed_order(wrong, (64, 96, 128)) == pytest.approx(2, abs=0.15)
    # The low-storage method of three stages: order 3 for linear problems, 2 for the others.
    linear = ButcherTableau("linear", [[0, 0, 0], ["1/3", 0, 0], [0, "1/2", 0]], [0, 0, 1])
    assert linear.order == 2
    assert observed_order(linear, (64, 96, 128)) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("name", ["heun", "ssprk33", "rk4", "dopri5", "rkc2:stages=4"])
def test_a_changed_entry_loses_the_order(name):
    method = tableau(name)
    for i in range(1, method.stages):
        A = [list(row) for row in method.A]
        A[i][0] += Fraction(1, 10**9)
        assert ButcherTableau("changed", A, method.b).order < method.order


def test_rooted_trees_are_complete():
    # Cayley and Butcher: sum over trees of n! / (sigma gamma) = (n - 1)! monotone labellings.
    def symmetry(tree):
        repeated = Counter(tree)
        return math.prod(math.factorial(k) * symmetry(t) ** k for t, k in repeated.items())

    for n in range(1, 8):
        trees = rooted_trees(n)
        assert all(nodes(tree) == n for tree in trees)
        total = sum(Fraction(math.factorial(n), symmetry(tree) * density(tree)) for tree in trees)
        assert total == math.factorial(n - 1)


def test_conditions_of_order_four_by_hand():
    A, b = tableau("rk4").A, tableau("rk4").b
    c = tableau("rk4").c
    four = range(4)
    by_hand = {
        sum(b[i] * c[i] ** 3 for i in four): Fraction(1, 4),
        sum(b[i] * c[i] * A[i][j] * c[j] for i in four for j in four): Fraction(1, 8),
        sum(b[i] * A[i][j] * c[j] ** 2 for i in four for j in four): Fraction(1, 12),
        sum(b[i] * A[i][j] * A[j][k] * c[k] for i in four for j in four for k in four): Fraction(
            1, 24
        ),
    }
    assert all(left == right for left, right in by_hand.items())
    assert {elementary_weight(A, b, tree) for tree in rooted_trees(4)} == set(by_hand)
    assert proved_order(A, b, limit=8) == 4


def test_dormand_prince_is_the_pair_of_scipy():
    method = tableau("dopri5")
    np.testing.assert_allclose(np.array(method.A, dtype=float)[:, :5], RK45.A, rtol=1e-15)
    np.testing.assert_allclose(np.array(method.b, dtype=float), RK45.B, rtol=1e-15)


def chebyshev_reference(order, s, epsilon, f, y, h):
    """One step of the published recurrence in floating point, T_j by hyperbolic functions."""
    w0 = 1 + epsilon / s**2
    a = math.acosh(w0)
    T = [math.cosh(j * a) for j in range(s + 1)]
    dT = [j * math.sinh(j * a) / math.sinh(a) for j in range(s + 1)]
    d2T = [
        (j * j * math.cosh(j * a) - w0 * j * math.sinh(j * a) / math.sinh(a)) / math.sinh(a) ** 2
        for j in range(s + 1)
    ]
    if order == 1:
        w1, b = T[s] / dT[s], [1 / t for t in T]
    else:
        b = [0.0, 0.0] + [d2T[j] / dT[j] ** 2 for j in range(2, s + 1)]
        b[0] = b[1] = b[2]
        w1 = dT[s] / d2T[s]
    shift = [1 - b[j] * T[j] for j in range(s + 1)]
    f0 = f(y)
    before, now = y, y + b[1] * w1 * h * f0
    for j in range(2, s + 1):
        mu, nu, mut = 2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], 2 * b[j] * w1 / b[j - 1]
        new = (1 - mu - nu) * y + mu * now + nu * before + mut * h * f(now)
        before, now = now, new - shift[j - 1] * mut * h * f0
    return now


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("stages", [2, 3, 5, 9, 20])
@pytest.mark.parametrize("damping", ["1/20", "2/13", "1.5"])
def test_chebyshev_tables_follow_the_published_recurrence(order, stages, damping):
    def f(y):
        return -np.array([3.0, 40.0, 7.0]) * y + np.sin(y[::-1]) * y[0]

    y = np.array([1.0, -0.3, 0.7])
    method = tableau(f"rkc{order}:stages={stages},damping={damping}")
    expected = chebyshev_reference(order, stages, float(Fraction(damping)), f, y, 0.04)
    np.testing.assert_allclose(step(method, f, y, 0.04), expected, rtol=1e-11)


def test_defaults_aliases_and_names():
    assert tableau("rkc1") is tableau("rkc1:stages=10, damping=0.05")
    assert tableau("rkc2").name == "rkc2:stages=10,damping=2/13"
    assert tableau(tableau("rkc2").name) == tableau("rkc2")
    assert tableau(" Euler ") is tableau("forward-euler")
    assert (tableau("ssprk22").A, tableau("ssprk22").b) == (tableau("heun").A, tableau("heun").b)
    assert tableau("theta").A == tableau("crank-nicolson").A
    assert tableau("theta:value=1e-1").b == (Fraction(9, 10), Fraction(1, 10))


@pytest.mark.parametrize("name", TABLES)
def test_every_listed_table_is_consistent_data(name):
    table = tableau(name)
    assert sum(table.b) == 1
    assert table.c == tuple(map(sum, table.A))
    assert all(
        isinstance(a, Fraction | Quadratic) for row in (*table.A, table.b, table.c) for a in row
    )
    assert table.explicit == (name not in IMPLICIT)
    assert table.fsal == (name in ("crank-nicolson", "theta"))
    assert hash(table) == hash(ButcherTableau(table.name, table.A, table.b))


@pytest.mark.parametrize("name", METHODS)
def test_every_listed_method_is_frozen_and_found_again(name):
    found = method(name)
    assert METHODS[name] and "\n" not in METHODS[name]
    assert method(found.name) is found
    assert pickle.loads(pickle.dumps(found)) == found
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.name = ""


def test_dormand_prince_with_its_seventh_stage_is_fsal():
    six = tableau("dopri5")
    A = [*([*row, 0] for row in six.A), [*six.b, 0]]
    seven = ButcherTableau("dopri5 pair", A, [*six.b, 0])
    assert seven.fsal and seven.order == 5 and seven.stages == 7
    assert not six.fsal and six.stages == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 0]], [1]), "square matrix A"),
        (([], []), "square matrix A"),
        (([[0], [0]], [1]), "square matrix A"),
        (([[0.5]], [1]), "exact table entries"),
        (([[True]], [1]), "exact table entries"),
        ((["half"], [1]), "a number for a table entry"),
        (([["1/0"]], [1]), "a number for a table entry"),
        (([[0]], ["1/2"]), "weights b that sum to 1, got the sum 1/2"),
        (([[0]], [1], [1]), "row sums"),
    ],
)
def test_a_table_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        ButcherTableau("bad", *arguments)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("eulr", "did you mean 'euler'"),
        ("", "expected a method out of"),
        ("rk4:stages=4", "'rk4' without parameters"),
        ("rkc1:stage=4", "did you mean 'stages'"),
        ("rkc1:stages", "write 'rkc1:stages=10'"),
        ("rkc1:stages=4,stages=5", "again"),
        ("rkc1:stages=four", "a number for 'stages'"),
        ("rkc1:stages=2.5", "a whole number from 1 to"),
        ("rkc1:stages=0", "a whole number from 1 to"),
        ("rkc2:stages=1", "a whole number from 2 to"),
        ("rkc1:stages=1000000", "a whole number from 1 to"),
        ("rkc1:damping=-0.1", "from 0 to"),
        ("rkc1:damping=nan", "a number for 'damping'"),
        ("rkc1:damping=1/0", "a number for 'damping'"),
        ("rkc1:damping=1e999999999", "a number for 'damping'"),
        ("rkc1:damping=", "a number for 'damping'"),
        ("theta:value=1.01", "from 0 to 1"),
        (7, "expected the name of a method"),
    ],
)
def test_a_bad_name_is_refused_in_one_line(name, message):
    with pytest.raises(InputError, match=message) as caught:
        tableau(name)
    assert "\n" not in str(caught.value)


@given(
    st.one_of(
        st.text(max_size=30),
        st.builds(
            "{}:{}={}".format,
            st.sampled_from(["rkc1", "rkc2", "theta", "euler"]),
            st.sampled_from(["stages", "damping", "value", "x", ""]),
            st.text("0123456789./e+-, =", max_size=8).filter(lambda t: len(t) < 3 or "e" in t),
        ),
    )
)
def test_any_text_gives_a_method_or_an_input_error(text):
    with contextlib.suppress(InputError):
        assert tableau(text).order >= 1
