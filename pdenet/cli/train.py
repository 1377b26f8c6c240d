"""`pdenet train`: train a network and leave a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.errors import InputError
from pdenet.cli.common import JsonOption, Output, facts, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as Bar

    from pdenet.training.config import Level, RunConfig
    from pdenet.training.loop import Progress

EXAMPLE = "pdenet train --constraint nonexpansive --out runs/lean"

NETWORK, TRAINING = "Network", "Training"
EXIT_DIVERGED, EXIT_INTERRUPTED = 1, 130


def _option(metavar: str, text: str, panel: str) -> Any:
    """An option that overrides the configuration where it is given."""
    return typer.Option(metavar=metavar, help=text, rich_help_panel=panel)


def train(
    config: Annotated[
        str | None,
        typer.Argument(metavar="CONFIG.toml", help="Configuration; options override it."),
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="RUN", help="Folder of the run, new or empty.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    data: Annotated[str | None, _option("DATA", "digits, a folder or archive.", TRAINING)] = None,
    train_images: Annotated[int | None, _option("N", "Use so many (all).", TRAINING)] = None,
    test_images: Annotated[int | None, _option("N", "Use so many (all).", TRAINING)] = None,
    epochs: Annotated[
        int | None, _option("N", "Passes over the data (20), on the last level.", TRAINING)
    ] = None,
    levels: Annotated[
        str | None,
        _option(
            "L,L",
            "Coarser levels first, each SIDE:STEPS:EPOCHS, as 16:2:4 (none): small images and few "
            "steps, refined for the next level.",
            TRAINING,
        ),
    ] = None,
    transfer: Annotated[
        str | None,
        _option(
            "T", "Stencils from level to level: stencil (default), operator, averages.", TRAINING
        ),
    ] = None,
    batch_size: Annotated[int | None, _option("N", "Images a step (64).", TRAINING)] = None,
    optimizer: Annotated[str | None, _option("O", "sgd (default), adamw.", TRAINING)] = None,
    learning_rate: Annotated[float | None, _option("X", "Peak rate (0.05).", TRAINING)] = None,
    momentum: Annotated[float | None, _option("X", "Of sgd (0.9).", TRAINING)] = None,
    weight_decay: Annotated[float | None, _option("X", "Of kernels (5e-4).", TRAINING)] = None,
    label_smoothing: Annotated[float | None, _option("X", "Share (0).", TRAINING)] = None,
    crop: Annotated[int | None, _option("N", "Random crop, pixels (1).", TRAINING)] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip/--no-flip", help="Mirror (no).", rich_help_panel=TRAINING),
    ] = None,
    seed: Annotated[int | None, _option("N", "Of all that is random (0).", TRAINING)] = None,
    device: Annotated[str | None, _option("D", "auto (default), cpu, cuda.", TRAINING)] = None,
    constraint: Annotated[
        str | None, _option("C", "none (default), nonexpansive.", TRAINING)
    ] = None,
    time_smoothness: Annotated[
        float | None, _option("X", "Penalty on weights that change in time (0).", TRAINING)
    ] = None,
    block: Annotated[
        str | None,
        _option(
            "B",
            "parabolic (default), residual, diffusion-reaction, hamiltonian, second-order.",
            NETWORK,
        ),
    ] = None,
    coupling: Annotated[
        str | None,
        _option("C", "lean (default), full, depthwise, pointwise, circulant, grouped.", NETWORK),
    ] = None,
    method: Annotated[str | None, _option("M", "Time stepper (euler).", NETWORK)] = None,
    step_size: Annotated[float | None, _option("H", "Of the time steps (1).", NETWORK)] = None,
    steps: Annotated[int | None, _option("N", "Time steps a block (3).", NETWORK)] = None,
    widths: Annotated[str | None, _option("W,W", "Channels a block (16,32).", NETWORK)] = None,
    head_width: Annotated[int | None, _option("W", "Before the classifier.", NETWORK)] = None,
    groups: Annotated[int | None, _option("G", "Of grouped (4).", NETWORK)] = None,
    stencil: Annotated[
        str | None, _option("S", "nine-point (default), five-point.", NETWORK)
    ] = None,
    weights_in_time: Annotated[
        str | None,
        _option("W", "per-step (default), shared, piecewise-linear, legendre, bspline.", NETWORK),
    ] = None,
    time_coefficients: Annotated[
        int | None, _option("N", "Functions of a basis in time (2).", NETWORK)
    ] = None,
    normalization: Annotated[
        str | None, _option("N", "batch (default), instance, layer, tv, none.", NETWORK)
    ] = None,
    activation: Annotated[
        str | None, _option("A", "relu (default), tanh, softplus, smooth-relu, gelu.", NETWORK)
    ] = None,
    padding_mode: Annotated[
        str | None, _option("P", "zeros (default), circular, reflect, replicate.", NETWORK)
    ] = None,
    diffusion: Annotated[str | None, _option("D", "nonlinear (default), linear.", NETWORK)] = None,
    reaction: Annotated[str | None, _option("R", "dissipative (default), plain.", NETWORK)] = None,
    reaction_coupling: Annotated[
        str | None, _option("C", "pointwise (default), or another coupling.", NETWORK)
    ] = None,
    pooling: Annotated[str | None, _option("P", "average (default), max.", NETWORK)] = None,
    backpropagation: Annotated[
        str | None, _option("B", "stored (default), reversible.", NETWORK)
    ] = None,
    json: JsonOption = None,
) -> None:
    """Train a network on images and leave a run folder.

    The folder holds config.toml, model.safetensors, last/ (to resume), metrics.csv, TensorBoard
    events and curves.png. Exit 1 if training diverged.
    """
    given = dict(locals())
    output = Output("train", json)
    if out is None:
        raise InputError("a folder for the run", "nothing", "pass --out runs/first")
    overrides = {
        key: given[key.partition(".")[2]]
        for key in configuration_keys()
        if given.get(key.partition(".")[2]) is not None
    }
    if widths is not None:
        overrides["network.widths"] = _widths(widths)
    if levels is not None:
        overrides["training.levels"] = _levels(levels)
    result = _train(_configuration(config, out, resume, overrides), out, resume, output)
    _show(output, result)
    output.finish({key: value for key, value in result.items() if key != "message"})
    if result["status"] == "diverged":
        raise typer.Exit(EXIT_DIVERGED)
    if result["status"] == "interrupted":
        raise typer.Exit(EXIT_INTERRUPTED)


def configuration_keys() -> list[str]:
    """Dotted keys of the configuration that have an option of the same name.

    Channels and classes have none: they are those of the data.
    """
    from dataclasses import fields

    from pdenet.networks import NetworkConfig
    from pdenet.training.config import TrainingConfig

    tables = {"network": NetworkConfig, "training": TrainingConfig}
    keys = [f"{table}.{item.name}" for table, cls in tables.items() for item in fields(cls)]
    return [key for key in keys if key not in ("network.in_channels", "network.classes")]


def _widths(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(map(_is_count, words)):
        raise InputError("whole numbers with commas for --widths", f"'{text}'", "as in 16,32")
    return tuple(int(word) for word in words)


def _levels(text: str) -> tuple[Level, ...]:
    from pdenet.training.config import Level

    levels = [word.split(":") for word in text.split(",")] if text != "none" else []
    if not all(len(level) == 3 and all(map(_is_count, level)) for level in levels):
        expected = "SIDE:STEPS:EPOCHS for every level of --levels"
        raise InputError(expected, f"'{text}'", "as in 8:1:2,16:2:4, or none")
    return tuple(Level(*map(int, level)) for level in levels)


def _is_count(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 10


def _configuration(
    config: str | None, out: str, resume: bool, overrides: dict[str, Any]
) -> RunConfig:
    """Defaults, then the file (of the run itself when it is resumed), then the options."""
    from pdenet.config import read_config, with_overrides
    from pdenet.training.config import RunConfig

    base = RunConfig()
    if config is not None:
        base = read_config(RunConfig, config)
    elif resume:
        base = read_config(RunConfig, Path(out) / "config.toml")
    return with_overrides(base, overrides)


def _train(config: RunConfig, out: str, resume: bool, output: Output) -> dict[str, Any]:
    """Load the images, train, and return the keys of the contract and the message."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from pdenet.data.sources import load_data
    from pdenet.training.config import fit_to_data
    from pdenet.training.loop import train as run_training

    training = config.training
    console = output.progress
    with console.status(f"reading {training.data}") as status:
        data = load_data(
            training.data,
            train_images=training.train_images,
            test_images=training.test_images,
            seed=training.seed,
            progress=lambda done, total, text: status.update(f"{text} {done}/{total or '?'}"),
        )
    columns = (TextColumn("{task.description}"), BarColumn(20), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        result = run_training(
            fit_to_data(config, data), data, out, resume=resume, progress=_report(bar, console)
        )
    keys = ("epochs", "train_loss", "test_accuracy", "weights", "multiply_adds", "seconds")
    found = {key: getattr(result, key) for key in keys}
    return {"run": str(result.run)} | found | {"status": result.status, "message": result.message}


def _report(bar: Bar, console: Any) -> Callable[[Progress], None]:
    """A callback that moves the bar and writes one line an epoch."""
    task = bar.add_task("epoch 1", total=None)

    def show(at: Progress) -> None:
        done = (at.epoch - 1) * at.steps + at.step
        level = f"level {at.level}/{at.levels}  " if at.levels > 1 else ""
        text = f"{level}epoch {at.epoch}/{at.epochs}  loss {at.loss:.3f}"
        text += f"  train {100 * at.accuracy:.1f} %"
        bar.update(task, completed=done, total=at.epochs * at.steps, description=text)
        if at.test_accuracy is not None:
            console.print(f"{text}  test {100 * at.test_accuracy:.2f} %", style="dim")

    return show


def _show(output: Output, result: dict[str, Any]) -> None:
    from rich.text import Text

    colour = {"completed": "bold green", "diverged": "bold red"}.get(result["status"], "yellow")
    accuracy = result["test_accuracy"]
    rows = [
        ("status", Text.assemble((result["status"], colour), f": {result['message']}")),
        ("run", result["run"]),
        ("test accuracy", None if accuracy is None else f"{100 * accuracy:.2f} %"),
        ("training loss", number(result["train_loss"], 4)),
        ("weights", f"{result['weights']:,}"),
        ("multiply-adds", f"{result['multiply_adds']:,} an image"),
        ("seconds", f"{result['seconds']:.1f}"),
        ("next", f"pdenet inspect {result['run']}"),
    ]
    output.console.print(facts(rows))
