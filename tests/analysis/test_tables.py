"""The tables of the registry: orders of the literature, proved exactly, and published numbers."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
import scipy.integrate
from scipy.integrate._ivp.radau import Radau
from scipy.integrate._ivp.rk import RK23, RK45

from analysis.errors import InputError
from analysis.exact import parse_number, sign_of
from analysis.methods import METHODS, method, tableau
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.order_conditions import (
    elementary_weight,
    proved_additive_order,
    proved_order,
    rooted_trees,
)
from analysis.splitting import SplittingMethod
from analysis.stabilised import StabilisedMethod
from analysis.tableau import ButcherTableau, ImexTableau
from analysis.tables import tsitouras

ORDERS = {
    "euler": 1, "midpoint": 2, "heun": 2, "ssprk22": 2, "ssprk33": 3, "ssprk43": 3,
    "ssprk104": 4, "ssprk2": 2, "rk4": 4, "bogacki-shampine": 3, "merson": 4, "fehlberg": 5,
    "fehlberg4": 4, "dopri5": 5, "dopri5-embedded": 4, "tsit5": 5,
    "rkc1": 1, "rkc2": 2, "rkl1": 1, "rkl2": 2,
    "backward-euler": 1, "crank-nicolson": 2, "theta": 2, "implicit-midpoint": 2, "sdirk2": 2,
    "gauss1": 2, "gauss2": 4, "gauss3": 6, "radau-iia1": 1, "radau-iia2": 3, "radau-iia3": 5,
    "lobatto-iiic2": 2, "lobatto-iiic3": 4, "lobatto-iiic4": 6,
    "leapfrog": 2, "ab1": 1, "ab2": 2, "ab3": 3, "ab4": 4, "ab5": 5, "ab6": 6,
    "am1": 2, "am2": 3, "am3": 4, "am4": 5, "am5": 6, "am6": 7,
    "bdf1": 1, "bdf2": 2, "bdf3": 3, "bdf4": 4, "bdf5": 5, "bdf6": 6,
    "sbdf1": 1, "sbdf2": 2, "sbdf3": 3, "sbdf4": 4, "cnab": 2, "cnlf": 2,
    "ars111": 1, "ars222": 2, "ars232": 2, "ars233": 3, "ars443": 3,
    "lie": 1, "strang": 2, "symplectic-euler": 1, "verlet": 2, "ruth3": 3,
}  # fmt: skip
MORE = {
    "ssprk2:stages=2": 2, "ssprk2:stages=12": 2, "ab:steps=12": 12, "am:steps=12": 13,
    "sbdf:steps=6": 6, "theta:value=0": 1, "theta:value=0.3": 1, "theta:value=1": 1,
}  # fmt: skip
EXPLICIT = [
    name for name in ORDERS if isinstance(method(name), ButcherTableau) and method(name).explicit
]


def test_the_orders_of_all_methods_are_told():
    assert set(ORDERS) == set(METHODS)


@pytest.mark.parametrize(("name", "order"), [*ORDERS.items(), *MORE.items()])
def test_order_is_that_of_the_literature(name, order):
    assert method(name).order == order


@pytest.mark.parametrize("name", ORDERS)
def test_conditions_of_the_next_order_fail(name):
    found, order = method(name), ORDERS[name]
    if isinstance(found, ButcherTableau | StabilisedMethod):
        table = tableau(name)
        assert proved_order(table.A, table.b, order + 1) == order
    elif isinstance(found, ImexTableau):
        parts = [(table.A, table.b) for table in (found.explicit, found.implicit)]
        assert proved_additive_order(parts, order + 1) == order
    elif isinstance(found, MultistepMethod):
        defects = [defect(found.alpha, found.beta, q) for q in range(order + 2)]
        assert defects[:-1] == [0] * (order + 1) and defects[-1] != 0


def defect(alpha, beta, q):
    """sum_j alpha_j j^q - q sum_j beta_j j^(q-1), by its definition."""
    return sum(
        a * Fraction(j) ** q - (q * b * Fraction(j) ** (q - 1) if q else 0)
        for j, (a, b) in enumerate(zip(alpha, beta, strict=True))
    )


# Published numbers, where the registry derives them.


def exact(rows):
    return tuple(tuple(parse_number(x, "x") for x in row.split()) for row in rows)


@pytest.mark.parametrize(
    ("name", "rows", "weights"),
    [
        # The tables of Hairer & Wanner, section IV.5.
        ("gauss2", ["1/4 1/4-sqrt(3)/6", "1/4+sqrt(3)/6 1/4"], "1/2 1/2"),
        (
            "gauss3",
            [
                "5/36 2/9-sqrt(15)/15 5/36-sqrt(15)/30",
                "5/36+sqrt(15)/24 2/9 5/36-sqrt(15)/24",
                "5/36+sqrt(15)/30 2/9+sqrt(15)/15 5/36",
            ],
            "5/18 4/9 5/18",
        ),
        ("radau-iia2", ["5/12 -1/12", "3/4 1/4"], "3/4 1/4"),
        (
            "radau-iia3",
            [
                "11/45-7*sqrt(6)/360 37/225-169*sqrt(6)/1800 -2/225+sqrt(6)/75",
                "37/225+169*sqrt(6)/1800 11/45+7*sqrt(6)/360 -2/225-sqrt(6)/75",
                "4/9-sqrt(6)/36 4/9+sqrt(6)/36 1/9",
            ],
            "4/9-sqrt(6)/36 4/9+sqrt(6)/36 1/9",
        ),
        ("lobatto-iiic2", ["1/2 -1/2", "1/2 1/2"], "1/2 1/2"),
        (
            "lobatto-iiic3",
            ["1/6 -1/3 1/6", "1/6 5/12 -1/12", "1/6 2/3 1/6"],
            "1/6 2/3 1/6",
        ),
        (
            "lobatto-iiic4",
            [
                "1/12 -sqrt(5)/12 sqrt(5)/12 -1/12",
                "1/12 1/4 1/6-7*sqrt(5)/60 sqrt(5)/60",
                "1/12 1/6+7*sqrt(5)/60 1/4 -sqrt(5)/60",
                "1/12 5/12 5/12 1/12",
            ],
            "1/12 5/12 5/12 1/12",
        ),
    ],
)
def test_collocation_gives_the_published_tables(name, rows, weights):
    assert exact(rows) == tableau(name).A
    assert tableau(name).b == exact([weights])[0]


@pytest.mark.parametrize(
    ("name", "alpha", "beta"),
    [
        # The formulas of Hairer, Norsett & Wanner, section III.1.
        ("ab2", "0 -1 1", "-1/2 3/2 0"),
        ("ab3", "0 0 -1 1", "5/12 -16/12 23/12 0"),
        ("ab4", "0 0 0 -1 1", "-9/24 37/24 -59/24 55/24 0"),
        ("am2", "0 -1 1", "-1/12 8/12 5/12"),
        ("am3", "0 0 -1 1", "1/24 -5/24 19/24 9/24"),
        ("bdf2", "1/3 -4/3 1", "0 0 2/3"),
        ("bdf3", "-2/11 9/11 -18/11 1", "0 0 0 6/11"),
        ("bdf6", "10/147 -72/147 225/147 -400/147 450/147 -360/147 1", "0 0 0 0 0 0 60/147"),
    ],
)
def test_interpolation_gives_the_published_multistep_methods(name, alpha, beta):
    assert (method(name).alpha, method(name).beta) == exact([alpha, beta])


@pytest.mark.parametrize(
    ("name", "alpha", "beta", "implicit"),
    [
        # Ascher, Ruuth & Wetton 1995, divided by the factor of u^{n+1}.
        ("sbdf2", "1/3 -4/3 1", "-2/3 4/3 0", "0 0 2/3"),
        ("sbdf3", "-2/11 9/11 -18/11 1", "6/11 -18/11 18/11 0", "0 0 0 6/11"),
        ("sbdf4", "3/25 -16/25 36/25 -48/25 1", "-12/25 48/25 -72/25 48/25 0", "0 0 0 0 12/25"),
        ("cnab", "0 -1 1", "-1/2 3/2 0", "0 1/2 1/2"),
        ("cnlf", "-1 0 1", "0 2 0", "1 0 1"),
    ],
)
def test_implicit_explicit_multistep_methods(name, alpha, beta, implicit):
    found = method(name)
    assert (found.alpha, found.beta, found.beta_implicit) == exact([alpha, beta, implicit])


def test_pairs_of_scipy():
    for name, pair in (("dopri5", RK45), ("bogacki-shampine", RK23)):
        table = tableau(name)
        stages = table.stages
        rows = np.array(table.A, dtype=float)
        np.testing.assert_allclose(rows[:, : stages - 1], pair.A[:, : stages - 1], rtol=1e-15)
        np.testing.assert_allclose(np.array(table.b, dtype=float), pair.B, rtol=1e-15)
    embedded = tableau("dopri5-embedded")
    weights = np.array(embedded.b, dtype=float)
    np.testing.assert_allclose(weights, np.append(RK45.B, 0) + RK45.E, rtol=1e-12, atol=1e-15)
    assert embedded.A[6][:6] == tableau("dopri5").b


def test_the_integrator_of_radau_in_scipy_has_the_same_nodes():
    nodes = np.array(tableau("radau-iia3").c, dtype=float)
    np.testing.assert_allclose(nodes, scipy.integrate._ivp.radau.C, rtol=1e-15)
    assert Radau.__name__ == "Radau"


def test_errors_of_fehlberg_and_merson():
    # The difference of the two solutions, as it is published for error control.
    difference = [
        a - b for a, b in zip(tableau("fehlberg").b, (*tableau("fehlberg4").b, 0), strict=True)
    ]
    assert difference == [
        Fraction(1, 360), 0, Fraction(-128, 4275), Fraction(-2197, 75240), Fraction(1, 50),
        Fraction(2, 55),
    ]  # fmt: skip
    # The stability function of Merson's method ends with z^5 / 144.
    merson = tableau("merson")
    tall = ((((((),),),),),)[0]
    assert tall in rooted_trees(5)
    assert elementary_weight(merson.A, merson.b, tall) == Fraction(1, 144)


PUBLISHED_TSIT5 = [  # Tsitouras 2011
    [0.161],
    [-0.008480655492356989, 0.335480655492357],
    [2.8971530571054935, -6.359448489975075, 4.3622954328695815],
    [5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525],
    [
        5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401,
        -0.028269050394068383,
    ],
]  # fmt: skip
PUBLISHED_TSIT5_WEIGHTS = [
    0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081,
    2.324710524099774,
]  # fmt: skip


def test_tsitouras_is_exact_and_agrees_with_the_published_decimals():
    table = tableau("tsit5")
    for row, published in zip(table.A[1:], PUBLISHED_TSIT5, strict=True):
        found = [float(x) for x in row[: len(published)]]
        np.testing.assert_allclose(found, published, rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        np.array(table.b, dtype=float), PUBLISHED_TSIT5_WEIGHTS, rtol=0, atol=2e-14
    )
    assert table.order == 5


def test_the_published_decimals_themselves_prove_nothing():
    def decimals(values):
        return [Fraction(str(x)) for x in values]

    rows = [[], *(decimals(row) for row in PUBLISHED_TSIT5)]
    weights = decimals(PUBLISHED_TSIT5_WEIGHTS)
    weights[0] += 1 - sum(weights)
    A = [row + [Fraction(0)] * (6 - len(row)) for row in rows]
    assert ButcherTableau("tsit5 in decimals", A, weights).order == 1


def test_the_other_root_of_tsitouras_is_another_method(monkeypatch):
    table = tableau("tsit5")
    upper = tsitouras._upper_root
    monkeypatch.setattr(tsitouras, "_upper_root", lambda a, b, c: -b / a - upper(a, b, c))
    other = tsitouras.tsit5("other")
    assert other.order == 5
    assert other.b == table.b
    assert sign_of(table.A[2][1] - other.A[2][1] - Fraction(17, 10000)) == 1


def test_the_weights_of_tsitouras_are_a_quadrature_rule():
    c = tsitouras._C
    b = tsitouras._weights()
    # Every quadrature condition holds, whatever the root: degree 4 is exact, degree 5 is not.
    moments = [sum(w * x**k for w, x in zip(b, c, strict=True)) for k in range(6)]
    assert moments[:5] == [Fraction(1, k + 1) for k in range(5)]
    assert moments[5] != Fraction(1, 6)


@pytest.mark.parametrize("stages", [2, 3, 7])
def test_ssprk2_is_euler_steps_and_a_mean(stages):
    def f(y):
        return -y + y**2

    y, h, table = 0.7, 0.3, tableau(f"ssprk2:stages={stages}")
    u = y
    for _ in range(stages):
        u = u + h / (stages - 1) * f(u)
    expected = (y + (stages - 1) * u) / stages
    slopes = []
    for row in np.array(table.A, dtype=float):
        slopes.append(f(y + h * np.dot(row[: len(slopes)], slopes)))
    assert y + h * np.dot(np.array(table.b, dtype=float), slopes) == pytest.approx(expected)


def test_the_pairs_of_ascher_ruuth_and_spiteri_have_their_parts():
    orders = {
        "ars111": (1, 1),
        "ars222": (2, 2),
        "ars232": (2, 2),
        "ars233": (3, 3),
        "ars443": (3, 3),
    }
    for name, (explicit, implicit) in orders.items():
        pair = method(name)
        assert (pair.explicit.order, pair.implicit.order) == (explicit, implicit)
        assert not any(row[0] for row in pair.implicit.A)
        diagonal = {pair.implicit.A[i][i] for i in range(1, pair.stages)}
        assert len(diagonal) == 1  # singly diagonally implicit
    # Section 2.5: the third stage gives the explicit part a stability function of order 3.
    ars232 = method("ars232").explicit
    assert elementary_weight(ars232.A, ars232.b, (((),),)) == Fraction(1, 6)


# One changed coefficient.

CHANGE = Fraction(1, 10**9)


def perturbed_tables(table, rng):
    """Twelve copies of a table, each with one entry of A changed, and the entry's indices."""
    s = table.stages
    lower = [(i, j) for i in range(s) for j in range(i if table.explicit else s)]
    for i, j in rng.sample(lower, min(12, len(lower))):
        A = [list(row) for row in table.A]
        A[i][j] += CHANGE
        yield (i, j), ButcherTableau("changed", A, table.b)


@pytest.mark.parametrize("name", [name for name in ORDERS if hasattr(method(name), "A")])
def test_a_changed_entry_lowers_the_order(name):
    table = tableau(name)
    if table.order == 1:
        return  # no condition of order 1 reads A
    for (i, j), changed in perturbed_tables(table, random.Random(7)):
        # b c = 1/2 does not read rows without a weight. Merson's second stage is read by the third
        # alone, which no condition of order 4 reads by more than its abscissa.
        silent = (table.order == 2 and not table.b[i]) or (name, i) == ("merson", 1)
        assert (changed.order < table.order) != silent, (i, j)


@pytest.mark.parametrize("name", [name for name in ORDERS if hasattr(method(name), "b")])
def test_a_changed_weight_lowers_the_order(name):
    table = tableau(name)
    s = table.stages
    for i in range(s):
        b = list(table.b)
        b[i] += CHANGE
        with pytest.raises(InputError, match="weights b that sum to 1"):
            ButcherTableau("changed", table.A, b)
        k = (i + 1) % s
        b[k] -= CHANGE
        if table.order > 1 and table.c[i] != table.c[k]:
            assert ButcherTableau("changed", table.A, b).order < table.order


@pytest.mark.parametrize("name", [n for n in ORDERS if isinstance(method(n), ImexTableau)])
def test_a_changed_entry_of_a_pair_lowers_the_order(name):
    pair = method(name)
    c = pair.explicit.c
    for part in ("explicit", "implicit"):
        table = getattr(pair, part)
        # The abscissae stay, or the pair would be refused: one entry up, another one down.
        places = [
            (i, j, k)
            for i in range(1, pair.stages)
            for j in range(i + (part == "implicit"))
            for k in range(j)
        ]
        for i, j, k in places:
            A = [list(row) for row in table.A]
            A[i][j] += CHANGE
            A[i][k] -= CHANGE
            parts = {"explicit": pair.explicit, "implicit": pair.implicit}
            parts[part] = ButcherTableau("changed", A, table.b)
            changed = ImexTableau("changed", parts["explicit"], parts["implicit"])
            # Both b A c = 1/6 read the row, by the difference of two abscissae.
            read = pair.order == 3 and c[j] != c[k]
            assert changed.order == pair.order - read


@pytest.mark.parametrize(
    "name", [n for n in ORDERS if isinstance(method(n), MultistepMethod | ImexMultistep)]
)
def test_a_changed_multistep_coefficient_lowers_the_order(name):
    found = method(name)
    keys = [key for key in ("alpha", "beta", "beta_implicit") if hasattr(found, key)]
    for key in keys:
        for j in range(found.steps + 1):
            if key == "beta" and isinstance(found, ImexMultistep) and j == found.steps:
                continue  # such a method is refused: its explicit part would be implicit
            values = {k: list(getattr(found, k)) for k in keys}
            values[key][j] += CHANGE
            # Consistency itself reads alpha, and the sum of beta.
            with pytest.raises(InputError, match="a consistent method"):
                type(found)("changed", *values.values())
            if key != "alpha":
                other = (j + 1) % found.steps if found.steps > 1 else None
                if other is None or other == j:
                    continue
                values[key][other] -= CHANGE
                assert type(found)("changed", *values.values()).order < max(found.order, 2)


@pytest.mark.parametrize("name", ["strang", "verlet", "ruth3"])
def test_a_changed_fraction_of_a_splitting_lowers_the_order(name):
    flows = method(name).flows
    for i, (part, fraction) in enumerate(flows):
        changed = [*flows[:i], (part, fraction + CHANGE), *flows[i + 1 :]]
        with pytest.raises(InputError, match="sum to 1"):
            SplittingMethod("changed", changed)
        for k, (other, second) in enumerate(flows):
            if other == part and k != i:
                balanced = list(changed)
                balanced[k] = (other, second - CHANGE)
                assert SplittingMethod("changed", balanced).order < method(name).order
