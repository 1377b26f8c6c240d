"""Singular values and certified norms beside other ways, on the same weights in one run.

The peers (`_peers`): the transform of the dense weight with a decomposition of every frequency
(FFT+SVD, Sedghi, Gupta & Long 2019), in double precision, also for half of the frequencies as we
do; Gram iteration (Delattre et al. 2023); power iteration through the convolution (Yoshida & Miyato
2017) until it grows by less than 1e-4 in a step; `spectral_norm` of PyTorch, the norm of a reshaped
matrix; SciPy's `svds` of the matrix-free operator.

`times_faster` is the peer's time over ours, medians of interleaved rounds, on one thread of
processor time, which other processes disturb less. `timed_share` below one: the peer decomposed
that share of the frequencies and is scaled to all. Errors are relative to the norm. A norm of one
image size is no bound for another; `certified_norm` bounds the norm for every image size and
boundary without extension. Trained layers come from small networks on the digits that are trained
on the spot.

`python benchmarks/spectra.py --full` adds the long rows: more channels, ARPACK on large images.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from _common import Rows, main, thread_counts, threads
from _spectra_norms import certified_rows, estimate_rows, memory_rows
from _spectra_values import (
    cost_rows,
    distribution_rows,
    full_rows,
    full_weight,
    structured_rows,
)
from _training_run import BLOCKS, train_layers

Progress = Callable[[str], Any]
Job = tuple[str, Callable[[], Rows]]


def rows(
    *, quick: bool = False, full: bool = False, progress: Progress = lambda text: None
) -> Rows:
    """Rows with a `section`; within one all have the same keys."""
    found: Rows = []
    for count in thread_counts()[: 1 if quick else None]:
        with threads(count):
            jobs = _quick() if quick else _usual(full) if count == 1 else _on_all_threads()
            for name, job in jobs:
                progress(f"{name}, {count} thread{'s' if count > 1 else ''}")
                found += [row | {"threads": count, "device": "cpu"} for row in job()]
    if torch.cuda.is_available():
        for name, job in _accelerated(quick):
            progress(f"{name}, CUDA")
            found += [row | {"threads": 1, "device": "cuda"} for row in job()]
    order = list(dict.fromkeys(row["section"] for row in found))
    return sorted(found, key=lambda row: order.index(row["section"]))


def _quick() -> Iterator[Job]:
    """Everything once, small."""
    runs = [train_layers(block, 8, 1) for block in BLOCKS]
    layers = {run.block: run.layers[:2] for run in runs} | {"random 8": [full_weight(8)]}
    yield "all values", partial(full_rows, 8, 8, 2, 64)
    yield "structured couplings", partial(structured_rows, 8, 8, 2)
    yield "certified norms", partial(certified_rows, layers, 8, 2, count=64)
    yield "memory", partial(memory_rows, [("norm", 8, 8), ("values", 8, 8)])
    for run in runs:
        yield f"norms in training, {run.block}", partial(estimate_rows, run, 8, 4)
    yield "distribution", partial(distribution_rows, 8, 16, 2, 64)
    yield "cost", partial(cost_rows, (4, 8), (4, 8), 2)


def _usual(full: bool) -> Iterator[Job]:
    for channels in (16, 32, 64):
        yield f"all values, {channels} channels", partial(full_rows, channels, 32, 5, 1024)
    yield "all values, 128 channels", partial(full_rows, 128, 32, 3, 1024 if full else 256)
    if full:
        yield "all values, 256 channels", partial(full_rows, 256, 32, 2, 64)
        yield "all values, 512 channels", partial(full_rows, 512, 32, 1, 16)
    yield "structured couplings", partial(structured_rows, 64, 32, 5)
    yield "training", list  # said before it begins
    runs = [train_layers(block, 64, 20) for block in BLOCKS]
    layers = {run.block: run.layers if full else run.layers[:2] for run in runs}
    layers |= {f"random {c}": [full_weight(c)] for c in (64, 128)}
    yield "certified norms, n = 32", partial(certified_rows, layers, 32, 3, count=256)
    some = {name: layers[name][:1] for name in (*BLOCKS, "random 64")}
    large = partial(certified_rows, some, 112, 1, count=256, warm=0, slow=full)
    yield "certified norms, n = 112", large
    sizes = [("norm", 64, 32), ("values", 64, 32), ("norm", 128, 32)]
    yield "memory", partial(memory_rows, sizes + ([("values", 512, 64)] if full else []))
    for run in runs:
        yield f"norms in training, {run.block}", partial(estimate_rows, run, 32, 8)
    yield "distribution", partial(distribution_rows, 64, 224, 3, 256)
    yield "cost", partial(cost_rows, (16, 32, 64, 128), (16, 32, 64), 3)


def _on_all_threads() -> Iterator[Job]:
    """What threads may change."""
    yield "all values, 64 channels", partial(full_rows, 64, 32, 5, 1024)
    yield "structured couplings", partial(structured_rows, 64, 32, 5)
    layers = {f"random {c}": [full_weight(c)] for c in (64, 128)}
    yield "certified norms", partial(certified_rows, layers, 32, 3, count=256)


def _accelerated(quick: bool) -> Iterator[Job]:
    """On CUDA, peers too."""
    channels, side = (8, 8) if quick else (64, 32)
    layers = {f"random {channels}": [full_weight(channels)]}
    yield "all values", partial(full_rows, channels, side, 5, side**2, "cuda")
    yield "structured couplings", partial(structured_rows, channels, side, 5, "cuda")
    yield "certified norms", partial(certified_rows, layers, side, 5, count=side**2, device="cuda")


if __name__ == "__main__":
    main("spectra", partial(rows, full="--full" in sys.argv[1:]))
