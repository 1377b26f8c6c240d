"""Lower bounds of the Kreiss constant: growth that powers or exponentials reach (theory §4.7)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import eig
from scipy.optimize import minimize

from analysis.errors import InputError, unknown_name
from analysis.krylov import UNIT_ROUNDOFF, Operator, norm, square_blocks
from analysis.resolvent import Resolvent, resolvent

Kind = Literal["discrete", "continuous"]
_KINDS = ("discrete", "continuous")
_GAPS = 24
_OUTERMOST = 16
_ASCENTS = 3


@dataclass(frozen=True)
class KreissBound:
    """A lower bound of the Kreiss constant, and so of the largest power or exponential.

    Attributes:
        value: the bound; 1 where no point tried gives more, infinite where the spectrum grows.
        point: ``z`` that attains it; infinite for the limit 1 at infinity, an eigenvalue for an
            infinite value.
        kind: ``discrete`` (powers) or ``continuous`` (exponential).
        statement: the inequality it belongs to, and what it rests on.
    """

    value: float
    point: complex
    kind: Kind
    statement: str


def kreiss_lower_bound(
    A: Operator, kind: Kind = "discrete", *, samples: int = 32, vectors: int = 60
) -> KreissBound:
    """Lower bound of the Kreiss constant, sampled and then improved locally.

        discrete    K = sup over |z| > 1   of  (|z| - 1) / sigma_min(z I - A)  <= sup_n ||A^n||
        continuous  K = sup over Re z > 0  of       Re z / sigma_min(z I - A)  <= sup_t ||exp(tA)||

    and ``sup <= e N K`` with ``N`` rows of a block. Every ``z`` tried gives a true lower bound,
    rounding allowed for; the supremum itself may lie higher. Infinite where an eigenvalue lies
    beyond the circle or the axis by more than rounding can move it.
    Source: theory §4.7; Kreiss, BIT 2 (1962); Spijker, BIT 31 (1991); Trefethen & Embree, Spectra
    and Pseudospectra (2005), chapter 14.

    Args:
        A: one step (discrete) or a generator (continuous): dense ``(n, n)``, a stack
            ``(..., n, n)`` for the direct sum, or matrix-free.
        kind: which of the two.
        samples: directions tried, beside those of the outermost eigenvalues; at least 4.
        vectors: of the Krylov space where the operator is matrix-free.

    Raises:
        InputError: for another kind; for operators that are not square or finite.

    Of ``[[0, a], [0, 0]]`` with a large ``a`` it is near ``a / 4``, attained at ``|z| = 2``:

    >>> bound = kreiss_lower_bound([[0.0, 1e3], [0.0, 0.0]])
    >>> round(bound.value / 1e3, 4), round(abs(bound.point), 2)
    (0.25, 2.0)
    """
    if kind not in _KINDS:
        raise unknown_name("kind of Kreiss constant", kind, _KINDS)
    if not samples >= 4:
        raise InputError("4 samples or more", samples, "pass samples=32")
    found = square_blocks(A)
    size = norm(found)
    known = resolvent(found, vectors)
    plane = _Beyond(kind, 1.0 if kind == "discrete" else size or 1.0)
    outermost = known.eigenvalues[np.argsort(-plane.excess(known.eigenvalues))[:_OUTERMOST]]
    if isinstance(found, np.ndarray):
        growing = _growing_eigenvalue(found, plane, size)
        if growing is not None:
            return KreissBound(math.inf, growing, kind, plane.unbounded(growing))
    value, point = _search(plane, known, outermost, size, samples)
    if value <= 1.0:
        value, point = 1.0, complex(math.inf)
    return KreissBound(value, point, kind, plane.sentence(value, known))


@dataclass(frozen=True)
class _Beyond:
    """The outside of the unit disc, or the right half-plane, as ``z(gap, along)``."""

    kind: Kind
    unit: float

    def excess(self, z: np.ndarray | complex) -> np.ndarray:
        """How far points lie beyond the circle or the axis."""
        return np.asarray(np.abs(z) - 1 if self.kind == "discrete" else np.real(z))

    def along(self, z: np.ndarray) -> np.ndarray:
        """Angle, or height in units of the norm."""
        return np.asarray(np.angle(z) if self.kind == "discrete" else np.imag(z) / self.unit)

    def point(self, gap: np.ndarray | float, along: np.ndarray | float) -> np.ndarray:
        """Points a gap beyond the edge, in units of the norm where continuous."""
        if self.kind == "discrete":
            return np.asarray((1 + gap) * np.exp(1j * np.asarray(along)))
        return np.asarray(self.unit * (gap + 1j * np.asarray(along)))

    def unbounded(self, eigenvalue: complex) -> str:
        """Why there is no constant."""
        powers = "modulus" if self.kind == "discrete" else "real part"
        amount = abs(eigenvalue) if self.kind == "discrete" else eigenvalue.real
        return f"infinite: an eigenvalue has the {powers} {amount:.6g}, and growth has no bound"

    def sentence(self, value: float, known: Resolvent) -> str:
        """The theorem with its numbers."""
        grows = "sup_n ||A^n||" if self.kind == "discrete" else "sup_t ||exp(t A)||"
        return (
            f"K <= {grows} <= e N K with N = {known.size}, and K >= {value:.6g} (from below: "
            f"sampled and improved locally; {known.statement})"
        )


def _growing_eigenvalue(found: np.ndarray, plane: _Beyond, size: float) -> complex | None:
    """An eigenvalue beyond the edge by more than rounding can have moved it, or None.

    Rounding moves an eigenvalue by its condition number ``1 / |w^* v|`` times that of the matrix.
    """
    furthest = plane.excess(np.linalg.eigvals(found)).max(axis=1)
    block = found[int(np.argmax(furthest))]
    values, left, right = eig(block, left=True)
    rounding = 100 * len(block) * UNIT_ROUNDOFF * size
    aligned = np.abs(np.sum(left.conj() * right, axis=0))
    sure = plane.excess(values) * aligned > rounding
    if not sure.any():
        return None
    return complex(values[sure][np.argmax(plane.excess(values[sure]))])


def _search(
    plane: _Beyond, known: Resolvent, outermost: np.ndarray, size: float, samples: int
) -> tuple[float, complex]:
    """The best quotient over samples, and over ascents from the best of them."""
    gaps = np.geomspace(1e-5, 2 * max(1.0, size / plane.unit), _GAPS)
    reach = np.pi if plane.kind == "discrete" else 1.0
    along = np.linspace(-reach, reach, samples, endpoint=plane.kind != "discrete")
    along = np.unique(np.concatenate([along, plane.along(outermost)]))
    gap, place = (a.ravel() for a in np.meshgrid(gaps, along))
    values = _quotient(plane, known, plane.point(gap, place), size)
    best = int(np.argmax(values))
    top, point = float(values[best]), complex(plane.point(gap[best], place[best]))
    # Start from the best of each direction: one peak would take all places otherwise.
    leaders = values.reshape(len(along), -1).argmax(axis=1) + len(gaps) * np.arange(len(along))
    for k in leaders[np.argsort(-values[leaders])[:_ASCENTS]]:
        part = known.part_at(complex(plane.point(gap[k], place[k])))
        z = _ascend(plane, part, math.log(gap[k]), float(place[k]), size)
        # The quotient of the part is the one of the whole at most, which this evaluates.
        risen = float(_quotient(plane, known, np.array([z]), size)[0])
        if risen > top:
            top, point = risen, z
    return top, point


def _quotient(plane: _Beyond, known: Resolvent, z: np.ndarray, size: float) -> np.ndarray:
    """``excess / sigma_min``, with the rounding of the singular value allowed for."""
    allowance = 4 * known.size * UNIT_ROUNDOFF * (np.abs(z) + size)
    return np.asarray(plane.excess(z) / (known.sigma_min(z) + allowance))


def _ascend(plane: _Beyond, part: Resolvent, log_gap: float, along: float, size: float) -> complex:
    """Local maximiser of the quotient by a simplex in ``(log gap, along)``."""

    def place(at: np.ndarray) -> np.ndarray:
        # Smaller gaps are lost beside one, larger ones in the limit at infinity.
        return plane.point(math.exp(min(max(at[0], -30.0), 30.0)), at[1]).reshape(1)

    def negative(at: np.ndarray) -> float:
        z = place(at)
        return -math.log(float(_quotient(plane, part, z, size)[0]))

    # A step along the edge much longer than the gap would leave the peak.
    step = min(0.1, math.exp(log_gap))
    simplex = np.array([[log_gap, along], [log_gap + 0.3, along], [log_gap, along + step]])
    options = {"initial_simplex": simplex, "maxfev": 120, "xatol": 1e-7, "fatol": 1e-12}
    found = minimize(negative, simplex[0], method="Nelder-Mead", options=options)
    return complex(place(found.x)[0])
