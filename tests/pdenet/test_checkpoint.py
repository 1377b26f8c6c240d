"""Runs on disk: what is written comes back, what is damaged is refused, resuming is exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file

from analysis.errors import InputError
from pdenet.networks import PDENet
from pdenet.training import checkpoint
from pdenet.training.checkpoint import (
    STATE_FILE,
    ImageFacts,
    changed_key,
    load_run,
    load_state,
    save_model,
)
from pdenet.training.config import RunConfig
from pdenet.training.loop import Progress, train
from pdenet.training.optimization import build_optimizer
from tests.pdenet.training_runs import few_digits, tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one epoch."""
    return train(tiny_run(epochs=1), few_digits(), tmp_path_factory.mktemp("runs") / "run").run


class _Interrupt:
    """A progress callback that interrupts like Ctrl-C in the given epoch and step."""

    def __init__(self, epoch: int, step: int) -> None:
        self.place = (epoch, step)

    def __call__(self, at: Progress) -> None:
        if (at.epoch, at.step) == self.place:
            raise KeyboardInterrupt


def test_network_comes_back(run: Path) -> None:
    for path in (run, run / "model.safetensors"):
        loaded = load_run(path)
        assert loaded.config == tiny_run(epochs=1)
        assert loaded.images == ImageFacts.of(few_digits())
        assert not loaded.network.training
        metadata = loaded.metadata
        assert metadata["format"] == "pdenet/1"
        assert metadata["seed"] == "0"
        assert json.loads(metadata["epoch"]) == 1
    weights = load_file(run / "model.safetensors")
    assert all(torch.equal(weights[k], v) for k, v in loaded.network.state_dict().items())


def test_loading_leaves_random_numbers_alone(run: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_run(run)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("coupling", ["full", "circulant", "depthwise", "grouped", "pointwise"])
def test_all_couplings_and_layouts_are_saved(tmp_path: Path, coupling: str) -> None:
    config = tiny_run(coupling=coupling)
    network = PDENet(config.network).to(memory_format=torch.channels_last)
    save_model(tmp_path / "m.safetensors", network, config, ImageFacts.of(few_digits()))
    loaded = load_run(tmp_path / "m.safetensors").network
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in network.state_dict().items())


RESUMED = {
    "sgd": {"optimizer": "sgd"},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.01},
    "constrained": {"constraint": "nonexpansive"},
    "full": {"coupling": "full", "normalization": "none", "learning_rate": 0.01},
}


@pytest.mark.parametrize("changes", RESUMED.values(), ids=RESUMED)
def test_four_epochs_are_two_and_two(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = tiny_run(epochs=4, **changes)
    whole = train(config, few_digits(), tmp_path / "whole")
    first = train(config, few_digits(), tmp_path / "parts", progress=_Interrupt(3, 2))
    assert (first.status, first.epochs) == ("interrupted", 2)
    second = train(config, few_digits(), tmp_path / "parts", resume=True)
    assert (second.status, second.epochs) == ("completed", 4)

    for file in ("model.safetensors", STATE_FILE):
        expected, got = load_file(whole.run / file), load_file(second.run / file)
        assert expected.keys() == got.keys()
        assert all(torch.equal(expected[key], got[key]) for key in expected), file
    assert second.test_accuracy == whole.test_accuracy
    timeless = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in load_state(r.run).rows]
        for r in (whole, second)
    ]
    assert timeless[0] == timeless[1]


def test_interrupted_in_the_first_epoch_resumes(tmp_path: Path) -> None:
    config = tiny_run(epochs=1)
    result = train(config, few_digits(), tmp_path / "run", progress=_Interrupt(1, 1))
    assert (result.status, result.epochs, result.test_accuracy) == ("interrupted", 0, None)
    assert load_run(result.run).metadata["epoch"] == "0"
    assert train(config, few_digits(), tmp_path / "run", resume=True).status == "completed"


def test_finished_run_resumes_to_itself(run: Path) -> None:
    before = (run / "model.safetensors").read_bytes()
    result = train(tiny_run(epochs=1), few_digits(), run, resume=True)
    assert (result.status, result.epochs) == ("completed", 1)
    assert (run / "model.safetensors").read_bytes() == before


def test_resume_with_another_configuration_names_the_key(run: Path) -> None:
    with pytest.raises(InputError, match=r"training\.learning_rate"):
        train(tiny_run(epochs=1, learning_rate=0.2), few_digits(), run, resume=True)
    with pytest.raises(InputError, match=r"network\.coupling"):
        train(tiny_run(epochs=1, coupling="full"), few_digits(), run, resume=True)
    assert changed_key(tiny_run(), tiny_run()) is None
    assert changed_key(tiny_run(), tiny_run(train_images=None)) == "training.train_images"


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        train(tiny_run(), few_digits(), tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("broken", ["model", "state", "picture"])
def test_failed_write_leaves_the_epoch_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """A disk that fills up in epoch 2: every file is whole, and the run resumes exactly."""
    config = tiny_run(epochs=2)
    whole = train(config, few_digits(), tmp_path / "whole")
    real, written = checkpoint.write_atomic, []
    name, time = {
        "model": ("model.safetensors", 3),  # the initial one, epoch 1, epoch 2
        "state": ("state.safetensors", 3),
        "picture": ("curves.png", 2),
    }[broken]

    def full_disk(path: Path, content: bytes | str) -> None:
        written.append(path.name)
        if path.name == name and written.count(name) == time:
            raise InputError(f"a place to write {path}", "No space left", "make room")
        real(path, content)

    monkeypatch.setattr("pdenet.training.checkpoint.write_atomic", full_disk)
    monkeypatch.setattr("pdenet.training.records.write_atomic", full_disk)
    with pytest.raises(InputError, match="No space left"):
        train(config, few_digits(), tmp_path / "run")
    monkeypatch.undo()
    load_run(tmp_path / "run")
    assert len(load_state(tmp_path / "run").rows) == 1
    train(config, few_digits(), tmp_path / "run", resume=True)
    expected = load_file(whole.run / "model.safetensors")
    got = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(expected[key], got[key]) for key in expected)


def _refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_run(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_files_are_refused(tmp_path: Path) -> None:
    assert "no such file" in _refused(tmp_path / "nowhere")
    assert "no such file" in _refused(tmp_path)


@given(content=st.binary(max_size=400))
def test_random_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "random.safetensors"
    file.write_bytes(content)
    _refused(file)


@given(data=st.data())
def test_damaged_files_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A run cut short or with bytes changed: an InputError, or (in the weights) other numbers."""
    content = bytearray(_model_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        # Mostly in the header: a change among the weights is not seen by any reader.
        limit = data.draw(st.sampled_from([2000, len(content)]))
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, limit - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    file.write_bytes(content)
    try:
        load_run(file)
    except InputError:
        _refused(file)


def _model_bytes() -> bytes:
    config = tiny_run(widths=(2,), steps=1)
    torch.manual_seed(0)
    return save(PDENet(config.network).state_dict(), _metadata(config))


def _metadata(run: RunConfig, **changes: str) -> dict[str, str]:
    facts = {
        "classes": json.dumps([str(digit) for digit in range(10)]),
        "image_shape": "[8, 8, 1]",
        "mean": "[0.3]",
        "std": "[0.4]",
    }
    head = {"format": "pdenet/1", "config": checkpoint.to_toml(run), "seed": "0"}
    return head | facts | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "pdenet/2"}, "format pdenet/2 instead of pdenet/1"),
        ({"config": "network = 3"}, "network"),
        ({"config": "[network]\nwidth = [4]"}, "widths"),
        ({"classes": "["}, "metadata"),
        ({"classes": "5"}, "metadata"),
        ({"image_shape": '["a", 8, 1]'}, "metadata"),
        ({"mean": "[0.3, 0.3]"}, "metadata"),
    ],
)
def test_wrong_metadata_is_refused(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    config = tiny_run(widths=(2,), steps=1)
    file = tmp_path / "m.safetensors"
    save_file(PDENet(config.network).state_dict(), file, _metadata(config, **changes))
    assert message in _refused(file)


def test_weights_of_another_configuration_are_refused(tmp_path: Path) -> None:
    config = tiny_run(widths=(2,), steps=1)
    file = tmp_path / "m.safetensors"
    weights = PDENet(config.network).state_dict()
    save_file(weights, file, _metadata(tiny_run(widths=(3,), steps=1)))
    assert "instead of" in _refused(file)
    save_file(weights, file, _metadata(tiny_run(widths=(2,), steps=2)))
    assert "missing: blocks.0.steps.1" in _refused(file)
    save_file(weights | {"extra": torch.zeros(1)}, file, _metadata(config))
    assert "unexpected: extra" in _refused(file)
    save_file(weights, file)
    assert "format none" in _refused(file)


def test_a_file_that_lies_about_its_size_allocates_nothing(tmp_path: Path) -> None:
    config = tiny_run(widths=(2,), steps=1)
    file = tmp_path / "m.safetensors"
    huge = tiny_run(widths=(10**6,), steps=1)
    save_file(PDENet(config.network).state_dict(), file, _metadata(huge))
    assert "instead of" in _refused(file)


def test_state_of_another_network_is_refused(run: Path) -> None:
    state = load_state(run)
    network = PDENet(tiny_run(widths=(2, 2)).network)
    optimizer = build_optimizer(network, tiny_run().training)
    with pytest.raises(InputError, match="instead of"):
        checkpoint.restore(state, network, optimizer)
