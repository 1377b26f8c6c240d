"""What an operator tells of a step beyond eigenvalues: norms, and eigenvectors that are missing.

>>> found = merge_defective(Operator.of([[0.0, 1.0], [0.0, 0.0]]))
>>> found.defective
(0j,)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from analysis.clouds import Complex, Operator
from analysis.errors import InputError
from analysis.stability import StabilityFunction

_CLUSTER = 1e-6  # eigenvalues of one Jordan block of size two are known to sqrt(u) of the norm
_GRID = 64
_HALVINGS = 45
_EXCESS = 1e-10


class Merged(NamedTuple):
    """Eigenvalues with those of one Jordan block put together, and the defective ones."""

    values: Complex
    defective: tuple[complex, ...]


def merge_defective(operator: Operator) -> Merged:
    """Eigenvalues of an operator, those that rounding split from a Jordan block at their mean.

    A cluster within 1e-6 ||A|| counts as one eigenvalue that lacks eigenvectors where A minus its
    mean has fewer singular values below 1e-6 ||A|| than the cluster has members.
    """
    stack = operator.blocks
    values = operator.eigenvalues.reshape(len(stack), -1).copy()
    width, defective = _CLUSTER * operator.norm, []
    if operator.normal or not operator.norm:
        return Merged(values.ravel(), ())
    gaps = np.abs(values[:, :, None] - values[:, None, :]) <= width
    for row in np.flatnonzero(gaps.sum(axis=(1, 2)) > values.shape[1]):
        left = set(range(values.shape[1]))
        while left:
            members = sorted(j for j in left if gaps[row, min(left), j])
            left -= set(members)
            mean = complex(values[row, members].mean())
            if len(members) < 2:
                continue
            shifted = stack[row] - mean * np.eye(values.shape[1])
            eigenvectors = int(np.sum(np.linalg.svd(shifted, compute_uv=False) <= width))
            if eigenvectors < len(members):
                values[row, members] = mean
                defective.append(mean)
    return Merged(values.ravel(), tuple(dict.fromkeys(defective)))


def step_blocks(function: StabilityFunction, blocks: np.ndarray, step_size: float) -> np.ndarray:
    """One step ``R(h A)`` of a Runge-Kutta method on ``y' = A y``, for a matrix or a stack.

    A product of the factors ``I - h A / root``, which keeps its accuracy where powers cancel.

    Args:
        function: stability function ``R``.
        blocks: ``A``, shape ``(..., n, n)``.
        step_size: ``h``.

    Raises:
        InputError: where ``h`` times an eigenvalue is a pole of an implicit method.

    >>> from analysis.methods import tableau
    >>> from analysis.stability import stability_function
    >>> step_blocks(stability_function(tableau("euler")), np.array([[0.0, 2.0], [0.0, 0.0]]), 0.5)
    array([[1., 1.],
           [0., 1.]])
    """
    scaled, identity = step_size * np.asarray(blocks), np.eye(blocks.shape[-1])
    product = np.broadcast_to(identity.astype(complex), scaled.shape)
    try:
        # Alternating keeps the partial products in range where both degrees are high.
        for k in range(max(len(function.zeros), len(function.poles))):
            if k < len(function.zeros):
                product = product @ (identity - scaled / function.zeros[k])
            if k < len(function.poles):
                product = np.linalg.solve(identity - scaled / function.poles[k], product)
    except np.linalg.LinAlgError:
        raise InputError(
            "a step size without a pole of the method at an eigenvalue", step_size, "change it"
        ) from None
    # Roots come in conjugate pairs: of a real matrix the step is real.
    return np.asarray(product.real if np.isrealobj(blocks) else product)


def contractive_step(R: StabilityFunction, operator: Operator, limit: float) -> float:
    """The largest h up to which ||R(h' A)||_2 <= 1 for all steps h' <= h that were looked at.

    0 where the logarithmic norm of A is positive: then short steps grow in norm, as the exact
    solution does. Infinite for A-stable methods where it is not (von Neumann 1951). Else the first
    of 64 steps up to `limit` that grows, and halving before it: a search, no bound.

    >>> from analysis.stability_of import stability_of
    >>> contractive_step(stability_of("euler"), Operator.of([[-1.0, 1.0], [0.0, -1.0]]), 2.0)
    1.0
    """
    stack = operator.blocks
    hermitian = (stack + np.conj(np.swapaxes(stack, -1, -2))) / 2
    if float(np.linalg.eigvalsh(hermitian).max()) > 1e-12 * operator.norm:
        return 0.0
    if R.a_stable:
        return math.inf
    if limit == 0 or math.isinf(limit):
        return limit

    def grows(step: float) -> bool:
        G = step_blocks(R, stack, step)
        squared = np.linalg.eigvalsh(np.conj(np.swapaxes(G, -1, -2)) @ G)
        return float(squared.max()) > 1 + _EXCESS

    steps = limit * np.arange(1, _GRID + 1) / _GRID
    first = next((k for k, h in enumerate(steps) if grows(float(h))), None)
    if first is None:
        return limit
    low, high = (float(steps[first - 1]) if first else 0.0), float(steps[first])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if grows(middle) else (middle, high)
    return float(f"{low:.9g}")
