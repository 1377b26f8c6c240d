"""The Jacobian of any map of tensors as a matrix-free operator (theory §4.7).

Never formed: products with it are forward derivatives, products with its transpose reverse ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, nn

from analysis.backend import to_numpy
from analysis.errors import InputError


def jacobian_operator(mapping: Callable[[Tensor], Tensor], point: Tensor) -> LinearOperator:
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
