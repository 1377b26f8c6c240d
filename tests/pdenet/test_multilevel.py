"""Training from coarse to fine: what levels see, how they follow one another, how a run resumes."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from analysis.differential import at_spacing
from analysis.errors import InputError
from analysis.plots import file_bytes
from pdenet.cli.train import _levels
from pdenet.config import from_toml, to_toml
from pdenet.networks import PDENet
from pdenet.refinement import with_steps
from pdenet.training import records
from pdenet.training.checkpoint import initial_network, load_first, load_run, load_state
from pdenet.training.config import Level, RunConfig, TrainingConfig
from pdenet.training.loop import Progress, TrainingResult, train
from pdenet.training.multilevel import images_of_level, level_of_epoch, refined, run_of_level
from tests.pdenet.cli_runner import run
from tests.pdenet.training_runs import few_digits, tiny_run

ROOT = Path(__file__).parents[2]
TWO = (Level(side=2, steps=1, epochs=1), Level(side=4, steps=2, epochs=2))


def two_levels(**changes: Any) -> RunConfig:
    """Three levels in all: 2x2 images and one step, 4x4 and two, 8x8 and four."""
    return tiny_run(**{"steps": 4, "epochs": 2, "levels": TWO, "widths": (4, 8)} | changes)


def trained(
    folder: Path, config: RunConfig, stop_after: int | None = None, *, resume: bool = False
) -> TrainingResult:
    """A run, interrupted behind an epoch where asked."""

    def stop(at: Progress) -> None:
        if stop_after is not None and at.epoch == stop_after + 1 and at.step == 2:
            raise KeyboardInterrupt

    return train(config, few_digits(), folder, resume=resume, progress=stop)


def same(first: Path, second: Path) -> bool:
    one, other = (load_file(path / "model.safetensors") for path in (first, second))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_of_three_levels_is_one_run(tmp_path: Path) -> None:
    seen: list[Progress] = []
    config = two_levels()
    result = train(config, few_digits(), tmp_path / "run", progress=seen.append)
    assert (result.status, result.epochs) == ("completed", 5)
    assert result.multiply_adds == PDENet(config.network).multiply_adds(8, 8)
    rows = list(csv.DictReader((result.run / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == list("12345")
    assert [row["level"] for row in rows] == list("12233")
    assert result.seconds == pytest.approx(sum(float(row["seconds"]) for row in rows))
    assert {(at.level, at.levels, at.epochs) for at in seen} == {(n, 3, 5) for n in (1, 2, 3)}
    loaded = load_run(result.run)
    assert loaded.config == config
    assert loaded.images.image_shape == (8, 8, 1)
    assert len(loaded.network.blocks[0].steps) == 4
    # Every level begins a schedule of its own: its first rate is that of a rise.
    firsts = [next(at for at in seen if at.level == n).learning_rate for n in (1, 2, 3)]
    assert firsts == [config.training.learning_rate] * 3, "one of 4 or 8 steps is the rise"
    lasts = [next(at for at in reversed(seen) if at.level == n).learning_rate for n in (1, 2, 3)]
    assert max(lasts) < config.training.learning_rate / 5


@pytest.mark.usefixtures("numbers_alone")
def test_levels_follow_one_another_as_runs_of_their_own_would(tmp_path: Path) -> None:
    """The end of a coarse level is the end of its run; the next begins with it, refined."""
    config = two_levels()
    trained(tmp_path / "whole", config, stop_after=1)
    coarse = run_of_level(config, 0, 8)
    small = replace(
        few_digits(),
        train_images=images_of_level(config, 0, few_digits()).train_images,
        test_images=images_of_level(config, 0, few_digits()).test_images,
    )
    train(coarse, small, tmp_path / "coarse")
    assert same(tmp_path / "whole", tmp_path / "coarse")
    loaded = load_run(tmp_path / "whole")
    assert loaded.config == coarse
    assert loaded.images.image_shape == (2, 2, 1)


@pytest.fixture
def numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without pictures and events, which take longer than the training."""
    for name in ("_draw", "_write_events"):
        monkeypatch.setattr(records.RunFolder, name, lambda self, rows: None)


@pytest.mark.usefixtures("numbers_alone")
@pytest.mark.parametrize(
    ("stop_after", "constraint"), [(1, "none"), (2, "none"), (3, "nonexpansive"), (4, "none")]
)
def test_resumed_runs_are_uninterrupted_ones(
    tmp_path: Path, stop_after: int, constraint: str
) -> None:
    """Interrupted at the end of a level and within one."""
    config, whole = two_levels(constraint=constraint), tmp_path / "whole"
    trained(whole, config)
    stopped = trained(tmp_path / "run", config, stop_after)
    assert (stopped.status, stopped.epochs) == ("interrupted", stop_after)
    state = load_state(tmp_path / "run")
    assert (state.config, state.epoch) == (config, stop_after)
    found = trained(tmp_path / "run", config, resume=True)
    assert (found.status, found.epochs) == ("completed", 5)
    assert same(tmp_path / "run", whole)
    first, second = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in load_state(path).rows]
        for path in (tmp_path / "run", whole)
    )
    assert first == second


@pytest.mark.usefixtures("numbers_alone")
def test_a_level_begins_with_the_network_before_it(tmp_path: Path) -> None:
    """At a vanishing learning rate the network of the end is the first one, refined."""
    config = two_levels(learning_rate=1e-30, weight_decay=0.0, normalization="none")
    result = train(config, few_digits(), tmp_path / "run")
    first = initial_network(run_of_level(config, 0, 8))
    expected = with_steps(first, 4).state_dict()
    found = load_run(result.run).network.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    begun = load_first(result.run).network.state_dict()
    assert all(torch.equal(begun[name], value) for name, value in expected.items())


@pytest.mark.usefixtures("numbers_alone")
def test_the_constraint_holds_on_every_level(tmp_path: Path) -> None:
    config = two_levels(constraint="nonexpansive", learning_rate=0.1)
    result = train(config, few_digits(), tmp_path / "run")
    values = [row["nonexpansive_value"] for row in load_state(result.run).rows]
    assert len(values) == 5
    assert all(value is not None and 0 < value < 2 for value in values)


def test_stencils_are_transferred_as_asked() -> None:
    config = two_levels(transfer="operator", normalization="none")
    first = PDENet(run_of_level(config, 0, 8).network)
    found = refined(first, config, 0, 8)
    weight = "opening.operator.weight"
    moved = at_spacing(first.state_dict()[weight], 1.0, 0.5)
    torch.testing.assert_close(found.state_dict()[weight], moved)
    with pytest.raises(InputError, match="did you mean 'operator'"):
        TrainingConfig(transfer="operators")


def test_runs_of_levels() -> None:
    config = two_levels(step_size=0.5, crop=4)
    first, second, last = (run_of_level(config, index, 8) for index in range(3))
    assert last == config
    assert [r.network.steps for r in (first, second, last)] == [1, 2, 4]
    assert [r.network.step_size for r in (first, second, last)] == [2.0, 1.0, 0.5]
    assert [r.training.crop for r in (first, second, last)] == [1, 2, 4]
    assert [r.training.levels for r in (first, second, last)] == [(), TWO[:1], TWO]
    assert [r.training.total_epochs for r in (first, second, last)] == [1, 3, 5]
    assert run_of_level(second, 0, 4) == first, "a level of a level is that level"
    assert [level_of_epoch(config, epoch) for epoch in range(1, 6)] == [0, 1, 1, 2, 2]
    network = refined(PDENet(first.network), config, 0, 8)
    assert network.config == second.network


def test_images_are_means_of_squares() -> None:
    pixels = np.zeros((1, 4, 4, 1), np.uint8)
    pixels[0, :2, :2, 0] = [[0, 1], [0, 1]]
    pixels[0, 2:, 2:, 0] = [[255, 255], [255, 254]]
    data = replace(few_digits(), train_images=pixels, test_images=pixels)
    level = TrainingConfig(levels=(Level(2, 1, 1),))
    found = images_of_level(RunConfig(training=level), 0, data)
    assert found.train_images[0, :, :, 0].tolist() == [[1, 0], [0, 255]], "halves are rounded up"
    assert np.array_equal(found.mean, data.mean)
    assert images_of_level(RunConfig(training=level), 1, data) is data
    digits = few_digits()
    coarse = images_of_level(RunConfig(training=level), 0, digits).test_images
    exact = digits.test_images.reshape(-1, 2, 4, 2, 4, 1).astype(float).mean((2, 4))
    assert np.abs(coarse - exact).max() <= 0.5


def test_levels_in_toml_and_on_the_command_line(tmp_path: Path) -> None:
    config = two_levels()
    text = to_toml(config)
    assert from_toml(RunConfig, text) == config
    assert _levels("2:1:1,4:2:2") == TWO
    assert _levels("none") == ()
    words = ["--levels", "4:1:1", "--epochs", 1, "--train-images", 40, "--test-images", 40]
    words += ["--widths", "4", "--steps", 2, "--out", tmp_path / "run"]
    found = run("train", *words, "--json", "-")
    assert found.status == 0
    assert json.loads(found.out)["epochs"] == 2
    assert "level 2/2  epoch 2/2" in found.err
    assert load_run(tmp_path / "run").config.training.levels == (Level(4, 1, 1),)


@pytest.mark.parametrize("text", ["16", "16:2", "16:2:x", "16:2:4:1", "", "16:2:4,"])
def test_levels_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InputError, match="SIDE:STEPS:EPOCHS"):
        _levels(text)


@pytest.mark.parametrize(
    ("level", "message"),
    [
        (Level(3, 1, 1), r"whole share of the 8x8 pixels.*among 1, 2, 4, 8"),
        (Level(16, 1, 1), "whole share"),
        (Level(1, 1, 1), "images of at least 2 pixels"),
    ],
)
def test_levels_that_cannot_be_trained_leave_nothing(
    tmp_path: Path, level: Level, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(two_levels(levels=(level,)), few_digits(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_numbers_that_make_no_level() -> None:
    with pytest.raises(InputError, match="a positive integer as side of a level"):
        Level(side=0, steps=1, epochs=1)
    with pytest.raises(InputError, match="levels"):
        TrainingConfig(levels=((16, 2, 4),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((Level(4, 2, 1), Level(2, 2, 1)), "sides of --levels that grow.*got 4, 2"),
        ((Level(2, 8, 1),), "steps of --levels that grow towards those of the network.*got 8, 4"),
    ],
)
def test_levels_go_from_coarse_to_fine(levels: tuple[Level, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        two_levels(levels=levels)


def test_divergence_keeps_the_level_that_was_reached(tmp_path: Path) -> None:
    config = two_levels(learning_rate=1e12, normalization="none")
    result = train(config, few_digits(), tmp_path / "run")
    assert result.status == "diverged"
    assert load_run(result.run).network.config.steps == 1


def script(folder: str) -> ModuleType:
    """``multilevel.py`` of a folder of scripts."""
    file = ROOT / folder / "multilevel.py"
    if not file.exists():
        pytest.skip("the scripts are not part of the package")
    spec = importlib.util.spec_from_file_location(f"{folder}_multilevel", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("numbers_alone")
def test_the_benchmark_notes_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark = script("benchmarks")
    fine = replace(two_levels().training, levels=())
    kept: list[int] = []
    rows = benchmark.rows(
        few_digits(),
        seeds=2,
        network=two_levels().network,
        trainings={"fine": fine, "multilevel": two_levels().training},
        keep=lambda found: kept.append(len(found)),
    )
    assert kept == [2, 7, 9, 14]
    first = [row for row in rows if row["seed"] == 0]
    assert [row["level"] for row in first] == [1, 1, 1, 2, 2, 3, 3]
    seconds = [row["cpu_seconds"] for row in first if row["schedule"] == "multilevel"]
    assert seconds == sorted(seconds)
    levels = benchmark.schedules(32)[benchmark.MULTILEVEL].levels
    assert [level.side for level in levels] == [16]


def test_the_figure_finds_when_the_end_of_fine_training_is_reached() -> None:
    figure = script("paper_figures")
    accuracies = {
        figure.FINE: [(0.2, 0.5, 0.6), (0.3, 0.5, 0.7)],
        figure.SHORT: [(0.4, 0.5), (0.4, 0.5)],
        figure.MULTILEVEL: [(0.4, 0.6, 0.65), (0.4, 0.5, 0.6)],
        figure.BRIEF: [(0.4, 0.6), (0.4, 0.5)],
    }
    rows = [
        {
            "schedule": schedule,
            "seed": seed,
            "epoch": epoch + 1,
            "level": 2 if "multilevel" in schedule and epoch else 1,
            "test_accuracy": value,
            "cpu_seconds": (epoch + 1.0) * (10 if schedule == figure.FINE else 4),
        }
        for schedule, seeds in accuracies.items()
        for seed, values in enumerate(seeds)
        for epoch, value in enumerate(values)
    ]
    assert figure.share_of_time(rows) == [pytest.approx(8 / 30), np.inf]
    network = {"coupling": "lean", "block": "residual", "widths": [4], "steps": 4}
    result = {"rows": rows, "network": network, "data": "digits", "train_images": 9}
    assert "62.50 % (65.00, 60.00) after 12 s" in figure.caption(result)
    assert file_bytes(figure.draw(result)).startswith(b"\x89PNG")
