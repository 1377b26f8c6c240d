"""Random diffusion-reaction blocks, and by how much their explicit Euler steps grow (theory §4.10).

Every block is a function of (seed, index), of one of four kinds:

    pixel    channels of one pixel, independent normal weights
    line     stencils of three taps on a periodic line, a reaction in every pixel
    kernel   a reaction that acts where the diffusion does nothing: bounds are attained
    flip     a diffusion that reverses a mode, a reaction that pushes it further

The step is ``T(y) = y - h D^T sigma(S D y + b) + h R(y)``. Its frozen Jacobians are affine in the
slopes, their norm is convex, and so the largest one has every slope at an end of ``[0, L]``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from analysis.dynamics import (
    ReactionConstants,
    diffusion_reaction_growth,
    parabolic_limits,
    reaction_constants,
)

SEED = 31
KINDS = ("pixel", "line", "kernel", "flip")
MOST_ENUMERATED = 9
"""Units up to which all choices of their slopes are looked at."""

ROUNDING = 1e-12
BELOW, BEYOND = 0.999, 1.001


@dataclass(frozen=True, eq=False)
class Block:
    """A block in space: matrices of shapes ``(m, n)`` and ``(n, n)``, gains a row, its step size.

    ``W`` and ``reaction_gains`` are those of every pixel, ``pixels`` the number of them.
    """

    kind: str
    D: np.ndarray
    gains: np.ndarray
    W: np.ndarray
    reaction_gains: np.ndarray
    pixels: int
    slope: float
    step_size: float

    @property
    def curvature(self) -> float:
        """``Lambda = L ||S^(1/2) D||^2``."""
        return self.slope * norm(np.sqrt(self.gains)[:, None] * self.D) ** 2

    @property
    def reaction(self) -> ReactionConstants:
        """Constants of ``sigma(S W y + b)``."""
        return reaction_constants(self.W, self.reaction_gains, self.slope)

    @property
    def everywhere(self) -> tuple[np.ndarray, np.ndarray]:
        """``W`` and its gains in all pixels, channel-major."""
        pixels = np.eye(self.pixels)
        return np.kron(self.W, pixels), np.repeat(self.reaction_gains, self.pixels)


@dataclass(frozen=True)
class Finding:
    """What came of one block.

    Attributes:
        index: of the block.
        kind: one of ``KINDS``.
        plain: measured over certified growth with a plain reaction (b).
        diffusive: ``h Lambda`` of the step.
        below: largest growth at ``BELOW`` times the stacked limit (a).
        beyond: growth with all slopes full at ``BEYOND`` times the limit.
        faults: what is wrong; empty where nothing is.
    """

    index: int
    kind: str
    plain: float
    diffusive: float
    below: float
    beyond: float
    faults: tuple[str, ...]


def norm(matrix: np.ndarray) -> float:
    """Spectral norm."""
    return float(np.linalg.norm(matrix, 2))


def make_block(index: int, seed: int = SEED) -> Block:
    """The block of an index."""
    rng = np.random.default_rng([seed, index])
    kind = KINDS[index % len(KINDS)]
    slope = float(rng.choice([0.25, 1.0, 2.0]))
    channels = int(rng.integers(1, 5 if kind != "line" else 3))
    pixels = 1 if kind != "line" else int(rng.integers(3, 6))
    W = rng.standard_normal((channels, channels))
    reaction_gains = rng.standard_normal(channels)
    if kind == "line":
        D = _line(rng.standard_normal((channels, channels, 3)), pixels)
    else:
        D = rng.standard_normal((int(rng.integers(1, 5)), channels))
    gains = rng.uniform(0, 2, len(D))
    if kind == "kernel":
        D[:, -1] = 0.0
        W[-1] = W[:, -1] = 0.0
        W[-1, -1] = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 2) * max(1.0, norm(W))
        reaction_gains[:] = rng.choice([-1.0, 1.0]) * abs(reaction_gains[0])
    elif kind == "flip":
        # The leading mode of the diffusion is the one that the reaction damps.
        D = np.linalg.qr(rng.standard_normal((channels, channels)))[0] * rng.uniform(0.5, 2)
        gains = np.full(channels, rng.uniform(0.5, 2))
        W = -np.eye(channels) * rng.uniform(0.1, 2)
        reaction_gains = np.ones(channels)
    size = slope * norm(np.sqrt(gains)[:, None] * D) ** 2
    W = W * float(rng.choice([0.01, 0.1, 1.0, 3.0]))
    # A share on the limit of the diffusion itself, some beyond it.
    factor = float(rng.choice([rng.uniform(0, 2), 2.0, rng.uniform(2, 3)], p=[0.6, 0.2, 0.2]))
    step_size = factor / (size or slope * norm(W))  # where nothing diffuses, that of the reaction
    return Block(kind, D, gains, W, reaction_gains, pixels, slope, step_size)


def _line(stencils: np.ndarray, pixels: int) -> np.ndarray:
    """The matrix of a periodic convolution of three taps, channel-major."""
    shifts = [np.roll(np.eye(pixels), p, axis=1) for p in (-1, 0, 1)]
    return np.asarray(sum(np.kron(stencils[:, :, k], shift) for k, shift in enumerate(shifts)))


def largest_growth(
    left: np.ndarray, right: np.ndarray, slope: float, rng: np.random.Generator
) -> float:
    """Largest ``||I + left diag(d) right||`` over slopes ``d`` in ``[0, L]``.

    All ends where there are few units. Else alternating ascent: with the leading vectors ``u, v``
    held, ``u^T J(d) v`` is linear in ``d`` and the best ``d`` is at ends; the norm never falls.
    """
    units, n = right.shape
    if units <= MOST_ENUMERATED:
        ends = slope * np.array(list(itertools.product((0.0, 1.0), repeat=units)))
        steps = np.eye(n) + np.einsum("iu,ku,uj->kij", left, ends, right)
        return float(np.linalg.norm(steps, 2, axis=(1, 2)).max())
    largest = 0.0
    for start in (np.zeros(units), np.ones(units), *rng.integers(0, 2, (4, units))):
        d, reached = slope * start, 0.0
        for _ in range(50):
            u, values, v = np.linalg.svd(np.eye(n) + (left * d) @ right)
            if values[0] <= reached * (1 + 1e-14):
                break
            reached = float(values[0])
            d = slope * ((u[:, 0] @ left) * (right @ v[0]) > 0)
        largest = max(largest, reached)
    return largest


def measured_growth(block: Block, rng: np.random.Generator) -> float:
    """Largest growth of the step with a plain reaction, over slopes and over pairs of inputs."""
    W, s = block.everywhere
    h, n = block.step_size, block.D.shape[1]
    left = np.concatenate([-h * block.D.T * block.gains, h * np.eye(n) * s], axis=1)
    right = np.concatenate([block.D, W])
    frozen = largest_growth(left, right, block.slope, rng)
    return max(frozen, _growth_of_pairs(block, rng))


def _growth_of_pairs(block: Block, rng: np.random.Generator, count: int = 50) -> float:
    """Growth of distances by the step itself, with tanh or ReLU and biases."""
    W, s = block.everywhere
    n, L = block.D.shape[1], block.slope
    sigma = (lambda x: L * np.tanh(x)) if rng.integers(2) else (lambda x: L * np.maximum(x, 0))
    b, c = rng.standard_normal(len(block.D)), rng.standard_normal(n)
    y = rng.standard_normal((count, n)) * 10.0 ** rng.uniform(-2, 1, (count, 1))
    z = y + rng.standard_normal((count, n)) * 10.0 ** rng.uniform(-3, 1, (count, 1))

    def step(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        diffusion = sigma(y @ (block.gains[:, None] * block.D).T + b) @ block.D
        change = block.step_size * (sigma(y @ (s[:, None] * W).T + c) - diffusion)
        size = np.linalg.norm(y, axis=1) + block.step_size * np.abs(diffusion).sum(axis=1)
        return y + change, size + np.linalg.norm(change, axis=1)

    (after, size), (other, other_size) = step(y), step(z)
    # What the rounding of the two results may add to their distance is no growth.
    rounding = 64 * np.finfo(float).eps * (size + other_size)
    moved = np.linalg.norm(after - other, axis=1) - rounding
    return float((moved / np.linalg.norm(y - z, axis=1)).max())


def stacked_growths(block: Block, rng: np.random.Generator) -> tuple[float, float]:
    """Largest growth just below the stacked limit, and that of full slopes just beyond it."""
    W, s = block.everywhere
    K = np.concatenate([block.D, W])
    gains = np.concatenate([block.gains, np.abs(s)])
    curvature = block.slope * norm(np.sqrt(gains)[:, None] * K) ** 2
    h = parabolic_limits("euler", curvature).nonexpansive
    below = largest_growth(-BELOW * h * K.T * gains, K, block.slope, rng)
    full = block.slope * (K.T * gains) @ K
    return below, norm(np.eye(len(full)) - BEYOND * h * full)


def examine(index: int, seed: int = SEED) -> Finding:
    """Certified growth and stacked limit of one block against what its steps do."""
    block, rng = make_block(index, seed), np.random.default_rng([seed, index, 1])
    certified = diffusion_reaction_growth(block.step_size, block.curvature, block.reaction)
    plain = measured_growth(block, rng) / certified
    below, beyond = stacked_growths(block, rng)
    wrong = {
        "a step grows by more than is certified": plain > 1 + ROUNDING,
        "a step expands below the stacked limit": below > 1 + ROUNDING,
        "full slopes do not expand beyond it": beyond <= 1 + (BEYOND - 1),
    }
    return Finding(
        index,
        block.kind,
        plain,
        block.step_size * block.curvature,
        below,
        beyond,
        tuple(fault for fault, is_wrong in wrong.items() if is_wrong),
    )
