"""Growth bounds of steps that solve, remember or take two halves in turn (theory §4.4 to §4.6).

Distances are followed through the stages of a method: an evaluation multiplies them by the
Lipschitz constant of its part, a solve ``x = k + s g(x)`` with ``-g`` monotone never increases
them, and by firm non-expansion ``x - k`` is no further apart than ``k`` itself. Bounds, never
measurements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analysis.dynamics import lipschitz_growth
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.splitting import SplittingMethod
from analysis.tableau import ButcherTableau, ImexTableau

Pair = tuple[float, float]
"""Lipschitz constants of the explicit and of the implicit part."""


def additive_growth(
    method: ButcherTableau | ImexTableau, step_size: float, lipschitz: Pair
) -> float:
    """Bound of one step of a diagonally implicit method, alone or beside an explicit one.

    Args:
        method: a table whose implicit part ``g`` is monotone decreasing (``-g`` monotone).
        step_size: ``h``.
        lipschitz: of ``f`` and ``g``; of a method of ``g`` alone the first is not read.

    >>> from analysis.methods import method
    >>> additive_growth(method("backward-euler"), 5.0, (0.0, 3.0))
    1.0
    >>> additive_growth(method("ars111"), 0.5, (1.0, 100.0))
    1.5
    """
    implicit = method.implicit if isinstance(method, ImexTableau) else method
    s, h = implicit.stages, step_size
    zeros = [[0.0] * s for _ in range(s)]
    A, b = zeros, zeros[0]
    if isinstance(method, ImexTableau):
        A, b = _floats(method.explicit.A), [float(x) for x in method.explicit.b]
    B, c = _floats(implicit.A), [float(x) for x in implicit.b]
    f_slopes: list[float] = []
    g_slopes: list[float] = []
    distance = 1.0
    for i in range(s):
        known = 1.0 + h * (_weighted(A[i], f_slopes) + _weighted(B[i], g_slopes))
        distance = known
        slope = lipschitz[1] * distance
        if B[i][i]:
            slope = min(slope, known / (h * B[i][i]))
        f_slopes.append(lipschitz[0] * distance)
        g_slopes.append(slope)
    if A[-1] == b and B[-1] == c:
        return distance
    return 1.0 + h * (_weighted(b, f_slopes) + _weighted(c, g_slopes))


def multistep_growth(
    method: MultistepMethod | ImexMultistep,
    step_size: float,
    lipschitz: Sequence[Pair],
    starts: Sequence[float],
) -> float:
    """Bound of the growth from the first state to the last of a multistep integration.

    Args:
        method: the method.
        step_size: ``h``.
        lipschitz: of the two parts at every step that is taken; of a method with one part it is in
            the place of what the method does with it.
        starts: growth of each of the first ``k - 1`` steps, by another method.

    >>> from analysis.methods import method
    >>> multistep_growth(method("ab2"), 0.0, [(1.0, 0.0)] * 4, [1.0])
    1.0
    """
    k, h = method.steps, step_size
    alpha = [abs(float(a)) for a in method.alpha[:-1]]
    zeros = [0.0] * (k + 1)
    beta = [abs(float(b)) for b in method.beta]
    if isinstance(method, ImexMultistep):
        gamma = [abs(float(b)) for b in method.beta_implicit]
    elif method.explicit:
        gamma = zeros
    else:
        beta, gamma = zeros, beta
    distances, f_slopes, g_slopes = [1.0], [], []
    for n, (f, g) in enumerate(lipschitz):
        f_slopes.append(f * distances[-1])
        g_slopes.append(g * distances[-1])
        if n < k - 1:
            distances.append(starts[n] * distances[-1])
            continue
        new = _weighted(alpha, distances[-k:])
        new += h * (_weighted(beta[:k], f_slopes[-k:]) + _weighted(gamma[:k], g_slopes[-k:]))
        distances.append(new)
    return distances[-1]


def partitioned_growth(
    method: SplittingMethod, step_size: float, drift: float, kick: float
) -> float:
    """Bound of one step of drifts ``y += t f(z)`` and kicks ``z += t g(y)``.

    ``(|dy|, |dz|)`` grows by the product of the shears ``[[1, t L_f], [0, 1]]`` and
    ``[[1, 0], [t L_g, 1]]``, whose 2-norm is the bound.

    Args:
        method: a splitting into drift and kick.
        step_size: ``h``.
        drift, kick: Lipschitz constants ``L_f`` and ``L_g``.

    >>> from analysis.methods import method
    >>> round(partitioned_growth(method("symplectic-euler"), 1.0, 1.0, 0.0), 6)
    1.618034
    """
    product = np.eye(2)
    for part, fraction in method.flows:
        shear, time = np.eye(2), abs(float(fraction)) * step_size
        shear[(0, 1) if part == "drift" else (1, 0)] = time * (drift if part == "drift" else kick)
        product = shear @ product
    return float(np.linalg.norm(product, 2))


def method_growth(method: ButcherTableau | ImexTableau, step_size: float, lipschitz: Pair) -> float:
    """Bound of one Runge-Kutta step by its stages, explicit or diagonally implicit."""
    if isinstance(method, ButcherTableau) and method.explicit:
        return lipschitz_growth(method, step_size * sum(lipschitz))
    return additive_growth(method, step_size, lipschitz)


def _floats(matrix: Sequence[Sequence[object]]) -> list[list[float]]:
    return [[float(x) for x in row] for row in matrix]  # type: ignore[arg-type]


def _weighted(weights: Sequence[float], values: Sequence[float]) -> float:
    """Sum of products of moduli, over as many as there are values."""
    return math.fsum(abs(w) * v for w, v in zip(weights, values, strict=False))
