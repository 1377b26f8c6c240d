"""The peers of the benchmarks compute the same, and times are taken as is said."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis import backend
from analysis.couplings import Full
from analysis.grid import Grid
from pdenet.networks import NetworkConfig, PDENet
from pdenet.operators.conv import make_operator

ROOT = Path(__file__).parents[2]


def load_script(name: str):
    file = ROOT / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return load_script


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
    lean = make_operator("lean", 4, 4)
    peer = script("_operator_peers").SumOfTwo(4)
    dense = lean.coupling().dense_weight()
    with torch.no_grad():
        centre = torch.diagonal(lean.pointwise).clone()
        peer.mixing.weight.copy_((lean.pointwise - torch.diag(centre))[:, :, None, None])
        peer.mixing.bias.copy_(lean.bias)
        peer.local.weight.copy_(torch.diagonal(dense).permute(2, 0, 1)[:, None])
        images = torch.randn(2, 4, 5, 6)
        torch.testing.assert_close(lean(images), peer(images))


def test_blocks_have_the_weights_of_the_papers(script) -> None:
    c = 64
    blocks = script("_operator_peers").blocks(c)
    norms = {"ResNet basic": 4 * c, "MobileNet V2 (t = 6)": 26 * c, "ResNeXt": 4 * c}
    expected = {
        "ResNet basic": 18 * c * c,
        "MobileNet V2 (t = 6)": 12 * c * c + 54 * c,
        "ResNeXt": c * c + 9 * (c // 2) * 4,
        "ShuffleNet V2": c * c // 2 + 9 * c // 2,
        "lean residual": 2 * (c * c + 8 * c),
        "lean parabolic": c * c + 8 * c,
        "circulant parabolic": 9 * c,
        "depthwise parabolic": 9 * c,
    }
    images = torch.randn(2, c, 4, 4)
    for name, block in blocks.items():
        counted = sum(p.numel() for p in block.parameters())
        own_norms = norms.get(
            name, {"ShuffleNet V2": 3 * c, "lean residual": 4 * c}.get(name, 2 * c)
        )
        assert counted == expected[name] + own_norms, name
        assert block(images).shape == images.shape


def test_a_shuffle_unit_mixes_halves_of_the_channels(script) -> None:
    unit = script("_operator_peers").ShuffleUnit(4).eval()
    images = torch.randn(1, 4, 3, 3)
    # Half of the channels pass untouched, interleaved with the branch.
    torch.testing.assert_close(unit(images)[:, ::2], images[:, :2])
    torch.testing.assert_close(unit(images)[:, 1::2], unit.branch(images[:, 2:]))


def test_rows_of_operators(script) -> None:
    operators = script("operators")
    rows = operators.rows(quick=True)
    assert {row["section"] for row in rows} == set(operators._ORDER)
    for row in of(rows, "couplings"):
        assert min(row["ms"], row["memory"], row["of_bound"], row["of_1x1"]) > 0
        if row["coupling"] in ("nn.Conv2d 3x3", "full"):
            assert row["fewer_operations"] == pytest.approx(1)
        if row["coupling"] == "lean":
            assert row["fewer_operations"] == pytest.approx(9 * 16 / (16 + 8))
    reference = [row for row in of(rows, "couplings") if row["coupling"] == "nn.Conv2d 3x3"]
    assert all(row["times_faster"] == row["memory"] == 1 for row in reference)
    assert of(rows, "blocks")[0]["faster"] == 1


def test_peak_bytes_of_tensors(script) -> None:
    """Three tensors at once, of four."""
    script("operators")

    def run() -> None:
        a = torch.empty(10**6)
        b = torch.empty(10**6)
        c = torch.empty(10**6)
        del a, b, c
        torch.empty(10**6)

    assert sys.modules["_operator_machine"].peak_bytes(run) == 3 * 4 * 10**6


SIDE = 6
WEIGHTS = [(2, 3), (3, 2), (4, 4)]


def random_weight(channels: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(channels).standard_normal((*channels, 3, 3))


def dense_values(weight: np.ndarray, boundary: str = "periodic") -> np.ndarray:
    """Of the matrix of all pixels, built from shifts: no transform."""
    matrix = Full(weight).to_dense(Grid((SIDE, SIDE), boundary=boundary))
    return np.linalg.svd(matrix, compute_uv=False)


@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("channels", WEIGHTS)
def test_transform_and_decomposition_give_all_values(script, channels, library) -> None:
    peers, weight = script("_peers"), random_weight(channels)
    whole = np.asarray(peers.fft_svd(library(weight), SIDE))
    np.testing.assert_allclose(np.sort(whole.ravel())[::-1], dense_values(weight), atol=1e-12)
    half = np.asarray(peers.fft_svd(library(weight), SIDE, half=True))
    assert half.size == whole.size * (SIDE // 2 + 1) / SIDE
    assert half.max() == pytest.approx(whole.max())


@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("channels", WEIGHTS)
def test_gram_iteration_bounds_the_norm_and_tightens(script, channels, library) -> None:
    weight = random_weight(channels)
    norm, iterate = dense_values(weight)[0], script("_peers").gram_iteration
    bounds = [iterate(library(weight), SIDE, iterations=n) / norm for n in range(8)]
    assert all(a >= b >= 1 - 1e-14 for a, b in itertools.pairwise(bounds))
    least = min(channels) ** 0.5
    assert all(bound <= least ** (0.5**n) + 1e-12 for n, bound in enumerate(bounds))


def test_gram_iteration_of_great_and_tiny_weights(script) -> None:
    peers, weight = script("_peers"), random_weight((4, 4))
    bound = peers.gram_iteration(weight, SIDE)
    for scale in (1e-60, 1e60):
        assert peers.gram_iteration(scale * weight, SIDE) == pytest.approx(scale * bound)


@pytest.mark.parametrize("channels", WEIGHTS)
def test_power_iterations_approach_the_norm_under_zero_padding(script, channels) -> None:
    peers, weight = script("_peers"), torch.from_numpy(random_weight(channels))
    norm = dense_values(weight.numpy(), "zeros")[0]
    found, _ = peers.power_iteration(weight, SIDE, tolerance=1e-12)
    assert norm * (1 - 1e-5) < found < norm * (1 + 1e-12)
    quick, steps = peers.power_iteration(weight, SIDE, tolerance=1e-2)
    assert quick < found and steps < 100
    torch.manual_seed(0)
    warm, leaf = peers.WarmPower(weight, SIDE), weight.clone().requires_grad_()
    for _ in range(5000):
        value = warm(leaf)
    value.backward()
    assert float(value.detach()) == pytest.approx(norm, rel=1e-4)
    # The norm is linear along the weight itself.
    assert float((leaf.grad * weight).sum()) == pytest.approx(norm, rel=1e-4)


def test_the_remaining_norms(script) -> None:
    peers, weight = script("_peers"), random_weight((4, 4))
    assert peers.lanczos(weight, SIDE) == pytest.approx(dense_values(weight)[0], rel=1e-3)
    leaf = torch.from_numpy(weight).requires_grad_()
    norm = peers.svd_norm(leaf, SIDE)
    norm.backward()
    assert float(norm.detach()) == pytest.approx(dense_values(weight)[0])
    assert float((leaf.grad * leaf.detach()).sum()) == pytest.approx(dense_values(weight)[0])
    # One strong direction: sixteen iterations are enough.
    weight = 0.01 * weight + np.multiply.outer(np.ones(4), np.ones((4, 3, 3)))
    reshaped = peers.reshaped_norm(torch.from_numpy(weight))
    assert reshaped == pytest.approx(np.linalg.norm(weight.reshape(4, -1), 2), rel=1e-4)


def test_samples_are_spread_over_all_frequencies(script) -> None:
    sample = script("_peers").sample
    assert np.array_equal(sample(4, 100), np.arange(16))
    assert {0, 255} <= set(sample(16, 8)) and len(sample(16, 8)) == 8


@pytest.fixture(scope="module")
def quick_rows():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield load_script("spectra").rows(quick=True)


def of(rows: list[dict], section: str) -> list[dict]:
    found = [row for row in rows if section in row["section"]]
    assert found
    return found


def test_rows_of_a_section_have_the_same_keys(quick_rows) -> None:
    keys: dict[str, set[str]] = {}
    for row in quick_rows:
        assert keys.setdefault(row["section"], set(row)) == set(row)
        assert {"coupling", "threads", "device"} <= set(row)


def test_errors_of_singular_values_are_what_is_promised(quick_rows) -> None:
    promised = {"float64 values": 1e-11, "float64 norm": 1e-9, "float32 norm": 1e-4}
    for row in of(quick_rows, "all singular values"):
        assert row["error_large"] <= promised[row["computes"]]
        assert row["error"] <= 1e-3
    for row in of(quick_rows, "structured"):
        assert row["error"] <= (1e-11 if row["computes"] == "values" else 0.0101)


def test_certified_norms_are_as_narrow_as_asked_and_peers_near_them(quick_rows) -> None:
    for row in of(quick_rows, "certified norm, width"):
        assert row["width"] <= 1.0001e-3
        # No norm at one image size is above the supremum but by what an upper bound adds.
        assert row["peer_error"] <= (8**0.5) ** (0.5**6) - 1 + 1e-9


def test_the_estimate_stays_close_and_the_bound_above(quick_rows) -> None:
    for row in of(quick_rows, "norm estimate"):
        assert row["shortfall"] <= 1e-4 and row["share_short"] == 0
    for row in of(quick_rows, "norm bound"):
        assert 1 <= row["least_ratio"] <= row["largest_ratio"] < 1.2


def test_peak_memory_is_measured_and_small(quick_rows, script) -> None:
    for row in of(quick_rows, "memory"):
        assert 0 < row["ours_mb"] < 20
    peak = script("_spectra_norms").peak_bytes(lambda: np.zeros(10**6))
    assert 8e6 <= peak < 8.1e6


def test_rows_of_tensors_as_an_accelerator_would_give_them(script) -> None:
    values, norms = script("_spectra_values"), script("_spectra_norms")
    rows = values.full_rows(4, 4, 1, 16, device="cpu:0")
    rows += values.structured_rows(4, 4, 1, device="cpu:0")
    assert all(row["error"] < 1e-5 or row["computes"] == "norm" for row in rows)
    layers = {"random": [values.full_weight(4)]}
    for row in norms.certified_rows(layers, 4, 1, count=16, device="cpu:0"):
        assert row["peer_error"] < 0.02 and row["width"] <= 1.0001e-3


def test_lapack_alone_is_alone_only_inside(script) -> None:
    values = script("_spectra_values")
    before = backend._LANES_FROM
    with values.lapack_alone():
        assert backend._LANES_FROM > 10**9
    assert before == backend._LANES_FROM


def test_a_distribution_is_as_far_from_the_whole_as_is_said(quick_rows) -> None:
    for row in of(quick_rows, "distribution"):
        assert 0 <= row["distance"] <= 0.02 and row["stated_distance"] <= 0.01


def test_threads_are_given_back(script) -> None:
    before = torch.get_num_threads()
    with script("_common").threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_rounds_begin_with_another_candidate(script) -> None:
    common, seen = script("_common"), []
    work = {name: (lambda name=name: seen.append(name)) for name in "abc"}
    seconds = common.interleaved(work, 4)
    assert "".join(seen) == "abcabc" + "abc" + "bca" + "cab" + "abc"
    assert set(seconds) == {"a", "b", "c"} and min(seconds.values()) >= 0


def test_short_work_is_repeated_and_counts_its_mean(script) -> None:
    now, runs = [0.0], []

    def run() -> None:
        runs.append(1)
        now[0] += 3.0

    seconds = script("_common").interleaved({"a": run}, 1, warm=0, least=10.0, clock=lambda: now[0])
    assert len(runs) == 4 and seconds == {"a": 3.0}


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
