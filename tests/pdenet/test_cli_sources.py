"""Commands that read operators (`spectrum`, `stability`, `compare`) and `train` before them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save, save_file
from safetensors.torch import save_file as save_torch

from analysis.couplings import Full
from analysis.grid import Grid
from pdenet.cli import inspect
from pdenet.cli.common import Output
from pdenet.cli.train import configuration_keys
from pdenet.training.config import RunConfig
from tests.pdenet.cli_runner import ENVELOPE, refused, run

LAYER_KEYS = {
    "name",
    "shape",
    "coupling",
    "boundary",
    "size",
    "norm",
    "norm_interval",
    "norm_certified",
    "frequency",
    "spectral_radius",
    "log_norm",
    "singular_values",
}
TRAIN_KEYS = {
    "run",
    "epochs",
    "train_loss",
    "test_accuracy",
    "weights",
    "multiply_adds",
    "seconds",
    "status",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run, trained by the command itself."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    words = ["--epochs", 1, "--train-images", 60, "--test-images", 40, "--widths", "4,8"]
    done = run("train", *words, "--out", out, "--json", "-")
    assert done.status == 0, done.err
    assert done.json.keys() == TRAIN_KEYS | ENVELOPE
    assert done.json["status"] == "completed"
    assert done.json["run"] == str(out)
    return out


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    file = tmp_path / "weights.npz"
    np.savez(
        file,
        first=rng.standard_normal((4, 3, 3, 3)),
        mix=rng.standard_normal((4, 4, 1, 1)),
        square=rng.standard_normal((4, 4, 3, 3)),
        head=rng.standard_normal((10, 4)),
    )
    return file


def test_spectrum_has_the_keys_of_the_contract_and_the_values_of_the_dense_matrix(
    weights: Path,
) -> None:
    found = run("spectrum", weights, "--size", "4x6", "--json", "-").json
    assert found.keys() == {"layers"} | ENVELOPE
    assert "dense stride-1 convolution" in found["warnings"][0]
    assert [layer["name"] for layer in found["layers"]] == ["first", "mix", "square"]
    arrays = np.load(weights)
    for layer in found["layers"]:
        assert layer.keys() == LAYER_KEYS
        matrix = Full(arrays[layer["name"]]).to_dense(Grid((4, 6)))
        values = np.linalg.svd(matrix, compute_uv=False)
        assert layer["norm"] == pytest.approx(values[0], rel=1e-12)
        assert layer["singular_values"]["count"] == values.size
        assert layer["singular_values"]["min"] == pytest.approx(values[-1], abs=1e-12)
        assert layer["norm"] <= layer["norm_certified"] * (1 + 1e-12)
        if layer["name"] == "first":
            assert layer["spectral_radius"] is None
        else:
            radius = np.abs(np.linalg.eigvals(matrix)).max()
            assert layer["spectral_radius"] == pytest.approx(radius, rel=1e-10)


@pytest.mark.parametrize("boundary", ["zeros", "reflect", "replicate"])
def test_boundaries_without_a_transform_give_an_interval(boundary: str, weights: Path) -> None:
    words = ["--size", "5", "--boundary", boundary, "--layer", "square"]
    (layer,) = run("spectrum", weights, *words, "--json", "-").json["layers"]
    matrix = Full(np.load(weights)["square"]).to_dense(Grid((5, 5), boundary=boundary))
    norm = np.linalg.norm(matrix, 2)
    lower, upper = layer["norm_interval"]
    assert layer["norm"] == lower == pytest.approx(norm, rel=1e-7)
    assert norm <= upper <= layer["norm_certified"] * (1 + 1e-12)
    assert layer["singular_values"]["min"] is None


def test_groups_and_strides_are_taken_as_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "w.npz", dw=rng.standard_normal((4, 1, 3, 3)))
    line = refused("spectrum", tmp_path / "w.npz")
    assert "--groups dw=4 if it is depthwise" in line
    words = ["--groups", "dw=4", "--stride", "dw=2", "--size", "8x8", "--json", "-"]
    (layer,) = run("spectrum", tmp_path / "w.npz", *words).json["layers"]
    assert layer["coupling"] == "depthwise"
    assert layer["singular_values"]["count"] == 4 * 16
    assert run("spectrum", tmp_path / "w.npz", "--groups", "dw=2", "--json", "-").status == 0


def test_values_and_figures_are_written(weights: Path, tmp_path: Path) -> None:
    file, figure = tmp_path / "values.npz", tmp_path / "spectra.png"
    words = ["--size", "8x8", "--values", file, "--save", figure, "--method", "rk4", "--step", 0.1]
    done = run("spectrum", weights, *words, "--json", "-")
    values = np.load(file)
    for layer in done.json["layers"]:
        assert values[layer["name"]].max() == layer["norm"]
        assert layer["amplification"] >= 0
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_half_precision_weights_are_read(tmp_path: Path) -> None:
    exact = torch.tensor([[[[0.5, -1.0, 0.5]]]])
    for name, dtype in (("bf", torch.bfloat16), ("half", torch.float16)):
        save_torch({"w": exact.to(dtype)}, tmp_path / f"{name}.safetensors")
        words = [tmp_path / f"{name}.safetensors", "--size", "4", "--json", "-"]
        assert run("spectrum", *words).json["layers"][0]["norm"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--layer", "sqare"], "did you mean 'square'?"),
        (["--size", "8y8"], "HxW for --size"),
        (["--size", "0x8"], "HxW for --size"),
        (["--boundary", "circular"], "a boundary out of periodic"),
        (["--method", "rk4"], "--method and --step together"),
        (["--method", "rk4", "--step", "-1"], "a positive number for --step"),
        (["--method", "rk5", "--step", "1"], "did you mean 'rk4'?"),
        (["--groups", "first"], "NAME=NUMBER for --groups"),
        (["--groups", "nothing=2"], "a layer for --groups"),
        (["--groups", "first=3"], "layer first"),
        (["--stride", "first=0"], "NAME=NUMBER for --stride"),
        (["--stride", "first=5"], "stride 5 divides"),
        (["--values", "values.txt"], "a file that ends in .npz"),
    ],
)
def test_bad_input_of_spectrum_is_refused(words: list[str], part: str, weights: Path) -> None:
    assert part in refused("spectrum", weights, *words)


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.zeros((2, 2, 4, 4)), "an odd number of taps"),
        (np.zeros((2, 2, 2, 3)), "an odd number of taps"),
        (np.full((1, 1, 3, 3), np.nan), "finite weights in layer w"),
        (np.zeros((0, 1, 3, 3)), "layer w"),
        (np.zeros((1, 1, 3, 3), complex), "real numbers for layer w"),
        (np.zeros((3, 3)), "4-D weights"),
    ],
)
def test_weights_that_are_no_convolution_are_refused(
    array: np.ndarray, part: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "w.npz", w=array)
    assert part in refused("spectrum", tmp_path / "w.npz")


def test_every_layer_of_a_run_is_found_at_its_own_size(trained: Path) -> None:
    layers = run("spectrum", trained, "--json", "-").json["layers"]
    sizes = {layer["name"]: layer["size"] for layer in layers}
    assert sizes["opening.operator"] == [8, 8]
    assert sizes["blocks.1.steps.2.term.operator"] == [4, 4]
    assert {layer["coupling"] for layer in layers} == {"full", "lean", "pointwise"}
    assert {layer["boundary"] for layer in layers} == {"zeros"}
    assert run("spectrum", trained / "model.safetensors", "--json", "-").json["layers"] == layers


def test_stability_of_a_run_names_its_tightest_step(trained: Path) -> None:
    found = run("stability", trained, "--json", "-").json
    assert found["method"] == "euler"
    assert "blocks." in found["assumption"]
    limit = found["largest_stable_step"]
    # The non-expansive limit holds for all sizes, so it cannot be above the one of this size.
    assert 0 < found["nonexpansive_limit"] <= limit * (1 + 1e-12)
    single = [
        run("stability", trained, "--layer", f"blocks.{i}.steps.{j}", "--json", "-").json
        for i in range(2)
        for j in range(3)
    ]
    assert min(item["largest_stable_step"] for item in single) == limit
    assert run("stability", trained, "--step", 0.99 * limit).status == 0
    assert run("stability", trained, "--step", 2 * limit).status == 1


def test_stability_of_weights_is_that_of_their_gram_matrix(weights: Path) -> None:
    words = ["--method", "euler", "--size", "4x4", "--layer", "square", "--json", "-"]
    found = run("stability", weights, *words).json
    norm = np.linalg.norm(Full(np.load(weights)["square"]).to_dense(Grid((4, 4))), 2)
    assert found["largest_stable_step"] == pytest.approx(2 / norm**2, rel=1e-12)
    assert "-K^T K" in found["assumption"]


def test_options_of_weight_files_are_refused_for_runs(trained: Path) -> None:
    assert "a file of weights beside --groups" in refused("spectrum", trained, "--groups", "a=2")
    assert "did you mean" in refused("spectrum", trained, "--layer", "opening.operato")
    assert "pdenet inspect" in refused("stability", trained, "--layer", "opening")


def test_compare_lists_runs_side_by_side(trained: Path) -> None:
    done = run("compare", trained, trained, "--json", "-")
    assert done.json.keys() == {"runs"} | ENVELOPE
    first, second = done.json["runs"]
    assert first == second
    assert first.keys() >= {"run", "weights", "multiply_adds", "test_accuracy", "seconds"}
    limit = run("stability", trained, "--json", "-").json["nonexpansive_limit"]
    assert first["step_margin"] == pytest.approx(limit, rel=1e-12)  # at step size 1


@pytest.mark.parametrize("name", ["model.safetensors", "absent"])
def test_damaged_runs_are_refused_in_one_line(name: str, trained: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    if name != "absent":
        (broken / name).write_bytes((trained / name).read_bytes()[:-7])
    for command in (["spectrum"], ["stability"], ["compare"]):
        refused(*command, broken)


@settings(max_examples=60)
@given(position=st.integers(0, 10_000), junk=st.binary(min_size=1, max_size=30))
def test_damaged_weight_files_end_in_one_line_or_a_result(
    position: int, junk: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = save({"w": np.ones((1, 1, 3, 3), np.float32)})
    position %= len(whole)
    file = tmp_path_factory.mktemp("damaged") / "w.safetensors"
    file.write_bytes(whole[:position] + junk + whole[position + len(junk) :])
    done = run("spectrum", file, "--size", "4")
    assert done.status in (0, 2), done.err
    assert "Traceback" not in done.err
    assert done.status == 0 or done.err.count("\n") == 1


def test_a_safetensors_file_of_another_tool_is_read_as_weights(tmp_path: Path) -> None:
    kernel = np.zeros((1, 1, 3, 3), np.float32)
    kernel[0, 0, 1, 1] = 3.0
    file = tmp_path / "w.safetensors"
    save_file({"w": kernel}, file, metadata={"made": "elsewhere"})
    assert run("spectrum", file, "--json", "-").json["layers"][0]["norm"] == pytest.approx(3.0)
    save_file({"w": kernel}, file, metadata={"format": "pt"})  # what transformers writes
    assert run("spectrum", file, "--json", "-").json["layers"][0]["norm"] == pytest.approx(3.0)


def test_train_has_an_option_for_every_key_of_the_configuration() -> None:
    text = " ".join(run("train", "--help").out.split())
    defaults = {
        f"{table.name}.{item.name}": getattr(getattr(RunConfig(), table.name), item.name)
        for table in dataclasses.fields(RunConfig)
        for item in dataclasses.fields(getattr(RunConfig(), table.name))
    }
    for key in configuration_keys():
        option = "--" + key.partition(".")[2].replace("_", "-")
        assert option in text, option
        if isinstance(defaults[key], str) and key != "training.data":
            assert defaults[key] in text, (key, defaults[key])


def test_options_override_the_file(tmp_path: Path) -> None:
    config = tmp_path / "small.toml"
    config.write_text('[network]\nwidths = [4]\ncoupling = "full"\n[training]\nepochs = 5\n')
    words = ["--epochs", 1, "--coupling", "depthwise", "--train-images", 40, "--test-images", 40]
    assert run("train", config, *words, "--out", tmp_path / "run").status == 0
    text = (tmp_path / "run" / "config.toml").read_text()
    assert 'coupling = "depthwise"' in text
    assert "epochs = 1\n" in text
    assert run("spectrum", tmp_path / "run", "--layer", "blocks", "--json", "-").status == 0


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--coupling", "leen"], "did you mean 'lean'?"),
        (["--method", "rk5"], "did you mean 'rk4'?"),
        (["--step-size", "0"], "a positive step size"),
        (["--widths", "16;32"], "--widths"),
        (["--data", "digts"], "digts"),
        (["--epochs", "0"], "epochs"),
        (["--constraint", "nonexpansiv"], "did you mean 'nonexpansive'?"),
        (["no-such.toml"], "no-such.toml"),
        (["--resume"], "no such file"),
    ],
)
def test_bad_input_of_train_leaves_no_run(words: list[str], part: str, tmp_path: Path) -> None:
    assert part in refused("train", *words, "--out", tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_in_use_is_refused(trained: Path) -> None:
    assert "a new or empty run folder" in refused("train", "--epochs", 1, "--out", trained)


def test_a_diverged_training_exits_one(tmp_path: Path) -> None:
    words = ["--epochs", 1, "--learning-rate", "1e30", "--train-images", 200, "--widths", "4"]
    done = run("train", *words, "--out", tmp_path / "run", "--json", tmp_path / "t.json")
    assert done.status == 1, done
    assert json.loads((tmp_path / "t.json").read_text())["status"] == "diverged"


def test_the_verdict_table_fits_the_screen_and_names_the_grades(
    capsys: pytest.CaptureFixture[str],
) -> None:
    layer = {
        "name": "blocks.10.steps.12",
        "kind": "parabolic",
        "coupling": "circulant",
        "step_size": 1.0,
        "limit": 0.0123456789,
        "measured_growth": 35.987654321,
        "growth_certified": 123.456789,
        "grade": "violated",
    }
    other = dict(layer, grade="not-applicable", coupling=None, limit="inf")
    inspect.show_layers(Output("inspect", None), [layer, other])
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "block 10 step 12" in out
    assert "violated" in out
    assert "not-applicable" in out
