"""Training inside the limit: every step of a network kept non-expansive (theory §4.1, §4.2, §4.10).

After an optimiser step each operator is brought inside

    h L ||S^{1/2} K||^2 <= 2 r_cc (1 - 1e-5),     s = gamma / sqrt(var + eps) >= 0

with the circle-contractivity radius ``r_cc`` of the method. A dissipative diffusion-reaction step
stacks ``[S_D^{1/2} D; S_W^{1/2} W]``. The value is a bound that is never below the norm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from analysis.contractivity import circle_contractivity_radius
from analysis.coupling import Coupling
from analysis.couplings import Depthwise
from analysis.errors import InputError
from analysis.methods import METHODS, method, tableau
from analysis.stabilised import StabilisedMethod
from analysis.stacked import Stacked
from analysis.stencils import extension_norm
from analysis.tableau import ButcherTableau
from pdenet.layers.block import TimeStep
from pdenet.layers.normalization import inference_affine
from pdenet.layers.terms import DiffusionReactionTerm, ParabolicTerm
from pdenet.operators.base import StencilOperator
from pdenet.operators.norm import NormBound, depthwise_norms
from pdenet.training.config import RunConfig

MARGIN = 1e-5
"""Distance to the limit that covers the rounding of float32 weights and features."""

DRIFT = 0.02
"""Share by which a bound may exceed its certificate before the certificate is renewed."""

IMEX_METHODS = ("ars111",)
"""Implicit-explicit methods whose explicit part alone has a limit: it is an Euler step."""

Part = tuple[StencilOperator, nn.Module, float]
"""An operator, the normalisation behind it and the largest slope of what follows."""


class NotFinite(Exception):
    """Weights or running statistics became infinite or not a number."""


class Projection:
    """Keeps all steps of a network inside their limits, from the moment it is made.

    Args:
        network: any module whose ``TimeStep`` modules claim non-expansion.

    Attributes:
        steps: one ``ConstrainedStep`` a ``TimeStep``; weights shared in time are one operator.

    Raises:
        InputError: where a step cannot be constrained.
        NotFinite: here and in the methods, where weights or statistics are not finite.
    """

    def __init__(self, network: nn.Module) -> None:
        modules = [(n, m) for n, m in network.named_modules() if isinstance(m, TimeStep)]
        self.steps = [ConstrainedStep(name, module) for name, module in modules]
        self.certify()

    def project(self) -> None:
        """Bring every step inside its limit; called after each optimiser step."""
        for step in self.steps:
            step.project()

    def certify(self) -> float:
        """Bring every step inside by a fresh certificate.

        Returns:
            The largest certified ``h L ||S^{1/2} K||^2``.
        """
        return max((step.certify() for step in self.steps), default=0.0)


class ConstrainedStep:
    """One time step and the bound of its operator.

    Attributes:
        name: of the module in the network.
        limit: ``2 r_cc (1 - 1e-5)``.
    """

    def __init__(self, name: str, step: TimeStep) -> None:
        self.name = name
        self.limit = 2 * contractivity_radius(step.method) * (1 - MARGIN)
        self._parts = constrained_parts(step)
        self._step_size = float(step.step_size)
        self._bound = NormBound(self._parts[0][0].boundary)
        # With batch norm behind every operator or not: see _rescale.
        self._normalized = any(isinstance(norm, nn.BatchNorm2d) for _, norm, _ in self._parts)

    def project(self) -> None:
        """Bring the step inside its limit, by the last certificate where that is close enough."""
        coupling, scaling = self._scaled_operator()
        if isinstance(coupling, Depthwise):
            self._project_channels(coupling, scaling)
            return
        bound = self._bound.bound(coupling, scaling)
        if self._value(bound) > self.limit and bound > (1 + DRIFT) * self._bound.certified:
            bound = self._bound.renew(coupling, scaling)
        if self._value(bound) > self.limit:
            self._shrink(bound)

    def certify(self) -> float:
        """Bring the step inside its limit by a certificate of the weights as they are.

        Returns:
            The certified ``h L ||S^{1/2} K||^2``, at most ``limit``.
        """
        while True:
            coupling, scaling = self._scaled_operator()
            if isinstance(coupling, Depthwise):
                self._project_channels(coupling, scaling)
                coupling, scaling = self._scaled_operator()
            bound = self._bound.certify(coupling, scaling)
            if self._value(bound) <= self.limit:
                return self._value(bound)
            self._shrink(bound)

    def _scaled_operator(self) -> tuple[Coupling, np.ndarray]:
        """The stacked operator and ``L s`` of its rows; negative gains are set to zero first."""
        couplings, scalings = [], []
        for operator, norm, slope in self._parts:
            if isinstance(norm, nn.BatchNorm2d):
                with torch.no_grad():
                    norm.weight.clamp_(min=0)
            scale, _ = inference_affine(norm, operator.out_channels)
            couplings.append(operator.coupling())
            scalings.append(slope * scale.detach().double().cpu().numpy())
        scaling = np.concatenate(scalings)
        coupling = couplings[0] if len(couplings) == 1 else Stacked(tuple(couplings))
        if not np.isfinite(scaling).all():
            raise self._not_finite()
        return coupling, scaling

    def _value(self, norm: float) -> float:
        """``h L ||S^{1/2} K||^2`` of a norm."""
        if not math.isfinite(norm):
            raise self._not_finite()
        return self._step_size * norm**2

    def _not_finite(self) -> NotFinite:
        return NotFinite(
            f"the weights or statistics of {self.name} were no longer finite: train with a lower "
            "learning rate"
        )

    def _shrink(self, norm: float) -> None:
        """Multiply the operator by one factor that brings a norm inside the limit."""
        factor = self._factor(np.array([norm]))
        for operator, normalization, _ in self._parts:
            _rescale(operator, normalization, torch.from_numpy(factor))
        self._bound.rescaled(float(factor[0]))

    def _project_channels(self, coupling: Depthwise, scaling: np.ndarray) -> None:
        """Channels of a depthwise operator are operators of their own: each its own factor."""
        norms = depthwise_norms(coupling, scaling)
        norms *= extension_norm(coupling.radius, self._bound.boundary)
        if self._value(float(norms.max())) > self.limit:
            operator, normalization, _ = self._parts[0]
            _rescale(operator, normalization, torch.from_numpy(self._factor(norms)))

    def _factor(self, norms: np.ndarray) -> np.ndarray:
        """Factors of the weights that bring norms inside, a little further than the limit.

        Under batch norm ``K -> a K`` changes ``s`` to ``gamma / sqrt(a^2 var + eps) <= s / a``, so
        that the value falls by ``a`` at least; without it by ``a^2``. The extra margin keeps
        rounding from asking for a second projection.
        """
        value = np.maximum(self._step_size * norms**2, np.finfo(float).tiny)
        ratio = np.minimum(1.0, self.limit * (1 - MARGIN) / value)
        return ratio if self._normalized else np.sqrt(ratio)


@torch.no_grad()
def _rescale(operator: StencilOperator, norm: nn.Module, factor: torch.Tensor) -> None:
    """``K -> a K`` with a factor, or one a channel; running statistics follow.

    Mean by ``a`` and variance by ``a^2`` (and the bias, which batch norm sees, by ``a``): the
    inner function ``sigma(N(K y))`` stays what it was, up to ``eps``.
    """
    normalized = isinstance(norm, nn.BatchNorm2d)
    for name, parameter in operator.named_parameters():
        if name != "bias" or normalized:
            a = factor.to(parameter)
            parameter.mul_(a.view(-1, *(1,) * (parameter.ndim - 1)))
    if isinstance(norm, nn.BatchNorm2d):
        assert norm.running_mean is not None and norm.running_var is not None
        a = factor.to(norm.running_mean)
        norm.running_mean.mul_(a)
        norm.running_var.mul_(a * a)


def constrained_parts(step: TimeStep) -> Sequence[Part]:
    """The operators whose stack the limit of a step is about.

    Raises:
        InputError: for a term that claims no non-expansion.
    """
    term = step.term
    if isinstance(term, ParabolicTerm):
        return [(term.operator, term.normalization, term.slope_bound)]
    if isinstance(term, DiffusionReactionTerm) and term.reaction == "dissipative":
        reaction = (term.reaction_operator, term.reaction_normalization, term.slope_bound)
        if step.method in IMEX_METHODS:
            # (I + h D^T D)^{-1} never expands: the explicit reaction alone has a limit (§4.5).
            return [reaction]
        slope = 1.0 if term.diffusion == "linear" else term.slope_bound
        return [(term.diffusion_operator, term.diffusion_normalization, slope), reaction]
    raise _no_claim(type(term).__name__)


def contractivity_radius(method: str) -> float:
    """Circle-contractivity radius of a method; 1 for IMEX Euler, whose explicit part is Euler.

    Raises:
        InputError: for a method without a non-expansive step.
    """
    if method in IMEX_METHODS:
        return 1.0
    radius = float(circle_contractivity_radius(tableau(method)))
    if radius > 0:
        return radius
    working = [name for name in METHODS if _has_radius(name)]
    raise InputError(
        "a method that has a non-expansive step for the constraint",
        f"{method}, whose circle-contractivity radius is 0",
        f"choose one of {', '.join(working)}, or --constraint none",
    )


def _has_radius(name: str) -> bool:
    found = method(name)
    if not isinstance(found, ButcherTableau | StabilisedMethod) or not found.explicit:
        return False
    return circle_contractivity_radius(tableau(name)) > 0


def check_constraint(config: RunConfig, image_size: tuple[int, int]) -> None:
    """Refuse a run whose constraint cannot be kept, before any work is done.

    Args:
        config: of the run.
        image_size: height and width of its images.

    Raises:
        InputError: for blocks that claim no non-expansion, methods without a non-expansive step
            and copying boundaries on fewer than four pixels, where the bound does not hold.
    """
    network = config.network
    if config.training.constraint == "none":
        return
    if network.block == "residual":
        raise _no_claim("residual")
    if network.block == "diffusion-reaction" and network.reaction == "plain":
        raise _no_claim("diffusion-reaction with a plain reaction")
    contractivity_radius(network.method)
    smallest = min(image_size) // 2 ** (len(network.widths) - 1)
    if network.padding_mode in ("reflect", "replicate") and smallest < 4:
        raise InputError(
            f"at least 4 pixels a side in every block for the constraint with "
            f"{network.padding_mode} padding",
            f"{smallest} in the last block",
            "choose zeros or circular padding or fewer widths",
        )


def _no_claim(block: str) -> InputError:
    return InputError(
        "blocks that claim non-expansion (parabolic, or diffusion-reaction with reaction = "
        "dissipative) for the constraint",
        block,
        "choose one of them or --constraint none",
    )
