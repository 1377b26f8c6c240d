"""The advice of `pdenet stability --advise T`: which methods reach a time most cheaply."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from analysis.errors import InputError
from pdenet.cli.common import Output, check_name, new_table, number, positive

if TYPE_CHECKING:
    from pdenet.cli.stability_fields import Field

CLAIMS = {"linear": "linear", "proved": "non-expansive"}
"""Names on the command line of what a plan claims."""
ACCURACY = 0.01
SOLVE_COST = 10.0
"""Applications that one implicit solve counts for: a few steps of a preconditioned iteration."""


@dataclass(frozen=True)
class Wanted:
    """What the advice is asked for: the time, the largest error, the budget and the claim."""

    time: float
    accuracy: float
    budget: float | None
    claim: str

    @classmethod
    def of(
        cls,
        time: float | None,
        accuracy: float | None,
        budget: float | None,
        claim: str | None,
    ) -> Wanted | None:
        """The options, refused where they do not fit; None without --advise."""
        positive("--advise", time)
        positive("--accuracy", accuracy)
        positive("--budget", budget)
        if claim is not None:
            check_name("claim", claim, CLAIMS)
        if time is None:
            beside = {"--accuracy": accuracy, "--budget": budget, "--claim": claim}
            given = [name for name, value in beside.items() if value is not None]
            if given:
                raise InputError(f"--advise T beside {given[0]}", "no time", "pass --advise 10")
            return None
        return cls(time, ACCURACY if accuracy is None else accuracy, budget, claim or "linear")


def advise(wanted: Wanted, fields: list[Field]) -> list[dict[str, Any]]:
    """Plans that suit all fields, the cheapest first, as the JSON document lists them."""
    import numpy as np

    from analysis.adviser import plans
    from analysis.clouds import Pairs

    if any(item.transient for item in fields):
        raise InputError(
            "a field whose eigenvalues tell its growth, for --advise",
            "advection beside a boundary, which is not normal",
            "take a periodic boundary, or judge steps one by one with --method and --step",
        )
    values = np.concatenate([item.eigenvalues for item in fields])
    pairs = fields[0].pairs
    options = {
        "time": wanted.time,
        "accuracy": wanted.accuracy,
        "budget": wanted.budget,
        "claim": CLAIMS[wanted.claim],
        "solve_cost": SOLVE_COST,
    }
    found = plans(values, **options)  # type: ignore[arg-type]
    if pairs is not None and wanted.claim == "linear":
        both = Pairs(pairs[:, 0], pairs[:, 1])
        found += plans(both, **options)  # type: ignore[arg-type]
    found.sort(key=lambda plan: (plan.cost(SOLVE_COST), -plan.order))
    return [asdict(plan) | {"cost": plan.cost(SOLVE_COST)} for plan in found]


def show_plans(output: Output, wanted: Wanted, plans: list[dict[str, Any]], title: str) -> None:
    """The plans as a table."""
    from rich.text import Text

    claim = "no mode grows" if wanted.claim == "linear" else "proved: distances never grow"
    budget = "" if wanted.budget is None else f", cost at most {number(wanted.budget)}"
    output.console.print(
        Text.assemble(
            (f"to time {number(wanted.time)}", "bold"),
            f", {claim}, error at most {number(wanted.accuracy)}{budget}: {title}",
        )
    )
    if not plans:
        output.console.print("no method does it: allow a larger error or budget")
        return
    numbers = ("steps", "h", "evals", "solves", "cost", "order", "error")
    table = new_table("method", *numbers, right=numbers)
    for plan in plans:
        table.add_row(
            str(plan["method"]),
            number(plan["steps"]),
            number(plan["step_size"], 4),
            number(plan["applications"]),
            number(plan["solves"]),
            number(round(plan["cost"])),
            number(plan["order"]),
            number(plan["error"], 2),
        )
    output.console.print(table)
    output.console.print(
        f"cost: evaluations of the field, an implicit solve counts for {SOLVE_COST:g}; error: the "
        "largest of the modes, data of size one; steps are at most 95 % of the limit. Multistep "
        "methods are left out, their error depends on how they start",
        style="dim",
    )
