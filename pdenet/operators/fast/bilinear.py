"""Bilinear maps ``(weights, images) -> K(weights) images`` with derivatives of every kind.

``t(y, w, x) = <y, K(w) x>`` is linear in each argument, so the three maps

    apply     K(w) x         adjoint     K(w)^T y         gradients    d t / d w

are each other's derivatives: whoever writes them once has derivatives of all orders, forward and
reverse. A `Kernel` may then compute each as it likes, in place and piece by piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from pdenet.operators.fast.rules import Pair, differentiated


class Kernel(Protocol):
    """The three maps, which nothing differentiates; weights are a tuple of tensors."""

    @property
    def apply(self) -> Callable[..., Tensor]:
        """``K(w) x`` of ``x, *weights``."""

    @property
    def adjoint(self) -> Callable[..., Tensor]:
        """``K(w)^T y`` of ``y, size, *weights``: images of that size."""

    @property
    def gradients(self) -> Callable[[Tensor, Tensor], tuple[Tensor, ...]]:
        """``d <y, K(w) x> / d w`` of ``y, x``, one tensor a weight."""


def apply(kernel: Kernel, x: Tensor, *weights: Tensor) -> Tensor:
    """``K(w) x``, differentiable."""
    # Entering a function that has derivatives takes 60 us.
    if not differentiated(x, *weights):
        return kernel.apply(x, *weights)
    result: Tensor = _Apply.apply(kernel, x, *weights)
    return result


def adjoint(kernel: Kernel, y: Tensor, size: Pair, *weights: Tensor) -> Tensor:
    """``K(w)^T y``, differentiable."""
    if not differentiated(y, *weights):
        return kernel.adjoint(y, size, *weights)
    result: Tensor = _Adjoint.apply(kernel, size, y, *weights)
    return result


def _gradients(kernel: Kernel, y: Tensor, x: Tensor, needed: Sequence[bool]) -> list[Any]:
    if not any(needed):
        return [None for _ in needed]
    if not differentiated(y, x):
        return list(kernel.gradients(y, x))
    return list(_Gradients.apply(kernel, y, x))


class _Map(torch.autograd.Function):
    """What the three have in common."""

    @classmethod
    def keep(cls, ctx: Any, constants: Sequence[Any], tensors: Sequence[Tensor]) -> None:
        """Keep arguments; absent derivatives stay None and cost nothing."""
        ctx.set_materialize_grads(False)
        ctx.constants = tuple(constants)
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @classmethod
    def one_by_one(cls, info: Any, dims: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """Results for every element of a ``vmap``."""
        pairs = [a if d is None else a.movedim(d, 0) for a, d in zip(arguments, dims, strict=True)]
        return [
            cls.apply(*(a if d is None else a[n] for a, d in zip(pairs, dims, strict=True)))
            for n in range(info.batch_size)
        ]

    @classmethod
    def batched(cls, info: Any, dims: Sequence[Any], arguments: Sequence[Any]) -> Tensor:
        """``vmap`` over the images ``arguments[-1]`` as a larger batch, where weights are fixed."""
        position = next(n for n, a in enumerate(arguments) if isinstance(a, Tensor))
        if any(d is not None for d in dims[position + 1 :]):
            return torch.stack(cls.one_by_one(info, dims, arguments))
        images = arguments[position].movedim(dims[position], 0)
        folded = [*arguments[:position], images.flatten(0, 1), *arguments[position + 1 :]]
        result: Tensor = cls.apply(*folded)
        return result.unflatten(0, (info.batch_size, -1))


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return terms[0] if len(terms) == 1 else torch.stack(list(terms)).sum(0)


def _filled(changes: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    """Changes of the weights, zeros where there is none."""
    return [torch.zeros_like(w) if c is None else c for c, w in zip(changes, like, strict=True)]


class _Apply(_Map):
    @staticmethod
    def forward(kernel: Kernel, x: Tensor, *weights: Tensor) -> Tensor:
        return kernel.apply(x, *weights)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _Map.keep(ctx, inputs[:1], inputs[1:])

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> tuple[Any, ...]:
        (kernel,), (x, *weights) = ctx.constants, ctx.saved_tensors
        if g is None:
            return (None,) * (2 + len(weights))
        of_images = ctx.needs_input_grad[1]
        to_x = adjoint(kernel, g, tuple(x.shape[-2:]), *weights) if of_images else None
        return (None, to_x, *_gradients(kernel, g, x, ctx.needs_input_grad[2:]))

    @staticmethod
    def jvp(ctx: Any, _: None, dx: Tensor | None, *changes: Tensor | None) -> Tensor:
        (kernel,), (x, *weights) = ctx.constants, ctx.saved_tensors
        terms = [] if dx is None else [apply(kernel, dx, *weights)]
        if any(c is not None for c in changes):
            terms.append(apply(kernel, x, *_filled(changes, weights)))
        return _sum(terms)

    @staticmethod
    def vmap(info: Any, dims: Sequence[Any], *arguments: Any) -> tuple[Tensor, int]:
        return _Apply.batched(info, dims, arguments), 0


class _Adjoint(_Map):
    @staticmethod
    def forward(kernel: Kernel, size: Pair, y: Tensor, *weights: Tensor) -> Tensor:
        return kernel.adjoint(y, size, *weights)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _Map.keep(ctx, inputs[:2], inputs[2:])

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> tuple[Any, ...]:
        (kernel, _), (y, *weights) = ctx.constants, ctx.saved_tensors
        if g is None:
            return (None,) * (3 + len(weights))
        to_y = apply(kernel, g, *weights) if ctx.needs_input_grad[2] else None
        return (None, None, to_y, *_gradients(kernel, y, g, ctx.needs_input_grad[3:]))

    @staticmethod
    def jvp(ctx: Any, _: None, __: None, dy: Tensor | None, *changes: Tensor | None) -> Tensor:
        (kernel, size), (y, *weights) = ctx.constants, ctx.saved_tensors
        terms = [] if dy is None else [adjoint(kernel, dy, size, *weights)]
        if any(c is not None for c in changes):
            terms.append(adjoint(kernel, y, size, *_filled(changes, weights)))
        return _sum(terms)

    @staticmethod
    def vmap(info: Any, dims: Sequence[Any], *arguments: Any) -> tuple[Tensor, int]:
        return _Adjoint.batched(info, dims, arguments), 0


class _Gradients(_Map):
    @staticmethod
    def forward(kernel: Kernel, y: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        return kernel.gradients(y, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _Map.keep(ctx, (inputs[0], [o.shape for o in output]), inputs[1:])

    @staticmethod
    def backward(ctx: Any, *changes: Tensor | None) -> tuple[Any, ...]:
        (kernel, shapes), (y, x) = ctx.constants, ctx.saved_tensors
        if all(c is None for c in changes):
            return None, None, None
        weights = [
            x.new_zeros(shape) if c is None else c for c, shape in zip(changes, shapes, strict=True)
        ]
        to_y = apply(kernel, x, *weights) if ctx.needs_input_grad[1] else None
        size = tuple(x.shape[-2:])
        to_x = adjoint(kernel, y, size, *weights) if ctx.needs_input_grad[2] else None
        return None, to_y, to_x

    @staticmethod
    def jvp(ctx: Any, _: None, dy: Tensor | None, dx: Tensor | None) -> tuple[Tensor, ...]:
        (kernel, _), (y, x) = ctx.constants, ctx.saved_tensors
        terms = [] if dy is None else [_Gradients.apply(kernel, dy, x)]
        terms += [] if dx is None else [_Gradients.apply(kernel, y, dx)]
        return tuple(map(_sum, zip(*terms, strict=True)))

    @staticmethod
    def vmap(info: Any, dims: Sequence[Any], *arguments: Any) -> tuple[Any, Any]:
        found = _Gradients.one_by_one(info, dims, arguments)
        stacked = tuple(torch.stack(parts) for parts in zip(*found, strict=True))
        return stacked, (0,) * len(stacked)
