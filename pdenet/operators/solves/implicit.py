"""Implicit linear diffusion ``(I + h D^T D)^{-1}`` and its exact flow (theory §3, §4.5).

Three ways, by the structure of the operator. Circular padding: a division a Fourier mode for
depthwise and circulant, a Hermitian solve of the channels a mode else; pointwise: one solve of the
channels. Replicated edges with stencils even in each axis: the same in cosine modes. Everything
else: conjugate gradients, preconditioned by the solve for circular padding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from analysis.errors import InputError
from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import CirculantConv2d, LeanConv2d
from pdenet.operators.solves.arguments import check_arguments, in_working_precision
from pdenet.operators.solves.implicit_point import attach_gradient, solve_without_gradient
from pdenet.operators.solves.implicit_solvers import has_cosine_modes
from pdenet.operators.solves.matrix_products import (
    apply_embedded,
    embedded,
    exponential_by_products,
    inverse_by_products,
)
from pdenet.operators.solves.mode_solves import (
    circular_modes,
    cosine_modes,
    from_circular_modes,
    from_cosine_modes,
    hermitian_exponential,
    shifted_factor,
)
from pdenet.operators.solves.normal_symbols import (
    cosine_gram_matrices,
    gram_matrices,
    gram_parts,
    is_constant,
    is_diagonal,
    squared_cosine_symbol,
    squared_symbol,
    squared_symbol_of_all_modes,
    weights_of,
)
from pdenet.operators.solves.rebuilding import description_of, rebuild
from pdenet.operators.solves.transforms import (
    DENSE_PIXELS,
    cosine_basis,
    filter_circular,
    filter_dense,
    hartley_basis,
)

NOMINAL_ITERATIONS = 20
"""Iterations of conjugate gradients that ``solve_multiply_adds`` counts."""


def solve_implicit_diffusion(operator: StencilOperator, y: Tensor, step_size: float) -> Tensor:
    """Solve ``(I + h D^T D) x = y``, one step of implicit Euler for ``y' = -D^T D y``.

    Differentiable once in ``y`` and in the weights, forward and reverse, by the implicit function
    theorem: a second solve with the same matrix, no stored iterations. Gradients by the weights
    must not be differentiated again: second derivatives mixed in the weights and ``y`` are not
    exact. Lower precisions are solved in float32, also under autocast.

    Args:
        operator: ``D`` with stride 1, as many output as input channels and padding that keeps the
            size; any coupling and padding mode. Its bias takes no part.
        y: images ``(B, C, H, W)``.
        step_size: ``h >= 0``, units of time.

    Returns:
        Images ``(B, C, H, W)`` in the precision of ``y``; ``||x|| <= ||y||`` for every ``h``.

    Raises:
        InputError: for an operator that changes the size, a negative step or other images.

    >>> from pdenet.operators.conv import PointwiseConv2d
    >>> D = PointwiseConv2d(1, 1)
    >>> _ = torch.nn.init.constant_(D.weight, 2.0)
    >>> solve_implicit_diffusion(D, torch.ones(1, 1, 1, 2), 0.25).flatten().tolist()
    [0.5, 0.5]
    """
    _check(operator, y, step_size, "step size")
    if _is_empty(y):
        return _unchanged(operator, y)
    return in_working_precision(y, lambda working: _solution(operator, working, step_size))


def _solution(operator: StencilOperator, y: Tensor, step_size: float) -> Tensor:
    if _needs_products(operator):
        return _by_products(operator, y, step_size, exponential=False)
    if is_constant(operator) or (is_diagonal(operator) and _circular(operator)):
        return _filtered(operator, y, step_size, exponential=False)
    return _solved(operator, y, step_size)


def diffusion_flow(operator: StencilOperator, y: Tensor, time: float) -> Tensor:
    """``exp(-t D^T D) y``, the exact flow of ``y' = -D^T D y``.

    Differentiable in ``y`` and the weights, forward and reverse; precision as
    ``solve_implicit_diffusion``. With ``replicate`` the flow is defined only for stencils even in
    each axis, so its gradient by them is the even part alone.

    Args:
        operator: one for which ``flow_exists``.
        y: images ``(B, C, H, W)``.
        time: ``t >= 0``.

    Returns:
        Images ``(B, C, H, W)`` in the precision of ``y``; ``||x|| <= ||y||`` for every ``t``.

    Raises:
        InputError: for an operator without modes, a negative time or other images.

    >>> from pdenet.operators.conv import PointwiseConv2d
    >>> D = PointwiseConv2d(1, 1)
    >>> _ = torch.nn.init.constant_(D.weight, 2.0)
    >>> x = diffusion_flow(D, torch.ones(1, 1, 1, 1, dtype=torch.float64), math.log(2) / 4)
    >>> round(x.item(), 12)
    0.5
    """
    _check(operator, y, time, "time")
    # Under a compiler the values of stencils cannot be looked at: it was done before.
    if not torch.compiler.is_compiling() and not flow_exists(operator):
        raise InputError(
            "circular padding, or 'replicate' with 3x3 stencils even in each axis, for the exact "
            "flow of diffusion",
            f"padding_mode={operator.padding_mode!r}",
            "choose circular padding or an implicit step",
        )
    if _is_empty(y):
        return _unchanged(operator, y)
    return in_working_precision(y, lambda working: _flowed(operator, working, time))


def _flowed(operator: StencilOperator, y: Tensor, time: float) -> Tensor:
    if _needs_products(operator):
        return _by_products(operator, y, time, exponential=True)
    if is_constant(operator) or is_diagonal(operator):
        return _filtered(operator, y, time, exponential=True)
    if _circular(operator):
        gram = gram_matrices(operator, _size(y), y)
        flowed = hermitian_exponential(gram, time) @ circular_modes(y, operator.groups)
        return from_circular_modes(flowed, y.shape)
    gram = cosine_gram_matrices(operator, _size(y), y)
    flowed = hermitian_exponential(gram, time) @ cosine_modes(y, operator.groups)
    return from_cosine_modes(flowed, y.shape)


def check_solvable(operator: StencilOperator) -> None:
    """Raise InputError unless ``I + h D^T D`` is a square matrix: ``D`` keeps size and channels."""
    if operator.stride != (1, 1) or operator.in_channels != operator.out_channels:
        raise InputError(
            "stride 1 and as many output as input channels for implicit diffusion",
            f"stride {operator.stride[0]}, {operator.in_channels} -> {operator.out_channels}",
            "use a square operator",
        )
    if operator.output_size(64, 64) != (64, 64):
        raise InputError(
            "padding that keeps the size of images for implicit diffusion",
            f"padding {operator.padding}",
            "pass padding='same'",
        )


def is_iterative(operator: StencilOperator) -> bool:
    """Whether the solve may iterate at run time, which formats without loops cannot hold.

    True for neighbours across an edge that is not periodic. Stencils even in each axis with
    replicated edges count as iterative: their values are looked at when the solve runs.
    """
    return not (_circular(operator) or is_constant(operator))


def flow_exists(operator: StencilOperator) -> bool:
    """Whether ``diffusion_flow`` exists: circular padding, no neighbours, or cosine modes."""
    return _circular(operator) or is_constant(operator) or has_cosine_modes(operator)


def solve_multiply_adds(operator: StencilOperator, height: int, width: int) -> int:
    """Multiply-adds of ``solve_implicit_diffusion`` for one image, nominal.

    ``5 N log2 N`` operations for a complex transform of ``N`` points, half for real data, twice for
    the way back, two operations a multiply-add: ``2.5 N log2 N`` in all. Then one division a point
    for depthwise and circulant; else, on half of the modes with four multiply-adds for a complex
    one, two triangular solves and a factorisation that all images of a batch share. Pointwise:
    factorisation, inverse and product. Iterative: ``NOMINAL_ITERATIONS`` times ``D``, ``D^T`` and a
    solve with circular padding whose factorisation is counted once.
    """
    return _setup(operator, height, width) + _application(operator, height, width)


def flow_multiply_adds(operator: StencilOperator, height: int, width: int) -> int:
    """Multiply-adds of ``diffusion_flow`` for one image, nominal.

    As ``solve_multiply_adds`` with ``9 c^3`` for the eigenvalues and eigenvectors of a matrix of
    ``c`` channels, and ``c^3`` for the exponential, in the place of its factorisation.
    """
    channels, pixels = operator.in_channels, height * width
    if is_constant(operator):
        return 10 * channels**3 + channels**2 * pixels
    if is_diagonal(operator):
        return _direct_application(operator, height, width)
    size = channels // operator.groups
    eigen = 20 * pixels * operator.groups * size**3
    return eigen + _direct_application(operator, height, width)


def _setup(operator: StencilOperator, height: int, width: int) -> int:
    """What a batch of images shares."""
    if is_diagonal(operator):
        return 0
    size, groups = operator.in_channels // operator.groups, operator.groups
    if is_constant(operator):
        return 2 * size**3  # W^T W, its factor, and the inverse from it
    taps = math.prod(operator.kernel_size)
    products = 1 if isinstance(operator, LeanConv2d) else taps**2
    # size^3 / 6 for the factor, half of the modes, four for complex numbers.
    return groups * (products * size**3 + math.ceil(height * width * size**3 / 3))


def _direct_application(operator: StencilOperator, height: int, width: int) -> int:
    pixels, channels = height * width, operator.in_channels
    points = pixels * channels if isinstance(operator, CirculantConv2d) else pixels
    transforms = math.ceil(2.5 * pixels * channels * math.log2(points))
    if is_diagonal(operator):
        return transforms + pixels * channels
    return transforms + 2 * pixels * channels * channels // operator.groups


def _application(operator: StencilOperator, height: int, width: int) -> int:
    """What every image costs."""
    if is_constant(operator):
        return operator.in_channels**2 * height * width
    direct = _direct_application(operator, height, width)
    if not is_iterative(operator):
        return direct
    return NOMINAL_ITERATIONS * (2 * operator.multiply_adds(height, width) + direct)


# The ways.


def _circular(operator: StencilOperator) -> bool:
    return operator.padding_mode == "circular"


def _check(operator: StencilOperator, y: Tensor, number: float, what: str) -> None:
    """Raise InputError before any work is done."""
    check_solvable(operator)
    check_arguments(operator, y, number, what)


def _is_empty(y: Tensor) -> bool:
    """Whether a batch has no images, of which libraries make no transform."""
    # The number of images of an exported graph is not known.
    return not torch.compiler.is_exporting() and y.shape[0] == 0


def _unchanged(operator: StencilOperator, y: Tensor) -> Tensor:
    """A batch without images as a function of images and weights: their gradients are zeros."""
    return y + torch.stack([weight.sum() for weight in weights_of(operator)]).sum()


def _size(y: Tensor) -> tuple[int, int]:
    return y.shape[-2], y.shape[-1]


def _function(values: Tensor, number: float, *, exponential: bool) -> Tensor:
    """``exp(-t s)`` or ``1 / (1 + h s)`` of squared symbols."""
    return torch.exp(-number * values) if exponential else 1 / (1 + number * values)


def _needs_products(operator: StencilOperator) -> bool:
    """Whether matrices are to be applied in a format that has no factorisations."""
    known = is_constant(operator) or (_circular(operator) and not is_diagonal(operator))
    return known and torch.onnx.is_in_onnx_export()


def _by_products(
    operator: StencilOperator, y: Tensor, number: float, *, exponential: bool
) -> Tensor:
    """Matrices of the channels a mode by operations that ONNX has."""
    real, imaginary = gram_parts(operator, _size(y), y)
    gram = number * (real if imaginary is None else embedded(real, imaginary))
    identity = torch.eye(gram.shape[-1], dtype=y.dtype, device=y.device)
    matrix = exponential_by_products(gram) if exponential else inverse_by_products(identity + gram)
    if imaginary is None:
        return functional.conv2d(y, matrix[0, 0, :, :, None, None])
    return apply_embedded(matrix, y)


def _filtered(operator: StencilOperator, y: Tensor, number: float, *, exponential: bool) -> Tensor:
    """Numbers a mode, or one matrix for all pixels: differentiable operations all through."""
    if is_constant(operator):
        gram = gram_matrices(operator, _size(y), y)[0, 0]
        matrix = (
            hermitian_exponential(gram, number)
            if exponential
            else torch.linalg.inv(
                torch.eye(len(gram), dtype=y.dtype, device=y.device) + number * gram
            )
        )
        return functional.conv2d(y, matrix[:, :, None, None])
    if _circular(operator):
        if isinstance(operator, CirculantConv2d) or y.shape[-2] * y.shape[-1] > DENSE_PIXELS:
            axes = (1, 2, 3) if isinstance(operator, CirculantConv2d) else (2, 3)
            values = squared_symbol(operator, _size(y), y)
            return filter_circular(y, _function(values, number, exponential=exponential), axes)
        basis = hartley_basis(_size(y), y)
        values = squared_symbol_of_all_modes(operator, _size(y), y)
    else:
        down, across = (cosine_basis(n, y) for n in _size(y))
        basis = torch.kron(down, across)
        values = squared_cosine_symbol(operator, _size(y), y)
        if isinstance(operator, CirculantConv2d):
            multiplier = _function(values, number, exponential=exponential)
            spectrum = down.T @ (y @ across)
            modes = torch.fft.fft(spectrum, dim=1) * multiplier.reshape(-1, *_size(y))
            return down @ (torch.fft.ifft(modes, dim=1).real @ across.T)
    return filter_dense(y, _function(values, number, exponential=exponential), basis)


def _solved(operator: StencilOperator, y: Tensor, step_size: float) -> Tensor:
    """Values from a solver that carries no gradient, derivatives by the residual at them."""
    weights = [weight.to(y.dtype) for weight in weights_of(operator)]
    if any(weight.dtype != y.dtype for weight in weights_of(operator)):
        operator = rebuild(description_of(operator), weights)
    solver, tensors = "iterative", weights
    if _circular(operator):
        with torch.no_grad():
            factor = shifted_factor(gram_matrices(operator, _size(y), y), step_size).detach()
        solver, tensors = "modes", [factor, *weights]
    description = description_of(operator)
    x = solve_without_gradient(y, solver, step_size, description, tensors)
    applied = operator.adjoint(operator.linear(x), _size(y))
    residual = y - x - step_size * applied
    return attach_gradient(x, residual, solver, step_size, description, tensors)
