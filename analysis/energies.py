"""Energies that steps conserve, let oscillate or let decay (theory §4.4).

A step of Stormer-Verlet or symplectic Euler on a linear field conserves a quadratic form near the
energy exactly; the energy itself oscillates about it by ``O(h)`` or ``O(h^2)`` and does not drift.
The form is positive definite exactly inside the limit of theory §4.4, which is its proof.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.errors import InputError

Matrix = Any
"""A symmetric matrix, dense or sparse: whatever has ``@``."""


def oscillator_energy(A: Matrix, y: np.ndarray, v: np.ndarray) -> np.ndarray:
    """``v.v + y.A y``, twice the energy of ``y'' = -A y``, along a trajectory.

    Args:
        A: symmetric, shape ``(d, d)``, 1 / time^2.
        y: positions, shape ``(..., d)``.
        v: velocities, of the same shape.

    >>> float(oscillator_energy(np.eye(1), np.array([1.0]), np.array([2.0])))
    5.0
    """
    return _inner(v, v) + _inner(y, _times(A, y))


def verlet_energy(A: Matrix, y: np.ndarray, v: np.ndarray, step_size: float) -> np.ndarray:
    """``v.v + y.A y - (h^2 / 4) |A y|^2``, which velocity Verlet conserves exactly.

    For ``y'' = -A y`` and half kick, drift, half kick (velocities at the times of the positions). A
    mode of frequency ``omega`` has ``v^2 + omega^2 (1 - h^2 omega^2 / 4) y^2``: an ellipse while
    ``h omega < 2``.
    Source: theory §4.4; Hairer, Lubich and Wanner, Geometric Numerical Integration, section I.5.2.

    >>> y, v, h = np.array([1.0]), np.array([0.0]), 1.0
    >>> half = v - h / 2 * y
    >>> after = y + h * half
    >>> float(verlet_energy(np.eye(1), y, v, h))
    0.75
    >>> float(verlet_energy(np.eye(1), after, half - h / 2 * after, h))
    0.75
    """
    pull = _times(A, y)
    return oscillator_energy(A, y, v) - step_size**2 / 4 * _inner(pull, pull)


def staggered_energy(A: Matrix, y: np.ndarray, v: np.ndarray, step_size: float) -> np.ndarray:
    """``v.v + y.A y - h v.A y``, which ``v' = v - h A y, y' = y + h v'`` conserves exactly.

    The velocity lies half a step before the position: with ``y_n = y`` and ``y_(n-1) = y - h v`` it
    is ``|y_n - y_(n-1)|^2 / h^2 + y_n.A y_(n-1)`` of the two-step form of Stormer-Verlet.

    >>> y, v, h = np.array([1.0]), np.array([0.0]), 1.0
    >>> after = v - h * y
    >>> float(staggered_energy(np.eye(1), y + h * after, after, h))
    1.0
    """
    return oscillator_energy(A, y, v) - step_size * _inner(v, _times(A, y))


def symplectic_euler_energy(
    A: Matrix, B: Matrix, y: np.ndarray, z: np.ndarray, step_size: float
) -> np.ndarray:
    """``z.A z + y.B y + h (B y).(A z)``, conserved by ``y' = y + h A z, z' = z - h B y'``.

    The step of a Hamiltonian block with frozen ``A = K1^T D1 K1`` and ``B = K2^T D2 K2``. Without
    the last term it is twice the energy, which oscillates by ``O(h)``.

    Args:
        A: symmetric, shape ``(d, d)``, 1 / time.
        B: symmetric, of the same shape.
        y: shape ``(..., d)``.
        z: of the same shape.
        step_size: ``h``.

    >>> one = np.eye(1)
    >>> float(symplectic_euler_energy(one, one, np.array([1.0]), np.array([0.0]), 0.5))
    1.0
    >>> float(symplectic_euler_energy(one, one, np.array([1.0]), np.array([-0.5]), 0.5))
    1.0
    """
    Az, By = _times(A, z), _times(B, y)
    return _inner(z, Az) + _inner(y, By) + step_size * _inner(By, Az)


def leapfrog_energy(J: Matrix, y: np.ndarray, previous: np.ndarray, step_size: float) -> np.ndarray:
    """``|y|^2 + |y_prev|^2 - 2 h y.J y_prev``, conserved by two-step leapfrog for skew ``J``.

    ``y_(n+1) = y_(n-1) + 2 h J y_n``: positive definite while ``h ||J|| < 1``. It bounds the two
    last steps together; each alone can oscillate.

    Args:
        J: skew-symmetric, shape ``(d, d)``, 1 / time.
        y: shape ``(..., d)``.
        previous: one step before it.
        step_size: ``h``.
    """
    cross = _inner(y, _times(J, previous))
    return _inner(y, y) + _inner(previous, previous) - 2 * step_size * cross


def verlet_oscillation_bound(step_size: float, curvature: float) -> float:
    """``1 / (1 - h^2 Lambda / 4)``: the largest over the least energy along velocity Verlet.

    The energy is ``E = v.v + y.A y`` and ``Lambda`` the norm of ``A``. The conserved form has
    ``E_h <= E <= E_h / (1 - h^2 Lambda / 4)`` because ``|A y|^2 <= Lambda y.A y``: the energy
    oscillates by ``O(h^2)`` and does not drift. Attained in the mode of ``Lambda``.

    Raises:
        InputError: at and beyond the limit ``h^2 Lambda < 4``.

    >>> verlet_oscillation_bound(1.0, 2.0)
    2.0
    """
    share = step_size**2 * curvature / 4
    if not 0 <= share < 1:
        raise InputError("h^2 Lambda from 0, below 4", 4 * share, "take a smaller step")
    return 1 / (1 - share)


@dataclass(frozen=True)
class EnergyChange:
    """How an energy changes along a trajectory, as shares of its first value.

    Attributes:
        oscillation: the largest distance from the first value.
        drift: what the least-squares line changes from the first time to the last.
        largest_increase: from one time to the next, 0 where the energy only decays.
        last: the last value less the first.
    """

    oscillation: float
    drift: float
    largest_increase: float
    last: float


def energy_change(energies: np.ndarray, times: np.ndarray | None = None) -> EnergyChange:
    """Oscillation, drift and increase of the energies of a trajectory.

    The drift of an oscillation is that of its line: over many periods it falls to nothing, while
    the oscillation stays.

    Args:
        energies: shape ``(T,)``, the first one not 0, at least two.
        times: shape ``(T,)``, ascending; evenly spaced where left out.

    Raises:
        InputError: for too few values, values that are not finite and a first energy of 0.

    >>> energy_change(np.array([2.0, 1.0, 1.5]))
    EnergyChange(oscillation=0.5, drift=-0.25, largest_increase=0.25, last=-0.25)
    """
    E = np.asarray(energies, dtype=float)
    t = np.arange(E.size, dtype=float) if times is None else np.asarray(times, dtype=float)
    if E.ndim != 1 or E.size < 2 or t.shape != E.shape or not np.isfinite(E).all() or E[0] == 0:
        raise InputError(
            "two finite energies or more, the first one not 0, and a time of each",
            f"shapes {E.shape} and {t.shape}",
            "pass the energies of a trajectory",
        )
    relative = (E - E[0]) / abs(E[0])
    centred = t - t.mean()
    slope = float(centred @ relative / (centred @ centred))
    return EnergyChange(
        oscillation=float(np.abs(relative).max()),
        drift=slope * float(t[-1] - t[0]),
        largest_increase=float(np.diff(relative).max(initial=0.0).clip(0.0)),
        last=float(relative[-1]),
    )


def potential(
    K: Matrix, b: np.ndarray, primitive: Callable[[np.ndarray], np.ndarray], y: np.ndarray
) -> np.ndarray:
    """``Phi(y) = sum_i s(K y + b)_i`` with ``s' = sigma``: the parabolic field is ``-grad Phi``.

    Along ``y' = -K^T sigma(K y + b)`` it decays, and so it does along forward Euler for ``h Lambda
    <= 2``: ``Phi(y+) <= Phi(y) - h (1 - h Lambda / 2) |grad Phi|^2``. Of ``y'' = -K^T sigma(K y +
    b)`` it is the potential energy, conserved together with ``|v|^2 / 2``.

    Args:
        K: shape ``(m, d)``.
        b: shape ``(m,)``.
        primitive: ``s``, such as ``lambda x: np.logaddexp(x, -x)`` for tanh.
        y: shape ``(..., d)``.

    >>> float(potential(np.eye(2), np.zeros(2), lambda x: x * x / 2, np.array([1.0, 2.0])))
    2.5
    """
    return np.asarray(primitive(_times(K, y) + b).sum(axis=-1))


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """``||y(t) - z(t)||`` of two trajectories: of a parabolic field they never grow (theory §4.1).

    >>> distances(np.zeros((2, 2)), np.array([[3.0, 4.0], [0.0, 1.0]]))
    array([5., 1.])
    """
    return np.asarray(np.linalg.norm(np.asarray(first) - np.asarray(second), axis=-1))


def _times(A: Matrix, y: np.ndarray) -> np.ndarray:
    """``A y`` for every row of a trajectory."""
    rows = np.asarray(y, dtype=float)
    flat = A @ rows.reshape(-1, rows.shape[-1]).T
    return np.asarray(flat.T).reshape(*rows.shape[:-1], -1)


def _inner(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.sum(np.asarray(a) * np.asarray(b), axis=-1))
