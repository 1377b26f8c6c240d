"""Measured growth of distances through a map, and pairs of inputs that show it (theory §4.9).

Random perturbations miss most of what a layer can do; so the search also follows the leading
singular vector of the Jacobian (power iteration on ``J^T J``) at several points, along finite
distances, and climbs from the best pair across the kinks of the activation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]

STARTS = 6
"""Points at which the Jacobian is followed, at least five (theory §4)."""
POWER_ITERATIONS = 25
ASCENT_STEPS = 60
DISTANCES = (1e-5, 1e-3, 1e-1, 1.0, 10.0)
"""Lengths of the finite perturbations, as shares of the length of the features."""


@dataclass(frozen=True, eq=False)
class Growth:
    """The largest growth of a distance that was found.

    Attributes:
        value: ``||T(y) - T(z)|| / ||y - z||`` of the pair kept, a lower bound of the Lipschitz
            constant of ``T``.
        random: the largest such ratio over random perturbations of the data alone.
        data: the largest ratio between a data point and any other.
        first, second: the pair, each ``(C, H, W)`` in float64.
        allowance: what rounding can add to ``value``.
    """

    value: float
    random: float
    data: float
    first: Tensor
    second: Tensor
    allowance: float


def measure_growth(
    mapping: Map,
    features: Tensor,
    *,
    seed: int = 0,
    directions: Tensor | None = None,
    points: Tensor | None = None,
) -> Growth:
    """Search for the pair of inputs whose distance a map increases most.

    Args:
        mapping: acts on each sample of a batch by itself; differentiable almost everywhere.
        features: points to start from, ``(B, C, H, W)``, float64.
        seed: of the random directions.
        directions: further perturbations to try at every point, ``(N, C, H, W)``.
        points: further points to start from, ``(P, C, H, W)``.

    Returns:
        The best pair; all ratios are measured, none is a bound. Where no ratio is finite, the value
        is not a number.
    """
    generator = torch.Generator().manual_seed(seed)
    base = spread(features, STARTS)
    at_random = _try_random(mapping, base, generator)
    if not at_random:
        return Growth(math.nan, math.nan, math.nan, base[0], base[0], math.nan)
    best = _surest(at_random)
    shifted = torch.cat([base, -base, *_along(base, directions)])
    if points is not None:
        shifted = torch.cat([shifted, points])
    leading = leading_directions(mapping, shifted, generator)
    on_data = _finite_pairs(mapping, base, leading[: len(base)])
    pairs = _finite_pairs(mapping, shifted[len(base) :], leading[len(base) :])
    for direction in () if directions is None else directions:
        on_data += _finite_pairs(mapping, base, direction.expand_as(base))
        others = shifted[len(base) :]
        pairs += _finite_pairs(mapping, others, direction.expand_as(others))
    candidates = [best, *on_data, *pairs]
    candidates.sort(key=lambda pair: -pair.sure)
    climbed = _climb(mapping, candidates[:STARTS])
    top = _surest([*candidates[:1], *climbed])
    data = _surest([best, *on_data]).ratio
    return Growth(
        value=top.ratio,
        random=best.ratio,
        data=data,
        first=top.first,
        second=top.second,
        allowance=top.allowance,
    )


def spread(features: Tensor, count: int) -> Tensor:
    """A few of the samples, evenly spread over the batch."""
    index = torch.linspace(0, len(features) - 1, min(count, len(features))).round().long()
    return features[index]


@dataclass(frozen=True, eq=False)
class _Pair:
    first: Tensor
    second: Tensor
    ratio: float
    allowance: float

    @property
    def sure(self) -> float:
        """The growth that is there whatever rounding did to the ratio."""
        return self.ratio - self.allowance


def _surest(pairs: list[_Pair]) -> _Pair:
    return max(pairs, key=lambda pair: pair.sure)


def _norms(batch: Tensor) -> Tensor:
    return torch.linalg.vector_norm(batch.flatten(1), dim=1)


@torch.no_grad()
def pair_ratios(mapping: Map, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """``||T(y) - T(z)|| / ||y - z||`` of each pair, and the allowance for its rounding.

    The allowance covers a relative error of ``sqrt(n) u`` an operation of ``T``, times a hundred.
    """
    images = mapping(torch.cat([first, second]))
    distance = _norms(first - second)
    moved = _norms(images[: len(first)] - images[len(first) :])
    size = _norms(first) + _norms(second) + _norms(images[: len(first)])
    rounding = 100 * torch.finfo(first.dtype).eps * (1 + size / distance)
    return moved / distance, rounding


def _pairs(mapping: Map, first: Tensor, second: Tensor) -> list[_Pair]:
    ratios, allowances = pair_ratios(mapping, first, second)
    listed = zip(first, second, ratios.tolist(), allowances.tolist(), strict=True)
    return [_Pair(y, z, r, a) for y, z, r, a in listed if math.isfinite(r)]


def _try_random(mapping: Map, base: Tensor, generator: torch.Generator) -> list[_Pair]:
    """Pairs by random perturbations of several lengths."""
    found: list[_Pair] = []
    for distance in DISTANCES:
        noise = torch.randn(base.shape, generator=generator, dtype=base.dtype)
        found += _pairs(mapping, base, base + noise * _lengths(base, noise, distance))
    return found


def _lengths(base: Tensor, direction: Tensor, distance: float) -> Tensor:
    """Factors that make each direction a share of the length of its point."""
    size = _norms(base).clamp_min(1e-6) / _norms(direction).clamp_min(1e-300)
    return distance * size.view(-1, *(1,) * (base.ndim - 1))


def _along(base: Tensor, directions: Tensor | None) -> list[Tensor]:
    """Points far out along given directions, where other units are active."""
    if directions is None:
        return []
    mean = base.mean(dim=0, keepdim=True).expand(len(directions), *base.shape[1:])
    far = directions * _lengths(mean, directions, 10.0)
    return [mean + far, mean - far]


def leading_directions(mapping: Map, points: Tensor, generator: torch.Generator) -> Tensor:
    """Leading right singular vectors of the Jacobian at each point, unit length.

    Power iteration on ``J^T J`` by forward and reverse differentiation, all points at once (the
    map treats samples one by one).
    """
    vectors = torch.randn(points.shape, generator=generator, dtype=points.dtype)
    pull_back = torch.func.vjp(mapping, points)[1]
    for _ in range(POWER_ITERATIONS):
        vectors = vectors / _norms(vectors).clamp_min(1e-300).view(-1, *(1,) * (points.ndim - 1))
        pushed = torch.func.jvp(mapping, (points,), (vectors,))[1]
        (vectors,) = pull_back(pushed)
    lengths = _norms(vectors)
    dead = lengths == 0
    if dead.any():
        vectors[dead] = torch.randn(vectors[dead].shape, generator=generator, dtype=points.dtype)
    return vectors / _norms(vectors).view(-1, *(1,) * (points.ndim - 1))


def _finite_pairs(mapping: Map, points: Tensor, directions: Tensor) -> list[_Pair]:
    """Pairs at several distances along a direction of each point, on both sides and across it."""
    found: list[_Pair] = []
    for distance in DISTANCES:
        step = directions * _lengths(points, directions, distance)
        found += _pairs(mapping, points, points + step)
        found += _pairs(mapping, points, points - step)
    return found


def _climb(mapping: Map, pairs: list[_Pair]) -> list[_Pair]:
    """Gradient ascent of the logarithm of the ratio over both points of each pair."""
    middle = torch.stack([(p.first + p.second) / 2 for p in pairs])
    half = torch.stack([(p.first - p.second) / 2 for p in pairs])
    column = (-1, *(1,) * (half.ndim - 1))
    root = math.sqrt(half[0].numel())
    arm_length = _norms(half).view(column)
    unit = _norms(middle).clamp_min(1e-6).view(column) / root
    kept: list[_Pair] = []
    with torch.enable_grad():
        # Both unknowns have entries of the order of one, as Adam expects.
        centre = torch.zeros_like(middle, requires_grad=True)
        direction = (half / arm_length * root).requires_grad_(True)
        optimizer = torch.optim.Adam([centre, direction], lr=0.05)
        for step in range(1, ASCENT_STEPS + 1):
            arm = direction / _norms(direction).view(column) * arm_length
            at = middle + centre * unit
            moved = _norms(mapping(at + arm) - mapping(at - arm))
            if step % 10 == 0:
                kept += _pairs(mapping, (at + arm).detach(), (at - arm).detach())
            optimizer.zero_grad()
            (-torch.log(moved.clamp_min(1e-300)).sum()).backward()
            optimizer.step()
    return kept
