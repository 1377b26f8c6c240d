"""`pdenet compare`: one table of runs."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from pdenet.cli.common import JsonOption, Output, new_table, number

EXAMPLE = "pdenet compare runs/free runs/constrained"


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Folders of pdenet train.")],
    json: JsonOption = None,
) -> None:
    """One table of runs: cost, accuracy and certified step margin."""
    output = Output("compare", json)
    with output.progress.status("reading runs"):
        rows = [run_facts(run) for run in runs]
    _show(output, rows)
    output.finish({"runs": rows})


def run_facts(path: str) -> dict[str, Any]:
    """What one run came to.

    `step_margin` is the certified non-expansive limit of the tightest step over its step size:
    at 1 and above every step is proved to be non-expansive. None where no theorem applies.
    """
    from pdenet.training.checkpoint import load_run

    run = load_run(path)
    height, width, _ = run.images.image_shape
    rows = _metrics(run.path.parent / "metrics.csv")
    network, training = run.config.network, run.config.training
    last = rows[-1] if rows else {}
    return {
        "run": path,
        "block": network.block,
        "coupling": network.coupling,
        "method": network.method,
        "step_size": network.step_size,
        "constraint": training.constraint,
        "epochs": len(rows) if rows else None,
        "weights": run.network.weights,
        "multiply_adds": run.network.multiply_adds(height, width),
        "train_loss": last.get("train_loss"),
        "test_accuracy": last.get("test_accuracy"),
        "seconds": sum(row["seconds"] or 0.0 for row in rows) if rows else None,
        "step_margin": step_margin(path),
    }


def step_margin(path: str) -> float | None:
    """Smallest certified non-expansive limit over the step size; None without a theorem."""
    from analysis.certificates import certified_norm
    from analysis.contractivity import circle_contractivity_radius
    from analysis.methods import method
    from pdenet.cli.sources import open_source
    from pdenet.layers.time_step import table_of

    source = open_source(path)
    unproved = any("plain reaction" in text or "negative" in text for text in source.warnings)
    table = None if source.method is None else table_of(method(source.method))
    if not source.fields or unproved or table is None:
        return None
    radius = circle_contractivity_radius(table)
    norms = [certified_norm(item.coupling, boundary=item.boundary).upper for item in source.fields]
    largest = max(norms)
    return 2 * radius / (float(source.step_size or 1) * largest**2) if largest > 0 else math.inf


def _metrics(file: Path) -> list[dict[str, float | None]]:
    """Rows of metrics.csv; none where the file is missing or unreadable."""
    try:
        with file.open(newline="") as stream:
            return [
                {name: float(value) if value else None for name, value in row.items()}
                for row in csv.DictReader(stream)
            ]
    except (OSError, ValueError, TypeError, csv.Error):
        return []


def _network(row: dict[str, Any]) -> str:
    """The network of a run in a few words."""
    words = [row["block"], row["coupling"], row["method"], f"h = {number(row['step_size'], 3)}"]
    return " ".join(words + (["constrained"] if row["constraint"] != "none" else []))


def _show(output: Output, rows: list[dict[str, Any]]) -> None:
    from rich.text import Text

    numbers = ("weights", "Mmadds", "accuracy", "seconds", "margin")
    table = new_table("run", *numbers, right=numbers)
    for row in rows:
        margin, accuracy = row["step_margin"], row["test_accuracy"]
        colour = "default" if margin is None else "green" if margin >= 1 else "yellow"
        table.add_row(
            Text.assemble((row["run"], "bold"), "\n", (_network(row), "dim")),
            number(row["weights"]),
            number(row["multiply_adds"] / 1e6, 4),
            "-" if accuracy is None else f"{100 * accuracy:.2f} %",
            number(row["seconds"], 4),
            Text(number(margin, 3), colour),
        )
    output.console.print(table)
    output.console.print(
        "margin: certified non-expansive limit over the step size; proved from 1 upwards, "
        "- where no theorem gives a limit. "
        "Mmadds: million multiply-adds an image",
        style="dim",
    )
