"""Ascent of the norm of a symbol to a local maximum over the frequencies (theory §1)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.linalg as sl

from analysis.coupling import Coupling

_STEPS = 40
_LONGEST = 0.5  # radians over the degree: beyond it a quadratic model says nothing
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


def peak_at(operator: Coupling, frequency: np.ndarray) -> Peak:
    """The norm at one frequency, of float64 NumPy weights: ``||K^(w) v||`` at the leading ``v``."""
    blocks = operator.symbol_at(frequency[None, :]).blocks()[0]
    wide = blocks.shape[-1] > blocks.shape[-2]
    group, _, vector = _leading(_adjoint(blocks) if wide else blocks)
    block = blocks[group]
    image = (_adjoint(block) if wide else block) @ vector
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
    degree = np.maximum(operator.radius, 1)
    value, gradient, hessian = _expand(operator, frequency)
    for _ in range(_STEPS):
        if value == 0:
            break
        # Uphill also where the value is not concave; flat directions stay.
        curvature, basis = np.linalg.eigh(hessian)
        step = basis @ ((basis.T @ gradient) / np.maximum(np.abs(curvature), 1e-9 * value))
        step *= min(1.0, _LONGEST / max(float(np.abs(step) @ degree), 1e-300))
        if float(gradient @ step) <= _SETTLED * value:
            break
        trial = _expand(operator, frequency + step)
        while trial[0] < value and np.linalg.norm(step) > 1e-9:
            step = step / 4
            trial = _expand(operator, frequency + step)
        if trial[0] <= value:
            break
        frequency, (value, gradient, hessian) = frequency + step, trial
    return peak_at(operator, frequency)


def _expand(operator: Coupling, frequency: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Largest eigenvalue of the Gram matrix, its gradient and its Hessian by the frequency."""
    d = operator.dimension
    pairs = list(itertools.combinations_with_replacement(range(d), 2))
    orders = [tuple(np.eye(d, dtype=int)[a]) for a in range(d)]
    orders += [tuple(np.add(orders[a], orders[b])) for a, b in pairs]
    blocks = operator.symbol_at(frequency[None, :]).blocks()[0]
    derivatives = operator.derivatives_at(frequency, orders)
    if blocks.shape[-1] > blocks.shape[-2]:  # K K^* is the smaller one: K^* K of the adjoint
        blocks, derivatives = _adjoint(blocks), _adjoint(derivatives)
    group, value, right = _leading(blocks)
    block, first, second = blocks[group], derivatives[:d, group], derivatives[d:, group]
    image, moved, bent = block @ right, first @ right, second @ right
    gradient = 2 * np.real(moved.conj() @ image)
    turned = (_adjoint(first) @ image + moved @ block.conj()).T
    answers = _adjoint(turned) @ _respond(block, value, right, turned)
    hessian = 2 * np.real(moved.conj() @ moved.T + answers)
    for (a, b), vector in zip(pairs, bent, strict=True):
        entry = 2 * float(np.vdot(vector, image).real)
        hessian[a, b] += entry
        hessian[b, a] = hessian[a, b]
    return value, gradient, hessian


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
