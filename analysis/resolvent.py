"""Smallest singular value of ``z I - A`` at many ``z``: one over the norm of the resolvent.

Dense blocks: singular values of small blocks, and for large ones a Schur form once and inverse
Lanczos with triangular solves at every ``z`` (Lui, SIAM J. Sci. Comput. 18, 1997), faster from
about a hundred rows. Matrix-free: the rectangular Hessenberg matrix of Arnoldi (Toh & Trefethen,
SIAM J. Sci. Comput. 17, 1996), whose smallest singular value is never below the true one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from scipy.linalg import eigh_tridiagonal, schur
from scipy.linalg.lapack import ztrtrs
from scipy.sparse.linalg import LinearOperator

from analysis.krylov import arnoldi, start_vector

_SCHUR_FROM = 100  # rows from which inverse Lanczos is measured to be faster than all values
_LANCZOS_STEPS = 30  # more cost as much as all singular values
_LARGE = 1e100
_AT_ONCE = 2**20


class Resolvent(ABC):
    """An operator ``A``, asked for ``sigma_min(z I - A)``.

    Attributes:
        eigenvalues: of ``A``, complex, flat; those of the projection where it is matrix-free.
        exact: whether ``sigma_min`` is exact up to rounding, or from above.
        size: rows of a block.
        statement: what ``sigma_min`` rests on.
    """

    eigenvalues: np.ndarray
    exact: bool
    size: int
    statement: str

    @abstractmethod
    def sigma_min(self, points: np.ndarray) -> np.ndarray:
        """Smallest singular value at complex points ``(P,)``, unit of ``A``, shape ``(P,)``."""

    def part_at(self, point: complex) -> Resolvent:
        """A part of the direct sum that has the smallest singular value at a point."""
        return self


class Projected(Resolvent):
    """A matrix-free operator, seen through a Krylov space.

    >>> from scipy.sparse.linalg import aslinearoperator
    >>> seen = Projected(aslinearoperator(np.diag(np.arange(100.0) % 2)), 30)
    >>> seen.sigma_min(np.array([3.0])).round(12)
    array([2.])
    """

    exact = False

    def __init__(self, A: LinearOperator, steps: int) -> None:
        self.hessenberg = arnoldi(A, steps)
        self.eigenvalues = np.linalg.eigvals(self.hessenberg[:-1]).astype(complex)
        self.size = A.shape[0]
        self.statement = (
            f"Arnoldi with {self.hessenberg.shape[1]} vectors: sigma_min from above, so that the "
            "true pseudospectra reach at least as far"
        )

    def sigma_min(self, points: np.ndarray) -> np.ndarray:
        """Smallest singular value of the projection, never below that of the operator."""
        identity = np.eye(*self.hessenberg.shape)
        return _smallest(-self.hessenberg[None], np.atleast_1d(points), identity)[:, 0]


class DirectSum(Resolvent):
    """Dense blocks ``(F, n, n)``.

    ``sigma_min`` of a block moves by at most ``|z - z'|`` from point to point: a block known to lie
    above the smallest of the others is not decomposed again until the path of the points, given in
    an order that takes short steps, can have brought it down.

    >>> DirectSum(np.array([[[1.0]], [[4.0]]])).sigma_min(np.array([0.0, 3.5]))
    array([1. , 0.5])
    """

    exact = True
    statement = "smallest singular value, exact up to rounding"

    def __init__(self, blocks: np.ndarray) -> None:
        self.blocks = blocks
        self.size = blocks.shape[-1]
        self.eigenvalues = np.linalg.eigvals(blocks).ravel().astype(complex)
        self._triangles: dict[int, np.ndarray] = {}

    def sigma_min(self, points: np.ndarray) -> np.ndarray:
        """Smallest over all blocks, as accurate as a singular value decomposition."""
        z = np.atleast_1d(points).astype(complex)
        if len(self.blocks) == 1:
            return self._values(z, np.array([0]))[:, 0]
        lower = np.zeros(len(self.blocks))
        steps = np.abs(np.diff(z, prepend=z[:1]))
        return np.array([self._least(p, lower, step) for p, step in zip(z, steps, strict=True)])

    def part_at(self, point: complex) -> DirectSum:
        """The block with the smallest singular value at a point."""
        values = self._values(np.array([point]), np.arange(len(self.blocks)))
        return DirectSum(self.blocks[[int(np.argmin(values[0]))]])

    def _least(self, z: complex, lower: np.ndarray, step: float) -> float:
        """Smallest value at ``z``; updates the lower bounds ``(F,)`` after a step to it."""
        lower -= step
        smallest, start, count = np.inf, 0, 16
        order = np.argsort(lower)
        while start < order.size and lower[order[start]] <= smallest:
            which = order[start : start + count]
            which = which[lower[which] <= smallest]
            lower[which] = self._values(np.array([z]), which)[0]
            smallest = min(smallest, lower[which].min())
            start, count = start + count, 2 * count
        return float(smallest)

    def _values(self, z: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Smallest singular value at every point of every chosen block, ``(P, chosen)``."""
        if self.size < _SCHUR_FROM:
            return _smallest(-self.blocks[which], z, np.eye(self.size))
        return np.stack([[_inverse_lanczos(self._triangle(b), p) for b in which] for p in z])

    def _triangle(self, block: int) -> np.ndarray:
        if block not in self._triangles:
            triangle = schur(self.blocks[block], output="complex")[0]
            self._triangles[block] = np.asfortranarray(triangle)
        return self._triangles[block]


def _smallest(negative: np.ndarray, z: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """Smallest singular values of ``z I - A`` for blocks of ``-A``, ``(points, blocks)``."""
    per = max(1, _AT_ONCE // negative.size)
    parts = [z[k : k + per, None, None, None] * identity for k in range(0, len(z), per)]
    return np.concatenate([np.linalg.svd(p + negative, compute_uv=False)[..., -1] for p in parts])


def _inverse_lanczos(triangle: np.ndarray, z: complex) -> float:
    """Smallest singular value of ``z I - T`` by Lanczos on ``(B^* B)^-1``, ``B = z I - T``."""
    B = -triangle
    np.fill_diagonal(B, z - np.diagonal(triangle))
    basis = [start_vector(len(B), complex)]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(_LANCZOS_STEPS):
        w, singular = ztrtrs(B, basis[-1], trans=2)
        if singular:
            return 0.0
        w = ztrtrs(B, w)[0]
        # Far below rounding, where squares overflow: as a decomposition has it.
        if not np.abs(w).max() < _LARGE:
            break
        diagonal.append(float(np.vdot(basis[-1], w).real))
        V = np.array(basis)
        for _ in range(2):
            w = w - V.T @ (V.conj() @ w)
        length = float(np.linalg.norm(w))
        values, vectors = eigh_tridiagonal(diagonal, beside)
        # The error of the value is the square of its residual over the gap, beyond rounding here.
        if length * abs(vectors[-1, -1]) <= 1e-9 * values[-1]:
            return float(values[-1] ** -0.5)
        beside.append(length)
        basis.append(w / length)
    return float(np.linalg.svd(B, compute_uv=False)[-1])


def resolvent(found: np.ndarray | LinearOperator, vectors: int) -> Resolvent:
    """The resolvent of a checked operator; ``vectors`` of a Krylov space where matrix-free."""
    return DirectSum(found) if isinstance(found, np.ndarray) else Projected(found, vectors)
