"""Spectra of convolution operators at a given image size and boundary (theory §1).

Periodic operators, and replicate ones with axis-even stencils, are diagonalised by a transform and
their spectra are exact. Zero padding and general symmetric extensions are not: their norm comes as
an interval, from below by Lanczos and from above by a certificate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from analysis.backend import Array, device, namespace, to_numpy
from analysis.certificates import (
    certified_norm,
    norms_from_below,
    proven_below,
    rounding_allowance,
    scaled_double,
)
from analysis.coupling import Coupling
from analysis.couplings import Full
from analysis.errors import InputError
from analysis.grid import Grid

_POWER_ITERATIONS = 8
_LANCZOS_TOLERANCE = 1e-5


@dataclass(frozen=True)
class NormInterval:
    """An interval that holds the norm of an operator at one image size and boundary.

    Attributes:
        lower: attained by a vector (Lanczos) or equal to ``upper`` up to rounding.
        upper: proven bound.
        statement: what the two ends rest on.
    """

    lower: float
    upper: float
    statement: str

    @property
    def exact(self) -> bool:
        """Whether the two ends agree up to rounding."""
        return self.upper - self.lower <= 1e-9 * self.upper


def singular_values(coupling: Coupling, grid: Grid) -> Array:
    """All singular values at an image size, descending, in the namespace of the weights.

    Args:
        coupling: the operator.
        grid: periodic, or replicate for axis-even stencils and stride 1.

    Returns:
        Shape ``(pixels_out * c,)`` with ``c = min(c_out, c_in stride^d)``, units of the weights.

    Raises:
        InputError: for boundaries whose singular values no transform gives.

    >>> from analysis.couplings import Depthwise
    >>> singular_values(Depthwise(np.array([[1.0, -2.0, 1.0]])), Grid((4,))).round(12) + 0.0
    array([4., 2., 2., 0.])
    """
    if grid.boundary == "reflect":
        raise InputError(
            "a boundary with an orthogonal transform (periodic, replicate)",
            "reflect, which is not a normal matrix",
            "ask for its eigenvalues or its norm interval",
        )
    values = _over_half_grid(coupling, grid, eigen=False)
    xp = namespace(values)
    return xp.flip(xp.sort(values))


def eigenvalues(coupling: Coupling, grid: Grid) -> Array:
    """All eigenvalues at an image size, complex, in no particular order.

    Args:
        coupling: a square operator of stride 1.
        grid: periodic, or replicate / reflect for axis-even stencils.

    Returns:
        Shape ``(pixels * c,)``.

    >>> from analysis.couplings import Depthwise
    >>> np.sort(eigenvalues(Depthwise(np.array([[1.0, -2.0, 1.0]])), Grid((4,))).real.round(12))
    array([-4., -2., -2.,  0.])
    """
    if coupling.stride != 1 or coupling.channels_out != coupling.channels_in:
        raise InputError(
            "as many output as input channels and stride 1",
            f"{coupling.channels_out} x {coupling.channels_in} channels, stride {coupling.stride}",
            "ask for the singular values",
        )
    return _over_half_grid(coupling, grid, eigen=True)


def _over_half_grid(coupling: Coupling, grid: Grid, *, eigen: bool) -> Array:
    half = coupling.grid_frequencies(grid, half=True)
    coarse = Grid(tuple(n // coupling.stride for n in grid.shape), boundary=grid.boundary)
    twice = np.flatnonzero(coarse.half_frequencies()[1] == 2)
    coupling.largest_weight()  # refuses weights that are not finite
    symbol = coupling.symbol_at(half)
    values = symbol.eigenvalues() if eigen else symbol.singular_values()
    xp = namespace(values)
    mirrored = values[xp.asarray(twice, device=device(values)), :]
    # K^(-w) = conj(K^(w)) for real weights.
    mirrored = xp.conj(mirrored) if eigen else mirrored
    return xp.concat([xp.reshape(values, (-1,)), xp.reshape(mirrored, (-1,))])


def spectral_radius(coupling: Coupling, grid: Grid) -> float:
    """Largest modulus of an eigenvalue at an image size."""
    return float(np.abs(to_numpy(eigenvalues(coupling.double(), grid))).max())


def norm(coupling: Coupling, grid: Grid, *, row_scaling: Array | None = None) -> NormInterval:
    """Interval for ``||K||_2`` (largest singular value) at an image size and boundary.

    Periodic (and replicate with axis-even stencils): exact, the largest norm of the symbol on the
    grid. Zero padding: Lanczos from below; from above the smaller of the norm on the periodic grid
    enlarged by the reach of the stencil (theory §4.8) and the supremum over all frequencies.
    Reflect and replicate: Lanczos from below, the supremum times the norm of the extension.

    Args:
        coupling: the operator.
        grid: image size and boundary.
        row_scaling: ``s >= 0`` of shape ``(c_out,)``; gives the norm of ``diag(s)^(1/2) K``.
    """
    operator, unit = scaled_double(coupling, row_scaling)
    result = _unit_norm(operator, grid)
    return NormInterval(result.lower * unit, result.upper * unit, result.statement)


def _unit_norm(operator: Coupling, grid: Grid) -> NormInterval:
    """``norm`` of an operator with weights near one, or all zero."""
    if grid.boundary == "periodic" or (
        grid.boundary == "replicate" and operator.has_cosine_transform(grid.boundary)
    ):
        value = _largest_on(operator, operator.grid_frequencies(grid, half=True))
        upper = value + rounding_allowance(operator, value)
        return NormInterval(value, upper, "largest norm of the symbol")
    matrix = as_linear_operator(operator, grid)
    if operator.largest_weight() == 0:
        return NormInterval(0.0, 0.0, "all weights are zero")
    bound = certified_norm(operator, boundary=grid.boundary)
    lower = _lanczos_norm(operator, matrix, grid, bound.frequency)
    if grid.boundary == "zeros" and operator.stride == 1:
        reach = zip(grid.shape, operator.radius, strict=True)
        larger = Grid(tuple(n + r for n, r in reach))
        value = _largest_on(operator, operator.grid_frequencies(larger, half=True))
        upper = value + rounding_allowance(operator, value)
        if upper < bound.upper:
            statement = f"Lanczos; compression of the periodic operator on {larger.shape}"
            return NormInterval(lower, max(lower, upper), statement)
    return NormInterval(lower, max(lower, bound.upper), f"Lanczos; {bound.statement}")


def _largest_on(operator: Coupling, frequencies: np.ndarray) -> float:
    """Largest norm of the symbol on a set of frequencies, exact.

    One decomposition where power iterations see the largest norm; a Cholesky test excludes the
    other frequencies, and those that it does not exclude are decomposed too.
    """
    estimate = norms_from_below(operator, frequencies, _POWER_ITERATIONS)
    leader = operator.symbol_at(frequencies[[int(np.argmax(estimate))]])
    best = float(to_numpy(leader.norms())[0])
    if best == 0:
        return float(to_numpy(operator.symbol_at(frequencies).norms()).max())
    left = frequencies[~proven_below(operator, frequencies, best)]
    if not len(left):
        return best
    # More iterations than channels asks for the exact norms.
    many = 4 * max(operator.channels_in, operator.channels_out)
    return max(best, float(norms_from_below(operator, left, many).max()))


def as_linear_operator(coupling: Coupling, grid: Grid) -> LinearOperator:
    """The operator of any boundary as a SciPy ``LinearOperator``, matrix-free (NumPy only).

    Shape ``(c_out * pixels_out, c_in * pixels)`` in the order of ``Coupling.to_sparse``.
    """
    weight = to_numpy(coupling.dense_weight()).astype(float)
    matrices = np.moveaxis(weight.reshape(*weight.shape[:2], -1), -1, 0)
    shifts = coupling.shift_matrices(grid)
    pixels_out = shifts[0].shape[0]

    def forward(vector: np.ndarray) -> np.ndarray:
        image = vector.reshape(coupling.channels_in, grid.size).T
        terms = (m @ (s @ image).T for m, s in zip(matrices, shifts, strict=True))
        return np.asarray(sum(terms)).ravel()

    def adjoint(vector: np.ndarray) -> np.ndarray:
        image = vector.reshape(coupling.channels_out, pixels_out)
        terms = (s.T @ (m.T @ image).T for m, s in zip(matrices, shifts, strict=True))
        return np.asarray(sum(terms)).T.ravel()

    shape = (coupling.channels_out * pixels_out, coupling.channels_in * grid.size)
    return LinearOperator(shape, matvec=forward, rmatvec=adjoint, dtype=float)


def _lanczos_norm(
    operator: Coupling, matrix: LinearOperator, grid: Grid, frequency: np.ndarray
) -> float:
    """Norm from below: ``||K v||`` for the unit vector ``v`` of a Lanczos run on ``K^T K``.

    Starts from the plane wave that attains the supremum, damped towards the boundary: the
    leading singular vector of a large image is close to it.
    """
    if min(matrix.shape) <= 64:
        return float(np.linalg.norm(operator.to_dense(grid), 2))
    start = _damped_wave(operator, grid, frequency)
    try:
        _, vectors = eigsh(matrix.H @ matrix, k=1, tol=_LANCZOS_TOLERANCE, v0=start, maxiter=30)
    except ArpackNoConvergence as error:
        vectors = error.eigenvectors if error.eigenvectors.size else start[:, None]
    vector = vectors[:, 0] / np.linalg.norm(vectors[:, 0])
    return float(np.linalg.norm(matrix @ vector))


def _damped_wave(operator: Coupling, grid: Grid, frequency: np.ndarray) -> np.ndarray:
    """``Re(v exp(i w.x))`` times half a sine an axis, plus a little noise, as a flat vector."""
    axes = [np.arange(n) for n in grid.shape]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    wave = np.exp(1j * places @ frequency)
    for axis, n in enumerate(grid.shape):
        envelope = np.sin(np.pi * (np.arange(n) + 1) / (n + 1))
        wave = wave * envelope.reshape([-1 if a == axis else 1 for a in range(grid.dimension)])
    dense = Full(to_numpy(operator.dense_weight())).symbol_at(frequency[None, :]).blocks()
    _, _, adjoint_vectors = np.linalg.svd(to_numpy(dense)[0, 0])
    vector: np.ndarray = np.conj(adjoint_vectors[0])
    start = np.real(vector[:, None] * wave.ravel()[None, :]).ravel()
    noise = np.random.default_rng(0).standard_normal(start.size)
    return np.asarray(start + 1e-3 * np.linalg.norm(start) / np.linalg.norm(noise) * noise)
