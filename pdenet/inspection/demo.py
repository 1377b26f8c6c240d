"""The story of the tool on the digits: the same network trained freely and with the constraint."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import InputError
from pdenet.data.sources import ImageData, load_data
from pdenet.files import write_atomic
from pdenet.inspection.page import number, percent, pictures, render, summary
from pdenet.inspection.prescription import Remedy, constraint_remedy
from pdenet.inspection.report import inspect_run
from pdenet.inspection.result import Inspection
from pdenet.inspection.verdict import step_verdicts
from pdenet.networks import NetworkConfig
from pdenet.training.checkpoint import MODEL_FILE
from pdenet.training.config import RunConfig, TrainingConfig
from pdenet.training.loop import Progress, TrainingResult, train

NAMES = ("free", "constrained")

CONFIG = RunConfig(
    network=NetworkConfig(block="parabolic", coupling="lean", method="euler", step_size=1.0),
    training=TrainingConfig(data="digits", seed=0),
)
"""The free network of the demo; the other one differs in ``constraint`` alone."""

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Demo:
    """Two networks and what was found out about them.

    Attributes:
        out: folder of runs, figures and report.
        free, constrained: the inspections.
        results: of the two trainings, by name.
        figures: paths of all pictures.
    """

    out: Path
    free: Inspection
    constrained: Inspection
    results: dict[str, TrainingResult]
    figures: tuple[str, ...]

    @property
    def inspections(self) -> dict[str, Inspection]:
        """Both inspections by name."""
        return {"free": self.free, "constrained": self.constrained}

    @property
    def shrunk_accuracy(self) -> float | None:
        """Accuracy of the free network with its steps shrunk to their limits."""
        tried = [r for r in self.free.remedies if r.layer != "network"]
        return tried[0].accuracy_after if tried else None

    def to_json(self) -> dict[str, Any]:
        """The keys of the command-line contract."""
        runs = [
            {
                "name": name,
                "run": str(self.results[name].run),
                "test_accuracy": found.test_accuracy,
                "grades": found.grades,
                "measured_growth": found.worst_step_growth,
                "lipschitz_certified": found.lipschitz,
            }
            for name, found in self.inspections.items()
        ]
        return {
            "runs": runs,
            "test_accuracy": self.constrained.test_accuracy,
            "shrunk_test_accuracy": self.shrunk_accuracy,
            "report": str(self.out / "report.html"),
            "figures": list(self.figures),
        }


def run_demo(out: str | Path, *, progress: Say | None = None, config: RunConfig = CONFIG) -> Demo:
    """Train freely and with the constraint, inspect both, write figures and a page.

    Args:
        out: folder for everything; new, empty or that of an earlier demo, which is replaced.
        progress: told in words what is being done.
        config: the free network; the constrained one differs in ``constraint`` alone.

    Raises:
        InputError: for a folder that holds something else.
    """
    say, out = progress or (lambda text: None), Path(out)
    _clear(out)
    data = load_data(
        config.training.data,
        train_images=config.training.train_images,
        test_images=config.training.test_images,
        seed=config.training.seed,
    )
    training = replace(config.training, constraint="nonexpansive")
    configs = {"free": config, "constrained": replace(config, training=training)}
    titles = {"free": "training freely", "constrained": "training with the constraint"}
    results = {name: _train(configs[name], data, out / name, titles[name], say) for name in NAMES}
    constrained = _inspect(results["constrained"], "the constrained network", None, say)
    remedy = constraint_remedy(
        config,
        run=str(results["constrained"].run),
        accuracy_before=results["free"].test_accuracy,
        accuracy_after=constrained.test_accuracy,
        proved=(constrained.grades.get("proved", 0), sum(constrained.grades.values())),
    )
    free = _inspect(results["free"], "the free network", remedy, say)
    say("drawing")
    figures = _draw(out, free, constrained)
    demo = Demo(out, free, constrained, results, (*figures, *free.figures, *constrained.figures))
    _write_page(demo, figures)
    return demo


def _clear(out: Path) -> None:
    """Make way for a new demo where an earlier one was; refuse a folder of something else."""
    if not out.exists():
        return
    runs = [out / name for name in NAMES if (out / name).exists()]
    empty = out.is_dir() and not any(out.iterdir())
    # A folder called "free" may be anyone's; one with a model in it was trained here.
    if not empty and not (runs and all((run / MODEL_FILE).is_file() for run in runs)):
        raise InputError(
            "a new folder, or that of an earlier demo", out, "choose another with --out"
        )
    for run in runs:
        shutil.rmtree(run)


def _train(config: RunConfig, data: ImageData, run: Path, title: str, say: Say) -> TrainingResult:
    def show(where: Progress) -> None:
        text = f"{title}: epoch {where.epoch} of {where.epochs}"
        say(text + f", {100 * where.accuracy:.1f} % of the training images right")

    say(title)
    result = train(config, data, run, progress=show)
    if result.status == "interrupted":
        raise KeyboardInterrupt
    return result


def _inspect(result: TrainingResult, title: str, tried: Remedy | None, say: Say) -> Inspection:
    return inspect_run(
        result.run,
        try_prescription="never",
        tried=tried,
        progress=lambda text: say(f"inspecting {title}: {text}"),
    )


def _draw(out: Path, free: Inspection, constrained: Inspection) -> list[str]:
    """Spectra and margins of both networks on one scale."""
    from analysis.plots.figures import figure_bytes
    from analysis.plots.layers import plot_margins
    from analysis.plots.regions import plot_spectra_over_region
    from analysis.plots.style import rows_height
    from pdenet.inspection.figures import cloud, margin_rows, region_method, short_name

    clouds: dict[str, np.ndarray] = {}
    rows: list[dict[str, Any]] = []
    for name, found in zip(NAMES, (free, constrained), strict=True):
        steps = step_verdicts(found.verdicts)
        clouds |= {f"{name}, {short_name(v.layer.name)}": cloud(v) for v in steps}
        rows += [row | {"name": f"{name}, {row['name']}"} for row in margin_rows(found.verdicts)]
    method = region_method(step_verdicts(free.verdicts)[0])
    assert method is not None  # the demo trains parabolic steps of forward Euler
    height = rows_height(len(rows))
    files = {
        "spectra.png": figure_bytes(
            lambda ax: plot_spectra_over_region(method, clouds, ax), width=9.0, height=height
        ),
        "margins.png": figure_bytes(lambda ax: plot_margins(rows, ax), width=9.0, height=height),
    }
    for name, content in files.items():
        write_atomic(out / name, content)
    return [str(out / name) for name in files]


def _write_page(demo: Demo, figures: list[str]) -> None:
    text = render(
        "demo.html",
        demo=demo,
        story=story(demo),
        summaries={name: summary(found) for name, found in demo.inspections.items()},
        pictures=pictures(figures),
    )
    write_atomic(demo.out / "report.html", text)


def story(demo: Demo) -> list[str]:
    """What the demo shows, in sentences with its own figures."""
    free, constrained = demo.free, demo.constrained
    steps = sum(free.grades.values())
    config = free.run.config.network
    pairs = len([name for name in free.counter_pairs if ".steps." in name])
    return [
        f"The same {config.coupling} {config.block} network, h = {config.step_size:g}, on the "
        f"{free.run.config.training.data}: trained freely it reads "
        f"{percent(free.test_accuracy)} of the test images right, trained with the constraint "
        f"{percent(constrained.test_accuracy)}.",
        f"Free: {free.grades.get('violated', 0)} of {steps} steps are beyond their limit and "
        f"really drive inputs apart, {pairs} counter-pairs are kept, the worst grows "
        f"{number(free.worst_step_growth)} times in one step.",
        f"Constrained: {constrained.grades.get('proved', 0)} of {steps} steps are proved "
        f"non-expansive; the largest growth found is {number(constrained.worst_step_growth)}.",
        "Merely shrinking the steps of the free network to their limits buys the same proof at "
        f"{percent(demo.shrunk_accuracy)} accuracy: train with the constraint instead.",
    ]
