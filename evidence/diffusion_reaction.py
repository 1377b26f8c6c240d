"""Certified growth of very many random diffusion-reaction blocks against what their steps do.

The blocks are those of `tests/analysis/random_blocks.py`: channels of a pixel, stencils on a line,
reactions apart from the diffusion and reactions that push a mode the diffusion reverses, with gains
and slopes of several sizes, inside the limit of the diffusion, on it and beyond it. A block fails
where an explicit Euler step grows by more than `diffusion_reaction_growth` certifies (theory
§4.10b), where it expands just below the stacked limit, or does not just beyond it (§4.10a).

    python evidence/diffusion_reaction.py --count 20000
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
from tests.analysis.random_blocks import BELOW, BEYOND, KINDS, SEED, Finding, examine

RESULTS = Path(__file__).parent / "results"


def tally(findings: Iterable[Finding], seed: int) -> dict[str, Any]:
    """Count findings: failures whole, of the others what is nearest to failure."""
    kinds = {
        kind: {"count": 0, "most_of_the_certified_growth": 0.0, "attained": 0} for kind in KINDS
    }
    found: dict[str, Any] = {
        "seed": seed,
        "count": 0,
        "failures": [],
        "beyond_the_limit_of_the_diffusion": 0,
        f"largest_growth_at_{BELOW}_of_the_stacked_limit": 0.0,
        f"least_growth_of_full_slopes_at_{BEYOND}": float("inf"),
        "kinds": kinds,
    }
    for one in findings:
        found["count"] += 1
        found["beyond_the_limit_of_the_diffusion"] += one.diffusive > 2
        key = f"largest_growth_at_{BELOW}_of_the_stacked_limit"
        found[key] = max(found[key], one.below)
        key = f"least_growth_of_full_slopes_at_{BEYOND}"
        found[key] = min(found[key], one.beyond)
        kind = kinds[one.kind]
        kind["count"] += 1
        kind["attained"] += one.plain > 1 - 1e-9
        most = max(kind["most_of_the_certified_growth"], one.plain)
        kind["most_of_the_certified_growth"] = most
        if one.faults:
            failure = {"index": one.index, "kind": one.kind, "faults": list(one.faults)}
            found["failures"].append(failure | {"growth_over_certified": one.plain})
    return found


def report(found: dict[str, Any]) -> str:
    """The result in a sentence, and a line a failure."""
    most = ", ".join(
        f"{name} {kind['most_of_the_certified_growth']:.4f}"
        for name, kind in found["kinds"].items()
    )
    lines = [
        f"{found['count']} blocks of seed {found['seed']}: {len(found['failures'])} failures. "
        f"Largest growth over what is certified: {most}."
    ]
    for failure in found["failures"]:
        lines.append(f"block {failure['index']}: {'; '.join(failure['faults'])}")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Examine, keep and report; exit 1 where a case fails."""
    return search(
        "diffusion_reaction",
        "blocks",
        examine,
        tally,
        report,
        seed=SEED,
        results=RESULTS,
        words=words,
    )


if __name__ == "__main__":
    sys.exit(main())
