"""Steps of fields that contract: parabolic, diffusion and reaction, by every kind of method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analysis.backend import to_numpy
from analysis.certificates import certified_norm
from analysis.dynamics import (
    STATEMENTS,
    ReactionConstants,
    diffusion_reaction_growth,
    imex_euler_growth,
    lipschitz_growth,
    parabolic_growth,
    parabolic_limits,
    reaction_constants,
    reaction_growth,
)
from analysis.grid import Grid
from analysis.methods import tableau
from analysis.spectra import singular_values
from analysis.splitting import SplittingMethod
from analysis.step_growth import additive_growth
from analysis.tableau import ButcherTableau, ImexTableau
from pdenet.inspection.hints import Part, full_slope_points, gains_of, overshoot_directions
from pdenet.inspection.reader import Layer
from pdenet.inspection.theory import (
    BOUNDED,
    NON_EXPANSIVE,
    Curvature,
    Theory,
    certified,
    curvature_of,
    norm_at,
    slopes_of,
)
from pdenet.integrators.additive import IMEX_EULER
from pdenet.integrators.splitting import method_of_order
from pdenet.layers.terms import DiffusionReactionTerm, ParabolicTerm
from pdenet.layers.time_step import TimeStep
from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import PointwiseConv2d


def parabolic_step(layer: Layer, step: TimeStep, term: ParabolicTerm) -> Theory:
    """``y' = -K^T sigma(S K y + b)`` by an explicit or a diagonally implicit method."""
    parts = [(term.operator, term.normalization)]
    table = step.tableau
    assert table is not None  # what is neither explicit nor solved for is no method of this field
    name = "parabolic" if table.explicit else "proximal"
    return _monotone(layer, step, parts, [slopes_of(term)], table, name)


def diffusion_reaction_step(layer: Layer, step: TimeStep, term: DiffusionReactionTerm) -> Theory:
    """``y' = -D^T sigma(N(D y + b)) + R(y)`` by a method of one or of two parts."""
    if step.family == "explicit":
        if term.reaction == "plain":
            return _plain_explicit(layer, step, term)
        parts = [diffusion_part(term), reaction_part(term)]
        slopes = [diffusion_slopes(term), slopes_of(term)]
        assert step.tableau is not None
        return _monotone(layer, step, parts, slopes, step.tableau, "stacked")
    if step.method == IMEX_EULER:
        return _imex_euler(layer, step, term)
    if step.family == "splitting":
        return _splitting(layer, step, term)
    assert isinstance(step.exact_method, ImexTableau)
    constants = (reaction_of(term).lipschitz, diffusion_of(term).lipschitz)
    growth = additive_growth(step.exact_method, step.step_size, constants)
    return _bounded(layer, step, term, growth, "stages")


def diffusion_part(term: DiffusionReactionTerm) -> Part:
    """``D`` and its normalisation."""
    return term.diffusion_operator, term.diffusion_normalization


def reaction_part(term: DiffusionReactionTerm) -> Part:
    """``W`` and its normalisation."""
    return term.reaction_operator, term.reaction_normalization


def diffusion_slopes(term: DiffusionReactionTerm) -> tuple[float, float]:
    """Slopes behind ``D``: those of the activation, one where the diffusion is linear."""
    return (1.0, 1.0) if term.diffusion == "linear" else slopes_of(term)


def diffusion_of(term: DiffusionReactionTerm) -> Curvature:
    """Curvature of the diffusion alone."""
    return curvature_of([diffusion_part(term)], [diffusion_slopes(term)])


def reaction_of(term: DiffusionReactionTerm) -> ReactionConstants:
    """One-sided and plain Lipschitz constant of the reaction (theory §4.6)."""
    if term.reaction == "dissipative":
        curvature = curvature_of([reaction_part(term)], [slopes_of(term)])
        return ReactionConstants(curvature.negative, curvature.lipschitz)
    operator, normalization = reaction_part(term)
    gains = gains_of(operator, normalization)
    low, high = slopes_of(term)
    if isinstance(operator, PointwiseConv2d) and low >= 0:
        matrix = to_numpy(operator.coupling().dense_weight())[:, :, 0, 0]
        return reaction_constants(np.asarray(matrix), gains.numpy(), high)
    lipschitz = high * certified(operator, gains).upper
    return ReactionConstants(lipschitz, lipschitz)


def _monotone(
    layer: Layer,
    step: TimeStep,
    parts: Sequence[Part],
    slopes: Sequence[tuple[float, float]],
    table: ButcherTableau,
    statement: str,
) -> Theory:
    """A field ``-K^T sigma(S K y + b)`` with one or several stacked operators (theory §4.1)."""
    found = curvature_of(parts, slopes)
    h, limits, warnings = step.step_size, None, list(found.warnings)
    if not found.negative:
        limits = parabolic_limits(table, found.positive)
        if limits.nonexpansive == 0:
            warnings.append(f"{step.method} has no non-expansive step (r_cc = 0)")
    inside = limits is not None and h <= limits.nonexpansive
    if table.explicit or inside:
        growth = parabolic_growth(table, h, found.positive, found.negative)
    else:
        growth = additive_growth(table, h, (0.0, found.lipschitz))
    if found.negative:
        statement = "symmetric growth" if table.stages == 1 else "lipschitz growth"
    operator = parts[0][0]
    activated = [part for part, slope in zip(parts, slopes, strict=True) if slope != (1.0, 1.0)]
    return Theory(
        coupling=operator.name,
        block="parabolic" if len(parts) == 1 else "diffusion-reaction",
        method=step.method,
        step_size=h,
        norm=norm_at(found.coupling, layer, operator.boundary),
        norm_certified=certified_norm(found.coupling, boundary=operator.boundary).upper,
        curvature=found.positive,
        linear_limit=None if limits is None else limits.linear,
        nonexpansive_limit=None if limits is None else limits.nonexpansive,
        claim=NON_EXPANSIVE,
        proved=inside,
        growth_certified=growth,
        statement=STATEMENTS[statement],
        warnings=tuple(warnings),
        directions=overshoot_directions(parts, found.rates, layer.features),
        points=full_slope_points(activated, layer.features),
        scaled=found.scaled,
    )


def _of_diffusion(theory: Theory, layer: Layer, operator: StencilOperator) -> Theory:
    """The norms are those of the operator that is named, whatever part has the limit."""
    return replace(
        theory,
        block="diffusion-reaction",
        coupling=operator.name,
        norm=norm_at(operator.coupling(), layer, operator.boundary),
        norm_certified=certified(operator).upper,
    )


def _bounded(
    layer: Layer, step: TimeStep, term: DiffusionReactionTerm, growth: float, statement: str
) -> Theory:
    """A step that claims its certified growth and nothing more."""
    found = diffusion_of(term)
    theory = Theory(
        coupling=term.diffusion_operator.name,
        block="diffusion-reaction",
        method=step.method,
        step_size=step.step_size,
        curvature=found.positive,
        claim=BOUNDED,
        growth_certified=growth,
        statement=STATEMENTS[statement],
        warnings=found.warnings,
    )
    return _of_diffusion(theory, layer, term.diffusion_operator)


def _imex_euler(layer: Layer, step: TimeStep, term: DiffusionReactionTerm) -> Theory:
    """``(I + h D^T D)^{-1} (y + h R(y))``, or the proximal map of nonlinear diffusion in front."""
    h, smallest = step.step_size, _sigma_min(term, layer)
    if term.reaction == "plain":
        growth = imex_euler_growth(h, smallest, reaction_growth(h, reaction_of(term)))
        return _bounded(layer, step, term, growth, "implicit plain")
    table = tableau("euler")
    parts, slopes = [reaction_part(term)], [slopes_of(term)]
    theory = _monotone(layer, step, parts, slopes, table, "implicit dissipative")
    growth = imex_euler_growth(h, smallest, theory.growth_certified)
    # The limit is that of the reaction alone.
    theory = replace(theory, growth_certified=growth)
    return _of_diffusion(theory, layer, term.diffusion_operator)


def _splitting(layer: Layer, step: TimeStep, term: DiffusionReactionTerm) -> Theory:
    """Flows in turn: of the diffusion, exact or by a step, and of the reaction by a step."""
    method = step.exact_method
    assert isinstance(method, SplittingMethod)
    table = tableau(method_of_order(method.order))
    diffusion, h = diffusion_of(term), step.step_size
    growth, limit = 1.0, math.inf
    dissipative = curvature_of([reaction_part(term)], [slopes_of(term)])
    reaction = reaction_of(term)
    for part, fraction in method.flows:
        time = abs(float(fraction)) * h
        if part == "implicit" and term.exact_flow:
            continue
        if part == "explicit" and term.reaction == "plain":
            growth *= _reaction_flow(table, time, reaction)
            continue
        found = diffusion if part == "implicit" else dissipative
        growth *= parabolic_growth(table, time, found.positive, found.negative)
        own = 0.0
        if not found.negative:
            own = parabolic_limits(table, found.positive).nonexpansive
        limit = min(limit, own * h / time)
    if term.reaction == "plain":
        return _bounded(layer, step, term, growth, "stages")
    negative = diffusion.negative or dissipative.negative
    theory = Theory(
        coupling=term.diffusion_operator.name,
        block="diffusion-reaction",
        method=step.method,
        step_size=h,
        curvature=max(diffusion.positive, dissipative.positive),
        nonexpansive_limit=None if negative else limit,
        claim=NON_EXPANSIVE,
        proved=not negative and h <= limit,
        growth_certified=growth,
        statement=STATEMENTS["lipschitz growth" if negative else "splitting"],
        warnings=(*diffusion.warnings, *dissipative.warnings),
        directions=overshoot_directions([diffusion_part(term)], diffusion.rates, layer.features),
        points=full_slope_points([reaction_part(term)], layer.features),
    )
    return _of_diffusion(theory, layer, term.diffusion_operator)


def _reaction_flow(table: ButcherTableau, time: float, reaction: ReactionConstants) -> float:
    """Growth of one explicit step of the reaction ``sigma(N(W y + b))`` alone."""
    if table.stages == 1:
        return reaction_growth(time, reaction)
    return lipschitz_growth(table, time * reaction.lipschitz)


def _sigma_min(term: DiffusionReactionTerm, layer: Layer) -> float:
    """Smallest singular value of a linear periodic diffusion at the size of the features.

    Zero, which is never too large, for other boundaries and for nonlinear diffusion.
    """
    operator = term.diffusion_operator
    if term.diffusion != "linear" or operator.boundary != "periodic":
        return 0.0
    values = singular_values(operator.coupling().double(), Grid(layer.size))
    return float(to_numpy(values)[-1])


def _plain_explicit(layer: Layer, step: TimeStep, term: DiffusionReactionTerm) -> Theory:
    """Diffusion plus the reaction ``sigma(N(W y + b))``, both explicit (theory §4.10b, §4.6)."""
    diffusion, reaction, h = diffusion_of(term), reaction_of(term), step.step_size
    assert step.tableau is not None
    if step.tableau.stages == 1 and not diffusion.negative:
        growth = diffusion_reaction_growth(h, diffusion.positive, reaction)
        return _bounded(layer, step, term, growth, "reaction")
    lipschitz = diffusion.lipschitz + reaction.lipschitz
    growth = lipschitz_growth(step.tableau, h * lipschitz)
    return _bounded(layer, step, term, growth, "lipschitz growth")
