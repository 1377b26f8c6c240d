"""The three pictures of an inspection: spectra over the region, margins, symbol over frequency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.backend import Array, to_numpy
from analysis.coupling import Coupling
from analysis.couplings import Full
from analysis.frozen import frozen_symbol_eigenvalues
from analysis.grid import Grid
from analysis.spectra import singular_values
from pdenet.files import write_atomic
from pdenet.inspection.hints import gains_of
from pdenet.inspection.theory import affine
from pdenet.inspection.verdict import Verdict, step_verdicts
from pdenet.inspection.wave_steps import Wave, wave_parts
from pdenet.integrators.additive import IMEX_EULER
from pdenet.layers.terms import DiffusionReactionTerm, ResidualTerm
from pdenet.layers.time_step import TimeStep
from pdenet.layers.wave_terms import HamiltonianTerm, SecondOrderTerm
from pdenet.operators.conv import PointwiseConv2d


def cloud(verdict: Verdict) -> np.ndarray:
    """Eigenvalues times step size of a step with frozen coefficients, complex ``(n,)``.

    Full slopes ``L`` in every unit, the periodic symbol at the size of the features: for a
    monotone field ``-h sigma((L S)^(1/2) K)^2``, for a residual one ``h L eig(K2^ S K1^)``, for a
    plain reaction ``h eig(-D^* S D + J_R)`` (theory §4.7, §4.10c), for oscillating fields ``+-i h
    omega`` (theory §4.4). A picture of the spectrum, not a bound.
    """
    step, size = verdict.layer.module, verdict.layer.size
    assert isinstance(step, TimeStep)
    if isinstance(step.term, HamiltonianTerm | SecondOrderTerm):
        return _oscillations(step, step.term, size)
    if verdict.theory.scaled is not None:
        values = to_numpy(singular_values(verdict.theory.scaled, Grid(size)))
        return np.asarray(-step.step_size * values**2, dtype=complex)
    term, frequencies = step.term, Grid(size).half_frequencies()[0]
    if isinstance(term, ResidualTerm):
        first, second = (op.coupling().double() for op in (term.first, term.second))
        gains = gains_of(term.first, term.normalization)
        inner, outer = (
            np.asarray(to_numpy(_dense_symbol(c, frequencies)))
            for c in (first.scale_rows(gains), second)
        )
        return np.asarray(step.step_size * term.slope_bound * np.linalg.eigvals(outer @ inner))
    assert isinstance(term, DiffusionReactionTerm)
    rates = gains_of(term.reaction_operator, term.reaction_normalization)
    reaction = term.reaction_operator.coupling().double().scale_rows(term.slope_bound * rates)
    slope = 1.0 if term.diffusion == "linear" else term.slope_bound
    scaling = slope * gains_of(term.diffusion_operator, term.diffusion_normalization)
    diffusion = term.diffusion_operator.coupling().double()
    if isinstance(term.reaction_operator, PointwiseConv2d):
        jacobian = to_numpy(reaction.dense_weight())[:, :, 0, 0]
        values = frozen_symbol_eigenvalues(diffusion, scaling, jacobian, frequencies)
    else:
        D = np.asarray(to_numpy(_dense_symbol(diffusion, frequencies)))
        R = np.asarray(to_numpy(_dense_symbol(reaction, frequencies)))
        rows = scaling.numpy()[:, None]
        values = np.linalg.eigvals(R - D.conj().swapaxes(1, 2) @ (rows * D)).ravel()
    return np.asarray(step.step_size * values)


def _oscillations(step: TimeStep, term: Wave, size: tuple[int, int]) -> np.ndarray:
    """``+-i h omega``, ``omega^2`` the eigenvalues of the product of the two Gram symbols."""
    frequencies = Grid(size).half_frequencies()[0]
    product: np.ndarray | None = None
    for operator, normalization in wave_parts(term):
        rates = term.slope_bound * gains_of(operator, normalization).clamp(min=0)
        scaled = operator.coupling().double().scale_rows(rates.sqrt())
        K = np.asarray(to_numpy(_dense_symbol(scaled, frequencies)))
        gram = K.conj().swapaxes(1, 2) @ K
        product = gram if product is None else product @ gram
    assert product is not None
    omega = np.sqrt(np.maximum(np.linalg.eigvals(product).real.ravel(), 0.0))
    return np.concatenate([1j * step.step_size * omega, -1j * step.step_size * omega])


def _dense_symbol(coupling: Coupling, frequencies: np.ndarray) -> Array:
    """One matrix a frequency in the basis of the channels, ``(F, c_out, c_in)``."""
    return Full(coupling.dense_weight()).symbol_at(frequencies).blocks()[:, 0]


def draw_figures(folder: Path, verdicts: Sequence[Verdict]) -> list[str]:
    """Write the pictures of an inspection; returns their paths.

    ``spectra.png``: spectra times step size over the stability region; ``margins.png``: step over
    limit; ``symbol.png``: norm of the symbol of the layer furthest beyond its limit.
    """
    # Pictures are slow to import and drawn last.
    from analysis.plots.figures import figure_bytes
    from analysis.plots.layers import plot_margins, plot_symbol_norm
    from analysis.plots.regions import plot_spectra_over_region
    from analysis.plots.style import rows_height

    steps = step_verdicts(verdicts)
    if not steps:
        return []
    rows = margin_rows(verdicts)
    height = rows_height(len(steps))
    files = {
        "margins.png": figure_bytes(lambda ax: plot_margins(rows, ax), width=9.0, height=height),
    }
    method = region_method(steps[0])
    if method is not None:
        clouds = {short_name(v.layer.name): cloud(v) for v in steps}
        files["spectra.png"] = figure_bytes(
            lambda ax: plot_spectra_over_region(method, clouds, ax), width=9.0, height=height
        )
    monotone = [v for v in steps if v.theory.scaled is not None]
    if monotone:
        worst = max(monotone, key=lambda v: (v.theory.curvature or 0.0) * (v.theory.step_size or 0))
        scaled = worst.theory.scaled
        assert scaled is not None
        limit = float(np.sqrt(_curvature_limit(worst)))
        files["symbol.png"] = figure_bytes(
            lambda ax: plot_symbol_norm(scaled, ax, limit=limit if np.isfinite(limit) else None),
            width=6.4,
            height=5.2,
        )
    paths = []
    for name, content in files.items():
        write_atomic(folder / name, content)
        paths.append(str(folder / name))
    return paths


def region_method(verdict: Verdict) -> str | None:
    """The method whose stability region the spectrum of a step is drawn over.

    Of IMEX Euler it is that of the explicit part; None for other methods of two parts and for
    multistep methods, whose steps are no function of one eigenvalue.
    """
    step = verdict.layer.module
    if not isinstance(step, TimeStep) or not affine(step):
        return None
    if step.method == IMEX_EULER:
        return "euler"
    return None if step.tableau is None else step.method


def margin_rows(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Rows of the margin picture: the JSON of each step under its short name."""
    steps = step_verdicts(verdicts)
    return [v.to_json("", None) | {"name": short_name(v.layer.name)} for v in steps]


def _curvature_limit(verdict: Verdict) -> float:
    """Largest curvature that the step of a layer admits, ``2 r_cc / h``; infinite if none."""
    theory = verdict.theory
    if not theory.nonexpansive_limit or theory.curvature is None or theory.step_size is None:
        return np.inf
    return theory.nonexpansive_limit * theory.curvature / theory.step_size


def short_name(name: str) -> str:
    """A layer name without the parts that every layer shares.

    >>> short_name("blocks.0.steps.2"), short_name("connectors.1")
    ('block 0 step 2', 'connector 1')
    """
    words = name.split(".")
    if len(words) >= 4 and words[0] == "blocks" and words[2] == "steps":
        return " ".join([f"block {words[1]} step {words[3]}", *words[4:]])
    if len(words) == 2 and words[0] == "connectors":
        return f"connector {words[1]}"
    return name
