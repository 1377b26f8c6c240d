"""Sets of eigenvalues whose steps are judged: lists, pairs, intervals, discs, hulls, operators.

>>> Disc(-2.0, 1.0).curve(np.arange(4) / 4).round(6) + 0.0
array([-1.+0.j, -2.+1.j, -3.+0.j, -2.-1.j])
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.errors import InputError

Complex = NDArray[np.complex128]

TOLERANCE_FACTOR = 100.0
"""c in the tolerance c u ||A||: eigenvalues closer to an axis than this count as on it."""

NORMAL = 1e-5
"""Departure from normality up to which an operator counts as normal: it is known to sqrt(n u)."""


@dataclass(frozen=True, eq=False)
class Eigenvalues:
    """A checked list, as given and with those within the tolerance of an axis put on it.

    Attributes:
        given: complex, shape (n,), 1 / time.
        snapped: the same with tiny real or imaginary parts set to zero.
        tolerance: what tiny is, 1 / time.
    """

    given: Complex
    snapped: Complex
    tolerance: float

    @classmethod
    def of(cls, values: Any, tolerance: float | None = None) -> Eigenvalues:
        """The checked list; the default tolerance is 100 u max|lambda|, u as in the input's type.

        Raises InputError for an empty list, values that are not finite, and a negative tolerance.
        """
        if isinstance(values, Eigenvalues):
            return values
        array = _numbers(values)
        given = np.ravel(array).astype(complex)
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
            tolerance = TOLERANCE_FACTOR * _unit(array) * float(np.abs(given).max())
        elif not (math.isfinite(tolerance) and tolerance >= 0):
            raise InputError("a tolerance >= 0", tolerance, "leave it out for the default")
        re = np.where(np.abs(given.real) <= tolerance, 0.0, given.real)
        im = np.where(np.abs(given.imag) <= tolerance, 0.0, given.imag)
        return cls(given, re + 1j * im, tolerance)

    @property
    def rate(self) -> float:
        """The largest real part, 0 where none is positive beyond the tolerance."""
        return max(float(self.snapped.real.max()), 0.0)

    def moved(self) -> int:
        """How many the tolerance put on an axis."""
        real = (self.snapped.real == 0) & (self.given.real != 0)
        return int(np.count_nonzero(real | ((self.snapped.imag == 0) & (self.given.imag != 0))))


def _unit(array: NDArray[Any]) -> float:
    """The unit of rounding of the type of an array."""
    return 2.0**-24 if array.dtype in (np.float32, np.complex64) else 2.0**-53


def _numbers(values: Any) -> NDArray[Any]:
    values = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        array = np.asarray(values)
        array.astype(complex)
    except (TypeError, ValueError):
        raise InputError(
            "a list of eigenvalues", type(values).__name__, "pass real or complex numbers"
        ) from None
    return array


@dataclass(frozen=True, eq=False)
class Pairs:
    """Eigenvalues of two parts that share their eigenvectors, for implicit-explicit methods.

    Attributes:
        explicit: lambda_i, complex or real, any shape, 1 / time.
        implicit: mu_i, of a shape that broadcasts with it.
    """

    explicit: Any
    implicit: Any

    def arrays(self) -> tuple[Complex, Complex]:
        """Both as complex arrays of one shape (n,)."""
        try:
            both = np.broadcast_arrays(_numbers(self.explicit), _numbers(self.implicit))
        except ValueError:
            raise InputError(
                "explicit and implicit eigenvalues of matching shapes",
                f"{np.shape(self.explicit)} and {np.shape(self.implicit)}",
                "pass one implicit eigenvalue for each explicit one",
            ) from None
        first, second = (np.ravel(x).astype(complex) for x in both)
        return first, second


@dataclass(frozen=True)
class RealInterval:
    """All real numbers from `lowest` to `highest`, 1 / time."""

    lowest: float
    highest: float

    def __post_init__(self) -> None:
        if not (self.lowest <= self.highest and math.isfinite(self.highest - self.lowest)):
            raise InputError(
                "finite ends, the lower one first", (self.lowest, self.highest), "exchange them"
            )

    @property
    def ends(self) -> Complex:
        """Both ends: on a ray the further one leaves the region first."""
        return np.array([self.lowest, self.highest], dtype=complex)


@dataclass(frozen=True)
class Disc:
    """The disc of all numbers within `radius` of `centre`, 1 / time."""

    centre: complex
    radius: float

    def __post_init__(self) -> None:
        if not (self.radius >= 0 and math.isfinite(self.radius + abs(self.centre))):
            raise InputError(
                "a finite centre and a radius >= 0", (self.centre, self.radius), "check the disc"
            )

    sides = 1

    def contains(self, z: Complex) -> NDArray[np.bool_]:
        """Whether points lie in the disc, its edge included."""
        return np.asarray(np.abs(z - self.centre) <= self.radius)

    def curve(self, t: NDArray[np.float64]) -> Complex:
        """Its circle for t in [0, 1], from the right, counterclockwise."""
        return np.asarray(self.centre + self.radius * np.exp(2j * np.pi * t))


@dataclass(frozen=True, eq=False)
class Hull:
    """A polygon of eigenvalues, such as the outer polygon of a numerical range.

    Attributes:
        corners: complex, shape (m,), in order.
    """

    corners: Complex

    def __post_init__(self) -> None:
        object.__setattr__(self, "corners", Eigenvalues.of(self.corners).given)

    def contains(self, z: Complex) -> NDArray[np.bool_]:
        """Whether points lie inside, by the winding of the sides around them."""
        start = self.corners[:, None] - np.ravel(z)
        end = np.roll(self.corners, -1)[:, None] - np.ravel(z)
        with np.errstate(all="ignore"):
            turns = np.nan_to_num(np.angle(end / start)).sum(axis=0) / (2 * np.pi)
        return np.asarray(np.abs(turns) > 0.5).reshape(np.shape(z))

    @property
    def sides(self) -> int:
        """Number of sides."""
        return len(self.corners)

    def curve(self, t: NDArray[np.float64]) -> Complex:
        """Its sides for t in [0, 1], each as long in t as the others."""
        corners = self.corners
        at = (t % 1) * len(corners)
        side = np.minimum(at.astype(int), len(corners) - 1)
        start, end = corners[side], corners[(side + 1) % len(corners)]
        return np.asarray(start + (at - side) * (end - start))


@dataclass(frozen=True, eq=False)
class Operator:
    """A linear field y' = A y as the direct sum of small blocks: more than its eigenvalues.

    Attributes:
        blocks: shape (F, n, n), real or complex, 1 / time.
        eigenvalues: of all blocks, shape (F n,).
        norm: ||A||, the largest of the blocks' norms.
        departure: largest sqrt(||A||_F^2 - sum |lambda|^2) of a block over its norm: 0 if normal.
        unit: of rounding of the type the blocks had, 2^-53 or 2^-24.
    """

    blocks: NDArray[Any]
    eigenvalues: Complex
    norm: float
    departure: float
    unit: float

    @classmethod
    def of(cls, blocks: Any) -> Operator:
        """The field of one matrix (n, n) or of a stack of blocks (F, n, n).

        Raises InputError for other shapes and for entries that are not finite.

        >>> Operator.of([[-1.0, 100.0], [0.0, -2.0]]).normal
        False
        """
        array = _numbers(blocks)
        stack = array[None] if array.ndim == 2 else array
        if stack.ndim != 3 or stack.shape[1] != stack.shape[2] or not stack.size:
            raise InputError(
                "a square matrix or a stack of them", f"shape {array.shape}", "pass (F, n, n)"
            )
        if not np.isfinite(stack).all():
            raise InputError("finite entries", "nan or inf", "check the operator")
        stack = stack.astype(complex if np.iscomplexobj(stack) else float)
        values = np.linalg.eigvals(stack)
        norms = np.linalg.norm(stack, 2, axis=(1, 2))
        excess = np.linalg.norm(stack, axis=(1, 2)) ** 2 - (np.abs(values) ** 2).sum(axis=1)
        share = np.sqrt(np.maximum(excess, 0.0)) / np.where(norms > 0, norms, 1.0)
        departure = float(share.max())
        spectrum = values.ravel().astype(complex)
        return cls(stack, spectrum, float(norms.max()), departure, _unit(array))

    @property
    def tolerance(self) -> float:
        """Eigenvalues within 100 u ||A|| of an axis count as on it."""
        return TOLERANCE_FACTOR * self.unit * self.norm

    @property
    def normal(self) -> bool:
        """Whether eigenvalues tell everything: eigenvectors are orthogonal up to rounding."""
        return self.departure <= max(NORMAL, math.sqrt(self.unit))


Region = Disc | Hull
"""Sets with a boundary curve, filled: the maximum principle makes the curve enough."""
