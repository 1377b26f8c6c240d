"""Gram matrices of symbols, assembled without the symbols (theory §1).

The Gram matrix of a symbol is a trigonometric polynomial whose coefficients are correlations of the
taps, so that one matrix product evaluates it at many frequencies:

    K^(w)^* K^(w) = sum_l exp(i l.w) G_l,     G_l = sum_p K_p^T K_(p + l),     G_(-l) = G_l^T

Of ``K^* K`` and ``K K^*`` the smaller is taken. Either has the squares of the singular values as
eigenvalues; in floating point they carry an error of a few ``u ||K||^2``, which is all of the
digits of singular values below ``sqrt(u) ||K||``.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.backend import Array, as_complex, complex_from, device, like, namespace

_UNIT_ROUNDOFF = 2.0**-53
_MOST_COEFFICIENTS = 2**26
"""Numbers a polynomial may hold (512 MiB in double precision)."""


def phases(frequencies: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """``exp(i p.w)`` at frequencies ``(F, d)`` for whole offsets ``(T, d)``, shape ``(F, T)``."""
    values = None
    for axis in range(offsets.shape[1]):
        places = offsets[:, axis]
        if places.any():
            distinct = np.arange(places.min(), places.max() + 1)
            angles = frequencies[:, axis, None] * distinct
            # A fifth of the time of a complex exponential.
            powers = complex_from(np.cos(angles), np.sin(angles))
            factor = powers[:, places - distinct[0]]
            values = factor if values is None else values * factor
    return np.ones((len(frequencies), len(offsets)), dtype=complex) if values is None else values


class Gram(ABC):
    """Hermitian matrices a frequency with the squares of the singular values as eigenvalues.

    Attributes:
        groups: number of diagonal blocks.
        size: of every block, ``k``.
        rounding: bound of the 2-norm of what rounding in double precision adds to a matrix, in
            squares of the unit of the weights.
    """

    groups: int
    size: int
    rounding: float

    @abstractmethod
    def at(self, frequencies: np.ndarray, factor: float = 1.0) -> Array:
        """New matrices at frequencies ``(F, d)``, times a factor, shape ``(F, groups, k, k)``."""


def rounding_bound(terms: int, tap_norms: float) -> float:
    """Bound of the rounding of a Gram matrix whose entries are sums of so many products.

    Every entry is off by at most ``terms u`` times the same sum of moduli, a matrix of norm at most
    ``(sum_p || |K_p| ||_2)^2 <= (sum_p ||K_p||_F)^2``; 64 more terms cover the phases.

    Args:
        terms: products and sums behind one entry.
        tap_norms: ``sum_p ||K_p||_F``.
    """
    return 2 * (terms + 64) * _UNIT_ROUNDOFF * tap_norms**2


@dataclass(frozen=True, eq=False)
class BlockGram(Gram):
    """The polynomial of full and grouped operators.

    Attributes:
        lags: offsets of one correlation of every pair ``{l, -l}``, shape ``(m, d)``.
        coefficients: ``G_l + G_l^T``, which cosines of ``l.w`` multiply, as real and
            ``G_l - G_l^T``, which sines multiply, as imaginary parts, shape ``(2 m, g k k 2)``.
    """

    groups: int
    size: int
    rounding: float
    lags: np.ndarray
    coefficients: Array

    def at(self, frequencies: np.ndarray, factor: float = 1.0) -> Array:
        """The matrices, by one real matrix product."""
        turned = phases(frequencies, self.lags)
        waves = factor * np.concatenate([turned.real, turned.imag], axis=1)
        pairs = like(waves, self.coefficients) @ self.coefficients
        shape = (len(frequencies), self.groups, self.size, self.size, 2)
        return as_complex(namespace(pairs).reshape(pairs, shape))


@dataclass(frozen=True, eq=False)
class LeanGram(Gram):
    """A constant matrix plus diagonals: one shared product serves all frequencies.

    ``M^T M + conj(d) T + T^T d + diag(|d|^2)`` with the leading rows ``T`` of ``M``; transposed
    where there are fewer rows than columns. A stride averages ``d`` and ``|d|^2``.

    Attributes:
        product: ``M^T M`` or ``M M^T``, shape ``(k, k)``.
        leading: rows of ``M`` or ``M^T`` that the diagonal adds to, shape ``(m, k)``.
        diagonals: from frequencies to the means of ``d`` and of ``|d|^2`` over the frequencies that
            a stride folds, shapes ``(F, m)``; ``m = 0`` for pointwise.
    """

    groups: int
    size: int
    rounding: float
    product: Array
    leading: Array
    diagonals: Callable[[np.ndarray], tuple[Array, Array]]

    def at(self, frequencies: np.ndarray, factor: float = 1.0) -> Array:
        """The matrices; cost and memory of a frequency grow as ``k^2``."""
        xp, count = namespace(self.product), len(frequencies)
        shape = (count, 1, self.size, self.size, 2)
        pairs = xp.zeros(shape, dtype=self.product.dtype, device=device(self.product))
        if self.leading.shape[0] == 0:
            pairs[..., 0] = factor * self.product
            return as_complex(pairs)
        mean, squares = self.diagonals(frequencies)
        # In real parts that lie together: a fifth of the time of complex products.
        cosines = self._rows(factor * xp.real(mean))
        sines = self._rows(factor * xp.imag(mean))
        real = cosines + xp.matrix_transpose(cosines)
        real += factor * self.product
        index = xp.arange(self.leading.shape[0], device=device(self.product))
        real[:, index, index] += factor * squares
        pairs[:, 0, :, :, 0] = real
        pairs[:, 0, :, :, 1] = xp.matrix_transpose(sines) - sines
        return as_complex(pairs)

    def _rows(self, scale: Array) -> Array:
        """``diag(scale) T`` in the leading rows, zeros below, shape ``(F, k, k)``."""
        xp, m = namespace(self.product), self.leading.shape[0]
        scaled = scale[:, :, None] * self.leading
        if m == self.size:
            return scaled
        below = xp.zeros_like(scaled[:, :1, :])
        return xp.concat([scaled] + [below] * (self.size - m), axis=1)


@dataclass(frozen=True, eq=False)
class SymbolGram(Gram):
    """Gram matrices by the product of symbols: where that is less work than the polynomial.

    Attributes:
        blocks: from frequencies to the blocks of the symbol, ``(F, g, rows, columns)``.
    """

    groups: int
    size: int
    rounding: float
    blocks: Callable[[np.ndarray], Array]

    def at(self, frequencies: np.ndarray, factor: float = 1.0) -> Array:
        """The matrices; squares of moduli where the blocks are rows or columns."""
        blocks = self.blocks(frequencies)
        rows, columns = blocks.shape[-2:]
        xp = namespace(blocks)
        if self.size == 1:
            squares = xp.real(blocks) ** 2 + xp.imag(blocks) ** 2
            return xp.sum(factor * squares, axis=(-2, -1), keepdims=True)
        adjoint = factor * xp.conj(xp.matrix_transpose(blocks))
        return blocks @ adjoint if rows <= columns else adjoint @ blocks


def block_gram(
    offsets: np.ndarray,
    taps: Array,
    stride: int,
    tap_norms: float,
    direct: SymbolGram,
) -> Gram:
    """The Gram matrices of an operator given by the matrices of its taps.

    A stride folds the frequencies ``w + 2 pi j / s``. Of ``K K^*`` the fold keeps the correlations
    whose lags are multiples of the stride; for ``K^* K`` the columns are split by the residues of
    their offsets first, which is a unitary change of the aliased columns.

    Args:
        offsets: of the taps, shape ``(T, d)``.
        taps: real matrices, shape ``(T, g, rows, columns)``.
        stride: step of the output pixels.
        tap_norms: ``sum_p ||K_p||_F``.
        direct: what is returned where it is less work: for few channels and many taps.
    """
    count, groups, rows, columns = (int(n) for n in taps.shape)
    folded = stride ** offsets.shape[1]
    by_columns = rows > columns * folded
    if by_columns and stride > 1:
        offsets, taps = _split_by_residues(offsets, taps, stride)
    xp = namespace(taps)
    sides, places = (taps, offsets) if by_columns else (xp.matrix_transpose(taps), -offsets)
    size, contracted = int(sides.shape[-1]), int(sides.shape[-2])
    lags, pairs = _correlated_pairs(places, stride)
    bound = rounding_bound(contracted * folded + 2 * count + 2 * len(lags), tap_norms)
    numbers = 4 * len(lags) * groups * size**2
    work = (4 * count + 8 * size) * rows * columns * folded
    if 8 * len(lags) * size**2 > work or numbers > _MOST_COEFFICIENTS:
        return direct
    # One product a lag: all pairs that have it are contracted together with the rows.
    sides = xp.permute_dims(like(sides, sides), (1, 0, 2, 3))

    def gather(taps_of_pairs: np.ndarray) -> Array:
        index = xp.asarray(taps_of_pairs, device=device(sides))
        return xp.reshape(xp.take(sides, index, axis=1), (groups, -1, size))

    shape = (2, len(lags), groups, size, size, 2)
    coefficients = xp.zeros(shape, dtype=sides.dtype, device=device(sides))
    for n, (first, second) in enumerate(pairs):
        product = xp.matrix_transpose(gather(first)) @ gather(second)
        turned = xp.matrix_transpose(product)
        coefficients[0, n, ..., 0] = product + turned if n else product  # lag zero has no partner
        coefficients[1, n, ..., 1] = product - turned
    return BlockGram(groups, size, bound, lags, xp.reshape(coefficients, (2 * len(lags), -1)))


def _correlated_pairs(
    places: np.ndarray, stride: int
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """One of every pair of lags ``{l, -l}``, zero first, and the taps whose places differ by it."""
    found: dict[tuple[int, ...], tuple[list[int], list[int]]] = {}
    for p, q in itertools.product(range(len(places)), repeat=2):
        lag = tuple(int(n) for n in places[q] - places[p])
        if lag >= (0,) * len(lag) and not any(n % stride for n in lag):
            first, second = found.setdefault(lag, ([], []))
            first.append(p)
            second.append(q)
    lags = sorted(found)
    return np.array(lags), [(np.array(found[lag][0]), np.array(found[lag][1])) for lag in lags]


def _split_by_residues(offsets: np.ndarray, taps: Array, stride: int) -> tuple[np.ndarray, Array]:
    """Taps with the same ``floor(p / s)`` side by side, columns ordered by the residue of ``p``."""
    xp = namespace(taps)
    coarse, residues = offsets // stride, offsets % stride
    places = np.unique(coarse, axis=0)
    every = list(itertools.product(range(stride), repeat=offsets.shape[1]))
    found = {
        (tuple(m), tuple(r)): taps[t] for t, (m, r) in enumerate(zip(coarse, residues, strict=True))
    }
    zero = xp.zeros_like(taps[0])
    merged = [xp.concat([found.get((tuple(m), r), zero) for r in every], axis=-1) for m in places]
    return stride * places, xp.stack(merged)


def lean_gram(
    matrix: Array,
    diagonals: Callable[[np.ndarray], tuple[Array, Array]],
    by_columns: bool,
    tap_norms: float,
    diagonal_size: int,
) -> LeanGram:
    """The Gram matrices of ``M + diag(d)``, see ``LeanGram``.

    Args:
        matrix: ``M``, real, shape ``(c_out, c_in)``.
        diagonals: from frequencies to the means of ``d`` and ``|d|^2``; ``d`` conjugated for rows.
        by_columns: ``K^* K`` rather than ``K K^*``.
        tap_norms: as in ``rounding_bound``.
        diagonal_size: entries of the diagonal, ``m``.
    """
    xp = namespace(matrix)
    matrix = like(matrix, matrix)
    side = matrix if by_columns else xp.matrix_transpose(matrix)
    bound = rounding_bound(int(side.shape[0]) + 32, tap_norms)
    product = xp.matrix_transpose(side) @ side
    return LeanGram(1, int(product.shape[0]), bound, product, side[:diagonal_size, :], diagonals)
