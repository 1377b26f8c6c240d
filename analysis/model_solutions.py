"""Matrices and exact solutions of the linear model problems (theory §1).

>>> problem = LinearProblem((3,), boundary="neumann", diffusivity=2.0)
>>> problem_matrix(problem).toarray()
array([[-2.,  2.,  0.],
       [ 2., -4.,  2.],
       [ 0.,  2., -2.]])
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
from scipy.fft import dctn, dstn, fftn, idctn, idstn, ifftn
from scipy.linalg import expm
from scipy.sparse.linalg import expm_multiply

from analysis.axis_rates import AxisRates
from analysis.errors import InputError
from analysis.grid import Grid, offsets
from analysis.model_problems import LinearProblem
from analysis.stencils import AXIS_STENCILS, shift_matrix

_UPSTREAM = (-1.0, 1.0, 0.0)


def problem_stencil(problem: LinearProblem) -> np.ndarray:
    """The stencil of diffusion and advection, shape ``(3,) * d``, in 1 / time.

    >>> problem_stencil(LinearProblem((8,), velocity=1.0))
    array([ 1.5, -2. ,  0.5])
    """
    d = len(problem.shape)
    D, v, dx = (np.asarray(a) for a in (problem.diffusivity, problem.velocity, problem.spacing))
    total = np.zeros((3,) * d)
    for a in range(d):
        total += D[a, a] / dx[a] ** 2 * _tensor_stencil({a: AXIS_STENCILS["second"]}, d)
        slope = AXIS_STENCILS["first"]
        if problem.advection == "upwind":
            slope = _UPSTREAM if v[a] > 0 else (0.0, -1.0, 1.0)
        total -= v[a] / dx[a] * _tensor_stencil({a: slope}, d)
        for b in range(a):
            pair = {a: AXIS_STENCILS["first"], b: AXIS_STENCILS["first"]}
            total += 2 * D[a, b] / (dx[a] * dx[b]) * _tensor_stencil(pair, d)
    return total + 0.0


def _tensor_stencil(lines: Mapping[int, tuple[float, ...]], dimension: int) -> np.ndarray:
    """The tensor product of stencils along some axes and of the identity along the others."""
    total = np.ones(())
    for axis in range(dimension):
        total = np.multiply.outer(total, np.array(lines.get(axis, AXIS_STENCILS["identity"])))
    return total


def problem_matrix(problem: LinearProblem) -> sp.csr_matrix:
    """The matrix of a model problem, CSR of shape ``(size, size)``, row-major, in 1 / time.

    It is made of shifted stencils and of the reaction on the diagonal, a constant one or not.
    """
    stencil = problem_stencil(problem)
    matrix = sp.diags(np.broadcast_to(problem.reaction, problem.shape).ravel(), format="csr")
    for offset, value in zip(offsets(stencil.shape), stencil.ravel(), strict=True):
        if value:
            matrix = matrix + value * shift_matrix(tuple(offset), problem.grid)
    return matrix.tocsr()


def exact_flow(problem: LinearProblem, y0: np.ndarray, t: float) -> np.ndarray:
    """Exact solution ``exp(t A) y0`` of a model problem on its grid, to rounding.

    By FFT, DCT-II or DST-I where these diagonalise ``A``. With advection beside a boundary it is
    the product over the axes of the exponentials of their small matrices, which commute; an
    eigenbasis would lose digits there. A reaction that varies takes the action of the matrix
    exponential (Al-Mohy and Higham, SIAM J. Sci. Comput. 33, 2011).

    Args:
        problem: any of the model problems.
        y0: initial values, of the shape of the grid.
        t: time, of any sign.

    Raises:
        InputError: for values of another shape and values that are not finite.

    >>> problem = LinearProblem((4,), diffusivity=0.5)
    >>> exact_flow(problem, np.array([1.0, -1.0, 1.0, -1.0]), 1.0).round(6)
    array([ 0.135335, -0.135335,  0.135335, -0.135335])
    """
    values = np.asarray(y0, dtype=float)
    if values.shape != problem.shape or not np.isfinite(values).all() or not math.isfinite(t):
        raise InputError(
            f"finite values of shape {problem.shape} and a finite time",
            f"shape {values.shape} and time {t}",
            "sample the initial values on the grid",
        )
    if np.ptp(problem.reaction) > 0:
        return np.asarray(expm_multiply(t * problem_matrix(problem), values.ravel())).reshape(
            problem.shape
        )
    if problem.boundary == "periodic":
        return np.asarray(ifftn(np.exp(t * problem.eigenvalues_by_mode()) * fftn(values)).real)
    if problem.symmetric:
        factors = np.exp(t * problem.eigenvalues_by_mode().real)
        forward, back, kind = (
            (dctn, idctn, 2) if problem.boundary == "replicate" else (dstn, idstn, 1)
        )
        return np.asarray(back(factors * forward(values, type=kind), type=kind))
    for number, axis in enumerate(problem.axes):
        small = expm(t * _axis_matrix(axis, problem.boundary))
        values = np.moveaxis(np.tensordot(small, values, axes=(1, number)), 0, number)
    return values * math.exp(t * float(np.ravel(problem.reaction)[0]))


def _axis_matrix(axis: AxisRates, boundary: str) -> np.ndarray:
    """The dense matrix of one axis."""
    grid = Grid((axis.points,), boundary=boundary)
    matrix = axis.lower * shift_matrix((-1,), grid) + axis.upper * shift_matrix((1,), grid)
    return np.asarray(matrix.toarray() - (axis.lower + axis.upper) * np.eye(axis.points))


def continuous_mode(problem: LinearProblem, modes: tuple[int, ...], t: float) -> np.ndarray:
    """Exact solution of the differential equation that begins as one mode, on the grid.

        periodic   exp((mu - k.D k) t) cos(k.(x - v t)),             k = 2 pi m / (n dx)
        replicate  exp((mu - k.D k) t) prod cos(k x),                k = pi m / (n dx), v = 0
        zeros      exp((mu - k.D k - v^2 / (4 D)) t) prod exp(v x / (2 D)) sin(k x),
                                                                     k = pi m / ((n + 1) dx)

    with ``x = j dx``, ``(j + 1/2) dx`` and ``(j + 1) dx``. The solutions of the grid tend to it
    with order two, and with order one where the advection is upwind.

    Args:
        problem: of a constant reaction.
        modes: ``m``, one whole number an axis.
        t: time.

    Raises:
        InputError: where no such mode is known: a reaction that varies, advection beside a
            ``replicate`` boundary, or beside zeros without diffusion.

    >>> problem = LinearProblem((4,), spacing=0.25, diffusivity=0.0, velocity=1.0)
    >>> continuous_mode(problem, (1,), 0.25).round(12) + 0.0
    array([ 0.,  1.,  0., -1.])
    """
    if len(modes) != len(problem.shape):
        raise InputError(f"{len(problem.shape)} mode numbers", modes, "pass one an axis")
    if np.ptp(problem.reaction) > 0:
        raise InputError("a constant reaction", "one that varies", "ask for exact_flow")
    D, v, dx = (np.asarray(a) for a in (problem.diffusivity, problem.velocity, problem.spacing))
    n, m = np.array(problem.shape), np.array(modes)
    start = {"periodic": 0.0, "replicate": 0.5, "zeros": 1.0}[problem.boundary]
    x = np.meshgrid(
        *((np.arange(p) + start) * h for p, h in zip(n, dx, strict=True)), indexing="ij"
    )
    mu = float(np.ravel(problem.reaction)[0])
    if problem.boundary == "periodic":
        k = 2 * np.pi * m / (n * dx)
        phase = sum(kk * (xx - vv * t) for kk, xx, vv in zip(k, x, v, strict=True))
        return np.asarray(math.exp((mu - k @ D @ k) * t) * np.cos(phase))
    known = (v == 0) | ((problem.boundary == "zeros") & (np.diag(D) > 0))
    if not known.all():
        raise InputError("a mode in closed form", "advection here", "ask for exact_flow")
    k = np.pi * m / ((n + (problem.boundary == "zeros")) * dx)
    tilt = np.where(v == 0, 0.0, v / np.where(v == 0, 1.0, 2 * np.diag(D)))
    wave = np.cos if problem.boundary == "replicate" else np.sin
    factors = [np.exp(a * xx) * wave(kk * xx) for a, kk, xx in zip(tilt, k, x, strict=True)]
    rate = mu - k @ D @ k - np.diag(D) @ tilt**2
    return np.asarray(math.exp(rate * t) * np.prod(factors, axis=0))
