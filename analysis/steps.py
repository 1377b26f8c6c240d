"""The largest stable step size of a method on a spectrum, and the verdict on a given one.

>>> step = largest_stable_step("euler", [-1.0, -4.0])
>>> step.step_size, step.limiting_eigenvalue
(0.5, (-4+0j))
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.errors import InputError
from analysis.rays import exceeds_one, first_exit
from analysis.stability import (
    StabilityFunction,
    as_tableau,
    imaginary_stability_interval,
    real_stability_interval,
    stability_function,
)
from analysis.tableau import ButcherTableau

Complex = NDArray[np.complex128]

TOLERANCE_FACTOR = 100.0
"""c in the tolerance c u ||A||: eigenvalues closer to an axis than this count as on it."""

ASSUMPTION = (
    "eigenvalues only: the statement holds for y' = A y with this spectrum and bounds powers of "
    "R(hA) where A is diagonalisable; transient growth of a non-normal A is not excluded, and a "
    "defective eigenvalue with |R| = 1 (growth like a polynomial in the number of steps) cannot be "
    "recognised from a list of eigenvalues"
)

Method = str | ButcherTableau | StabilityFunction


@dataclass(frozen=True)
class StableStep:
    """Result of `largest_stable_step`; step sizes in units of time, eigenvalues in 1 / time.

    `step_size` may be 0 or infinite; `limiting_eigenvalue` is the one of the list that leaves the
    region first (None where none does); `growing_rate` is the largest real part where it is
    positive beyond `tolerance`, else 0.
    """

    step_size: float
    limiting_eigenvalue: complex | None
    statement: str
    assumption: str
    growing_rate: float
    tolerance: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Amplification:
    """Result of `amplification`: the largest |R(h lambda)|, its eigenvalue, the verdict at h."""

    value: float
    eigenvalue: complex
    stable: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Spectrum:
    """Eigenvalues as given and with those within the tolerance of an axis put on it."""

    given: Complex
    snapped: Complex
    tolerance: float

    @property
    def rate(self) -> float:
        """The largest real part, 0 where none is positive beyond the tolerance."""
        return max(float(self.snapped.real.max()), 0.0)


def _resolve(method: Method) -> tuple[StabilityFunction, str]:
    if isinstance(method, StabilityFunction):
        return method, "the method"
    table = as_tableau(method)
    return stability_function(table), table.name


def _spectrum(values: Any, tolerance: float | None) -> _Spectrum:
    """The checked spectrum; the default tolerance is c u max|lambda|, u as in the input's type."""
    values = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        array = np.asarray(values)
        given = np.ravel(array).astype(complex)
    except (TypeError, ValueError):
        raise InputError(
            "a list of eigenvalues", type(values).__name__, "pass real or complex numbers"
        ) from None
    if not given.size:
        raise InputError("at least one eigenvalue", "an empty spectrum", "pass its eigenvalues")
    broken = int(np.count_nonzero(~np.isfinite(given)))
    if broken:
        raise InputError(
            "finite eigenvalues",
            f"{broken} of {given.size} infinite or not a number",
            "check the operator, its weights may have diverged",
        )
    if tolerance is None:
        unit = 2.0**-24 if array.dtype in (np.float32, np.complex64) else 2.0**-53
        tolerance = TOLERANCE_FACTOR * unit * float(np.abs(given).max())
    elif not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError("a tolerance >= 0", tolerance, "leave it out for the default")
    re = np.where(np.abs(given.real) <= tolerance, 0.0, given.real)
    im = np.where(np.abs(given.imag) <= tolerance, 0.0, given.imag)
    return _Spectrum(given, re + 1j * im, tolerance)


def largest_stable_step(
    method: Method, spectrum: Any, *, tolerance: float | None = None
) -> StableStep:
    """sup {h : |R(h' lambda)| <= 1 for every eigenvalue and every h' in (0, h]} (theory §4.11).

    `spectrum` is an array of n real or complex eigenvalues of any shape; `tolerance` (in units of
    the eigenvalues) defaults to 100 u max|lambda|. For a non-normal A, whose norm is larger and
    whose computed eigenvalues are less accurate, pass 100 u ||A|| or more. Real and imaginary
    eigenvalues use the exact intervals, others the first point where their ray leaves the region.
    An eigenvalue with a positive real part gives 0: the problem itself grows, and so does every
    accurate solution.
    Raises InputError for an unknown method and for an empty or non-finite spectrum.

    >>> largest_stable_step("rk4", [1j, -1j]).step_size
    2.8284271247461903
    >>> largest_stable_step("backward-euler", [0.5]).step_size
    0.0
    """
    R, name = _resolve(method)
    values = _spectrum(spectrum, tolerance)
    if values.rate > 0:
        return _growing(name, values)
    size, index = _smallest_exit(R, values.snapped)
    limiting = complex(values.given[index]) if index >= 0 else None
    return StableStep(
        size,
        limiting,
        _statement(name, size, limiting),
        ASSUMPTION,
        0.0,
        values.tolerance,
        _remarks(values),
    )


def _smallest_exit(R: StabilityFunction, snapped: Complex) -> tuple[float, int]:
    """Step size and index of the eigenvalue that leaves first, (inf, -1) where none does."""
    size, index = math.inf, -1
    re, im = snapped.real, np.abs(snapped.imag)
    axes = (
        ((re < 0) & (im == 0), -re, real_stability_interval),
        ((re == 0) & (im > 0), im, imaginary_stability_interval),
    )
    for on_axis, length, interval in axes:
        if np.any(on_axis):
            k = int(np.argmax(np.where(on_axis, length, 0.0)))
            step = interval(R) / float(length[k])
            if step < size:
                size, index = step, k
    general = np.flatnonzero((re < 0) & (im > 0))
    modulus = np.abs(snapped[general])
    found = first_exit(R, modulus, np.arctan2(-re[general], im[general]), size)
    return (found.step, int(general[found.which])) if found.which >= 0 else (size, index)


def _growing(name: str, values: _Spectrum) -> StableStep:
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
        _remarks(values),
    )


def _statement(name: str, size: float, limiting: complex | None) -> str:
    region = "|R(h lambda)| <= 1 for all eigenvalues"
    if limiting is None:
        return f"{region} and every step size h of {name} (theory §4.11)"
    if size == 0:
        return (
            f"no step size of {name} is stable: |R(h lambda)| > 1 for every small h at the "
            f"eigenvalue {limiting:.6g}; the method's imaginary interval is 0 (theory §4.11)"
        )
    return (
        f"{region} and every step size 0 < h <= {size:.6g} of {name}, no further: "
        f"{limiting:.6g} leaves the region there (theory §4.11)"
    )


def _remarks(values: _Spectrum) -> tuple[str, ...]:
    """What the tolerance decided, where it decided anything."""
    moved = np.count_nonzero(
        ((values.snapped.real == 0) & (values.given.real != 0))
        | ((values.snapped.imag == 0) & (values.given.imag != 0))
    )
    if not moved:
        return ()
    return (
        f"{moved} of {values.given.size} eigenvalues lie within {values.tolerance:.3g} of the real "
        "or imaginary axis and count as on it",
    )


def amplification(method: Method, spectrum: Any, step_size: float) -> Amplification:
    """max |R(h lambda)| over the spectrum at one step size h, and whether h itself is stable.

    Stable means |R| <= 1 for every eigenvalue, up to the rounding errors of its evaluation.
    Warnings name an island (h is stable, some smaller steps are not) and, where the problem itself
    grows, its growth relative to exp(h Re lambda). Raises InputError for a step size that is not
    positive.

    >>> amplification("euler", [-1.0], 2.5)
    Amplification(value=1.5, eigenvalue=(-1+0j), stable=False, warnings=())
    """
    R, name = _resolve(method)
    values = _spectrum(spectrum, None)
    if not (math.isfinite(step_size) and step_size > 0):
        raise InputError("a positive finite step size", step_size, "pass a step size such as 0.1")
    z = step_size * values.snapped
    modulus = np.abs(R(z))
    unstable = exceeds_one(R, z)
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


def _relative_growth(values: _Spectrum, modulus: NDArray[np.float64], step_size: float) -> str:
    k = int(np.argmax(values.snapped.real))
    rate = float(values.snapped.real[k])
    relative = float(modulus[k]) / math.exp(min(step_size * rate, 700.0))
    return (
        f"the problem itself grows at rate {values.rate:.6g} (eigenvalue "
        f"{complex(values.given[k]):.6g}): one step multiplies this mode by {modulus[k]:.6g}, "
        f"{relative:.6g} times the exact exp(h Re lambda)"
    )
