"""Diffusion, advection and reaction on a grid: model problems with known spectra (theory §1, §4).

    y' = sum_ab D_ab d_ab y - sum_a v_a d_a y + mu y

with differences of second order (``central``) or one-sided ones for the advection (``upwind``). An
axis is a Toeplitz matrix of three diagonals with rows ``(l, -l - u, u)`` but at the boundary, and
its eigenvalues have a closed form for every boundary.

>>> LinearProblem((4,), boundary="zeros", velocity=1.0).normal
False
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.axis_rates import AxisRates, Parts, different_sums, sums_by_mode
from analysis.errors import InputError, unknown_name
from analysis.grid import Grid

ADVECTIONS = ("central", "upwind")
"""Differences of the advection: symmetric ones of order two, one-sided ones of order one."""

_BOUNDARIES = ("periodic", "replicate", "zeros")
_OTHER_NAMES = {"neumann": "replicate", "dirichlet": "zeros"}


@dataclass(frozen=True, eq=False)
class LinearProblem:
    """Linear diffusion, advection and reaction on a grid of one to three dimensions.

    Attributes:
        shape: number of grid points of every axis.
        spacing: mesh width, a number or one an axis, in units of length.
        boundary: ``periodic``; ``replicate`` (or ``neumann``), no flux half a mesh width beyond
            the outer points; ``zeros`` (or ``dirichlet``), zero one mesh width beyond them.
        diffusivity: ``D``, length^2 / time: a number, one an axis, or, where periodic, a symmetric
            positive semidefinite matrix, whose mixed terms are products of central differences.
        velocity: ``v``, length / time, a number (1-D) or one an axis.
        reaction: ``mu``, 1 / time, a number or one a grid point.
        advection: one of ``ADVECTIONS``.

    Raises:
        InputError: for shapes that do not fit, numbers out of range and a diffusivity that is not
            positive semidefinite.

    >>> LinearProblem((4, 4), diffusivity=[1.0, 2.0]).spectrum()
    array([ 0., -2., -4., -4., -6., -8., -8., -10., -12.])
    """

    shape: tuple[int, ...]
    spacing: ArrayLike = 1.0
    boundary: str = "periodic"
    diffusivity: ArrayLike = 1.0
    velocity: ArrayLike = 0.0
    reaction: ArrayLike = 0.0
    advection: str = "central"

    def __post_init__(self) -> None:
        name = _OTHER_NAMES.get(self.boundary, self.boundary)
        if name not in _BOUNDARIES:
            raise unknown_name("boundary", name, [*_BOUNDARIES, *_OTHER_NAMES])
        object.__setattr__(self, "boundary", name)
        object.__setattr__(self, "shape", _checked_shape(self.shape))
        if self.advection not in ADVECTIONS:
            raise unknown_name("kind of advection", self.advection, ADVECTIONS)
        d = len(self.shape)
        spacing = _numbers("spacing", self.spacing, d)
        if not (np.isfinite(spacing).all() and (spacing > 0).all()):
            raise InputError("a positive mesh width", self.spacing, "pass a number > 0")
        self._keep(spacing=spacing)
        if d > 1 and np.ndim(self.velocity) == 0 and self.velocity != 0:
            raise InputError(f"a velocity of {d} components", self.velocity, "pass one an axis")
        self._keep(velocity=_numbers("velocity", self.velocity, d))
        self._keep(diffusivity=self._checked_tensor(), reaction=self._checked_reaction())
        rates = [value for axis in self.axes for value in (axis.lower, axis.upper)]
        if not math.isfinite(2 * sum(map(abs, rates))):
            raise InputError("eigenvalues that are finite", "inf", "take other units of length")

    def _keep(self, **arrays: np.ndarray) -> None:
        """Hold copies that cannot be written to: what was checked stays as it is."""
        for name, array in arrays.items():
            own = array.copy()
            own.flags.writeable = False
            object.__setattr__(self, name, own)

    def _checked_tensor(self) -> np.ndarray:
        """The diffusivity as a matrix of shape ``(d, d)``."""
        d, given = len(self.shape), np.asarray(self.diffusivity, dtype=float)
        tensor = given if given.ndim == 2 else np.diag(_numbers("diffusivity", given, d))
        if tensor.shape != (d, d) or not np.array_equal(tensor, tensor.T):
            raise InputError(
                f"a symmetric diffusivity of shape ({d}, {d})", self.diffusivity, "mirror it"
            )
        diagonal = np.diag(tensor)
        mixed = tensor - np.diag(diagonal)
        if not np.isfinite(tensor).all() or (diagonal < 0).any():
            raise InputError("a diffusivity of at least 0", self.diffusivity, "pass a number >= 0")
        if mixed.any():
            least = float(np.linalg.eigvalsh(tensor)[0])
            if least < -1e-14 * float(np.abs(tensor).max()):
                raise InputError(
                    "a positive semidefinite diffusivity",
                    f"the eigenvalue {least:.6g}",
                    "this direction would be anti-diffusive: make the mixed terms smaller",
                )
            if self.boundary != "periodic":
                raise InputError(
                    "a periodic boundary beside mixed derivatives",
                    self.boundary,
                    "turn the axes, or make it periodic",
                )
        return tensor

    def _checked_reaction(self) -> np.ndarray:
        reaction = np.asarray(self.reaction, dtype=float)
        if reaction.ndim and reaction.shape != self.shape:
            raise InputError(
                f"one reaction rate or one a point, shape {self.shape}",
                f"shape {reaction.shape}",
                "sample the rate on the grid",
            )
        if not np.isfinite(reaction).all():
            raise InputError("a finite reaction rate", "nan or inf", "pass finite numbers")
        return reaction

    @property
    def grid(self) -> Grid:
        """The grid, without its mesh widths: these are the ``spacing`` of the problem."""
        return Grid(self.shape, boundary=self.boundary)

    @property
    def axes(self) -> tuple[AxisRates, ...]:
        """Diffusion and advection along every axis."""
        parts = zip(self.diffusion_axes, self.advection_axes, strict=True)
        return tuple(AxisRates(a.points, a.lower + b.lower, a.upper + b.upper) for a, b in parts)

    @property
    def diffusion_axes(self) -> tuple[AxisRates, ...]:
        """Diffusion along every axis: ``l = u = D_aa / dx^2``."""
        with np.errstate(over="ignore"):  # refused where the problem is made
            rates = np.diag(self.diffusivity) / np.asarray(self.spacing) / np.asarray(self.spacing)
        return tuple(
            AxisRates(n, float(r), float(r)) for n, r in zip(self.shape, rates, strict=True)
        )

    @property
    def advection_axes(self) -> tuple[AxisRates, ...]:
        """Advection along every axis: ``l = -u = v / (2 dx)``, or ``|v| / dx`` from upstream."""
        with np.errstate(over="ignore"):
            rates = np.asarray(self.velocity) / np.asarray(self.spacing)
        if self.advection == "central":
            ends = rates / 2, -rates / 2
        else:
            ends = np.maximum(rates, 0), np.maximum(-rates, 0)
        found = zip(self.shape, *ends, strict=True)
        return tuple(AxisRates(n, float(low) + 0.0, float(up) + 0.0) for n, low, up in found)

    @property
    def symmetric(self) -> bool:
        """Whether the matrix is symmetric: its eigenvalues are real and decide alone."""
        return all(axis.symmetric or axis.points == 1 for axis in self.axes)

    @property
    def normal(self) -> bool:
        """Whether the matrix commutes with its transpose, so that eigenvalues decide alone.

        Advection beside a boundary is not normal, but for pure central advection (skew) and zeros;
        nor is advection with a reaction that varies. The eigenvalues then come from a diagonal
        similarity of condition ``(l / u)^((n - 1) / 2)`` and say little of growth (theory §4.7).
        """
        if self.symmetric:
            return True
        if np.ptp(self.reaction) > 0:
            return False
        skew = self.boundary == "zeros"
        return self.boundary == "periodic" or all(
            a.symmetric or a.points == 1 or (skew and a.lower == -a.upper) for a in self.axes
        )

    def spectrum(self) -> np.ndarray:
        """Different eigenvalues of the matrix in closed form, in 1 / time.

        Values that the symmetries of the problem repeat (``w -> -w``, equal axes) stand once.

        Returns:
            Float64 in descending order where all are real; else complex in descending order of
            their real parts.

        Raises:
            InputError: for a reaction that varies, and more than ``LARGEST_SPECTRUM`` eigenvalues.

        >>> LinearProblem((2,), boundary="zeros", velocity=4.0).spectrum().round(6)
        array([-2.+1.732051j, -2.-1.732051j])
        """
        mu = self._constant_reaction()
        return np.sort(mu + self._sums([(axis,) for axis in self.axes])[:, 0])[::-1] + 0.0

    def split_spectrum(self) -> np.ndarray:
        """Different pairs (explicit, implicit) of eigenvalues for implicit-explicit steps.

        Implicit is the diffusion, explicit the advection and the reaction. They share their
        eigenvectors where the problem is periodic, and where there is no advection.

        Returns:
            Complex array ``(n, 2)``, 1 / time.

        Raises:
            InputError: where the parts do not commute, and as ``spectrum``.

        >>> LinearProblem((2,), reaction=3.0).split_spectrum()
        array([[ 3.+0.j,  0.+0.j],
               [ 3.+0.j, -4.+0.j]])
        """
        mu = self._constant_reaction()
        moving = any(axis.lower or axis.upper for axis in self.advection_axes)
        if moving and self.boundary != "periodic":
            raise InputError(
                "parts that commute: a periodic boundary, or no advection",
                f"advection beside the boundary {self.boundary}",
                "judge the step by its matrix",
            )
        pairs = self._sums(list(zip(self.advection_axes, self.diffusion_axes, strict=True)))
        return (pairs + np.array([mu, 0.0])).astype(np.complex128) + 0.0

    def eigenvalues_by_mode(self) -> np.ndarray:
        """Eigenvalues of the Fourier, cosine or sine modes of the grid, of the shape of the grid.

        Mode ``k`` of an axis is ``exp(2 pi i k x / n)``, ``cos(pi k (x + 1/2) / n)`` (DCT-II), or
        ``sin(pi (k + 1) (x + 1) / (n + 1))`` (DST-I).

        Raises:
            InputError: where these are not the eigenvectors: with advection beside a boundary.
        """
        mu = self._constant_reaction()
        if self.boundary != "periodic" and not self.symmetric:
            raise InputError(
                "modes of a transform: a periodic boundary, or no advection",
                f"advection beside the boundary {self.boundary}",
                "ask for the spectrum alone",
            )
        sums = sums_by_mode([(axis,) for axis in self.axes], self.boundary)[..., 0]
        return np.asarray(mu + sums + self._mixed())

    def _sums(self, parts: Sequence[Parts]) -> np.ndarray:
        """Eigenvalues of every part summed over the axes, mixed derivatives in the last one."""
        if not self._has_mixed:
            return different_sums(parts, self.boundary)
        sums = sums_by_mode(parts, self.boundary)
        sums[..., -1] += self._mixed()
        if self.symmetric:  # w and -w repeat each other
            sums = sums[: self.shape[0] // 2 + 1]
        return sums.reshape(-1, sums.shape[-1])

    @property
    def _has_mixed(self) -> bool:
        tensor = np.asarray(self.diffusivity)
        return bool((tensor != np.diag(np.diag(tensor))).any())

    def _mixed(self) -> np.ndarray | float:
        """``-2 sum_(a < b) D_ab sin(w_a) sin(w_b) / (dx_a dx_b)`` at all modes, 0 without them."""
        if not self._has_mixed:
            return 0.0
        D, spacing = np.asarray(self.diffusivity), np.asarray(self.spacing)
        axes = [
            np.sin(2 * np.pi / n * np.arange(n)) / dx
            for n, dx in zip(self.shape, spacing, strict=True)
        ]
        sines = np.meshgrid(*axes, indexing="ij", sparse=True)
        terms = [-2 * D[a, b] * sines[a] * sines[b] for a in range(len(axes)) for b in range(a)]
        return np.asarray(sum(terms[1:], terms[0]))

    def _constant_reaction(self) -> float:
        if np.ptp(self.reaction) > 0:
            raise InputError(
                "a reaction that is the same at all points",
                "one that varies",
                "ask for its bounds with analysis.reaction_bounds",
            )
        return float(np.ravel(self.reaction)[0])


def _checked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    try:
        found = tuple(operator.index(n) for n in shape)
    except TypeError:
        raise InputError("a tuple of whole numbers of points", shape, "pass (64, 64)") from None
    if len(found) not in (1, 2, 3):
        raise InputError("a dimension of 1, 2 or 3", len(found), "pass as many numbers of points")
    if min(found) < 1:
        raise InputError("at least one grid point an axis", min(found), "pass positive numbers")
    return found


def _numbers(name: str, given: ArrayLike, axes: int) -> np.ndarray:
    """One number an axis; one number alone stands for all axes."""
    values = np.asarray(given, dtype=float)
    if values.ndim == 0:
        return np.full(axes, float(values))
    if values.shape != (axes,):
        raise InputError(
            f"a {name} of one number or one an axis ({axes})",
            f"shape {values.shape}",
            "pass as many as the grid has axes",
        )
    return values


def heat_spectrum(
    points: int,
    *,
    diffusivity: float = 1.0,
    dimension: int = 1,
    spacing: float = 1.0,
    reaction: float = 0.0,
) -> np.ndarray:
    """Different eigenvalues of ``y' = D Laplace_h y + mu y`` on a periodic grid.

    The second-order Laplacian with ``2 d + 1`` points has the symbol

        lambda(w) = mu - (4 D / dx^2) sum_axes sin^2(w_i / 2),       w_i = 2 pi a / N

    Args:
        points: ``N``, grid points of every axis.
        diffusivity: ``D >= 0``, in length^2 / time.
        dimension: ``d``, one, two or three.
        spacing: mesh width ``dx``, in units of length.
        reaction: ``mu``, rate of a linear reaction in 1 / time.

    Returns:
        Real float64 array in descending order; the first one is ``mu``. For even ``N`` the last
        is ``mu - 4 d D / dx^2``.

    Raises:
        InputError: for values out of range and for too many eigenvalues.

    >>> heat_spectrum(4, diffusivity=1.0, dimension=2)
    array([ 0., -2., -4., -4., -6., -8.])
    """
    if dimension not in (1, 2, 3):
        raise InputError("a dimension of 1, 2 or 3", dimension, "pass one of them")
    problem = LinearProblem(
        (points,) * dimension, spacing=spacing, diffusivity=diffusivity, reaction=reaction
    )
    return problem.spectrum()
