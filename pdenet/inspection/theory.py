"""What theory says of a layer, and the norms it is made of: certified, signed and scaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from analysis.certificates import CertifiedNorm, certified_norm
from analysis.coupling import Coupling
from analysis.grid import Grid
from analysis.spectra import NormInterval, norm
from analysis.stacked import Stacked
from analysis.stencils import extension_norm
from pdenet.inspection.hints import Part, gains_of
from pdenet.inspection.reader import Layer
from pdenet.layers.activations import SLOPES
from pdenet.layers.normalization import affine_at_inference
from pdenet.layers.terms import Term
from pdenet.operators.base import StencilOperator

NON_EXPANSIVE = "non-expansive"
FROZEN = "no mode of frozen coefficients grows exponentially"
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
        claim: ``NON_EXPANSIVE``, ``FROZEN`` or ``BOUNDED``.
        proved: whether the claim is a theorem for this step.
        applicable: whether any theorem applies to it.
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
    applicable: bool = True
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

    @property
    def limit(self) -> float | None:
        """The step limit that the claim rests on, None where it has none."""
        return self.linear_limit if self.claim == FROZEN else self.nonexpansive_limit


@dataclass(frozen=True, eq=False)
class Curvature:
    """The certified range of the frozen Jacobians of ``-K^T sigma(S K y + b)``.

    They are symmetric with eigenvalues in ``[-positive, negative]``.

    Attributes:
        coupling: ``K``, of several parts stacked.
        positive: ``L ||S_+^(1/2) K||^2``, of the rates that contract.
        negative: the same of the rates that expand: negative gains, or slopes below zero.
        rates: largest rate of every row, or the most negative one where none is positive.
        warnings: the channels and slopes that expand, and what the certificate carries.
    """

    coupling: Coupling
    positive: float
    negative: float
    rates: Tensor
    warnings: tuple[str, ...]

    @property
    def lipschitz(self) -> float:
        """Lipschitz constant of the field."""
        return max(self.positive, self.negative)

    @property
    def scaled(self) -> Coupling:
        """``S_+^(1/2) K`` with its slopes, whose squared norm is ``positive``."""
        return self.coupling.double().scale_rows(self.rates.clamp(min=0).sqrt())


def curvature_of(parts: Sequence[Part], slopes: Sequence[tuple[float, float]]) -> Curvature:
    """Certified curvature of one operator or of several stacked ones (theory §4.1, §4.10a).

    Args:
        parts: operators with their normalisations, affine at inference.
        slopes: smallest and largest slope behind each; ``(1, 1)`` where nothing is activated.
    """
    couplings = [operator.coupling() for operator, _ in parts]
    coupling = couplings[0] if len(parts) == 1 else Stacked(tuple(couplings))
    boundary = parts[0][0].boundary
    gains = [gains_of(*part) for part in parts]
    edges = [
        torch.stack((gain * low, gain * high))
        for gain, (low, high) in zip(gains, slopes, strict=True)
    ]
    highest = torch.cat([edge.amax(dim=0) for edge in edges])
    lowest = torch.cat([edge.amin(dim=0) for edge in edges])
    positive = certified_norm(coupling, row_scaling=highest.clamp(min=0), boundary=boundary).upper
    warnings, negative, all_gains = [], 0.0, torch.cat(gains)
    if bool((lowest < 0).any()):
        flipped = certified_norm(coupling, row_scaling=(-lowest).clamp(min=0), boundary=boundary)
        negative = flipped.upper**2
        channels = torch.nonzero(all_gains < 0).flatten().tolist()
        if channels:
            warnings.append(_negative_gains(channels, float(all_gains.min())))
        falling = min(low for low, _ in slopes)
        if falling < 0:
            warnings.append(
                f"slopes of the activation reach {falling:.3g}: anti-diffusive there, the theorem "
                "does not apply"
            )
    factor = extension_norm(coupling.radius, boundary)
    if factor > 1:
        warnings.append(f"{boundary} padding: the certificate carries the factor {factor:.3g}")
    rates = torch.where(highest > 0, highest, lowest)
    return Curvature(coupling, positive**2, negative, rates, tuple(warnings))


def slopes_of(term: Term) -> tuple[float, float]:
    """The smallest and the largest slope of the activation of a term."""
    return SLOPES[term.activation_name]


def affine(module: nn.Module) -> bool:
    """Whether every normalisation in a module is affine at inference."""
    norms = [
        child
        for name, child in module.named_modules()
        if name.rpartition(".")[2].endswith("normalization")
    ]
    return all(affine_at_inference(child) for child in norms)


def _negative_gains(channels: list[int], smallest: float) -> str:
    shown = ", ".join(map(str, channels[:8])) + (", ..." if len(channels) > 8 else "")
    plural = "s" if len(channels) > 1 else ""
    return (
        f"negative gain{plural} in channel{plural} {shown} (smallest {smallest:.3g}): "
        "anti-diffusive, the theorem does not apply"
    )


def norm_at(coupling: Coupling, layer: Layer, boundary: str) -> NormInterval:
    """Interval of ``||K||`` at the size of the features."""
    return norm(coupling, Grid(layer.size, boundary=boundary))


def certified(operator: StencilOperator, gains: Tensor | None = None) -> CertifiedNorm:
    """Certificate of ``diag(gains) K`` for all sizes; the gains may have any sign."""
    scaling = None if gains is None else gains**2
    return certified_norm(operator.coupling(), row_scaling=scaling, boundary=operator.boundary)
