"""The frozen symbol of diffusion-reaction against dense Jacobians, and Turing's instability."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from analysis.couplings import COUPLINGS, Circulant, Depthwise, Full, Grouped, Lean, Pointwise
from analysis.errors import InputError
from analysis.frozen import frozen_symbol_eigenvalues, growing_frequencies, turing_band
from analysis.grid import Grid
from analysis.methods import tableau
from analysis.stability import real_stability_interval, stability_function
from analysis.steps import largest_stable_step


def couplings(rng: np.random.Generator) -> list:
    hollow = rng.normal(size=(4, 3, 3))
    hollow[:, 1, 1] = 0
    return [
        Full(rng.normal(size=(4, 4, 3, 3))),
        Full(rng.normal(size=(6, 4, 3, 3))),
        Depthwise(rng.normal(size=(4, 3, 3))),
        Pointwise(rng.normal(size=(4, 4))),
        Lean(rng.normal(size=(4, 4)), hollow),
        Circulant(rng.normal(size=(4, 3, 3))),
        Grouped(rng.normal(size=(4, 2, 3, 3)), groups=2),
    ]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Largest distance of the best pairing of two spectra."""
    cost = np.abs(a.ravel()[:, None] - b.ravel()[None, :])
    return float(cost[linear_sum_assignment(cost)].max())


def test_all_couplings_are_looked_at() -> None:
    assert {c.name for c in couplings(np.random.default_rng(0))} == set(COUPLINGS)


@pytest.mark.parametrize("index", range(7))
@pytest.mark.parametrize("shape", [(4, 5), (3, 4)])
def test_eigenvalues_are_those_of_the_dense_jacobian(index: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(index)
    D = couplings(rng)[index]
    s, J = rng.normal(size=D.channels_out), rng.normal(size=(4, 4))
    grid = Grid(shape)
    # Independent route: the matrices in space, channel-major, without any transform.
    dense = D.to_dense(grid)
    pixels = np.eye(grid.size)
    jacobian = np.kron(J, pixels) - dense.T @ np.kron(np.diag(s), pixels) @ dense
    found = frozen_symbol_eigenvalues(D, s, J, grid.frequencies())
    assert found.shape == (grid.size, 4)
    assert distance(found, np.linalg.eigvals(jacobian)) < 1e-9 * np.abs(found).max()


def test_without_reaction_and_with_positive_slopes_nothing_grows() -> None:
    rng = np.random.default_rng(1)
    frequencies = Grid((8, 8)).frequencies()
    D = Full(rng.normal(size=(3, 3, 3, 3)))
    values = frozen_symbol_eigenvalues(D, rng.uniform(0, 1, 3), np.zeros((3, 3)), frequencies)
    assert values.real.max() < 1e-12 * np.abs(values).max()
    assert growing_frequencies(values, frequencies).size == 0
    # A negative gain makes its channel anti-diffusive.
    anti = frozen_symbol_eigenvalues(D, np.array([-1.0, 0, 0]), np.zeros((3, 3)), frequencies)
    assert len(growing_frequencies(anti, frequencies)) == 64


def test_turing_an_inhibitor_that_diffuses_faster_destabilises_a_stable_reaction() -> None:
    J = np.array([[1.0, -2.0], [2.0, -2.0]])  # trace -1, determinant 2: stable without diffusion
    difference = np.array([[0.0, -1.0, 1.0]])
    frequencies = Grid((64,)).frequencies()

    def band(activator: float, inhibitor: float) -> np.ndarray:
        D = Depthwise(np.repeat(difference, 2, axis=0))
        values = frozen_symbol_eigenvalues(D, [activator, inhibitor], J, frequencies)
        return growing_frequencies(values, frequencies).ravel()

    assert band(1.0, 1.0).size == 0
    found = band(0.2, 8.0)
    assert found.size and 0.0 not in found
    # det(J - k diag(d)) < 0 with k = 4 sin^2(w/2) is the band in closed form.
    k = 4 * np.sin(frequencies.ravel() / 2) ** 2
    determinant = (1 - 0.2 * k) * (-2 - 8 * k) + 4
    assert np.array_equal(found, frequencies.ravel()[determinant < 0])


def test_the_band_is_reported_with_its_rates_and_whether_the_reaction_alone_decays() -> None:
    J = np.array([[1.0, -2.0], [2.0, -2.0]])
    frequencies = Grid((64,)).frequencies()
    D = Depthwise(np.repeat(np.array([[0.0, -1.0, 1.0]]), 2, axis=0))
    values = frozen_symbol_eigenvalues(D, [0.2, 8.0], J, frequencies)
    band = turing_band(values, frequencies)
    assert np.array_equal(band.frequencies, growing_frequencies(values, frequencies))
    # The trace falls with k, so that the larger root of the characteristic polynomial tells all.
    k = 4 * np.sin(frequencies.ravel() / 2) ** 2
    trace, determinant = -1 - 8.2 * k, (1 - 0.2 * k) * (-2 - 8 * k) + 4
    larger = (trace + np.sqrt((trace**2 - 4 * determinant).clip(0))) / 2
    assert np.allclose(band.growth_rates, larger[determinant < 0])
    assert band.excludes_zero and "Turing" in band.statement
    # 2 pi - w is the wave w: the ends of the band lie on the lower half.
    half = frequencies.ravel()[:33][determinant[:33] < 0]
    assert (band.lowest, band.highest) == pytest.approx((half.min(), half.max()))
    k_top = 4 * np.sin(band.fastest[0] / 2) ** 2
    assert k_top == pytest.approx(k[np.argmax(larger)])


def test_a_band_that_holds_zero_or_nothing_says_so() -> None:
    frequencies = Grid((8, 8)).frequencies()
    D = Depthwise(np.array([[[0.0, 0, 0], [-1, 1, 0], [0, 0, 0]]]))
    growing = frozen_symbol_eigenvalues(D, [1.0], np.array([[0.5]]), frequencies)
    band = turing_band(growing, frequencies)
    assert not band.excludes_zero
    assert band.lowest == 0 == np.linalg.norm(band.fastest)
    assert "constant mode grows too" in band.statement
    assert not turing_band(growing[1:], frequencies[1:]).excludes_zero  # it was not looked at
    still = turing_band(frozen_symbol_eigenvalues(D, [1.0], -np.eye(1), frequencies), frequencies)
    assert still.excludes_zero and len(still.frequencies) == 0 and np.isnan(still.lowest)
    with pytest.raises(InputError, match="every frequency"):
        turing_band(growing[1:], frequencies)


def test_the_step_size_that_follows_is_the_one_of_the_heat_equation() -> None:
    D = Depthwise(np.array([[0.0, -1.0, 1.0]]))
    values = frozen_symbol_eigenvalues(D, [1.0], np.zeros((1, 1)), Grid((8,)).frequencies())
    interval = real_stability_interval(stability_function(tableau("rk4")))
    assert largest_stable_step("rk4", values).step_size == pytest.approx(interval / 4)


def test_shapes_strides_and_diverged_weights_are_refused() -> None:
    frequencies = Grid((4,)).frequencies()
    D = Depthwise(np.ones((2, 3)))
    with pytest.raises(InputError, match=r"shape \(2,\)"):
        frozen_symbol_eigenvalues(D, np.ones(3), np.eye(2), frequencies)
    with pytest.raises(InputError, match=r"shape \(2, 2\)"):
        frozen_symbol_eigenvalues(D, np.ones(2), np.eye(3), frequencies)
    with pytest.raises(InputError, match="stride 1"):
        frozen_symbol_eigenvalues(
            Depthwise(np.ones((2, 3)), stride=2), np.ones(2), np.eye(2), frequencies
        )
    with pytest.raises(InputError, match="finite"):
        frozen_symbol_eigenvalues(D, np.array([1.0, np.nan]), np.eye(2), frequencies)
