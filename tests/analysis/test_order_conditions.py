"""Order conditions: trees counted, conditions written out by hand, couplings of pairs seen."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import pytest

from analysis.methods import method, tableau
from analysis.order_conditions import (
    additive_weight,
    coloured_trees,
    density,
    elementary_weight,
    nodes,
    proved_additive_order,
    proved_order,
    rooted_trees,
    shape,
)
from analysis.tableau import ButcherTableau, ImexTableau

HALF = Fraction(1, 2)


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


def symmetry(tree):
    """The number of automorphisms that keep the colours."""
    repeated = Counter(tree[1])
    return math.prod(math.factorial(k) * symmetry(t) ** k for t, k in repeated.items())


@pytest.mark.parametrize("colours", [1, 2, 3])
def test_coloured_trees_are_complete(colours):
    # n! / (sigma gamma) counts labellings that grow from the root; each node takes any colour.
    for n in range(1, 6):
        trees = coloured_trees(n, colours)
        assert len(set(trees)) == len(trees)
        assert all(nodes(shape(tree)) == n for tree in trees)
        total = sum(
            Fraction(math.factorial(n), symmetry(tree) * density(shape(tree))) for tree in trees
        )
        assert total == math.factorial(n - 1) * colours**n


def test_one_colour_is_the_ordinary_theory():
    for n in range(1, 6):
        assert {shape(tree) for tree in coloured_trees(n, 1)} == set(rooted_trees(n))
    table = tableau("rk4")
    for tree in coloured_trees(4, 1):
        expected = elementary_weight(table.A, table.b, shape(tree))
        assert additive_weight([(table.A, table.b)], tree) == expected
    for name in ("rk4", "gauss3", "tsit5", "ssprk104"):
        table = tableau(name)
        same = [(table.A, table.b)]
        assert proved_additive_order(same, table.order + 1) == table.order


def by_hand(parts):
    """Conditions of order 3 of a pair, as sums over indices: both colours in every place."""
    s = range(len(parts[0][1]))
    for _, b in parts:
        for left, _ in parts:
            c = [sum(row) for row in left]
            for right, _ in parts:
                d = [sum(row) for row in right]
                yield sum(b[i] * c[i] * d[i] for i in s), Fraction(1, 3)
                yield sum(b[i] * left[i][j] * d[j] for i in s for j in s), Fraction(1, 6)


@pytest.mark.parametrize("name", ["ars222", "ars232", "ars233", "ars443"])
def test_conditions_of_order_three_by_hand(name):
    pair = method(name)
    parts = [(pair.explicit.A, pair.explicit.b), (pair.implicit.A, pair.implicit.b)]
    assert all(left == right for left, right in by_hand(parts)) == (pair.order >= 3)
    weights = Counter(additive_weight(parts, tree) for tree in coloured_trees(3, 2))
    # Two of the 16 sums by hand are counted twice: b c d = b d c for both colours of b.
    assert set(weights) == {left for left, _ in by_hand(parts)}


def test_couplings_are_seen_where_both_parts_have_the_order_alone():
    # Simpson's rule by the second stage or by the fourth, both at the new step.
    sixth, explicit_b = Fraction(1, 6), [Fraction(1, 6), Fraction(1, 6), Fraction(2, 3), 0]
    quarter = HALF * HALF
    explicit = ButcherTableau(
        "explicit", [[0, 0, 0, 0], [1, 0, 0, 0], [quarter, quarter, 0, 0], [1, 0, 0, 0]], explicit_b
    )
    last = [[quarter, 0, quarter, 0], [HALF, 0, 0, HALF]]
    for second, order in (([0, 1], 2), ([HALF, HALF], 3)):
        A = [[0, 0, 0, 0], [*second, 0, 0], *last]
        implicit = ButcherTableau("implicit", A, [sixth, 0, Fraction(2, 3), sixth])
        # The second stage has no weight in the implicit part and one in the explicit part:
        # only b A~ c = 1/6 reads it.
        assert (explicit.order, implicit.order) == (3, 3)
        assert ImexTableau("pair", explicit, implicit).order == order


def test_one_order_is_lost_with_the_explicit_part():
    good = method("ars233")
    A = [list(row) for row in good.explicit.A]
    A[2][0], A[2][1] = A[2][0] - HALF, A[2][1] + HALF
    changed = ButcherTableau("changed", A, good.explicit.b)
    assert (changed.order, good.implicit.order) == (2, 3)
    assert ImexTableau("changed", changed, good.implicit).order == 2
