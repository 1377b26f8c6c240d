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

from analysis.backend import Array, like, to_double, to_numpy
from analysis.certificates import certified_norm
from analysis.coupling import Coupling
from analysis.couplings import Depthwise
from analysis.diagonal_couplings import modulus_bounds
from analysis.stencils import extension_norm

TIGHT, QUICK = 0.01, 0.05
"""Relative widths of the certificates."""

_POINTS_PER_DEGREE = 64

ROUNDING = 1e-12
"""Relative allowance for the rounding of float64 sums, far above what they lose."""


class NormBound:
    """A bound of ``||diag(s)^{1/2} K||`` that is never below the norm and rarely searches.

    ``bound`` answers from the last certificate plus the drift since then; ``renew`` replaces it by
    a quick one and ``certify`` by a tight one (``analysis.certificates.certified_norm``).

    Args:
        boundary: boundary condition of the operator (a name of ``analysis.grid.BOUNDARIES``).

    Attributes:
        certified: the last certificate; infinite before the first.
    """

    def __init__(self, boundary: str = "periodic") -> None:
        self.boundary = boundary
        self.certified = math.inf
        self._taps = np.zeros((0, 0, 0))
        self._root = np.zeros(0)

    def certify(self, coupling: Coupling, scaling: np.ndarray) -> float:
        """A tight certificate (1 %) of these weights; infinite if they are not finite.

        Args:
            coupling: the operator ``K``, of stride 1.
            scaling: ``s >= 0``, shape ``(c_out,)``.
        """
        return self._certify(coupling, scaling, TIGHT)

    def renew(self, coupling: Coupling, scaling: np.ndarray) -> float:
        """A quick certificate (5 %) of these weights; arguments and result as ``certify``."""
        return self._certify(coupling, scaling, QUICK)

    def _certify(self, coupling: Coupling, scaling: np.ndarray, width: float) -> float:
        if not self._remember(coupling, scaling):
            return math.inf
        operator, rows = _double(coupling, scaling)
        result = certified_norm(
            operator, row_scaling=rows, boundary=self.boundary, relative_width=width
        )
        self.certified = float(result.upper)
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


def _double(coupling: Coupling, rows: np.ndarray) -> tuple[Coupling, Array]:
    """The coupling in float64 and numbers of its rows as an array beside its weights."""
    operator = coupling.double()
    return operator, like(rows, operator.dense_weight())


def _extension(coupling: Coupling, boundary: str) -> float:
    """``||P||`` of the padding, the factor between the supremum of the symbol and a bound."""
    return extension_norm(coupling.radius, boundary)


def depthwise_norms(coupling: Depthwise, scaling: np.ndarray) -> np.ndarray:
    """Upper bounds of ``s_c^{1/2} sup_w |k_c(w)|`` of every channel, shape ``(c,)``.

    The symbol is scalar: its maximum over 64 frequencies an axis for 3x3 stencils is at most
    0.25 % below the supremum (``analysis.diagonal_couplings.modulus_bounds``).
    """
    supremum = to_numpy(modulus_bounds(coupling.double().stencils, _POINTS_PER_DEGREE))
    return np.asarray(np.sqrt(scaling) * supremum)


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
