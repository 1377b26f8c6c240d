"""The training loop: schedule, reproducibility, what a run leaves, and how it stops."""

from __future__ import annotations

import csv
import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from analysis.errors import InputError
from pdenet.networks import PDENet
from pdenet.training import records
from pdenet.training.config import RunConfig, TrainingConfig, fit_to_data
from pdenet.training.device import choose_device, reproducible_numerics
from pdenet.training.loop import Progress, epoch_seed, train
from pdenet.training.optimization import build_optimizer, learning_rate
from tests.pdenet.training_runs import few_digits, tiny_run


def test_run_folder_and_result(tmp_path: Path) -> None:
    seen: list[Progress] = []
    config = tiny_run(epochs=2)
    result = train(config, few_digits(), tmp_path / "run", progress=seen.append)

    assert (result.status, result.epochs) == ("completed", 2)
    assert result.weights == PDENet(config.network).weights
    assert result.multiply_adds == PDENet(config.network).multiply_adds(8, 8)
    assert {p.name for p in result.run.iterdir()} >= {
        "config.toml",
        "model.safetensors",
        "metrics.csv",
        "curves.png",
        "last",
    }
    assert any(p.name.startswith("events.out.tfevents") for p in result.run.iterdir())
    assert not list(result.run.rglob(".*")), "temporary files are gone"
    rows = list(csv.DictReader((result.run / "metrics.csv").read_text().splitlines()))
    assert tuple(rows[0]) == records.COLUMNS
    assert float(rows[-1]["train_loss"]) == result.train_loss
    assert float(rows[-1]["test_accuracy"]) == result.test_accuracy
    assert sum(float(row["seconds"]) for row in rows) == pytest.approx(result.seconds)
    assert (result.run / "curves.png").read_bytes().startswith(b"\x89PNG")
    # One call a step, one more with the test accuracy at the end of an epoch.
    assert [p.step for p in seen] == [1, 2, 3, 4, 4] * 2
    assert [p.test_accuracy is not None for p in seen] == [False] * 4 + [True] + [False] * 4 + [
        True
    ]


def test_training_learns(tmp_path: Path) -> None:
    config = tiny_run(epochs=12, widths=(8, 16), batch_size=16, learning_rate=0.05)
    result = train(config, few_digits(), tmp_path / "run")
    assert result.test_accuracy is not None
    assert result.test_accuracy > 0.4, "ten classes: chance is 0.1"


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_same_seed_same_weights(tmp_path: Path, optimizer: str) -> None:
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(len(name) + seed)  # the caller's random numbers play no part
        torch.rand(seed)
        config = tiny_run(epochs=1, optimizer=optimizer, learning_rate=0.01, seed=seed)
        run = train(config, few_digits(), tmp_path / name).run
        weights.append(load_file(run / "model.safetensors"))
    first, second, other = weights
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_callers_random_numbers_and_settings_stay(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    before = torch.backends.cudnn.allow_tf32
    train(tiny_run(epochs=1), few_digits(), tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)
    assert torch.backends.cudnn.allow_tf32 == before


def test_numerics_inside_the_block() -> None:
    with reproducible_numerics():
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.deterministic


def test_learning_rate_rises_and_falls() -> None:
    rates = [learning_rate(step, 200, 0.1) for step in range(200)]
    assert rates[9] == pytest.approx(0.1), "5 % of 200 steps"
    assert all(a < b for a, b in itertools.pairwise(rates[:10]))
    assert all(a > b for a, b in itertools.pairwise(rates[9:]))
    assert 0 < rates[-1] < 1e-4
    assert learning_rate(0, 1, 0.1) == pytest.approx(0.1)


def test_seeds_of_epochs_differ() -> None:
    seeds = {epoch_seed(seed, epoch) for seed in range(20) for epoch in range(20)}
    assert len(seeds) == 400


def test_vectors_do_not_decay() -> None:
    config = tiny_run(coupling="lean", normalization="none")
    network = PDENet(config.network)
    decaying, free = build_optimizer(network, config.training).param_groups
    assert decaying["weight_decay"] > 0
    assert free["weight_decay"] == 0
    names = {id(p): name for name, p in network.named_parameters()}
    assert all(names[id(p)].endswith("bias") for p in free["params"])
    counted = [id(p) for group in (decaying, free) for p in group["params"]]
    assert sorted(counted) == sorted(names)


def test_divergence_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    config = tiny_run(epochs=5, learning_rate=1e12, normalization="none")
    result = train(config, few_digits(), tmp_path / "run")
    assert result.status == "diverged"
    assert result.epochs < 5
    assert "learning rate" in result.message
    kept = load_file(result.run / "model.safetensors")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in kept.values())


def test_divergence_under_the_constraint_is_a_status_too(tmp_path: Path) -> None:
    config = tiny_run(epochs=3, learning_rate=1e30, normalization="none", constraint="nonexpansive")
    result = train(config, few_digits(), tmp_path / "run")
    assert result.status == "diverged"
    assert "\n" not in result.message


def test_used_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"new or empty run folder.*--resume"):
        train(tiny_run(), few_digits(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(InputError, match="new or empty run folder"):
        train(tiny_run(), few_digits(), tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 7}, "10 classes"),
        ({"in_channels": 3}, "1 channels"),
        ({"widths": (4,) * 5}, "images of at least 16 pixels"),
        ({"crop": 8}, "crop"),
        ({"constraint": "nonexpansive", "block": "residual"}, "non-expansion"),
    ],
)
def test_runs_that_cannot_be_leave_nothing(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(tiny_run(**changes), few_digits(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unavailable_device() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="pass auto or one of: cpu"):
            choose_device("cuda")
        assert choose_device("auto").type == "cpu"


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"batch_size": 2.5},
        {"train_images": 0},
        {"optimizer": "adam"},
        {"learning_rate": -0.1},
        {"learning_rate": math.nan},
        {"momentum": 1.0},
        {"weight_decay": math.inf},
        {"label_smoothing": 1.0},
        {"crop": -1},
        {"seed": -1},
        {"device": "tpu"},
        {"constraint": "expansive"},
        {"flip": 1},
        {"data": ""},
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        TrainingConfig(**changes)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_fit_to_data_takes_channels_and_classes() -> None:
    config = replace(RunConfig(), network=replace(RunConfig().network, in_channels=3, classes=2))
    fitted = fit_to_data(config, few_digits())
    assert (fitted.network.in_channels, fitted.network.classes) == (1, 10)
    assert fitted.training == config.training
