"""Eigenvalues of Hermitian matrices in lanes: the algorithm, on whatever a vector is.

Plain Python on ``load``, ``store``, ``fill``, ``root`` and ``pick``, which NumPy defines here and
``analysis.lane_compiler`` makes one instruction each; see ``analysis.lanes`` for what it computes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Vector = Any
"""One number of every lane."""

Complex = tuple[Vector, Vector]
"""Real and imaginary parts."""


def load(rows: np.ndarray, at: int) -> Vector:
    """Row of an array; of three axes the last two are one vector of twice as many lanes."""
    return rows[at].copy()


def store(rows: np.ndarray, at: int, vector: Vector) -> None:
    """Write a row."""
    rows[at] = vector


def fill(rows: np.ndarray, number: float) -> Vector:
    """A vector as wide as the rows with the same number in all lanes."""
    return np.full_like(rows[0], number)


def root(x: Vector) -> Vector:
    """Square root."""
    return np.sqrt(x)


def pick(x: Vector, bound: Vector, above: Vector, otherwise: Vector) -> Vector:
    """The third vector in the lanes where the first is above the second, else the last."""
    return np.where(x > bound, above, otherwise)


def _get(rows: np.ndarray, at: int) -> Complex:
    return load(rows, at), load(rows, at + 1)


def _put(rows: np.ndarray, at: int, z: Complex) -> None:
    store(rows, at, z[0])
    store(rows, at + 1, z[1])


def _plus(z: Complex, x: Complex, y: Complex) -> Complex:
    """``z + x y``."""
    return z[0] + x[0] * y[0] - x[1] * y[1], z[1] + x[0] * y[1] + x[1] * y[0]


def _plus_adjoint(z: Complex, x: Complex, y: Complex) -> Complex:
    """``z + conj(x) y``."""
    return z[0] + x[0] * y[0] + x[1] * y[1], z[1] + x[0] * y[1] - x[1] * y[0]


def _pack(matrices: np.ndarray, first: int, entries: np.ndarray, scales: np.ndarray) -> bool:
    """Lower triangles as columns of lanes with entries up to one; whether all are finite.

    The order of the indices is reversed, which makes rows columns and keeps the eigenvalues. Lanes
    beyond the last matrix repeat it. Powers of two scale, without rounding.
    """
    size, lanes, last = matrices.shape[1], entries.shape[1], matrices.shape[0] - 1
    at = 0
    for row in range(size - 1, -1, -1):
        for column in range(row, -1, -1):
            for lane in range(lanes):
                n = min(first + lane, last)
                entries[at, lane] = matrices[n, row, column, 0]
                entries[at + 1, lane] = matrices[n, row, column, 1]
            at += 2
    zero = fill(entries, 0.0)
    largest, strange = zero, zero
    for n in range(at):
        x = load(entries, n)
        strange = strange + (x - x)  # not a number from infinities too
        x = pick(x, zero, x, zero - x)
        largest = pick(x, largest, x, largest)
    store(scales, 0, largest)
    store(scales, 1, strange)
    for lane in range(lanes):
        if scales[1, lane] != 0.0:
            return False
        # Beyond 2^1000 the inverse would overflow or lose digits; what is left is harmless.
        exponent = min(max(math.frexp(scales[0, lane])[1], -1000), 1000)
        scales[0, lane] = math.ldexp(1.0, -exponent)
        scales[1, lane] = math.ldexp(1.0, exponent)
    factor = load(scales, 0)
    for n in range(at):
        store(entries, n, load(entries, n) * factor)
    return True


def _diagonal(entries: np.ndarray, at: int, v: Complex, q: Complex) -> Vector:
    """Diagonal entry less ``2 Re(v conj(q))``; its imaginary part is never read."""
    return load(entries, at) - fill(entries, 2.0) * (v[0] * q[0] + v[1] * q[1])


def _minus_adjoint(entries: np.ndarray, z: Complex) -> Complex:
    return fill(entries, 0.0) - z[0], z[1]


def _two_columns(
    entries: np.ndarray, vectors: np.ndarray, at: int, row: int, end: int, old: int, new: int
) -> None:
    """Columns ``c`` and ``c + 1`` of ``A -= v q^* + q v^*``, and their share of ``p = A x``.

    Every entry below the diagonal serves twice: in its row, and conjugated in its column.
    """
    v, q = _get(vectors, row + old), _get(vectors, row + old + 2)
    x0, y0 = _get(vectors, row + new), _get(vectors, row + new + 2)
    w, r = _get(vectors, row + old + 8), _get(vectors, row + old + 10)
    x1, y1 = _get(vectors, row + new + 8), _get(vectors, row + new + 10)
    left, right = at + 2, at + (end - row) // 4
    first, second = _diagonal(entries, at, v, q), _diagonal(entries, right, w, r)
    store(entries, at, first)
    store(entries, right, second)
    v0, q0 = _minus_adjoint(entries, v), _minus_adjoint(entries, q)
    v1, q1 = _minus_adjoint(entries, w), _minus_adjoint(entries, r)
    a = _plus(_plus(_get(entries, left), w, q0), r, v0)
    _put(entries, left, a)
    y0 = _plus_adjoint((y0[0] + first * x0[0], y0[1] + first * x0[1]), a, x1)
    y1 = _plus((y1[0] + second * x1[0], y1[1] + second * x1[1]), a, x0)
    for other in range(row + 16, end, 8):
        left += 2
        right += 2
        v, q = _get(vectors, other + old), _get(vectors, other + old + 2)
        x, p = _get(vectors, other + new), _get(vectors, other + new + 2)
        a = _plus(_plus(_get(entries, left), v, q0), q, v0)
        _put(entries, left, a)
        p = _plus(p, a, x0)
        y0 = _plus_adjoint(y0, a, x)
        a = _plus(_plus(_get(entries, right), v, q1), q, v1)
        _put(entries, right, a)
        _put(vectors, other + new + 2, _plus(p, a, x1))
        y1 = _plus_adjoint(y1, a, x)
    _put(vectors, row + new + 2, y0)
    _put(vectors, row + new + 10, y1)


def _trailing(
    entries: np.ndarray, vectors: np.ndarray, at: int, row: int, end: int, old: int, new: int
) -> None:
    """The pass over the trailing matrix: see ``_two_columns``."""
    while row < end - 8:
        _two_columns(entries, vectors, at, row, end, old, new)
        at += (end - row) // 2 - 2
        row += 16
    if row < end:
        v, q = _get(vectors, row + old), _get(vectors, row + old + 2)
        x, p = _get(vectors, row + new), _get(vectors, row + new + 2)
        a = _diagonal(entries, at, v, q)
        store(entries, at, a)
        _put(vectors, row + new + 2, (p[0] + a * x[0], p[1] + a * x[1]))


def _column(
    entries: np.ndarray, vectors: np.ndarray, at: int, row: int, end: int, old: int, new: int
) -> Vector:
    """Entries below the diagonal after the last reflection, as ``x``, and the sum of squares."""
    v = _minus_adjoint(entries, _get(vectors, row + old))
    q = _minus_adjoint(entries, _get(vectors, row + old + 2))
    total, zero = fill(entries, 0.0), fill(entries, 0.0)
    for other in range(row + 8, end, 8):
        at += 2
        x = _plus(_get(entries, at), _get(vectors, other + old), q)
        x = _plus(x, _get(vectors, other + old + 2), v)
        _put(vectors, other + new, x)
        _put(vectors, other + new + 2, (zero, zero))
        total = total + x[0] * x[0] + x[1] * x[1]
    return total


def _reflector(vectors: np.ndarray, at: int, total: Vector) -> Vector:
    """Turns a column ``x`` into ``v`` of ``1 - tau v v^*``, which leaves its first entry only.

    ``v = x + ||x|| e_1 x_1/|x_1|``, ``tau = 1 / (||x|| (||x|| + |x_1|))``. Returns ``tau``: zero
    where the column is too short for its square, and is left in place: an error of 1e-100.
    """
    zero, one = fill(vectors, 0.0), fill(vectors, 1.0)
    short, shorter = fill(vectors, 1e-200), fill(vectors, 1e-280)
    x = _get(vectors, at)
    square = x[0] * x[0] + x[1] * x[1]
    modulus, length = root(square), root(total)
    inverse = one / pick(square, shorter, modulus, one)
    first = length + modulus
    # A first entry so far below the others has no direction worth a division.
    real = pick(square, shorter, x[0] * inverse, one)
    imaginary = pick(square, shorter, x[1] * inverse, zero)
    _put(vectors, at, (real * first, imaginary * first))
    return pick(total, short, one / pick(total, short, length * first, one), zero)


def _reduce(
    entries: np.ndarray, vectors: np.ndarray, diagonal: np.ndarray, squares: np.ndarray
) -> None:
    """Tridiagonal form: its diagonal, and the squares of the moduli beside it, from row one on.

    ``vectors`` hold ``v, q`` of the last reflection and ``x, p`` of the next one for every index,
    and exchange roles; ``p`` becomes ``q = tau p - tau^2 (v^* p) v / 2``.
    """
    size = diagonal.shape[0] - 1
    end, at, old, new = 8 * size, 0, 0, 4
    zero, half = fill(entries, 0.0), fill(entries, 0.5)
    for n in range(end):
        store(vectors, n, zero)
    for j in range(size):
        row = 8 * j
        v, q = _get(vectors, row + old), _get(vectors, row + old + 2)
        store(diagonal, j + 1, _diagonal(entries, at, v, q))
        total = _column(entries, vectors, at, row, end, old, new)
        store(squares, j + 1, total)
        at += 2 * (size - j)
        if j < size - 2:
            row += 8
            tau = _reflector(vectors, row + new, total)
            _trailing(entries, vectors, at, row, end, old, new)
            inner = zero
            for n in range(row + new, end, 8):
                v, p = _get(vectors, n), _get(vectors, n + 2)
                inner = inner + v[0] * p[0] + v[1] * p[1]
            inner = tau * (tau * (half * inner))
            for n in range(row + new, end, 8):
                v, p = _get(vectors, n), _get(vectors, n + 2)
                _put(vectors, n + 2, (tau * p[0] - inner * v[0], tau * p[1] - inner * v[1]))
            old, new = new, old


def _tolerance(d: np.ndarray, e: np.ndarray) -> Vector:
    """Squares that are rounding beside the largest entry; those of ``e`` become zero."""
    zero = fill(d, 0.0)
    store(d, 0, zero)
    store(e, 0, zero)
    largest = zero
    for n in range(1, d.shape[0]):
        x, y = load(d, n), load(e, n)
        x = pick(x * x, y, x * x, y)
        largest = pick(x, largest, x, largest)
    tolerance = largest * fill(d, 2.0**-106)
    for n in range(1, d.shape[0]):
        x = load(e, n)
        store(e, n, pick(x, tolerance, x, zero))
    return tolerance


def _corners(
    d: np.ndarray, e: np.ndarray, tops: np.ndarray, bottom: int, corners: np.ndarray
) -> int:
    """First row in which each lane is not done, with the corner there; returns the lowest row."""
    lowest = bottom
    for lane in range(tops.shape[0]):
        top = tops[lane]
        while top < bottom and e[top, lane] == 0.0:
            top += 1
        tops[lane] = top
        lowest = min(lowest, top)
        if top < bottom:
            corners[0, lane] = d[top, lane]
            corners[1, lane] = d[top + 1, lane]
            corners[2, lane] = e[top, lane]
        else:
            corners[2, lane] = 1.0  # any shift will do
    return lowest


def _shift(corners: np.ndarray) -> Vector:
    """Wilkinson's shift: the eigenvalue of the corner that is nearer to its first entry."""
    zero, one = fill(corners, 0.0), fill(corners, 1.0)
    first, beside = load(corners, 0), root(load(corners, 2))
    theta = (load(corners, 1) - first) / (beside + beside)
    length = root(theta * theta + one)
    return first - beside / (theta + pick(theta, zero, length, zero - length))


def _sweep(
    d: np.ndarray, e: np.ndarray, lowest: int, bottom: int, sigma: Vector, tolerance: Vector
) -> None:
    """One QL step with shifts from the bottom to the lowest row.

    Parlett's recurrence ``c = p/r``, ``s = b/r``, ``r = p + b`` with one division,
    ``w = 1/(p r)``. Where ``p`` vanishes its successor is the limit ``c b``; where ``b`` does the
    step starts anew. The zero in the row above the first writes the last values.
    """
    zero, one, tiny = fill(d, 0.0), fill(d, 1.0), fill(d, 1e-100)
    c, s, below = one, zero, zero
    gamma = load(d, bottom) - sigma
    p = gamma * gamma
    for n in range(bottom - 1, lowest - 2, -1):
        b, alpha = load(e, n), load(d, n)
        r = p + b
        x = s * r
        store(e, n + 1, pick(x, tolerance, x, zero))
        r, p = pick(b, zero, r, one), pick(b, zero, p, one)
        safe = pick(p, tiny, p, one)
        w = one / (r * safe)
        numerator = p * (alpha - sigma) - b * gamma
        limit = c * b
        c, s = p * (safe * w), b * (safe * w)
        previous, gamma = gamma, numerator * (safe * w)
        x = previous + (alpha - gamma)
        store(d, n + 1, pick(b + below, zero, x, load(d, n + 1)))
        below = b
        p = pick(p, tiny, numerator * numerator * w, limit)


def _iterate(d: np.ndarray, e: np.ndarray, corners: np.ndarray, tops: np.ndarray) -> bool:
    """QL steps until ``e`` is zero and ``d`` the eigenvalues; whether that was reached."""
    bottom, lanes = d.shape[0] - 1, tops.shape[0]
    diagonal, squares = d.reshape(-1, lanes), e.reshape(-1, lanes)
    corner = corners.reshape(-1, lanes)
    tolerance = _tolerance(d, e)
    tops[:] = 1
    for _ in range(30 * d.shape[0]):
        while bottom > 1 and not squares[bottom - 1].any():
            bottom -= 1
        lowest = _corners(diagonal, squares, tops, bottom, corner)
        if lowest == bottom:
            return True
        _sweep(d, e, lowest, bottom, _shift(corners), tolerance)
    return False


def solve(
    matrices: np.ndarray,
    values: np.ndarray,
    entries: np.ndarray,
    vectors: np.ndarray,
    diagonal: np.ndarray,
    squares: np.ndarray,
    scales: np.ndarray,
    corners: np.ndarray,
    tops: np.ndarray,
) -> bool:
    """Eigenvalues in no order; whether all were found.

    Two groups iterate as one vector of twice the lanes: their divisions overlap.
    """
    count, lanes = matrices.shape[0], entries.shape[1]
    diagonal[:] = 0.0
    squares[:] = 0.0
    for first in range(0, count, 2 * lanes):
        for half in range(2):
            start = first + half * lanes
            if start < count:
                if not _pack(matrices, start, entries, scales[half]):
                    return False
                _reduce(entries, vectors, diagonal[:, half], squares[:, half])
        if not _iterate(diagonal, squares, corners, tops):
            return False
        for half in range(2):
            start = first + half * lanes
            for lane in range(min(lanes, count - start)):
                for n in range(values.shape[1]):
                    values[start + lane, n] = diagonal[n + 1, half, lane] * scales[half, 1, lane]
    return True


PARTS = (
    *(_get, _put, _plus, _plus_adjoint, _minus_adjoint, _diagonal),
    *(_pack, _two_columns, _trailing, _column, _reflector, _reduce),
    *(_tolerance, _corners, _shift, _sweep, _iterate),
)
