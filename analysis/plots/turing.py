"""Growth rates of two species that react and diffuse, and the band of waves that grow (§4.10)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from analysis.errors import InputError
from analysis.plots.style import AFTER_COLOUR, DAMPING, FAINT, INK, NOTE, TEST_COLOUR, signed, tidy
from analysis.reaction_diffusion import TwoSpeciesModel

_POINTS = 801


def plot_turing_band(
    model: TwoSpeciesModel,
    ax: Axes,
    *,
    spacing: float | None = None,
    simulated: tuple[np.ndarray, np.ndarray] | None = None,
) -> Axes:
    """Largest growth rate against the wave number, the waves that grow shaded.

    Args:
        model: two species whose reaction decays without diffusion.
        ax: the axes.
        spacing: mesh width of a grid of one dimension; the rates of its second-order Laplacian,
            ``q = (4 / dx^2) sin^2(k dx / 2)``, are a second line up to its shortest wave.
        simulated: wave numbers and measured rates, drawn as points.

    Raises:
        InputError: for a reaction that grows without diffusion, a mesh width that is not positive,
            and points of which one is not finite or has no partner.
    """
    band = model.turing_band()
    if spacing is not None and not 0 < spacing < math.inf:
        raise InputError("a positive mesh width", spacing, "pass spacing=1.0")
    end = _longest(model, band, simulated)
    k = np.linspace(0, end, _POINTS)
    if band is not None:
        ax.axvspan(math.sqrt(band[0]), math.sqrt(band[1]), color=DAMPING(1), zorder=0)
    ax.axhline(0, color=FAINT, linewidth=0.8)
    ax.plot(k, _rates(model, k**2), color=AFTER_COLOUR, linewidth=1.8, label="closed form, |k|²")
    if spacing is not None:
        w = np.linspace(0, min(end, math.pi / spacing), _POINTS)
        q = 4 / spacing**2 * np.sin(w * spacing / 2) ** 2
        look: dict[str, Any] = {"color": TEST_COLOUR, "linewidth": 1.6}
        ax.plot(w, _rates(model, q), ls="dashed", label=f"on a grid, dx = {spacing:.3g}", **look)
    if simulated is not None:
        ax.plot(*simulated, "o", color=INK, markersize=4, fillstyle="none", label="simulated")
    ax.set_xlim(0, end)
    ax.legend(frameon=False, fontsize=NOTE)
    return tidy(
        ax,
        title=f"{model.name}: {_words(band)}",
        xlabel="wave number |k|",
        ylabel="growth rate",
        grid="y",
    )


def _rates(model: TwoSpeciesModel, squares: np.ndarray) -> np.ndarray:
    """Spectral abscissas at squared wave numbers."""
    return np.asarray(model.eigenvalues(squares).real.max(axis=-1))


def _words(band: tuple[float, float] | None) -> str:
    if band is None:
        return "no wave grows"
    low, high = (signed(math.sqrt(end)) for end in band)
    return f"waves with {low} < |k| < {high} grow"


def _longest(
    model: TwoSpeciesModel,
    band: tuple[float, float] | None,
    simulated: tuple[np.ndarray, np.ndarray] | None,
) -> float:
    """The right end of the axis: beyond the band, and as far as was simulated."""
    rate = float(np.abs(np.linalg.eigvals(model.jacobian)).max())
    end = 1.4 * math.sqrt(band[1] if band else rate / min(model.diffusivities))
    if simulated is None:
        return end
    k, rates = (np.asarray(part, dtype=float) for part in simulated)
    if k.shape != rates.shape or k.ndim != 1 or not np.isfinite(k + rates).all():
        raise InputError(
            "as many wave numbers as rates, all finite",
            f"shapes {k.shape} and {rates.shape}",
            "leave out modes that were not measured",
        )
    return max(end, 1.05 * float(k.max(initial=0.0)))
