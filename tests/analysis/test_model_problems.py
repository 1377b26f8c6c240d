"""The spectrum of the heat equation against the matrix of the stencil."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.errors import InputError
from analysis.grid import Grid, offsets
from analysis.model_problems import heat_spectrum
from analysis.stencils import laplacian, shift_matrix


@pytest.mark.parametrize(
    ("points", "dimension"), [(1, 1), (2, 1), *((n, d) for n in (3, 4, 5) for d in (1, 2, 3))]
)
def test_eigenvalues_are_those_of_the_dense_operator(points: int, dimension: int) -> None:
    grid = Grid((points,) * dimension)
    stencil = 0.7 * laplacian(dimension, 0.5)
    matrix = np.zeros((grid.size, grid.size))
    for offset, value in zip(offsets(stencil.shape), stencil.ravel(), strict=True):
        matrix += value * shift_matrix(tuple(offset), grid).toarray()
    matrix += 0.25 * np.eye(grid.size)
    dense = np.linalg.eigvalsh(matrix)
    found = heat_spectrum(points, diffusivity=0.7, dimension=dimension, spacing=0.5, reaction=0.25)
    scale = np.abs(dense).max()
    assert found[0] == pytest.approx(dense[-1], abs=1e-12 * scale)
    assert found[-1] == pytest.approx(dense[0], rel=1e-13)
    # The same set of values, whatever their multiplicities.
    distance = np.abs(dense[:, None] - found[None, :])
    assert distance.min(axis=1).max() < 1e-12 * scale
    assert distance.min(axis=0).max() < 1e-12 * scale


def test_an_even_number_of_points_reaches_the_stiffest_mode() -> None:
    assert heat_spectrum(6, dimension=2)[-1] == -8.0
    assert heat_spectrum(7, dimension=2)[-1] > -8.0


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"points": 0}, "at least one grid point"),
        ({"points": 10**6, "dimension": 3}, "different eigenvalues"),
        ({"points": 10**5000}, "different eigenvalues"),
        ({"points": 4, "dimension": 0}, "a dimension of 1, 2 or 3"),
        ({"points": 4, "diffusivity": -1.0}, "diffusivity"),
        ({"points": 4, "spacing": 0.0}, "mesh width"),
        ({"points": 4, "spacing": 1e-200}, "finite"),
        ({"points": 4, "reaction": float("nan")}, "reaction"),
    ],
)
def test_values_out_of_range_are_refused(options: dict, part: str) -> None:
    with pytest.raises(InputError, match=part):
        heat_spectrum(**options)
