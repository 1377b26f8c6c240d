"""Rooted trees and the order conditions of Runge-Kutta methods, generated and checked exactly.

A Runge-Kutta method has order p if and only if Phi(t) = 1 / gamma(t) for every rooted tree t with
at most p nodes (Butcher 1963; Hairer, Norsett & Wanner, Solving ODEs I, section II.2). An additive
method, which steps y' = f(y) + g(y) with a table for each part, has order p if and only if that is
so for every colouring of the nodes by the parts (Araujo, Murua & Sanz-Serna, SIAM J. Numer. Anal.
34 (1997); Kennedy & Carpenter, Appl. Numer. Math. 44 (2003), section 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

from analysis.exact import Exact

Tree = tuple["Tree", ...]  # a root with its sub-trees, in sorted order; () is the single node


def nodes(tree: Tree) -> int:
    """Number of nodes of the tree, its order."""
    return 1 + sum(map(nodes, tree))


def density(tree: Tree) -> int:
    """gamma(t) = nodes(t) times the product of the densities of the sub-trees.

    >>> density((((),),)), density(((), ()))
    (6, 3)
    """
    return nodes(tree) * math.prod(map(density, tree))


def _graft(tree: Tree) -> list[Tree]:
    """The trees made by hanging one more leaf on each node of the tree."""
    grown = [tuple(sorted((*tree, ())))]
    for k, branch in enumerate(tree):
        rest = tree[:k] + tree[k + 1 :]
        grown += [tuple(sorted((*rest, new))) for new in _graft(branch)]
    return grown


@cache
def rooted_trees(order: int) -> tuple[Tree, ...]:
    """All rooted trees with `order` nodes.

    >>> [len(rooted_trees(p)) for p in range(1, 9)]
    [1, 1, 2, 4, 9, 20, 48, 115]
    """
    if order <= 1:
        return ((),) if order == 1 else ()
    return tuple(sorted({new for tree in rooted_trees(order - 1) for new in _graft(tree)}))


Matrix = Sequence[Sequence[Exact]]


def elementary_weight(A: Matrix, b: Sequence[Exact], tree: Tree) -> Exact:
    """Phi(t) = b^T phi(t) with phi(t)_i the product over the sub-trees u of (A phi(u))_i.

    >>> elementary_weight([[Fraction(0)]], [Fraction(1)], ())
    Fraction(1, 1)
    """
    return sum((w * f for w, f in zip(b, _stage_weights(A, tree, {}), strict=True)), Fraction(0))


def _stage_weights(A: Matrix, tree: Tree, known: dict[Tree, list[Exact]]) -> list[Exact]:
    """phi(t), one number per stage; `known` holds A phi(u) of the sub-trees met so far."""
    result: list[Exact] = [Fraction(1)] * len(A)
    for branch in tree:
        if branch not in known:
            inner = _stage_weights(A, branch, known)
            known[branch] = _product(A, inner)
        result = [x * y for x, y in zip(result, known[branch], strict=True)]
    return result


def _product(A: Matrix, x: Sequence[Exact]) -> list[Exact]:
    """A x."""
    return [sum((a * f for a, f in zip(row, x, strict=True) if a), Fraction(0)) for row in A]


def proved_order(A: Matrix, b: Sequence[Exact], limit: int) -> int:
    """The largest p <= limit such that every condition up to order p holds exactly.

    >>> proved_order([[Fraction(0)]], [Fraction(1)], limit=6)
    1
    """
    known: dict[Tree, list[Exact]] = {}
    for order in range(1, limit + 1):
        for tree in rooted_trees(order):
            stage = _stage_weights(A, tree, known)
            if sum(w * f for w, f in zip(b, stage, strict=True)) != Fraction(1, density(tree)):
                return order - 1
    return limit


ColouredTree = tuple[int, tuple["ColouredTree", ...]]  # a root's colour, and its sub-trees


@cache
def coloured_trees(order: int, colours: int) -> tuple[ColouredTree, ...]:
    """All rooted trees with `order` nodes, each node of one of the colours 0, 1, ...

    >>> [len(coloured_trees(p, 2)) for p in range(1, 6)]
    [2, 4, 14, 52, 214]
    """
    if order <= 1:
        return tuple((colour, ()) for colour in range(colours)) if order == 1 else ()
    smaller = coloured_trees(order - 1, colours)
    return tuple(sorted({new for tree in smaller for new in _graft_coloured(tree, colours)}))


def _graft_coloured(tree: ColouredTree, colours: int) -> list[ColouredTree]:
    """The trees made by hanging one more leaf of any colour on each node of the tree."""
    root, branches = tree
    grown = [(root, tuple(sorted((*branches, (colour, ()))))) for colour in range(colours)]
    for k, branch in enumerate(branches):
        rest = branches[:k] + branches[k + 1 :]
        grown += [(root, tuple(sorted((*rest, new)))) for new in _graft_coloured(branch, colours)]
    return grown


def shape(tree: ColouredTree) -> Tree:
    """The tree without its colours.

    >>> density(shape((0, ((1, ()), (0, ())))))
    3
    """
    return tuple(sorted(shape(branch) for branch in tree[1]))


def additive_weight(parts: Sequence[tuple[Matrix, Sequence[Exact]]], tree: ColouredTree) -> Exact:
    """Phi(t): the root takes the weights b of its colour, every other node the matrix A of its own.

    >>> euler = ([[Fraction(0)]], [Fraction(1)]), ([[Fraction(1)]], [Fraction(1)])
    >>> additive_weight(euler, (0, ((0, ()),))), additive_weight(euler, (0, ((1, ()),)))
    (Fraction(0, 1), Fraction(1, 1))
    """
    stage = _coloured_stage_weights(parts, tree[1], {})
    return sum((w * f for w, f in zip(parts[tree[0]][1], stage, strict=True)), Fraction(0))


def _coloured_stage_weights(
    parts: Sequence[tuple[Matrix, Sequence[Exact]]],
    branches: tuple[ColouredTree, ...],
    known: dict[ColouredTree, list[Exact]],
) -> list[Exact]:
    """The product over the branches u of A phi(u), with A of the colour of u, a number a stage."""
    result: list[Exact] = [Fraction(1)] * len(parts[0][1])
    for branch in branches:
        if branch not in known:
            inner = _coloured_stage_weights(parts, branch[1], known)
            known[branch] = _product(parts[branch[0]][0], inner)
        result = [x * y for x, y in zip(result, known[branch], strict=True)]
    return result


def proved_additive_order(parts: Sequence[tuple[Matrix, Sequence[Exact]]], limit: int) -> int:
    """The largest p <= limit such that every coloured condition up to order p holds exactly.

    `parts` are (A, b), one for each colour, over the same stages.
    """
    known: dict[ColouredTree, list[Exact]] = {}
    for order in range(1, limit + 1):
        for tree in coloured_trees(order, len(parts)):
            stage = _coloured_stage_weights(parts, tree[1], known)
            total = sum(w * f for w, f in zip(parts[tree[0]][1], stage, strict=True))
            if total != Fraction(1, density(shape(tree))):
                return order - 1
    return limit
