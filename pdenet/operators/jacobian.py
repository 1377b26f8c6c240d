"""The Jacobian of any map of tensors as a matrix-free operator, and tests of derivatives.

Never formed: products with it are forward derivatives, products with its transpose reverse ones
(theory §4.7). ``taylor_test`` shows whether a derivative is one, ``dot_test`` whether two operators
are adjoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, nn

from analysis.backend import to_numpy
from analysis.errors import InputError

Map = Callable[[Tensor], Tensor]

_HALVINGS = 40
_ROUNDING = 1e4
"""Remainders this many times above rounding have more than three digits, and so has the slope."""


def jacobian_operator(mapping: Map, point: Tensor) -> LinearOperator:
    """Jacobian ``J = dT/dy`` of a map at a point, on flat vectors, for ``analysis.nonnormal``.

    ``J v`` by ``torch.func.jvp`` and ``J^T u`` by ``torch.func.vjp``, in float64 on the device of
    the point. At a kink (ReLU at zero) it is the one-sided derivative that torch chooses, so a
    frozen Jacobian and no more. Parameters gather no gradients. Source: theory §4.7.

    Args:
        mapping: differentiable almost everywhere, in float64; a module in inference mode, as batch
            norm in training mode would couple the samples and move its statistics.
        point: where, of any shape with ``n`` entries.

    Returns:
        Shape ``(m, n)`` with ``m`` entries of ``T(y)``, dtype float64; vectors are NumPy arrays in
        the order of ``Tensor.flatten``.

    Raises:
        InputError: for points without entries or not finite, modules in single precision, and maps
            that give no float64 tensor.

    >>> square = jacobian_operator(lambda y: y**2, torch.tensor([1.0, 3.0]))
    >>> (square @ np.ones(2)).tolist(), square.shape
    ([2.0, 6.0], (2, 2))
    """
    at = point.detach().to(torch.float64)
    if not at.numel() or not bool(torch.isfinite(at).all()):
        raise InputError("a point with finite entries", f"shape {tuple(at.shape)}", "pass features")
    if isinstance(mapping, nn.Module) and any(
        p.is_floating_point() and p.dtype != torch.float64 for p in mapping.parameters()
    ):
        raise InputError("a module in float64", "lower precision", "pass module.double()")
    image, pull_back = torch.func.vjp(mapping, at)[:2]
    if not isinstance(image, Tensor) or image.dtype != torch.float64:
        got = getattr(image, "dtype", type(image).__name__)
        raise InputError("a map to a float64 tensor", got, "compute in float64")

    def forward(vector: np.ndarray) -> np.ndarray:
        direction = torch.as_tensor(vector, dtype=at.dtype, device=at.device).reshape(at.shape)
        return to_numpy(torch.func.jvp(mapping, (at,), (direction,))[1]).ravel()

    def adjoint(vector: np.ndarray) -> np.ndarray:
        weight = torch.as_tensor(vector, dtype=at.dtype, device=at.device).reshape(image.shape)
        return to_numpy(pull_back(weight)[0]).ravel()

    # Without a dtype SciPy would find one by a product with integers.
    shape = (image.numel(), at.numel())
    return LinearOperator(shape, matvec=forward, rmatvec=adjoint, dtype=np.float64)


def taylor_test(
    mapping: Map, point: Tensor, direction: Tensor, derivative: Tensor | None = None
) -> float:
    """Observed order of the first Taylor remainder: 2 for a right derivative, 1 for a wrong one.

    ``|f(x + e u) - f(x) - e J u| = O(e^2)`` where ``f`` is twice differentiable between the points:
    the slope when ``e`` halves, where the remainder is still well above rounding. A kink between
    the points (ReLU) lowers it too.

    Args:
        mapping: ``f``, from a tensor to a tensor in the precision of the point.
        point: ``x``; float64 shows most.
        direction: ``u``, of the shape of ``x``; as long as the region where ``f`` is looked at.
        derivative: ``J u``, of the shape of ``f(x)``; by default by ``torch.func.jvp``.

    Returns:
        The order, infinite where the remainder is nothing but rounding: ``f`` is affine along
        ``u``.

    Raises:
        InputError: for shapes that do not fit and values that are not finite.

    >>> x, u = torch.tensor([1.0, 2.0]).double(), torch.tensor([1.0, -1.0]).double()
    >>> round(taylor_test(torch.exp, x, u), 2), round(taylor_test(torch.exp, x, u, u), 2)
    (2.0, 1.0)
    >>> taylor_test(lambda y: 3 * y, x, u)
    inf
    """
    _check_alike("a direction of the shape of the point", direction, point)
    with torch.no_grad():
        value = mapping(point)
    if derivative is None:
        derivative = torch.func.jvp(mapping, (point,), (direction,))[1].detach()
    _check_alike("a derivative of the shape of the values", derivative, value)
    floor = _ROUNDING * torch.finfo(value.dtype).eps * float(value.abs().max())
    remainders: list[float] = []
    for power in range(_HALVINGS):
        e = 0.5**power
        with torch.no_grad():
            remainder = mapping(point + e * direction) - value - e * derivative
        size = float(remainder.abs().max())
        if not math.isfinite(size):
            raise InputError("finite values near the point", size, "shorten the direction")
        if size <= floor and not remainders:
            break
        remainders.append(size)
        if size <= floor:
            break
    if len(remainders) < 2:
        return math.inf
    return math.log2(remainders[-2] / remainders[-1])


def dot_test(apply: Map, adjoint: Map, x: Tensor, y: Tensor) -> float:
    """Relative defect of an adjoint, ``|<A x, y> - <x, A^T y>| / (||A x|| ||y||)``.

    About the rounding of the precision where the two belong together, of the size of one where they
    do not.

    Args:
        apply: ``A``, linear.
        adjoint: ``A^T``.
        x: a point of the domain, random say.
        y: a point of the range.

    Raises:
        InputError: where ``A x`` has not the shape of ``y``, or ``A^T y`` not that of ``x``.

    >>> x, y = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([3.0, 5.0])
    >>> dot_test(lambda v: v[1:] - v[:-1], lambda v: nn.functional.pad(v, (1, 1)).diff() * -1, x, y)
    0.0
    """
    with torch.no_grad():
        applied = apply(x)
        _check_alike("A x of the shape of y", applied, y)
        transposed = adjoint(y)
    _check_alike("A^T y of the shape of x", transposed, x)
    difference = (applied * y).sum() - (x * transposed).sum()
    size = applied.norm() * y.norm()
    return float(difference.abs() / size.clamp_min(torch.finfo(size.dtype).tiny))


def _check_alike(expected: str, got: Tensor, like: Tensor) -> None:
    """Raise InputError for tensors of different shapes."""
    if got.shape != like.shape:
        shapes = f"{tuple(got.shape)} and {tuple(like.shape)}"
        raise InputError(expected, shapes, "pass tensors that fit")
