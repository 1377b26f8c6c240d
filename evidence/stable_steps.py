"""Largest stable steps of very many random methods and spectra against steps in 40 digits.

The cases are those of `tests/analysis/random_steps.py`: methods of the registry and random tables
(explicit, diagonally implicit, multistep, implicit-explicit) on modes of sizes from 1e-3 to 1e3,
on the axes, next to them and between. A case fails where a mode grows within the limit, or none
does 1e-6 or 1e-3 beyond it (theory §4.11).

    python evidence/stable_steps.py --count 20000
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # the script is run by its path
    sys.path.insert(0, str(ROOT))

from evidence._search import search
from tests.analysis.random_steps import KINDS, SEED, Finding, examine

RESULTS = Path(__file__).parent / "results"


def tally(findings: Iterable[Finding], seed: int) -> dict[str, Any]:
    """Count the cases by kind and by what their limit is; keep failures whole."""
    kinds = {kind: {"count": 0, "zero": 0, "infinite": 0} for kind in KINDS}
    found: dict[str, Any] = {"seed": seed, "count": 0, "failures": [], "kinds": kinds}
    for one in findings:
        found["count"] += 1
        kind = kinds[one.kind]
        kind["count"] += 1
        kind["zero"] += one.limit == 0
        kind["infinite"] += one.limit == float("inf")
        if one.faults:
            failure = {"index": one.index, "kind": one.kind, "method": one.method}
            found["failures"].append(failure | {"limit": one.limit, "faults": list(one.faults)})
    return found


def report(found: dict[str, Any]) -> str:
    """The result in a sentence, and a line a failure."""
    failures = found["failures"]
    lines = [f"{found['count']} cases of seed {found['seed']}: {len(failures)} failures."]
    for failure in failures:
        lines.append(
            f"case {failure['index']}, {failure['method']}: {'; '.join(failure['faults'])}"
        )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Examine, keep and report; exit 1 where a case fails."""
    return search(
        "stable_steps", "cases", examine, tally, report, seed=SEED, results=RESULTS, words=words
    )


if __name__ == "__main__":
    sys.exit(main())
