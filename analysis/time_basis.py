"""Weights as functions of time: ``theta(t) = sum_i p_i(t) theta_i`` (theory §3, §5).

A basis is evaluated at the middles of the time steps, ``tau_j = (j + 1/2) / n`` in ``(0, 1)``, so
that the same coefficients serve any number of steps: halving the step refines the network and
leaves the functions as they are (Haber & Ruthotto, arXiv 1705.03341, §4).
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from analysis.errors import InputError, unknown_name

BASES = ("piecewise-linear", "legendre", "bspline")
"""Hat functions on equal intervals, Legendre polynomials, B-splines of degree at most three."""


def step_times(steps: int) -> NDArray[np.float64]:
    """Middles of equal time steps as shares of the whole time, shape ``(steps,)``.

    >>> step_times(2)
    array([0.25, 0.75])
    """
    return (np.arange(steps) + 0.5) / steps


def time_basis(name: str, count: int, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values ``p_i(tau)`` of the functions of a basis.

    Args:
        name: one in ``BASES``.
        count: number of functions, at least 1.
        times: ``tau`` in ``[0, 1]``, shape ``(n,)``.

    Returns:
        Shape ``(n, count)``. Hat functions and B-splines are not negative and sum to one.

    Raises:
        InputError: for an unknown name and for less than one function.

    >>> time_basis("piecewise-linear", 2, step_times(2)).tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    if name not in BASES:
        raise unknown_name("basis of weights in time", name, BASES)
    if count < 1:
        raise InputError("at least one function of time", count, "pass 2 or more")
    times = np.asarray(times, dtype=float)
    if name == "legendre":
        return np.asarray(legvander(2 * times - 1, count - 1), dtype=np.float64)
    degree = min(1 if name == "piecewise-linear" else 3, count - 1)
    inner = np.linspace(0, 1, count - degree + 1)
    knots = np.concatenate([np.zeros(degree), inner, np.ones(degree)])
    return BSpline.design_matrix(times, knots, degree).toarray()


def interpolation(old: int, new: int) -> NDArray[np.float64]:
    """Matrix from the weights of ``old`` time steps to those of ``new`` ones, ``(new, old)``.

    Linear between the middles of the old steps, constant before the first and behind the last, so
    that no weight is ever extrapolated. Rows sum to one.

    >>> interpolation(2, 4).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    if min(old, new) < 1:
        raise InputError("at least one time step", f"{old} and {new}", "pass positive numbers")
    rows = [np.interp(step_times(new), step_times(old), unit) for unit in np.eye(old)]
    return np.stack(rows, axis=1)
