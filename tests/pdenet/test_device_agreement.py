"""The comparison of two devices: the CPU agrees with itself, and a wrong device is found out."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pdenet.data.sources import load_data

ROOT = Path(__file__).parents[2]


def _script(name: str):
    """A script of benchmarks as a module, which finds `_common` beside it."""
    file = ROOT / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))
    return module


agreement = _script("device_agreement")


@pytest.fixture(scope="module")
def data():
    return load_data("digits", train_images=80, test_images=20)


def case(data, precision: str = "float32", activation: str = "tanh"):
    config = agreement.NetworkConfig(
        widths=(4, 4), steps=1, step_size=0.1, coupling="lean", activation=activation
    )
    images = torch.from_numpy(data.train_images[:16]).permute(0, 3, 1, 2) / 255
    batch = (images, torch.from_numpy(data.train_labels[:16]))
    return agreement.first_step(config, batch, "cpu", precision)


def test_first_steps_agree_with_themselves_for_every_coupling_and_block(data) -> None:
    rows = agreement.first_steps("cpu", "cpu", data, ["depthwise", "lean"])
    assert len(rows) == 3 * 2 * len(agreement.BLOCKS)
    assert {row["precision"] for row in rows} == set(agreement.LIMITS)
    for row in rows:
        assert row["agree"], row
        # The same code in the same precision, and one that is really lower.
        assert (row["gradient_error"] > 1e-4) == (row["precision"] == "bfloat16")


def test_all_blocks_are_compared() -> None:
    for options in agreement.BLOCKS.values():
        config = agreement.NetworkConfig(coupling="depthwise", **options)
        assert config.block == options["block"]
    assert set(agreement.OPERATORS) == {
        *("full", "depthwise", "pointwise", "lean", "circulant", "grouped")
    }


def test_a_perturbed_gradient_is_found_by_name(data) -> None:
    one, other = case(data), case(data)
    limit = agreement.LIMITS["float32"]
    assert agreement.compare_first_steps(one, other, limit)["agree"]
    name = max(other.gradients, key=lambda n: float(other.gradients[n].norm()))
    for factor, agrees in ((1 + 0.5 * limit, True), (1 + 2 * limit, False), (math.nan, False)):
        changed = agreement.FirstStep(
            other.loss, other.gradients | {name: factor * other.gradients[name]}
        )
        found = agreement.compare_first_steps(one, changed, limit)
        assert found["agree"] is agrees
        assert agrees or found["worst_gradient"] == name


@pytest.mark.parametrize("change", [1e-4, math.nan])
def test_another_loss_is_found(data, change: float) -> None:
    one = case(data)
    other = agreement.FirstStep(one.loss * (1 + change), one.gradients)
    assert not agreement.compare_first_steps(one, other, 1e-5)["agree"]


def test_a_missing_gradient_is_found(data) -> None:
    one = case(data)
    fewer = dict(list(one.gradients.items())[1:])
    found = agreement.compare_first_steps(one, agreement.FirstStep(one.loss, fewer), 1.0)
    assert not found["agree"]


def test_a_tensor_that_cancels_counts_with_the_root_mean_square() -> None:
    """Three tensors of norms 3, 4 and zero: the last is measured against 5 / sqrt(3)."""
    gradients = {"a": torch.tensor([3.0]), "b": torch.tensor([4.0]), "c": torch.zeros(1)}
    other = {name: g + 0.1 for name, g in gradients.items()}
    errors = agreement.gradient_errors(
        agreement.FirstStep(1.0, gradients), agreement.FirstStep(1.0, other)
    )
    assert errors == pytest.approx({"a": 0.1 / 3, "b": 0.1 / 4, "c": 0.1 * 3**0.5 / 5})


def test_precisions_are_what_they_are_called(data) -> None:
    double, single, half = (case(data, p) for p in ("float64", "float32", "bfloat16"))
    near = max(agreement.gradient_errors(double, single).values())
    far = max(agreement.gradient_errors(double, half).values())
    assert 1e-9 < near < 1e-5 < 1e-3 < far < 3e-2


def test_certificates_agree_and_a_wrong_device_is_found(monkeypatch) -> None:
    rows = agreement.compare_certificates("cpu", "cpu")
    assert {row["operator"].split()[0] for row in rows} >= set(agreement.OPERATORS)
    assert all(row["agree"] for row in rows), rows
    ends = agreement.certificate_ends

    def of_a_poor_device(coupling, scaling):
        wrong = isinstance(scaling, torch.Tensor) and coupling.name == "lean"
        return [end * (1 + 1e-11 * wrong) for end in ends(coupling, scaling)]

    monkeypatch.setattr(agreement, "certificate_ends", of_a_poor_device)
    disagree = {
        r["operator"] for r in agreement.compare_certificates("cpu", "cpu") if not r["agree"]
    }
    assert disagree == {"lean", "lean float32"}


def test_largest_difference_is_infinite_where_a_number_is_missing() -> None:
    assert agreement.largest_difference([[1.0, 2.0], [1.0, 2.002]]) == pytest.approx(1e-3)
    assert agreement.largest_difference([[1.0], [np.nan]]) == np.inf


def test_accuracies_must_lie_within_the_range_over_seeds() -> None:
    reference = [0.97, 0.98, 0.99]
    assert agreement.compare_accuracies(reference, [0.96, 0.97, 0.98], 360)["agree"]
    for other in ([0.94, 0.95, 0.96], [0.98, 0.98, 0.10], [0.98, 0.98, math.nan]):
        assert not agreement.compare_accuracies(reference, other, 360)["agree"]
    # Seeds that happen to end at the same number: two test images of play.
    assert agreement.compare_accuracies([0.98, 0.98], [0.985, 0.985], 360)["agree"]
    assert not agreement.compare_accuracies([0.98, 0.98], [0.99, 0.99], 360)["agree"]


def test_accuracies_come_from_training(data) -> None:
    once = agreement.accuracies("cpu", "none", [0], data, epochs=1)
    assert once == agreement.accuracies("cpu", "none", [0], data, epochs=1)
    assert 0 <= once[0] <= 1
    assert math.isnan(
        agreement.accuracies("cpu", "none", [0], data, epochs=1, learning_rate=1e9)[0]
    )


FOUND = {
    "first_steps": [{"coupling": "full", "gradient_error": 1e-6, "agree": True}],
    "certificates": [{"operator": "lean", "error": 1e-9, "agree": False}],
    "accuracies": [{"constraint": "none", "other": [0.9], "agree": True}],
}


@pytest.mark.parametrize("failing", [False, True])
def test_the_script_reports_and_keeps_what_it_found(
    failing: bool, monkeypatch, tmp_path, capsys
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(agreement, "RESULTS", tmp_path)
    found = FOUND if failing else {"first_steps": FOUND["first_steps"]}
    monkeypatch.setattr(agreement, "compare", lambda *devices, **options: found)
    common = sys.modules["_common"]
    monkeypatch.setattr(common, "machine", lambda: {"accelerator": "one", "torch": "2"})
    assert agreement.main(["--seed", "3"]) == (1 if failing else 0)
    kept = json.loads((tmp_path / "device_agreement.json").read_text())
    assert kept["seed"] == 3 and kept["agree"] is not failing and kept["commit"]
    assert kept["machine"]["accelerator"] == "one"
    shown = capsys.readouterr().out
    assert ("CPU and CUDA disagree." in shown) is failing
    assert ("certificates: operator lean, error 1e-09" in shown) is failing


@pytest.mark.skipif(torch.cuda.is_available(), reason="compares in earnest where there is one")
def test_without_a_device_nothing_is_compared(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(agreement, "RESULTS", tmp_path)
    assert agreement.main([]) == 0
    assert capsys.readouterr().out == "no CUDA device: nothing compared\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu(data) -> None:
    assert all(row["agree"] for row in agreement.first_steps("cpu", "cuda", data))
    assert all(row["agree"] for row in agreement.compare_certificates("cpu", "cuda"))
