"""The contract every convolution operator keeps: against a matrix built another way."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from analysis.couplings import Full
from analysis.grid import Grid
from analysis.stencils import source_index
from pdenet.operators.base import StencilOperator

TOLERANCE = {torch.float32: 5e-6, torch.float64: 1e-12}


def relative_error(a: torch.Tensor, b: torch.Tensor) -> float:
    """``||a - b|| / ||b||``, both cast to float64."""
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).norm() / b.norm().clamp_min(1e-30))


def random_images(*shape: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    """Normal numbers that depend on the seed alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def dense_operator(operator: StencilOperator, size: tuple[int, int]) -> np.ndarray:
    """The matrix of ``linear`` from shifts: of padded images, of which the centres are kept."""
    coupling = operator.coupling()
    if operator.margin == (0, 0):
        return coupling.to_dense(Grid(size, boundary=operator.boundary))
    weight = coupling.dense_weight().detach().double().numpy()
    still = Full(weight, dilation=coupling.dilation)
    lines = [
        source_index(n, p, operator.boundary) if p >= 0 else np.arange(-p, n + p)
        for n, p in zip(size, operator.padding, strict=True)
    ]
    extension = np.kron(
        *((line[:, None] == np.arange(n)) for line, n in zip(lines, size, strict=True))
    )
    matrix = still.to_dense(Grid(tuple(map(len, lines)), boundary="zeros"))
    kept = [
        np.arange(r, len(line) - r, operator.stride[0])
        for r, line in zip(still.radius, lines, strict=True)
    ]
    pixels = (kept[0][:, None] * len(lines[1]) + kept[1]).ravel()
    blocks = matrix.reshape(weight.shape[0], len(lines[0]) * len(lines[1]), weight.shape[1], -1)
    kept_rows = blocks[:, pixels].reshape(weight.shape[0] * len(pixels), weight.shape[1], -1)
    return (kept_rows @ extension).reshape(len(kept_rows), -1)


def check_apply_equals_dense(operator: StencilOperator, size: tuple[int, int], dtype) -> None:
    """``linear`` and ``adjoint`` are the sparse matrix of shifts and its transpose."""
    matrix = dense_operator(operator, size)
    x = random_images(2, operator.in_channels, *size, dtype=dtype)
    y = random_images(2, operator.out_channels, *operator.output_size(*size), dtype=dtype, seed=1)
    expected = torch.from_numpy(x.reshape(2, -1).numpy() @ matrix.T).reshape(y.shape)
    assert relative_error(operator.linear(x), expected) < TOLERANCE[dtype]
    transposed = torch.from_numpy(y.reshape(2, -1).numpy() @ matrix).reshape(x.shape)
    assert relative_error(operator.adjoint(y, size), transposed) < TOLERANCE[dtype]


def adjoint_defect(operator: StencilOperator, size: tuple[int, int], dtype: torch.dtype) -> float:
    """``|<K u, v> - <u, K^T v>|`` relative to ``||K u|| ||v||``."""
    u = random_images(2, operator.in_channels, *size, dtype=dtype, seed=2)
    v = random_images(2, operator.out_channels, *operator.output_size(*size), dtype=dtype, seed=3)
    with torch.no_grad():
        applied, transposed = operator.linear(u), operator.adjoint(v, size)
    difference = (applied * v).sum() - (u * transposed).sum()
    return float(difference.abs() / (applied.norm() * v.norm()).clamp_min(1e-30))


def check_plane_wave(operator: StencilOperator, size: tuple[int, int], dtype) -> None:
    """A periodic operator maps ``exp(i w.x) v`` to ``exp(i w.x) K^(w) v`` (stride 1)."""
    grid = Grid(size)
    frequencies = grid.frequencies()
    index = grid.size // 3
    x = np.indices(size).reshape(2, -1)
    wave = np.exp(1j * frequencies[index] @ x).reshape(size)
    v = random_images(operator.in_channels, dtype=torch.float64, seed=4).numpy()
    images = torch.from_numpy(v[:, None, None] * wave)
    with torch.no_grad():
        real, imaginary = (operator.linear(part.to(dtype)) for part in (images.real, images.imag))
    dense = operator.coupling().dense_weight().detach().double().numpy()
    symbol = _symbol_by_sum(dense, frequencies[index])
    expected = torch.from_numpy((symbol @ v)[:, None, None] * wave)
    got = torch.complex(real.double(), imaginary.double())
    assert float((got - expected).abs().norm() / expected.abs().norm()) < TOLERANCE[dtype]


def _symbol_by_sum(weight: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """``sum_p k[o, i, p] exp(i p.w)``, term by term from its definition."""
    rows, columns = weight.shape[2] // 2, weight.shape[3] // 2
    terms = [
        weight[:, :, p + rows, q + columns] * np.exp(1j * (p * frequency[0] + q * frequency[1]))
        for p in range(-rows, rows + 1)
        for q in range(-columns, columns + 1)
    ]
    return np.sum(terms, axis=0)


def check_equals_conv2d(operator: StencilOperator, size, dtype, reference=None) -> None:
    """``forward`` is ``torch.nn.Conv2d`` with the dense weight, and so is its gradient.

    The reference is a convolution of the same arguments; a 1x1 weight becomes the centre of it.
    """
    dense = operator.coupling().dense_weight().detach()
    if reference is None:
        reference = nn.Conv2d(
            operator.in_channels,
            operator.out_channels,
            tuple(dense.shape[2:]),
            operator.stride,
            operator.padding,
            operator.dilation,
            bias=operator.bias is not None,
            padding_mode=operator.padding_mode,
        )
    reference = reference.to(dtype)
    around = [(k - own) // 2 for k, own in zip(reference.kernel_size, dense.shape[2:], strict=True)]
    with torch.no_grad():
        reference.weight.copy_(nn.functional.pad(dense, (around[1],) * 2 + (around[0],) * 2))
        if operator.bias is not None:
            reference.bias.copy_(operator.bias)
    x = random_images(2, operator.in_channels, *size, dtype=dtype, seed=5).requires_grad_()
    got, expected = operator(x), reference(x)
    assert got.shape == expected.shape
    assert relative_error(got, expected) < TOLERANCE[dtype]
    gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in (got, expected)]
    assert relative_error(*gradients) < TOLERANCE[dtype]


def check_operator(operator: StencilOperator, size, dtype: torch.dtype, reference=None) -> None:
    """The whole contract at one image size."""
    check_apply_equals_dense(operator, size, dtype)
    assert adjoint_defect(operator, size, dtype) < TOLERANCE[dtype]
    check_equals_conv2d(operator, size, dtype, reference)
    grid = (operator.padding_mode, operator.stride, operator.dilation, operator.margin)
    if grid == ("circular", (1, 1), (1, 1), (0, 0)):
        check_plane_wave(operator, size, dtype)


def observed_order(solve, exact, steps: int = 16) -> float:
    """Slope of the error of ``solve(steps)`` when the number of steps doubles."""
    coarse, fine = (float((solve(n) - exact).abs().max()) for n in (steps, 2 * steps))
    return float(np.log2(coarse / fine))
