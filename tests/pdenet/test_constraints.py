"""The non-expansive constraint: bounds never below the norm, steps never beyond their limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from analysis.certificates import certified_norm
from analysis.contractivity import circle_contractivity_radius
from analysis.couplings import Depthwise, Full, Lean
from analysis.errors import InputError
from analysis.grid import Grid
from analysis.methods import tableau
from pdenet.layers.normalization import inference_affine
from pdenet.layers.time_step import TimeStep
from pdenet.networks import PDENet
from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import OPERATORS
from pdenet.operators.norm import (
    QUICK,
    TIGHT,
    NormBound,
    depthwise_norms,
    matrix_norm_bound,
)
from pdenet.training import constraints
from pdenet.training.checkpoint import load_run
from pdenet.training.constraints import (
    ConstrainedStep,
    NotFinite,
    Projection,
    check_constraint,
    limits_of,
)
from pdenet.training.loop import train
from tests.pdenet.training_runs import few_digits, tiny_run

LIMIT = 1 - 1e-5


def true_norm(coupling: Any, scaling: np.ndarray, boundary: str, size: int) -> float:
    """``||diag(s)^{1/2} K||`` on a grid by the singular values of the dense matrix."""
    grid = Grid((size, size), boundary=boundary)
    dense = coupling.double().to_dense(grid)
    rows = np.repeat(np.sqrt(scaling), size * size)
    return float(np.linalg.norm(rows[:, None] * dense, 2))


def random_network(seed: int, gain: float = 2.0, **changes: Any) -> PDENet:
    """A network with weights, gains and running statistics all over the place."""
    torch.manual_seed(seed)
    network = PDENet(tiny_run(**changes).network)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.normal_(1.0, 1.0)
                assert module.running_var is not None
                assert module.running_mean is not None
                module.running_var.uniform_(0.1, 2.0)
                module.running_mean.normal_()
            elif isinstance(module, StencilOperator):
                for parameter in module.parameters():
                    parameter.mul_(gain)
    return network


def step_values(network: nn.Module, boundary: str = "zeros") -> list[float]:
    """``h L ||S^{1/2} K||^2 / (2 r_cc)`` of every step by the tight certificate, part by part."""
    values = []
    for module in network.modules():
        if isinstance(module, TimeStep):
            total = _certified_square(module, boundary)
            radius = 1.0
            if module.tableau is not None:
                radius = circle_contractivity_radius(module.tableau)
            values.append(module.step_size * total / (2 * radius))
    return values


def _certified_square(step: TimeStep, boundary: str) -> float:
    weights, scales = [], []
    (limit,) = limits_of(step)
    for operator, norm, slope in limit.parts:
        dense = operator.coupling().double().dense_weight().detach()
        margin = (3 - dense.shape[-1]) // 2
        weights.append(nn.functional.pad(dense, (margin,) * 4))
        scale = inference_affine(norm, operator.out_channels)[0]
        scales.append(slope * scale.detach().double())
    stacked = Full(torch.cat(weights))
    result = certified_norm(stacked, row_scaling=torch.cat(scales), boundary=boundary)
    return float(result.upper**2)


CLAIMS: dict[str, dict[str, Any]] = {
    **{name: {"coupling": name} for name in OPERATORS},
    "five-point": {"coupling": "lean", "stencil": "five-point"},
    "no norm": {"coupling": "full", "normalization": "none"},
    "depthwise, no norm": {"coupling": "depthwise", "normalization": "none"},
    "shared": {"coupling": "lean", "weights_in_time": "shared"},
    "rk4, small steps": {"method": "rk4", "step_size": 0.3},
    "rkc1": {"method": "rkc1:stages=5,damping=0"},
    "reflect": {"padding_mode": "reflect", "widths": (4,)},
    "circular": {"padding_mode": "circular"},
    "diffusion-reaction": {"block": "diffusion-reaction", "coupling": "depthwise"},
    "linear diffusion": {"block": "diffusion-reaction", "diffusion": "linear"},
    "implicit": {
        "block": "diffusion-reaction",
        "diffusion": "linear",
        "method": "ars111",
        "coupling": "depthwise",
        "padding_mode": "circular",
    },
}


@pytest.mark.parametrize("changes", CLAIMS.values(), ids=CLAIMS)
def test_projection_reaches_the_limit_and_no_further(changes: dict[str, Any]) -> None:
    network = random_network(1, **changes)
    boundary = {"reflect": "reflect", "circular": "periodic"}.get(
        changes.get("padding_mode", ""), "zeros"
    )
    largest = Projection(network).certify()
    values = step_values(network, boundary)
    assert max(values) <= LIMIT * (1 + 1e-9)
    radius = max(step.limit for step in Projection(network).steps) / 2 / LIMIT
    assert largest == pytest.approx(2 * radius * max(values), rel=0.03)
    if changes.get("coupling") != "depthwise":
        assert min(values) > 0.5, "weights this large end at the limit, not far inside"


@pytest.mark.parametrize("changes", CLAIMS.values(), ids=CLAIMS)
def test_a_network_inside_its_limits_is_left_alone(changes: dict[str, Any]) -> None:
    network = random_network(2, **changes)
    projection = Projection(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    projection.project()
    projection.certify()
    Projection(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("coupling", ["lean", "depthwise"])
def test_inner_function_is_kept(coupling: str) -> None:
    """Operator, mean and variance move together: N(K y) stays what it was."""
    network = random_network(3, coupling=coupling).eval()
    steps = [module for module in network.modules() if isinstance(module, TimeStep)]
    with torch.no_grad():
        for step in steps:
            step.term.normalization.weight.abs_()  # type: ignore[union-attr, operator]
            step.term.normalization.eps = 0.0  # type: ignore[assignment, union-attr]
    y = torch.randn(2, steps[0].term.operator.in_channels, 8, 8)  # type: ignore[arg-type]
    term: Any = steps[0].term
    before = term.normalization(term.operator(y))
    weights = [parameter.clone() for parameter in term.operator.parameters()]
    Projection(network)
    after = term.normalization(term.operator(y))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    changed = zip(weights, term.operator.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in changed)


def test_negative_gains_become_zero() -> None:
    network = random_network(4)
    gains: list[Any] = [step.term.normalization.weight for _, step in network.time_steps()]
    before = [gain.detach().clone() for gain in gains]
    Projection(network)
    assert any(bool((gain < 0).any()) for gain in before)
    for old, new in zip(before, gains, strict=True):
        assert torch.equal(old.clamp(min=0), new.detach())


TRAINED: dict[str, dict[str, Any]] = {
    "lean": {},
    "full": {"coupling": "full"},
    "depthwise": {"coupling": "depthwise"},
    "circulant": {"coupling": "circulant"},
    "grouped": {"coupling": "grouped"},
    "no norm": {"normalization": "none", "learning_rate": 0.05},
    "reflect": {"padding_mode": "reflect", "widths": (8,)},
    "diffusion-reaction": {"block": "diffusion-reaction", "coupling": "depthwise"},
}


@pytest.mark.parametrize("changes", TRAINED.values(), ids=TRAINED)
def test_bound_and_limit_hold_at_every_step_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """Truth by dense singular values, a route that shares nothing with the bounds."""
    real = ConstrainedStep.project
    bound_ratios, values = [], []

    def watched(self: ConstrainedStep) -> None:
        coupling, scaling = self._scaled_operator()
        boundary = self._bound.boundary
        bound = self._bound.bound(coupling, scaling)
        bound_ratios.append(bound / true_norm(coupling, scaling, boundary, 5))
        real(self)
        coupling, scaling = self._scaled_operator()
        norm = true_norm(coupling, scaling, boundary, 5)
        values.append(self._step_size * norm**2 / 2)

    monkeypatch.setattr(ConstrainedStep, "project", watched)
    config = tiny_run(epochs=2, constraint="nonexpansive", **({"learning_rate": 0.1} | changes))
    result = train(config, few_digits(), tmp_path / "run")
    monkeypatch.undo()
    assert result.status == "completed"
    assert len(values) >= 8
    assert min(bound_ratios) >= 1
    assert max(values) <= 1.0
    boundary = "reflect" if "padding_mode" in changes else "zeros"
    kept = load_run(result.run).network
    assert max(step_values(kept, boundary)) <= LIMIT * (1 + 1e-9)
    certified = float((result.run / "metrics.csv").read_text().split(",")[-1])
    assert certified <= 2 * LIMIT


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), size=st.floats(1e-4, 3.0), channels=st.integers(1, 5))
def test_bound_after_drift_is_never_below_the_norm(seed: int, size: float, channels: int) -> None:
    """Weights and scalings moved at random, scalings also to and from zero."""
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((channels, channels, 3, 3))
    scaling = rng.uniform(0, 2, channels) * (rng.random(channels) < 0.8)
    bound = NormBound("zeros")
    bound.certify(Full(torch.tensor(weight)), scaling)
    for _ in range(3):
        weight = weight + size * rng.standard_normal(weight.shape)
        scaling = np.abs(scaling + size * rng.standard_normal(channels))
        scaling *= rng.random(channels) < 0.8
        coupling = Full(torch.tensor(weight))
        truth = true_norm(coupling, scaling, "zeros", 6)
        assert bound.bound(coupling, scaling) >= truth
        bound.rescaled(0.5)
        weight = weight / 2
        assert bound.bound(Full(torch.tensor(weight)), scaling) >= truth / 2
        assert bound.renew(Full(torch.tensor(weight)), scaling) >= truth / 2


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), channels=st.integers(1, 6))
def test_certificates_of_a_bound_are_as_wide_as_they_say(seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((channels, channels))
    stencils = rng.standard_normal((channels, 3, 3)) * rng.uniform(0, 2)
    stencils[:, 1, 1] = 0
    coupling = Lean(torch.tensor(matrix), torch.tensor(stencils))
    scaling = rng.uniform(0, 3, channels)
    exact = certified_norm(coupling, row_scaling=torch.tensor(scaling), relative_width=1e-5)
    bound = NormBound("zeros")
    for found, width in ((bound.renew, QUICK), (bound.certify, TIGHT)):
        upper = found(coupling, scaling)
        assert exact.lower <= upper <= (1 + width) * exact.upper * (1 + 1e-9)
        assert bound.certified == upper
        assert bound.bound(coupling, scaling) == pytest.approx(upper, rel=1e-11)
    assert NormBound("reflect").renew(coupling, scaling) == pytest.approx(
        2 * NormBound("zeros").renew(coupling, scaling)
    )
    assert bound.renew(coupling, scaling * np.inf) == np.inf
    assert bound.bound(coupling, scaling) == np.inf


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), channels=st.integers(1, 4))
def test_depthwise_norms_hold_a_channel(seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    stencils = rng.standard_normal((channels, 3, 3))
    scaling = rng.uniform(0, 2, channels)
    upper = depthwise_norms(Depthwise(torch.tensor(stencils)), scaling)
    for channel in range(channels):
        one = Depthwise(stencils[channel : channel + 1])
        tight = certified_norm(one, relative_width=1e-3)
        root = np.sqrt(scaling[channel])
        assert root * tight.lower <= upper[channel] <= 1.003 * root * tight.upper


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 6), columns=st.integers(1, 6))
def test_matrix_norm_bound(seed: int, rows: int, columns: int) -> None:
    matrices = np.random.default_rng(seed).standard_normal((3, rows, columns))
    truth = np.linalg.norm(matrices, 2, axis=(-2, -1))
    bound = matrix_norm_bound(matrices)
    assert (bound >= truth * (1 - 1e-12)).all()
    assert (bound <= 1.3 * truth).all()
    diagonal = np.eye(4) * np.arange(4)
    assert matrix_norm_bound(diagonal[None])[0] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block": "residual"}, "parabolic"),
        ({"block": "diffusion-reaction", "reaction": "plain"}, "dissipative"),
        ({"method": "midpoint"}, "euler"),
        ({"method": "dopri5"}, "circle-contractivity radius is 0"),
        ({"padding_mode": "replicate", "widths": (4, 4, 4)}, "4 pixels"),
    ],
)
def test_what_cannot_be_constrained_is_refused(changes: dict[str, Any], message: str) -> None:
    config = tiny_run(constraint="nonexpansive", **changes)
    with pytest.raises(InputError, match=message) as caught:
        check_constraint(config, (8, 8))
    assert "\n" not in str(caught.value)
    check_constraint(tiny_run(**changes), (8, 8))


def test_methods_named_in_the_refusal_work() -> None:
    with pytest.raises(InputError) as caught:
        constraints.contractivity_radius("midpoint")
    names = caught.value.remedy.removeprefix("choose one of ").split(", or")[0].split(", ")
    assert {"euler", "heun", "ssprk33", "rk4"} <= set(names)
    assert not {"midpoint", "dopri5"} & set(names)
    for name in names:
        assert tableau(name).explicit
        assert constraints.contractivity_radius(name) > 0


def test_weights_that_are_not_finite() -> None:
    network = random_network(5)
    projection = Projection(network)
    with torch.no_grad():
        next(network.blocks.parameters()).fill_(float("nan"))
    with pytest.raises(NotFinite, match="no longer finite"):
        projection.project()
    with pytest.raises(NotFinite):
        projection.certify()
