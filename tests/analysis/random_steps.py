"""Random methods on random spectra, their largest stable step checked stage by stage.

The reference takes steps by the tables themselves in 40 digits, without stability functions, exact
intervals or root loci: inside the limit nothing grows, just beyond it the limiting mode does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from analysis.clouds import Pairs
from analysis.methods import METHODS, Method, method
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.splitting import SplittingMethod
from analysis.stabilised import StabilisedMethod
from analysis.steps import largest_stable_step
from analysis.tableau import ButcherTableau, ImexTableau

SEED = 41
DIGITS = 40
GROWTH = mpmath.mpf(10) ** -11
"""Excess over one that counts as growth inside the limit: limits are known to 1e-9 or better."""
MARGIN = 1e-6
INSIDE = (1e-4, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.999, 1 - MARGIN)
KINDS = ("registry", "explicit", "diagonally implicit", "multistep", "implicit-explicit")
NAMES = [name for name in METHODS if not isinstance(method(name), SplittingMethod)]


@dataclass(frozen=True)
class Finding:
    """One method on one spectrum: what was found, and what is wrong with it."""

    index: int
    kind: str
    method: str
    limit: float
    faults: tuple[str, ...]


def examine(index: int, seed: int = SEED) -> Finding:
    """Make the case of an index and check its limit on both sides."""
    rng = np.random.default_rng([seed, index])
    kind = KINDS[index % len(KINDS)]
    stepper = _method(kind, rng)
    spectrum = _spectrum(stepper, rng)
    cloud: Any = Pairs(spectrum[:, 0], spectrum[:, 1]) if spectrum.ndim == 2 else spectrum
    found = largest_stable_step(stepper, cloud)
    name = stepper.name if kind == "registry" else kind
    if found.growing_rate:
        return Finding(index, kind, name, 0.0, ())
    faults = tuple(_faults(stepper, spectrum, found.step_size))
    return Finding(index, kind, name, found.step_size, faults)


def _faults(stepper: Method, spectrum: np.ndarray, limit: float) -> Sequence[str]:
    faults = []
    size = float(np.abs(spectrum).max())
    steps = [limit * share for share in INSIDE] if math.isfinite(limit) else []
    if math.isinf(limit):
        steps = [x / size for x in (1e-3, 0.1, 1.0, 10.0, 1e3, 1e6)]
    with mpmath.workdps(DIGITS):
        for step in steps if limit else []:
            worst = max(_factor(stepper, mode, step) for mode in spectrum)
            if worst > 1 + GROWTH:
                faults.append(f"growth {float(worst - 1):.2e} at {step / limit:.6g} of the limit")
        if math.isfinite(limit):
            worst = max(
                _factor(stepper, mode, step) for mode in spectrum for step in _beyond(limit, mode)
            )
            if worst <= 1:
                faults.append("no growth beyond the limit")
    return faults


def _beyond(limit: float, mode: Any) -> list[float]:
    """Steps just beyond a limit; beyond 0 small ones in the units of the mode itself."""
    if limit:
        return [limit * (1 + MARGIN), limit * 1.001]
    size = float(np.abs(mode).max())
    return [x / size for x in (1e-2, 0.05)] if size else []


# Methods


def _rational(rng: np.random.Generator, low: int = -6, high: int = 7) -> Fraction:
    return Fraction(int(rng.integers(low, high)), int(rng.integers(1, 7)))


def _weights(rng: np.random.Generator, count: int) -> list[Fraction]:
    b = [_rational(rng) for _ in range(count)]
    b[int(rng.integers(count))] += 1 - sum(b)
    return b


def _method(kind: str, rng: np.random.Generator) -> Method:
    if kind == "registry":
        return method(NAMES[int(rng.integers(len(NAMES)))])
    if kind == "multistep":
        return _multistep(rng)
    s = int(rng.integers(1, 6))
    lower = [[_rational(rng) if j < i else Fraction(0) for j in range(s)] for i in range(s)]
    if kind == "explicit":
        return ButcherTableau("explicit", lower, _weights(rng, s))
    s = min(s, 3)
    diagonal = [Fraction(int(rng.integers(0, 5)), 4) for _ in range(s)]
    implicit = [
        [diagonal[i] if i == j else (_rational(rng) if j < i else Fraction(0)) for j in range(s)]
        for i in range(s)
    ]
    table = ButcherTableau("implicit", implicit, _weights(rng, s))
    if kind == "diagonally implicit":
        return table
    # The explicit row sums are those of the implicit table: the first stage is explicit in both.
    implicit[0][0] = Fraction(0)
    explicit = [[_rational(rng) if j < i else Fraction(0) for j in range(s)] for i in range(s)]
    for i in range(1, s):
        explicit[i][0] += sum(implicit[i]) - sum(explicit[i])
    return ImexTableau(
        "pair",
        ButcherTableau("explicit", explicit, _weights(rng, s)),
        ButcherTableau("implicit", implicit, table.b),
    )


def _multistep(rng: np.random.Generator) -> MultistepMethod:
    """A consistent method with roots of rho at one and at rationals inside the circle."""
    k = int(rng.integers(1, 4))
    rho = [Fraction(1)]
    for r in [Fraction(1), *(Fraction(int(rng.integers(-7, 8)), 8) for _ in range(k - 1))]:
        rho = [a - r * b for a, b in zip([Fraction(0), *rho], [*rho, Fraction(0)], strict=True)]
    beta = [_rational(rng) for _ in range(k + 1)]
    if rng.random() < 0.5:
        beta[-1] = Fraction(0)
    beta[0] += sum(j * a for j, a in enumerate(rho)) - sum(beta)
    return MultistepMethod("random", rho, beta)


# Spectra


def _spectrum(stepper: Method, rng: np.random.Generator) -> np.ndarray:
    """Few modes of very different sizes: decaying, oscillating, next to the axis, or pairs."""
    count = int(rng.integers(1, 5))
    size = 10.0 ** rng.uniform(-3, 3, count)
    angle = rng.choice([0.0, 1e-3, 0.3, 0.9, 1.4, math.pi / 2 - 1e-3, math.pi / 2], count)
    values = -size * np.cos(angle) + 1j * size * np.sin(angle) * rng.choice([-1, 1], count)
    values.real[angle == math.pi / 2] = 0.0
    if not isinstance(stepper, ImexTableau | ImexMultistep):
        return np.asarray(values)
    implicit = -(10.0 ** rng.uniform(-3, 3, count)) * rng.choice([0, 1], count)
    return np.stack([values, implicit.astype(complex)], axis=1)


# One step in many digits


def _factor(stepper: Method, mode: Any, step: float) -> Any:
    """Modulus of the factor of a step on one mode (largest root of multistep methods)."""
    z = [mpmath.mpc(complex(x)) * mpmath.mpf(step) for x in np.atleast_1d(mode)]
    if isinstance(stepper, StabilisedMethod):
        return abs(_recurrence(stepper, z[0]))
    if isinstance(stepper, ButcherTableau):
        return abs(_runge_kutta(stepper, z[0]))
    if isinstance(stepper, ImexTableau):
        return abs(_additive(stepper, *z))
    coefficients = [_exact(a) for a in stepper.alpha]
    parts = [stepper.beta, stepper.beta_implicit] if len(z) == 2 else [stepper.beta]
    for factor, part in zip(z, parts, strict=True):
        coefficients = [a - factor * _exact(b) for a, b in zip(coefficients, part, strict=True)]
    return _largest_root(coefficients)


def _exact(x: Any) -> Any:
    if hasattr(x, "radicand"):
        return _exact(x.rational) + _exact(x.factor) * mpmath.sqrt(x.radicand)
    return mpmath.mpf(x.numerator) / x.denominator


def _runge_kutta(table: ButcherTableau, z: Any) -> Any:
    s = table.stages
    matrix = mpmath.eye(s) - z * mpmath.matrix([[_exact(a) for a in row] for row in table.A])
    stages = mpmath.lu_solve(matrix, mpmath.ones(s, 1))
    return 1 + z * sum(_exact(b) * y for b, y in zip(table.b, stages, strict=True))


def _additive(pair: ImexTableau, z: Any, w: Any) -> Any:
    stages: list[Any] = []
    for i in range(pair.stages):
        rows = zip(pair.explicit.A[i], pair.implicit.A[i], stages, strict=False)
        known = 1 + sum((z * _exact(a) + w * _exact(b)) * y for a, b, y in rows)
        stages.append(known / (1 - w * _exact(pair.implicit.A[i][i])))
    rows = zip(pair.explicit.b, pair.implicit.b, stages, strict=True)
    return 1 + sum((z * _exact(a) + w * _exact(b)) * y for a, b, y in rows)


def _recurrence(stabilised: StabilisedMethod, z: Any) -> Any:
    first, *rest = stabilised.recurrence
    before, now = mpmath.mpf(1), 1 + _exact(first.mu_slope) * z
    for stage in rest:
        mu, nu, slope, shift = map(_exact, stage)
        before, now = now, 1 - mu - nu + mu * now + nu * before + slope * z * now + shift * z
    return now


def _largest_root(ascending: Sequence[Any]) -> Any:
    p = list(ascending)
    while abs(p[-1]) < mpmath.mpf(10) ** -30 * max(map(abs, p)):
        return mpmath.inf  # a root at infinity
    while abs(p[0]) < mpmath.mpf(10) ** -35:
        p = p[1:]
    if len(p) < 2:
        return mpmath.mpf(0)
    roots = mpmath.polyroots(p[::-1], maxsteps=500, extraprec=300, error=False)
    return max(abs(r) for r in roots)
