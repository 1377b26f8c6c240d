"""Other ways to singular values and norms of convolutions, each written from its paper.

`weight` is dense, ``(c_out, c_in, k, k)``, a NumPy array or a tensor, whose library, precision and
device do the work. Frequencies are those of an image of ``side`` by ``side`` pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import svds
from torch import Tensor, nn
from torch.nn import functional

from analysis.couplings import Full
from analysis.grid import Grid
from analysis.spectra import as_linear_operator

Array = Any
GRAM_ITERATIONS = 6
POWER_TOLERANCE = 1e-4
"""Relative growth in one step below which a power iteration ends."""
LANCZOS_TOLERANCE = 1e-3
"""Of ARPACK, for the square of the norm."""


def symbol(weight: Array, side: int, *, half: bool = False) -> Array:
    """Matrices of all frequencies, or the half a real transform gives, ``(n, n, c_out, c_in)``.

    Sedghi, Gupta & Long 2019 (arXiv 1805.10408): the transform of the weight filled with zeros.
    """
    fft, size = torch.fft if isinstance(weight, Tensor) else np.fft, (side, side)
    turned = weight.permute(2, 3, 0, 1) if isinstance(weight, Tensor) else _spatial_first(weight)
    return fft.rfft2(turned, size, (0, 1)) if half else fft.fft2(turned, size, (0, 1))


def _spatial_first(weight: np.ndarray) -> np.ndarray:
    return weight.transpose(2, 3, 0, 1)


def decomposed(matrices: Array) -> Array:
    """Singular values of every matrix, descending."""
    if isinstance(matrices, Tensor):
        return torch.linalg.svdvals(matrices)
    return np.linalg.svd(matrices, compute_uv=False)


def fft_svd(weight: Array, side: int, *, half: bool = False) -> Array:
    """All singular values of the periodic operator (Sedghi, Gupta & Long 2019)."""
    return decomposed(symbol(weight, side, half=half))


def sample(side: int, count: int) -> np.ndarray:
    """Numbers of so many of the ``side^2`` frequencies, evenly spread; all where there are fewer.

    What is timed on a sample is scaled to all: LAPACK takes them one by one.
    """
    return np.unique(np.linspace(0, side**2 - 1, min(count, side**2)).round().astype(int))


def gram_iteration(weight: Array, side: int, iterations: int = GRAM_ITERATIONS) -> float:
    """Upper bound of the norm on this grid, ``max_w ||G_k(w)||_F^(1/2^k)``, ``G <- G^* G``.

    Delattre, Barthelemy, Araujo & Allauzen 2023 (arXiv 2305.16173): every Gram matrix is divided
    by its Frobenius norm, whose logarithm is carried along. At most ``c^(1/2^(k+1))`` above. On the
    CPU one row of frequencies at a time, which stays in the caches.
    """
    transformed = symbol(weight, side, half=True)
    whole = isinstance(transformed, Tensor) and transformed.device.type != "cpu"
    parts: Iterable[Array] = [transformed.flatten(0, 1)] if whole else transformed
    return math.exp(max(_log_gram_bound(part, iterations) for part in parts))


def _log_gram_bound(matrices: Array, iterations: int) -> float:
    xp: Any = torch if isinstance(matrices, Tensor) else np
    if matrices.shape[-2] < matrices.shape[-1]:  # the Gram matrix of the smaller side
        matrices = xp.swapaxes(matrices, -1, -2)
    logarithm = xp.zeros_like(matrices[:, 0, 0].real)
    for _ in range(iterations):
        size = _frobenius(matrices)
        matrices = matrices / size[:, None, None]
        matrices = xp.conj(xp.swapaxes(matrices, -1, -2)) @ matrices
        logarithm = 2 * (logarithm + xp.log(size))
    bounds = (logarithm + xp.log(_frobenius(matrices))) / 2**iterations
    return float(bounds.max())


def _frobenius(matrices: Array) -> Array:
    if isinstance(matrices, Tensor):
        return torch.linalg.vector_norm(matrices, dim=(-2, -1))
    return np.linalg.norm(matrices, axis=(-2, -1))


def power_iteration(
    weight: Tensor, side: int, *, tolerance: float = POWER_TOLERANCE, most: int = 3000
) -> tuple[float, int]:
    """Norm from below and the steps it took, from a random image, by ``K`` and ``K^T`` in turn.

    Yoshida & Miyato 2017 (arXiv 1705.10941), as Farnia, Zhang & Tse 2019 and Gouk et al. 2021 apply
    it to convolutions with zero padding.
    """
    image = torch.randn(1, weight.shape[1], side, side, generator=torch.Generator().manual_seed(0))
    image, before, steps = image.to(weight), 0.0, 0
    padding = weight.shape[-1] // 2
    image /= image.norm()
    while steps < most:
        output = functional.conv2d(image, weight, padding=padding)
        norm = float(output.norm())
        image = functional.conv_transpose2d(output, weight, padding=padding)
        image /= image.norm()
        steps += 1
        if norm <= before * (1 + tolerance):
            break
        before = norm
    return norm, steps


class WarmPower:
    """One power iteration a call from the image of the last one; differentiable by the weight."""

    def __init__(self, weight: Tensor, side: int) -> None:
        self.image = torch.randn(1, weight.shape[1], side, side).to(weight)

    def __call__(self, weight: Tensor) -> Tensor:
        """``<u, K v>`` with ``u`` and ``v`` held fixed, as ``spectral_norm`` does for matrices."""
        padding = weight.shape[-1] // 2
        with torch.no_grad():
            output = functional.conv2d(self.image, weight, padding=padding)
            output /= output.norm()
            image = functional.conv_transpose2d(output, weight, padding=padding)
            self.image = image / image.norm()
        return (output * functional.conv2d(self.image, weight, padding=padding)).sum()


def svd_norm(weight: Tensor, side: int) -> Tensor:
    """The norm on this grid, differentiable, through all singular values."""
    return torch.linalg.svdvals(symbol(weight, side)).amax()


def reshaped_norm(weight: Tensor) -> float:
    """What PyTorch's ``spectral_norm`` divides by: of the matrix ``(c_out, c_in k k)``.

    A new parametrisation makes fifteen iterations, its first use one more.
    """
    rows, columns, size, _ = weight.shape
    layer = nn.Conv2d(columns, rows, size, bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer = nn.utils.parametrizations.spectral_norm(layer)
        return float(weight.norm() / layer.weight.norm())


def lanczos(weight: np.ndarray, side: int) -> float:
    """The norm of the periodic operator by SciPy's ``svds`` (ARPACK) of the matrix-free product."""
    operator = as_linear_operator(Full(weight), Grid((side, side)))
    start = np.random.default_rng(0).standard_normal(min(operator.shape))
    values = svds(operator, 1, tol=LANCZOS_TOLERANCE, v0=start, return_singular_vectors=False)
    return float(values[0])
