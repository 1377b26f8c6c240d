"""The peers of the benchmarks compute the same, and times are taken as is said."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pdenet.networks import NetworkConfig, PDENet

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def load(name: str):
        file = ROOT / "benchmarks" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_the_plain_network_is_the_network(script) -> None:
    config = NetworkConfig(in_channels=3, widths=(4, 6), steps=2, coupling="full", step_size=0.3)
    torch.manual_seed(0)
    network = PDENet(config).double()
    images = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    forward = script("training")._plain(network)
    gradients = []
    for function in (network, forward):
        network.zero_grad()
        function(images).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)
    network.eval()
    torch.testing.assert_close(network(images), forward(images), rtol=1e-12, atol=1e-12)


def test_the_peer_of_lean_is_lean(script) -> None:
    modules = script("operators")._modules(4)
    lean, peer = modules["lean"], modules["peer lean"]
    dense = lean.coupling().dense_weight()
    with torch.no_grad():
        centre = torch.diagonal(lean.pointwise).clone()
        peer.mixing.weight.copy_((lean.pointwise - torch.diag(centre))[:, :, None, None])
        peer.mixing.bias.copy_(lean.bias)
        peer.local.weight.copy_(torch.diagonal(dense).permute(2, 0, 1)[:, None])
        images = torch.randn(2, 4, 5, 6)
        torch.testing.assert_close(lean(images), peer(images))


def test_half_of_the_frequencies_hold_the_norm(script) -> None:
    spectra = script("spectra")
    weight = np.random.default_rng(0).standard_normal((3, 2, 3, 3))
    whole, half = spectra._fft_svd(weight, 8), spectra._half_svd(weight, 8)
    assert half.size == whole.size * 5 / 8
    assert half.max() == pytest.approx(whole.max())


def test_rounds_begin_with_another_candidate(script) -> None:
    common, seen = script("_common"), []
    work = {name: (lambda name=name: seen.append(name)) for name in "abc"}
    seconds = common.interleaved(work, 4)
    assert "".join(seen) == "abcabc" + "abc" + "bca" + "cab" + "abc"
    assert set(seconds) == {"a", "b", "c"} and min(seconds.values()) >= 0


def test_results_name_machine_and_commit(script, tmp_path) -> None:
    script("_common").write_results(tmp_path / "new" / "one.json", {"rows": [{"ratio": np.inf}]})
    kept = json.loads((tmp_path / "new" / "one.json").read_text())
    assert kept["rows"] == [{"ratio": "inf"}]
    assert {"processor", "cores", "torch_threads", "numpy_threads", "load"} <= set(kept["machine"])
    assert kept["commit"] == "unknown" or len(kept["commit"].removesuffix("-modified")) == 12
    assert sys.modules["torch"].__version__ == kept["machine"]["torch"]


def test_a_folder_that_is_no_working_copy_has_no_commit(script, monkeypatch, tmp_path) -> None:
    common = script("_common")
    monkeypatch.setattr(common, "__file__", str(tmp_path / "benchmarks" / "_common.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert common.commit() == "unknown"
    monkeypatch.setenv("PATH", "")
    assert common.commit() == "unknown"
