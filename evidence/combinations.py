"""Every combination of right-hand side, coupling and method, and a pairwise cover as graphs.

All combinations that a network accepts (`tests/pdenet/combinations.py`), with circular padding and
one other each: derivatives forward and reverse, their Taylor remainder and difference quotient,
configuration and state dict there and back, translations. Every coupling with every method: the
observed order. Every three of field, kind of methods and padding: exported. The cover, in which
every two of thirteen choices meet: compiled without breaks, exported, in bfloat16, as an ONNX file
or refused with the reason.

    python evidence/combinations.py --count 40
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # the script is run by its path
    sys.path.insert(0, str(ROOT))

import torch
from rich.console import Console
from rich.progress import track

from benchmarks._common import write_results
from pdenet.network_config import NetworkConfig
from tests.pdenet.combination_checks import (
    derivative_faults,
    order_faults,
    round_trip_faults,
    translation_defect,
)
from tests.pdenet.combinations import (
    PADDINGS,
    SEED,
    SIZE,
    by_coupling_and_method,
    by_field_kind_and_padding,
    every_combination,
    label,
    network,
    pairwise_cover,
)
from tests.pdenet.graph_checks import (
    autocast_faults,
    compile_faults,
    export_faults,
    has_iteration,
    onnx_faults,
)

RESULTS = Path(__file__).parent / "results"
Case = tuple[str, str, Callable[[], list[str]]]
"""Part of the search, what is examined, and how."""


def translation_faults(config: NetworkConfig) -> list[str]:
    """A sentence where a translation does not go through a periodic block."""
    defect = translation_defect(network(config))
    return [] if defect < 1e-12 else [f"a translation is lost by {defect:.1e}"]


def cases(folder: Path) -> Iterator[Case]:
    """All of them; those of a kind one after the other."""
    edges = [padding for padding in PADDINGS if padding != "circular"]
    for index, config in enumerate(every_combination()):
        name = label(config)
        yield "derivatives", name, lambda c=config: derivative_faults(c)
        yield "round trips", name, lambda c=config: round_trip_faults(c)
        yield "translations", name, lambda c=config: translation_faults(c)
        edged = replace(config, padding_mode=edges[index % len(edges)])
        yield "derivatives at edges", label(edged), lambda c=edged: derivative_faults(c)
    for config in by_coupling_and_method():
        yield "observed orders", label(config), lambda c=config: order_faults(c)
    for config in by_field_kind_and_padding():
        yield "exported by kind", label(config), lambda c=config: export_faults(c, SIZE)
    for config, size in pairwise_cover()[0]:
        name = f"{label(config)}, {size[0]} x {size[1]}"
        yield "compiled", name, lambda c=config, s=size: compile_faults(c, s)
        yield "exported", name, lambda c=config, s=size: export_faults(c, s)
        yield "autocast", name, lambda c=config, s=size: autocast_faults(c, s)
        part = "refused by ONNX" if has_iteration(config) else "ONNX"
        yield part, name, lambda c=config, s=size: onnx_faults(c, s, folder)


def tally(chosen: Iterable[Case], say: Callable[[str], Any]) -> dict[str, Any]:
    """Cases and processor seconds by part; failures whole, and said when they are found."""
    parts: dict[str, dict[str, float]] = {}
    failures = []
    for part, name, examine in chosen:
        started = time.process_time()
        try:
            faults = examine()
        except Exception as error:  # a case that raises has failed; the others go on
            faults = [f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"]
        found = parts.setdefault(part, {"count": 0, "failures": 0, "seconds": 0.0})
        found["count"] += 1
        found["failures"] += bool(faults)
        found["seconds"] += time.process_time() - started
        if faults:
            failures.append({"part": part, "network": name, "faults": faults})
            say(f"{part}, {name}: {faults}")
    return {
        "seed": SEED,
        "combinations": len(every_combination()),
        "cover": len(pairwise_cover()[0]),
        "parts": parts,
        "failures": failures,
    }


def report(found: dict[str, Any]) -> str:
    """The result in a line a part."""
    lines = [f"{found['combinations']} combinations, {found['cover']} networks of the cover"]
    for part, one in found["parts"].items():
        lines.append(f"{part}: {one['count']} cases, {one['failures']} failures")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Examine, keep and report; exit 1 where a case fails."""
    parser = argparse.ArgumentParser(description="Examine every combination of a network.")
    parser.add_argument("--count", type=int, help="cases, spread over all (all)")
    options = parser.parse_args(words)
    if options.count is not None and options.count < 1:
        parser.error("--count takes a positive whole number")
    torch.set_num_threads(1)
    console = Console(stderr=True)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        every = list(cases(Path(folder)))
        # An odd stride meets all parts, which come four at a time.
        chosen = every[:: 1 if options.count is None else len(every) // options.count | 1]
        shown = track(chosen, "networks", console=console, disable=not console.is_terminal)
        found = tally(shown, console.print)
    found["seconds"] = time.perf_counter() - started
    write_results(RESULTS / "combinations.json", found)
    print(report(found))
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
