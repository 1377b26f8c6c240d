"""Pseudospectra: eigenvalues of all matrices near a given one (theory §4.7).

    spec_eps(A) = {z : sigma_min(z I - A) <= eps} = union of spec(A + E) over ||E||_2 <= eps

Of a normal matrix they are the discs of radius ``eps`` round the eigenvalues; where they reach
much further, eigenvalues alone say little of growth. Source: Trefethen & Embree, Spectra and
Pseudospectra (2005), chapters 2, 39 to 42.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigvals
from scipy.spatial import KDTree

from analysis.errors import InputError
from analysis.krylov import UNIT_ROUNDOFF, Operator, norm, square_blocks
from analysis.nonnormal import numerical_range
from analysis.resolvent import resolvent

Window = tuple[float, float, float, float]
"""Left, right, bottom and top of a rectangle of the complex plane."""

# How far rounding may move a crossing off the line it lies on. Generous: each is confirmed.
_ON_LINE = 1e-5
_ROUNDS = 30


@dataclass(frozen=True, eq=False)
class Pseudospectra:
    """The smallest singular value of ``z I - A`` on a grid of the complex plane.

    Attributes:
        x: real parts of the grid, ascending, unit of ``A``, shape ``(nx,)``.
        y: imaginary parts, ascending, shape ``(ny,)``.
        sigma_min: one over the norm of the resolvent at ``x + i y``, shape ``(ny, nx)``.
        eigenvalues: complex, flat; None where the operator is matrix-free.
        exact: whether ``sigma_min`` is exact up to rounding, or from above (so that the true
            pseudospectra are larger).
        statement: what the values rest on.
    """

    x: np.ndarray
    y: np.ndarray
    sigma_min: np.ndarray
    eigenvalues: np.ndarray | None
    exact: bool
    statement: str

    def abscissa(self, epsilon: float) -> float:
        """Largest real part on the grid within ``epsilon``: a lower bound; -inf where none is."""
        inside = self._inside(epsilon)
        return float(inside.real.max(initial=-np.inf))

    def radius(self, epsilon: float) -> float:
        """Largest modulus on the grid within ``epsilon``: a lower bound; -inf where none is."""
        return float(np.abs(self._inside(epsilon)).max(initial=-np.inf))

    def _inside(self, epsilon: float) -> np.ndarray:
        z = self.x[None, :] + 1j * self.y[:, None]
        return np.asarray(z[self.sigma_min <= _positive(epsilon)])


def pseudospectra(
    A: Operator, window: Window | None = None, *, points: int = 60, vectors: int = 60
) -> Pseudospectra:
    """``sigma_min(z I - A)`` on a grid: ``1 / sigma_min`` is the norm of the resolvent.

    Dense: exact up to rounding. Matrix-free: from above, by the rectangular Hessenberg matrix of
    Arnoldi (Toh & Trefethen 1996), so that level sets lie inside the true ones.
    Source: theory §4.7; Trefethen, Acta Numerica 8 (1999).

    Args:
        A: dense ``(n, n)``, a stack ``(..., n, n)`` for the direct sum of its blocks (of real
            weights half of the frequencies give the upper half of the plane), or matrix-free.
        window: left, right, bottom and top, unit of ``A``; default a box round the numerical range.
        points: of the grid, along the longer side; at least 2.
        vectors: of the Krylov space where the operator is matrix-free.

    Raises:
        InputError: for an empty window, for operators that are not square or finite.

    Of a normal matrix ``sigma_min`` is the distance to the spectrum:

    >>> found = pseudospectra(np.diag([0.0, 2.0]), (-1, 1, 0, 1), points=3)
    >>> found.sigma_min[0].tolist(), found.abscissa(0.5)
    ([1.0, 0.0, 1.0], 0.0)
    """
    checked = square_blocks(A)
    x, y = _axes(window or numerical_range(A, angles=16).window(), points)
    z = x[None, :] + 1j * y[:, None]
    # Every second row backwards: the resolvent profits from short steps.
    z[1::2] = z[1::2, ::-1]
    known = resolvent(checked, vectors)
    sigma = known.sigma_min(z.ravel()).reshape(z.shape)
    sigma[1::2] = sigma[1::2, ::-1]
    eigenvalues = known.eigenvalues if known.exact else None
    return Pseudospectra(x, y, sigma, eigenvalues, known.exact, known.statement)


def normal_pseudospectra(
    eigenvalues: np.ndarray, window: Window, *, points: int = 60
) -> Pseudospectra:
    """``pseudospectra`` of a normal matrix from its eigenvalues: distances to the nearest, exact.

    Args:
        eigenvalues: complex or real, of any shape.
        window: left, right, bottom and top, unit of the eigenvalues.
        points: of the grid, along the longer side; at least 2.

    Raises:
        InputError: for an empty window, for eigenvalues that are missing or not finite.

    >>> normal_pseudospectra(np.array([0.0, 2.0]), (-1, 1, 0, 1), points=3).sigma_min[0].tolist()
    [1.0, 0.0, 1.0]
    """
    flat = np.ravel(eigenvalues).astype(complex)
    if not flat.size or not np.isfinite(flat).all():
        raise InputError("finite eigenvalues", f"{flat.size} values", "check the operator")
    x, y = _axes(window, points)
    places = np.stack(np.meshgrid(x, y), axis=-1)
    distance = KDTree(np.stack([flat.real, flat.imag], axis=1)).query(places)[0]
    statement = "distance to the nearest eigenvalue of a normal matrix, exact up to rounding"
    return Pseudospectra(x, y, np.asarray(distance), flat, True, statement)


def _axes(window: Window, points: int) -> tuple[np.ndarray, np.ndarray]:
    if not points >= 2:
        raise InputError("2 points or more", points, "pass points=60")
    left, right, bottom, top = window
    if not (np.isfinite(window).all() and left < right and bottom < top):
        raise InputError("a window left < right, bottom < top", window, "order its four numbers")
    step = max(right - left, top - bottom) / (points - 1)
    counts = [max(2, 1 + round(side / step)) for side in (right - left, top - bottom)]
    return np.linspace(left, right, counts[0]), np.linspace(bottom, top, counts[1])


def _positive(epsilon: float) -> float:
    if not (epsilon > 0 and np.isfinite(epsilon)):
        raise InputError("a positive epsilon", epsilon, "pass the size of the perturbation")
    return epsilon


@dataclass(frozen=True)
class PseudospectralExtreme:
    """The rightmost or outermost point of a pseudospectrum.

    Attributes:
        value: its real part, or its modulus, unit of ``A``.
        point: the point itself, where ``sigma_min`` is ``epsilon``.
        epsilon: size of the perturbations allowed.
        statement: what the value rests on.
    """

    value: float
    point: complex
    epsilon: float
    statement: str


def pseudospectral_abscissa(A: Operator, epsilon: float) -> PseudospectralExtreme:
    """Largest real part of an eigenvalue of ``A + E`` over ``||E||_2 <= epsilon``.

    Criss-cross: lines parallel to the imaginary axis meet the boundary where a Hamiltonian matrix
    has an eigenvalue on the axis, and the midpoints of the pieces inside lead further right.
    Dense only; converges quadratically. Source: Burke, Lewis & Overton, IMA J. Numer. Anal. 23
    (2003), algorithm 3.1.

    Args:
        A: dense ``(n, n)`` or a stack ``(..., n, n)``.
        epsilon: size of the perturbation, unit of ``A``, well above rounding.

    Raises:
        InputError: for matrix-free operators and for an epsilon that rounding would drown.

    >>> round(pseudospectral_abscissa([[0.0, 1.0], [0.0, 0.0]], 0.1).value ** 2, 12)
    0.11
    """
    return _extreme(A, epsilon, _rightmost, lambda z: z.real)


def pseudospectral_radius(A: Operator, epsilon: float) -> PseudospectralExtreme:
    """Largest modulus of an eigenvalue of ``A + E`` over ``||E||_2 <= epsilon``.

    Criss-cross on circles and rays. Arguments and errors as ``pseudospectral_abscissa``.
    Source: Mengi & Overton, IMA J. Numer. Anal. 25 (2005), algorithm 1.

    >>> round(pseudospectral_radius(np.diag([-2.0, 1.0]), 0.25).value, 12)
    2.25
    """
    return _extreme(A, epsilon, _outermost, abs)


_Search = Callable[[np.ndarray, float], complex]


def _extreme(
    A: Operator, epsilon: float, search: _Search, measure: Callable[[complex], float]
) -> PseudospectralExtreme:
    """The extreme point over all blocks of a direct sum."""
    found = square_blocks(A)
    if not isinstance(found, np.ndarray):
        raise InputError("a dense matrix", "an operator", "ask a grid: pseudospectra(A).abscissa")
    size = norm(found)
    least = 100 * found.shape[-1] * UNIT_ROUNDOFF * size
    if not _positive(epsilon) >= least:
        raise InputError(f"epsilon of {least:.1e} or more", epsilon, "rounding hides smaller ones")
    point = max((search(block, float(epsilon)) for block in found), key=measure)
    statement = "criss-cross, exact up to rounding; sigma_min at the point confirms it from below"
    return PseudospectralExtreme(float(measure(point)), complex(point), float(epsilon), statement)


def _rightmost(A: np.ndarray, epsilon: float) -> complex:
    """Rightmost point of the pseudospectrum of one block."""
    values = np.linalg.eigvals(A)
    best = complex(values[np.argmax(values.real)])
    heights = np.array([best.imag])
    for _ in range(_ROUNDS):
        ends = [_furthest(A - 1j * y * np.eye(len(A)), epsilon) + 1j * y for y in heights]
        further = max(ends, key=lambda z: z.real)
        gain = further.real - best.real
        best = further if gain > 0 else best
        if gain <= 1e-14 * (abs(best) + epsilon):
            break
        heights = _between(_heights(A, best.real, epsilon))
        if not heights.size:
            break
    return best


def _outermost(A: np.ndarray, epsilon: float) -> complex:
    """Outermost point of the pseudospectrum of one block."""
    values = np.linalg.eigvals(A)
    best = complex(values[np.argmax(np.abs(values))])
    angles = np.array([np.angle(best)])
    for _ in range(_ROUNDS):
        ends = [_furthest_out(A, t, epsilon) for t in angles]
        further = max(ends, key=abs)
        gain = abs(further) - abs(best)
        best = further if gain > 0 else best
        if gain <= 1e-14 * (abs(best) + epsilon):
            break
        crossings = _angles(A, abs(best), epsilon)
        if not crossings.size:  # all of the circle may lie inside
            crossings = np.array([np.angle(best)])
        # Round the circle: the last piece ends at the first crossing.
        angles = _between(np.append(crossings, crossings[:1] + 2 * np.pi))
    return best


def _between(crossings: np.ndarray) -> np.ndarray:
    """Midpoints of neighbours, or the one crossing where there is one."""
    return (crossings[1:] + crossings[:-1]) / 2 if crossings.size > 1 else crossings


def _furthest(A: np.ndarray, epsilon: float) -> float:
    """Largest real ``x`` with ``sigma_min(x I - A) = epsilon``; -inf where no real ``x`` has it.

    ``x v = A v + eps u``, ``x u = A^* u + eps v``: a real eigenvalue of a matrix of twice the size.
    """
    identity = np.eye(len(A))
    values = np.linalg.eigvals(
        np.block([[A, epsilon * identity], [epsilon * identity, A.conj().T]])
    )
    size = np.abs(values).max() + epsilon
    for x in np.sort(values.real[np.abs(values.imag) <= _ON_LINE * size])[::-1]:
        smallest = np.linalg.svd(x * identity - A, compute_uv=False)[-1]
        if smallest <= epsilon + 8 * len(A) * UNIT_ROUNDOFF * size:
            return float(x)
    return -np.inf


def _furthest_out(A: np.ndarray, angle: float, epsilon: float) -> complex:
    """The outermost point of the boundary on a ray from the origin, or the origin."""
    turn = complex(np.exp(1j * angle))
    return max(_furthest(A / turn, epsilon), 0.0) * turn


def _heights(A: np.ndarray, x: float, epsilon: float) -> np.ndarray:
    """Ascending ``y`` where ``epsilon`` is a singular value of ``(x + i y) I - A``."""
    shifted = x * np.eye(len(A)) - A
    identity = epsilon * np.eye(len(A))
    values = np.linalg.eigvals(np.block([[shifted.conj().T, -identity], [identity, -shifted]]))
    size = np.abs(values).max() + abs(x) + epsilon
    return np.sort(values.imag[np.abs(values.real) <= _ON_LINE * size])


def _angles(A: np.ndarray, r: float, epsilon: float) -> np.ndarray:
    """Ascending angles ``t`` where ``epsilon`` is a singular value of ``r exp(i t) I - A``."""
    identity, zero = np.eye(len(A)), np.zeros_like(A)
    left = np.block([[A, epsilon * identity], [zero, r * identity]])
    right = np.block([[r * identity, zero], [epsilon * identity, A.conj().T]])
    values = eigvals(left, right)
    return np.sort(np.angle(values[np.abs(np.abs(values) - 1) <= _ON_LINE]))
