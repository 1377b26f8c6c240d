"""The joint spectral radius: growth per layer of the worst order of layers (theory §4.7).

    rho(G_1, ..., G_m) = lim_k max over words w of length k of ||G_w||^(1 / k)

A word whose eigenvalues grow proves growth from below; norms of all words of a length bound it from
above.

>>> U = np.array([[0.5, 2.0], [0.0, 0.5]])
>>> found = joint_spectral_radius([U, U.T])
>>> found.word, round(found.lower, 6), round(found.upper, 6)
((0, 1), 2.118034, 2.118034)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.errors import InputError
from analysis.krylov import UNIT_ROUNDOFF

MOST_WORDS = 20_000
"""Most words of one length that are multiplied out."""

_NEARLY = 1e-9


_NEARLY = 1e-9
"""By how much a longer word must beat a shorter one: its powers only repeat it."""

_DEFECT = 1e-7
"""Eigenvalues of a defective word are known to the root of the rounding errors."""


@dataclass(frozen=True)
class JointRadius:
    """The joint spectral radius between two numbers, growth per layer.

    Attributes:
        lower: ``rho(G_w)^(1 / k)`` of the word, reached by repeating it for ever.
        upper: no chain of these layers, in any order, grows faster in the long run.
        word: the indices of the layers in the order in which they act.
        length: of the longest words that were looked at.
        statement: what is proved.
    """

    lower: float
    upper: float
    word: tuple[int, ...]
    length: int
    statement: str

    @property
    def verdict(self) -> str:
        """``decays`` (in every order), ``grows`` (in one order), or ``undecided``."""
        if self.upper < 1:
            return "decays"
        return "grows" if self.lower > 1 + _DEFECT else "undecided"


def joint_spectral_radius(
    steps: Sequence[np.ndarray] | np.ndarray,
    *,
    length: int = 10,
    relative_width: float = 1e-3,
    basis: np.ndarray | None = None,
) -> JointRadius:
    """Bounds of the joint spectral radius from words up to a length, by Gripenberg's pruning.

        max over words  rho(G_w)^(1 / k)  <=  rho  <=  max over words of length k  ||G_w||^(1 / k)

    A word is not continued where one of its beginnings ``p`` has ``||G_p||^(1 / |p|)`` of at most
    ``1 + relative_width`` times the lower bound: chains of such beginnings grow no faster. Steps
    that are symmetric have both bounds equal at once. Source: Gripenberg, Linear Algebra Appl. 234
    (1996).

    Args:
        steps: square matrices of equal size, shape ``(m, d, d)``.
        length: of the longest words; the upper bound falls slowly with it. It ends earlier where
            more than ``MOST_WORDS`` words would be multiplied.
        relative_width: how far the upper bound may lie above the lower one.
        basis: ``T``, for norms of ``T G T^-1`` in place of ``G``: the square root of an energy that
            the steps nearly conserve gives far better upper bounds.

    Raises:
        InputError: for matrices that are not square, of equal size and finite; for no words.

    >>> joint_spectral_radius([np.diag([0.5, 0.25]), np.diag([0.25, 0.5])]).lower
    0.5
    """
    if length < 1 or not relative_width > 0:
        raise InputError(
            "a length of 1 or more and a positive width",
            f"{length} and {relative_width}",
            "pass 10",
        )
    factors = _in_basis(_checked(steps), basis)
    search = _Search(factors, relative_width)
    for k in range(1, length + 1):
        search.examine(k)
        if k == length or not search.extend():
            break
    upper = max(search.upper, search.lower)
    statement = _statement(search.lower, upper, search.best, k)
    return JointRadius(search.lower, upper, search.best, k, statement)


class _Search:
    """The words that are continued, their products and the bounds found so far."""

    def __init__(self, factors: np.ndarray, relative_width: float) -> None:
        self.factors, self.width = factors, relative_width
        self.largest = float(np.linalg.norm(factors, 2, axis=(1, 2)).max())
        self.lower, self.upper = 0.0, math.inf
        self.best: tuple[int, ...] = (0,)
        self.words: list[tuple[int, ...]] = [(j,) for j in range(len(factors))]
        self.products = factors
        # The least ||G_p||^(1 / |p|) over the beginnings p of every word.
        self.sizes = np.full(len(factors), math.inf)
        self.pruned = False

    @property
    def threshold(self) -> float:
        """Words whose size is at most this are not continued."""
        return self.lower * (1 + self.width)

    def examine(self, k: int) -> None:
        """Improve both bounds by the words of length ``k``."""
        radii = np.abs(np.linalg.eigvals(self.products)).max(axis=1) ** (1 / k)
        top = int(np.argmax(radii))
        if radii[top] > self.lower * (1 + _NEARLY):
            self.lower, self.best = float(radii[top]), self.words[top]
        # Rounding of the product and its norm: the bound must not fall below the truth.
        rounding = 2 * (k + 1) * self.factors.shape[-1] * UNIT_ROUNDOFF * self.largest**k
        norms = np.linalg.norm(self.products, 2, axis=(1, 2)) + rounding
        self.sizes = np.minimum(self.sizes, norms ** (1 / k))
        bound = max(float(self.sizes.max()), self.threshold if self.pruned else 0.0)
        self.upper = min(self.upper, bound)

    def extend(self) -> bool:
        """Continue the words that are not pruned by every layer; False where there is nothing."""
        kept = np.flatnonzero(self.sizes > self.threshold)
        count, d = len(self.factors), self.factors.shape[-1]
        self.pruned = self.pruned or kept.size < self.sizes.size
        if not kept.size:
            self.upper = min(self.upper, self.threshold)
            return False
        if kept.size * count > MOST_WORDS:
            return False
        self.products = (self.factors[None] @ self.products[kept][:, None]).reshape(-1, d, d)
        self.words = [(*self.words[i], j) for i in kept for j in range(count)]
        self.sizes = np.repeat(self.sizes[kept], count)
        return True


def _checked(steps: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    try:
        factors = np.stack([np.asarray(step) for step in steps])
        factors = factors.astype(complex if factors.dtype.kind == "c" else float)
    except (TypeError, ValueError):
        raise InputError("matrices of equal size", "others", "pass steps of one size") from None
    if factors.ndim != 3 or factors.shape[1] != factors.shape[2] or not factors.size:
        raise InputError("square matrices (m, d, d)", f"shape {factors.shape}", "pass one a layer")
    if not np.isfinite(factors).all():
        raise InputError("finite matrices", "nan or inf", "use layers before the divergence")
    return factors


def _in_basis(factors: np.ndarray, basis: np.ndarray | None) -> np.ndarray:
    if basis is None:
        return factors
    T = np.asarray(basis)
    if T.shape != factors.shape[1:] or np.linalg.matrix_rank(T) < len(T):
        raise InputError(
            f"an invertible basis of shape {factors.shape[1:]}", f"shape {T.shape}", "leave it out"
        )
    return np.asarray(T @ factors @ np.linalg.inv(T))


def _statement(lower: float, upper: float, word: tuple[int, ...], length: int) -> str:
    return (
        f"the layers {', '.join(map(str, word))} repeated grow by {lower:.6g} a layer (eigenvalues "
        f"of their product, up to rounding); no order of the layers grows by more than "
        f"{upper:.6g} a layer in the long run (norms of words up to length {length}; theory §4.7)"
    )
