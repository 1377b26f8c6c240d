"""Norm of a convolution operator with a certificate, for every image size (theory §1).

Lower end: an ascent to a frequency and a pair of singular vectors that attain it. Upper end: branch
and bound over the frequency plane. Along any direction ``p(w) = Re u* K^(w) v`` is a trigonometric
polynomial, and Bernstein-Szego gives, from the maximiser ``w*`` of the norm,

    ||K^(w* + t)|| >= sup ||K^|| cos(m_1 |t_1| + m_2 |t_2| + ...)       for angles below pi/2

so that a cell with half-widths ``t`` whose midpoint stays below ``T cos(m.t)`` cannot hold a
maximum of ``T`` or more. When every cell is excluded, ``sup < T``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.backend import Array, like, namespace, to_double, to_numpy
from analysis.coupling import Coupling
from analysis.errors import InputError
from analysis.grid import offsets
from analysis.stencils import extension_norm
from analysis.symbols import Symbol

_UNIT_ROUNDOFF = 2.0**-53
_POWER_ITERATIONS = 6
_BLOCK_ELEMENTS = 2**20
_LEAST_WIDTH = 1e-8  # below it the margin of the Cholesky tests drowns in rounding


@dataclass(frozen=True, eq=False)
class CertifiedNorm:
    """An interval that holds the norm of an operator for all image sizes.

    Attributes:
        lower: attained by the symbol at ``frequency`` (a lower bound of the supremum over all
            frequencies; the norm at one image size can be smaller).
        upper: bound of the operator for every image size and the boundary given.
        frequency: where the lower end is attained, radians a pixel, shape ``(d,)``.
        boundary: the boundary condition the upper end is valid for.
        cells: number of frequencies examined.
        statement: what the certificate rests on.
    """

    lower: float
    upper: float
    frequency: np.ndarray
    boundary: str
    cells: int
    statement: str


def certified_norm(
    coupling: Coupling,
    *,
    row_scaling: Array | None = None,
    boundary: str = "periodic",
    relative_width: float = 0.01,
) -> CertifiedNorm:
    """Interval for ``sup_w ||K^(w)||_2``, a bound of ``||K||_2`` for every image size.

    Periodic and zero-padded operators never exceed the upper end; for reflect and replicate it
    carries the norm of the extension as a factor (none for replicate with axis-even stencils of at
    most three taps an axis).
    Runs in float64 on detached weights. Source: theory §1.

    Args:
        coupling: the operator ``K``.
        row_scaling: ``s >= 0`` of shape ``(c_out,)``; certifies ``||diag(s)^(1/2) K||``.
        boundary: one of ``analysis.grid.BOUNDARIES``.
        relative_width: ``upper <= (1 + relative_width) lower`` before the factor and rounding.

    Raises:
        InputError: for a width below 1e-8, negative scalings and weights that are not finite.

    >>> from analysis.couplings import Full
    >>> bound = certified_norm(Full(np.array([[[1.0, -2.0, 1.0]]])), relative_width=1e-3)
    >>> round(bound.lower, 12), bound.upper < 4.005
    (4.0, True)
    """
    if not relative_width >= _LEAST_WIDTH:
        raise InputError(
            f"a relative width of {_LEAST_WIDTH:g} or more", relative_width, "pass 0.01"
        )
    operator, unit = scaled_double(coupling, row_scaling)
    factor = 1.0
    statement = "branch and bound over all frequencies with the Bernstein-Szego inequality"
    if not (boundary == "replicate" and operator.has_cosine_transform(boundary)):
        factor = extension_norm(operator.radius, boundary)
    if factor > 1:
        statement += f", times the norm {factor:.4g} of the {boundary} extension"
    if operator.largest_weight() == 0:
        zero = np.zeros(operator.dimension)
        return CertifiedNorm(0.0, 0.0, zero, boundary, 0, "all weights are zero")
    lower, frequency, threshold, cells = _branch_and_bound(operator, relative_width)
    upper = (threshold + rounding_allowance(operator, threshold)) * factor
    return CertifiedNorm(lower * unit, upper * unit, frequency, boundary, cells, statement)


def rounding_allowance(operator: Coupling, value: float) -> float:
    """What rounding can hide of a norm near ``value`` that a Cholesky test has bounded.

    A factorisation proves its bound up to about ``(c + 2) u trace`` (Rump, BIT 2006); the symbol
    itself is rounded by a few ``u`` times the sum of the norms of its taps.
    """
    size = max(operator.channels_in, operator.channels_out)
    cholesky = 4 * (size + 2) ** 2 * _UNIT_ROUNDOFF * value
    return cholesky + 8 * (operator.taps + 4) * _UNIT_ROUNDOFF * tap_norms(operator)


def scaled_double(coupling: Coupling, row_scaling: Array | None) -> tuple[Coupling, float]:
    """``diag(s)^(1/2) K`` in detached float64, divided by a unit, and that unit.

    The unit is a power of two near the largest weight, so that squares neither overflow nor vanish
    and the division is exact. Refuses ``s < 0`` and values that are not finite.
    """
    operator = coupling.double()
    if row_scaling is not None:
        scale = to_double(row_scaling)
        if not np.all(to_numpy(scale) >= 0):
            raise InputError(
                "a row scaling s >= 0",
                f"minimum {np.min(to_numpy(scale)):g}",
                "treat negative gains apart: they are anti-diffusive",
            )
        operator = operator.scale_rows(namespace(scale).sqrt(scale))
    largest = operator.largest_weight()
    exponent = min(max(math.frexp(largest)[1], -1000), 1000) if largest else 0
    return operator.times(2.0**-exponent), 2.0**exponent


def tap_norms(operator: Coupling) -> float:
    """Sum over the taps of the Frobenius norms of their matrices, a bound of the norm."""
    weight = to_numpy(operator.dense_weight())
    return float(np.sqrt((weight**2).sum(axis=(0, 1))).sum())


def _branch_and_bound(
    operator: Coupling, relative_width: float
) -> tuple[float, np.ndarray, float, int]:
    """Lower end, its frequency, the excluded threshold and the number of cells examined."""
    centres, half_width = _first_cells(operator)
    degree = np.array(operator.radius, dtype=float)
    iterations = _POWER_ITERATIONS
    estimate = norms_from_below(operator, centres, iterations)
    lower, frequency = _ascend(operator, centres[int(np.argmax(estimate))])
    examined = 0
    while True:
        examined += len(centres)
        threshold = lower * (1 + relative_width)
        passed = proven_below(operator, centres, threshold * least_share(degree, half_width))
        if passed.all():
            return lower, frequency, threshold, examined
        centres = centres[~passed]
        # A cell that cannot be excluded may hide a larger norm than the one known so far.
        estimate = norms_from_below(operator, centres, iterations)
        best = int(np.argmax(estimate))
        if estimate[best] > lower * (1 + 0.1 * relative_width):
            found, where = _ascend(operator, centres[best])
            if found > lower:
                lower, frequency = found, where
        # Small cells differ little, so that the estimates must be the sharper the smaller they are.
        iterations *= 2
        half_width = half_width / 2
        steps = np.array(list(itertools.product((-1, 1), repeat=len(half_width))))
        # An axis of degree zero needs no split: the norm does not depend on it.
        steps = np.unique(steps * (degree > 0), axis=0)
        centres = (centres[:, None, :] + steps * half_width).reshape(-1, len(half_width))


def least_share(degree: np.ndarray, half_width: np.ndarray) -> float:
    """Least share ``cos(m.t)`` of the supremum at the midpoint of a cell that attains it."""
    return float(np.cos(np.dot(degree, half_width)))


def proven_below(operator: Coupling, frequencies: np.ndarray, threshold: float) -> np.ndarray:
    """Mask of the frequencies whose norm is proven to be below the threshold, shape ``(F,)``."""
    return _in_blocks(
        operator,
        frequencies,
        lambda symbol, count: symbol.below(np.full(count, threshold)),
    )


def norms_from_below(operator: Coupling, frequencies: np.ndarray, iterations: int) -> np.ndarray:
    """Norm of every frequency as far as power iterations attain it, shape ``(F,)``.

    Exact where the singular values are as cheap: for scalars and once the iterations are many.
    """

    def estimate(symbol: Symbol, count: int) -> Array:
        blocks = symbol.blocks()
        if min(blocks.shape[-2:]) == 1 or iterations > 2 * min(blocks.shape[-2:]):
            return symbol.norms()
        xp = namespace(blocks)
        vectors = _power_iteration(blocks, _start(blocks), iterations)
        return xp.max(xp.linalg.vector_norm(blocks @ vectors, axis=(-2, -1)), axis=-1)

    return _in_blocks(operator, frequencies, estimate)


def _in_blocks(
    operator: Coupling, frequencies: np.ndarray, function: Callable[[Symbol, int], Array]
) -> np.ndarray:
    """Values of a function of the symbol, on few frequencies at a time to bound the memory."""
    size = operator.channels_in * operator.channels_out * operator.stride**operator.dimension
    block = max(1, _BLOCK_ELEMENTS // size)
    parts = [frequencies[start : start + block] for start in range(0, len(frequencies), block)]
    return np.concatenate([to_numpy(function(operator.symbol_at(p), len(p))) for p in parts])


def _first_cells(operator: Coupling) -> tuple[np.ndarray, np.ndarray]:
    """Midpoints ``(F, d)`` and half-widths ``(d,)`` of cells that cover half of the frequencies."""
    period = 2 * np.pi / operator.stride
    axes, widths = [], []
    for axis, radius in enumerate(operator.radius):
        count = max(1, -(-8 * radius // operator.stride)) if radius else 1
        # K^(-w) = conj(K^(w)): half of the first axis suffices.
        kept = count // 2 + 1 if axis == 0 else count
        axes.append(period / count * np.arange(kept))
        widths.append(period / count / 2)
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    return centres, np.array(widths)


def _start(blocks: Array) -> Array:
    """Unit start vectors ``(F, g, columns, 1)``, fixed and without symmetry."""
    count, groups, _, columns = blocks.shape
    rng = np.random.default_rng(0)
    start = rng.standard_normal((1, 1, columns, 1)) + 1j * rng.standard_normal((1, 1, columns, 1))
    start /= np.linalg.norm(start)
    return namespace(blocks).broadcast_to(
        like(start, blocks, complex_=True), (count, groups, columns, 1)
    )


def _power_iteration(blocks: Array, vectors: Array, iterations: int) -> Array:
    """Right singular vectors after power iterations on ``K^* K``, unit columns ``(..., c, 1)``."""
    xp = namespace(blocks)
    adjoint = xp.conj(xp.matrix_transpose(blocks))
    for _ in range(iterations):
        vectors = adjoint @ (blocks @ vectors)
        length = xp.linalg.vector_norm(vectors, axis=(-2, -1), keepdims=True)
        vectors = vectors / xp.where(length > 0, length, xp.ones_like(length))
    return vectors


def _ascend(operator: Coupling, frequency: np.ndarray) -> tuple[float, np.ndarray]:
    """Ascent of the norm in frequency and singular vectors; returns the norm and where it is.

    Alternates power iterations at fixed ``w`` with Newton steps on ``p(w) = Re u* K^(w) v`` at
    fixed ``u, v``; never ends below the norm at the start.
    """
    best, place = 0.0, frequency
    blocks = operator.symbol_at(frequency[None, :]).blocks()
    xp = namespace(blocks)
    _, _, adjoint_vectors = xp.linalg.svd(blocks, full_matrices=False)
    vectors = xp.conj(xp.matrix_transpose(adjoint_vectors[..., :1, :]))
    for _ in range(60):
        image = blocks @ vectors
        lengths = to_numpy(xp.linalg.vector_norm(image, axis=(-2, -1)))[0]
        group = int(np.argmax(lengths))
        # Converged so far that other libraries and devices end at the same number.
        if lengths[group] <= best * (1 + 1e-14):
            break
        best, place = float(lengths[group]), frequency
        left = image[:, group : group + 1] / lengths[group]
        right = vectors[:, group : group + 1]
        coefficients = _polynomial(operator, left, right, group)
        frequency = _maximise(coefficients, offsets(operator.kernel_shape), frequency)
        blocks = operator.symbol_at(frequency[None, :]).blocks()
        vectors = _power_iteration(blocks, vectors, 2)
    exact = to_numpy(operator.symbol_at(place[None, :]).norms())
    return float(exact[0]), place


def _polynomial(operator: Coupling, left: Array, right: Array, group: int) -> np.ndarray:
    """Coefficients ``a_p`` of ``u* K^(w) v = sum_p a_p exp(i p.w)``, shape ``(taps,)``.

    A polynomial of degree ``r`` an axis is determined by its ``2 r + 1`` samples an axis, whatever
    the structure of the symbol.
    """
    taps = offsets(operator.kernel_shape)
    samples = taps * (2 * np.pi / np.array(operator.kernel_shape))
    blocks = operator.symbol_at(samples).blocks()[:, group : group + 1]
    xp = namespace(blocks)
    values = to_numpy(xp.sum(xp.conj(left) * (blocks @ right), axis=(1, 2, 3)))
    return np.exp(-1j * taps @ samples.T) @ values / len(taps)


def _maximise(coefficients: np.ndarray, taps: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Local maximiser of ``Re sum_p a_p exp(i p.w)`` by Newton steps that never descend."""

    def value(point: np.ndarray) -> float:
        return float(np.real(coefficients @ np.exp(1j * taps @ point)))

    point, height = start, value(start)
    for _ in range(8):
        terms = coefficients * np.exp(1j * taps @ point)
        gradient = np.real(1j * terms @ taps)
        hessian = -np.real((taps.T * terms) @ taps)
        curvature, basis = np.linalg.eigh(hessian)
        # Uphill also where the polynomial is not concave; flat directions stay.
        safe = np.maximum(np.abs(curvature), 1e-12 * (np.abs(coefficients).sum() + 1e-300))
        step = basis @ ((basis.T @ gradient) / safe)
        step *= min(1.0, 0.5 / max(float(np.linalg.norm(step)), 1e-300))
        while np.linalg.norm(step) > 1e-10 and value(point + step) < height:
            step = step / 2
        if value(point + step) <= height:
            break
        point, height = point + step, value(point + step)
    return point
