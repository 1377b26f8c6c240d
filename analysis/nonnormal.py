"""Logarithmic norm and numerical range: what eigenvalues alone do not say (theory §4.7).

Eigenvalues decide growth in the long run only. The numerical range ``W(A) = {v* A v : |v| = 1}``
says how fast a solution can grow at once, and holds the eigenvalues:

    max Re spec(A)  <=  mu_2(A) = max Re W(A),      ||exp(t A)|| <= exp(t mu_2(A))

Every function takes a dense matrix, a stack of blocks (their direct sum) or a matrix-free operator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.sparse.linalg import LinearOperator

from analysis.errors import InputError
from analysis.krylov import (
    UNIT_ROUNDOFF,
    Operator,
    Vector,
    apply,
    apply_adjoint,
    leading_eigenpair,
    square_blocks,
)

_LEAST_ANGLES = 8
_EXACT = "largest eigenvalue of the Hermitian part, exact up to rounding"
_BELOW = "Lanczos: attained by a vector, so from below; an eigenvalue lies within the residual"


@dataclass(frozen=True)
class LogNorm:
    """A logarithmic norm, ``mu(A) = lim (||I + t A|| - 1) / t`` for ``t`` to zero from above.

    Attributes:
        value: the logarithmic norm, in the unit of ``A`` (1 / time).
        residual: 0 where the value is exact; else the residual of the Lanczos vector.
        order: the vector norm it belongs to: 1, 2 or infinity.
        exact: whether the value is exact up to rounding, or from below.
        statement: what the value rests on.
    """

    value: float
    residual: float
    order: float
    exact: bool
    statement: str


def log_norm(A: Operator, *, order: Literal[1, 2] | float = 2) -> LogNorm:
    """Logarithmic norm ``mu(A)``, the best constant in ``||exp(t A)|| <= exp(t mu(A))``.

        mu_2   = lambda_max((A + A^*) / 2)
        mu_1   = max over columns j of  Re a_jj + sum over i != j of |a_ij|
        mu_inf = max over rows    i of  Re a_ii + sum over j != i of |a_ij|

    Dense: exact up to rounding. Matrix-free (order 2 only): from below.
    Source: theory §4.6, §4.7; Dahlquist 1959; Soderlind, BIT 46 (2006).

    Args:
        A: dense ``(n, n)``, a stack ``(..., n, n)`` for the direct sum of its blocks, or
            matrix-free.
        order: 1, 2 or ``math.inf``.

    Raises:
        InputError: for operators that are not square, finite or have no entries; for another order.

    >>> round(log_norm([[-1.0, 100.0], [0.0, -2.0]]).value, 4)
    48.5025
    >>> log_norm([[-1.0, 100.0], [0.0, -2.0]], order=math.inf).value
    99.0
    """
    if order not in (1, 2, math.inf):
        raise InputError("a norm of order 1, 2 or inf", order, "pass order=2")
    found = square_blocks(A)
    if isinstance(found, np.ndarray):
        if order == 2:
            return LogNorm(float(_tops(found, 1.0).max()), 0.0, 2, True, _EXACT)
        diagonal = np.diagonal(found, axis1=-2, axis2=-1)
        lengths = np.abs(found).sum(axis=-2 if order == 1 else -1)
        value = float((diagonal.real + lengths - np.abs(diagonal)).max())
        sums = "columns" if order == 1 else "rows"
        return LogNorm(value, 0.0, order, True, f"largest sum over {sums}, exact up to rounding")
    if order != 2:
        raise InputError("a dense matrix for this order", "an operator", "ask for order 2")
    value, _, residual = leading_eigenpair(_hermitian_part(found, 1.0))
    return LogNorm(value, residual, 2, False, _BELOW)


@dataclass(frozen=True, eq=False)
class NumericalRange:
    """The numerical range (field of values) between an inner and an outer polygon.

    Attributes:
        angles: directions ``t``, radians, ascending from 0, shape ``(N,)``.
        support: ``max Re(exp(-i t) z)`` over the range, unit of ``A``, shape ``(N,)``.
        points: complex points of the range that attain the support, shape ``(N,)``; their hull is
            the inner polygon.
        eigenvalues: all of them, complex, shape ``(F n,)``; None for matrix-free operators.
        radius_lower: largest modulus of ``points``, attained.
        radius_upper: largest modulus of the outer polygon; infinite where nothing bounds the range.
        statement: what the values rest on.
    """

    angles: np.ndarray
    support: np.ndarray
    points: np.ndarray
    eigenvalues: np.ndarray | None
    radius_lower: float
    radius_upper: float
    statement: str

    @property
    def abscissa(self) -> float:
        """Numerical abscissa ``max Re W(A)``, the logarithmic norm of order 2."""
        return float(self.support[0])

    @property
    def outer(self) -> np.ndarray:
        """Corners of the outer polygon, where neighbouring support lines meet, shape ``(N,)``."""
        return _corners(self.angles, self.support)

    def window(self, margin: float = 0.25) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of a box round the range, with a share of it as margin."""
        z = self.outer
        room = margin * max(np.ptp(z.real), np.ptp(z.imag)) or 1.0
        return (
            float(z.real.min() - room),
            float(z.real.max() + room),
            float(z.imag.min() - room),
            float(z.imag.max() + room),
        )


def numerical_range(A: Operator, *, angles: int = 64) -> NumericalRange:
    """Numerical range ``W(A) = {v^* A v : ||v||_2 = 1}``, convex, between two polygons.

    For every direction ``t`` the Hermitian matrix ``(exp(-i t) A + exp(i t) A^*) / 2`` has the
    support as its largest eigenvalue, and its eigenvector attains a boundary point; of a direct sum
    the range is the hull of the union. Source: theory §4.7; Johnson, SIAM J. Numer. Anal. 15
    (1978).

    Args:
        A: dense ``(n, n)``, a stack ``(..., n, n)``, or matrix-free.
        angles: number of directions ``N``, evenly spaced.

    Returns:
        Dense: points and support exact up to rounding; the numerical radius lies in
        ``[radius_lower, radius_upper]``, of relative width ``1 / cos(pi / N) - 1`` for a disc.
        Matrix-free: points attained, support from below, ``radius_upper`` infinite.

    Raises:
        InputError: for fewer than 8 angles; for operators that are not square or finite.

    The range of a Jordan block is a disc of radius ``cos(pi / (n + 1))``:

    >>> disc = numerical_range([[0.0, 1.0], [0.0, 0.0]])
    >>> round(disc.abscissa, 12), round(disc.radius_lower, 12), round(disc.radius_upper, 4)
    (0.5, 0.5, 0.5006)
    """
    if not angles >= _LEAST_ANGLES:
        raise InputError(f"{_LEAST_ANGLES} angles or more", angles, "pass 64")
    found = square_blocks(A)
    t = 2 * np.pi / angles * np.arange(angles)
    if not isinstance(found, np.ndarray):
        points, residual = _range_matrix_free(found, t)
        support = np.real(np.exp(-1j * t) * points)
        lower = float(np.abs(points).max())
        statement = f"{_BELOW} ({residual:.1e}); the range may reach further"
        return NumericalRange(t, support, points, None, lower, math.inf, statement)
    support, points = _range_dense(found, t)
    eigenvalues = np.linalg.eigvals(found).ravel().astype(complex)
    lower = float(np.abs(points).max())
    # The radius must not fall below the truth by the rounding of the support lines.
    size = float(np.linalg.norm(found, axis=(-2, -1)).max())
    allowed = support + 4 * found.shape[-1] * UNIT_ROUNDOFF * size
    upper = max(lower, float(np.abs(_corners(t, allowed)).max()))
    statement = f"{_EXACT}, in {angles} directions; radius between inner and outer polygon"
    return NumericalRange(t, support, points, eigenvalues, lower, upper, statement)


def _corners(angles: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Intersections of neighbouring support lines, complex, shape ``(N,)``."""
    following = np.roll(support, -1)
    gap = 2 * np.pi / len(angles)
    along = (following - support * np.cos(gap)) / np.sin(gap)
    return np.asarray(np.exp(1j * angles) * (support + 1j * along))


def _tops(found: np.ndarray, factor: complex) -> np.ndarray:
    """Largest eigenvalue of the Hermitian part of ``factor A`` for every block, shape ``(F,)``."""
    return np.asarray(np.linalg.eigvalsh(_dense_part(found, factor))[:, -1])


def _dense_part(found: np.ndarray, factor: complex) -> np.ndarray:
    turned = factor * found
    return (turned + np.conj(np.swapaxes(turned, -1, -2))) / 2


def _range_dense(found: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Support and attained points of the hull over all blocks, each ``(N,)``."""
    support = np.empty(len(angles))
    points = np.empty(len(angles), dtype=complex)
    for k, t in enumerate(angles):
        # Values of all blocks, vectors of the one that reaches furthest.
        tops = _tops(found, np.exp(-1j * t))
        block = found[int(np.argmax(tops))]
        vector = np.linalg.eigh(_dense_part(block, np.exp(-1j * t)))[1][:, -1]
        support[k], points[k] = tops.max(), np.vdot(vector, block @ vector)
    return support, points


def _range_matrix_free(A: LinearOperator, angles: np.ndarray) -> tuple[np.ndarray, float]:
    """Attained points ``(N,)`` and the largest residual, each run from its neighbour's vector."""
    points = np.empty(len(angles), dtype=complex)
    vector: Vector | None = None
    worst = 0.0
    for k, t in enumerate(angles):
        part = _hermitian_part(A, np.exp(-1j * t))
        _, vector, residual = leading_eigenpair(part, start=vector, tolerance=1e-6)
        points[k] = np.vdot(vector, apply(A, vector))
        worst = max(worst, residual)
    return points, worst


def _hermitian_part(A: LinearOperator, factor: complex) -> LinearOperator:
    """``(factor A + conj(factor) A^*) / 2``, matrix-free."""

    def both(x: Vector) -> Vector:
        return (factor * apply(A, x) + np.conj(factor) * apply_adjoint(A, x)) / 2

    return LinearOperator(A.shape, matvec=both, dtype=np.result_type(A.dtype, type(factor), float))
