"""Linear multistep methods, derived from interpolation, and their implicit-explicit combinations.

Coefficients run from the oldest step to the newest. Sources: Hairer, Norsett & Wanner, Solving ODEs
I, section III.1; Ascher, Ruuth & Wetton, SIAM J. Numer. Anal. 32 (1995) 797-823.
"""

from __future__ import annotations

import math
from fractions import Fraction

from analysis.exact import Exact, solve
from analysis.families import Family, Method, count
from analysis.multistep import ImexMultistep, MultistepMethod

_ZERO = Fraction(0)


def _integration_weights(nodes: range, start: int) -> list[Exact]:
    """Weights of the values at whole nodes for the integral of their polynomial over a step."""
    powers = range(len(nodes))
    moments = [Fraction((start + 1) ** (k + 1) - start ** (k + 1), k + 1) for k in powers]
    return solve([[Fraction(j) ** k for j in nodes] for k in powers], moments)


def _one_step_back(k: int) -> list[int]:
    """alpha of y_{n+k} - y_{n+k-1}."""
    return [0] * (k - 1) + [-1, 1]


def _ab(name: str, steps: Fraction) -> Method:
    """The polynomial of f through the old steps, integrated over the new one."""
    k = int(steps)
    beta = [*_integration_weights(range(k), k - 1), _ZERO]
    return MultistepMethod(name, _one_step_back(k), beta)


def _am(name: str, steps: Fraction) -> Method:
    """The same with the new step among the nodes."""
    k = int(steps)
    return MultistepMethod(name, _one_step_back(k), _integration_weights(range(k + 1), k - 1))


def _differentiation(k: int) -> list[Fraction]:
    """alpha of the backward differentiation formula: sum_j nabla^j y_{n+k} / j = h f_{n+k}."""
    return [
        sum((Fraction((-1) ** (k - i) * math.comb(j, k - i), j) for j in range(1, k + 1)), _ZERO)
        for i in range(k + 1)
    ]


def _bdf(name: str, steps: Fraction) -> Method:
    k = int(steps)
    return MultistepMethod(name, _differentiation(k), [0] * k + [1])


def _sbdf(name: str, steps: Fraction) -> Method:
    """Backward differentiation with the explicit part extrapolated from the old steps."""
    k = int(steps)
    extrapolated = [(-1) ** (k - 1 - j) * math.comb(k, j) for j in range(k)]
    return ImexMultistep(name, _differentiation(k), [*extrapolated, 0], [0] * k + [1])


MULTISTEP: dict[str, Family] = {
    "leapfrog": Family(
        lambda name: MultistepMethod(name, [-1, 0, 1], [0, 2, 0]),
        "two-step midpoint rule y_{n+1} = y_{n-1} + 2 h f(y_n), order 2",
    ),
    "ab": Family(
        _ab,
        "Adams-Bashforth, explicit, steps and order {}",
        {"steps": count(2, 1, 12)},
        listed=(1, 2, 3, 4, 5, 6),
    ),
    "am": Family(
        _am,
        "Adams-Moulton, implicit, {} steps, order one more",
        {"steps": count(2, 1, 12)},
        listed=(1, 2, 3, 4, 5, 6),
    ),
    # With seven steps and more some roots of alpha lie outside the unit circle (Cryer 1972).
    "bdf": Family(
        _bdf,
        "backward differentiation, implicit, steps and order {}",
        {"steps": count(2, 1, 6)},
        listed=(1, 2, 3, 4, 5, 6),
    ),
    "sbdf": Family(
        _sbdf,
        "implicit-explicit backward differentiation, steps and order {}",
        {"steps": count(2, 1, 6)},
        listed=(1, 2, 3, 4),
    ),
    "cnab": Family(
        lambda name: ImexMultistep(name, [0, -1, 1], ["-1/2", "3/2", 0], [0, "1/2", "1/2"]),
        "Crank-Nicolson with Adams-Bashforth, implicit-explicit, order 2",
    ),
    "cnlf": Family(
        lambda name: ImexMultistep(name, [-1, 0, 1], [0, 2, 0], [1, 0, 1]),
        "Crank-Nicolson with leapfrog, implicit-explicit, order 2",
    ),
}
