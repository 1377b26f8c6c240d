"""What searches with one process share: options, progress, the file of results, the exit status."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from benchmarks._common import write_results


def search(
    name: str,
    unit: str,
    examine: Callable[[int, int], Any],
    tally: Callable[[Iterable[Any], int], dict[str, Any]],
    report: Callable[[dict[str, Any]], str],
    *,
    seed: int,
    results: Path,
    words: Sequence[str] | None = None,
) -> int:
    """Examine cases, keep the tally and report it; 1 where a case fails.

    Args:
        name: of the file of results.
        unit: what the cases are called, in the plural.
        examine: (index, seed) to a finding.
        tally: findings and the seed to the JSON result, with a list `failures`.
        report: the result in words.
        seed: of all cases, unless --seed names another.
        results: the folder of the file.
        words: the command line, by default that of the process.
    """
    parser = argparse.ArgumentParser(description=f"Search {unit} for a failure.")
    parser.add_argument("--count", type=int, default=20_000, help=f"{unit} (20,000)")
    parser.add_argument("--seed", type=int, default=seed, help=f"of all {unit} ({seed})")
    options = parser.parse_args(words)
    if options.count < 1:
        parser.error("--count takes a positive whole number")
    console = Console(stderr=True)
    started = time.perf_counter()
    indices = track(range(options.count), unit, console=console, disable=not console.is_terminal)
    found = tally((examine(index, options.seed) for index in indices), options.seed)
    found["seconds"] = time.perf_counter() - started
    write_results(results / f"{name}.json", found)
    print(report(found))
    return 1 if found["failures"] else 0
