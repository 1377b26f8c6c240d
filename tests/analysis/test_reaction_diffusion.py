"""Fisher's wave and Turing's bands against sympy, dense matrices and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from analysis.errors import InputError
from analysis.frozen import turing_band
from analysis.grid import Grid
from analysis.reaction_diffusion import (
    FisherWave,
    TwoSpeciesModel,
    brusselator,
    gray_scott,
    schnakenberg,
    simulate,
)

MODELS = [
    schnakenberg(),
    schnakenberg(0.05, 1.4, (0.5, 20.0)),
    brusselator(),
    brusselator(3.0, 4.0, (1.0, 12.0)),
    gray_scott(),
    gray_scott(0.03, 0.0525, (5.0, 1.5)),
]


def name(model: TwoSpeciesModel) -> str:
    return model.name


# Fisher's wave


def test_the_wave_solves_the_equation() -> None:
    x, t, D, r = sp.symbols("x t D r", positive=True)
    u = (1 + sp.exp(sp.sqrt(r / (6 * D)) * x - sp.Rational(5, 6) * r * t)) ** -2
    residual = sp.diff(u, t) - D * sp.diff(u, x, 2) - r * u * (1 - u)
    assert sp.simplify(residual) == 0
    wave = FisherWave(0.3, 2.0)
    places = np.linspace(-3, 3, 7)
    values = [float(u.subs({x: p, t: 0.4, D: 0.3, r: 2.0})) for p in places]
    assert np.allclose(wave.exact(places, 0.4), values, rtol=1e-12)
    # The front moves as it is: with the speed, and without overflow far from it.
    assert np.allclose(wave.exact(places + wave.speed, 1.4), values, rtol=1e-12)
    assert np.array_equal(wave.exact(np.array([-1e6, 1e6]), 0.0), [1.0, 0.0])
    assert wave.speed == pytest.approx(5 / math.sqrt(6) * math.sqrt(0.6))


def test_the_front_on_a_grid_tends_to_it_with_order_two() -> None:
    wave, errors = FisherWave(0.5, 1.0), []
    for points in (100, 200):
        x, dx = np.linspace(-15, 15, points, retstep=True)

        def field(t: float, u: np.ndarray, x: np.ndarray = x, dx: float = dx) -> np.ndarray:
            ends = wave.exact(np.array([x[0] - dx, x[-1] + dx]), t)
            around = np.concatenate([ends[:1], u, ends[1:]])
            return 0.5 * (around[2:] - 2 * u + around[:-2]) / dx**2 + wave.reaction(u)

        found = solve_ivp(field, (0, 2), wave.exact(x, 0.0), method="LSODA", rtol=1e-9, atol=1e-11)
        errors.append(np.abs(found.y[:, -1] - wave.exact(x, 2.0)).max())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


# Two species


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_the_steady_state_is_one_and_its_jacobian_the_derivative(model: TwoSpeciesModel) -> None:
    y = model.steady_state
    assert np.abs(model.reaction(y)).max() < 1e-14
    columns = [model.reaction(y + 1e-30j * unit).imag / 1e-30 for unit in np.eye(2)]
    assert np.allclose(model.jacobian, np.stack(columns, axis=1), rtol=1e-13, atol=1e-15)
    assert model.stable_alone == (np.linalg.eigvals(model.jacobian).real.max() < 0)


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_the_band_is_where_dense_eigenvalues_grow(model: TwoSpeciesModel) -> None:
    band = model.turing_band()
    assert band is not None
    low, high = band

    def abscissa(q: float) -> float:
        matrix = model.jacobian - q * np.diag(model.diffusivities)
        return float(np.linalg.eigvals(matrix).real.max())

    for inside, outside in ((low * 1.001, low * 0.999), (high * 0.999, high * 1.001)):
        assert abscissa(outside) < 0 < abscissa(inside)
    squares = np.linspace(0, 2 * high, 50)
    grows = model.eigenvalues(squares).real.max(axis=1) > 0
    assert np.array_equal(grows, (squares > low) & (squares < high))


@pytest.mark.parametrize("model", MODELS, ids=name)
def test_the_band_of_the_grid_is_that_of_its_dense_jacobian(model: TwoSpeciesModel) -> None:
    grid = Grid((12, 9), spacing=1.3)
    found = np.sort(model.eigenvalues_on(grid).real.ravel())
    line = [np.roll(np.eye(n), 1, 0) + np.roll(np.eye(n), -1, 0) - 2 * np.eye(n) for n in (12, 9)]
    laplace = np.kron(line[0], np.eye(9)) + np.kron(np.eye(12), line[1])
    jacobian = np.kron(model.jacobian, np.eye(108)) + np.kron(
        np.diag(model.diffusivities), laplace / 1.3**2
    )
    dense = np.sort(np.linalg.eigvals(jacobian).real)
    assert np.allclose(found, dense, atol=1e-7)
    band = turing_band(model.eigenvalues_on(grid), grid.frequencies())
    assert len(band.frequencies) == np.count_nonzero(dense > 1e-9)
    assert band.excludes_zero
    q = 4 / 1.3**2 * (np.sin(band.frequencies / 2) ** 2).sum(axis=1)
    low, high = model.turing_band()
    assert np.all((q > low) & (q < high))
    if len(q):
        assert band.growth_rates.max() == pytest.approx(dense[-1], abs=1e-9)


@pytest.mark.parametrize("model", [MODELS[0], MODELS[2], MODELS[4]], ids=name)
def test_small_noise_grows_inside_the_band_and_decays_outside(model: TwoSpeciesModel) -> None:
    """RK4 and differences in space, no transform within: rates to one percent of the fastest."""
    rng = np.random.default_rng(3)
    grid = Grid((24, 24), spacing=math.sqrt(1.5 / model.turing_band()[1]))
    # Well inside the limit of RK4, whose own error is then far below one percent.
    h = 0.4 * grid.spacing**2 / (8 * max(model.diffusivities))
    fastest = model.eigenvalues_on(grid).real.max()
    steps = min(4000, math.ceil(2 / fastest / h))
    still = model.steady_state[:, None, None] * np.ones((2, 24, 24))
    start = still + 1e-7 * rng.standard_normal(still.shape)
    before, after = (
        np.fft.fft2(y - still).reshape(2, -1)
        for y in (start, simulate(model, grid, start, h, steps))
    )
    band = turing_band(model.eigenvalues_on(grid), grid.frequencies())
    inside = {tuple(w) for w in band.frequencies}
    assert inside and len(inside) < grid.size
    compared = 0
    for index, w in enumerate(grid.frequencies()):
        q = 4 / grid.spacing**2 * (np.sin(w / 2) ** 2).sum()
        values, left = np.linalg.eig((model.jacobian - q * np.diag(model.diffusivities)).T)
        top = int(np.argmax(values.real))
        # A left eigenvector sees its own mode alone.
        grown = np.abs(left[:, top] @ after[:, index]) / np.abs(left[:, top] @ before[:, index])
        if np.log(grown) > -8:  # below it the products of other waves are as large
            compared += 1
            found = math.log(grown) / (h * steps)
            assert found == pytest.approx(values[top].real, abs=0.01 * fastest)
        assert (grown > 1) == (tuple(w) in inside)
    assert compared > 1.2 * len(inside)


def test_no_band_where_both_species_diffuse_alike_and_none_that_begins_at_zero() -> None:
    assert schnakenberg(diffusivities=(1.0, 1.0)).turing_band() is None
    assert schnakenberg(diffusivities=(1.0, 8.0)).turing_band() is None
    growing = brusselator(1.0, 3.0)
    assert not growing.stable_alone
    with pytest.raises(InputError, match="decays without diffusion"):
        growing.turing_band()
    grid = Grid((8,))
    assert not turing_band(growing.eigenvalues_on(grid), grid.frequencies()).excludes_zero


def test_what_cannot_be_simulated_is_refused() -> None:
    model, grid = schnakenberg(), Grid((4, 4))
    start = np.ones((2, 4, 4))
    limit = 2.785293563405282 / (8 * 30.0)
    simulate(model, grid, start, 0.999 * limit, 1)
    with pytest.raises(InputError, match="step size of at most"):
        simulate(model, grid, start, 1.001 * limit, 1)
    with pytest.raises(InputError, match="shape"):
        simulate(model, grid, start[0], 0.001, 1)
    with pytest.raises(InputError, match="periodic"):
        simulate(model, Grid((4, 4), boundary="zeros"), start, 0.001, 1)
    with pytest.raises(InputError, match="constant mode"):
        model.eigenvalues_on(Grid((4,), boundary="zeros"))
    for make, part in (
        (lambda: gray_scott(0.01, 0.1), "feed of at least"),
        (lambda: brusselator(-1.0, 1.0), "positive a"),
        (lambda: schnakenberg(diffusivities=(0.0, 1.0)), "diffusivity"),
        (lambda: FisherWave(-1.0), "diffusivity"),
    ):
        with pytest.raises(InputError, match=part):
            make()
