"""Products of steps that differ from layer to layer, and how much they differ (theory §4.4, §4.7).

Every layer can be inside its limit while the product grows: eigenvalues of products are not
products of eigenvalues.

>>> U = np.array([[0.5, 2.0], [0.0, 0.5]])
>>> round(product_growth([U, U.T]).norm, 3)
4.486
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from analysis.errors import InputError
from analysis.krylov import Operator, blocks, gram, leading_eigenpair, norm


@dataclass(frozen=True, eq=False)
class ProductGrowth:
    """Norms of the partial products ``G_k ... G_1`` of a chain of steps.

    Attributes:
        log_norms: ``log ||G_k ... G_1||`` for ``k = 1 .. n``, shape ``(n,)``; logarithms, because
            the norms of deep chains leave the range of numbers. ``-inf`` for a product of zero.
        exact: whether they are exact up to rounding, or attained by Lanczos and so from below.
        statement: what they rest on.
    """

    log_norms: np.ndarray
    exact: bool
    statement: str

    @property
    def norm(self) -> float:
        """``||G_n ... G_1||``, what a change of the input grows by at most; inf beyond 1e308."""
        return _exp(float(self.log_norms[-1]))

    @property
    def largest(self) -> float:
        """The largest norm of a partial product."""
        return _exp(float(self.log_norms.max()))

    @property
    def largest_after(self) -> int:
        """The number of layers of that product."""
        return int(np.argmax(self.log_norms)) + 1

    @property
    def per_layer(self) -> float:
        """``||G_n ... G_1||^(1 / n)``."""
        return _exp(float(self.log_norms[-1]) / len(self.log_norms))


def _exp(logarithm: float) -> float:
    return math.exp(logarithm) if logarithm < math.log(1.7e308) else math.inf


_DENSE = "spectral norms of the products of these matrices, exact up to rounding"
_LANCZOS = (
    "attained by vectors found by Lanczos on P^T P: each is a lower bound of the norm of its "
    "partial product, an estimate of it"
)


def product_growth(steps: Sequence[Operator]) -> ProductGrowth:
    """Norms of all partial products of a chain of steps, the first factor acting first.

    Args:
        steps: ``G_1, ..., G_n`` in the order in which they act: matrices or SciPy
            ``LinearOperator`` with an adjoint (``rmatvec``); they need not be square.

    Raises:
        InputError: for no steps and shapes that do not follow each other.

    >>> product_growth([2 * np.eye(3)] * 2000).per_layer.__round__(12)
    2.0
    """
    found = [blocks(step) for step in steps]
    if not found:
        raise InputError("at least one step", "none", "pass the steps of the layers")
    for before, after in itertools.pairwise(found):
        if before.shape[-2] != after.shape[-1]:
            raise InputError(
                f"a step of {before.shape[-2]} inputs", after.shape[-1], "check their order"
            )
    if all(isinstance(step, np.ndarray) for step in found):
        return ProductGrowth(_dense_products(found), True, _DENSE)
    operators = [_as_operator(step) for step in found]
    return ProductGrowth(_free_products(operators), False, _LANCZOS)


def _dense_products(steps: list[Any]) -> np.ndarray:
    total, logarithm = np.eye(steps[0].shape[-1])[None], 0.0
    log_norms = []
    for step in steps:
        total = step @ total
        size = norm(total)
        if size == 0:
            logarithm = -math.inf
        else:
            # Unit products: hundreds of layers would overflow or vanish.
            total, logarithm = total / size, logarithm + math.log(size)
        log_norms.append(logarithm)
    return np.array(log_norms)


def _as_operator(step: np.ndarray | LinearOperator) -> LinearOperator:
    if isinstance(step, LinearOperator):
        return step
    if len(step) > 1:
        raise InputError("one matrix a step", f"a stack of {len(step)}", "pass block by block")
    return aslinearoperator(step[0])


def _free_products(steps: list[LinearOperator]) -> np.ndarray:
    scales: list[float] = []
    log_norms, start = [], None
    for number, step in enumerate(steps, start=1):
        scales.append(norm(step) or 1.0)
        product = gram(steps[:number], scales)
        value, start, _ = leading_eigenpair(product, start=start)
        known = math.fsum(map(math.log, scales))
        log_norms.append(known + math.log(value) / 2 if value > 0 else -math.inf)
    return np.array(log_norms)


@dataclass(frozen=True, eq=False)
class TimeVariation:
    """How much operators change from layer to layer.

    Attributes:
        steps: ``||K_(j+1) - K_j|| / max(||K_j||, ||K_(j+1)||)``, from 0 to 2, shape ``(n - 1,)``; 0
            where both vanish.
    """

    steps: np.ndarray

    @property
    def largest(self) -> float:
        """The largest change: 0 for shared weights, 2 for a change of sign."""
        return float(self.steps.max(initial=0.0))

    @property
    def total(self) -> float:
        """The sum of all changes, which a refinement in time leaves as it is."""
        return float(self.steps.sum())


def time_variation(operators: Sequence[Operator]) -> TimeVariation:
    """Relative changes of operators from layer to layer (theory §4.4).

    The limits of frozen coefficients hold for products where this is 0, and say less the larger it
    is. A chain that samples a smooth ``K(t)`` at step ``h`` has steps of ``O(h)`` and a total that
    stays.

    Args:
        operators: ``K_1, ..., K_n`` of equal shape, as in ``product_growth``.

    Raises:
        InputError: for operators of different shapes.

    >>> time_variation([np.eye(2), 2 * np.eye(2), -2 * np.eye(2)]).steps
    array([0.5, 2. ])
    """
    found = [blocks(operator) for operator in operators]
    if len({operator.shape[-2:] for operator in found}) > 1:
        raise InputError(
            "operators of equal shape",
            ", ".join(str(operator.shape[-2:]) for operator in found),
            "compare the layers of one stage",
        )
    sizes = [norm(operator) for operator in found]
    steps = []
    for j in range(len(found) - 1):
        change, size = norm(_difference(found[j + 1], found[j])), max(sizes[j], sizes[j + 1])
        steps.append(change / size if size else 0.0)
    return TimeVariation(np.array(steps))


def _difference(a: Any, b: Any) -> Any:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a - b
    return _as_operator(a) - _as_operator(b)
