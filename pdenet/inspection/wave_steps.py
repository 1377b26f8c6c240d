"""Steps of fields that oscillate: the frozen limit, and states at which a frozen step grows.

A Hamiltonian or second-order block claims that no mode of frozen coefficients grows exponentially
(theory §4.4). Above its limit the claim is contradicted where the Jacobian at a state has a
frequency that the method amplifies: the state and the mode are the evidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigs
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
from pdenet.layers.time_step import TimeStep
from pdenet.layers.wave_terms import HamiltonianTerm, SecondOrderTerm

POWER_ITERATIONS = 300
CONVERGED = 1e-10
"""Relative change of ``omega^2`` at which the iteration ends."""
STATES = 6
ROUNDING = 1e-9
"""Excess of a spectral radius over one that rounding cannot explain."""
DENSE = 600
"""Entries of half a state up to which the whole spectrum of a frozen field is computed."""
ARNOLDI_PAIRS, ARNOLDI_SPACE, ARNOLDI_RESTARTS = 4, 40, 10
RESIDUAL = 1e-8
"""Largest ``||A B v - mu v|| / (|mu| ||v||)`` of an eigenpair that counts."""
PRODUCT_ROUNDING = 1e-14
"""Error of ``A B v`` relative to its norm, with a margin."""

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
    """The mode of the Jacobian at a state that a step amplifies most.

    Attributes:
        square: ``omega^2``, an eigenvalue of ``A B``, the Jacobians of drift and minus kick. It is
            positive where both are semidefinite; elsewhere it may be negative or complex, and then
            the frozen field itself grows.
        radius: spectral radius of the step on the mode, from below; above one it grows at every
            step.
        state, mode: the state ``(C, H, W)`` and the direction of its ``y`` half; of a complex
            direction the real part, at the phase where that is largest.
    """

    square: complex
    radius: float
    state: Tensor
    mode: Tensor

    @property
    def frequency(self) -> float:
        """``|omega|``, radians / time; the rate ``|lambda|`` where ``omega^2`` is not positive."""
        return math.sqrt(abs(self.square))

    @property
    def oscillates(self) -> bool:
        """Whether the frozen field itself only oscillates: ``omega^2`` is not negative."""
        return self.square.imag == 0 and self.square.real >= 0

    @property
    def grows(self) -> bool:
        """Whether the mode grows beyond what rounding explains."""
        return self.radius > 1 + ROUNDING


@torch.no_grad()
def fastest_mode(
    layer: Layer, step: TimeStep, points: Tensor | None, *, semidefinite: bool
) -> FrozenMode:
    """The frozen mode that a step amplifies most, at states of the data and of full slope.

    The eigenvalues ``omega^2`` of ``A B``, the two symmetric Jacobians of drift and minus kick.
    Semidefinite ones have real frequencies and the largest comes from a power iteration, whose
    Rayleigh quotient is never above it. Of indefinite ones that quotient says nothing: the whole
    spectrum of small states is computed, and of larger ones its ends, by Arnoldi's method.

    Args:
        layer: the layer, with the states that reach it.
        step: its module.
        points: further states, ``(N, C, H, W)``.
        semidefinite: whether it is certified that both Jacobians are, at every state.
    """
    term = step.term
    assert isinstance(term, HamiltonianTerm | SecondOrderTerm)
    states = spread(layer.features, STATES)
    if points is not None:
        states = torch.cat((states, points))
    if semidefinite:
        return _by_power_iteration(term, step, states)
    found = [_amplified_most(term, step, state) for state in states.split(1)]
    return max(found, key=lambda mode: (mode.radius, mode.frequency))


def _by_power_iteration(term: Wave, step: TimeStep, states: Tensor) -> FrozenMode:
    """The mode of the largest frequency of semidefinite halves, over all states."""
    y, z = states.chunk(2, dim=1)
    generator = torch.Generator().manual_seed(0)
    mode = torch.randn(y.shape, generator=generator, dtype=y.dtype)
    squares = torch.zeros(len(y), dtype=y.dtype)
    for _ in range(POWER_ITERATIONS):
        mode = mode / _lengths(mode).clamp_min(1e-300)
        kicked, moved = _product(term, y, z, mode)
        below = (kicked * mode).flatten(1).sum(1)
        above = (kicked * moved).flatten(1).sum(1)
        before = squares
        squares = torch.where(below > 0, above / below.clamp_min(1e-300), torch.zeros_like(below))
        mode = moved
        if bool(((squares - before).abs() <= CONVERGED * squares).all()):
            break
    squares = squares.clamp_min(0)
    R = _stability(step)
    radii = [float(abs(R(1j * step.step_size * float(w)))) for w in squares.sqrt()]
    worst = max(range(len(radii)), key=lambda i: (radii[i], float(squares[i])))
    return FrozenMode(complex(squares[worst]), radii[worst], states[worst], _unit(mode[worst]))


def _product(term: Wave, y: Tensor, z: Tensor, modes: Tensor) -> tuple[Tensor, Tensor]:
    """``B v`` and ``A B v`` for a batch of modes, at the states ``(y, z)``."""
    kicked = -torch.func.jvp(term.kick, (y.expand_as(modes).clone(),), (modes,))[1]
    return kicked, torch.func.jvp(term.drift, (z.expand_as(modes).clone(),), (kicked,))[1]


Complex = NDArray[np.complex128]
Real = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Eigenpairs ``A B v = mu v`` at a state.

    Attributes:
        values: ``mu``, ``(k,)``.
        vectors, kicked, moved: unit ``v``, ``B v`` and ``A B v``, each ``(n, k)``.
        scale: the size of ``A B``.
    """

    values: Complex
    vectors: Complex
    kicked: Complex
    moved: Complex
    scale: float

    def uncertainty(self) -> Real:
        """How far ``mu`` may be from an eigenvalue; infinite where the pair has not converged.

        ``B v`` is the left eigenvector, so that an error ``e`` of ``A B v`` moves ``mu`` by up to
        ``e ||B v|| ||v|| / |v^T B v|``.
        """
        residual = np.linalg.norm(self.moved - self.values * self.vectors, axis=0)
        lengths = np.linalg.norm(self.kicked, axis=0)
        overlap = np.abs((self.kicked * self.vectors).sum(axis=0))
        with np.errstate(all="ignore"):
            moved = (residual + PRODUCT_ROUNDING * self.scale) * lengths / overlap
        sizes = np.abs(self.values)
        converged = (residual <= RESIDUAL * sizes) & (moved < sizes)
        return np.where(converged, moved, np.inf)


def _amplified_most(term: Wave, step: TimeStep, state: Tensor) -> FrozenMode:
    """The mode that a step amplifies most at one state ``(1, C, H, W)``, definite or not."""
    pairs = _dense_pairs(term, state) if _half(state) <= DENSE else _arnoldi_pairs(term, state)
    apart = pairs.uncertainty()
    good = np.flatnonzero(np.isfinite(apart))
    rest = FrozenMode(0j, 1.0, state[0], torch.zeros_like(state[0].chunk(2)[0]))
    if not len(good):
        return rest
    values, apart = pairs.values[good], apart[good]
    values = np.where(np.abs(values.imag) <= apart, values.real, values)
    # The least growth of what rounding cannot tell apart: nothing is claimed that is not there.
    near = values + apart * np.array([[0], [1], [-1], [1j], [-1j]])
    roots, R = step.step_size * np.sqrt(-near), _stability(step)
    radii = np.maximum(np.abs(R(roots)), np.abs(R(-roots))).min(axis=0)
    worst = max(range(len(good)), key=lambda i: (radii[i], abs(values[i])))
    vector = pairs.vectors[:, good[worst]]
    vector = vector * np.exp(-0.5j * np.angle((vector * vector).sum()))
    mode = torch.as_tensor(np.ascontiguousarray(vector.real)).view_as(rest.mode)
    return FrozenMode(complex(values[worst]), float(radii[worst]), state[0], _unit(mode))


def _half(state: Tensor) -> int:
    return state.numel() // 2


def _dense_pairs(term: Wave, state: Tensor) -> _Pairs:
    """All eigenpairs of ``A B``, from its columns."""
    y, z = state.chunk(2, dim=1)
    modes = torch.eye(y.numel(), dtype=y.dtype).view(-1, *y.shape[1:])
    B, M = (images.flatten(1).T.numpy() for images in _product(term, y, z, modes))
    if not (np.isfinite(M).all() and np.isfinite(B).all()):
        return _no_pairs(len(M))
    values, vectors = np.linalg.eig(M)
    values, vectors = values.astype(complex), vectors.astype(complex)
    return _Pairs(values, vectors, B @ vectors, M @ vectors, float(np.linalg.norm(M)))


def _arnoldi_pairs(term: Wave, state: Tensor) -> _Pairs:
    """Eigenpairs at the ends of the spectrum: largest, most negative and least real ones."""
    y, z = state.chunk(2, dim=1)
    n = y.numel()

    def images(vector: Real) -> tuple[Real, Real]:
        mode = torch.as_tensor(np.ascontiguousarray(vector), dtype=y.dtype).view_as(y)
        kicked, moved = _product(term, y, z, mode)
        return kicked.flatten().numpy(), moved.flatten().numpy()

    start = np.random.default_rng(0).standard_normal(n)
    first = images(start)[1]
    scale = float(np.linalg.norm(first) / np.linalg.norm(start))
    if not math.isfinite(scale) or scale == 0:
        return _no_pairs(n)
    operator = LinearOperator((n, n), matvec=lambda v: images(v.ravel())[1], dtype=np.float64)
    found = [_ends(operator, which, start) for which in ("LM", "SR", "LI")]
    values = np.concatenate([pair[0] for pair in found])
    vectors = np.concatenate([pair[1] for pair in found], axis=1)
    parts = [
        [np.array(both) for both in zip(images(v.real), images(v.imag), strict=True)]
        for v in vectors.T
    ]
    kicked, moved = (
        np.array([part[k][0] + 1j * part[k][1] for part in parts]).reshape(-1, n).T for k in (0, 1)
    )
    scale = max([scale, *np.linalg.norm(moved, axis=0)])
    return _Pairs(values, vectors, kicked, moved, scale)


def _ends(operator: LinearOperator, which: str, start: Real) -> tuple[Complex, Complex]:
    """Eigenpairs that Arnoldi's method finds at one end, perhaps none."""
    size = {"ncv": ARNOLDI_SPACE, "maxiter": ARNOLDI_RESTARTS, "tol": 1e-12}
    try:
        values, vectors = eigs(operator, k=ARNOLDI_PAIRS, which=which, v0=start, **size)
    except ArpackNoConvergence as partly:
        values, vectors = partly.eigenvalues, partly.eigenvectors
    except ArpackError:
        values, vectors = np.zeros(0), np.zeros((len(start), 0))
    return values.astype(complex), vectors.astype(complex).reshape(len(start), -1)


def _no_pairs(n: int) -> _Pairs:
    none = np.zeros((n, 0), dtype=complex)
    return _Pairs(np.zeros(0, dtype=complex), none, none, none, 0.0)


def _unit(mode: Tensor) -> Tensor:
    size = float(torch.linalg.vector_norm(mode))
    return mode / size if size and math.isfinite(size) else mode


def _lengths(batch: Tensor) -> Tensor:
    return torch.linalg.vector_norm(batch.flatten(1), dim=1).view(-1, 1, 1, 1)
