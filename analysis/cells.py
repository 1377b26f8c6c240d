"""Cells that cover the frequencies, and what the norm at their midpoints says of them (theory §1).

Along any direction ``p(w) = Re u* K^(w) v`` is a trigonometric polynomial, and Bernstein-Szego
gives, from the maximiser ``w*`` of the norm,

    ||K^(w* + t)|| >= sup ||K^|| cos(m_1 |t_1| + m_2 |t_2| + ...)       for angles below pi/2

and more where a part of the symbol does not depend on the frequency (``least_norm``). The sets
where the angle stays below a bound are diamonds, and diamonds tile the plane: half as many cells as
squares of the same bound. On one axis they are intervals; three axes take boxes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np


def least_norm(supremum: float, angle: np.ndarray | float, oscillation: float) -> np.ndarray:
    """Least norm at the midpoint of a cell that attains the supremum.

    ``max(S cos(a), S - d (1 - cos(a)))``: the second from ``q = Re u* (K^ - M) v`` with a constant
    matrix ``M`` and ``|q| <= d``. At the maximiser ``q' = 0``, and Bernstein-Szego for ``q'`` gives
    ``|q'(t)| <= m d sin(m t)``. It grows with ``S``.

    Args:
        supremum: of the norm, ``S``.
        angle: the largest ``m.|t|`` from the midpoint, ``a``, below ``pi/2``.
        oscillation: ``d``, a bound of ``sup ||K^ - M||``; infinite where none is known.
    """
    return supremum - np.minimum(oscillation, supremum) * (1 - np.cos(angle))


@dataclass(frozen=True, eq=False)
class Tiling:
    """Cells of one shape that cover half of the frequencies, and can be split into smaller ones.

    A cell of scale ``z`` is the set of ``centre + z sum_k x_k e_k`` with ``|x_k| <= 1``.

    Attributes:
        centres: midpoints of the largest cells, of scale one, radians a pixel, shape ``(F, d)``.
        edges: the vectors ``e_k``, one an axis that the norm depends on, shape ``(a, d)``.
        angle: the largest ``m.|t|`` in a cell of scale one.
    """

    centres: np.ndarray
    edges: np.ndarray
    angle: float

    def split(
        self, centres: np.ndarray, scale: np.ndarray, parts: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Children of cells, ``parts`` along every edge, those of a cell in a row, and scales."""
        places = (2 * np.arange(parts) + 1 - parts) / parts
        steps = np.array(list(itertools.product(places, repeat=len(self.edges)))) @ self.edges
        children = centres[:, None, :] + scale[:, None, None] * steps
        return children.reshape(-1, centres.shape[1]), np.repeat(scale / parts, len(steps))


def tile(degree: tuple[int, ...], stride: int = 1, fineness: int = 1) -> Tiling:
    """Cells for a symbol of a degree whose frequencies repeat after ``2 pi / stride``.

    ``K^(-w) = conj(K^(w))`` for real weights: cells in half of the first axis suffice.

    Args:
        degree: of the symbol in every frequency.
        stride: of the operator.
        fineness: how many times smaller than the largest cells that a search may start from.
    """
    period, m = 2 * np.pi / stride, np.array(degree)
    active = np.flatnonzero(m)
    # The angle of the largest cells is at most pi/4 for diamonds, 3 pi/8 for boxes.
    per_degree = fineness * (4 if len(active) == 2 else 8)
    counts = np.where(m > 0, np.maximum(1, -(-per_degree * m // stride)), 1)
    counts += (counts % 2) * (m > 0)  # even: the half of the axis ends at a midpoint
    axes = [period / n * np.arange(n) for n in counts]
    if len(active):
        axes[active[0]] = axes[active[0]][: counts[active[0]] // 2 + 1]
    centres = _products(axes)
    half = np.diag(period / counts / 2)[active]
    if len(active) == 2:
        # The diamonds with corners +-half_1, +-half_2, in the gaps between them too.
        axes[active[0]] = axes[active[0]][:-1]
        centres = np.concatenate([centres, _products(axes) + half.sum(axis=0)])
        half = np.array([half[0] + half[1], half[0] - half[1]]) / 2
    signs = np.array(list(itertools.product((-1, 1), repeat=len(active))))
    return Tiling(centres, half, float(np.max(np.abs(signs @ half) @ m)))


def _products(axes: list[np.ndarray]) -> np.ndarray:
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
