"""What the benchmarks share: interleaved timing, the machine, and the file of results."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]
RESULTS = Path(__file__).parent / "results"


def interleaved(work: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of every candidate; rounds over all of them share the machine's moods."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for run in work.values():
        run()  # caches, threads and page faults are paid outside of the measurement
    for _ in range(repeats):
        for name, run in work.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def machine() -> dict[str, Any]:
    """Processor, cores, threads and versions: without them a time says nothing."""
    import numpy
    import torch

    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def main(name: str, rows: Callable[..., Rows]) -> None:
    """Run one benchmark as a script: print its rows and keep them with the machine."""
    found = rows(progress=lambda text: print(f"  {text}", flush=True))
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), "rows": found}, indent=2) + "\n"
    (RESULTS / f"{name}.json").write_text(text)
    for row in found:
        print("  ".join(f"{key} {_short(value)}" for key, value in row.items()))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
