"""Growth of powers, products and exponentials, step by step (theory §4.4, §4.7).

A spectral radius of one or less bounds powers in the long run only, and says nothing of products of
different layers: their norms are computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from analysis.errors import InputError
from analysis.krylov import (
    Operator,
    apply,
    blocks,
    gram,
    leading_eigenpair,
    norm,
    square_blocks,
)

_DENSE = "largest singular value, exact up to the rounding of the products"
_BELOW = "Lanczos on the product and its adjoint: attained by vectors, so from below"


@dataclass(frozen=True, eq=False)
class TransientGrowth:
    """Norms of powers, products or an exponential over steps or time.

    Attributes:
        times: number of factors, or time (unit of 1 / ``A``), shape ``(N + 1,)`` or ``(N,)``.
        norms: 2-norm at each of them, at least zero; infinite beyond the range of doubles.
        exact: whether the norms are exact up to rounding, or from below.
        statement: what the norms rest on.
    """

    times: np.ndarray
    norms: np.ndarray
    exact: bool
    statement: str

    @property
    def peak(self) -> float:
        """The largest norm of those asked for, a lower bound of the supremum over all."""
        return float(self.norms.max())

    @property
    def peak_time(self) -> float:
        """The first step or time at which the norm is largest."""
        return float(self.times[int(np.argmax(self.norms))])


def transient_growth(G: Operator, steps: int) -> TransientGrowth:
    """``||G^n||_2`` for ``n = 0 .. steps``.

    Dense: by products, exact up to their rounding. Matrix-free: from below, in about ``10 steps^2``
    applications. Source: theory §4.7; Trefethen & Embree (2005), chapter 16.

    Args:
        G: one step: dense ``(n, n)``, a stack ``(..., n, n)`` (largest over the blocks), or
            matrix-free.
        steps: number of steps, at least 1.

    Raises:
        InputError: for operators that are not square or finite, and fewer steps.

    >>> transient_growth([[0.5, 2.0], [0.0, 0.5]], 3).norms.round(4)
    array([1.    , 2.118 , 2.0308, 1.5103])
    """
    if not steps >= 1:
        raise InputError("1 step or more", steps, "pass steps=50")
    return _running([square_blocks(G)] * int(steps))


def product_growth(factors: Sequence[Operator]) -> TransientGrowth:
    """``||G_k ... G_1||_2`` for ``k = 0 .. K``: layers in the order in which they act.

    Layers that are each within their limit can grow together: theory §4.4 (golden ratio) and §4.7.

    Args:
        factors: ``G_1, G_2, ...``: dense ``(m, n)``, stacks with the same number of blocks, or
            matrix-free (then all norms are from below).

    Raises:
        InputError: for no factors, and shapes that do not follow one another.

    >>> U = np.array([[0.5, 2.0], [0.0, 0.5]])
    >>> product_growth([U, U.T]).norms.round(3)
    array([1.   , 2.118, 4.486])
    """
    checked = [blocks(G) for G in factors]
    if not checked:
        raise InputError("one factor or more", "none", "pass the Jacobians of the layers")
    for k, (first, second) in enumerate(itertools.pairwise(checked), start=1):
        if first.shape[-2] != second.shape[-1]:
            raise InputError(
                f"factor {k + 1} with {first.shape[-2]} columns",
                f"{second.shape[-2]} x {second.shape[-1]}",
                "pass the factors in the order in which they act",
            )
    return _running(checked)


def _running(factors: list[np.ndarray | LinearOperator]) -> TransientGrowth:
    times = np.arange(len(factors) + 1)
    dense = [G for G in factors if isinstance(G, np.ndarray)]
    if len(dense) == len(factors):
        return TransientGrowth(times, _dense_norms(dense), True, _DENSE)
    operators = [_operator(G) for G in factors]
    return TransientGrowth(times, _norms_from_below(operators), False, _BELOW)


def _operator(G: np.ndarray | LinearOperator) -> LinearOperator:
    if not isinstance(G, np.ndarray):
        return G
    if len(G) > 1:
        raise InputError("factors of one kind", "a stack among operators", "pass all as operators")
    return aslinearoperator(G[0])


def _dense_norms(factors: list[np.ndarray]) -> np.ndarray:
    """Norms of the running products; powers of two are kept apart, so that nothing overflows."""
    counts = {len(G) for G in factors}
    if len(counts) > 1:
        raise InputError("stacks of as many blocks", sorted(counts), "use the same frequencies")
    product: np.ndarray = np.eye(factors[0].shape[-1])[None]
    norms, exponent = [1.0], 0
    with np.errstate(over="ignore", under="ignore"):
        for G in factors:
            product = G @ product
            shift = int(np.frexp(np.abs(product).max())[1])
            product, exponent = product * 2.0**-shift, exponent + shift
            norms.append(float(np.ldexp(norm(product), exponent)))
    return np.array(norms)


def _norms_from_below(factors: list[LinearOperator]) -> np.ndarray:
    """Norms of the running products by Lanczos, each from the vector of the one before."""
    norms, total = [1.0], 1.0
    scales: list[float] = []
    vector = None
    for k, G in enumerate(factors, start=1):
        # Divided by the growth so far, squares of a long product stay in range.
        product = gram(factors[:k], [*scales, 1.0])
        _, vector, _ = leading_eigenpair(product, start=vector, tolerance=1e-6, vectors=12)
        x = vector
        for factor, scale in zip(factors[: k - 1], scales, strict=True):
            x = apply(factor, x) / scale
        length = float(np.linalg.norm(apply(G, x)))
        with np.errstate(over="ignore"):
            total = float(np.float64(total) * length)
        norms.append(total)
        scales.append(length or 1.0)
    return np.array(norms)


def exponential_growth(A: Operator, times: Sequence[float] | np.ndarray) -> TransientGrowth:
    """``||exp(t A)||_2`` at given times, for dense matrices.

    Exact up to the rounding of the exponential (scaling and squaring, Al-Mohy & Higham 2009), taken
    of ``A`` less its spectral abscissa so that neither growth nor decay leaves the range of
    doubles. Source: theory §4.7; Trefethen & Embree (2005), chapter 15.

    Args:
        A: dense ``(n, n)`` or a stack ``(..., n, n)``, unit 1 / time.
        times: at least zero, shape ``(N,)``.

    Raises:
        InputError: for matrix-free operators, negative or missing times.

    >>> exponential_growth([[-1.0, 100.0], [0.0, -2.0]], [0.0, 0.7]).norms.round(3)
    array([ 1.   , 25.005])
    """
    found = square_blocks(A)
    if not isinstance(found, np.ndarray):
        raise InputError("a dense matrix", "an operator", "take powers of one step instead")
    t = np.ravel(np.asarray(times, dtype=float))
    if not t.size or not (np.isfinite(t).all() and (t >= 0).all()):
        raise InputError("one time or more, each at least 0", times, "pass np.linspace(0, T, 50)")
    abscissa = float(np.linalg.eigvals(found).real.max())
    shifted = found - abscissa * np.eye(found.shape[-1])
    with np.errstate(over="ignore", under="ignore"):
        norms = np.array([norm(expm(s * shifted)) * np.exp(s * abscissa) for s in t])
    return TransientGrowth(t, norms, True, "largest singular value of the exponential, to rounding")
