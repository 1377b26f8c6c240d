"""Ascent of the norm of a symbol to a local maximum over the frequencies (theory §1)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.linalg as sl

from analysis.coupling import Coupling

_STEPS = 40
_LONGEST = 0.5  # radians over the degree: beyond it a quadratic model says nothing
_OFF_A_SADDLE = 0.1
_SETTLED = 1e-15


@dataclass(frozen=True, eq=False)
class Peak:
    """A value of the norm and what attains it: ``value = Re u* K^(w) v`` for unit vectors.

    Attributes:
        value: ``||K^(w)||``.
        frequency: ``w``, radians a pixel, shape ``(d,)``.
        group: the diagonal block that attains it.
        left, right: unit singular vectors ``u``, ``v`` of the block, complex.
    """

    value: float
    frequency: np.ndarray
    group: int
    left: np.ndarray
    right: np.ndarray


@dataclass(frozen=True, eq=False)
class Expansion:
    """Second-order expansion of the largest eigenvalue of ``G = K^* K`` in the frequency.

    Attributes:
        peak: the norm there and its vectors.
        value: the eigenvalue, the square of the norm.
        gradient, hessian: of it, shapes ``(d,)`` and ``(d, d)``.
        vector: its unit eigenvector, shape ``(k,)``.
        response: derivatives of the eigenvector, shape ``(k, d)``.
    """

    peak: Peak
    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    vector: np.ndarray
    response: np.ndarray


def peak_at(operator: Coupling, frequency: np.ndarray) -> Peak:
    """The norm at one frequency (NumPy weights): ``||K^(w) v||`` at the leading ``v``."""
    blocks, wide = _narrow(operator.symbol_at(frequency[None, :]).blocks()[0])
    group, _, vector = _leading(blocks)
    return _peak(frequency, group, vector, blocks[group] @ vector, wide)


def step_from(operator: Coupling, here: Expansion, share: float = 1.0) -> Peak:
    """Where a share of a Newton step leads, the vectors by their first-order response."""
    step = share * uphill_step(here, operator.radius)
    frequency, group = here.peak.frequency + step, here.peak.group
    vector = here.vector + here.response @ step
    vector = vector / np.linalg.norm(vector)
    blocks, wide = _narrow(operator.symbol_at(frequency[None, :]).blocks()[0, [group]])
    return _peak(frequency, group, vector, blocks[0] @ vector, wide)


def _narrow(blocks: np.ndarray) -> tuple[np.ndarray, bool]:
    """Blocks with at most as many columns as rows: their adjoints where they were wide."""
    wide = blocks.shape[-1] > blocks.shape[-2]
    return (_adjoint(blocks) if wide else blocks), wide


def _peak(
    frequency: np.ndarray, group: int, vector: np.ndarray, image: np.ndarray, wide: bool
) -> Peak:
    """The norm that a unit vector of the smaller side attains by its image."""
    value = float(np.linalg.norm(image))
    other = image / value if value else np.eye(len(image), dtype=complex)[0]
    left, right = (vector, other) if wide else (other, vector)
    return Peak(value, frequency, group, left, right)


def ascend(operator: Coupling, frequency: np.ndarray) -> Peak:
    """Climb from a frequency to a local maximum of the norm; never ends below the start.

    Newton's method on the largest eigenvalue ``lambda`` of ``G = K^* K``, whose second derivatives
    perturbation theory gives: ``v* G_ab v + 2 Re (G_a v)* (lambda - G)^+ (G_b v)``.

    Args:
        operator: with float64 NumPy weights.
        frequency: to start from, shape ``(d,)``.
    """
    here = expand(operator, frequency)
    for _ in range(_STEPS):
        step = uphill_step(here, operator.radius)
        gain = float(here.gradient @ step + step @ here.hessian @ step / 2)
        if gain <= _SETTLED * here.value:
            break
        there = expand(operator, frequency + step)
        while there.value < here.value and np.linalg.norm(step) > 1e-9:
            step = step / 4
            there = expand(operator, frequency + step)
        if there.value <= here.value:
            break
        frequency, here = frequency + step, there
    return here.peak


def uphill_step(here: Expansion, radius: tuple[int, ...]) -> np.ndarray:
    """Newton step that points uphill also where the value is not concave; flat directions stay.

    Symmetry makes a saddle of many an operator at ``w = 0``: where the value is convex a step has a
    least length.
    """
    curvature, basis = np.linalg.eigh(here.hessian)
    slope = basis.T @ here.gradient
    length = np.abs(slope) / np.maximum(np.abs(curvature), 1e-9 * here.value + 1e-300)
    convex = curvature > 1e-6 * here.value
    length = np.where(convex, np.maximum(length, _OFF_A_SADDLE / max(*radius, 1)), length)
    step = basis @ (np.where(slope < 0, -1.0, 1.0) * length)
    angle = float(np.abs(step) @ np.maximum(radius, 1))
    return np.asarray(step * min(1.0, _LONGEST / max(angle, 1e-300)))


def expand(operator: Coupling, frequency: np.ndarray) -> Expansion:
    """The largest eigenvalue of the Gram matrices at a frequency (NumPy weights)."""
    d = operator.dimension
    blocks, wide = _narrow(operator.symbol_at(frequency[None, :]).blocks()[0])
    derivatives, _ = _narrow(operator.derivatives_at(frequency, _derivative_orders(d)))
    group, value, vector = _leading(blocks)
    block, first, second = blocks[group], derivatives[:d, group], derivatives[d:, group]
    image, moved, bent = block @ vector, first @ vector, second @ vector
    gradient = 2 * np.real(moved.conj() @ image)
    turned = (_adjoint(first) @ image + moved @ block.conj()).T
    response = _respond(block, value, vector, turned)
    bending = np.zeros((d, d))
    bending[np.triu_indices(d)] = np.real(bent.conj() @ image)
    bending += np.triu(bending, 1).T
    hessian = 2 * (np.real(moved.conj() @ moved.T + _adjoint(turned) @ response) + bending)
    peak = _peak(frequency, group, vector, image, wide)
    return Expansion(peak, value, gradient, hessian, vector, response)


def _derivative_orders(dimension: int) -> list[tuple[int, ...]]:
    """All first derivatives, then all second ones ``a <= b``, as ``derivatives_at`` takes them."""
    units = np.eye(dimension, dtype=int)
    pairs = itertools.combinations_with_replacement(units, 2)
    return [tuple(unit) for unit in units] + [tuple(a + b) for a, b in pairs]


def _adjoint(matrix: np.ndarray) -> np.ndarray:
    return np.conj(np.swapaxes(matrix, -1, -2))


def _leading(blocks: np.ndarray) -> tuple[int, float, np.ndarray]:
    """The block with the largest norm, the square of it, and its right singular vector."""
    if blocks.shape[-1] == 1:
        squares = (np.abs(blocks) ** 2).sum(axis=(-2, -1))
        group = int(np.argmax(squares))
        return group, float(squares[group]), np.ones(1, dtype=complex)
    size = blocks.shape[-1]
    only = {"subset_by_index": (size - 1, size - 1), "check_finite": False, "overwrite_a": True}
    found = [sl.eigh(_adjoint(block) @ block, **only) for block in blocks]
    group = int(np.argmax([values[0] for values, _ in found]))
    values, vectors = found[group]
    return group, max(float(values[0]), 0.0), vectors[:, 0]


def _respond(block: np.ndarray, value: float, right: np.ndarray, change: np.ndarray) -> np.ndarray:
    """``(lambda - G)^+`` times columns: how the leading vector answers a change of ``G``."""
    across = change - np.outer(right, np.conj(right) @ change)
    if len(right) == 1 or value == 0:
        return np.zeros_like(across)
    # The projector makes it definite; the shift covers eigenvalues that coincide.
    shifted = value * np.outer(right, np.conj(right)) - _adjoint(block) @ block
    np.fill_diagonal(shifted, np.diagonal(shifted) + value * (1 + 1e-9))
    factor = sl.cho_factor(shifted, overwrite_a=True, check_finite=False)
    response = sl.cho_solve(factor, across, check_finite=False)
    return np.asarray(response - np.outer(right, np.conj(right) @ response))
