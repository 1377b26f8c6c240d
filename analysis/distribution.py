"""Distribution of the singular values of a large image from few frequencies (theory §1).

``tr (K^* K)^p`` is a trigonometric polynomial of degree ``2 p r``, so that its mean over a uniform
grid of more points an axis is the mean over every larger one: the moments of the distribution are
exact, its quantiles are an estimate that improves with the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.backend import to_numpy
from analysis.coupling import Coupling
from analysis.errors import InputError
from analysis.grid import Grid
from analysis.spectra import values_at
from analysis.transposed import Operator, untransposed

_FIRST_POINTS = 8


@dataclass(frozen=True, eq=False)
class Distribution:
    """An estimate of the distribution of the singular values at an image size.

    Attributes:
        values: singular values at the frequencies of a coarse grid, ascending, NumPy, in units of
            the weights; each stands for the same share of all.
        shape: points of the coarse grid.
        distance: Kolmogorov distance (the largest difference of two cumulative distributions) to
            the grid of half as many points; 0 where the coarse grid is that of the image.
        statement: what this is an estimate of.
    """

    values: np.ndarray
    shape: tuple[int, ...]
    distance: float
    statement: str


def estimate_singular_values(
    coupling: Operator, grid: Grid, *, tolerance: float = 0.01
) -> Distribution:
    """Distribution of the singular values of a periodic operator from a grid of few frequencies.

    The grid has 8, 16, 32, ... points an axis until the distribution moves by no more than the
    tolerance from one to the next; what the last one is off from the full spectrum is then usually
    a fraction of it.

    Args:
        coupling: the operator.
        grid: periodic image size.
        tolerance: largest ``distance`` to stop at, a share between 0 and 1.

    Raises:
        InputError: for another boundary, a tolerance outside (0, 1), weights that are not finite.

    >>> from analysis.couplings import Depthwise
    >>> stencil = Depthwise(np.array([[1.0, -2.0, 1.0]]))
    >>> found = estimate_singular_values(stencil, Grid((4096,)), tolerance=0.05)
    >>> found.shape, float(np.mean(found.values**2).round(9))
    ((32,), 6.0)
    """
    if grid.boundary != "periodic":
        raise InputError("a periodic grid", grid.boundary, "ask for all singular values")
    if not 0 < tolerance < 1:
        raise InputError("a tolerance between 0 and 1", tolerance, "pass 0.01")
    coupling, grid = untransposed(coupling, grid)
    coupling.largest_weight()
    output = coupling.output_grid(grid).shape
    points, before = _FIRST_POINTS, None
    while True:
        shape = tuple(min(points, n) for n in output)
        values = _values(coupling, shape)
        if shape == output:
            words = f"all singular values of the {_by(output)} grid"
            return Distribution(values, shape, 0.0, words)
        if before is not None:
            distance = kolmogorov_distance(before, values)
            if distance <= tolerance:
                words = (
                    f"estimate from {_by(shape)} of {_by(output)} frequencies; the distance is "
                    "that to half of the points, no bound"
                )
                return Distribution(values, shape, distance, words)
        points, before = 2 * points, values


def kolmogorov_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Largest difference of the cumulative distributions of two samples.

    >>> kolmogorov_distance(np.array([0.0, 1.0]), np.array([0.0, 1.0, 1.0, 1.0]))
    0.25
    """
    a, b = np.sort(first), np.sort(second)
    places = np.concatenate([a, b])
    shares = [np.searchsorted(values, places, side="right") / len(values) for values in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


def _values(coupling: Coupling, shape: tuple[int, ...]) -> np.ndarray:
    """All singular values on a coarse periodic grid of the output, ascending."""
    frequencies, multiplicity = Grid(shape).half_frequencies()
    found = to_numpy(values_at(coupling, frequencies / coupling.stride, accuracy="norm"))
    return np.sort(np.repeat(found, multiplicity, axis=0), axis=None)


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
