"""Model problems with known spectra (theory §1, §4)."""

from __future__ import annotations

import math

import numpy as np

from analysis.errors import InputError

LARGEST_SPECTRUM = 4_000_000
"""Most different eigenvalues that are laid out in memory at once."""


def heat_spectrum(
    points: int,
    *,
    diffusivity: float = 1.0,
    dimension: int = 1,
    spacing: float = 1.0,
    reaction: float = 0.0,
) -> np.ndarray:
    """Different eigenvalues of ``y' = D Laplace_h y + mu y`` on a periodic grid.

    The second-order Laplacian with ``2 d + 1`` points has the symbol

        lambda(w) = mu - (4 D / dx^2) sum_axes sin^2(w_i / 2),       w_i = 2 pi a / N

    of which ``w_i -> -w_i`` and the exchange of axes repeat values, left out here.

    Args:
        points: ``N``, grid points of every axis.
        diffusivity: ``D >= 0``, in length^2 / time.
        dimension: ``d``, one, two or three.
        spacing: mesh width ``dx``, in units of length.
        reaction: ``mu``, rate of a linear reaction in 1 / time.

    Returns:
        Real float64 array in descending order; the first one is ``mu``. For even ``N`` the last
        is ``mu - 4 d D / dx^2``.

    Raises:
        InputError: for values out of range and for more than ``LARGEST_SPECTRUM`` eigenvalues.

    >>> heat_spectrum(4, diffusivity=1.0, dimension=2)
    array([ 0., -2., -4., -4., -6., -8.])
    """
    if points < 1:
        raise InputError("at least one grid point an axis", points, "pass a positive number")
    if dimension not in (1, 2, 3):
        raise InputError("a dimension of 1, 2 or 3", dimension, "pass one of them")
    if not (math.isfinite(diffusivity) and diffusivity >= 0):
        raise InputError("a diffusivity of at least 0", diffusivity, "pass a number >= 0")
    if not (math.isfinite(spacing) and spacing > 0):
        raise InputError("a positive mesh width", spacing, "pass a number > 0")
    if not math.isfinite(reaction):
        raise InputError("a finite reaction rate", reaction, "pass a finite number")
    # Python prints no integer of thousands of digits, so the count of a huge N stays rough.
    huge = points > 2 * LARGEST_SPECTRUM
    count = math.inf if huge else math.comb(points // 2 + dimension, dimension)
    if count > LARGEST_SPECTRUM:
        raise InputError(
            f"at most {LARGEST_SPECTRUM} different eigenvalues",
            "more" if huge else f"{count} for {points} points an axis",
            "take fewer points: for an even number of them the stiffest eigenvalue is the same",
        )
    scale = 4 * diffusivity / spacing / spacing
    stiffest = reaction - dimension * scale
    if not math.isfinite(stiffest):
        raise InputError("eigenvalues that are finite", stiffest, "take other units of length")
    axis = np.sin(np.pi * np.arange(points // 2 + 1) / points) ** 2
    index = np.arange(axis.size)
    sums, last = axis, index
    for _ in range(dimension - 1):
        # Only axes in ascending order: the other orders repeat the same sums.
        repeats = last + 1
        starts = np.repeat(np.cumsum(repeats) - repeats, repeats)
        nxt = np.arange(starts.size) - starts
        sums, last = np.repeat(sums, repeats) + axis[nxt], nxt
    return np.sort(reaction - scale * sums)[::-1] + 0.0
