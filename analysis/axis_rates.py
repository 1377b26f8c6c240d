"""Eigenvalues of three-point differences along an axis, and their sums over axes (theory §1).

>>> AxisRates(3, 1.0, 1.0).eigenvalues("replicate").round(12) + 0.0
array([ 0., -1., -3.])
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.errors import InputError

LARGEST_SPECTRUM = 4_000_000
"""Most different eigenvalues that are laid out in memory at once."""


@dataclass(frozen=True)
class AxisRates:
    """Rows ``(l, -l - u, u)`` of the differences along one axis, in 1 / time.

    Attributes:
        points: grid points of the axis.
        lower: ``l``, what a pixel takes from the one before it.
        upper: ``u``, what it takes from the one behind it.
    """

    points: int
    lower: float
    upper: float

    @property
    def symmetric(self) -> bool:
        """Whether both neighbours count alike."""
        return self.lower == self.upper

    def eigenvalues(self, boundary: str, *, half: bool = False) -> np.ndarray:
        """Eigenvalues in the order of the modes, real float64 or complex, shape ``(points,)``.

            periodic   -2 (l + u) sin^2(w / 2) - i (l - u) sin w,          w = 2 pi k / n
            replicate  0 and -(l + u) + 2 sqrt(l u) cos(pi k / n),         k = 1 .. n - 1
            zeros      -(l + u) + 2 sqrt(l u) cos(pi k / (n + 1)),         k = 1 .. n

        Where ``l u < 0`` the root is imaginary. Source: Yueh, Applied Mathematics E-Notes 5 (2005);
        the corners ``-u`` and ``-l`` of ``replicate`` are of the kind that has a closed form.

        Args:
            boundary: one of the three.
            half: whether to leave out ``-w`` beside ``w``, which repeats it where ``l = u``.
        """
        n, total = self.points, self.lower + self.upper
        if boundary == "periodic":
            w = 2 * np.pi / n * np.arange(n // 2 + 1 if half else n)
            decay = -2 * total * np.sin(w / 2) ** 2
            return decay if self.symmetric else decay - 1j * (self.lower - self.upper) * np.sin(w)
        ends = n + 1 if boundary == "zeros" else n
        angles = np.pi / ends * np.arange(1, ends)
        if self.lower * self.upper < 0:
            root = 2j * math.sqrt(abs(self.lower)) * math.sqrt(abs(self.upper))
            values = -total + root * np.cos(angles)
        else:
            low, up = math.sqrt(abs(self.lower)), math.sqrt(abs(self.upper))
            # No difference of nearly equal numbers: smooth modes keep all of their digits.
            values = -((low - up) ** 2) - 4 * low * up * np.sin(angles / 2) ** 2
        return values if boundary == "zeros" else np.concatenate([[0.0], values])


Parts = tuple[AxisRates, ...]
"""Operators along one axis that share their modes."""


def different_sums(axes: Sequence[Parts], boundary: str) -> np.ndarray:
    """Sums over the axes of the eigenvalues of every part, without those that symmetry repeats.

    Axes that are equal repeat the sums of one order in every other; ``w`` and ``-w`` repeat each
    other where no part has a direction.

    Args:
        axes: the same number of parts for every axis.
        boundary: of the grid.

    Returns:
        Float64 or complex array, one row a sum and one column a part.

    Raises:
        InputError: for more than ``LARGEST_SPECTRUM`` sums.

    >>> axis = AxisRates(4, 1.0, 1.0)
    >>> different_sums([(axis,), (axis,)], "periodic").round(12).ravel() + 0.0
    array([ 0., -2., -4., -4., -6., -8.])
    """
    groups = Counter(axes)
    _check_count([(_modes(parts, boundary), count) for parts, count in groups.items()])
    total = np.zeros((1, len(axes[0])))
    for parts, count in groups.items():
        half = _is_even(parts, boundary)
        columns = [part.eigenvalues(boundary, half=half) for part in parts]
        values = np.unique(np.stack(columns, axis=-1), axis=0)[::-1]
        sums = _ascending_sums(values, count)
        total = (total[:, None] + sums[None]).reshape(-1, total.shape[-1])
    return total


def sums_by_mode(axes: Sequence[Parts], boundary: str) -> np.ndarray:
    """Sums over the axes of the eigenvalues of every part, for every mode of the grid.

    Returns:
        Array of shape ``(*points, parts)``.
    """
    _check_count([(parts[0].points, 1) for parts in axes])
    total = np.zeros((1,) * len(axes) + (len(axes[0]),))
    for number, parts in enumerate(axes):
        values = np.stack([part.eigenvalues(boundary) for part in parts], axis=-1)
        shape = [1] * len(axes)
        shape[number] = len(values)
        total = total + values.reshape(*shape, -1)
    return total


def _is_even(parts: Parts, boundary: str) -> bool:
    return boundary == "periodic" and all(part.symmetric for part in parts)


def _modes(parts: Parts, boundary: str) -> int:
    points = parts[0].points
    return points // 2 + 1 if _is_even(parts, boundary) else points


def _check_count(sizes: list[tuple[int, int]]) -> None:
    """Refuse more sums than fit into memory; sizes are pairs (values, how many axes have them)."""
    # Python prints no integer of thousands of digits, so the count of a huge axis stays rough.
    huge = any(values > LARGEST_SPECTRUM for values, _ in sizes)
    total = 0 if huge else math.prod(math.comb(n + count - 1, count) for n, count in sizes)
    if huge or total > LARGEST_SPECTRUM:
        raise InputError(
            f"at most {LARGEST_SPECTRUM} different eigenvalues",
            "more" if huge else total,
            "take fewer points: for an even number of them the stiffest eigenvalue is the same",
        )


def _ascending_sums(values: np.ndarray, count: int) -> np.ndarray:
    """Sums of ``count`` rows with indices in ascending order: other orders repeat the same sums."""
    sums, last = values, np.arange(len(values))
    for _ in range(count - 1):
        repeats = last + 1
        starts = np.repeat(np.cumsum(repeats) - repeats, repeats)
        following = np.arange(starts.size) - starts
        sums, last = np.repeat(sums, repeats, axis=0) + values[following], following
    return sums
