"""Branch and bound for the largest norm of a symbol (theory §1, 'Certified norm').

At the midpoint of a cell that holds a maximiser, the norm is at least ``least_norm`` of the maximum
(``analysis.cells``); so a cell whose midpoint stays below ``t = least_norm(T)`` holds no maximum of
``T`` or more. The test is a Cholesky factorisation of ``t^2 I - K^(w)^* K^(w)``, an eighth of the
work of the singular values; the threshold ``T`` follows the best local maximum found.

A search is a generator that asks for the tests, so that those of many layers can share one call.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.ascent import Peak, ascend
from analysis.backend import (
    Array,
    cholesky_ok,
    device,
    like,
    namespace,
    retain_freed_memory,
    take_rows,
    to_numpy,
)
from analysis.cells import Tiling, least_norm, tile
from analysis.coupling import Coupling
from analysis.gram import Gram

_FIRST_ITERATIONS, _ITERATIONS = 8, 8
_AHEAD, _MOST_PARTS = 1.2, 4
_CHUNK, _ACCELERATED_CHUNK = 2**18, 2**24
"""Complex numbers of the matrices held at a time: 1 MiB, a cache, and 256 MiB on a GPU."""


@dataclass(frozen=True, eq=False)
class Found:
    """Outcome of a search: no frequency has a norm of ``threshold`` or more, up to rounding.

    Attributes:
        peak: the largest local maximum met.
        threshold: ``(1 + relative_width)`` times its value.
        cells: number of frequencies examined.
        gram: the matrices that were tested.
        places: midpoints of the largest cells and of those not excluded at once, shape ``(n, d)``.
        estimates: of the norms there, which they reach, shape ``(n,)``.
    """

    peak: Peak
    threshold: float
    cells: int
    gram: Gram
    places: np.ndarray
    estimates: np.ndarray


Search = Generator[Array, Array, Found]
"""Yields Hermitian matrices ``(n, k, k)``, is sent the mask of the definite ones, and returns."""


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells that are not excluded yet.

    Attributes:
        centres: midpoints, shape ``(n, d)``.
        scale: share of the largest cells, shape ``(n,)``.
        estimate: of the norm at the midpoint, or at that of the cell they are part of, ``(n,)``.
        vectors: approximate leading vectors of the Gram matrices there, shape ``(n, g, k, 1)``.
    """

    centres: np.ndarray
    scale: np.ndarray
    estimate: np.ndarray
    vectors: Array

    def __len__(self) -> int:
        return len(self.centres)

    def take(self, index: np.ndarray) -> _Cells:
        """The cells of an index."""
        vectors = take_rows(self.vectors, index)
        return _Cells(self.centres[index], self.scale[index], self.estimate[index], vectors)

    def split(self, tiling: Tiling, parts: int) -> _Cells:
        """All children, ``parts`` along every edge."""
        centres, scale = tiling.split(self.centres, self.scale, parts)
        parents = np.repeat(np.arange(len(self)), parts ** len(tiling.edges))
        return _Cells(centres, scale, self.estimate[parents], take_rows(self.vectors, parents))


def search_supremum(operator: Coupling, relative_width: float) -> Search:
    """Search all frequencies.

    Args:
        operator: float64 weights near one, not all zero, of dilation 1 where the stride is 1.
        relative_width: of the interval to reach.
    """
    gram, still = operator.gram(), operator.numpy()
    tiling, room = tile(operator.radius, operator.stride), chunk_size(gram, operator.accelerated)
    cells = _first_cells(gram, tiling, room)
    best, examined = ascend(still, cells.centres[int(np.argmax(cells.estimate))]), len(cells)
    places, estimates = [cells.centres], [cells.estimate]
    threshold, oscillation = best.value * (1 + relative_width), operator.oscillation()
    # What power iterations attain already needs no test to fail.
    large = cells.estimate >= least_norm(threshold, tiling.angle, oscillation)
    rest = cells.take(np.flatnonzero(~large))
    if large.any():
        cells = _refined(cells.take(np.flatnonzero(large)), tiling, threshold, oscillation)
        cells = _joined([cells, rest]) if len(rest) else cells
    while True:
        examined += len(cells)
        # The most promising first, so that the threshold rises early.
        cells = cells.take(np.argsort(-cells.estimate, kind="stable"))
        left = []
        for part in chunks(len(cells), room):
            here = cells.take(part)
            threshold = best.value * (1 + relative_width)
            tested = least_norm(threshold, tiling.angle * here.scale, oscillation)
            matrices = gram.at(here.centres, -1.0)
            mask = to_numpy((yield _shifted(matrices, tested)))
            kept = np.flatnonzero(~mask.reshape(matrices.shape[:2]).all(axis=1))
            if not len(kept):
                continue
            norms, vectors = _power(
                take_rows(matrices, kept), take_rows(here.vectors, kept), _ITERATIONS
            )
            # A midpoint that is not below what was tested has at least that norm.
            norms = np.maximum(norms, tested[kept])
            top = int(np.argmax(norms))
            if norms[top] > best.value * (1 + 0.1 * relative_width):
                found = ascend(still, here.centres[kept[top]])
                best = max(best, found, key=lambda peak: peak.value)
            left.append(_Cells(here.centres[kept], here.scale[kept], norms, vectors))
            places.append(left[-1].centres)
            estimates.append(norms)
        threshold = best.value * (1 + relative_width)
        if not left:
            break
        cells = _refined(_joined(left), tiling, threshold, oscillation)
    every = np.concatenate(places), np.concatenate(estimates)
    return Found(best, best.value * (1 + relative_width), examined, gram, *every)


def _refined(cells: _Cells, tiling: Tiling, threshold: float, oscillation: float) -> _Cells:
    """Cells split so far that, where the norm is what it is at their midpoints, they pass next."""
    fall = (threshold - cells.estimate) / min(oscillation, threshold)
    needed = np.arccos(np.clip(1 - fall, 0.0, 1.0))
    ratio = tiling.angle * cells.scale / np.maximum(needed, 1e-9)
    parts = np.clip(np.ceil(_AHEAD * ratio), 2, _MOST_PARTS)
    some = [cells.take(np.flatnonzero(parts == n)).split(tiling, int(n)) for n in np.unique(parts)]
    return _joined(some)


def _first_cells(gram: Gram, tiling: Tiling, room: int) -> _Cells:
    """The largest cells with estimates by power iterations from a fixed start."""
    count, parts = len(tiling.centres), []
    rng = np.random.default_rng(0)
    start = rng.standard_normal((gram.size, 1)) + 1j * rng.standard_normal((gram.size, 1))
    for part in chunks(count, room):
        matrices, centres = gram.at(tiling.centres[part]), tiling.centres[part]
        vectors = like(start, matrices, complex_=True)
        norms, vectors = _power(matrices, vectors, _FIRST_ITERATIONS)
        parts.append(_Cells(centres, np.ones(len(centres)), norms, vectors))
    return _joined(parts)


def _joined(parts: Sequence[_Cells]) -> _Cells:
    centres, scale, estimate = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("centres", "scale", "estimate")
    )
    vectors = namespace(parts[0].vectors).concat([part.vectors for part in parts])
    return _Cells(centres, scale, estimate, vectors)


def _shifted(negatives: Array, norms: np.ndarray) -> Array:
    """``norms^2 I - G`` from ``-G`` of shape ``(n, g, k, k)``, new, shape ``(n g, k, k)``."""
    count, groups, size = (int(n) for n in negatives.shape[:3])
    xp = namespace(negatives)
    shifted, diagonal = xp.asarray(negatives, copy=True), xp.arange(size, device=device(negatives))
    shifted[:, :, diagonal, diagonal] += like(norms**2, negatives)[:, None, None]
    return xp.reshape(shifted, (count * groups, size, size))


def definite(negatives: Array, norms: np.ndarray) -> np.ndarray:
    """Mask of the frequencies with ``-G``, ``(n, g, k, k)``, proven to be below norms ``(n,)``."""
    mask = cholesky_ok(_shifted(negatives, norms))
    return np.asarray(to_numpy(mask).reshape(negatives.shape[:2]).all(axis=1))


def _power(matrices: Array, vectors: Array, iterations: int) -> tuple[np.ndarray, Array]:
    """Norms of symbols as far as power iterations on their Gram matrices attain them, and vectors.

    Args:
        matrices: shape ``(n, g, k, k)``.
        vectors: to start from, broadcast against ``(n, g, k, 1)``.
        iterations: products with the matrices.

    Returns:
        The largest norm of every frequency, from below, ``(n,)``, and unit vectors.
    """
    xp = namespace(matrices)
    if matrices.shape[-1] == 1:
        norms = xp.sqrt(xp.max(xp.abs(matrices), axis=(1, 2, 3)))
        return to_numpy(norms), xp.ones_like(matrices)
    for _ in range(iterations):
        vectors = matrices @ vectors
        lengths = xp.linalg.vector_norm(vectors, axis=(-2, -1), keepdims=True)
        vectors = vectors / xp.where(lengths > 0, lengths, xp.ones_like(lengths))
    # Of a vector v, ||G v|| / ||v||: v was of unit length before the last product.
    return np.sqrt(to_numpy(xp.max(lengths, axis=(1, 2, 3)))), vectors


def chunk_size(gram: Gram, accelerated: bool) -> int:
    """Frequencies whose matrices fit a small memory; on a GPU a larger one."""
    numbers = gram.groups * gram.size**2
    # Below eight frequencies the assembly of large matrices is bound by memory.
    return max(8, (_ACCELERATED_CHUNK if accelerated else _CHUNK) // numbers)


def chunks(count: int, size: int) -> Iterator[np.ndarray]:
    """Indices of so many frequencies in parts of a size."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def finish(search: Search) -> Found:
    """Run one search to its end."""
    retain_freed_memory()
    try:
        question = next(search)
        while True:
            question = search.send(cholesky_ok(question))
    except StopIteration as ended:
        return ended.value


def finish_together(searches: Sequence[Search]) -> list[Found]:
    """Run searches in step; matrices of one size and device are factorised in one call.

    Worth while where a call is dear and large batches are cheap, as on a GPU.
    """
    results: dict[int, Found] = {}
    answers: dict[int, Array | None] = dict.fromkeys(range(len(searches)))
    while answers:
        questions: dict[int, Array] = {}
        for number, answer in answers.items():
            try:
                questions[number] = searches[number].send(answer)
            except StopIteration as ended:
                results[number] = ended.value
        alike: dict[object, list[int]] = {}
        for number, question in questions.items():
            key = (question.shape[-1], question.dtype, str(device(question)))
            alike.setdefault(key, []).append(number)
        answers = {}
        for numbers in alike.values():
            xp = namespace(questions[numbers[0]])
            mask, start = cholesky_ok(xp.concat([questions[n] for n in numbers])), 0
            for n in numbers:
                stop = start + len(questions[n])
                answers[n] = mask[start:stop]
                start = stop
    return [results[number] for number in range(len(searches))]
