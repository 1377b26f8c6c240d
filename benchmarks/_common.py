"""What the benchmarks share: interleaved timing, the machine, and the file of results.

Ratios of one run on one machine mean something; times of two runs beside each other do not.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pdenet.files import jsonable, write_atomic

Rows = list[dict[str, Any]]
RESULTS = Path(__file__).parent / "results"


def interleaved(
    work: Mapping[str, Callable[[], Any]],
    repeats: int,
    *,
    warm: int = 2,
    least: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of every candidate; rounds over all of them share the machine's moods.

    Every round begins with another candidate, so that none always runs in the wake of the same one.
    Before them come `warm` rounds in which caches, threads and page faults are paid. A turn runs a
    candidate until `least` seconds are over and counts the mean, so that what takes a millisecond
    is not timed in the caches that another has left.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    for run in tuple(work.values()) * warm:
        run()
    candidates = list(work.items())
    for turn in range(repeats):
        first = turn % len(candidates)
        for name, run in candidates[first:] + candidates[:first]:
            started, runs = clock(), 0
            while not runs or clock() - started < least:
                run()
                runs += 1
            times[name].append((clock() - started) / runs)
    return {name: statistics.median(values) for name, values in times.items()}


def thread_counts() -> list[int]:
    """One thread, and as many as NumPy or PyTorch would take where that is more."""
    found = machine()
    return sorted({1, max(found["numpy_threads"], found["torch_threads"])})


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads of NumPy, SciPy and PyTorch."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    try:
        with threadpool_limits(count):
            torch.set_num_threads(count)
            yield
    finally:
        torch.set_num_threads(before)


def cpu_clock() -> Callable[[], float]:
    """Processor time where one thread works: what other processes take does not count."""
    import torch

    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def machine() -> dict[str, Any]:
    """Processor, cores, threads, load and versions: without them a time says nothing."""
    import numpy
    import torch
    from threadpoolctl import threadpool_info

    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    pools = threadpool_info()
    blas = [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]
    cuda = torch.cuda.is_available()
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "accelerator": torch.cuda.get_device_name() if cuda else None,
        "cuda": torch.version.cuda if cuda else None,
        "torch_threads": torch.get_num_threads(),
        "numpy_threads": max(blas, default=1),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def commit() -> str:
    """Commit of the working copy, with ``-modified`` where its code differs from it."""
    folder = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        name = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--", "*.py", "pyproject.toml", "constraints.txt")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name}-modified" if changed else name


def write_results(file: Path, results: Mapping[str, Any]) -> None:
    """Results as JSON with machine and commit in front, whole or not at all."""
    found = {"machine": machine(), "commit": commit(), **results}
    write_atomic(file, json.dumps(jsonable(found), indent=2, allow_nan=False) + "\n")


def main(name: str, rows: Callable[..., Rows]) -> None:
    """Run one benchmark as a script: print its rows and keep them with the machine."""
    load = machine()["load"]
    found = rows(progress=lambda text: print(f"  {text}", flush=True))
    write_results(RESULTS / f"{name}.json", {"load_before": load, "rows": found})
    for row in found:
        print("  ".join(f"{key} {_short(value)}" for key, value in row.items()))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
