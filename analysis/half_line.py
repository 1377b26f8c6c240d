"""Where many polynomials first become positive on the half-line, known and not sampled.

A polynomial of degree d on h >= 0 is, with h = s u / (1 - u), a polynomial in Bernstein form on
0 <= u <= 1 with the coefficients c_j s^j / binomial(d, j): they bound it, and halving the interval
makes the bound as tight as wanted, up to infinity.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ROUNDING = 2.0**-53
_UNITS = 8


class Exit(NamedTuple):
    """The smallest step at which an eigenvalue leaves the region, and its index (-1: none)."""

    step: float
    which: int


@lru_cache(maxsize=32)
def bernstein_halves(size: int) -> tuple[Array, Array]:
    """Bernstein forms of the two halves of an interval, for row vectors of `size` coefficients.

    >>> np.array([0.0, 0.0, 1.0]) @ bernstein_halves(3)[1]
    array([0.25, 0.5 , 1.  ])
    """
    left = np.array([[math.comb(j, i) / 2**j for j in range(size)] for i in range(size)])
    return left, left[::-1, ::-1].copy()


def first_positive(coefficients: Array, magnitudes: Array, limit: float) -> Exit:
    """The smallest h <= limit beyond which one of the polynomials is positive, and its index.

    Args:
        coefficients: ascending powers of h, shape (n, d + 1); a polynomial that begins with a
            positive coefficient is positive from 0 on.
        magnitudes: sums of the moduli of the terms that each coefficient was made of: a
            coefficient below eight units of their rounding counts as zero.
        limit: may be infinite.

    >>> first_positive(np.array([[-2.0, 1.0], [-1.0, 0.0]]), np.ones((2, 2)), np.inf)
    Exit(step=2.0, which=0)
    """
    n, size = coefficients.shape
    noise = _UNITS * _ROUNDING * magnitudes
    c = np.where(np.abs(coefficients) <= noise, 0.0, coefficients)
    noise = np.where(c == 0, 0.0, noise)
    scale = _scales(c)
    powers = scale[:, None] ** np.arange(size)
    binomials = np.array([math.comb(size - 1, j) for j in range(size)], dtype=float)
    b, noise = c * powers / binomials, noise * powers / binomials
    left, right = bernstein_halves(size)
    best = Exit(limit, -1)
    row = np.arange(n)
    low, high = np.zeros(n), np.ones(n)
    first = c[row, np.argmax(c != 0, axis=1)] > 0
    if first.any():
        return Exit(0.0, int(np.argmax(first)))
    while len(row):
        with np.errstate(divide="ignore"):
            start, end = (scale[row] * u / (1 - u) for u in (low, high))
        outside = np.flatnonzero((b[:, -1] > noise[:, -1]) & (end <= best.step))
        if len(outside):
            k = int(outside[np.argmin(end[outside])])
            if np.isfinite(end[k]):
                best = Exit(float(end[k]), int(row[k]))
        keep = (start < best.step) & (high - low > 4 * _ROUNDING * high)
        keep &= np.max(b - noise, axis=1) > 0
        row, low, high, b, noise = row[keep], low[keep], high[keep], b[keep], noise[keep]
        middle = (low + high) / 2
        row = np.concatenate([row, row])
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
        b = np.concatenate([b @ left, b @ right])
        noise = np.concatenate([noise @ left, noise @ right])
    return best._replace(step=_polished(c[best.which], best.step)) if best.which >= 0 else best


def _polished(coefficients: Array, step: float) -> float:
    """The root that a step stopped beyond, by as much as the noise hides: by Newton's iteration."""
    polynomial = np.polynomial.Polynomial(coefficients)
    slope, at = polynomial.deriv(), step
    for _ in range(3):
        with np.errstate(all="ignore"):
            at = float(at - polynomial(at) / slope(at))
    # At a double root Newton's steps are long and the point itself serves.
    return min(at, step) if abs(at - step) <= 1e-9 * step else step * (1 - 8 * _ROUNDING)


def _scales(c: Array) -> Array:
    """One over the size of the roots: where the terms of each polynomial are alike."""
    size = c.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log2(np.abs(c))
    used = np.isfinite(logs)
    first = np.argmax(used, axis=1)
    last = size - 1 - np.argmax(used[:, ::-1], axis=1)
    rows = np.arange(len(c))
    with np.errstate(invalid="ignore"):
        slope = (logs[rows, first] - logs[rows, last]) / np.maximum(last - first, 1)
    return np.asarray(2.0 ** np.where(np.isfinite(slope), np.round(slope), 0.0))
