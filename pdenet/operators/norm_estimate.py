"""A differentiable estimate of an operator norm, from below, for every training step (theory §1).

The norm is the largest value of ``p(w) = Re u* K^(w) v`` over frequencies and unit vectors. A few
local maxima are followed while the weights move; a patrol looks at some of the other frequencies in
every step, and a search of all of them now and then says whether a leader was lost. An estimate is
no bound: the constraint and the grade *proved* rest on ``pdenet.operators.norm.NormBound``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from analysis.ascent import Peak, expand, peak_at, step_from
from analysis.backend import like
from analysis.cells import tile
from analysis.certificates import scaled_double
from analysis.coupling import Coupling
from analysis.search import finish, search_supremum

LOST = 1e-4
"""Share of the norm by which a search must exceed what was followed to count as a lost leader."""

_MOST_STEPS = 4
_ROUNDS = 4
"""Steps in which the patrol has seen all cells."""
_NOISE, _PATROL_ITERATIONS = 0.5, 6
_LIVELY = 1e-2
"""Relative change of the weights in a step from which the patrol sees all cells in each."""
_NEAR, _PROMISING = 0.03, 0.1
"""Shares of the norm below it: of a follower that is decomposed, of a cell that is climbed from."""
_APART, _MET = 0.4, 0.05
"""Angles ``m.|t|``: least between a new place and the others, and of two that are one."""


@dataclass(frozen=True, eq=False)
class _Places:
    """Frequencies and vectors where the norm is large; the arrays are changed in place.

    Attributes:
        frequencies: shape ``(m, d)``, radians a pixel.
        groups: the diagonal block of the symbol, shape ``(m,)``.
        vectors: unit right vectors ``v`` of the block, complex, shape ``(m, columns)``.
        images: ``K^(w) v``, shape ``(m, rows)``.
        norms: ``||K^(w) v||``, shape ``(m,)``.
    """

    frequencies: np.ndarray
    groups: np.ndarray
    vectors: np.ndarray
    images: np.ndarray
    norms: np.ndarray

    @classmethod
    def of(cls, peaks: list[Peak]) -> _Places:
        """Local maxima as places."""
        rows = [(p.frequency, p.group, p.right, p.value * p.left, p.value) for p in peaks]
        return cls(*map(np.array, zip(*rows, strict=True)))

    def put(self, n: int, peak: Peak) -> None:
        """Replace one place."""
        self.frequencies[n], self.groups[n] = peak.frequency, peak.group
        self.vectors[n], self.norms[n] = peak.right, peak.value
        self.images[n] = peak.value * peak.left

    def ordered(self) -> _Places:
        """The largest norm first."""
        order = np.argsort(-self.norms, kind="stable")
        return _Places(*(getattr(self, f.name)[order] for f in fields(self)))


class NormEstimate:
    """Follows ``sup_w ||K^(w)||`` from below while weights are trained.

    Called with the coupling of an operator it returns the estimate as a tensor, whose gradient is
    that of the norm, ``d||K|| / dK_p = Re(conj(u) v^T exp(i p.w))`` at the leading frequency and
    singular vectors, and moves what it follows along. The cost of a step does not depend on the
    image size.

    Args:
        places: how many local maxima are followed.
        longest: most steps between two searches of all frequencies; every one that finds nothing
            new doubles the interval, and one that finds a lost leader halves it.

    Attributes:
        lost: how many searches found a norm that exceeds all those followed by more than ``LOST``:
            a leader had come up unseen.

    >>> from analysis.couplings import Depthwise
    >>> stencil = torch.tensor([[1.0, -2.0, 1.0]], dtype=torch.float64, requires_grad=True)
    >>> value = NormEstimate()(Depthwise(stencil))
    >>> value.backward()
    >>> round(float(value.detach()), 9), stencil.grad.round(decimals=6).tolist()
    (4.0, [[1.0, -1.0, 1.0]])
    """

    def __init__(self, *, places: int = 4, longest: int = 128) -> None:
        self.lost = 0
        self._count, self._longest = places, longest
        self._interval, self._turn, self._due = 1, 0, 0
        self._followed: _Places | None = None
        self._patrol: _Patrol | None = None
        self._weights: dict[str, np.ndarray] = {}

    def __call__(self, coupling: Coupling) -> Tensor:
        """The estimate at these weights, a scalar tensor of their precision and device."""
        with torch.no_grad():
            still = coupling.numpy()
            places = self._follow(still)
        frequency, group, right = places.frequencies[0], int(places.groups[0]), places.vectors[0]
        left = places.images[0] / max(float(places.norms[0]), 1e-30)
        gradients = still.form_gradients(frequency, group, left, right)
        if gradients is None:
            block = coupling.symbol_at(frequency[None, :]).blocks()[0, group]
            u, v = (like(vector, block, complex_=True) for vector in (left, right))
            return torch.vdot(u, block @ v).real
        # The form is linear in the weights: a product with its own derivative.
        arrays = ((getattr(coupling, name), gradient) for name, gradient in gradients.items())
        terms = [(array * torch.as_tensor(g).to(array)).sum() for array, g in arrays]
        return terms[0] if len(terms) == 1 else torch.stack(terms).sum()

    def _follow(self, still: Coupling) -> _Places:
        """Places at these weights, the leader first."""
        self._turn += 1
        places = None if self._followed is None else self._step(still, self._followed)
        if places is None or self._turn >= self._due:
            found = _search(still, self._count)
            lost = places is not None and bool(found.norms[0] > places.norms[0] * (1 + LOST))
            self.lost += lost
            self._interval = max(self._interval // 2, 1) if lost else 2 * self._interval
            self._due = self._turn + min(self._interval, self._longest)
            places = found
            self._weights = {n: a.copy() for n, a in still.weights_by_name().items()}
        self._followed = places
        return places

    def _step(self, still: Coupling, places: _Places) -> _Places:
        """The places after a small change of the weights."""
        _iterate(still, places)
        places = places.ordered()
        # The leader is decomposed in every step and climbs in every second, when others rest.
        near = int(np.sum(places.norms >= places.norms[0] * (1 - _NEAR)))
        if self._turn % 2:
            places.put(0, peak_at(still, places.frequencies[0]))
            if near > 1:
                _climb(still, places, 1 + self._turn // 2 % (near - 1))
        else:
            _climb(still, places, 0)
        self._look_around(still, places)
        return places.ordered()

    def _look_around(self, still: Coupling, places: _Places) -> None:
        """Look at a part of all cells; a promising one takes the place of the weakest."""
        if self._patrol is None:
            self._patrol = _Patrol.of(still)
        weights = still.weights_by_name()
        lively = _relative_change(self._weights, weights) > _LIVELY
        self._weights = {name: array.copy() for name, array in weights.items()}
        rounds = 1 if lively else _ROUNDS
        frequencies, norms = self._patrol.visit(still, self._turn, rounds)
        # Of two that have met on one maximum the weaker is free.
        for n in range(1, len(places.norms)):
            if _nearest(places.frequencies[:n], places.frequencies[n], still) < _MET:
                places.norms[n] = 0.0
        weakest = int(np.argmin(places.norms))
        least = max(places.norms[weakest], places.norms[0] * (1 - _PROMISING))
        for n in map(int, np.argsort(-norms)):
            if norms[n] <= least:
                break
            near = _nearest(places.frequencies, frequencies[n], still) < _APART
            if not near or norms[n] > places.norms[0]:
                places.frequencies[weakest] = frequencies[n]
                _climb(still, places, weakest)
                break


@dataclass(frozen=True, eq=False)
class _Patrol:
    """Cells that cover the frequencies, a part of them visited in every step.

    Attributes:
        centres: of the cells, shape ``(n, d)``.
        vectors: right vectors of all blocks there, complex, shape ``(n, g, columns)``.
        rng: of what is added to the vectors, which are nearly orthogonal to a new leader.
    """

    centres: np.ndarray
    vectors: np.ndarray
    rng: np.random.Generator

    @classmethod
    def of(cls, still: Coupling) -> _Patrol:
        """All cells with random vectors."""
        centres = tile(still.radius, still.stride, 2).centres
        _, groups, _, columns = still.symbol_at(centres[:1]).blocks().shape
        rng = np.random.default_rng(0)
        return cls(centres, _random((len(centres), groups, columns), rng), rng)

    def visit(self, still: Coupling, turn: int, rounds: int) -> tuple[np.ndarray, np.ndarray]:
        """Power iterations at the cells whose turn it is: frequencies and the largest norms."""
        # Scalars are as cheap everywhere as at a few places.
        rounds = rounds if self.vectors.shape[-1] > 1 else 1
        part = np.arange(turn % rounds, len(self.centres), rounds)
        blocks = still.symbol_at(self.centres[part]).blocks()
        vectors = self.vectors[part] + _NOISE * _random(self.vectors[part].shape, self.rng)
        vectors = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(blocks.dtype)
        self.vectors[part], images = _power(blocks, vectors, _PATROL_ITERATIONS)
        return self.centres[part], np.linalg.norm(images, axis=-1).max(axis=1)


def _random(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Random unit vectors."""
    vectors = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _relative_change(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> float:
    """Euclidean length of a change of weights over that of the weights."""
    squares = [
        (float(np.linalg.norm(array - before[name]) ** 2), float(np.linalg.norm(array) ** 2))
        for name, array in after.items()
    ]
    changed, whole = np.sum(squares, axis=0)
    return float(np.sqrt(changed / max(whole, 1e-300)))


def _climb(still: Coupling, places: _Places, n: int) -> None:
    """Newton steps in the frequency at one place, more than one only where they gain much."""
    for _ in range(_MOST_STEPS):
        here = expand(still, places.frequencies[n])
        places.put(n, here.peak)
        before = places.norms[n]
        for share in (1.0, 0.25):  # the whole step may be too far for a quadratic model
            found = step_from(still, here, share)
            if found.value > before:
                places.put(n, found)
                break
        if places.norms[n] < before * (1 + LOST / 4):
            break


def _search(still: Coupling, count: int) -> _Places:
    """The largest norm over all frequencies, and other large ones at an angle from it."""
    if still.largest_weight() == 0:
        return _Places.of([peak_at(still, np.zeros(still.dimension))] * count)
    found = finish(search_supremum(scaled_double(still, None)[0], LOST))
    chosen = found.peak.frequency[None, :]
    for n in np.argsort(-found.estimates, kind="stable"):
        if len(chosen) < count and _nearest(chosen, found.places[n], still) > _APART:
            chosen = np.concatenate([chosen, found.places[[n]]])
    # As many as are followed, so that others can take their place.
    chosen = chosen[np.minimum(np.arange(count), len(chosen) - 1)]
    return _Places.of([peak_at(still, frequency) for frequency in chosen]).ordered()


def _nearest(frequencies: np.ndarray, frequency: np.ndarray, still: Coupling) -> float:
    """Least angle from a frequency to any of some others or their mirror images."""
    period = 2 * np.pi / still.stride
    away = np.stack([frequencies - frequency, frequencies + frequency])
    angles = np.abs((away + period / 2) % period - period / 2) @ np.array(still.radius)
    return float(angles.min())


def _iterate(still: Coupling, places: _Places) -> None:
    """Power iterations at all places."""
    rows = np.arange(len(places.norms))
    blocks = still.symbol_at(places.frequencies).blocks()[rows, places.groups]
    vectors, images = _power(blocks[:, None], places.vectors[:, None], 2)
    places.vectors[...], places.images[...] = vectors[:, 0], images[:, 0]
    places.norms[...] = np.linalg.norm(images[:, 0], axis=-1)


def _power(
    blocks: np.ndarray, vectors: np.ndarray, iterations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Power iterations on ``K^* K``.

    Args:
        blocks: shape ``(n, g, rows, columns)``.
        vectors: unit right vectors, shape ``(n, g, columns)``.
        iterations: how many.

    Returns:
        The unit vectors ``v`` and their images ``K v``, shape ``(n, g, rows)``.
    """
    for _ in range(iterations if vectors.shape[-1] > 1 else 0):
        images = (blocks @ vectors[..., None])[..., 0]
        # K^* u as the conjugate of u^* K: no adjoint of all blocks is written.
        moved = np.conj(np.conj(images)[..., None, :] @ blocks)[..., 0, :]
        lengths = np.linalg.norm(moved, axis=-1, keepdims=True)
        vectors = np.where(lengths > 0, moved / np.maximum(lengths, 1e-30), vectors)
    return vectors, (blocks @ vectors[..., None])[..., 0]
