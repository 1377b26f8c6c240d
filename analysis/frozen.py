"""Spectra of diffusion-reaction with coefficients frozen in space (theory §4.10c).

With slopes that are the same in every pixel the Jacobian of ``-D^T sigma(S D y) + R(y)`` on a
periodic grid is a convolution, and one small matrix a frequency holds its spectrum.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    return frequencies[_grows(eigenvalues, tolerance)]


def _grows(eigenvalues: np.ndarray, tolerance: float) -> np.ndarray:
    """Whether the spectral abscissa of every frequency is positive beyond the tolerance."""
    size = float(np.abs(eigenvalues).max(initial=0.0))
    return np.asarray(eigenvalues.real.max(axis=1, initial=-np.inf) > tolerance * size)


@dataclass(frozen=True, eq=False)
class TuringBand:
    """Frequencies at which frozen diffusion and reaction grow (theory §4.10c).

    Attributes:
        frequencies: those that grow, radians a pixel, shape ``(G, d)``, as they were given.
        growth_rates: their spectral abscissas, 1 / time, shape ``(G,)``.
        lowest: least ``|w|`` that grows, the Euclidean length after folding to ``[-pi, pi]``; nan
            where none does.
        highest: the largest one.
        fastest: the frequency of the largest rate, shape ``(d,)``; nan where none grows.
        excludes_zero: whether the constant mode was looked at and does not grow: the reaction alone
            decays, and what grows is Turing's instability.
        statement: what it says in words.
    """

    frequencies: np.ndarray
    growth_rates: np.ndarray
    lowest: float
    highest: float
    fastest: np.ndarray
    excludes_zero: bool
    statement: str


def turing_band(
    eigenvalues: np.ndarray, frequencies: np.ndarray, *, tolerance: float = 1e-12
) -> TuringBand:
    """The band of growing frequencies with its rates, from frozen eigenvalues (theory §4.10c).

    Args:
        eigenvalues: of ``frozen_symbol_eigenvalues``, shape ``(F, c)``.
        frequencies: shape ``(F, d)``, radians a pixel.
        tolerance: as in ``growing_frequencies``.

    Raises:
        InputError: where they are not as many as each other, or none.

    >>> values = np.array([[-1.0], [0.5], [-2.0]])
    >>> band = turing_band(values, np.array([[0.0], [1.5], [3.0]]))
    >>> band.lowest, band.growth_rates, band.excludes_zero
    (1.5, array([0.5]), True)
    """
    w = np.asarray(frequencies, dtype=float)
    if len(eigenvalues) != len(w) or not len(w):
        raise InputError(
            "eigenvalues of every frequency", f"{len(eigenvalues)} and {len(w)}", "pass both of one"
        )
    rates, grows = eigenvalues.real.max(axis=1), _grows(eigenvalues, tolerance)
    # Beyond pi a wave on the grid is the one of w - 2 pi.
    lengths = np.linalg.norm((w + np.pi) % (2 * np.pi) - np.pi, axis=1)
    # The folding rounds: a frequency of zero may come out as the last digit of pi.
    at_zero = lengths < 1e-12
    excludes_zero = bool(at_zero.any() and not grows[at_zero].any())
    if not grows.any():
        nothing = np.full(w.shape[1], np.nan)
        words = "no frequency grows with these coefficients frozen"
        return TuringBand(w[grows], rates[grows], np.nan, np.nan, nothing, excludes_zero, words)
    low, high = float(lengths[grows].min()), float(lengths[grows].max())
    top = int(np.argmax(rates))
    kind = (
        "the reaction alone decays: Turing's instability"
        if excludes_zero
        else (
            "the constant mode grows too"
            if at_zero.any()
            else "the constant mode was not looked at"
        )
    )
    words = (
        f"{int(grows.sum())} of {len(w)} frequencies grow, |w| from {low:.4g} to {high:.4g}, the "
        f"fastest at rate {rates[top]:.4g}; {kind} (frozen coefficients, theory §4.10c)"
    )
    return TuringBand(w[grows], rates[grows], low, high, w[top], excludes_zero, words)
