"""Named stencils and the sparse matrices of stencils on bounded grids (theory §1, §5).

Orientation is cross-correlation, as in PyTorch: tap ``k[p]`` multiplies ``y[x + p]``.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp

from analysis.errors import InputError, unknown_name
from analysis.grid import BOUNDARIES, Grid, offsets

AXIS_STENCILS = {
    "identity": (0.0, 1.0, 0.0),
    "first": (-0.5, 0.0, 0.5),
    "second": (1.0, -2.0, 1.0),
}
"""Difference stencils of one axis at unit mesh width: y, y' (centred), y''."""

_DIFFERENCES = {
    "identity": ("identity", "identity"),
    "d_x": ("first", "identity"),
    "d_y": ("identity", "first"),
    "d_xx": ("second", "identity"),
    "d_yy": ("identity", "second"),
    "d_xy": ("first", "first"),
    "d_xxy": ("second", "first"),
    "d_xyy": ("first", "second"),
    "d_xxyy": ("second", "second"),
}
_ORDERS = {"identity": 0, "first": 1, "second": 2}


def difference_stencil(name: str, spacing: float = 1.0) -> np.ndarray:
    """One of the nine 3x3 difference stencils that span all 3x3 stencils (theory §5).

    Tensor products of ``[0, 1, 0]``, ``[-1, 0, 1] / (2 dx)`` and ``[1, -2, 1] / dx^2``; ``x`` is
    the first axis.

    Args:
        name: ``identity d_x d_y d_xx d_yy d_xy d_xxy d_xyy d_xxyy``.
        spacing: mesh width ``dx``.

    Returns:
        The stencil, shape ``(3, 3)``, in units of ``1 / length^order``.

    >>> difference_stencil("d_yy")
    array([[ 0.,  0.,  0.],
           [ 1., -2.,  1.],
           [ 0.,  0.,  0.]])
    """
    if name not in _DIFFERENCES:
        raise unknown_name("difference stencil", name, _DIFFERENCES)
    _check_spacing(spacing)
    first, second = _DIFFERENCES[name]
    scale = spacing ** -(_ORDERS[first] + _ORDERS[second])
    # Adding zero turns the negative zeros of the products into plain ones.
    return np.outer(AXIS_STENCILS[first], AXIS_STENCILS[second]) * scale + 0.0


def _check_spacing(spacing: float) -> None:
    """Raise InputError unless the mesh width is positive."""
    if not (spacing > 0 and math.isfinite(spacing)):
        raise InputError("a positive mesh width", spacing, "pass spacing > 0")


def laplacian(dimension: int = 2, spacing: float = 1.0) -> np.ndarray:
    """Second-order Laplacian with ``2 d + 1`` points, shape ``(3,) * dimension``, units 1/length^2.

    >>> laplacian(2)
    array([[ 0.,  1.,  0.],
           [ 1., -4.,  1.],
           [ 0.,  1.,  0.]])
    """
    if dimension not in (1, 2, 3):
        raise InputError("a dimension of 1, 2 or 3", dimension, "pass one of them")
    _check_spacing(spacing)
    stencil = np.zeros((3,) * dimension)
    for axis in range(dimension):
        line = [1] * dimension
        for tap, value in enumerate(AXIS_STENCILS["second"]):
            line[axis] = tap
            stencil[tuple(line)] += value
    return stencil / spacing**2


def star_mask(kernel_shape: tuple[int, ...]) -> np.ndarray:
    """Mask of the taps on the axes: the five points of a 3x3 stencil (its corners are zero).

    >>> star_mask((3, 3)).astype(int)
    array([[0, 1, 0],
           [1, 1, 1],
           [0, 1, 0]])
    """
    on_axis = np.count_nonzero(offsets(kernel_shape), axis=1) <= 1
    return on_axis.reshape(kernel_shape)


def source_index(n: int, radius: int, boundary: str) -> np.ndarray:
    """Pixel that each position ``-radius .. n - 1 + radius`` of a padded axis copies, -1 for zero.

    Args:
        n: number of pixels of the axis.
        radius: width of the padding.
        boundary: one of ``analysis.grid.BOUNDARIES``; ``reflect`` is whole-sample symmetric
            (the edge is not repeated), ``replicate`` repeats the edge.

    Raises:
        InputError: where the padding needs more pixels than there are.

    >>> source_index(4, 1, "reflect")
    array([1, 0, 1, 2, 3, 2])
    """
    x = np.arange(-radius, n + radius)
    if boundary == "zeros":
        return np.where((x >= 0) & (x < n), x, -1)
    if boundary == "replicate":
        return np.clip(x, 0, n - 1)
    if boundary == "periodic":
        if radius > n:
            raise InputError(f"at least {radius} pixels an axis", n, "use a larger image")
        return x % n
    if boundary == "reflect":
        if radius >= n:
            raise InputError(f"at least {radius + 1} pixels an axis", n, "use a larger image")
        return (n - 1) - np.abs((n - 1) - np.abs(x))
    raise unknown_name("boundary", boundary, BOUNDARIES)


def shift_matrix(offset: tuple[int, ...], grid: Grid) -> sp.csr_matrix:
    """Sparse matrix of ``(S y)[x] = y[x + offset]`` with the boundary of the grid.

    The Kronecker product over the axes of one-dimensional shifts: an independent way to build
    any convolution, used as the reference of all faster ones.

    Returns:
        A ``(size, size)`` matrix in row-major pixel order.
    """
    matrix = sp.identity(1, format="csr")
    for n, p in zip(grid.shape, offset, strict=True):
        radius = abs(int(p))
        columns = source_index(n, radius, grid.boundary)[radius + p : radius + p + n]
        rows = np.flatnonzero(columns >= 0)
        axis = sp.csr_matrix((np.ones(rows.size), (rows, columns[rows])), shape=(n, n))
        matrix = sp.kron(matrix, axis, format="csr")
    return matrix


def extension_norm(radius: tuple[int, ...], boundary: str) -> float:
    """Factor of a certificate for an extended image of any size (theory §1).

    ``K = K_inf P`` with the norm ``||P||^2 = 1 + largest number of copies of a pixel`` an axis of
    the padding ``P``. Zero padding and periodic extension are compressions of the infinite-grid
    operator and need no factor (1). For 3x3 stencils it is 2 in two dimensions, attained by a
    corner.

    Small images, where padding copies a pixel more often, need no larger factor. A reflected image
    of ``n`` pixels is one period of ``2 (n - 1)`` pixels that holds no pixel more than twice. A
    replicated image of one pixel is constant, and ``K`` acts on it as ``K^(0)``.

    Args:
        radius: width of the padding of every axis.
        boundary: one of ``analysis.grid.BOUNDARIES``.

    >>> extension_norm((1, 1), "replicate")
    2.0
    """
    if boundary in ("periodic", "zeros"):
        return 1.0
    uses = [np.bincount(source_index(2 * r + 2, r, boundary)) for r in radius]
    return math.sqrt(math.prod(int(count.max()) for count in uses))
