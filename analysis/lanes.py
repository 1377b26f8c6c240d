"""Eigenvalues of many small Hermitian matrices at once, one matrix in each lane of a vector.

LAPACK reduces a matrix of size 16 to 128 to tridiagonal form at a fraction of what a processor can
do: a call costs as much as the arithmetic, and the columns are short. Here one instruction does the
same step of eight matrices (four without AVX-512). Microseconds a complex matrix, many at a time,
on one core with AVX-512 (NumPy 2.4 with OpenBLAS, numba 0.68):

    size                       4     8    16    32    64   128   256
    numpy.linalg.eigvalsh    1.4   4.0    13    48   215  1100  6600
    eigvalsh_lanes           0.2   0.6   1.7   7.1    39   266  1970
    ratio                    7     6.3   7.6   6.8   5.5   4.1   3.4

Two steps, backward stable as LAPACK's own:

1. Householder reduction to tridiagonal form (Golub & Van Loan, Matrix Computations, 4th ed., §8.3).
   The update of rank two by one reflection and the product with the vector of the next share one
   pass over the trailing matrix, two columns at a time.
2. QL iteration without square roots (Pal, Walker & Kahan; Parlett, The Symmetric Eigenvalue
   Problem, §8.15), which needs but the squares of the off-diagonal. Lanes sweep together, each with
   its own shift: a square below the rounding of its matrix becomes zero, which splits the matrix,
   and what stands alone is left as it is.

numba compiles it (a few seconds once, then kept beside this file or in the user's cache) and is
optional. The algorithm is in ``analysis.lane_kernels``, its compilation in
``analysis.lane_compiler``.
"""

from __future__ import annotations

import importlib.util
import math
import threading
import warnings
from collections.abc import Callable
from functools import cache

import numpy as np

from analysis.errors import InputError

_COMPILING = threading.RLock()
"""numba must not be taught twice."""

_ALIGNMENT = 64
"""Bytes of a cache line: a vector that straddles two is read twice."""


def _aligned(*shape: int) -> np.ndarray:
    numbers, spare = math.prod(shape), _ALIGNMENT // 8
    room = np.empty(numbers + spare)
    skip = -room.ctypes.data % _ALIGNMENT // 8
    return room[skip : skip + numbers].reshape(shape)


@cache
def available() -> bool:
    """Whether numba, which ``eigvalsh_lanes`` needs, is installed and compiles it."""
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        _compiled()
    except Exception as error:  # a numba whose interior differs: slower is better than not at all
        warnings.warn(f"numba does not compile the lanes, LAPACK is used: {error}", stacklevel=2)
        return False
    return True


def _compiled() -> tuple[Callable[..., bool], int]:
    """The machine code, and its lanes."""
    from analysis.lane_compiler import compiled

    with _COMPILING:
        return compiled()


def eigvalsh_lanes(matrices: np.ndarray) -> np.ndarray:
    """Eigenvalues of Hermitian matrices ``(F, k, k)``, ascending, shape ``(F, k)``.

    Reads the lower triangles and the real parts of the diagonals. Off by at most about
    ``20 k u ||A||`` with ``u = 2^-53``; single precision is computed in double. Matrices go in
    groups, of 16 or 8: few of them gain nothing.

    Golub & Van Loan, Matrix Computations, 4th ed., §8.3; Parlett, The Symmetric Eigenvalue
    Problem, §8.15.

    Raises:
        InputError: without numba, or for another shape.
        numpy.linalg.LinAlgError: an entry is not finite, or the iteration does not end.

    >>> pair = np.array([[[2, 0], [1j, 2]]])
    >>> found = eigvalsh_lanes(pair) if available() else np.linalg.eigvalsh(pair)
    >>> found.round(12)
    array([[1., 3.]])
    """
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2]:
        raise InputError("matrices of shape (F, k, k)", matrices.shape, "stack square matrices")
    if not available():
        raise InputError("numba", "none", "pip install numba, or call numpy.linalg.eigvalsh")
    count, size = matrices.shape[:2]
    values = np.empty((count, size))
    if values.size:
        solve, lanes = _compiled()
        pairs = np.require(matrices, np.complex128, ["C", "A"]).view(np.float64)
        done = solve(
            pairs.reshape(count, size, size, 2),
            values,
            _aligned(size * (size + 1), lanes),
            _aligned(8 * size, lanes),
            *(_aligned(size + 1, 2, lanes) for _ in range(2)),
            _aligned(2, 2, lanes),
            _aligned(3, 2, lanes),
            np.empty(2 * lanes, dtype=np.int64),
        )
        if not done:
            raise np.linalg.LinAlgError("an entry is not finite, or eigenvalues did not converge")
    values.sort(axis=-1)
    single = matrices.dtype in (np.complex64, np.float32)
    return values.astype(np.float32) if single else values
