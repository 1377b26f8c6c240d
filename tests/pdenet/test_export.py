"""Networks compiled, exported, in lower precision and in ONNX: the same numbers, or a reason.

The whole pairwise cover is examined by `evidence/combinations.py`; here a network of every kind.
"""

from __future__ import annotations

import copy
import importlib.util

import pytest
import torch
from torch import nn

from analysis.errors import InputError
from pdenet import __version__, export
from pdenet.config import from_toml
from pdenet.export import check_without_iteration, export_program, to_onnx
from pdenet.networks import NetworkConfig, PDENet
from pdenet.operators.solves.transforms import filter_circular
from tests.pdenet.combinations import SIZES, configuration, images, label, network, pairwise_cover
from tests.pdenet.graph_checks import (
    Precisions,
    autocast_faults,
    compile_faults,
    export_faults,
    has_iteration,
    onnx_faults,
    values_and_gradients,
)

PARTS = 4
LINEAR = {"block": "diffusion-reaction", "diffusion": "linear"}
GRAPHS = [
    ({"normalization": "batch", "coupling": "circulant", "padding_mode": "replicate"}, SIZES[0]),
    ({**LINEAR, "method": "ars222", "coupling": "lean", "steps": 1}, SIZES[0]),
    ({**LINEAR, "method": "strang", "coupling": "depthwise", "normalization": "layer"}, SIZES[1]),
    (
        {"block": "hamiltonian", "method": "verlet", "backpropagation": "reversible"}
        | {"weights_in_time": "shared", "steps": 2, "padding_mode": "reflect"},
        SIZES[0],
    ),
    (
        {"block": "second-order", "method": "symplectic-euler", "weights_in_time": "legendre"}
        | {"steps": 2, "normalization": "tv", "stencil": "five-point"},
        SIZES[0],
    ),
]
EDGES = {**LINEAR, "method": "strang", "padding_mode": "replicate", "coupling": "lean"}
"""Flows that would be exact for stencils even in each axis, which nothing looks at."""
ITERATIVE = [
    ({"method": "backward-euler", "padding_mode": "zeros"}, "nonlinear equations by Newton"),
    ({"block": "diffusion-reaction", "method": "ars111"}, "ars111 steps solve nonlinear"),
    ({**LINEAR, "method": "sbdf2", "padding_mode": "zeros"}, "gradients at edges of padding 'zer"),
]


@pytest.mark.parametrize(
    ("options", "size"), [*GRAPHS[:4], (ITERATIVE[0][0], SIZES[0]), (EDGES, SIZES[0])]
)
def test_compiles_without_breaks(options, size) -> None:
    assert not compile_faults(configuration(**options), size)


@pytest.mark.parametrize(
    ("options", "size"),
    [*GRAPHS, (EDGES, SIZES[0]), *((options, SIZES[0]) for options, _ in ITERATIVE)],
)
def test_exports(options, size) -> None:
    assert not export_faults(configuration(**options), size)


@pytest.mark.parametrize(("options", "size"), GRAPHS[:4])
def test_onnx_computes_the_same(options, size, tmp_path) -> None:
    assert not has_iteration(configuration(**options))
    assert not onnx_faults(configuration(**options), size, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", range(PARTS))
def test_autocast(part: int) -> None:
    """All of the pairwise cover in bfloat16."""
    found = {label(c): autocast_faults(c, size) for c, size in pairwise_cover()[0][part::PARTS]}
    assert not {name: faults for name, faults in found.items() if faults}


def test_transforms_and_solves_are_seen_in_their_precision() -> None:
    """The record of ``autocast_faults`` holds what it forbids, forward and backward."""
    config = configuration(**LINEAR, method="ars222", coupling="lean")
    model = network(config, dtype=torch.float32)
    x = images(2, dtype=torch.float32)
    with Precisions() as found, torch.autocast("cpu", dtype=torch.bfloat16):
        values_and_gradients(model, model, x)
    names = {name.split(".")[1] for name, _ in found.seen}
    assert {"_fft_r2c", "_fft_c2r", "linalg_cholesky_ex", "linalg_solve_triangular"} <= names
    with Precisions() as found:
        filter_circular(images(1), torch.ones(1, 5, 3), (2, 3))
    assert torch.float64 in {dtype for _, dtype in found.seen}


@pytest.mark.parametrize(("options", "reason"), ITERATIVE)
def test_iterative_solves_are_refused(options, reason: str, tmp_path, monkeypatch) -> None:
    """With the step and the reason, before any work and whatever is installed."""
    model = network(configuration(**options), dtype=torch.float32)
    monkeypatch.setattr(torch.onnx, "export", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"blocks\.0\.steps\.0, whose .*{reason}"):
        to_onnx(model, tmp_path / "network.onnx", (2, 5, 4))
    assert not list(tmp_path.iterdir())


def test_refusals_follow_the_rule_for_the_whole_cover() -> None:
    for config, _ in pairwise_cover()[0]:
        refused = False
        for name, module in PDENet(config).named_modules():
            try:
                check_without_iteration(name, module)
            except InputError:
                refused = True
        assert refused == has_iteration(config), label(config)


def test_missing_packages_are_named(tmp_path, monkeypatch) -> None:
    found = importlib.util.find_spec
    missing = ("onnxscript", "onnxruntime")
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n in missing else found(n))
    with pytest.raises(InputError, match=r"no onnxscript and no onnxruntime; .*'pdenet\[onnx\]'"):
        to_onnx(network(configuration()), tmp_path / "network.onnx", (2, 5, 4))


def test_a_file_that_deviates_is_not_kept(tmp_path, monkeypatch) -> None:
    model = network(configuration(), dtype=torch.float32)
    file = tmp_path / "network.onnx"
    file.write_bytes(b"before")
    exact = export._deviation

    def off(single, path, shape):
        with torch.no_grad():
            single.classifier.bias.add_(0.01)
        return exact(single, path, shape)

    monkeypatch.setattr(export, "_deviation", off)
    with pytest.raises(InputError, match=r"within 0\.0001 of the network, got a deviation of 0\.0"):
        to_onnx(model, file, (2, 5, 4))
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]
    monkeypatch.undo()
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        to_onnx(model, file, (2, 5, 4))


def test_what_a_file_says_of_itself(tmp_path) -> None:
    """Names, a free batch, the origin; the network given stays in training mode and float64."""
    import onnx
    import onnxruntime

    config = configuration(normalization="batch")
    model = network(config).train()
    x = images(2)
    with torch.no_grad():
        expected = copy.deepcopy(model).eval()(x)
    torch.testing.assert_close(export_program(model, (2, 5, 4)).module()(x), expected)
    written = to_onnx(model, tmp_path / "new" / "network.onnx", (2, 5, 4))
    session = onnxruntime.InferenceSession(written.path, providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(["logits"], {"images": x.float().numpy()})[0])
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-5)
    assert model.training and next(model.parameters()).dtype == torch.float64
    assert all(p.requires_grad for p in model.parameters())
    graph = onnx.load(written.path)
    onnx.checker.check_model(graph)
    assert written.size == written.path.stat().st_size and written.image_shape == (2, 5, 4)
    assert written.opset == graph.opset_import[0].version and written.deviation < 1e-5
    dims = graph.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["batch", 2, 5, 4]
    assert (graph.graph.input[0].name, graph.graph.output[0].name) == ("images", "logits")
    said = {entry.key: entry.value for entry in graph.metadata_props}
    assert said["pdenet"] == __version__
    assert from_toml(NetworkConfig, said["configuration"]) == config


def test_other_models_are_written_too(tmp_path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    assert to_onnx(model, tmp_path / "model.onnx", (3, 8, 8)).deviation < 1e-5
    program = export_program(model, (3, 8, 8)).module()
    x = images(3, (8, 8), dtype=torch.float32)
    torch.testing.assert_close(program(x), model(x))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 4), "channels, height, width"),
        ((2, 5, 0), "channels, height, width"),
        ((2, 5.0, 4), "channels, height, width"),
        ((3, 5, 4), r"shape \(B, 2, H, W\)"),
    ],
)
def test_wrong_shapes(shape, message: str, tmp_path) -> None:
    model = network(configuration(), dtype=torch.float32)
    for write in (export_program, lambda m, s: to_onnx(m, tmp_path / "network.onnx", s)):
        with pytest.raises(InputError, match=message):
            write(model, shape)
    with pytest.raises(InputError, match="positive tolerance"):
        to_onnx(model, tmp_path / "network.onnx", (2, 5, 4), tolerance=0)
