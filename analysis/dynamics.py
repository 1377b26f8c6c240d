"""From norms of operators to step limits and growth bounds of network blocks (theory §4).

Every function states the theorem it evaluates; ``STATEMENTS`` holds the sentences that verdicts
quote. ``Lambda = L ||S^(1/2) K||^2`` is the curvature of a monotone field ``-K^T sigma(S K y + b)``
with slopes of sigma in ``[0, L]``: its frozen Jacobians are symmetric with eigenvalues in
``[-Lambda, 0]``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from analysis.contractivity import circle_contractivity_radius
from analysis.errors import InputError
from analysis.stability import (
    as_tableau,
    real_stability_interval,
    stability_function,
)
from analysis.tableau import ButcherTableau

GRADES = ("proved", "measured", "violated", "not-applicable")
"""What a claim can be, from the strongest (theory §4)."""

STATEMENTS = {
    "parabolic": (
        "||T(y) - T(z)|| <= ||y - z|| for 0 <= h L ||S^(1/2) K||^2 <= 2 r_cc "
        "(theory §4.1 and §4.2; Ruthotto & Haber 2018; Dahlquist & Jeltsch 1979)"
    ),
    "stacked": (
        "the non-expansive limit with the stacked operator [S_D^(1/2) D; S_W^(1/2) W] "
        "(theory §4.10a)"
    ),
    "implicit dissipative": (
        "||(I + h D^T D)^-1|| <= 1 for every h, so that the explicit reaction alone has the limit "
        "(theory §4.5 and §4.1)"
    ),
    "implicit plain": (
        "one IMEX Euler step grows by at most "
        "sqrt(1 + 2 h mu + h^2 L_R^2) / (1 + h sigma_min(D)^2) (theory §4.6)"
    ),
    "reaction": (
        "theta + (1 - theta) sqrt(1 + 2 h mu / (1 - theta) + (h L_R / (1 - theta))^2) bounds the "
        "growth for theta in [h Lambda / 2, 1) (theory §4.10b)"
    ),
    "residual": "the stages of the method with the Lipschitz constant L ||K2|| ||S K1|| of f",
    "layer": "L ||S K|| times the norm of the pooling (theory §4.9)",
    "classifier": "||W|| / sqrt(H W), the norm of the global average times that of the matrix",
    "splitting": (
        "the flows of diffusion and reaction are non-expansive one by one: the exact one always, a "
        "step within the limit of its part (theory §4.1, §4.5, §4.6)"
    ),
    "proximal": (
        "an implicit Euler step of a monotone field is a proximal map, firmly non-expansive for "
        "every h; other implicit methods within 2 r_cc (theory §4.2 and §4.5)"
    ),
    "frozen": (
        "no mode of frozen coefficients grows exponentially for h omega strictly inside the "
        "imaginary interval, omega^2 <= Lambda_1 Lambda_2 (theory §4.4); products of layers that "
        "differ can grow"
    ),
    "stages": "the stages and solves of the method with the Lipschitz constants of its parts",
    "not affine": (
        "a normalisation that depends on the image is not affine at inference: no theorem applies, "
        "growth is measured (theory §4.3)"
    ),
    "symmetric growth": (
        "the Jacobian I - h K^T D K is symmetric: growth at most max(1, h Lambda - 1), and "
        "1 + h Lambda_- where gains are negative"
    ),
    "lipschitz growth": "the stages of the method with the Lipschitz constant of f",
}
"""The sentences a verdict rests on, by name."""

_ALMOST_ONE = 1 - 1e-9


@dataclass(frozen=True)
class StepLimits:
    """The two limits of an explicit method on a monotone field (theory §4.2).

    Attributes:
        linear: largest ``h`` with ``h Lambda`` in the real stability interval: no growth of frozen
            coefficients, nothing more.
        nonexpansive: largest ``h`` with ``h Lambda <= 2 r_cc``: distances never grow, also where
            the coefficients change from step to step.
    """

    linear: float
    nonexpansive: float


def parabolic_limits(method: str | ButcherTableau, curvature: float) -> StepLimits:
    """Step limits of a method on ``y' = -K^T sigma(S K y + b)`` (theory §4.1, §4.2).

    ``h <= beta / Lambda`` (linear) and ``h <= 2 r_cc / Lambda`` (non-expansive).

    Args:
        method: a Runge-Kutta method or its name.
        curvature: ``Lambda = L ||S^(1/2) K||^2`` or a bound of it, in 1 / time.

    Raises:
        InputError: for a negative curvature.

    >>> parabolic_limits("heun", 4.0)
    StepLimits(linear=0.5, nonexpansive=0.5)
    """
    _require_nonnegative(curvature=curvature)
    table = as_tableau(method)
    radius = circle_contractivity_radius(table)
    interval = real_stability_interval(stability_function(table))
    if curvature == 0:
        return StepLimits(math.inf, math.inf)
    return StepLimits(interval / curvature, 2 * radius / curvature)


def parabolic_growth(
    method: str | ButcherTableau,
    step_size: float,
    curvature: float,
    negative_curvature: float = 0.0,
) -> float:
    """Certified Lipschitz constant of one step on a monotone field.

    One inside the non-expansive limit. Beyond it, for forward Euler, the extreme eigenvalues of
    the symmetric Jacobian ``I - h K^T D K``: ``max(1, h Lambda - 1)``; for other methods the bound
    of ``lipschitz_growth``.

    Args:
        method: a Runge-Kutta method or its name.
        step_size: ``h``.
        curvature: ``Lambda`` of the channels with non-negative gains.
        negative_curvature: ``L ||S_-^(1/2) K||^2`` of the channels with negative gains, which are
            anti-diffusive and grow by up to ``1 + h Lambda_-`` at every step.

    Raises:
        InputError: for negative numbers, and for an implicit method beyond its limit.

    >>> parabolic_growth("euler", 1.0, 2.0), parabolic_growth("euler", 1.0, 5.0)
    (1.0, 4.0)
    """
    _require_nonnegative(
        step_size=step_size, curvature=curvature, negative_curvature=negative_curvature
    )
    table = as_tableau(method)
    if table.explicit and table.stages == 1:
        return max(1.0 + step_size * negative_curvature, step_size * curvature - 1.0)
    if not negative_curvature and step_size <= parabolic_limits(method, curvature).nonexpansive:
        return 1.0
    return lipschitz_growth(method, step_size * max(curvature, negative_curvature))


def lipschitz_growth(method: str | ButcherTableau, lipschitz: float) -> float:
    """Lipschitz constant of one step by its stages, for ``h`` times the Lipschitz constant of f.

    ``l_i = 1 + z sum_j |a_ij| l_j`` and ``1 + z sum_i |b_i| l_i`` with ``z = h Lip(f)``.

    >>> lipschitz_growth("euler", 0.5), lipschitz_growth("heun", 1.0)
    (1.5, 2.5)
    """
    _require_nonnegative(lipschitz=lipschitz)
    table = as_tableau(method)
    if not table.explicit:
        raise InputError("an explicit method", table.name, "use the bound of implicit steps")
    stages: list[float] = []
    for row in table.A:
        known = zip(row, stages, strict=False)
        stages.append(1.0 + lipschitz * sum(abs(float(a)) * stage for a, stage in known))
    weighted = zip(table.b, stages, strict=True)
    return 1.0 + lipschitz * sum(abs(float(b)) * stage for b, stage in weighted)


@dataclass(frozen=True)
class ReactionConstants:
    """Constants of a point-wise reaction ``R(y) = sigma(S W y + b)`` (theory §4.6).

    Attributes:
        one_sided: upper bound of the one-sided Lipschitz constant ``mu``, 1 / time.
        lipschitz: Lipschitz constant ``L_R``, 1 / time.
    """

    one_sided: float
    lipschitz: float


def reaction_constants(
    matrix: np.ndarray, scaling: np.ndarray, slope: float = 1.0
) -> ReactionConstants:
    """Constants of the plain reaction ``sigma(S W y + b)`` (theory §4.6).

    ``mu <= (L / 2) max(0, lambda_max(sym S W) + ||S W||_2)`` and ``L_R = L ||S W||_2``, for any
    sign of the scaling.

    Args:
        matrix: ``W``, shape ``(c, c)``.
        scaling: ``s``, shape ``(c,)``.
        slope: ``L``.

    Raises:
        InputError: for a matrix that is not square or not finite, and for another number of scales.

    >>> reaction_constants(-np.eye(2), np.ones(2))
    ReactionConstants(one_sided=0.0, lipschitz=1.0)
    """
    scale, weights = np.asarray(scaling, dtype=float), np.asarray(matrix, dtype=float)
    if weights.ndim != 2 or not weights.shape == scale.shape * 2:
        raise InputError(
            "a square matrix and one scale a row",
            f"shapes {weights.shape} and {scale.shape}",
            "a reaction maps the channels to themselves",
        )
    scaled = scale[:, None] * weights
    if not np.isfinite(scaled).all():
        raise InputError("finite weights", "nan or inf", "use a checkpoint before the divergence")
    size = float(np.linalg.norm(scaled, 2))
    abscissa = float(np.linalg.eigvalsh((scaled + scaled.T) / 2)[-1])
    return ReactionConstants(slope / 2 * max(0.0, abscissa + size), slope * size)


def diffusion_reaction_growth(
    step_size: float, curvature: float, reaction: ReactionConstants
) -> float:
    """Certified growth of an explicit Euler step of diffusion and reaction (theory §4.10b).

    ``min over theta in [h Lambda / 2, 1) of theta + (1 - theta) sqrt(1 + 2 h mu / (1 - theta) +
    (h L_R / (1 - theta))^2)``, ``1 + h L_R`` at ``h Lambda = 2``; beyond that the sum of the
    growth of the diffusion, ``h Lambda - 1``, and of ``h L_R``.

    >>> diffusion_reaction_growth(1.0, 2.0, ReactionConstants(0.0, 0.5))
    1.5
    """
    _require_nonnegative(step_size=step_size, curvature=curvature)
    h, limit = step_size, step_size * curvature / 2
    if limit >= 1:
        return max(1.0, 2 * limit - 1) + h * reaction.lipschitz

    def growth(theta: float) -> float:
        rest = 1 - theta
        mu, lipschitz = h * reaction.one_sided / rest, h * reaction.lipschitz / rest
        return theta + rest * math.sqrt(1 + 2 * mu + lipschitz**2)

    # Any theta of the interval gives a valid bound, so that the minimiser need not be exact.
    bounds = [growth(limit), 1 + h * reaction.lipschitz]
    if limit < _ALMOST_ONE:
        found = minimize_scalar(growth, bounds=(limit, _ALMOST_ONE), method="bounded")
        bounds.append(float(found.fun))
    return min(bounds)


def imex_euler_growth(step_size: float, sigma_min: float, explicit_growth: float) -> float:
    """Growth of ``(I + h D^T D)^-1 (y + h R(y))``: the explicit one over ``1 + h sigma_min^2``.

    Args:
        step_size: ``h``.
        sigma_min: smallest singular value of ``D`` at the image size.
        explicit_growth: growth of ``y + h R(y)`` (theory §4.5, §4.6).

    >>> imex_euler_growth(0.5, 2.0, 1.5)
    0.5
    """
    return explicit_growth / (1 + step_size * sigma_min**2)


def reaction_growth(step_size: float, reaction: ReactionConstants) -> float:
    """Growth of an explicit Euler step of a reaction, ``sqrt(1 + 2 h mu + h^2 L_R^2)`` (§4.6).

    >>> reaction_growth(1.0, ReactionConstants(0.0, 1.0))
    1.4142135623730951
    """
    h = step_size
    return math.sqrt(1 + 2 * h * reaction.one_sided + (h * reaction.lipschitz) ** 2)


def pooling_norm(kind: str, size: int) -> float:
    """Lipschitz constant of pooling over disjoint ``size x size`` pixels (theory §4.9).

    >>> pooling_norm("average", 2), pooling_norm("max", 2)
    (0.5, 1.0)
    """
    if kind == "average":
        return 1.0 / size
    if kind == "max":
        return 1.0
    raise InputError("average or max pooling", kind, "name one of them")


def product(constants: Sequence[float]) -> float:
    """Certified Lipschitz constant of a chain of layers, the product of theirs (theory §4.9).

    Raises:
        InputError: for a constant that is negative or not a number.

    >>> product([2.0, 0.5, 3.0])
    3.0
    """
    wrong = [constant for constant in constants if not constant >= 0]
    if wrong:
        raise InputError("constants >= 0", wrong[0], "pass Lipschitz constants")
    return math.prod(constants)


def _require_nonnegative(**values: float) -> None:
    """Refuse negative numbers and NaN, which would pass through a maximum as growth one."""
    for name, value in values.items():
        if not value >= 0:
            raise InputError(
                f"a {name.replace('_', ' ')} >= 0", value, "check the weights it was computed from"
            )
