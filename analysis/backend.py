"""The few array calls that the array-API standard lacks, and the casts between namespaces.

Formulas elsewhere take their namespace from their arguments; everything that depends on which
library an array belongs to is in this file, which still imports none but NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_torch_array
from array_api_compat import device as _device

Array = Any
"""An array of any namespace (NumPy, PyTorch, ...); shapes stand in the docstrings."""


def namespace(*arrays: Array) -> Any:
    """Array namespace shared by the arguments (NumPy or ``array_api_compat.torch``, ...)."""
    return array_namespace(*arrays)


def device(array: Array) -> Any:
    """Device of an array, also where its library gives it no such attribute (NumPy 1)."""
    return _device(array)


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


def cholesky_ok(matrices: Array) -> Array:
    """Mask of the Hermitian matrices whose Cholesky factorisation succeeds, shape ``(F,)``.

    A factorisation that succeeds in floating point proves ``lambda_min >= -(c + 2) u trace`` up to
    higher order (Rump, BIT 2006); callers keep that slack.
    """
    if is_torch_array(matrices):
        xp = namespace(matrices)
        return xp.linalg.cholesky_ex(matrices).info == 0
    return np.array([_factorises(matrix) for matrix in matrices], dtype=bool)


def _factorises(matrix: np.ndarray) -> bool:
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def eigvals(matrices: Array) -> Array:
    """Eigenvalues of batched square matrices, absent from the standard, shape ``(..., c)``."""
    return namespace(matrices).linalg.eigvals(matrices)
