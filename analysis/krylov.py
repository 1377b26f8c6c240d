"""Dense and matrix-free operators as one kind of input, and Lanczos and Arnoldi on the latter.

A dense operator is an array ``(n, n)``, or a stack ``(..., n, n)`` that stands for the direct sum
(block-diagonal matrix) of its blocks: the symbol blocks of a periodic convolution are one operator.
A matrix-free operator is a SciPy ``LinearOperator`` with its adjoint, or a sparse matrix.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, aslinearoperator, eigsh

from analysis.backend import Array, to_numpy
from analysis.errors import InputError

Operator = Any
"""An array (or stack) of any namespace, a SciPy sparse matrix or a SciPy ``LinearOperator``."""

Vector = NDArray[Any]
UNIT_ROUNDOFF = 2.0**-53
_SMALL = 64  # up to this size a dense matrix costs no more products than a Lanczos run
_LANCZOS_TOLERANCE = 1e-9


def square_blocks(A: Operator) -> np.ndarray | LinearOperator:
    """A square operator, checked: blocks ``(F, n, n)`` in double precision, or matrix-free.

    Small matrix-free operators are made dense, so that what is said of them is exact.

    Raises:
        InputError: for operators that are not square, empty, not finite or without an adjoint.
    """
    found = blocks(A)
    rows, columns = found.shape[-2:]
    if rows != columns:
        raise InputError("a square operator", f"shape {rows} x {columns}", "check the channels")
    return found


def blocks(A: Operator) -> np.ndarray | LinearOperator:
    """As ``square_blocks``, of any shape: blocks ``(F, m, n)``, or matrix-free."""
    if issparse(A):
        A = aslinearoperator(A)
    if isinstance(A, LinearOperator):
        return _checked_operator(A)
    return _checked_array(A)


def _checked_array(A: Array) -> np.ndarray:
    array = to_numpy(A)
    if array.dtype.kind not in "biufc":
        raise InputError("a matrix of numbers", f"entries of type {array.dtype}", "pass floats")
    if array.ndim < 2 or not array.size:
        raise InputError(
            "a matrix (m, n) or a stack (..., m, n) with entries",
            f"shape {array.shape}",
            "pass at least one row and column",
        )
    if not np.isfinite(array).all():
        raise InputError("finite entries", "nan or inf", "use a checkpoint before the divergence")
    double = np.complex128 if array.dtype.kind == "c" else np.float64
    return array.astype(double).reshape(-1, *array.shape[-2:])


def _checked_operator(A: LinearOperator) -> np.ndarray | LinearOperator:
    """The operator, after a test of its adjoint on one pair of vectors; dense where small."""
    if not min(A.shape):
        raise InputError("an operator with entries", f"shape {A.shape}", "pass one that is larger")
    if max(A.shape) <= _SMALL:
        dense = np.stack([A.matvec(e) for e in np.eye(A.shape[1])], axis=1)
        return _checked_array(dense)
    x, y = start_vector(A.shape[1], A.dtype), start_vector(A.shape[0], A.dtype, seed=1)
    try:
        image, back = apply(A, x), apply_adjoint(A, y)
    except (NotImplementedError, TypeError, AttributeError) as error:
        raise InputError(
            "an operator with its adjoint", "none", "pass rmatvec to LinearOperator"
        ) from error
    if not (np.isfinite(image).all() and np.isfinite(back).all()):
        raise InputError("finite products", "nan or inf", "use weights before the divergence")
    single = A.dtype in (np.float32, np.complex64)
    gap = abs(complex(np.vdot(y, image)) - complex(np.vdot(back, x)))
    if gap > (1e-3 if single else 1e-8) * (np.linalg.norm(image) + np.linalg.norm(back)):
        raise InputError(
            "rmatvec to be the adjoint of matvec",
            f"<y, A x> and <A* y, x> that differ by {gap:.3g}",
            "correct rmatvec: conjugate and transpose, same padding and stride",
        )
    return A


def start_vector(size: int, dtype: Any, *, seed: int = 0) -> Vector:
    """A fixed unit vector without symmetry, complex for complex operators."""
    rng = np.random.default_rng(seed)
    vector: Vector = rng.standard_normal(size)
    if np.dtype(dtype).kind == "c":
        vector = vector + 1j * rng.standard_normal(size)
    return vector / np.linalg.norm(vector)


def apply(A: LinearOperator, x: Vector) -> Vector:
    """``A x``; a real operator meets real vectors only, as networks know no complex ones."""
    if x.dtype.kind == "c" and np.dtype(A.dtype).kind != "c":
        return np.asarray(A.matvec(x.real.copy()) + 1j * A.matvec(x.imag.copy()))
    return np.asarray(A.matvec(x))


def apply_adjoint(A: LinearOperator, x: Vector) -> Vector:
    """``A^* x``, as ``apply``."""
    if x.dtype.kind == "c" and np.dtype(A.dtype).kind != "c":
        return np.asarray(A.rmatvec(x.real.copy()) + 1j * A.rmatvec(x.imag.copy()))
    return np.asarray(A.rmatvec(x))


def leading_eigenpair(
    H: LinearOperator,
    *,
    start: Vector | None = None,
    tolerance: float = _LANCZOS_TOLERANCE,
    vectors: int = 20,
) -> tuple[float, Vector, float]:
    """Largest eigenvalue of a Hermitian operator, from below, by Lanczos (ARPACK).

    Args:
        H: Hermitian, of shape ``(n, n)``.
        start: where the search begins, shape ``(n,)``.
        tolerance: residual asked for, as a share of ``||H||``.
        vectors: Lanczos vectors kept.

    Returns:
        The Rayleigh quotient, its unit vector and the residual ``||H v - theta v||``; some
        eigenvalue lies within the residual of the quotient, and none is claimed to be the largest.

    >>> top = aslinearoperator(np.diag(np.linspace(-3.0, 1.0, 100)))
    >>> value, vector, residual = leading_eigenpair(top)
    >>> round(value, 9), residual < 1e-6
    (1.0, True)
    """
    start = start_vector(H.shape[0], H.dtype) if start is None else start
    # ARPACK's tolerance is a share of the eigenvalue, which may be zero: shift it to the norm.
    shift = _rough_norm(H, start)
    shifted = LinearOperator(H.shape, matvec=lambda x: H.matvec(x) + shift * x, dtype=H.dtype)
    try:
        found = eigsh(shifted, k=1, which="LA", tol=tolerance, v0=start, ncv=vectors)[1]
    except ArpackNoConvergence as error:
        found = error.eigenvectors if error.eigenvectors.size else start[:, None]
    vector = found[:, 0] / np.linalg.norm(found[:, 0])
    image = H.matvec(vector)
    value = float(np.vdot(vector, image).real)
    return value, vector, float(np.linalg.norm(image - value * vector))


def _rough_norm(H: LinearOperator, start: Vector) -> float:
    """Norm of a Hermitian operator by a few power iterations, one where it is zero."""
    length = 0.0
    for _ in range(4):
        start = H.matvec(start)
        length = float(np.linalg.norm(start))
        if length == 0:
            return 1.0
        start = start / length
    return length


def gram(factors: list[LinearOperator], scales: list[float] | None = None) -> LinearOperator:
    """``P^* P`` of the product ``P = G_k ... G_1``, each factor divided by its scale."""
    scales = [1.0] * len(factors) if scales is None else scales
    pairs = list(zip(factors, scales, strict=True))

    def both(x: Vector) -> Vector:
        for G, scale in pairs:
            x = apply(G, x) / scale
        for G, scale in reversed(pairs):
            x = apply_adjoint(G, x) / scale
        return x

    size = factors[0].shape[1]
    dtype = np.result_type(*(G.dtype for G in factors), np.float64)
    return LinearOperator((size, size), matvec=both, dtype=dtype)


def norm(found: np.ndarray | LinearOperator) -> float:
    """``||A||_2``: the largest of the blocks, or as far as Lanczos on ``A^* A`` attains it."""
    if isinstance(found, np.ndarray):
        return float(np.linalg.norm(found, 2, axis=(-2, -1)).max())
    return math.sqrt(max(leading_eigenpair(gram([found]))[0], 0.0))


def arnoldi(A: LinearOperator, steps: int) -> np.ndarray:
    """Rectangular Hessenberg matrix of Arnoldi, ``A V_k = V_(k+1) H``, shape ``(k + 1, k)``.

    Orthogonalises twice; ends early at an invariant subspace, with a last row of zeros.

    >>> H = arnoldi(aslinearoperator(np.diag(np.arange(100.0) % 2)), 30)
    >>> H.shape, np.sort(np.linalg.eigvals(H[:-1]).real.round(12)) + 0.0
    ((3, 2), array([0., 1.]))
    """
    steps = min(steps, A.shape[0])
    basis = [start_vector(A.shape[0], A.dtype)]
    H = np.zeros((steps + 1, steps), dtype=np.result_type(A.dtype, np.float64))
    for k in range(steps):
        w = apply(A, basis[k])
        size = np.linalg.norm(w)
        V = np.array(basis)
        for _ in range(2):
            share = V.conj() @ w
            w = w - V.T @ share
            H[: k + 1, k] += share
        H[k + 1, k] = np.linalg.norm(w)
        if abs(H[k + 1, k]) <= 1e-13 * size:
            H[k + 1, k] = 0.0
            return H[: k + 2, : k + 1]
        basis.append(w / H[k + 1, k])
    return H
