"""Singular values and certified norms beside the common way: FFT of the weights, then an SVD.

`fft` transforms the dense weight onto the grid and takes the singular values of every frequency
(Sedghi, Gupta & Long 2019), in NumPy and double precision; `half`, the fairer peer, does so for the
half of the frequencies that real weights need, as we do. Ratios are to `half`, below one is faster.
The maximum is the norm at that grid and no bound for another; `certified_norm` bounds the norm for
every image size and boundary without extension.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _common import Rows, interleaved, main

from analysis import spectra
from analysis.certificates import certified_norm
from analysis.couplings import Circulant, Depthwise, Full, Grouped, Lean, Pointwise
from analysis.grid import Grid


def rows(*, quick: bool = False, progress: Callable[[str], Any] = lambda text: None) -> Rows:
    """One row a coupling: milliseconds, and ratios to the half transform with SVD.

    `bound` is `certified_norm`; `error` the largest difference of a singular value from the peer's,
    relative to the norm.
    """
    channels, side, repeats = (8, 8, 2) if quick else (64, 32, 7)
    grid, found = Grid((side, side)), []
    for name, coupling in _couplings(channels).items():
        progress(f"{name}, {channels} channels, {side}x{side}")
        dense = np.asarray(coupling.dense_weight())
        seconds = interleaved(
            {
                "fft": partial(_fft_svd, dense, side),
                "half": partial(_half_svd, dense, side),
                "ours": partial(spectra.singular_values, coupling, grid),
                "certified": partial(certified_norm, coupling),
            },
            repeats,
        )
        ours = np.sort(np.asarray(spectra.singular_values(coupling, grid)).ravel())
        peer = np.sort(_fft_svd(dense, side).ravel())
        found.append(
            {
                "coupling": name,
                "size": f"{channels}x{side}x{side}",
                "fft_ms": 1e3 * seconds["fft"],
                "half_ms": 1e3 * seconds["half"],
                "ours_ms": 1e3 * seconds["ours"],
                "ratio": seconds["ours"] / seconds["half"],
                "bound_ms": 1e3 * seconds["certified"],
                "bound_ratio": seconds["certified"] / seconds["half"],
                "error": float(np.abs(ours - peer).max() / peer[-1]),
            }
        )
    return found


def _fft_svd(weight: np.ndarray, side: int) -> np.ndarray:
    """All singular values of the periodic operator from the transformed dense weight."""
    symbol = np.fft.fft2(weight, s=(side, side), axes=(2, 3)).transpose(2, 3, 0, 1)
    return np.linalg.svd(symbol, compute_uv=False)


def _half_svd(weight: np.ndarray, side: int) -> np.ndarray:
    """The same for the frequencies of a real transform, about half of them."""
    symbol = np.fft.rfft2(weight, s=(side, side), axes=(2, 3)).transpose(2, 3, 0, 1)
    return np.linalg.svd(symbol, compute_uv=False)


def _couplings(channels: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    c = channels
    centreless = rng.standard_normal((c, 3, 3))
    centreless[:, 1, 1] = 0
    return {
        "full": Full(rng.standard_normal((c, c, 3, 3)) / c),
        "depthwise": Depthwise(rng.standard_normal((c, 3, 3))),
        "pointwise": Pointwise(rng.standard_normal((c, c)) / c),
        "lean": Lean(rng.standard_normal((c, c)) / c, centreless),
        "circulant": Circulant(rng.standard_normal((c, 3, 3)) / c),
        "grouped": Grouped(rng.standard_normal((c, c // 4, 3, 3)) / c, 4),
    }


if __name__ == "__main__":
    main("spectra", rows)
