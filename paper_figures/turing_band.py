"""The Turing band of Schnakenberg's model: rates in closed form, rates measured, and the pattern.

    python paper_figures/turing_band.py      writes turing_band.png, .pdf and .txt beside it

Small noise about the steady state is stepped by RK4 with differences in space, no transform within.
The growth of every wave, seen by the left eigenvector of its mode, is a point on the line of the
five-point Laplacian. The same noise, stepped on, becomes the pattern.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.grid import Grid
from analysis.plots import file_bytes, make_figure, plot_turing_band, tidy
from analysis.reaction_diffusion import TwoSpeciesModel, schnakenberg, simulate
from pdenet.files import write_atomic

HERE = Path(__file__).parent
SPACING, SEED = 1.5, 0
POINTS, PATTERN_POINTS = 64, 64
PATTERN_TIME = 60.0
SEEN = 1e-6
"""Waves that shrank below this share are hidden by the products of others."""


def noise(grid: Grid, model: TwoSpeciesModel, size: float) -> tuple[np.ndarray, np.ndarray]:
    """The steady state on a grid, and noise of a size to be added."""
    rng = np.random.default_rng(SEED)
    shape = (2, *grid.shape)
    still = model.steady_state.reshape(2, *(1,) * grid.dimension) * np.ones(shape)
    return still, size * rng.standard_normal(shape)


def measured_rates(model: TwoSpeciesModel) -> tuple[np.ndarray, np.ndarray]:
    """Wave numbers of a grid of one dimension, and the growth rates that a simulation shows."""
    grid = Grid((POINTS,), spacing=SPACING)
    step = 0.4 * SPACING**2 / (4 * max(model.diffusivities))
    steps = math.ceil(8.0 / step)
    still, small = noise(grid, model, 1e-8)
    after = np.fft.fft(simulate(model, grid, still + small, step, steps) - still)
    before = np.fft.fft(small)
    waves, rates = [], []
    for mode in range(POINTS // 2 + 1):
        k = 2 * math.pi * mode / (POINTS * SPACING)
        q = 4 / SPACING**2 * math.sin(k * SPACING / 2) ** 2
        values, left = np.linalg.eig((model.jacobian - q * np.diag(model.diffusivities)).T)
        # A left eigenvector sees its own mode alone; of a pair of complex ones either will do.
        top = left[:, int(np.argmax(values.real))]
        grown = abs(top @ after[:, mode]) / abs(top @ before[:, mode])
        if grown > SEEN:
            waves.append(k)
            rates.append(math.log(grown) / (step * steps))
    return np.array(waves), np.array(rates)


def discrete_rates(model: TwoSpeciesModel, waves: np.ndarray) -> np.ndarray:
    """What the five-point Laplacian makes of the same waves, in closed form."""
    q = 4 / SPACING**2 * np.sin(waves * SPACING / 2) ** 2
    return np.asarray(model.eigenvalues(q).real.max(axis=-1))


def pattern(model: TwoSpeciesModel) -> np.ndarray:
    """The first species where the noise has become a pattern, in two dimensions."""
    grid = Grid((PATTERN_POINTS,) * 2, spacing=SPACING)
    step = 0.6 * SPACING**2 / (8 * max(model.diffusivities))
    still, small = noise(grid, model, 1e-2)
    return simulate(model, grid, still + small, step, math.ceil(PATTERN_TIME / step))[0]


def wave_number_of(values: np.ndarray) -> float:
    """The wave number that holds most of a pattern: the mean over its power."""
    power = np.abs(np.fft.fft2(values - values.mean())) ** 2
    axis = 2 * np.pi * np.fft.fftfreq(len(values), SPACING)
    lengths = np.hypot(*np.meshgrid(axis, axis))
    return float((power * lengths).sum() / power.sum())


def draw_pattern(values: np.ndarray, ax: Axes) -> Axes:
    """The concentration as an image, with its unit of length."""
    end = len(values) * SPACING
    image = ax.imshow(values, origin="lower", extent=(0, end, 0, end), cmap="viridis")
    figure = ax.get_figure()
    assert figure is not None
    figure.colorbar(image, ax=ax, shrink=0.8)
    k = wave_number_of(values)
    return tidy(
        ax, title=f"u at t = {PATTERN_TIME:g}, |k| = {k:.2f} on average", xlabel="x", ylabel="y"
    )


def draw(model: TwoSpeciesModel, points: tuple[np.ndarray, np.ndarray], u: np.ndarray) -> Figure:
    """The band to the left, the pattern to the right."""
    figure, axes = make_figure(2, height=3.7)
    plot_turing_band(model, axes[0], spacing=SPACING, simulated=points)
    axes[0].set_ylim(-1.3, 0.75)
    draw_pattern(u, axes[1])
    return figure


def caption(model: TwoSpeciesModel, points: tuple[np.ndarray, np.ndarray], u: np.ndarray) -> str:
    """What the figure shows, and how far measured and exact rates are apart."""
    band = model.turing_band()
    assert band is not None
    low, high = (math.sqrt(end) for end in band)
    worst = float(np.abs(points[1] - discrete_rates(model, points[0])).max())
    return "\n".join(
        [
            "Growth rates of small waves about the steady state of Schnakenberg's model, a = 0.1,",
            "b = 0.9, d = (1, 30). Line: spectral abscissa of J - |k|^2 diag(d); dashed: the same",
            f"with the symbol of the second-order Laplacian, dx = {SPACING:g}; shaded: the band in",
            f"which the determinant is negative, {low:.6f} < |k| < {high:.6f}. Circles: growth of",
            f"noise in a simulation (RK4, differences, {POINTS} points, seed {SEED}), by the left",
            f"eigenvectors of the modes: {len(points[0])} waves, at most {worst:.2g} from the",
            "dashed line in closed form.",
            f"Right: the first species on {PATTERN_POINTS} x {PATTERN_POINTS} points at",
            f"t = {PATTERN_TIME:g}, from noise of size 0.01; its mean wave number over the power",
            f"is {wave_number_of(u):.4f}, inside the band.",
            "",
        ]
    )


def main() -> None:
    model = schnakenberg()
    points, u = measured_rates(model), pattern(model)
    figure = draw(model, points, u)
    for kind in ("png", "pdf"):
        write_atomic(HERE / f"turing_band.{kind}", file_bytes(figure, kind))
    write_atomic(HERE / "turing_band.txt", caption(model, points, u))


if __name__ == "__main__":
    main()
