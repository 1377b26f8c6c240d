"""What theory says of each layer: norms, limits, certified growth and the claim it makes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from analysis.backend import to_numpy
from analysis.certificates import CertifiedNorm, certified_norm
from analysis.coupling import Coupling
from analysis.dynamics import (
    STATEMENTS,
    diffusion_reaction_growth,
    imex_euler_growth,
    lipschitz_growth,
    parabolic_growth,
    parabolic_limits,
    pooling_norm,
    reaction_constants,
    reaction_growth,
)
from analysis.errors import InputError
from analysis.grid import Grid
from analysis.spectra import NormInterval, norm, singular_values
from analysis.stacked import Stacked
from analysis.stencils import extension_norm
from pdenet.inspection.hints import Part, full_slope_points, gains_of, overshoot_directions
from pdenet.inspection.reader import Layer
from pdenet.layers.block import TimeStep
from pdenet.layers.connector import Connector
from pdenet.layers.terms import DiffusionReactionTerm, ParabolicTerm, ResidualTerm
from pdenet.operators.base import StencilOperator

NON_EXPANSIVE = "non-expansive"
BOUNDED = "growth below the certified growth"


@dataclass(frozen=True, eq=False)
class Theory:
    """What theory says of one layer; infinite and inapplicable limits are ``inf`` and None.

    Attributes:
        coupling: name of the coupling of its operator.
        block: the kind of its field (parabolic, residual, diffusion-reaction) or of the layer.
        method: of a time step, else None.
        step_size: of a time step, else None.
        norm: interval of ``||K||`` at the size of the features; None for a product of operators.
        norm_certified: upper end for all sizes; None for a product of operators.
        curvature: ``Lambda = L ||S^(1/2) K||^2``, certified; None where the field is not monotone.
        linear_limit, nonexpansive_limit: step limits, None where they do not apply.
        claim: ``NON_EXPANSIVE`` or ``BOUNDED``.
        proved: whether the claim of non-expansion is a theorem for this step.
        growth_certified: bound of the growth of distances.
        statement: the theorem the verdict rests on.
        warnings: sentences, among them the channels with negative gains.
        directions: perturbations worth trying, ``(N, C, H, W)`` or None.
        points: inputs worth trying, ``(P, C, H, W)`` or None.
        scaled: ``(L S)^(1/2) K`` of a monotone field, whose squared norm is ``curvature``.
    """

    coupling: str
    block: str
    growth_certified: float
    statement: str
    claim: str = BOUNDED
    proved: bool = True
    method: str | None = None
    step_size: float | None = None
    norm: NormInterval | None = None
    norm_certified: float | None = None
    curvature: float | None = None
    linear_limit: float | None = None
    nonexpansive_limit: float | None = None
    warnings: tuple[str, ...] = ()
    directions: Tensor | None = field(default=None, repr=False)
    points: Tensor | None = field(default=None, repr=False)
    scaled: Coupling | None = field(default=None, repr=False)


def theory_of(layer: Layer) -> Theory:
    """Limits and certified growth of a layer, by the theorem that fits it."""
    module = layer.module
    if isinstance(module, TimeStep):
        return _of_step(layer, module)
    if isinstance(module, Connector):
        return _of_connector(layer, module)
    assert isinstance(module, nn.Linear)
    height, width = layer.size
    size = float(torch.linalg.matrix_norm(module.weight, 2))
    return Theory(
        coupling="pointwise",
        block="classifier",
        norm=NormInterval(size, size, "singular values of the matrix"),
        norm_certified=size,
        growth_certified=size / math.sqrt(height * width),
        statement=STATEMENTS["classifier"],
    )


def _of_step(layer: Layer, step: TimeStep) -> Theory:
    term = step.term
    if isinstance(term, ParabolicTerm):
        return _monotone(layer, step, [(term.operator, term.normalization)], "parabolic")
    if isinstance(term, DiffusionReactionTerm) and term.reaction == "dissipative":
        return _dissipative(layer, step, term)
    if isinstance(term, DiffusionReactionTerm):
        return _plain_reaction(layer, step, term)
    if isinstance(term, ResidualTerm):
        return _residual(layer, step, term)
    raise InputError("a known term", type(term).__name__, "add its theorem to the cross-check")


def _monotone(
    layer: Layer,
    step: TimeStep,
    parts: list[Part],
    statement: str,
    *,
    linear_diffusion: bool = False,
    sigma_min: float = 0.0,
) -> Theory:
    """A field ``-K^T sigma(S K y + b)`` with one or several stacked operators (theory §4.1)."""
    slopes, activated = [step.term.slope_bound] * len(parts), parts
    if linear_diffusion:
        slopes[0], activated = 1.0, parts[1:]
    couplings = [operator.coupling() for operator, _ in parts]
    coupling = couplings[0] if len(parts) == 1 else Stacked(tuple(couplings))
    scaled = zip(parts, slopes, strict=True)
    gains = torch.cat([gains_of(*part) * slope for part, slope in scaled])
    boundary = parts[0][0].boundary
    positive = certified_norm(coupling, row_scaling=gains.clamp(min=0), boundary=boundary)
    negative = float(torch.clamp(-gains, min=0).max())
    curvature, negative_curvature = positive.upper**2, 0.0
    warnings = []
    if negative > 0:
        flipped = certified_norm(coupling, row_scaling=(-gains).clamp(min=0), boundary=boundary)
        negative_curvature = flipped.upper**2
        channels = torch.nonzero(gains < 0).flatten().tolist()
        warnings.append(_negative_gains(channels, float(gains.min())))
    explicit = "euler" if step.tableau is None else step.method
    growth = parabolic_growth(explicit, step.step_size, curvature, negative_curvature)
    if step.tableau is None:
        growth = imex_euler_growth(step.step_size, sigma_min, growth)
    limits = None if negative > 0 else parabolic_limits(explicit, curvature)
    inside = limits is not None and step.step_size <= limits.nonexpansive
    if limits is not None and limits.nonexpansive == 0:
        warnings.append(f"{step.method} has no non-expansive step (r_cc = 0)")
    factor = extension_norm(coupling.radius, boundary)
    if factor > 1:
        warnings.append(f"{boundary} padding: the certificate carries the factor {factor:.3g}")
    plain = certified_norm(coupling, boundary=boundary)
    return Theory(
        coupling=parts[0][0].name,
        block="parabolic" if len(parts) == 1 and statement == "parabolic" else "diffusion-reaction",
        method=step.method,
        step_size=step.step_size,
        norm=_norm_at(coupling, layer, boundary),
        norm_certified=plain.upper,
        curvature=curvature,
        linear_limit=None if limits is None else limits.linear,
        nonexpansive_limit=None if limits is None else limits.nonexpansive,
        claim=NON_EXPANSIVE,
        proved=inside,
        growth_certified=growth,
        statement=STATEMENTS[_beyond(step) if negative > 0 else statement],
        warnings=tuple(warnings),
        directions=overshoot_directions(parts, gains, layer.features),
        points=full_slope_points(activated, layer.features),
        scaled=coupling.double().scale_rows(gains.clamp(min=0).sqrt()),
    )


def _beyond(step: TimeStep) -> str:
    """The statement behind the certified growth where the theorem does not apply."""
    euler = step.tableau is None or step.tableau.stages == 1
    return "symmetric growth" if euler else "lipschitz growth"


def _negative_gains(channels: list[int], smallest: float) -> str:
    shown = ", ".join(map(str, channels[:8])) + (", ..." if len(channels) > 8 else "")
    plural = "s" if len(channels) > 1 else ""
    return (
        f"negative gain{plural} in channel{plural} {shown} (smallest {smallest:.3g}): "
        "anti-diffusive, the theorem does not apply"
    )


def _norm_at(coupling: Coupling, layer: Layer, boundary: str) -> NormInterval:
    return norm(coupling, Grid(layer.size, boundary=boundary))


def _dissipative(layer: Layer, step: TimeStep, term: DiffusionReactionTerm) -> Theory:
    diffusion = (term.diffusion_operator, term.diffusion_normalization)
    reaction = (term.reaction_operator, term.reaction_normalization)
    if step.tableau is None:
        operator = term.diffusion_operator
        smallest = _sigma_min(operator, layer)
        theory = _monotone(layer, step, [reaction], "implicit dissipative", sigma_min=smallest)
        # The limit is that of the reaction; the norms are those of the operator that is named.
        return replace(
            theory,
            coupling=operator.name,
            norm=_norm_at(operator.coupling(), layer, operator.boundary),
            norm_certified=_certified(operator, None, layer).upper,
        )
    linear = term.diffusion == "linear"
    return _monotone(layer, step, [diffusion, reaction], "stacked", linear_diffusion=linear)


def _sigma_min(operator: StencilOperator, layer: Layer) -> float:
    """Smallest singular value of a periodic operator at the size of the features."""
    values = singular_values(operator.coupling().double(), Grid(layer.size))
    return float(to_numpy(values)[-1])


def _plain_reaction(layer: Layer, step: TimeStep, term: DiffusionReactionTerm) -> Theory:
    """Diffusion plus the reaction ``sigma(N(W y + b))`` (theory §4.10b, §4.6)."""
    diffusion, h = term.diffusion_operator, step.step_size
    gains = gains_of(diffusion, term.diffusion_normalization)
    slope = 1.0 if term.diffusion == "linear" else term.slope_bound
    boundary = diffusion.boundary
    coupling = diffusion.coupling()
    upper = certified_norm(coupling, row_scaling=gains.clamp(min=0) * slope, boundary=boundary)
    matrix = to_numpy(term.reaction_operator.coupling().dense_weight())[:, :, 0, 0]
    scaling = gains_of(term.reaction_operator, term.reaction_normalization).numpy()
    reaction = reaction_constants(matrix, scaling, term.slope_bound)
    warnings, negative = [], 0.0
    if bool((gains < 0).any()):
        anti = (-gains).clamp(min=0) * slope
        flipped = certified_norm(coupling, row_scaling=anti, boundary=boundary)
        negative = flipped.upper**2
        channels = torch.nonzero(gains < 0).flatten().tolist()
        warnings.append(_negative_gains(channels, float(gains.min())))
    curvature, statement = upper.upper**2, "reaction"
    if step.tableau is None:
        smallest = _sigma_min(diffusion, layer)
        growth = imex_euler_growth(h, smallest, reaction_growth(h, reaction))
        statement = "implicit plain"
    elif step.tableau.stages == 1 and not negative:
        growth = diffusion_reaction_growth(h, curvature, reaction)
    else:
        lipschitz = max(curvature, negative) + reaction.lipschitz
        growth, statement = lipschitz_growth(step.method, h * lipschitz), "lipschitz growth"
    return Theory(
        coupling=diffusion.name,
        block="diffusion-reaction",
        method=step.method,
        step_size=h,
        norm=_norm_at(coupling, layer, boundary),
        norm_certified=certified_norm(coupling, boundary=boundary).upper,
        curvature=curvature,
        growth_certified=growth,
        statement=STATEMENTS[statement],
        warnings=tuple(warnings),
    )


def _residual(layer: Layer, step: TimeStep, term: ResidualTerm) -> Theory:
    gains = gains_of(term.first, term.normalization)
    first = _certified(term.first, gains, layer)
    second = _certified(term.second, None, layer)
    lipschitz = term.slope_bound * first.upper * second.upper
    return Theory(
        coupling=term.first.name,
        block="residual",
        method=step.method,
        step_size=step.step_size,
        growth_certified=lipschitz_growth(step.method, step.step_size * lipschitz),
        statement=STATEMENTS["residual"],
    )


def _certified(operator: StencilOperator, gains: Tensor | None, layer: Layer) -> CertifiedNorm:
    """Certificate of ``diag(gains) K``; the gains may have any sign."""
    scaling = None if gains is None else gains**2
    return certified_norm(operator.coupling(), row_scaling=scaling, boundary=operator.boundary)


def _of_connector(layer: Layer, connector: Connector) -> Theory:
    operator = connector.operator
    gains = gains_of(operator, connector.normalization)
    growth = connector.slope_bound * _certified(operator, gains, layer).upper
    if isinstance(connector.pooling, nn.AvgPool2d):
        growth *= pooling_norm("average", 2)
    elif isinstance(connector.pooling, nn.MaxPool2d):
        growth *= pooling_norm("max", 2)
    coupling = operator.coupling()
    return Theory(
        coupling=operator.name,
        block=layer.kind,
        norm=_norm_at(coupling, layer, operator.boundary),
        norm_certified=_certified(operator, None, layer).upper,
        growth_certified=growth,
        statement=STATEMENTS["layer"],
    )
