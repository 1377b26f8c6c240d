"""Stencils as differential operators: their coefficients, and their move to another mesh (§5).

Every stencil of odd size is a unique combination of difference stencils, tensor products of those
of one axis. Of order ``2 m`` and ``2 m + 1`` these are the powers ``[1, -2, 1]^m / dx^(2 m)`` and
the same times ``[-1, 0, 1] / (2 dx)``. For 3x3 stencils they are the nine of theory §5.

Orientation is that of ``analysis.stencils``: cross-correlation, tap ``k[p, q]`` multiplies
``y[i + p, j + q]``. ``x`` is the first axis of a stencil (down the rows of an image), ``y`` the
second.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from analysis.backend import Array, like, namespace
from analysis.errors import InputError
from analysis.stencils import AXIS_STENCILS


def operator_names(kernel_shape: tuple[int, int] = (3, 3)) -> tuple[str, ...]:
    """Names of the difference stencils that span the stencils of a size, by increasing order.

    >>> operator_names((1, 3))
    ('identity', 'd_y', 'd_yy')
    """
    return tuple(f"d_{'x' * a}{'y' * b}" if a + b else "identity" for a, b in _orders(kernel_shape))


def difference_stencils(kernel_shape: tuple[int, int] = (3, 3), spacing: float = 1.0) -> np.ndarray:
    """The difference stencils themselves, in the order of ``operator_names``.

    Args:
        kernel_shape: two odd numbers ``(k1, k2)``.
        spacing: mesh width ``dx``.

    Returns:
        Shape ``(k1 k2, k1, k2)``, in units of ``1 / length^order``.

    Raises:
        InputError: for an even size or a mesh width that is not positive.

    >>> difference_stencils((1, 3), spacing=0.5)[2]
    array([[ 4., -8.,  4.]])
    """
    _check_spacing(spacing)
    first, second = (_axis_stencils(k) for k in kernel_shape)
    found = [np.outer(first[a], second[b]) / spacing ** (a + b) for a, b in _orders(kernel_shape)]
    return np.stack(found) + 0.0  # plain zeros for negative ones


def differential_coefficients(stencils: Array, spacing: float = 1.0) -> Array:
    """The differential operator that a stencil is: its weights of the difference stencils.

    ``K = sum_i a_i D_i`` with the ``D_i`` of ``difference_stencils``; unique, since these are
    linearly independent (theory §5; Haber, Ruthotto, Holtham & Jun 2018, §3.1).

    Args:
        stencils: ``(..., k1, k2)`` of odd sizes, any array namespace; differentiable.
        spacing: mesh width ``dx``.

    Returns:
        ``(..., k1 k2)`` in the order of ``operator_names`` (nine for 3x3), the coefficient of an
        operator of order ``m`` in units of ``length^m``.

    Raises:
        InputError: for an even size or a mesh width that is not positive.

    >>> coefficients = differential_coefficients(np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0.0]]))
    >>> dict(zip(DIFFERENTIAL_OPERATORS, coefficients.tolist()))["d_xx"]
    1.0
    """
    _check_spacing(spacing)
    shape = _kernel_shape(stencils)
    inverse = [np.linalg.inv(_axis_stencils(k)) for k in shape]
    table = _both_axes(stencils, inverse[0], inverse[1])
    chosen = like(np.stack([_unit(order, shape) for order in _orders(shape)], axis=-1), table)
    scale = like([spacing ** (a + b) for a, b in _orders(shape)], table)
    xp = namespace(table)
    return xp.matmul(xp.reshape(table, (*table.shape[:-2], -1)), chosen) * scale


def stencils_of(
    coefficients: Array, spacing: float = 1.0, kernel_shape: tuple[int, int] = (3, 3)
) -> Array:
    """The stencils of differential operators, the inverse of ``differential_coefficients``.

    Args:
        coefficients: ``(..., k1 k2)``, any array namespace; differentiable.
        spacing: mesh width ``dx``.
        kernel_shape: ``(k1, k2)``.

    Returns:
        ``(..., k1, k2)``.

    Raises:
        InputError: for another number of coefficients, and as ``difference_stencils``.

    >>> stencils_of(np.eye(9)[1])
    array([[ 0. , -0.5,  0. ],
           [ 0. ,  0. ,  0. ],
           [ 0. ,  0.5,  0. ]])
    """
    basis = difference_stencils(kernel_shape, spacing)
    if coefficients.shape[-1] != len(basis):
        raise InputError(
            f"{len(basis)} coefficients for stencils of {kernel_shape[0]} x {kernel_shape[1]}",
            coefficients.shape[-1],
            "pass another kernel_shape",
        )
    flat = like(basis.reshape(len(basis), -1), coefficients)
    xp = namespace(flat)
    return xp.reshape(
        xp.matmul(like(coefficients, coefficients), flat),
        (*coefficients.shape[:-1], *kernel_shape),
    )


def at_spacing(stencils: Array, old: float, new: float) -> Array:
    """The same differential operators on another mesh width: rediscretised stencils.

    The weights of the difference stencils stay and these are those of the new mesh, so a part of
    order ``m`` grows by ``(old / new)^m``. Symbols at the same physical wave number agree to
    ``O(dx^2)``. A linear map: couplings keep their structure, and five-point stencils theirs,
    since each of identity, d_x, d_y, d_xx, d_yy stays what it is (theory §5).

    Args:
        stencils: ``(..., k1, k2)`` of odd sizes, any array namespace; differentiable.
        old: mesh width of the stencils.
        new: mesh width wanted.

    Raises:
        InputError: for an even size or a mesh width that is not positive.

    >>> at_spacing(np.array([[-0.5, 0.0, 0.5]]), old=1.0, new=0.5)
    array([[-1.,  0.,  1.]])
    """
    _check_spacing(old)
    _check_spacing(new)
    return _scaled_by_order(stencils, lambda order: (old / new) ** order)


def galerkin(stencils: Array, old: float, new: float) -> Array:
    """Stencils on another mesh width that agree on averages over cells: ``R K_h P = K_H``.

    ``P`` copies a value of the coarse mesh into all cells of the fine mesh that make up its own,
    ``R`` takes their mean (Haber, Ruthotto, Holtham & Jun 2018, §3.2). For three taps an axis the
    fine stencil determines the coarse one and the coarse one the fine one: of every axis first
    *and* second differences grow by ``old / new``. First derivatives are those of ``at_spacing``;
    second ones are ``n`` times those where ``new = n old``, for the orders of accuracy of ``P`` and
    ``R``, one each, must together exceed the order of the derivative. So this is another operator,
    whose norm changes less.

    Args:
        stencils: ``(..., k1, k2)`` of sizes 1 or 3, any array namespace; differentiable.
        old: mesh width of the stencils.
        new: mesh width wanted.

    Raises:
        InputError: for other sizes and mesh widths that are not positive.

    >>> galerkin(np.array([[1.0, -2.0, 1.0]]), old=1.0, new=2.0)
    array([[ 0.5, -1. ,  0.5]])
    """
    _check_spacing(old)
    _check_spacing(new)
    if max(_kernel_shape(stencils)) > 3:
        raise InputError(
            "stencils of at most 3 x 3 taps, which averages determine",
            " x ".join(map(str, _kernel_shape(stencils))),
            "use at_spacing",
        )
    return _scaled_by_order(stencils, lambda order: (old / new) ** min(order, 1))


def _scaled_by_order(stencils: Array, factor: Callable[[int], float]) -> Array:
    """Multiply the part of every order of every axis."""
    maps = []
    for k in _kernel_shape(stencils):
        basis = _axis_stencils(k)
        scale = np.array([factor(order) for order in range(k)])
        maps.append(np.linalg.inv(basis) @ (scale[:, None] * basis))
    return _both_axes(stencils, maps[0], maps[1])


def _both_axes(stencils: Array, first: np.ndarray, second: np.ndarray) -> Array:
    """``first^T S second`` for the stencils ``S``, with their namespace and precision."""
    xp = namespace(stencils)
    left, right = like(first.T, stencils), like(second, stencils)
    inner = xp.matmul(left, xp.astype(stencils, left.dtype, copy=False))
    return xp.matmul(inner, right)


def _axis_stencils(taps: int) -> np.ndarray:
    """Difference stencils of one axis at unit mesh width, order 0 to ``taps - 1`` as rows."""
    if taps < 1 or taps % 2 == 0:
        raise InputError("an odd number of taps an axis, which has a centre", taps, "pass 3")
    found = np.zeros((taps, taps))
    for order in range(taps):
        stencil = np.ones(1)
        for _ in range(order // 2):
            stencil = np.convolve(stencil, AXIS_STENCILS["second"])
        if order % 2:
            stencil = np.convolve(stencil, AXIS_STENCILS["first"])
        start = (taps - stencil.size) // 2
        found[order, start : start + stencil.size] = stencil
    return found


def _orders(kernel_shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Orders ``(a, b)`` of ``d_x^a d_y^b``, in the order of theory §5."""
    pairs = itertools.product(range(kernel_shape[0]), range(kernel_shape[1]))
    return sorted(pairs, key=lambda pair: (sum(pair), min(pair), -pair[0]))


def _unit(order: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """A table of orders that is one in one place, flat."""
    table = np.zeros(shape)
    table[order] = 1.0
    return table.ravel()


def _kernel_shape(stencils: Array) -> tuple[int, int]:
    if stencils.ndim < 2:
        raise InputError("stencils (..., k1, k2)", tuple(stencils.shape), "add an axis")
    return stencils.shape[-2], stencils.shape[-1]


def _check_spacing(spacing: float) -> None:
    """Raise InputError unless the mesh width is positive."""
    if not (spacing > 0 and math.isfinite(spacing)):
        raise InputError("a positive mesh width", spacing, "pass spacing > 0")


DIFFERENTIAL_OPERATORS = operator_names()
"""The nine operators of 3x3 stencils: identity, d_x, d_y, d_xx, d_yy, d_xy, d_xxy, ..."""
