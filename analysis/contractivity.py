"""Contractivity of one-step methods: circles, absolute monotonicity, and errors inside a step.

>>> from analysis.methods import tableau
>>> circle_contractivity_radius(tableau("euler")), ssp_coefficient(tableau("ssprk33"))
(1.0, 1.0)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from analysis.errors import InputError
from analysis.exact import Exact, sign_of
from analysis.multistep import MultistepMethod
from analysis.polynomial_roots import real_roots
from analysis.stabilised import StabilisedMethod
from analysis.stability import determinant
from analysis.tableau import ButcherTableau

_EXACT_STAGES = 12  # beyond, exact elimination costs seconds and floating point serves
_LARGEST_RADIUS = Fraction(2) ** 20
_BITS = 60


def circle_contractivity_radius(method: ButcherTableau) -> float:
    """The largest r such that a step h contracts whenever an Euler step h / r does.

    r = -1 / lambda_min(B^{-1/2} (B A + A^T B - b b^T) B^{-1/2}) with B = diag(b) > 0; 0 where a
    stage that counts has b_i <= 0; infinite where the matrix is positive semi-definite (algebraic
    stability). Steps with h L ||K||^2 <= 2 r are non-expansive on y' = -K^T sigma(K y + b) (theory
    §4.2; Dahlquist & Jeltsch 1979). Stages that do not influence the step are left out. Correctly
    rounded up to 12 stages, up to rounding errors beyond.

    >>> from analysis.methods import tableau
    >>> circle_contractivity_radius(tableau("euler"))
    1.0
    >>> circle_contractivity_radius(tableau("midpoint"))
    0.0
    """
    used = _stages_that_count(method)
    b = [method.b[i] for i in used]
    if min(b) <= 0:
        return 0.0
    A = [[method.A[i][j] for j in used] for i in used]
    matrix = [
        [b[i] * A[i][j] + b[j] * A[j][i] - b[i] * b[j] for j in range(len(b))]
        for i in range(len(b))
    ]
    if _positive_semidefinite(matrix):
        return math.inf
    if len(b) <= _EXACT_STAGES:
        # B + r M, singular first at r_cc, has the determinant det(B) det(I + r B^{-1} M).
        ratio = [[-x / w for x in row] for row, w in zip(matrix, b, strict=True)]
        return min(r for r in real_roots(determinant(ratio)) if r > 0)
    root = np.sqrt([float(w) for w in b])
    scaled = np.array([[float(x) for x in row] for row in matrix]) / np.outer(root, root)
    return float(-1 / np.linalg.eigvalsh(scaled)[0])


def _stages_that_count(method: ButcherTableau) -> list[int]:
    """Stages with a weight, and those that such a stage reads."""
    used = {i for i, w in enumerate(method.b) if w}
    while more := {j for i in used for j, a in enumerate(method.A[i]) if a} - used:
        used |= more
    return sorted(used)


def _positive_semidefinite(matrix: list[list[Exact]]) -> bool:
    """Whether a symmetric rational matrix is positive semi-definite, by exact elimination."""
    while matrix:
        diagonal = [row[i] for i, row in enumerate(matrix)]
        if min(diagonal) < 0:
            return False
        pivot = diagonal.index(max(diagonal))
        if diagonal[pivot] == 0:
            return not any(any(row) for row in matrix)
        rest = [i for i in range(len(matrix)) if i != pivot]
        row = matrix[pivot]
        matrix = [[matrix[i][j] - row[i] * row[j] / row[pivot] for j in rest] for i in rest]
    return True


def ssp_coefficient(method: ButcherTableau | MultistepMethod) -> float:
    """The largest r such that a step h keeps every convex bound that an Euler step h / r keeps.

    Runge-Kutta: the radius of absolute monotonicity (Kraaijevanger 1991), the largest r with
    K (I + r A)^{-1} >= 0 and r K (I + r A)^{-1} 1 <= 1, K the rows of A and b; by bisection with
    exact tests up to 12 stages, to 2^-60 of itself, up to rounding errors beyond. Multistep:
    min_j -alpha_j / beta_j where all of them are >= 0, else 0. Infinite for backward Euler.

    >>> from analysis.methods import tableau
    >>> ssp_coefficient(tableau("midpoint")), ssp_coefficient(tableau("rk4"))
    (0.0, 0.0)
    """
    if isinstance(method, MultistepMethod):
        return _multistep_ssp(method)
    used = _stages_that_count(method)
    A = [[method.A[i][j] for j in used] for i in used]
    rows = [*A, [method.b[j] for j in used]]
    exact = len(used) <= _EXACT_STAGES
    monotonic = _monotonic_exactly if exact else _monotonic_in_doubles
    if not monotonic(A, rows, _LARGEST_RADIUS / 2**50):
        return 0.0
    if monotonic(A, rows, _LARGEST_RADIUS):
        return math.inf
    low, high = Fraction(0), _LARGEST_RADIUS
    # Absolute monotonicity at r implies it at every smaller one, so bisection finds the end.
    while high - low > high / 2**_BITS:
        middle = (low + high) / 2
        low, high = (middle, high) if monotonic(A, rows, middle) else (low, middle)
    return float(low)


def _multistep_ssp(method: MultistepMethod) -> float:
    ratios = []
    for alpha, beta in zip(method.alpha[:-1], method.beta[:-1], strict=True):
        if sign_of(beta) < 0 or sign_of(alpha) > 0:
            return 0.0
        if beta:
            ratios.append(float(-alpha / (Fraction(1) * beta)))
    return min(ratios, default=math.inf) if sign_of(method.beta[-1]) >= 0 else 0.0


Rows = list[list[Exact]]


def _monotonic_exactly(A: Rows, rows: Rows, r: Fraction) -> bool:
    """Whether K (I + r A)^{-1} >= 0 and r K (I + r A)^{-1} 1 <= 1, in exact arithmetic."""
    s = len(A)
    # Solve X (I + r A) = K for all rows of K at once: columns from the last to the first would
    # do for explicit tables, elimination does for all.
    matrix = [[r * A[j][i] + int(i == j) for j in range(s)] for i in range(s)]
    system = [matrix[i] + [row[i] for row in rows] for i in range(s)]
    for k in range(s):
        pivot = next((i for i in range(k, s) if system[i][k]), None)
        if pivot is None:
            return False
        system[k], system[pivot] = system[pivot], system[k]
        scale = 1 / (Fraction(1) * system[k][k])
        system[k] = [x * scale for x in system[k]]
        for i in range(s):
            if i != k and system[i][k]:
                factor = system[i][k]
                system[i] = [x - factor * y for x, y in zip(system[i], system[k], strict=True)]
    columns = [row[s:] for row in system]
    if any(sign_of(x) < 0 for row in columns for x in row):
        return False
    sums = [sum((row[m] for row in columns), Fraction(0)) for m in range(len(rows))]
    return all(sign_of(1 - r * x) >= 0 for x in sums)


def _monotonic_in_doubles(A: Rows, rows: Rows, r: Fraction) -> bool:
    """`_monotonic_exactly` up to rounding errors."""
    radius = float(r)
    matrix = np.array([[float(x) for x in row] for row in A])
    K = np.array([[float(x) for x in row] for row in rows])
    X = np.linalg.solve((np.eye(len(A)) + radius * matrix).T, K.T).T
    return bool(np.all(X >= -1e-13) and np.all(radius * X.sum(axis=1) <= 1 + 1e-12))


@dataclass(frozen=True)
class InternalAmplification:
    """Result of `internal_amplification`: the largest sum of |Q_j(z)| and the z it occurs at."""

    value: float
    at: complex


def internal_amplification(
    method: ButcherTableau | StabilisedMethod, z: NDArray[np.complex128] | NDArray[np.float64]
) -> InternalAmplification:
    """How much a step amplifies errors made in its stages, the worst over the points z.

    An error d_j in stage j (rounding, or an inexact solve) appears in the result times the
    internal stability function Q_j, Q^T = z b^T (I - z A)^{-1}; the sum of |Q_j(z)| bounds the
    amplification of errors of equal size in all stages. It is for the step as it is taken: by the
    Butcher table, or by the three-term recurrence of a `StabilisedMethod`.

    Source: Verwer, Hundsdorfer & Sommeijer, Numer. Math. 57 (1990), section 3.

    >>> from analysis.methods import tableau
    >>> internal_amplification(tableau("midpoint"), np.array([-2.0]))
    InternalAmplification(value=4.0, at=(-2+0j))
    """
    points = np.ravel(np.asarray(z, dtype=complex))
    if not points.size:
        raise InputError("at least one point z", "none", "pass np.linspace(-interval, 0, 1001)")
    if isinstance(method, StabilisedMethod):
        total = _recurrence_errors(method, points)
    else:
        total = _table_errors(method, points)
    k = int(np.argmax(total))
    return InternalAmplification(float(total[k]), complex(points[k]))


def _recurrence_errors(
    method: StabilisedMethod, points: NDArray[np.complex128]
) -> NDArray[np.float64]:
    """Sum of |Q_j| where an error in Y_j runs through the stages behind it."""
    s = method.stages
    before = np.zeros((s, len(points)), dtype=complex)
    now = np.zeros_like(before)
    now[0] = 1  # row j holds the trace of an error made in stage j + 1
    for j, stage in enumerate(method.recurrence[1:], start=1):
        factor = float(stage.mu) + float(stage.mu_slope) * points
        before, now = now, factor * now + float(stage.nu) * before
        now[j] += 1
    return np.asarray(np.abs(now).sum(axis=0))


def _table_errors(method: ButcherTableau, points: NDArray[np.complex128]) -> NDArray[np.float64]:
    A = np.array([[float(x) for x in row] for row in method.A])
    b = np.array([float(x) for x in method.b])
    systems = np.eye(method.stages) - points[:, None, None] * A
    Q = np.linalg.solve(np.swapaxes(systems, -1, -2), (points[:, None] * b)[..., None])[..., 0]
    return np.asarray(np.abs(Q).sum(axis=1))
