"""The largest norm of a symbol on the frequencies of one image size (theory §1).

Let ``S`` bound the norm over all frequencies, and ``u, v`` lead at a frequency ``w`` of norm ``T``.
``p = Re u* K^ v`` lies between ``S - 2 d`` and ``S``, with ``d = S``, or ``d = d_0 + (S - T) / 2``
where a constant matrix leaves at most ``d_0`` of the symbol. Bernstein-Szego for ``p - (S - d)``:

    ||K^(w + t)|| >= S - d (1 - cos(b + m.|t|)),    S - d (1 - cos(b)) = T,    b + m.|t| <= pi

A block of frequencies whose midpoint stays below that holds none with a norm of ``T`` or more.
"""

from __future__ import annotations

import itertools

import numpy as np

from analysis.backend import to_numpy
from analysis.coupling import Coupling
from analysis.gram import Gram
from analysis.search import Found, chunk_size, chunks, definite

_FEW = 96
"""Frequencies that are all decomposed in less time than a search takes."""
_FIRST_ANGLE = 0.6
_LEAST_SHARE = 0.36


def largest_on_grid(
    operator: Coupling, axes: list[np.ndarray], found: Found, bound: float
) -> float:
    """Largest norm on a product of frequencies, up to the rounding of one decomposition.

    Args:
        operator: float64 weights near one.
        axes: the frequencies of every axis, ascending and evenly spaced.
        found: a search of all frequencies.
        bound: of the norm over all frequencies, ``S``.
    """
    gram, degree, oscillation = found.gram, np.array(operator.radius), operator.oscillation()
    room = chunk_size(gram, operator.accelerated)
    counts = [len(axis) if m else 1 for axis, m in zip(axes, degree, strict=True)]
    if np.prod(counts) <= _FEW:
        return _largest(gram, _points(axes, [range(n) for n in counts]), room)
    best = _largest(gram, _near(axes, found.peak.frequency, operator.stride), room)
    lows, highs = _first_blocks(axes, degree)
    while len(lows):
        first, last = (
            np.stack([axis[index[:, a]] for a, axis in enumerate(axes)], axis=1)
            for index in (lows, highs - 1)
        )
        centres, angle = (first + last) / 2, (last - first) / 2 @ degree
        left = []
        for part in chunks(len(lows), room):
            tested = _least_norm(bound, best, angle[part], oscillation)
            left.append(part[~definite(gram.at(centres[part], -1.0), tested)])
        kept = np.concatenate(left)
        single = angle[kept] == 0
        best = max(best, _largest(gram, centres[kept[single]], room))
        lows, highs = _halved(lows[kept[~single]], highs[kept[~single]])
    return best


def _least_norm(bound: float, norm: float, angle: np.ndarray, oscillation: float) -> np.ndarray:
    """Least norm at an angle from a frequency of a norm; 0 where a test would magnify rounding."""
    d = min(oscillation + (bound - norm) / 2, bound)
    start = np.arccos(np.clip(1 - (bound - norm) / d, -1.0, 1.0))
    least = bound - d * (1 - np.cos(np.minimum(start + angle, np.pi)))
    return np.where(angle == 0, norm, np.where(least > _LEAST_SHARE * bound, least, 0.0))


def _largest(gram: Gram, frequencies: np.ndarray, room: int) -> float:
    """Largest norm at some frequencies by eigenvalues of the Gram matrices; 0 for none."""
    largest = 0.0
    for part in chunks(len(frequencies), room):
        matrices = to_numpy(gram.at(frequencies[part])).reshape(-1, gram.size, gram.size)
        largest = max(largest, float(np.linalg.eigvalsh(matrices)[:, -1].max()))
    return float(np.sqrt(largest))


def _points(axes: list[np.ndarray], indices: list[range]) -> np.ndarray:
    """Frequencies at a product of indices, shape ``(F, d)``."""
    return np.array(
        list(itertools.product(*(axis[list(i)] for axis, i in zip(axes, indices, strict=True))))
    )


def _near(axes: list[np.ndarray], frequency: np.ndarray, stride: int) -> np.ndarray:
    """The frequencies of the grid round a place, and round its mirror image."""
    found = []
    for place in (frequency, -frequency):
        closeness = (np.cos(stride * (axis - w)) for axis, w in zip(axes, place, strict=True))
        nearest = [int(np.argmax(close)) for close in closeness]
        around = [
            range(max(i - 1, 0), min(i + 2, len(axis)))
            for i, axis in zip(nearest, axes, strict=True)
        ]
        found.append(_points(axes, around))
    return np.concatenate(found)


def _first_blocks(axes: list[np.ndarray], degree: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index ranges ``[low, high)`` of blocks that cover the grid, shapes ``(n, d)``."""
    share = 2 * _FIRST_ANGLE / max(int(np.count_nonzero(degree)), 1)
    starts, ends = [], []
    for axis, m in zip(axes, degree, strict=True):
        spacing = float(axis[1] - axis[0]) if len(axis) > 1 else np.inf
        length = len(axis) if m == 0 else max(1, 1 + int(share / (m * spacing)))
        start = np.arange(0, len(axis), length)
        starts.append(start)
        ends.append(np.minimum(start + length, len(axis)))
    lows, highs = (
        np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1).reshape(-1, len(axes))
        for edges in (starts, ends)
    )
    return lows, highs


def _halved(lows: np.ndarray, highs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both halves of every block along every axis that has more than one frequency."""
    for axis in range(lows.shape[1]):
        middle = (lows[:, axis] + highs[:, axis]) // 2
        splits = middle > lows[:, axis]
        upper_lows, upper_highs = lows[splits].copy(), highs[splits].copy()
        upper_lows[:, axis] = middle[splits]
        highs = highs.copy()
        highs[splits, axis] = middle[splits]
        lows, highs = np.concatenate([lows, upper_lows]), np.concatenate([highs, upper_highs])
    return lows, highs
