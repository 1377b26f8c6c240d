"""Regular grids, their boundary conditions and their frequencies (theory §1)."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from dataclasses import dataclass

import numpy as np

from analysis.errors import InputError, unknown_name

BOUNDARIES = ("periodic", "zeros", "reflect", "replicate")
"""Boundary conditions: periodic, homogeneous Dirichlet, whole-sample and half-sample symmetric."""


@dataclass(frozen=True)
class Grid:
    """A regular grid of pixels in 1, 2 or 3 dimensions with one boundary condition.

    Attributes:
        shape: number of pixels of every axis.
        spacing: mesh width, the same on every axis (units of length).
        boundary: one of ``BOUNDARIES``.

    Raises:
        InputError: for an empty axis, a spacing that is not positive or an unknown boundary.

    >>> Grid((2, 2)).frequencies() / np.pi
    array([[0., 0.],
           [0., 1.],
           [1., 0.],
           [1., 1.]])
    """

    shape: tuple[int, ...]
    spacing: float = 1.0
    boundary: str = "periodic"

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "shape", tuple(operator.index(n) for n in self.shape))
        except TypeError:
            raise InputError(
                "a tuple of whole numbers of pixels", self.shape, "pass (32, 32)"
            ) from None
        if not self.shape or min(self.shape) < 1:
            raise InputError("a grid with at least one pixel an axis", self.shape, "enlarge it")
        if not (self.spacing > 0 and math.isfinite(self.spacing)):
            raise InputError("a positive mesh width", self.spacing, "pass spacing > 0")
        if self.boundary not in BOUNDARIES:
            raise unknown_name("boundary", self.boundary, BOUNDARIES)

    @property
    def dimension(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return math.prod(self.shape)

    def axis_frequencies(self, axis: int) -> np.ndarray:
        """Angular frequencies of one axis in radians a pixel, shape ``(n,)``.

        ``2 pi a / n`` (Fourier) for periodic, ``pi a / n`` (DCT-II) for replicate and
        ``pi a / (n - 1)`` (DCT-I) for reflect; zero padding has no such transform.
        """
        n = self.shape[axis]
        if self.boundary == "zeros":
            raise InputError(
                "a boundary that a transform diagonalises (periodic; replicate and reflect for "
                "axis-even stencils)",
                "zeros",
                "use the norm interval or the periodic symbol as its bound",
            )
        step = {
            "periodic": 2 * np.pi / n,
            "replicate": np.pi / n,
            "reflect": np.pi / max(n - 1, 1),
        }[self.boundary]
        return step * np.arange(n)

    def frequencies(self) -> np.ndarray:
        """Angular frequencies of all pixels in row-major order, shape ``(size, dimension)``."""
        axes = [self.axis_frequencies(axis) for axis in range(self.dimension)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(self.size, -1)

    def half_frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        """One frequency of every pair ``{w, -w}`` and how often it stands for the full grid.

        Real weights have ``K^(-w) = conj(K^(w))``, so that these carry the whole spectrum.

        Returns:
            Frequencies ``(F, dimension)`` and multiplicities ``(F,)`` of one or two that add up
            to ``size`` (all ones where the transform is a cosine transform).
        """
        return _half(self)


@functools.lru_cache(maxsize=64)
def _half(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """``Grid.half_frequencies``: the same for all layers of an image size, kept read-only."""
    frequencies, multiplicity = grid.frequencies(), np.ones(grid.size, dtype=int)
    if grid.boundary == "periodic":
        index = np.arange(grid.size).reshape(grid.shape)
        mirror = index
        for axis in range(grid.dimension):
            mirror = np.roll(np.flip(mirror, axis), 1, axis)
        own, other = index.ravel(), mirror.ravel()
        kept = own <= other
        frequencies, multiplicity = frequencies[kept], np.where(own == other, 1, 2)[kept]
    frequencies.flags.writeable = multiplicity.flags.writeable = False
    return frequencies, multiplicity


def offsets(kernel_shape: tuple[int, ...]) -> np.ndarray:
    """Offsets of the taps of an odd stencil in row-major order, shape ``(taps, dimension)``.

    >>> offsets((3,)).ravel()
    array([-1,  0,  1])
    """
    axes = [range(-(k // 2), k // 2 + 1) for k in kernel_shape]
    return np.array(list(itertools.product(*axes)), dtype=int).reshape(-1, len(kernel_shape))
