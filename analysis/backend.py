"""The few array calls that the array-API standard lacks, and the casts between namespaces.

Formulas elsewhere take their namespace from their arguments; everything that depends on which
library an array belongs to is in this file, which still imports none but NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_torch_array
from array_api_compat import device as _device
from scipy.linalg import get_lapack_funcs, lapack

from analysis import lanes

_LANES_FROM = 64
"""Matrices times size from which the lanes are faster than LAPACK."""

_LAPACK_FROM = 12
"""Size from which LAPACK called a matrix at a time is faster than ``numpy.linalg.eigvalsh``."""

Array = Any
"""An array of any namespace (NumPy, PyTorch, ...); shapes stand in the docstrings."""


def namespace(*arrays: Array) -> Any:
    """Array namespace shared by the arguments (NumPy or ``array_api_compat.torch``, ...)."""
    return array_namespace(*arrays)


def device(array: Array) -> Any:
    """Device of an array, also where its library gives it no such attribute (NumPy 1)."""
    return _device(array)


def accelerated(array: Array) -> bool:
    """Whether an array is on a device other than the CPU."""
    return is_torch_array(array) and array.device.type != "cpu"


def like(values: Array, reference: Array, *, complex_: bool = False) -> Array:
    """Constants (NumPy) or arrays with the namespace, device and precision of a reference.

    Half precisions, which have no complex numbers or decompositions, give single ones; integers
    give double ones.
    """
    xp = namespace(reference)
    inexact = xp.isdtype(reference.dtype, ("real floating", "complex floating"))
    double = not inexact or reference.dtype in (xp.float64, xp.complex128)
    if complex_:
        dtype = xp.complex128 if double else xp.complex64
    else:
        dtype = xp.float64 if double else xp.float32
    if is_torch_array(values):  # torch.asarray would drop the history of differentiation
        return values.to(dtype=dtype, device=device(reference))
    return xp.asarray(values, dtype=dtype, device=device(reference))


def detach(array: Array) -> Array:
    """The array without its history of automatic differentiation."""
    return array.detach() if is_torch_array(array) else array


def to_double(array: Array) -> Array:
    """Detached float64 copy or view on the same device (on the CPU where it has no float64).

    Certificates run in double precision: lower precisions are cast up, never down.
    """
    xp = namespace(array)
    array = detach(array)
    if is_torch_array(array) and array.device.type == "mps":
        array = array.cpu()
    return xp.astype(array, xp.float64, copy=False)


def to_numpy(array: Array) -> np.ndarray:
    """Detached NumPy array; torch's half precisions, unknown to NumPy, are cast up."""
    array = detach(array)
    if is_torch_array(array):
        array = array.cpu()
        if array.dtype.itemsize < 4 and array.dtype.is_floating_point:
            array = array.float()
        return np.asarray(array.numpy())
    return np.asarray(array)


def retain_freed_memory() -> None:
    """Ask the C library to keep freed memory of a few MiB for the next arrays.

    glibc returns what is freed above a threshold to the system, and the faults of fresh pages then
    cost several times the arithmetic on them. The threshold follows the largest block freed so far:
    one that is never touched costs nothing. No effect elsewhere.
    """
    np.empty(2**20)


def complex_from(real: Array, imaginary: Array) -> Array:
    """The complex array with these parts."""
    if is_torch_array(real):
        return namespace(real).complex(real, imaginary)
    values = np.empty(real.shape, dtype=np.result_type(real.dtype, np.complex64))
    values.real, values.imag = real, imaginary
    return values


def as_complex(pairs: Array) -> Array:
    """Real and imaginary parts on a last axis of two as complex numbers, without a copy."""
    if is_torch_array(pairs):
        return namespace(pairs).view_as_complex(pairs)
    return pairs.view(np.complex64 if pairs.dtype == np.float32 else np.complex128)[..., 0]


def cholesky_ok(matrices: Array) -> Array:
    """Mask of the Hermitian matrices whose Cholesky factorisation succeeds, shape ``(F,)``.

    Reads the lower triangles of ``(F, k, k)``, and may overwrite the matrices. A factorisation that
    succeeds in floating point proves ``lambda_min >= -(k + 2) u trace`` up to higher order (Rump,
    BIT 2006); callers keep that slack.
    """
    if is_torch_array(matrices):
        xp = namespace(matrices)
        return xp.linalg.cholesky_ex(matrices).info == 0
    if matrices.shape[-1] == 1:
        return np.asarray(matrices[:, 0, 0].real > 0)
    # numpy.linalg.cholesky raises at the first failure; LAPACK says which one failed and stops
    # there. The transpose of a C-ordered matrix is in LAPACK's order, and its upper triangle is
    # the conjugate of the lower one.
    (factorise,) = get_lapack_funcs(("potrf",), (matrices,))
    return np.array([factorise(m.T, 0, 0, 1)[1] == 0 for m in matrices], dtype=bool)


def eigvalsh(matrices: Array) -> Array:
    """Eigenvalues of Hermitian matrices ``(F, k, k)``, ascending, shape ``(F, k)``.

    Reads the lower triangles, and may overwrite the matrices. Many complex matrices go side by side
    through the lanes of vector registers where numba is installed (``analysis.lanes``); elsewhere
    LAPACK's reduction and its iteration without square roots, called directly, take a seventh less
    than through NumPy, which computes single precision in double.
    """
    if is_torch_array(matrices):
        return namespace(matrices).linalg.eigvalsh(matrices)
    count, size = matrices.shape[:2]
    if not np.iscomplexobj(matrices):
        return np.linalg.eigvalsh(matrices)
    if count * size >= _LANES_FROM and size > 1 and lanes.available():
        return lanes.eigvalsh_lanes(matrices)
    if size < _LAPACK_FROM:
        return np.linalg.eigvalsh(matrices)
    reduce, room = get_lapack_funcs(("hetrd", "hetrd_lwork"), (matrices,))
    work = int(room(size, lower=0)[0].real)
    solve = lapack.ssterf if matrices.dtype == np.complex64 else lapack.dsterf
    values = np.empty(matrices.shape[:-1], dtype=matrices.real.dtype)
    for row, matrix in zip(values, matrices, strict=True):
        _, diagonal, beside, _, _ = reduce(matrix.T, 0, work, 1)
        row[:], failed = solve(diagonal, beside, 1, 1)
        if failed:
            raise np.linalg.LinAlgError("eigenvalues did not converge")
    return values


def take_rows(array: Array, index: np.ndarray) -> Array:
    """Rows of an array of any namespace by a NumPy index."""
    xp = namespace(array)
    return xp.take(array, xp.asarray(index, device=device(array)), axis=0)


def records_gradient(array: Array) -> bool:
    """Whether automatic differentiation follows what is done with an array."""
    return is_torch_array(array) and array.requires_grad


def eigvals(matrices: Array) -> Array:
    """Eigenvalues of batched square matrices, absent from the standard, shape ``(..., c)``."""
    return namespace(matrices).linalg.eigvals(matrices)
