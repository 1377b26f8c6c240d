"""Steps of fields that oscillate: the frozen limit, and states at which a frozen step grows.

A Hamiltonian or second-order block claims that no mode of frozen coefficients grows exponentially
(theory §4.4). Above its limit the claim is contradicted where the Jacobian at a state has a
frequency that the method amplifies: the state and the mode are the evidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.dynamics import STATEMENTS
from analysis.hamiltonian import hamiltonian_limit, second_order_limit
from analysis.splitting import SplittingMethod
from analysis.stability_of import Single, stability_of
from analysis.step_growth import method_growth, partitioned_growth
from pdenet.inspection.growth import spread
from pdenet.inspection.hints import Part, full_slope_points
from pdenet.inspection.reader import Layer
from pdenet.inspection.theory import FROZEN, Curvature, Theory, certified, curvature_of, slopes_of
from pdenet.layers.block import TimeStep
from pdenet.layers.wave_terms import HamiltonianTerm, SecondOrderTerm

POWER_ITERATIONS = 300
CONVERGED = 1e-10
"""Relative change of ``omega^2`` at which the iteration ends."""
STATES = 6
ROUNDING = 1e-9
"""Excess of a spectral radius over one that rounding cannot explain."""

Wave = HamiltonianTerm | SecondOrderTerm


def wave_step(layer: Layer, step: TimeStep, term: Wave) -> Theory:
    """Frozen limit and certified growth of a step in two halves."""
    kick, *rest = [curvature_of([part], [slopes_of(term)]) for part in wave_parts(term)]
    drift = rest[0] if rest else None
    interval = _stability(step).imaginary_interval
    if drift is None:
        limit = second_order_limit(kick.positive, imaginary_interval=interval)
    else:
        limit = hamiltonian_limit(drift.positive, kick.positive, imaginary_interval=interval)
    negative = kick.negative or (drift is not None and drift.negative)
    warnings = kick.warnings if drift is None else (*drift.warnings, *kick.warnings)
    if interval == 0:
        warnings = (*warnings, f"{step.method} amplifies every oscillation (imaginary interval 0)")
    operator = wave_parts(term)[0][0]
    return Theory(
        coupling=operator.name,
        block="second-order" if drift is None else "hamiltonian",
        method=step.method,
        step_size=step.step_size,
        norm_certified=certified(operator).upper,
        curvature=limit.frequency**2,
        linear_limit=None if negative else limit.step_size,
        claim=FROZEN,
        proved=not negative and step.step_size < limit.step_size,
        growth_certified=_growth(step, 1.0 if drift is None else drift.lipschitz, kick),
        statement=STATEMENTS["frozen"],
        warnings=warnings,
        points=_points(layer, term),
    )


def _growth(step: TimeStep, drift: float, kick: Curvature) -> float:
    method = step.exact_method
    if isinstance(method, SplittingMethod):
        return partitioned_growth(method, step.step_size, drift, kick.lipschitz)
    assert step.tableau is not None
    return method_growth(step.tableau, step.step_size, (max(drift, kick.lipschitz), 0.0))


def _stability(step: TimeStep) -> Single:
    found = stability_of(step.exact_method)
    assert isinstance(found, Single)
    return found


def wave_parts(term: Wave) -> list[Part]:
    """Operators and normalisations of ``z' = kick(y)`` and, where it has one, ``y' = drift(z)``."""
    if isinstance(term, HamiltonianTerm):
        kick = (term.second, term.second_normalization)
        return [kick, (term.first, term.first_normalization)]
    return [(term.operator, term.normalization)]


def _points(layer: Layer, term: Wave) -> Tensor:
    """States at which all units have their full slope, as far as that goes."""
    halves = zip(wave_parts(term), layer.features.chunk(2, dim=1), strict=False)
    y, *z = [full_slope_points([part], half) for part, half in halves]
    return torch.cat((y, z[0] if z else torch.zeros_like(y)), dim=1)


@dataclass(frozen=True, eq=False)
class FrozenMode:
    """The fastest mode of the Jacobian at a state, and what a step makes of it.

    Attributes:
        frequency: ``omega``, from below, radians / time.
        radius: spectral radius of the step on the mode; above one it grows at every step.
        state, mode: the state ``(C, H, W)`` and the direction of its ``y`` half.
    """

    frequency: float
    radius: float
    state: Tensor
    mode: Tensor

    @property
    def grows(self) -> bool:
        """Whether the mode grows beyond what rounding explains."""
        return self.radius > 1 + ROUNDING


@torch.no_grad()
def fastest_mode(layer: Layer, step: TimeStep, points: Tensor | None) -> FrozenMode:
    """The frozen mode that a step amplifies most, at states of the data and of full slope.

    ``omega^2`` is the largest eigenvalue of ``A B``, the two symmetric Jacobians of drift and kick,
    by power iteration with a Rayleigh quotient that is never above it.

    Args:
        layer: the layer, with the states that reach it.
        step: its module.
        points: further states, ``(N, C, H, W)``.
    """
    term = step.term
    assert isinstance(term, HamiltonianTerm | SecondOrderTerm)
    states = spread(layer.features, STATES)
    if points is not None:
        states = torch.cat((states, points))
    y, z = states.chunk(2, dim=1)
    generator = torch.Generator().manual_seed(0)
    mode = torch.randn(y.shape, generator=generator, dtype=y.dtype)
    squares = torch.zeros(len(y), dtype=y.dtype)
    for _ in range(POWER_ITERATIONS):
        mode = mode / _lengths(mode).clamp_min(1e-300)
        kicked = -torch.func.jvp(term.kick, (y,), (mode,))[1]
        moved = torch.func.jvp(term.drift, (z,), (kicked,))[1]
        below = (kicked * mode).flatten(1).sum(1)
        above = (kicked * moved).flatten(1).sum(1)
        before = squares
        squares = torch.where(below > 0, above / below.clamp_min(1e-300), torch.zeros_like(below))
        mode = moved
        if bool(((squares - before).abs() <= CONVERGED * squares).all()):
            break
    frequencies = squares.clamp_min(0).sqrt()
    R = _stability(step)
    radii = [float(abs(R(1j * step.step_size * float(w)))) for w in frequencies]
    worst = max(range(len(radii)), key=lambda i: (radii[i], float(frequencies[i])))
    size = float(_lengths(mode)[worst])
    return FrozenMode(
        frequency=float(frequencies[worst]),
        radius=radii[worst],
        state=states[worst],
        mode=mode[worst] / size if size and math.isfinite(size) else mode[worst],
    )


def _lengths(batch: Tensor) -> Tensor:
    return torch.linalg.vector_norm(batch.flatten(1), dim=1).view(-1, 1, 1, 1)
