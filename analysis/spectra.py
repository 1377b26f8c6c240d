"""Spectra of convolution operators at a given image size and boundary (theory §1).

Periodic operators, and replicate ones with axis-even stencils, are diagonalised by a transform and
their spectra are exact. Zero padding and general symmetric extensions are not: their norm comes as
an interval, from below by Lanczos and from above by a certificate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from analysis.backend import (
    Array,
    device,
    eigvalsh,
    namespace,
    retain_freed_memory,
    take_rows,
    to_numpy,
)
from analysis.certificates import certificate_statement, rounding_allowance, scaled_double
from analysis.coupling import Coupling
from analysis.couplings import Full
from analysis.errors import InputError, unknown_name
from analysis.grid import Grid
from analysis.grid_search import largest_on_grid
from analysis.search import chunk_size, chunks, finish, search_supremum
from analysis.stencils import extension_norm
from analysis.transposed import Operator, refuse_scaling, untransposed

ACCURACIES = ("values", "norm")
"""What ``singular_values`` may be asked for."""

_LEAST_OF_GRAM = 1e-3
"""Share of the norm from which a Gram matrix in double precision gives a value to 1e-12."""
_COMPLEX_NUMBERS = 2**18
_WIDTH, _WIDTH_BESIDE_EXACT = 1e-3, 1e-2
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


@dataclass(frozen=True, eq=False)
class SymbolValues:
    """Singular values of a symbol, frequency by frequency.

    Attributes:
        frequencies: without mirror images, radians a pixel, NumPy, shape ``(F, d)``.
        multiplicity: how many frequencies of the grid each stands for, NumPy, shape ``(F,)``.
        values: in the namespace of the weights, shape ``(F, c)`` with
            ``c = min(c_out, c_in stride^d)``, units of the weights.
    """

    frequencies: np.ndarray
    multiplicity: np.ndarray
    values: Array

    def sorted(self) -> Array:
        """All singular values of the operator, descending, shape ``(pixels_out c,)``."""
        xp = namespace(self.values)
        if len(self.values) == 1:
            return xp.repeat(xp.flip(xp.sort(self.values[0])), int(self.multiplicity[0]))
        pairs, once = (
            xp.sort(xp.reshape(take_rows(self.values, np.flatnonzero(rows)), (-1,)), stable=False)
            for rows in (self.multiplicity == 2, self.multiplicity == 1)
        )
        # Two sorted runs, which a stable sort merges.
        return xp.flip(xp.sort(xp.concat([xp.repeat(pairs, 2), once])))


def singular_values(coupling: Operator, grid: Grid, *, accuracy: str = "values") -> Array:
    """All singular values at an image size, descending, in the namespace of the weights.

    Arguments, errors and routes as ``symbol_values``; shape ``(pixels_out * c,)`` with
    ``c = min(c_out, c_in stride^d)``, units of the weights.

    >>> from analysis.couplings import Depthwise
    >>> singular_values(Depthwise(np.array([[1.0, -2.0, 1.0]])), Grid((4,))).round(12) + 0.0
    array([4., 2., 2., 0.])
    """
    return symbol_values(coupling, grid, accuracy=accuracy).sorted()


def symbol_values(coupling: Operator, grid: Grid, *, accuracy: str = "values") -> SymbolValues:
    """All singular values at an image size, frequency by frequency.

    Depthwise and square circulant operators: moduli of their scalars; pointwise: one decomposition
    for all frequencies; the others: eigenvalues of Gram matrices (``analysis.gram``), half of the
    work of singular values, at the half of the frequencies that real weights need. Memory beside
    the result does not grow with the image.

    Args:
        coupling: the operator.
        grid: periodic, or replicate for axis-even stencils and stride 1.
        accuracy: ``values``: every value to about ``1e-12 ||K||``, in double precision whatever the
            weights; frequencies with values below ``1e-3 ||K||``, where a Gram matrix loses digits,
            are decomposed again. ``norm``: in the precision of the weights, and values above
            ``1e-3 ||K||`` alone have that accuracy (``1e-4 ||K||`` in single precision); smaller
            ones are off by up to the root of the rounding, ``1e-7 ||K||`` (``1e-3``). Weights that
            record gradients take singular value decompositions throughout.

    Raises:
        InputError: for boundaries whose singular values no transform gives, another accuracy and
            weights that are not finite.
    """
    if accuracy not in ACCURACIES:
        raise unknown_name("accuracy", accuracy, ACCURACIES)
    if grid.boundary == "reflect":
        raise InputError(
            "a boundary with an orthogonal transform (periodic, replicate)",
            "reflect, which is not a normal matrix",
            "ask for its eigenvalues or its norm interval",
        )
    coupling, grid = untransposed(coupling, grid)
    coupling.largest_weight()  # refuses weights that are not finite
    if not any(coupling.radius):  # one matrix for all frequencies
        pixels = coupling.output_grid(grid).size
        zero = np.zeros((1, coupling.dimension))
        return SymbolValues(zero, np.array([pixels]), coupling.symbol_at(zero).singular_values())
    frequencies, multiplicity = coupling.half_frequencies(grid)
    values = values_at(coupling, frequencies, accuracy=accuracy)
    return SymbolValues(frequencies, multiplicity, values)


def values_at(coupling: Coupling, frequencies: np.ndarray, *, accuracy: str = "values") -> Array:
    """All singular values of the symbol at frequencies ``(F, d)``, shape ``(F, c)``.

    Few frequencies at a time, so that memory does not grow with them; accuracy as
    ``symbol_values``.
    """
    retain_freed_memory()
    exact = coupling.records_gradient() or coupling.symbol_gram().size == 1
    precise = coupling if exact or accuracy == "norm" else coupling.double()
    gram = precise.gram()
    size = chunk_size(gram, precise.accelerated)
    parts = list(chunks(len(frequencies), size))
    if exact or gram.size == 1:
        found = [coupling.symbol_at(frequencies[part]).singular_values() for part in parts]
        return namespace(found[0]).concat(found)
    found = [_roots(gram.at(frequencies[part])) for part in parts]
    xp = namespace(found[0])
    values = xp.concat(found)
    if accuracy == "norm":
        return values
    small = to_numpy(xp.min(values, axis=1) < _LEAST_OF_GRAM * xp.max(values))
    again = np.flatnonzero(small)
    for part in chunks(len(again), size):
        decomposed = precise.symbol_at(frequencies[again[part]]).singular_values()
        values[xp.asarray(again[part], device=device(values)), :] = decomposed
    return xp.astype(values, coupling.real_type, copy=False)


def _roots(matrices: Array) -> Array:
    """Roots of the eigenvalues of Gram matrices ``(n, g, k, k)``, shape ``(n, g k)``."""
    xp = namespace(matrices)
    count, groups, size = matrices.shape[:3]
    values = eigvalsh(xp.reshape(matrices, (count * groups, size, size)))
    # Rounding makes some zeros negative.
    values = xp.sqrt(xp.where(values > 0, values, xp.zeros_like(values)))
    return xp.reshape(values, (count, groups * size))


def eigenvalues(coupling: Operator, grid: Grid) -> Array:
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
    coupling, grid = untransposed(coupling, grid)  # real weights: the spectrum of K^T is that of K
    if coupling.stride != 1 or coupling.channels_out != coupling.channels_in:
        raise InputError(
            "as many output as input channels and stride 1",
            f"{coupling.channels_out} x {coupling.channels_in} channels, stride {coupling.stride}",
            "ask for the singular values",
        )
    coupling.largest_weight()
    frequencies, multiplicity = coupling.half_frequencies(grid)
    size = max(1, _COMPLEX_NUMBERS // coupling.channels_in**2)
    found = [
        coupling.symbol_at(frequencies[part]).eigenvalues()
        for part in chunks(len(frequencies), size)
    ]
    xp = namespace(found[0])
    values = xp.concat(found)
    # K^(-w) = conj(K^(w)) for real weights.
    mirrored = xp.conj(take_rows(values, np.flatnonzero(multiplicity == 2)))
    return xp.concat([xp.reshape(values, (-1,)), xp.reshape(mirrored, (-1,))])


def spectral_radius(coupling: Coupling, grid: Grid) -> float:
    """Largest modulus of an eigenvalue at an image size."""
    return float(np.abs(to_numpy(eigenvalues(coupling.double(), grid))).max())


def norm(coupling: Operator, grid: Grid, *, row_scaling: Array | None = None) -> NormInterval:
    """Interval for ``||K||_2`` (largest singular value) at an image size and boundary.

    Periodic (and replicate with axis-even stencils): exact, the largest norm of the symbol on the
    grid. Zero padding: Lanczos from below; from above the smaller of the norm on the periodic grid
    enlarged by the reach of the stencil (theory §4.8) and the supremum over all frequencies.
    Reflect and replicate: Lanczos from below, the supremum times the norm of the extension.

    Args:
        coupling: the operator.
        grid: image size and boundary.
        row_scaling: ``s >= 0`` of shape ``(c_out,)``; gives the norm of ``diag(s)^(1/2) K`` (of an
            operator that is not transposed).
    """
    refuse_scaling(coupling, row_scaling)
    coupling, grid = untransposed(coupling, grid)
    operator, unit = scaled_double(coupling, row_scaling)
    result = _unit_norm(operator, grid)
    return NormInterval(result.lower * unit, result.upper * unit, result.statement)


def _unit_norm(operator: Coupling, grid: Grid) -> NormInterval:
    """``norm`` of an operator with weights near one, or all zero."""
    exact = grid.boundary == "periodic" or (
        grid.boundary == "replicate" and operator.has_cosine_transform(grid.boundary)
    )
    axes = operator.axis_frequencies(grid) if exact else None
    if operator.largest_weight() == 0:
        return NormInterval(0.0, 0.0, "all weights are zero")
    found = finish(search_supremum(operator, _WIDTH_BESIDE_EXACT if exact else _WIDTH))
    allowance = rounding_allowance(found.gram, found.threshold)
    supremum = found.threshold + allowance
    if axes is not None:
        value = largest_on_grid(operator, axes, found, supremum)
        return NormInterval(value, value + allowance, "largest norm of the symbol")
    matrix = as_linear_operator(operator, grid)
    factor = extension_norm(operator.radius, grid.boundary)
    statement = certificate_statement(factor, grid.boundary)
    upper, lower = supremum * factor, _lanczos_norm(operator, matrix, grid, found.peak.frequency)
    if grid.boundary == "zeros" and operator.stride == 1:
        shape = zip(grid.shape, operator.radius, strict=True)
        larger = Grid(tuple(n + r for n, r in shape))
        value = largest_on_grid(operator, operator.axis_frequencies(larger), found, supremum)
        if value + allowance < upper:
            upper = value + allowance
            statement = f"compression of the periodic operator on {larger.shape}"
    return NormInterval(lower, max(lower, upper), f"Lanczos; {statement}")


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
    dense = Full(to_numpy(operator.dense_weight()), dilation=operator.dilation)
    _, _, adjoint_vectors = np.linalg.svd(dense.symbol_at(frequency[None, :]).blocks()[0, 0])
    vector: np.ndarray = np.conj(adjoint_vectors[0])
    start = np.real(vector[:, None] * wave.ravel()[None, :]).ravel()
    noise = np.random.default_rng(0).standard_normal(start.size)
    return np.asarray(start + 1e-3 * np.linalg.norm(start) / np.linalg.norm(noise) * noise)
