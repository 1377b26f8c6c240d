"""Couplings whose stencils stand on the diagonal: depthwise, pointwise and lean (theory §2).

After arXiv 1805.07821; the common part is in ``analysis.coupling``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from analysis.backend import Array, detach, like, namespace, to_numpy
from analysis.coupling import Coupling
from analysis.gram import Gram, lean_gram, phases
from analysis.symbols import LeanSymbol, ScalarSymbol, Symbol
from analysis.taps import (
    check_axes,
    check_scale,
    column,
    flatten_taps,
    form_gradient,
    frobenius_norms,
    require,
    transform,
)


@dataclass(frozen=True, eq=False)
class Depthwise(Coupling):
    """Stencils on the diagonal blocks only.

    Attributes:
        stencils: shape ``(c, *kernel_shape)``.
    """

    name: ClassVar[str] = "depthwise"
    _channel_axes: ClassVar[int] = 1
    stencils: Array

    def _check_shapes(self) -> None:
        check_axes("stencils", self.stencils, 1)

    def _stencils(self) -> Array:
        return self.stencils

    @property
    def channels_out(self) -> int:
        """Number of channels."""
        return int(self.stencils.shape[0])

    @property
    def channels_in(self) -> int:
        """Number of channels."""
        return self.channels_out

    @property
    def weights(self) -> int:
        """``taps c``."""
        return self.taps * self.channels_out

    def dense_weight(self) -> Array:
        """Stencils on the diagonal, zeros off it."""
        return _on_diagonal(self.stencils, self.channels_out, self.channels_in)

    def _symbol_unstrided(self, phases: Array, *, constant: bool) -> Symbol:
        return ScalarSymbol(transform(flatten_taps(self.stencils, 1), phases))

    def _form_gradients(
        self, turned: np.ndarray, group: int, left: np.ndarray, right: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """``Re(conj(u) v exp(i p.w))`` in the channel."""
        gradient = np.zeros(self.stencils.shape, dtype=left.real.dtype)
        gradient[group] = form_gradient(left, right, turned).reshape(self.kernel_shape)
        return {"stencils": gradient}

    def group_bases(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """The channel itself."""
        unit = np.eye(self.channels_out)[:, [group]]
        return unit, unit

    def gram(self) -> Gram:
        """Squares of moduli, one block a channel."""
        return self.symbol_gram(self.channels_out)

    def tap_norms(self) -> float:
        """``sum_p ||K_p||_F``."""
        return frobenius_norms(self.stencils, 1)

    def scale_rows(self, scale: Array) -> Depthwise:
        """``diag(scale) K``."""
        return replace(self, stencils=self.stencils * column(scale, self.stencils))


def _on_diagonal(stencils: Array, channels_out: int, channels_in: int) -> Array:
    """Stencils ``(m, *k)`` on the leading diagonal blocks, shape ``(c_out, c_in, *k)``."""
    m, spatial = stencils.shape[0], (1,) * (stencils.ndim - 1)
    eye = like(np.eye(m, channels_in), stencils)
    dense = stencils[:, None, ...] * namespace(stencils).reshape(eye, (m, channels_in, *spatial))
    if channels_out == m:
        return dense
    xp = namespace(stencils)
    rest = xp.zeros_like(dense[:1])
    return xp.concat([dense] + [rest] * (channels_out - m), axis=0)


@dataclass(frozen=True, eq=False)
class Pointwise(Coupling):
    """One number in every block (a 1x1 convolution).

    Attributes:
        matrix: shape ``(c_out, c_in)``.
        spatial_axes: number of spatial axes it acts on.
    """

    name: ClassVar[str] = "pointwise"
    _channel_axes: ClassVar[int] = 2
    matrix: Array
    spatial_axes: int = 2

    def _check_shapes(self) -> None:
        got = f"shape {tuple(self.matrix.shape)}"
        require(self.matrix.ndim == 2, "a matrix (c_out, c_in)", got, "drop the spatial axes")
        require(min(self.matrix.shape) >= 1, "at least one channel", got, "add some")

    def _stencils(self) -> Array:
        return self.dense_weight()

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """One tap on every axis."""
        return (1,) * self.spatial_axes

    @property
    def channels_out(self) -> int:
        """Number of output channels."""
        return int(self.matrix.shape[0])

    @property
    def channels_in(self) -> int:
        """Number of input channels."""
        return int(self.matrix.shape[1])

    @property
    def weights(self) -> int:
        """``c_out c_in``."""
        return self.channels_out * self.channels_in

    def dense_weight(self) -> Array:
        """The matrix with spatial axes of one tap."""
        shape = (*self.matrix.shape, *(1,) * self.spatial_axes)
        return namespace(self.matrix).reshape(self.matrix, shape)

    def _symbol_unstrided(self, phases: Array, *, constant: bool) -> Symbol:
        return LeanSymbol(self.matrix if constant else 0 * self.matrix, phases[:, :0])

    def _form_gradients(
        self, turned: np.ndarray, group: int, left: np.ndarray, right: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """``Re(conj(u) v^T)``."""
        return {"matrix": np.real(np.conj(left)[:, None] * right)}

    def gram(self) -> Gram:
        """One product for all frequencies."""
        if self.by_columns and self.stride > 1:
            return self.symbol_gram()
        none = self.matrix[:0, :0]
        return lean_gram(self.matrix, lambda w: (none, none), self.by_columns, self.tap_norms(), 0)

    def tap_norms(self) -> float:
        """``||K||_F``."""
        return frobenius_norms(self.matrix[..., None], 2)

    def scale_rows(self, scale: Array) -> Pointwise:
        """``diag(scale) K``."""
        return replace(self, matrix=self.matrix * column(scale, self.matrix))


@dataclass(frozen=True, eq=False)
class Lean(Coupling):
    """Stencils on the diagonal blocks, one number (the centre) off them (1805.07821).

    Attributes:
        matrix: centres of all blocks, shape ``(c_out, c_in)``.
        stencils: the other taps of the diagonal blocks, shape ``(min(c_out, c_in), *kernel_shape)``
            with a zero centre (it belongs to ``matrix``).
    """

    name: ClassVar[str] = "lean"
    _channel_axes: ClassVar[int] = 1
    matrix: Array
    stencils: Array

    def _check_shapes(self) -> None:
        check_axes("stencils", self.stencils, 1)
        smaller = min(self.matrix.shape) if self.matrix.ndim == 2 else None
        require(
            smaller == self.stencils.shape[0],
            "a matrix (c_out, c_in) and min(c_out, c_in) stencils",
            f"shapes {tuple(self.matrix.shape)} and {tuple(self.stencils.shape)}",
            "give one stencil a diagonal block",
        )
        centre = tuple(k // 2 for k in self.stencils.shape[1:])
        require(
            not to_numpy(self.stencils)[(slice(None), *centre)].any(),
            "stencils with a zero centre",
            "a non-zero centre",
            "add the centre to the diagonal of the matrix",
        )

    def _stencils(self) -> Array:
        return self.stencils

    @property
    def channels_out(self) -> int:
        """Number of output channels."""
        return int(self.matrix.shape[0])

    @property
    def channels_in(self) -> int:
        """Number of input channels."""
        return int(self.matrix.shape[1])

    @property
    def weights(self) -> int:
        """``c_out c_in + (taps - 1) min(c_out, c_in)``."""
        off_centre = (self.taps - 1) * min(self.channels_out, self.channels_in)
        return self.channels_out * self.channels_in + off_centre

    def dense_weight(self) -> Array:
        """Stencils on the diagonal plus the matrix at the centre."""
        stencils, xp = self.stencils, namespace(self.stencils)
        centre = np.zeros(self.kernel_shape)
        centre[tuple(k // 2 for k in self.kernel_shape)] = 1
        matrix = xp.reshape(self.matrix, (*self.matrix.shape, *(1,) * self.dimension))
        diagonal = _on_diagonal(stencils, self.channels_out, self.channels_in)
        return diagonal + matrix * like(centre, stencils)

    def _symbol_unstrided(self, phases: Array, *, constant: bool) -> Symbol:
        matrix = self.matrix if constant else 0 * self.matrix
        return LeanSymbol(matrix, transform(flatten_taps(self.stencils, 1), phases))

    def gram(self) -> Gram:
        """One product for all frequencies, and diagonals."""
        if self.by_columns and self.stride > 1:
            return self.symbol_gram()
        size = int(self.stencils.shape[0])
        diagonals, norms = self._folded_diagonals, self.tap_norms()
        return lean_gram(self.matrix, diagonals, self.by_columns, norms, size)

    def _form_gradients(
        self, turned: np.ndarray, group: int, left: np.ndarray, right: np.ndarray
    ) -> dict[str, np.ndarray] | None:
        """``Re(conj(u) v^T)``, and that of the diagonal times the phases."""
        m = int(self.stencils.shape[0])
        diagonal = (np.conj(left[:m]) * right[:m])[:, None] * turned
        stencils = np.real(diagonal).astype(left.real.dtype).reshape(self.stencils.shape)
        matrix = np.real(np.conj(left)[:, None] * right)
        return {"matrix": matrix, "stencils": stencils}

    def oscillation(self) -> float:
        """``max_i sup_w |d_i(w)|`` from a uniform grid of frequencies (theory §1), 4 % high."""
        bounds = modulus_bounds(detach(self.stencils))
        return float(namespace(bounds).max(bounds))

    def _folded_diagonals(self, frequencies: np.ndarray) -> tuple[Array, Array]:
        """Means of ``d`` and ``|d|^2`` over the frequencies that the stride folds, ``(F, m)``."""
        taps, xp = flatten_taps(self.stencils, 1), namespace(self.stencils)
        mean, squares = 0.0, 0.0
        for aliased in self.folded(frequencies):
            turned = like(phases(aliased, self.offsets), taps, complex_=True)
            diagonal = transform(taps, turned)
            mean = mean + (diagonal if self.by_columns else xp.conj(diagonal))
            squares = squares + xp.real(diagonal) ** 2 + xp.imag(diagonal) ** 2
        share = self.stride**-self.dimension
        return mean * share, squares * share

    def tap_norms(self) -> float:
        """``sum_p ||K_p||_F``."""
        centres = frobenius_norms(self.matrix[..., None], 2)
        return centres + frobenius_norms(self.stencils, 1)

    def scale_rows(self, scale: Array) -> Lean:
        """``diag(scale) K``."""
        check_scale(scale, self.channels_out)
        diagonal = scale[: self.stencils.shape[0]]
        return replace(
            self,
            matrix=self.matrix * column(scale, self.matrix),
            stencils=self.stencils * column(diagonal, self.stencils),
        )


def modulus_bounds(stencils: Array, points_per_degree: int = 16) -> Array:
    """Bounds of ``|sum_p k_c,p exp(i p.w)|`` over all frequencies, one a channel, shape ``(c,)``.

    ``max_grid / prod_a cos(pi r_a / N_a)`` on a uniform grid of ``N_a`` points an axis (theory §1),
    plus an allowance for rounding.

    Args:
        stencils: shape ``(c, *kernel_shape)``.
        points_per_degree: ``N_a / r_a``; 16 leaves the bounds 4 % high in two dimensions.
    """
    reach = [k // 2 for k in stencils.shape[1:]]
    counts = [points_per_degree * r if r else 1 for r in reach]
    axes = [2 * np.pi / n * np.arange(n) for n in counts]
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(reach))
    half = mesh[mesh[:, 0] <= np.pi]  # |k(-w)| = |k(w)|
    values = Depthwise(stencils).symbol_at(half).singular_values()
    share = math.cos(math.pi / points_per_degree) ** sum(r > 0 for r in reach)
    return namespace(values).max(values, axis=0) / share * (1 + 1e-12)
