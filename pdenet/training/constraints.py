"""Training inside the limit: every step of a network kept non-expansive (theory §4.1, §4.2, §4.10).

After an optimiser step each operator is brought inside

    h L ||S^{1/2} K||^2 <= 2 r_cc (1 - 1e-5),     s = gamma / sqrt(var + eps) >= 0

with the circle-contractivity radius ``r_cc`` of the method. A dissipative diffusion-reaction step
stacks ``[S_D^{1/2} D; S_W^{1/2} W]``. The value is a bound that is never below the norm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from analysis.contractivity import circle_contractivity_radius
from analysis.coupling import Coupling
from analysis.couplings import Depthwise
from analysis.errors import InputError
from analysis.methods import METHODS, method, tableau
from analysis.splitting import SplittingMethod
from analysis.stabilised import StabilisedMethod
from analysis.stacked import Stacked
from analysis.stencils import extension_norm
from analysis.tableau import ButcherTableau
from pdenet.integrators.additive import IMEX_EULER
from pdenet.integrators.splitting import method_of_order
from pdenet.layers.activations import SLOPES
from pdenet.layers.normalization import inference_affine
from pdenet.layers.terms import DiffusionReactionTerm, ParabolicTerm
from pdenet.layers.time_step import TimeStep
from pdenet.operators.base import StencilOperator
from pdenet.operators.norm import NormBound, depthwise_norms
from pdenet.training.config import RunConfig

MARGIN = 1e-5
"""Distance to the limit that covers the rounding of float32 weights and features."""

DRIFT = 0.02
"""Share by which a bound may exceed its certificate before the certificate is renewed."""

SPLITTINGS = ("lie", "strang")
"""Methods whose parts have limits of their own."""
_CONSTRAINABLE = {
    "normalization": ("batch", "none"),
    "activation": tuple(name for name, (low, _) in SLOPES.items() if low >= 0),
    "weights_in_time": ("per-step", "shared"),
}
"""What the theorems speak of: scales fixed at inference, activations that never fall (§4)."""

Part = tuple[StencilOperator, nn.Module, float]
"""An operator, the normalisation behind it and the largest slope of what follows."""


class NotFinite(Exception):
    """Weights or running statistics became infinite or not a number."""


class Projection:
    """Keeps all steps of a network inside their limits, from the moment it is made.

    Args:
        network: any module whose ``TimeStep`` modules claim non-expansion.

    Attributes:
        steps: one ``ConstrainedStep`` a limit of a ``TimeStep``; weights shared in time are one
            operator.

    Raises:
        InputError: where a step cannot be constrained.
        NotFinite: here and in the methods, where weights or statistics are not finite.
    """

    def __init__(self, network: nn.Module) -> None:
        modules = [(n, m) for n, m in network.named_modules() if isinstance(m, TimeStep)]
        self.steps = [
            ConstrainedStep(name, limit) for name, step in modules for limit in limits_of(step)
        ]
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


@dataclass(frozen=True, eq=False)
class Limit:
    """What a step has to keep: ``t L ||S^{1/2} K||^2 <= 2 r_cc`` of operators that are stacked.

    Attributes:
        parts: the operators.
        radius: ``r_cc`` of the method that steps them.
        time: ``t``, how far it steps.
    """

    parts: Sequence[Part]
    radius: float
    time: float


class ConstrainedStep:
    """One limit of a time step and the bound of its operator.

    Attributes:
        name: of the module in the network.
        limit: ``2 r_cc (1 - 1e-5)``.
    """

    def __init__(self, name: str, limit: Limit) -> None:
        self.name = name
        self.limit = 2 * limit.radius * (1 - MARGIN)
        self._parts = limit.parts
        self._step_size = limit.time
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


def limits_of(step: TimeStep) -> list[Limit]:
    """The limits of a step, each about operators of its own.

    Raises:
        InputError: for a term that claims no non-expansion.
    """
    term, h = step.term, step.step_size
    if isinstance(term, ParabolicTerm):
        part = (term.operator, term.normalization, term.slope_bound)
        return [Limit([part], contractivity_radius(step.method), h)]
    if not isinstance(term, DiffusionReactionTerm) or term.reaction != "dissipative":
        raise _no_claim(type(term).__name__)
    slope = 1.0 if term.diffusion == "linear" else term.slope_bound
    diffusion = (term.diffusion_operator, term.diffusion_normalization, slope)
    reaction = (term.reaction_operator, term.reaction_normalization, term.slope_bound)
    if step.method == IMEX_EULER:
        # The implicit diffusion never expands: the explicit reaction alone has a limit (§4.5).
        return [Limit([reaction], 1.0, h)]
    if not isinstance(step.exact_method, SplittingMethod):
        return [Limit([diffusion, reaction], contractivity_radius(step.method), h)]
    radius = contractivity_radius(method_of_order(step.exact_method.order))
    longest: dict[str, float] = {}
    for name, fraction in step.exact_method.flows:
        longest[name] = max(longest.get(name, 0.0), abs(float(fraction)) * h)
    limits = [Limit([reaction], radius, longest["explicit"])]
    # The exact flow of linear diffusion never expands (§4.5); a step in its place has a limit.
    return limits if term.exact_flow else [Limit([diffusion], radius, longest["implicit"]), *limits]


def contractivity_radius(name: str) -> float:
    """Circle-contractivity radius of a Runge-Kutta method, infinite for some implicit ones.

    Raises:
        InputError: for a method without a non-expansive step, or of another kind.
    """
    found = method(name)
    radius = None
    if isinstance(found, ButcherTableau | StabilisedMethod):
        radius = float(circle_contractivity_radius(tableau(name)))
    if radius:
        return radius
    reason = "for which no non-expansive step is known" if radius is None else "whose circle-"
    if radius is not None:
        reason += "contractivity radius is 0"
    working = [name for name in METHODS if _has_radius(name)]
    raise InputError(
        "a method that has a non-expansive step for the constraint",
        f"{name}, {reason}",
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
    if network.block not in ("parabolic", "diffusion-reaction"):
        raise _no_claim(network.block)
    if network.block == "diffusion-reaction" and network.reaction == "plain":
        raise _no_claim("diffusion-reaction with a plain reaction")
    for name, possible in _CONSTRAINABLE.items():
        if getattr(network, name) not in possible:
            raise InputError(
                f"{name}={' or '.join(map(repr, possible))} for the constraint",
                repr(getattr(network, name)),
                "change it or choose --constraint none",
            )
    if network.method not in (IMEX_EULER, *SPLITTINGS):
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
