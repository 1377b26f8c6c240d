"""The nearest weights of a coupling to given dense ones, in Frobenius norm (theory §2).

The weights of a coupling form a linear subspace of all dense weights ``(c_out, c_in, *k)``, and its
natural basis (one array of zeros and ones a weight) is orthogonal. The orthogonal projection ``P``
onto it therefore sets every weight to the mean of the dense entries that it stands for: it copies
what the structure keeps, drops what it sets to zero and averages what it ties.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.backend import Array, detach, device, like, namespace, to_numpy
from analysis.coupling import Coupling
from analysis.couplings import COUPLINGS, Circulant, Depthwise, Full, Grouped, Lean, Pointwise
from analysis.errors import unknown_name
from analysis.stencils import star_mask
from analysis.taps import check_axes, require


def project(
    weight: Array,
    coupling: str,
    *,
    groups: int = 1,
    five_point: bool = False,
    stride: int = 1,
    dilation: int = 1,
) -> Coupling:
    """The coupling whose dense weight ``P W`` is nearest to ``W`` in Frobenius norm.

    ``full`` keeps all, ``depthwise`` and ``grouped`` their diagonal blocks, ``pointwise`` the
    centres, ``lean`` the centres and the diagonal stencils; ``circulant`` takes the mean stencil of
    the blocks with equal ``(o - i) mod max(c_out, c_in)``. Five-point stencils lose their corners.

    Args:
        weight: dense weights, shape ``(c_out, c_in, *kernel_shape)``, of any array namespace;
            differentiable. Precisions below single give single.
        coupling: a key of ``analysis.couplings.COUPLINGS``.
        groups: number of diagonal blocks of ``grouped``.
        five_point: drop the taps off the axes.
        stride: of the coupling that is returned.
        dilation: of the coupling that is returned.

    Raises:
        InputError: for an unknown coupling, even kernels, ``depthwise`` with ``c_in != c_out`` and
            groups that do not divide the channels.

    >>> W = np.arange(1.0, 5.0).reshape(2, 2, 1, 1)
    >>> project(W, "circulant").dense_weight()[:, :, 0, 0]
    array([[2.5, 2.5],
           [2.5, 2.5]])
    """
    if coupling not in COUPLINGS:
        raise unknown_name("coupling", coupling, COUPLINGS)
    check_axes("weights", weight, 2)
    sizes = tuple(int(k) for k in weight.shape[2:])
    require(all(k % 2 for k in sizes), "an odd kernel size", sizes, "pad the stencil")
    weight = like(weight, weight)
    options: dict[str, Any] = {"stride": stride, "dilation": dilation}
    if coupling == Pointwise.name:
        matrix = _centres(weight)
        return Pointwise(matrix, spatial_axes=len(sizes), **options)
    if five_point:
        weight = weight * like(star_mask(sizes), weight)
    options["five_point"] = five_point
    if coupling == Grouped.name:
        return Grouped(_diagonal_groups(weight, groups), groups, **options)
    return _PROJECTIONS[coupling](weight, options)


def dense_in(coupling: Coupling, kernel_shape: tuple[int, ...]) -> Array:
    """The dense weight with zeros around it up to a larger kernel.

    Args:
        coupling: with odd kernels no larger than the one asked for (``pointwise`` has one tap).
        kernel_shape: odd number of taps of every axis.

    >>> dense_in(Pointwise(np.ones((1, 1))), (3, 3))[0, 0]
    array([[0., 0., 0.],
           [0., 1., 0.],
           [0., 0., 0.]])
    """
    dense = coupling.dense_weight()
    for axis, (k, wanted) in enumerate(zip(coupling.kernel_shape, kernel_shape, strict=True), 2):
        require(
            wanted >= k and (wanted - k) % 2 == 0,
            f"odd kernels of at least {coupling.kernel_shape}",
            kernel_shape,
            "pass the kernel of the dense weights",
        )
        if wanted > k:
            xp = namespace(dense)
            shape = (*dense.shape[:axis], (wanted - k) // 2, *dense.shape[axis + 1 :])
            margin = xp.zeros(shape, dtype=dense.dtype, device=device(dense))
            dense = xp.concat([margin, dense, margin], axis=axis)
    return dense


def projection_error(weight: Array, projected: Coupling) -> float:
    """``||W - P W||_F / ||W||_F``, in [0, 1]: 0 where the structure holds W; 0 for ``W = 0``.

    Args:
        weight: dense weights, shape ``(c_out, c_in, *kernel_shape)``.
        projected: what ``project`` made of them.

    >>> W = np.ones((1, 1, 3, 3))
    >>> projection_error(W, project(W, "full", five_point=True))  # 4 of 9 entries are corners
    0.6666666666666666
    """
    weight = detach(like(weight, weight))
    norm = _norm(weight)
    # By Pythagoras a difference of squares would do, but it loses half of the digits.
    rest = weight - detach(dense_in(projected, tuple(weight.shape[2:])))
    return min(_norm(rest) / norm, 1.0) if norm else 0.0


def with_norm_of(weight: Array, projected: Coupling) -> Coupling:
    """The nearest member of the structure among those of the norm of ``W``.

    ``V = P W ||W|| / ||P W||``, in Frobenius norm:
    ``||W - V||^2 = 2 ||W||^2 - 2 <P W, V>`` is least where ``V`` has the direction of ``P W``. On
    white noise its outputs have the power that those of ``W`` have.

    Args:
        weight: dense weights, shape ``(c_out, c_in, *kernel_shape)``.
        projected: what ``project`` made of them; returned as it is where it is zero.

    >>> W = np.ones((1, 1, 3, 3))
    >>> with_norm_of(W, project(W, "pointwise")).matrix
    array([[3.]])
    """
    norm, remaining = _norm(detach(like(weight, weight))), _norm(detach(projected.dense_weight()))
    return projected.times(norm / remaining) if remaining else projected


def _norm(array: Array) -> float:
    return float(to_numpy(namespace(array).linalg.vector_norm(array)))


def _centres(weight: Array) -> Array:
    """Centre tap of every block, shape ``(c_out, c_in)``."""
    return weight[(..., *(int(k) // 2 for k in weight.shape[2:]))]


def _diagonal_groups(weight: Array, groups: int) -> Array:
    """Diagonal blocks below each other, shape ``(c_out, c_in / groups, *kernel_shape)``."""
    rows, columns = weight.shape[:2]
    require(
        groups >= 1 and rows % groups == 0 and columns % groups == 0,
        f"channels that are multiples of groups={groups}",
        f"{columns} -> {rows}",
        "change the groups",
    )
    r, c = rows // groups, columns // groups
    blocks = [weight[g * r : (g + 1) * r, g * c : (g + 1) * c, ...] for g in range(groups)]
    return namespace(weight).concat(blocks, axis=0)


def _diagonal(weight: Array) -> Array:
    """Stencils of the leading diagonal blocks, shape ``(min(c_out, c_in), *kernel_shape)``."""
    m, columns = min(weight.shape[:2]), weight.shape[1]
    return _take_blocks(weight, np.arange(m) * (columns + 1))


def _take_blocks(weight: Array, index: np.ndarray) -> Array:
    """Stencils of the blocks with these row-major numbers, ``(*index.shape, *kernel_shape)``."""
    xp, sizes = namespace(weight), weight.shape[2:]
    flat = xp.reshape(weight, (-1, math.prod(sizes)))
    rows = xp.take(flat, xp.asarray(index.ravel(), device=device(weight)), axis=0)
    return xp.reshape(rows, (*index.shape, *sizes))


def _full(weight: Array, options: dict[str, Any]) -> Full:
    return Full(weight, **options)


def _depthwise(weight: Array, options: dict[str, Any]) -> Depthwise:
    rows, columns = weight.shape[:2]
    require(
        rows == columns,
        "as many output as input channels for the depthwise coupling",
        f"{columns} -> {rows}",
        "use the lean or pointwise coupling to change them",
    )
    return Depthwise(_diagonal(weight), **options)


def _lean(weight: Array, options: dict[str, Any]) -> Lean:
    around = np.ones(tuple(weight.shape[2:]))
    around[tuple(k // 2 for k in around.shape)] = 0  # the centres belong to the matrix
    return Lean(_centres(weight), _diagonal(weight) * like(around, weight), **options)


def _circulant(weight: Array, options: dict[str, Any]) -> Circulant:
    rows, columns = int(weight.shape[0]), int(weight.shape[1])
    size = max(rows, columns)
    # A stencil j meets every channel of the smaller side once: i (or o) and j give the other.
    shift, smaller = np.arange(size)[:, None], np.arange(min(rows, columns))[None, :]
    outputs = (shift + smaller) % size if rows >= columns else smaller
    inputs = smaller if rows >= columns else (smaller - shift) % size
    blocks = _take_blocks(weight, outputs * columns + inputs)
    return Circulant(namespace(weight).mean(blocks, axis=1), (rows, columns), **options)


_PROJECTIONS: dict[str, Callable[[Array, dict[str, Any]], Coupling]] = {
    Full.name: _full,
    Depthwise.name: _depthwise,
    Lean.name: _lean,
    Circulant.name: _circulant,
}
