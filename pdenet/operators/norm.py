"""Upper bounds of operator norms that follow weights in motion (theory §1, 'In training').

A certificate costs a search over frequencies. Between two of them the weights move little, and

    ||A|| <= r (B + sum_p ||(S_0^{1/2} (K - K_0))_p||),    r = max_i (s_i / s_0i)^{1/2}
    ||A|| <= B + sum_p ||(S^{1/2} K - S_0^{1/2} K_0)_p||,  A = S^{1/2} K,  S = diag(s)

hold for every grid, with ``B`` the certificate of the weights ``K_0`` and the scaling ``s_0``: the
first is sharp for a change of the scaling alone, the second serves a scaling that was zero.
Everything here runs in float64 on detached copies.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from analysis.backend import Array, like, to_double, to_numpy
from analysis.certificates import certified_norm
from analysis.coupling import Coupling
from analysis.couplings import Depthwise
from analysis.stencils import extension_norm

LADDER = 1.02
"""Ratio of successive thresholds in the search for the largest norm on a grid."""

FEW = 6
"""Number of matrices whose decomposition costs no more than another factorisation of them."""

SINGLE_ROUNDOFF = 2.0**-24

ROUNDING = 1e-12
"""Relative allowance for the rounding of float64 sums, far above what they lose."""


class NormBound:
    """A bound of ``||diag(s)^{1/2} K||`` that is never below the norm and rarely searches.

    ``bound`` answers from the last certificate plus the drift since then; ``renew`` replaces it by
    a quick one (``grid_bound``), ``certify`` by a tight one (``certified_norm``).

    Args:
        boundary: boundary condition of the operator (a name of ``analysis.grid.BOUNDARIES``).

    Attributes:
        certified: the last certificate; infinite before the first.
    """

    def __init__(self, boundary: str = "periodic") -> None:
        self.boundary = boundary
        self.certified = math.inf
        self._places: torch.Tensor | None = None
        self._taps = np.zeros((0, 0, 0))
        self._root = np.zeros(0)

    def certify(self, coupling: Coupling, scaling: np.ndarray) -> float:
        """A tight certificate (1 %) of these weights; infinite if they are not finite.

        Args:
            coupling: the operator ``K``, of stride 1.
            scaling: ``s >= 0``, shape ``(c_out,)``.
        """
        if not self._remember(coupling, scaling):
            return math.inf
        operator, rows = _double(coupling, scaling)
        result = certified_norm(operator, row_scaling=rows, boundary=self.boundary)
        self.certified = float(result.upper)
        self._places = None
        return self.certified

    def renew(self, coupling: Coupling, scaling: np.ndarray) -> float:
        """A quick certificate (5 %) of these weights; arguments and result as ``certify``."""
        if not self._remember(coupling, scaling):
            return math.inf
        supremum, self._places = grid_bound(coupling, scaling, self._places)
        self.certified = supremum * _extension(coupling, self.boundary)
        return self.certified

    def _remember(self, coupling: Coupling, scaling: np.ndarray) -> bool:
        """Keep the weights that a certificate is about; whether they are finite."""
        self._taps, self._root = _taps(coupling), np.sqrt(scaling)
        self.certified = math.inf
        return bool(np.isfinite(self._taps).all() and np.isfinite(self._root).all())

    def bound(self, coupling: Coupling, scaling: np.ndarray) -> float:
        """Upper bound at these weights by the last certificate; infinite before the first."""
        if math.isinf(self.certified):
            return math.inf
        taps, root = _taps(coupling), np.sqrt(scaling)
        factor = _extension(coupling, self.boundary)
        growing = root > 0
        if np.any(self._root[growing] == 0):
            moved = _drift(root[:, None] * taps - self._root[:, None] * self._taps)
            return (self.certified + factor * moved) * (1 + ROUNDING)
        ratio = float(np.max(root[growing] / self._root[growing], initial=0.0))
        moved = _drift(self._root[:, None] * (taps - self._taps))
        return ratio * (self.certified + factor * moved) * (1 + ROUNDING)

    def rescaled(self, factor: float) -> None:
        """Take note that the weights were multiplied by a factor: the certificate follows."""
        self._taps = factor * self._taps
        self.certified *= factor


def grid_bound(
    coupling: Coupling,
    scaling: np.ndarray,
    places: torch.Tensor | None = None,
    points: int = 16,
) -> tuple[float, torch.Tensor]:
    """Upper bound of ``sup_w ||diag(s)^{1/2} K^(w)||`` from a uniform grid of frequencies.

    ``max_grid / prod_a cos(pi r_a / N)`` (theory §1), 4 % above the maximum for 3x3 and N = 16.
    Frequencies where a Cholesky factorisation in single precision proves the norm below that at
    the given places need no singular values; its rounding is added to the result.

    Args:
        coupling: the operator ``K``, of stride 1.
        scaling: ``s >= 0``, shape ``(c_out,)``.
        places: what an earlier call returned for similar weights; None decomposes everything.
        points: ``N``, frequencies an axis, even.

    Returns:
        The bound, and the places on the grid where the norm is largest.
    """
    operator, root = _double(coupling, np.sqrt(scaling))
    scaled = operator.scale_rows(root)
    axis = 2 * np.pi / points * np.arange(points)
    # Real weights: ||K^(-w)|| = ||K^(w)||, half of the first axis suffices.
    mesh = np.meshgrid(axis[: points // 2 + 1], axis, indexing="ij")
    blocks = scaled.symbol_at(np.stack(mesh, axis=-1).reshape(-1, 2)).blocks().flatten(0, 1)
    maximum, places = _largest_norm(blocks, places)
    return maximum / math.prod(math.cos(math.pi * r / points) for r in coupling.radius), places


def _largest_norm(
    matrices: torch.Tensor, places: torch.Tensor | None
) -> tuple[float, torch.Tensor]:
    """Upper bound of the largest 2-norm of complex matrices ``(n, o, i)``, and where it is large.

    A threshold rises by ``LADDER`` from the norm at the places while a factorisation in single
    precision fails; the last few matrices that stand out are decomposed instead.
    """
    everywhere = torch.arange(len(matrices), device=matrices.device)
    places = everywhere if places is None else places
    norms = torch.linalg.svdvals(matrices[places])[:, 0]
    largest = float(norms.max())
    if largest == 0 or not math.isfinite(largest) or len(places) == len(matrices):
        return largest * (1 + SINGLE_ROUNDOFF), everywhere[norms.topk(min(FEW, len(norms))).indices]
    # Divided by the scale, so that nothing overflows in single precision.
    single = (matrices / largest).to(torch.complex64)
    gram = single.mH @ single
    diagonal = torch.diagonal(gram, dim1=-2, dim2=-1)
    trace = float(diagonal.real.sum(-1).max())
    if not trace < 16 * gram.shape[-1]:  # elsewhere the norm is much larger: the places are stale
        return _largest_norm(matrices, None)
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    threshold, kept = LADDER**0.5, everywhere
    while len(kept) == len(matrices) or len(kept) > FEW:
        failed = torch.linalg.cholesky_ex(threshold**2 * identity - gram[kept]).info > 0
        kept = kept[failed]
        threshold *= LADDER if len(kept) > FEW else 1
    if len(kept):
        threshold = max(threshold, float(torch.linalg.svdvals(matrices[kept]).max()) / largest)
        places = kept
    # Rounding of the Gram matrix and of the factorisation, a few (c + 2) u trace (Rump 2006).
    rounding = 8 * (gram.shape[-1] + 2) * SINGLE_ROUNDOFF * trace
    return largest * math.sqrt(threshold**2 + rounding), places


def _double(coupling: Coupling, rows: np.ndarray) -> tuple[Coupling, Array]:
    """The coupling in float64 and numbers of its rows as an array beside its weights."""
    operator = coupling.double()
    return operator, like(rows, operator.dense_weight())


def _extension(coupling: Coupling, boundary: str) -> float:
    """``||P||`` of the padding, the factor between the supremum of the symbol and a bound."""
    return extension_norm(coupling.radius, boundary)


def depthwise_norms(coupling: Depthwise, scaling: np.ndarray, points: int = 64) -> np.ndarray:
    """Upper bounds of ``s_c^{1/2} sup_w |k_c(w)|`` of every channel, shape ``(c,)``.

    The symbol is scalar: its maximum over ``points`` frequencies an axis, over the cosine of
    theory §1 ('Certified norm'), is at most 0.25 % above the supremum for 3x3 stencils.
    """
    stencils = to_numpy(to_double(coupling.stencils))
    degree = max(stencils.shape[1:]) // 2
    # Real stencils: |k(-w)| = |k(w)|, so the half grid of the real transform is the whole grid.
    symbol = np.fft.rfft2(stencils, s=(points, points), axes=(1, 2))
    supremum = np.abs(symbol).max(axis=(1, 2)) / math.cos(math.pi * degree / points) ** 2
    return np.asarray(np.sqrt(scaling) * supremum * (1 + ROUNDING))


def matrix_norm_bound(matrices: np.ndarray) -> np.ndarray:
    """Upper bounds of the 2-norms of batched matrices ``(..., o, i)``, by products alone.

    The least of the Frobenius norm, ``(||X||_1 ||X||_inf)^{1/2}`` (exact for the diagonal taps of
    lean and depthwise operators) and the Schatten 8-norm ``||(X^T X)^2||_F^{1/4}``.
    """
    modulus = np.abs(matrices)
    rows, columns = modulus.sum(-1).max(-1), modulus.sum(-2).max(-1)
    gram = np.swapaxes(matrices, -1, -2) @ matrices
    frobenius = np.sqrt(np.trace(gram, axis1=-2, axis2=-1))
    schatten = np.sqrt(np.sqrt(np.linalg.norm(gram @ gram, axis=(-2, -1))))
    return np.minimum(np.minimum(frobenius, np.sqrt(rows * columns)), schatten)


def _taps(coupling: Coupling) -> np.ndarray:
    """Matrices of the taps, one ``c_out x c_in`` matrix an offset, shape ``(taps, o, i)``."""
    weight = to_numpy(to_double(coupling.dense_weight()))
    return np.moveaxis(weight.reshape(*weight.shape[:2], -1), -1, 0)


def _drift(change: np.ndarray) -> float:
    """``sum_p ||dA_p||_2``, an upper bound of the norm of a change of weights on every grid."""
    return float(np.sum(matrix_norm_bound(change)))
