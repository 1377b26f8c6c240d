"""Certified norms of very many random operators against norms found by other routes.

Every operator is a function of (seed, index): a coupling, stencils in one to three dimensions, a
stride, a scaling of the rows, a scale from 1e-6 to 1e6, a precision, a width of the certificate and
one of three kinds:

    normal      independent normal weights
    rank one    a product of vectors of the channels and one stencil, plus noise down to 1e-12
    planted     a supremum known in closed form, with maxima between the points of every grid

For the first two the truth is the larger of a Fourier transform with an ascent and of what the
certificate says is attained, which is checked. A certificate fails where its upper end is below the
truth, its lower end above it or not attained by the unit vectors returned with it, or its width
more than was asked for.

    python evidence/certificates.py --count 100000

keeps what was found after every chunk and goes on where an interrupted run of the same code ended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # the script is run by its path
    sys.path.insert(0, str(ROOT))

from analysis.certificates import certified_norm
from analysis.coupling import Coupling
from analysis.couplings import COUPLINGS
from benchmarks._common import commit, write_results
from tests.analysis.planted import planted_operator
from tests.analysis.references import (
    blocks_by_definition,
    norm_by_ascent,
    random_coupling,
    strided_symbol_by_sum,
)

RESULTS = Path(__file__).parent / "results"
SEED = 29
CHUNK = 100
USUAL_WIDTH, NARROW, WIDTH_3D = 1e-2, 1e-3, 5e-2
PLANTED_FROM = 10**6
"""Planted operators below this number are those of the tests."""
LINES = [(3,), (5,), (7,), (1, 5), (5, 1)]
PLANES = [(3, 3), (3, 3), (3, 3), (1, 3), (5, 3), (5, 5)]
STRICT = 1e-13
"""What the rounding of the reference may put above an upper end."""


@dataclass(frozen=True)
class Finding:
    """What came of one operator.

    Attributes:
        index: of the operator.
        width: asked for, relative.
        labels: how it is counted.
        upper, lower: the ends of the certificate over the truth.
        missed: whether the reference ended below what the certificate attains.
        faults: what is wrong; empty where nothing is.
    """

    index: int
    width: float
    labels: tuple[str, ...]
    upper: float
    lower: float
    missed: bool
    faults: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """An operator, the scaling of its rows or None, and its supremum or None, where unknown."""

    kind: str
    operator: Coupling
    scaling: np.ndarray | None
    supremum: float | None
    width: float

    def weight(self) -> np.ndarray:
        """Stencils of all blocks in float64, the scaling of the rows included."""
        weight = blocks_by_definition(self.operator)
        if self.scaling is None:
            return weight
        return np.sqrt(self.scaling).reshape(-1, *(1,) * (weight.ndim - 1)) * weight


def make_case(index: int, seed: int = SEED) -> Case:
    """The operator of an index."""
    rng = np.random.default_rng([seed, index])
    kind = ("normal", "rank one", "planted")[index % 3]
    if kind == "planted":
        operator, supremum = planted_operator(PLANTED_FROM + seed * 10**7 + index)
        return Case(kind, operator, None, supremum, USUAL_WIDTH if rng.integers(4) else NARROW)
    operator = _random_operator(list(COUPLINGS)[index // 3 % len(COUPLINGS)], rng)
    if kind == "rank one":
        operator = _near_rank_one(operator, rng)
    operator = operator.times(float(10.0 ** rng.uniform(-6, 6)))
    if rng.integers(2):
        arrays = {name: a.astype(np.float32) for name, a in operator._arrays().items()}
        operator = replace(operator, **arrays)
    scaling = None
    if rng.integers(4) == 0:
        # Gains of a batch normalisation, one of them now and then switched off.
        scaling = rng.uniform(0, 2, operator.channels_out) ** 2
        scaling[0] *= rng.integers(2) if len(scaling) > 1 else 1
    narrow = operator.dimension < 3 and rng.integers(8) == 0
    width = WIDTH_3D if operator.dimension == 3 else NARROW if narrow else USUAL_WIDTH
    return Case(kind, operator, scaling, None, width)


def _random_operator(name: str, rng: np.random.Generator) -> Coupling:
    """Normal weights in a coupling: any shape, number of channels and stride."""
    dimension = int(rng.choice([1, 2, 3], p=[0.28, 0.7, 0.02]))
    shapes = {1: LINES[:3], 2: PLANES + LINES[3:], 3: [(3, 3, 3)]}[dimension]
    shape = shapes[int(rng.integers(len(shapes)))]
    most = 6 if dimension < 3 else 3
    channels = (int(rng.integers(1, most)), int(rng.integers(1, most)))
    if name == "depthwise":
        channels = (channels[0], channels[0])
    if name == "grouped":
        channels = (2 * -(-channels[0] // 2), 2 * -(-channels[1] // 2))
    stride = int(rng.choice([1, 1, 2, 3] if dimension < 3 else [1, 2]))
    five = bool(rng.integers(2)) and name != "pointwise"
    return random_coupling(name, channels, shape, rng, stride=stride, five_point=five)


def _near_rank_one(operator: Coupling, rng: np.random.Generator) -> Coupling:
    """Products of vectors of every channel axis and one stencil in the same structure, and noise.

    The second singular value and the differences between channels then lie at any size.
    """
    noise, arrays = 10.0 ** rng.uniform(-12, 0), {}
    for name, array in operator._arrays().items():
        spatial = operator.dimension if array.ndim > operator.dimension else 0
        product = np.ones(())
        for length in array.shape[: array.ndim - spatial]:
            product = np.multiply.outer(product, rng.standard_normal(length))
        if spatial:
            stencil = rng.standard_normal(array.shape[array.ndim - spatial :])
            product = np.multiply.outer(product, stencil)
        arrays[name] = (array != 0) * product + noise * array
    return replace(operator, **arrays)


def examine(index: int, seed: int = SEED) -> Finding:
    """Certificate and truth of one operator."""
    case = make_case(index, seed)
    operator, width = case.operator, case.width
    found = certified_norm(operator, row_scaling=case.scaling, relative_width=width)
    weight = case.weight()
    symbol = strided_symbol_by_sum(weight, found.frequency, operator.stride)
    attained = float(np.real(found.left.conj() @ symbol @ found.right))
    lengths = [float(np.linalg.norm(vector)) for vector in (found.left, found.right)]
    reached = _reached(weight, operator.stride) if case.supremum is None else case.supremum
    # What is attained is a lower bound of the supremum too, and not needed where that is known.
    truth = float(reached if case.supremum is not None else max(reached, attained))
    wrong = {
        "the upper end is below the norm": found.upper < truth * (1 - STRICT),
        "the lower end is above the norm": found.lower > truth * (1 + 1e-12),
        "the lower end is not attained": abs(found.lower - attained) > 1e-12 * truth,
        "the vectors are not of unit length": not np.allclose(lengths, 1.0, rtol=1e-12),
        "the width is not met": found.upper > found.lower * (1 + width) * (1 + 1e-9),
    }
    single = next(iter(operator._arrays().values())).dtype == np.float32
    return Finding(
        index=index,
        width=width,
        labels=(
            f"kind {case.kind}",
            f"coupling {operator.name}",
            f"stencil {'x'.join(map(str, operator.kernel_shape))}",
            f"stride {operator.stride}",
            "float32" if single else "float64",
            "rows as they are" if case.scaling is None else "rows scaled",
            f"width {width:g}",
        ),
        upper=found.upper / truth if truth else 1.0,
        lower=found.lower / truth if truth else 1.0,
        missed=bool(reached < attained * (1 - 1e-6)),
        faults=tuple(fault for fault, is_wrong in wrong.items() if is_wrong),
    )


def _reached(weight: np.ndarray, stride: int) -> float:
    """Norm by a transform and ascent, whose tolerances know no units: of weights near one."""
    unit = float(np.abs(weight).max())
    return unit * norm_by_ascent(weight / unit, stride) if unit else 0.0


def _examine_chunk(task: tuple[int, int, int]) -> list[Finding]:
    start, stop, seed = task
    return [examine(index, seed) for index in range(start, stop)]


def new_tally(seed: int, code: str) -> dict[str, Any]:
    """Results of no operator; the ends are those of the certificates over the truth."""
    return {
        "commit": code,
        "seed": seed,
        "count": 0,
        "failures": [],
        "least_upper_end": None,
        "least_lower_end": None,
        "most_of_the_width": None,
        "reference_ended_below_the_attained": 0,
        "operators": {},
        "seconds": 0.0,
    }


def add(tally: dict[str, Any], findings: Iterable[Finding]) -> None:
    """Count findings; those of one tally come in the order of their indices."""
    counts = Counter(tally["operators"])
    for one in findings:
        tally["count"] += 1
        counts.update(one.labels)
        tally["reference_ended_below_the_attained"] += one.missed
        _keep_extreme(tally, "least_upper_end", one.upper, one.index, least=True)
        _keep_extreme(tally, "least_lower_end", one.lower, one.index, least=True)
        share = (one.upper - 1) / one.width
        _keep_extreme(tally, "most_of_the_width", share, one.index, least=False)
        if one.faults:
            failure = {"index": one.index, "upper": one.upper, "lower": one.lower}
            tally["failures"].append(
                failure | {"what": list(one.labels), "faults": list(one.faults)}
            )
    tally["operators"] = dict(sorted(counts.items()))


def _keep_extreme(
    tally: dict[str, Any], key: str, value: float, index: int, *, least: bool
) -> None:
    kept = tally[key]
    if kept is None or (value < kept["value"] if least else value > kept["value"]):
        tally[key] = {"value": value, "operator": index}


def earlier_tally(file: Path, seed: int, count: int) -> dict[str, Any]:
    """What an interrupted run of the same code has found, or results of no operator.

    Code that differs from its commit is not the same from one run to the next.
    """
    code = commit()
    try:
        kept = json.loads(file.read_text())
        same = kept["commit"] == code and kept["seed"] == seed and kept["count"] < count
    except (OSError, ValueError, KeyError, TypeError):
        return new_tally(seed, code)
    if not same or code == "unknown" or code.endswith("-modified"):
        return new_tally(seed, code)
    return {key: kept[key] for key in new_tally(seed, code)}


def search(count: int, seed: int, workers: int, file: Path, progress: Progress) -> dict[str, Any]:
    """Examine operators chunk by chunk and keep the tally after each."""
    tally = earlier_tally(file, seed, count)
    first = tally["count"]
    tasks = [(n, min(n + CHUNK, count), seed) for n in range(first, count, CHUNK)]
    bar = progress.add_task("operators", total=count, completed=first)
    started, before = time.perf_counter(), tally["seconds"]
    with contextlib.ExitStack() as stack:
        chunks: Iterable[list[Finding]] = map(_examine_chunk, tasks)
        if workers > 1:
            # Fresh processes: a fork of one with threads can hang.
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(context.Pool(workers))
            chunks = pool.imap(_examine_chunk, tasks)
        for findings in chunks:
            add(tally, findings)
            tally["seconds"] = before + time.perf_counter() - started
            write_results(file, tally | {"workers": workers})
            progress.update(bar, completed=tally["count"])
    return tally


def report(tally: dict[str, Any]) -> str:
    """The result in two sentences, and a line a failure."""
    least, most = tally["least_upper_end"], tally["most_of_the_width"]
    lines = [
        f"{tally['count']} operators of seed {tally['seed']}: {len(tally['failures'])} failures. "
        f"Least upper end over truth 1 + {least['value'] - 1:.2g} (operator {least['operator']}), "
        f"most of the width {most['value']:.4f} (operator {most['operator']})."
    ]
    for failure in tally["failures"]:
        lines.append(f"operator {failure['index']}: {'; '.join(failure['faults'])}")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Search, keep and report; exit 1 where a certificate fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=_positive, default=100_000, help="operators (100,000)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of all operators ({SEED})")
    parser.add_argument("--workers", type=_positive, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args(words)
    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    file = RESULTS / "certificates.json"
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tally = search(options.count, options.seed, options.workers, file, progress)
    print(report(tally))
    return 1 if tally["failures"] else 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1 or not math.isfinite(value):
        raise argparse.ArgumentTypeError("a positive whole number")
    return value


if __name__ == "__main__":
    sys.exit(main())
