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

_GRID = 64
_HALVINGS = 45
_EXCESS = 1e-10


class Merged(NamedTuple):
    """Eigenvalues with those of one Jordan block put together, and the defective ones."""

    values: Complex
    defective: tuple[complex, ...]


def merge_defective(operator: Operator) -> Merged:
    """Eigenvalues of an operator, those that rounding split from a Jordan block at their mean.

    Rounding splits an eigenvalue of a block of size m by u^(1/m) of the norm, and leaves the mean
    in place. A cluster counts as one eigenvalue that lacks eigenvectors where A minus its mean is
    singular to rounding errors, with fewer eigenvectors than the cluster has members.
    """
    stack, n = operator.blocks, operator.blocks.shape[-1]
    values = operator.eigenvalues.reshape(len(stack), -1).copy()
    if operator.normal:
        return Merged(values.ravel(), ())
    defective: list[complex] = []
    norms = np.linalg.norm(stack, 2, axis=(1, 2))
    widths = norms[:, None] * np.array([(operator.unit * n) ** (1 / m) * 4 for m in (2, 3, 4)])
    gaps = np.abs(values[:, :, None] - values[:, None, :])
    close = (gaps <= widths[:, -1, None, None]).sum(axis=(1, 2)) > n
    for row in np.flatnonzero(close & (norms > 0)):
        noise = 100 * n * operator.unit * norms[row]
        for width in widths[row]:
            for members in _clusters(values[row], width):
                mean = complex(values[row, members].mean())
                if np.ptp(values[row, members].real) == np.ptp(values[row, members].imag) == 0:
                    mean = complex(values[row, members[0]])
                shifted = stack[row] - mean * np.eye(n)
                singular = np.linalg.svd(shifted, compute_uv=False)
                if 0 < int(np.sum(singular <= noise)) < len(members):
                    values[row, members] = mean
                    defective.append(mean)
    return Merged(values.ravel(), tuple(dict.fromkeys(defective)))


def _clusters(values: Complex, width: float) -> list[list[int]]:
    """Groups of two or more values within a width of their first one."""
    left, found = list(range(len(values))), []
    while left:
        members = [j for j in left if abs(values[j] - values[left[0]]) <= width]
        left = [j for j in left if j not in members]
        if len(members) > 1:
            found.append(members)
    return found


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
    of 64 steps up to `limit` that grows (of 128 up to 1e6 / ||A|| where it is infinite), and
    halving before it: a search, no bound.

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
    if limit == 0:
        return 0.0

    def grows(step: float) -> bool:
        G = step_blocks(R, stack, step)
        squared = np.linalg.eigvalsh(np.conj(np.swapaxes(G, -1, -2)) @ G)
        return float(squared.max()) > 1 + _EXCESS

    if math.isinf(limit):
        steps = np.geomspace(1e-3, 1e6, 2 * _GRID) / operator.norm
    else:
        steps = limit * np.arange(1, _GRID + 1) / _GRID
    first = next((k for k, h in enumerate(steps) if grows(float(h))), None)
    if first is None:
        return limit
    low, high = (float(steps[first - 1]) if first else 0.0), float(steps[first])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if grows(middle) else (middle, high)
    return float(f"{low:.9g}")
