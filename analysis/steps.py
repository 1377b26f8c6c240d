"""The largest stable step size of a method on a spectrum, and the verdict on a given one.

>>> step = largest_stable_step("euler", [-1.0, -4.0])
>>> step.step_size, step.limiting_eigenvalue
(0.5, (-4+0j))
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.clouds import Complex, Eigenvalues, Operator, Pairs, RealInterval, Region
from analysis.errors import InputError
from analysis.methods import Method, method
from analysis.multistep_stability import RootCondition
from analysis.operator_steps import contractive_step, merge_defective
from analysis.oscillator_stability import OscillatorStability
from analysis.rays import exceeds_one, first_exit
from analysis.stability import StabilityFunction
from analysis.stability_of import Paired, Single, stability_of

ASSUMPTION = (
    "eigenvalues only: the statement holds for y' = A y with this spectrum and bounds powers of "
    "the step where A is diagonalisable; transient growth of a non-normal A is not excluded, and a "
    "defective eigenvalue with |R| = 1 (growth like a polynomial in the number of steps) cannot be "
    "recognised from a list of eigenvalues"
)
PAIRS_ASSUMPTION = (
    "the explicit and the implicit part share their eigenvectors (they commute), so that pairs of "
    "eigenvalues decide; parts that do not commute can grow where every pair decays"
)
REGION_ASSUMPTION = (
    "every eigenvalue may lie anywhere in the set; its boundary was sampled at {points} points and "
    "refined next to the one that leaves first"
)
OPERATOR_ASSUMPTION = (
    "y' = A y with this operator, constant in time; powers of the step are bounded, and their "
    "norms reach the transient growth of a non-normal A"
)

_SAMPLES = 1024
_REFINEMENTS = 3

Stepper = str | Method | Single | Paired


@dataclass(frozen=True)
class StableStep:
    """Result of `largest_stable_step`; step sizes in units of time, eigenvalues in 1 / time.

    Attributes:
        step_size: may be 0 or infinite.
        limiting_eigenvalue: the one of the list that leaves the region first, None where none
            does; for pairs the sum of both.
        statement: what was found, in a sentence.
        assumption: what it rests on.
        growing_rate: the largest real part where it is positive beyond `tolerance`, else 0.
        tolerance: eigenvalues closer to an axis than this counted as on it.
        warnings: what the reader should know.
        contractive_step: of an operator, the largest step up to which ||R(h A)||_2 <= 1 was found;
            None where only eigenvalues are known.
    """

    step_size: float
    limiting_eigenvalue: complex | None
    statement: str
    assumption: str
    growing_rate: float
    tolerance: float
    warnings: tuple[str, ...] = ()
    contractive_step: float | None = None


@dataclass(frozen=True)
class Amplification:
    """Result of `amplification`: the largest |R(h lambda)|, its eigenvalue, the verdict at h."""

    value: float
    eigenvalue: complex
    stable: bool
    warnings: tuple[str, ...] = ()


def _resolve(stepper: Stepper) -> tuple[Single | Paired, str]:
    if isinstance(stepper, str):
        stepper = method(stepper)
    if isinstance(stepper, Single | Paired):
        return stepper, "the method"
    return stability_of(stepper), stepper.name


def largest_stable_step(
    method: Stepper, spectrum: Any, *, tolerance: float | None = None
) -> StableStep:
    """sup {h : |R(h' lambda)| <= 1 for every eigenvalue and every h' in (0, h]} (theory §4.11).

    Real and imaginary eigenvalues use the exact intervals of the method, others the first point
    where their ray leaves the region. An eigenvalue with a positive real part gives 0: the problem
    itself grows, and so does every accurate solution.

    Args:
        method: name of a method, the method or its stability function.
        spectrum: an array of n real or complex eigenvalues of any shape; a `RealInterval`, `Disc`
            or `Hull` (a numerical range) in which they may lie anywhere; an `Operator`, of which
            more is known than its eigenvalues; `Pairs` for methods with an explicit and an
            implicit part.
        tolerance: in units of the eigenvalues, by default 100 u max|lambda|, and 100 u ||A|| of an
            operator. Of a non-normal A with unknown norm pass as much.

    Raises InputError for an unknown method, for an empty or non-finite spectrum, and for
    eigenvalues without their pairs where the method needs pairs.

    >>> largest_stable_step("rk4", [1j, -1j]).step_size
    2.8284271247461903
    >>> largest_stable_step("backward-euler", [0.5]).step_size
    0.0
    >>> largest_stable_step("ars111", Pairs(-3.0, [-1.0, -100.0])).step_size
    1.0
    """
    R, name = _resolve(method)
    if isinstance(R, Paired):
        return _pair_step(R, name, spectrum, tolerance)
    if isinstance(spectrum, Pairs):
        spectrum = sum(spectrum.arrays())
    if isinstance(spectrum, Operator):
        return _operator_step(R, name, spectrum, tolerance)
    if isinstance(spectrum, Region):
        return _region_step(R, name, spectrum, tolerance or 0.0)
    values = spectrum.ends if isinstance(spectrum, RealInterval) else spectrum
    return _single_step(R, name, Eigenvalues.of(values, tolerance))


def _single_step(R: Single, name: str, values: Eigenvalues) -> StableStep:
    if values.rate > 0:
        return _growing(name, values)
    size, index = _smallest_exit(R, values.snapped)
    limiting = complex(values.given[index]) if index >= 0 else None
    return StableStep(
        size,
        limiting,
        _statement(name, size, limiting, strict=not isinstance(R, StabilityFunction)),
        ASSUMPTION,
        0.0,
        values.tolerance,
        _remarks(R, values),
    )


def _smallest_exit(R: Single, snapped: Complex) -> tuple[float, int]:
    """Step size and index of the eigenvalue that leaves first, (inf, -1) where none does."""
    if isinstance(R, RootCondition) and not R.zero_stable:
        return 0.0, 0
    size, index = math.inf, -1
    re, im = snapped.real, np.abs(snapped.imag)
    axes = (
        ((re < 0) & (im == 0), -re, "real_interval"),
        ((re == 0) & (im > 0), im, "imaginary_interval"),
    )
    for on_axis, length, interval in axes:
        if np.any(on_axis):
            k = int(np.argmax(np.where(on_axis, length, 0.0)))
            step = float(getattr(R, interval)) / float(length[k])
            if step < size:
                size, index = step, k
    general = np.flatnonzero((re < 0) & (im > 0))
    if isinstance(R, StabilityFunction):
        modulus = np.abs(snapped[general])
        found = first_exit(R, modulus, np.arctan2(-re[general], im[general]), size)
    else:
        found = R.first_exit(snapped[general], size)
    return (found.step, int(general[found.which])) if found.which >= 0 else (size, index)


def _region_step(R: Single, name: str, region: Region, tolerance: float) -> StableStep:
    """The step for a filled set, by its boundary: |R| has its maximum there."""
    points = region.sides * math.ceil(_SAMPLES / region.sides)
    t, width = np.arange(points) / points, 1 / points
    result = _single_step(R, name, Eigenvalues.of(region.curve(t), tolerance))
    for _ in range(_REFINEMENTS):
        if result.limiting_eigenvalue is None or result.growing_rate or not result.step_size:
            break
        nearest = int(np.argmin(np.abs(region.curve(t) - result.limiting_eigenvalue)))
        t = t[nearest] + width * np.linspace(-1, 1, _SAMPLES + 1)
        width *= 2 / _SAMPLES
        finer = _single_step(R, name, Eigenvalues.of(region.curve(t), tolerance))
        result = finer if finer.step_size < result.step_size else result
    return replace(result, assumption=REGION_ASSUMPTION.format(points=points))


def _operator_step(R: Single, name: str, operator: Operator, tolerance: float | None) -> StableStep:
    """The step by the eigenvalues of an operator, with the answer of its norm beside it."""
    tolerance = operator.tolerance if tolerance is None else tolerance
    merged = merge_defective(operator)
    result = _single_step(R, name, Eigenvalues.of(merged.values, tolerance))
    warnings = list(result.warnings)
    for value in merged.defective:
        if result.growing_rate or abs(value.real) > tolerance:
            continue
        warnings.append(
            f"the eigenvalue {value:.6g} is defective and stays on the boundary: powers of the "
            "step grow like a polynomial in their number at every step size"
        )
    limiting = result.limiting_eigenvalue
    if limiting is not None and any(
        abs(v - limiting) <= 1e-6 * operator.norm for v in merged.defective
    ):
        warnings.append(
            f"the limiting eigenvalue {limiting:.6g} is defective: at the limit itself powers grow "
            "like a polynomial, stay below it"
        )
    contractive = None
    if isinstance(R, StabilityFunction):
        contractive = contractive_step(R, operator, result.step_size)
    if not operator.normal:
        beside = (
            "" if contractive is None else f"; its 2-norm is at most 1 for h <= {contractive:.6g}"
        )
        warnings.append(
            f"the operator is not normal (departure {operator.departure:.2g} of its norm): powers "
            f"of the step can grow in between before they decay{beside}"
        )
    return replace(
        result,
        assumption=OPERATOR_ASSUMPTION,
        warnings=tuple(warnings),
        contractive_step=contractive,
    )


def _pair_step(R: Paired, name: str, spectrum: Any, tolerance: float | None) -> StableStep:
    """The step of a method with an explicit and an implicit part."""
    explicit, implicit, values = _pairs(name, spectrum, tolerance)
    if values.rate > 0:
        return replace(_growing(name, values), assumption=PAIRS_ASSUMPTION)
    found = R.first_exit(explicit, implicit, math.inf)
    limiting = complex(values.given[found.which]) if found.which >= 0 else None
    return StableStep(
        found.step,
        limiting,
        _statement(name, found.step, limiting),
        PAIRS_ASSUMPTION,
        0.0,
        values.tolerance,
        (),
    )


def _pairs(
    name: str, spectrum: Any, tolerance: float | None
) -> tuple[Complex, Complex, Eigenvalues]:
    """Explicit and implicit eigenvalues, and their sums, which tell whether the problem grows.

    Sums within the tolerance of an axis are put on it: by the implicit part, or by making both
    zero where both are as small.
    """
    if not isinstance(spectrum, Pairs):
        raise InputError(
            f"pairs of an explicit and an implicit eigenvalue for {name}",
            "one list",
            "pass Pairs(explicit, implicit)",
        )
    explicit, implicit = spectrum.arrays()
    bound = max(Eigenvalues.of(part, tolerance).tolerance for part in (explicit, implicit))
    sums = Eigenvalues.of(explicit + implicit, bound)
    tiny = (np.abs(explicit) <= bound) & (np.abs(implicit) <= bound)
    moved = np.where(sums.snapped == sums.given, implicit, sums.snapped - explicit)
    return np.where(tiny, 0.0, explicit), np.where(tiny, 0.0, moved), sums


def _growing(name: str, values: Eigenvalues) -> StableStep:
    """The result for a spectrum with a positive real part."""
    k = int(np.argmax(values.snapped.real))
    return StableStep(
        0.0,
        complex(values.given[k]),
        f"the problem itself grows at rate {values.rate:.6g}, so {name} grows at all small step "
        "sizes; judge its growth relative to exp(h Re lambda) (theory §4.11)",
        ASSUMPTION,
        values.rate,
        values.tolerance,
        _moved(values),
    )


def _statement(name: str, size: float, limiting: complex | None, *, strict: bool = False) -> str:
    region = "|R(h lambda)| <= 1 for all eigenvalues"
    if limiting is None:
        return f"{region} and every step size h of {name} (theory §4.11)"
    if size == 0:
        why = "" if limiting.real else "; the method's imaginary interval is 0"
        return (
            f"no step size of {name} is stable: |R(h lambda)| > 1 for every small h at the "
            f"eigenvalue {limiting:.6g}{why} (theory §4.11)"
        )
    return (
        f"{region} and every step size 0 < h {'<' if strict else '<='} {size:.6g} of {name}, no "
        "further: "
        f"{limiting:.6g} leaves the region there (theory §4.11)"
    )


def _remarks(R: Single, values: Eigenvalues) -> tuple[str, ...]:
    """What the reader should know of the method and the tolerance."""
    words = _moved(values)
    if isinstance(R, OscillatorStability):
        words += (
            "strictly below the limit: at it, and for zero eigenvalues at every step size, errors "
            "grow linearly; eigenvalues are +-i omega of the first-order system",
        )
    return words


def _moved(values: Eigenvalues) -> tuple[str, ...]:
    """What the tolerance decided, where it decided anything."""
    moved = values.moved()
    if not moved:
        return ()
    return (
        f"{moved} of {values.given.size} eigenvalues lie within {values.tolerance:.3g} of the real "
        "or imaginary axis and count as on it",
    )


def amplification(method: Stepper, spectrum: Any, step_size: float) -> Amplification:
    """max |R(h lambda)| over the spectrum at one step size h, and whether h itself is stable.

    Stable means |R| <= 1 for every eigenvalue, up to the rounding errors of its evaluation; of
    multistep methods R stands for the largest root. Warnings name an island (h is stable, some
    smaller steps are not) and, where the problem itself grows, its growth relative to
    exp(h Re lambda). Raises InputError for a step size that is not positive.

    >>> amplification("euler", [-1.0], 2.5)
    Amplification(value=1.5, eigenvalue=(-1+0j), stable=False, warnings=())
    """
    R, name = _resolve(method)
    if not (math.isfinite(step_size) and step_size > 0):
        raise InputError("a positive finite step size", step_size, "pass a step size such as 0.1")
    values, modulus, unstable = _moduli(R, name, spectrum, step_size)
    stable = not bool(np.any(unstable))
    # An excess over one can be below the last digit of the modulus: prefer eigenvalues that grow.
    k = int(np.argmax(modulus if stable else np.where(unstable, modulus, -np.inf)))
    warnings = []
    if stable:
        limit = largest_stable_step(method, spectrum).step_size
        if step_size > limit * (1 + 1e-12):
            smaller = f"all steps up to {limit:.6g} are stable" if limit else "small steps are not"
            warnings.append(
                f"step size {step_size:.6g} lies in an isolated island of stability of {name}: "
                f"not every smaller step is stable; {smaller}"
            )
    if values.rate > 0:
        warnings.append(_relative_growth(values, modulus, step_size))
    return Amplification(float(modulus[k]), complex(values.given[k]), stable, tuple(warnings))


def _moduli(
    R: Single | Paired, name: str, spectrum: Any, step_size: float
) -> tuple[Eigenvalues, NDArray[np.float64], NDArray[np.bool_]]:
    """Eigenvalues (of pairs the sums), |R| and whether it exceeds one."""
    if isinstance(R, Paired):
        explicit, implicit, sums = _pairs(name, spectrum, None)
        z, w = step_size * explicit, step_size * implicit
        return sums, np.abs(R(z, w)), R.exceeds_one(z, w)
    if isinstance(spectrum, Pairs):
        spectrum = sum(spectrum.arrays())
    elif isinstance(spectrum, Operator):
        merged = merge_defective(spectrum).values
        spectrum = Eigenvalues.of(merged, spectrum.tolerance)
    elif isinstance(spectrum, RealInterval):
        spectrum = np.linspace(spectrum.lowest, spectrum.highest, _SAMPLES + 1)
    elif isinstance(spectrum, Region):
        points = spectrum.sides * math.ceil(_SAMPLES / spectrum.sides)
        curve = spectrum.curve(np.arange(points) / points)
        if isinstance(R, StabilityFunction) and R.poles.size:
            # A pole inside lets |R| be as large as you like within, however small on the edge.
            poles = R.poles / step_size
            curve = np.concatenate([curve, poles[spectrum.contains(poles)]])
        spectrum = curve
    values = Eigenvalues.of(spectrum)
    z = step_size * values.snapped
    outside = exceeds_one(R, z) if isinstance(R, StabilityFunction) else R.exceeds_one(z)
    return values, np.abs(R(z)), outside


def _relative_growth(values: Eigenvalues, modulus: NDArray[np.float64], step_size: float) -> str:
    k = int(np.argmax(values.snapped.real))
    rate = float(values.snapped.real[k])
    relative = float(modulus[k]) / math.exp(min(step_size * rate, 700.0))
    return (
        f"the problem itself grows at rate {values.rate:.6g} (eigenvalue "
        f"{complex(values.given[k]):.6g}): one step multiplies this mode by {modulus[k]:.6g}, "
        f"{relative:.6g} times the exact exp(h Re lambda)"
    )
