"""Other steppers for trained weights: sub-steps with a proof, stabilised methods without one."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch

from analysis.backend import to_numpy
from analysis.couplings import Full
from analysis.dynamics import parabolic_limits
from analysis.grid import Grid
from analysis.methods import method
from analysis.stability_of import stability_of
from pdenet.inspection.crosscheck import theory_of
from pdenet.inspection.growth import measure_growth
from pdenet.inspection.prescription import needs_remedy
from pdenet.inspection.reader import double_inference, read_layers
from pdenet.inspection.report import inspect_run
from pdenet.inspection.result import Inspection
from pdenet.inspection.steppers import SubSteps, chosen_plans, explicit_plan, with_plans
from pdenet.inspection.variation import time_variation
from pdenet.inspection.verdict import grade
from pdenet.networks import NetworkConfig, PDENet
from pdenet.training.loop import train
from tests.pdenet.training_runs import few_digits, tiny_run


@pytest.fixture(scope="module")
def free_inspection(tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    """A network trained for two epochs with a step far beyond its limits."""
    out = tmp_path_factory.mktemp("free") / "run"
    train(tiny_run(coupling="lean", step_size=4.0), few_digits(), out)
    return inspect_run(out, try_prescription="never")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_sub_steps_prove_every_step_in_the_same_time(free_inspection) -> None:
    """Where a proof is asked the adviser takes sub-steps (theory §4.2)."""
    offenders = needs_remedy(free_inspection.verdicts)
    chosen = chosen_plans(offenders, "non-expansive")
    assert chosen is not None
    remedies = {r.layer: r for r in free_inspection.remedies if r.action.startswith("take sub")}
    network = with_plans(free_inspection.run.network, chosen)
    for verdict in offenders:
        plan, theory = chosen[verdict.layer.name], verdict.theory
        assert plan.method == "euler"
        assert plan.steps * plan.step_size == pytest.approx(theory.step_size)
        assert plan.step_size * theory.curvature <= 2
        assert (plan.steps - 1) * 0.95 * 2 / theory.curvature < theory.step_size
        assert remedies[verdict.layer.name].predicted_growth == 1.0
        step = network.get_submodule(verdict.layer.name)
        assert isinstance(step, SubSteps) and step.count == plan.steps
        # Forward Euler as often, by hand, and no pair of inputs that it drives apart.
        shape = (2, *verdict.layer.features.shape[1:])
        y = torch.randn(shape, generator=seeded(1), dtype=torch.float64)
        double = copy.deepcopy(step).double().eval()
        expected = y
        for _ in range(plan.steps):
            expected = expected + plan.step_size * double.term(expected)
        torch.testing.assert_close(double(y), expected, rtol=1e-12, atol=1e-12)
        other = y + 1e-3 * torch.randn(y.shape, generator=seeded(2), dtype=torch.float64)
        ratio = (double(other) - double(y)).flatten(1).norm(dim=1)
        assert bool((ratio <= (other - y).flatten(1).norm(dim=1) * (1 + 1e-12)).all())
    height, width = 8, 8
    assert network.multiply_adds(height, width) > free_inspection.run.network.multiply_adds(
        height, width
    )


def test_a_stabilised_method_is_advised_by_its_linear_limit_alone(free_inspection) -> None:
    offenders = needs_remedy(free_inspection.verdicts)
    chosen = chosen_plans(offenders, "linear")
    assert chosen is not None
    for verdict in offenders:
        plan, theory = chosen[verdict.layer.name], verdict.theory
        limits = parabolic_limits(plan.method, theory.curvature)
        assert plan.step_size <= limits.linear
        assert plan.applications <= math.ceil(theory.step_size * theory.curvature / 2 / 0.95)
    for remedy in free_inspection.remedies:
        if remedy.action.startswith("take a stabilised"):
            assert remedy.predicted_growth is None


@pytest.mark.parametrize("share", [0.99, 1.01])
def test_five_chebyshev_stages_on_a_trained_block_have_both_limits(free_inspection, share) -> None:
    """theory §4.2: the linear limit, 48.4 over the curvature, and the non-expansive one, 2.9."""
    theory = needs_remedy(free_inspection.verdicts)[0].theory
    limits = parabolic_limits("rkc1:stages=5,damping=1/20", theory.curvature)
    # T_5(w0 + w1 z) / T_5(w0) leaves one at w0 + w1 z = -w0, w1 = T_5(w0) / T_5'(w0).
    T = np.polynomial.Chebyshev.basis(5)
    w0 = 1 + 0.05 / 25
    interval = 2 * w0 * T.deriv()(w0) / T(w0)
    assert interval == pytest.approx(48.4, abs=0.1)
    assert limits.linear * theory.curvature == pytest.approx(interval, rel=1e-12)
    assert 2.8 < limits.nonexpansive * theory.curvature < 2.95
    # The frozen field -K^T S K, all units at full slope, as a dense matrix.
    dense = to_numpy(theory.scaled.dense_weight())
    K = Full(dense).to_dense(Grid((8, 8)))
    values = np.linalg.eigvalsh(-K.T @ K)
    assert -values[0] <= theory.curvature
    R = stability_of("rkc1:stages=5,damping=1/20")
    growth = np.abs(R(share * interval / -values[0] * values)).max()
    assert (growth <= 1) == (share < 1)


def test_the_change_of_operators_from_step_to_step_is_that_of_their_matrices(
    free_inspection,
) -> None:
    found = time_variation(free_inspection.verdicts)
    assert found == free_inspection.to_json()["network"]["time_variation"]
    for block, value in found.items():
        steps = [v for v in free_inspection.verdicts if v.layer.name.startswith(f"{block}.steps")]
        # On a large periodic grid, dense: the certificate is at most 0.1 % above it there.
        scaled = [Full(to_numpy(v.theory.scaled.dense_weight())) for v in steps]
        matrices = [operator.to_dense(Grid((8, 8))) for operator in scaled]
        first, second = matrices
        size = max(np.linalg.norm(first, 2), np.linalg.norm(second, 2))
        assert value == pytest.approx(np.linalg.norm(second - first, 2) / size, rel=0.05)
    twice = [free_inspection.verdicts[1], free_inspection.verdicts[1]]
    assert list(time_variation(twice).values()) == [0.0]
    assert time_variation(twice[:1]) == {}


@pytest.mark.parametrize("method_name", ["ars111", "strang", "backward-euler", "euler"])
def test_only_explicit_steps_are_advised_an_explicit_method(method_name) -> None:
    """The curvature of a step of two parts is that of one part; far beyond, plans take steps."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"normalization": "none", "method": method_name, "step_size": 1e5}
    if method_name in ("ars111", "strang"):
        options |= {"block": "diffusion-reaction"}
    network = double_inference(PDENet(NetworkConfig(widths=(4,), steps=1, **options)))
    images = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    layer = next(layer for layer in read_layers(network, images) if layer.kind == "step")
    theory, growth = theory_of(layer), measure_growth(lambda y: y, layer.features)
    plan = explicit_plan(grade(layer, theory, growth), "linear")
    if method_name == "euler":
        assert plan is not None
        assert method(plan.method).stages <= 50
        assert plan.steps > 1
    else:
        assert plan is None
