"""One step of each kind of one-step method in NumPy, and Newton's method for implicit equations.

Tables come as floating-point arrays (A, b), so that a step does not convert exact numbers.

>>> heun = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([0.5, 0.5])
>>> explicit_step(heun, lambda y: -y, np.array([1.0]), 1.0)
array([0.5])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.errors import InputError
from analysis.splitting import Part

Array = NDArray[Any]
Field = Callable[[Array], Array]
Flow = Callable[[float, Array], Array]
Table = tuple[Array, Array]

_ITERATIONS = 50


def explicit_step(table: Table, f: Field, y: Array, h: float) -> Array:
    """k_i = f(y + h sum_{j < i} a_ij k_j), y+ = y + h sum_i b_i k_i."""
    A, b = table
    slopes: list[Array] = []
    for i in range(len(b)):
        slopes.append(f(y + h * weighted_sum(A[i, :i], slopes)))
    return y + h * weighted_sum(b, slopes)


def implicit_step(table: Table, f: Field, jacobian: Field, y: Array, h: float) -> Array:
    """The same with all stages solved for together: Y_i = y + h sum_j a_ij f(Y_j)."""
    A, b = table
    s, d = len(b), len(y)

    def residual(flat: Array) -> Array:
        stages = flat.reshape(s, d)
        return (stages - y - h * A @ np.array([f(stage) for stage in stages])).ravel()

    def derivative(flat: Array) -> Array:
        blocks = np.array([jacobian(stage) for stage in flat.reshape(s, d)])
        return np.eye(s * d) - h * np.einsum("ij,jkl->ikjl", A, blocks).reshape(s * d, s * d)

    stages = solve_newton(residual, derivative, np.tile(y, s)).reshape(s, d)
    return y + h * weighted_sum(b, [f(stage) for stage in stages])


def stabilised_step(recurrence: Sequence[tuple[float, ...]], f: Field, y: Array, h: float) -> Array:
    """The three-term recurrence of `analysis.stabilised`, written for Y_j - Y_0."""
    first = f(y)
    before, now = np.zeros_like(y), h * recurrence[0][2] * first
    for mu, nu, mu_slope, gamma_slope in recurrence[1:]:
        slopes = mu_slope * f(y + now) + gamma_slope * first
        before, now = now, mu * now + nu * before + h * slopes
    return y + now


def additive_step(
    explicit: Table,
    implicit: Table,
    f: Field,
    g: Field,
    jacobian: Field | None,
    y: Array,
    h: float,
) -> Array:
    """Y_i = y + h sum_j (a_ij f(Y_j) + a~_ij g(Y_j)), y+ with the weights b and b~."""
    (A, b), (B, c) = explicit, implicit
    f_slopes: list[Array] = []
    g_slopes: list[Array] = []
    for i in range(len(b)):
        known = y + h * (weighted_sum(A[i, :i], f_slopes) + weighted_sum(B[i, :i], g_slopes))
        stage = solve_stage(g, jacobian, known, h * B[i, i])
        f_slopes.append(f(stage))
        g_slopes.append(g(stage))
    return y + h * (weighted_sum(b, f_slopes) + weighted_sum(c, g_slopes))


def splitting_step(
    fractions: Sequence[tuple[Part, float]], flows: Mapping[Part, Flow], y: Array, h: float
) -> Array:
    """The flows one after the other."""
    for part, fraction in fractions:
        y = flows[part](fraction * h, y)
    return y


def solve_stage(g: Field, jacobian: Field | None, known: Array, scale: float) -> Array:
    """Y with Y = known + scale g(Y)."""
    if scale == 0:
        return known
    derivative = jacobian or partial(difference_jacobian, g)
    return solve_newton(
        lambda y: y - known - scale * g(y),
        lambda y: np.eye(len(y)) - scale * derivative(y),
        known,
    )


def solve_newton(residual: Field, derivative: Field, start: Array) -> Array:
    """The zero of a residual, to rounding.

    Raises InputError where the corrections do not vanish: the step is too large for the problem.

    >>> solve_newton(lambda x: x * x - 2, lambda x: np.diag(2 * x), np.array([1.0]))
    array([1.41421356])
    """
    x, last = start, np.inf
    for _ in range(_ITERATIONS):
        correction = np.linalg.solve(derivative(x), residual(x))
        x = x - correction
        size = float(np.linalg.norm(correction))
        scale = float(np.linalg.norm(x)) + 1e-300
        # Rounding ends the decrease; differences for the Jacobian make it slow, not wrong.
        if size <= 4e-16 * scale or (size <= 1e-12 * scale and size > 0.1 * last):
            return x
        if not np.isfinite(size):
            break
        last = size
    raise InputError(
        "a step whose implicit equation Newton's method solves",
        f"no solution after {_ITERATIONS} corrections",
        "take smaller steps",
    )


def difference_jacobian(f: Field, y: Array) -> Array:
    """f'(y) by central differences, shape (d, d); its error slows Newton's method only."""
    width = 6e-6 * (1 + np.abs(y))
    columns = [
        (f(y + w * unit) - f(y - w * unit)) / (2 * w)
        for w, unit in zip(width, np.eye(len(y)), strict=True)
    ]
    return np.stack(columns, axis=1)


def weighted_sum(weights: Iterable[float], vectors: Sequence[Array]) -> Any:
    """sum_i w_i v_i over the weights that are not zero."""
    return sum((w * v for w, v in zip(weights, vectors, strict=True) if w), 0.0)
