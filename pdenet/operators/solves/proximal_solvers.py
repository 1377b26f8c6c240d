"""Solvers of ``x + h K^T sigma(s K x + t) = y`` and of its derivative, without gradients.

The left side is the gradient of a strongly convex function, since ``sigma`` is monotone and
``s >= 0`` (theory §4.5). Newton's method, semi-smooth where ``sigma`` has kinks, with conjugate
gradients inside. Both are operations that compilers do not look into, as their loops depend on
values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.errors import InputError
from pdenet.operators.base import StencilOperator
from pdenet.operators.solves.conjugate_gradient import conjugate_gradient
from pdenet.operators.solves.implicit_point import SOLVERS, one_by_one
from pdenet.operators.solves.rebuilding import rebuild

ACTIVATIONS_BY_TEXT: dict[str, Callable[[Tensor], Tensor]] = {}
"""Monotone activations by the text that describes them; ``pdenet.layers.proximal`` fills it."""
MAXIMUM_STEPS = 200
"""After so many steps of Newton's method the solve is given up."""
_AXES = (1, 2, 3)
_HALVINGS = 40
_POWER_ITERATIONS = 8


@dataclass(frozen=True, eq=False)
class Potential:
    """``Phi`` with gradient ``K^T sigma(s K x + t)``, ``s`` and ``t`` a number a channel."""

    operator: StencilOperator
    activation: Callable[[Tensor], Tensor]
    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, description: str, tensors: Sequence[Tensor]) -> Potential:
        """From a text ``activation|operator`` and the weights, ``s`` and ``t``."""
        activation, operator = description.split("|")
        *weights, scale, shift = tensors
        if bool((scale < 0).any()):
            channel = int(torch.argmin(scale))
            raise InputError(
                "a normalisation with scale >= 0 for a proximal step",
                f"{float(scale[channel]):.3g} in channel {channel}",
                "keep its weight at least zero",
            )
        columns = (scale[:, None, None], shift[:, None, None])
        return cls(rebuild(operator, weights), ACTIVATIONS_BY_TEXT[activation], *columns)

    def arguments(self, x: Tensor) -> Tensor:
        """``s K x + t``, of which ``sigma`` is taken."""
        return self.operator.linear(x) * self.scale + self.shift

    def gradient(self, x: Tensor) -> Tensor:
        """``K^T sigma(s K x + t)``."""
        return self.adjoint(self.activation(self.arguments(x)), x)

    def adjoint(self, z: Tensor, x: Tensor) -> Tensor:
        """``K^T z`` for images of the size of ``x``."""
        return self.operator.adjoint(z, (x.shape[-2], x.shape[-1]))

    def slopes(self, x: Tensor) -> Tensor:
        """``s sigma'(s K x + t)``, at a kink the side that torch chooses."""
        # By reverse mode, which nests in every other mode, on a tensor of its own.
        with torch.inference_mode(False), torch.enable_grad():
            z = self.arguments(x).detach().clone().requires_grad_()
            (slopes,) = torch.autograd.grad(self.activation(z).sum(), z)
        return slopes * self.scale

    def largest_curvature(self, start: Tensor) -> float:
        """About the largest eigenvalue of ``K^T S K``, by a few power iterations."""
        v = start
        for _ in range(_POWER_ITERATIONS):
            v = v / _norm(v).clamp_min(torch.finfo(v.dtype).tiny)
            v = self.adjoint(self.scale * self.operator.linear(v), v)
        return float(_norm(v).amax())

    def solve_linearised(
        self, slopes: Tensor, right_side: Tensor, step_size: float, tolerance: float | None = None
    ) -> Tensor:
        """``(I + h K^T D K)^{-1} b`` with the slopes ``D >= 0``."""

        def apply(v: Tensor) -> Tensor:
            return v + step_size * self.adjoint(slopes * self.operator.linear(v), v)

        return conjugate_gradient(
            apply, right_side, lambda r: r, system_axes=_AXES, tolerance=tolerance
        )[0]


def solve_proximal(potential: Potential, y: Tensor, step_size: float) -> tuple[Tensor, int, bool]:
    """``x + h grad Phi(x) = y`` to rounding, for every image of a batch by itself.

    Steps of Newton's method are shortened until the function decreases along them, read from its
    slope alone: a slope ``<F(x + a d), d>`` that is still at most zero at ``a`` means a decrease of
    at least a fixed part of the slope squared; full steps that halve the smallest residual so far
    are taken too, and there can be only finitely many. So it converges from everywhere, as far as
    rounding lets it.

    Returns:
        ``x``, the number of steps, and whether all residuals are as small as rounding explains.
        Images that are not finite give NaN.
    """
    if not bool(torch.isfinite(y).all()):
        return torch.full_like(y, torch.nan), 0, True
    unit = torch.finfo(y.dtype).eps
    stiffness = step_size * potential.largest_curvature(y)
    x, force = y, step_size * potential.gradient(y)
    residual = x + force - y
    best = _norm(residual)
    stalled = torch.zeros_like(best)
    for step in range(MAXIMUM_STEPS):
        size = _norm(residual)
        floor = 8 * unit * (_norm(x) + _norm(force) + _norm(y))
        # The rounding of x itself comes back multiplied by h K^T D K.
        explained = size <= floor + 8 * unit * stiffness * _norm(x)
        stalled = torch.where(size < best / 2, 0, stalled + 1)
        best = torch.minimum(best, size)
        finished = (size <= floor) | (explained & (stalled >= 3))
        if bool(finished.all()):
            return x, step, True
        if y.dtype == torch.float32 and bool((~explained & (stalled >= 8)).any()):
            return x, step, False
        right_side = torch.where(finished, torch.zeros_like(residual), -residual)
        relative = float((size / _norm(y).clamp_min(1e-30)).amax())
        tolerance = min(0.1, max(1e-2 * relative, 256 * unit))
        slopes = potential.slopes(x)
        direction = potential.solve_linearised(slopes, right_side, step_size, tolerance)
        x, force, residual = _search(potential, x, y, direction, residual, best, step_size)
    return x, MAXIMUM_STEPS, bool(explained.all())


def _search(
    potential: Potential,
    x: Tensor,
    y: Tensor,
    direction: Tensor,
    residual: Tensor,
    best: Tensor,
    step_size: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The next point along a direction, its force and its residual."""
    start = (residual * direction).sum(_AXES, keepdim=True)
    length = torch.ones_like(start)
    for _ in range(_HALVINGS):
        candidate = x + length * direction
        force = step_size * potential.gradient(candidate)
        left = candidate + force - y
        slope = (left * direction).sum(_AXES, keepdim=True)
        accepted = (slope <= 0) | (_norm(left) <= best / 2)
        if bool(accepted.all()):
            break
        # The slope grows along the line: its secant root, kept away from both ends.
        part = (start / (start - slope)).clamp(0.1, 0.9)
        length = torch.where(accepted, length, length * part)
    return candidate, force, left


def _norm(x: Tensor) -> Tensor:
    return x.square().sum(_AXES, keepdim=True).sqrt()


@torch.library.custom_op("pdenet::proximal_point", mutates_args=())
def proximal_point(
    y: Tensor, tensors: Sequence[Tensor], description: str, step_size: float
) -> Tensor:
    """The solution for an operator that is rebuilt from its weights.

    Where single precision does not suffice, which happens at long steps, in double.
    """
    x, _, solved = solve_proximal(Potential.of(description, tensors), y, step_size)
    if not solved and y.dtype == torch.float32:
        double = Potential.of(description, [tensor.double() for tensor in tensors])
        x, _, solved = solve_proximal(double, y.double(), step_size)
    if not solved:
        raise InputError(
            f"a proximal step that {MAXIMUM_STEPS} steps of Newton's method find",
            "one that they do not",
            "take smaller steps",
        )
    return x.to(y.dtype).clone(memory_format=torch.contiguous_format)


@torch.library.custom_op("pdenet::proximal_derivative", mutates_args=())
def proximal_derivative(
    right_side: Tensor, tensors: Sequence[Tensor], description: str, step_size: float
) -> Tensor:
    """``(I + h K^T D K)^{-1} b`` with the slopes at a solution, the first of the tensors."""
    solution, *others = tensors
    potential = Potential.of(description, others)
    solved = potential.solve_linearised(potential.slopes(solution), right_side, step_size)
    return solved.clone(memory_format=torch.contiguous_format)


@proximal_point.register_fake
@proximal_derivative.register_fake
def _(y: Tensor, tensors: Sequence[Tensor], description: str, step_size: float) -> Tensor:
    return torch.empty_like(y, memory_format=torch.contiguous_format)


def _point(y: Tensor, step_size: float, description: str, tensors: Sequence[Tensor]) -> Tensor:
    solved: Tensor = torch.ops.pdenet.proximal_point(y, tensors, description, step_size)
    return solved


def _derivative(b: Tensor, step_size: float, description: str, tensors: Sequence[Tensor]) -> Tensor:
    solved: Tensor = torch.ops.pdenet.proximal_derivative(b, tensors, description, step_size)
    return solved


one_by_one(proximal_point)
one_by_one(proximal_derivative)
SOLVERS["proximal point"] = _point
SOLVERS["proximal derivative"] = _derivative
