"""Spectra of diffusion-reaction with coefficients frozen in space (theory §4.10c).

With slopes that are the same in every pixel the Jacobian of ``-D^T sigma(S D y) + R(y)`` on a
periodic grid is a convolution, and one small matrix a frequency holds its spectrum.
"""

from __future__ import annotations

import numpy as np

from analysis.backend import Array, to_numpy
from analysis.coupling import Coupling
from analysis.couplings import Full
from analysis.errors import InputError


def frozen_symbol_eigenvalues(
    diffusion: Coupling, scaling: Array, reaction: Array, frequencies: np.ndarray
) -> np.ndarray:
    """Eigenvalues of the frozen Jacobian ``J^(w) = -D^(w)^* S D^(w) + J_R`` at every frequency.

    Necessary for stability with these coefficients and no more: products of Jacobians that change
    from pixel to pixel or from step to step can grow where every frozen one decays (theory §4.7).

    Args:
        diffusion: ``D``, of stride 1.
        scaling: ``S = diag(s)``, the slopes of the activation times the gains of the normalisation,
            of any sign, shape ``(c_out,)``, in 1 / time where ``D`` has no unit.
        reaction: ``J_R``, Jacobian of the reaction within a pixel, shape ``(c, c)``, 1 / time.
        frequencies: radians a pixel, shape ``(F, d)``; those of a periodic ``Grid`` give the exact
            spectrum at that image size.

    Returns:
        Complex float64 array ``(F, c)``.

    Raises:
        InputError: for shapes that do not match, a stride and values that are not finite.

    >>> from analysis.couplings import Depthwise
    >>> from analysis.grid import Grid
    >>> difference = Depthwise(np.array([[0.0, -1.0, 1.0]]))
    >>> growth = np.array([[0.5]])
    >>> values = frozen_symbol_eigenvalues(difference, [1.0], growth, Grid((4,)).frequencies())
    >>> (values.real.round(12) + 0.0).ravel()
    array([ 0.5, -1.5, -3.5, -1.5])
    """
    s, J = (np.asarray(to_numpy(a), dtype=float) for a in (scaling, reaction))
    c_out, c = diffusion.channels_out, diffusion.channels_in
    if diffusion.stride != 1:
        raise InputError("a diffusion operator of stride 1", diffusion.stride, "drop the stride")
    if s.shape != (c_out,) or J.shape != (c, c):
        raise InputError(
            f"a scaling of shape ({c_out},) and a reaction of shape ({c}, {c})",
            f"{s.shape} and {J.shape}",
            "pass one slope a row of D and the Jacobian of all channels",
        )
    # The structured symbol of a circulant lives in a basis of its own: reactions need channels.
    weight = np.asarray(to_numpy(diffusion.dense_weight()), dtype=float)
    if not all(np.isfinite(a).all() for a in (s, J, weight)):
        raise InputError("finite weights", "nan or inf", "use a checkpoint before the divergence")
    D = Full(weight).symbol_at(frequencies).blocks()[:, 0]
    adjoint = np.conj(np.swapaxes(D, -1, -2))
    return np.asarray(np.linalg.eigvals(J - (adjoint * s) @ D))


def growing_frequencies(
    eigenvalues: np.ndarray, frequencies: np.ndarray, *, tolerance: float = 1e-12
) -> np.ndarray:
    """Frequencies whose frozen modes grow: the Turing band where it leaves out zero (§4.10c).

    Args:
        eigenvalues: of ``frozen_symbol_eigenvalues``, shape ``(F, c)``.
        frequencies: shape ``(F, d)``.
        tolerance: real parts up to ``tolerance`` times the largest modulus count as zero.

    Returns:
        Rows of ``frequencies`` with a positive spectral abscissa.

    >>> growing_frequencies(np.array([[-1.0], [0.5]]), np.array([[0.0], [1.5]]))
    array([[1.5]])
    """
    size = float(np.abs(eigenvalues).max(initial=0.0))
    return frequencies[eigenvalues.real.max(axis=1, initial=-np.inf) > tolerance * size]
