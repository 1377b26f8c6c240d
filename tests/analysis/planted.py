"""Operators whose norm over all frequencies is known in closed form, with maxima anywhere.

A peak is a trigonometric polynomial ``q`` with ``max |q| = |q(0)| = 1``; taps ``q_p exp(-i p.w*)``
move it to any ``w*``, far from the points of a grid, and a factor gives it its height. Complex taps
become real operators as 2 x 2 blocks or as a pair of circulant eigenvalues.
"""

from __future__ import annotations

import itertools

import numpy as np

from analysis.couplings import Circulant, Depthwise, Full, Grouped, Lean, Pointwise

SHAPES = [(3,), (3, 3), (5,), (1, 3), (5, 3), (3, 1)]


def taps_of(shape: tuple[int, ...]) -> np.ndarray:
    return np.array(list(itertools.product(*(range(-(k // 2), k // 2 + 1) for k in shape))))


def peak(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Coefficients of ``q`` with ``q(0) = 1`` and ``|q| <= 1``, shape ``(taps,)``."""
    taps = taps_of(shape)
    radius = taps.max(axis=0)
    if kind == "flat":  # 1 everywhere
        return (taps == 0).all(axis=1).astype(float)
    if kind == "dirichlet":  # all taps in phase
        return np.full(len(taps), 1 / len(taps))
    if kind == "ridge":  # cos(m.w) with signs: nothing falls faster round its maximum
        corner = radius * rng.choice([-1, 1], len(radius))
        hits = (taps == corner).all(axis=1) * 1.0 + (taps == -corner).all(axis=1)
        return hits / hits.sum()
    weights = rng.uniform(0, 1, len(taps)) * rng.integers(0, 2, len(taps))
    weights[0] += 0.1
    return weights / weights.sum()  # positive taps: the maximum is where all are in phase


def moved_peaks(
    shape: tuple[int, ...], rng: np.random.Generator, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Complex taps ``(count, taps)``, places ``(count, d)`` and heights ``(count,)`` of peaks.

    The first is flat of height one: a search that has found it must still find the others.
    """
    kinds = ["flat", *rng.choice(["dirichlet", "ridge", "positive"], count - 1)]
    # Often just above what is found first: nothing but the certificate then tells the two apart.
    most = rng.choice([1.06, 1.4])
    heights = np.append(1.0, rng.uniform(1.0, most, count - 1))
    places = rng.uniform(-np.pi, np.pi, (count, len(shape)))
    coefficients = np.array([peak(kind, shape, rng) for kind in kinds])
    phases = np.exp(-1j * places @ taps_of(shape).T)
    return heights[:, None] * coefficients * phases, places, heights


def orthogonal(size: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((size, size)))[0]


def real_blocks(coefficients: np.ndarray) -> np.ndarray:
    """Real 2 x 2 stencils with singular values ``|f(w)|`` and ``|f(-w)|``, ``(n, 2, 2, taps)``."""
    real, imaginary = coefficients.real, coefficients.imag
    return np.array([[real, -imaginary], [imaginary, real]]).transpose(2, 0, 1, 3)


def full(shape, rng):
    coefficients, _, heights = moved_peaks(shape, rng, 2)
    channels, rows = 4, int(rng.integers(4, 6))
    weight = np.zeros((rows, channels, coefficients.shape[1]))
    for k, block in enumerate(real_blocks(coefficients)):
        weight[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = block
    left, right = orthogonal(rows, rng), orthogonal(channels, rng)
    weight = np.einsum("po,oit,iq->pqt", left, weight, right)
    if rng.integers(2):  # the transposed operator: as wide as the other is tall
        weight = weight.transpose(1, 0, 2)[..., ::-1]
    return Full(weight.reshape(*weight.shape[:2], *shape)), heights.max()


def grouped(shape, rng):
    coefficients, _, heights = moved_peaks(shape, rng, 3)
    blocks = real_blocks(coefficients)
    weight = np.concatenate(
        [
            np.einsum("po,oit,iq->pqt", orthogonal(2, rng), block, orthogonal(2, rng))
            for block in blocks
        ]
    )
    return Grouped(weight.reshape(-1, 2, *shape), groups=3), heights.max()


def circulant(shape, rng):
    coefficients, _, heights = moved_peaks(shape, rng, 3)
    flat = coefficients[0].real * 0
    flat[len(flat) // 2] = heights[0]
    spectrum = np.array([flat, *coefficients[1:], *np.conj(coefficients[:0:-1])])
    stencils = np.fft.ifft(spectrum, axis=0)
    assert np.abs(stencils.imag).max() < 1e-14
    return Circulant(stencils.real.reshape(-1, *shape)), heights.max()


def largest_of_three_taps(a: float, b: float, c: float) -> float:
    """``max_w |a exp(-iw) + b + c exp(iw)|``: a quadratic in ``cos w``, inside where ``ac < 0``."""
    places = [-1.0, 1.0]
    if a * c < 0 and abs(b * (a + c)) < 4 * abs(a * c):
        places.append(-b * (a + c) / (4 * a * c))
    squares = [
        a * a + b * b + c * c + 2 * b * (a + c) * x + 2 * a * c * (2 * x * x - 1) for x in places
    ]
    return float(np.sqrt(max(squares)))


def sparse_line(k: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """``[a, 0.., b, 0.., c]`` of length ``k`` and the largest modulus of its symbol."""
    a, b, c = rng.standard_normal(3)
    a, c = abs(a), -abs(c)  # the maximum inside more often than not
    line = np.zeros(k)
    if k == 1:
        line[0] = b
        return line, abs(b)
    line[[0, k // 2, -1]] = a, b, c
    return line, largest_of_three_taps(a, b, c)


def tensor_stencil(shape, rng) -> tuple[np.ndarray, float]:
    """A tensor product of lines: maxima multiply."""
    stencil, height = np.ones(()), 1.0
    for k in shape:
        line, largest = sparse_line(k, rng)
        stencil, height = np.multiply.outer(stencil, line), height * largest
    return stencil, height


def depthwise(shape, rng):
    stencils, heights = zip(*(tensor_stencil(shape, rng) for _ in range(3)), strict=True)
    return Depthwise(np.array(stencils)), max(heights)


def rank_one(shape, rng):
    """Every block a multiple of one stencil."""
    stencil, height = tensor_stencil(shape, rng)
    left, right = rng.standard_normal(3), rng.standard_normal(4)
    weight = np.multiply.outer(np.outer(left, right), stencil)
    return Full(weight), np.linalg.norm(left) * np.linalg.norm(right) * height


def lean(shape, rng):
    """A symmetric matrix and one stencil for all channels: ``mu_j + a exp(-is) + c exp(is)``."""
    taps = taps_of(shape)
    corner = taps[rng.choice(np.flatnonzero(np.any(taps != 0, axis=1)))]
    stencil = np.zeros(len(taps))
    a, c = abs(rng.standard_normal()), -abs(rng.standard_normal())
    stencil[np.flatnonzero((taps == -corner).all(axis=1))[0]] = a
    stencil[np.flatnonzero((taps == corner).all(axis=1))[0]] = c
    values, basis = rng.standard_normal(3), orthogonal(3, rng)
    height = max(largest_of_three_taps(a, mu, c) for mu in values)
    stencils = np.broadcast_to(stencil.reshape(shape), (3, *shape))
    return Lean(basis @ np.diag(values) @ basis.T, stencils), height


def pointwise(shape, rng):
    values = rng.uniform(0, 1, 3)
    matrix = orthogonal(4, rng)[:, :3] @ np.diag(values) @ orthogonal(3, rng)
    return Pointwise(matrix, spatial_axes=len(shape)), values.max()


PLANTED = (full, grouped, circulant, depthwise, rank_one, lean, pointwise)


def planted_operator(seed: int):
    """A random operator of any coupling, stencil shape and scale, and its supremum."""
    rng = np.random.default_rng([17, seed])
    build = PLANTED[seed % len(PLANTED)]
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    operator, height = build(shape, rng)
    scale = 10.0 ** rng.uniform(-6, 6)
    return operator.times(scale), scale * height
