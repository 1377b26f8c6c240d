"""The estimate that follows norms through training: from below, close, with the right gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from analysis.certificates import certified_norm
from analysis.couplings import COUPLINGS, Depthwise, Full
from analysis.stacked import Stacked
from pdenet.operators import norm_estimate
from pdenet.operators.conv import OPERATORS, make_operator
from pdenet.operators.norm import NormBound
from pdenet.operators.norm_estimate import LOST, NormEstimate


def an_operator(kind: str, channels: int = 6, **options) -> nn.Module:
    torch.manual_seed(3)
    groups = 2 if kind == "grouped" else 1
    return make_operator(kind, channels, channels, groups=groups, **options).double()


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize("stride", [1, 2])
def test_first_estimate_is_the_norm(kind: str, stride: int) -> None:
    coupling = an_operator(kind, stride=stride).coupling()
    exact = certified_norm(coupling, relative_width=1e-6)
    value = float(NormEstimate()(coupling).detach())
    assert exact.upper >= value >= exact.lower * (1 - LOST)


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize(("stride", "five_point"), [(1, False), (2, False), (1, True)])
def test_gradient_is_that_of_the_norm(kind: str, stride: int, five_point: bool) -> None:
    """Differences of certified norms along a random direction of the parameters."""
    operator = an_operator(kind, stride=stride, five_point=five_point and kind != "pointwise")
    NormEstimate()(operator.coupling()).backward()
    parameters = [p for name, p in operator.named_parameters() if name != "bias"]
    directions = [torch.randn_like(p) for p in parameters]
    slope = sum(float((p.grad * d).sum()) for p, d in zip(parameters, directions, strict=True))
    ends = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p += step * d
        ends.append(certified_norm(operator.coupling(), relative_width=1e-6).lower)
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3)


def test_stacked_and_tall_operators_have_gradients_too() -> None:
    one = torch.randn(3, 3, 3, dtype=torch.float64, requires_grad=True)
    two = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    stack = Stacked((Depthwise(one), Full(two)))
    value = NormEstimate()(stack)
    value.backward()
    # The norm is homogeneous of degree one (Euler).
    product = float((one.detach() * one.grad).sum() + (two.detach() * two.grad).sum())
    assert product == pytest.approx(float(value.detach()), rel=1e-9)


def trained(kind: str, steps: int = 120):
    """Couplings of an operator that learns to imitate another one."""
    operator = an_operator(kind, channels=8, padding_mode="circular").float()
    torch.manual_seed(4)
    images, wanted = torch.randn(8, 8, 6, 6), torch.randn(8, 8, 6, 6)
    optimizer = torch.optim.Adam(operator.parameters(), lr=0.003)
    for _ in range(steps):
        loss = (operator(images) - wanted).square().mean() + operator(images.flip(0)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield operator.coupling()


@pytest.mark.parametrize("kind", ["full", "depthwise", "lean", "circulant", "grouped"])
def test_estimate_and_bound_enclose_the_norm_through_training(kind: str) -> None:
    estimate, bound, ones = NormEstimate(), NormBound("zeros"), np.ones(8)
    shortfalls = []
    for coupling in trained(kind):
        value = float(estimate(coupling).detach())
        upper = bound.bound(coupling, ones)
        if upper > 1.02 * bound.certified or np.isinf(upper):
            upper = bound.renew(coupling, ones)
        exact = certified_norm(coupling, relative_width=1e-5)
        assert value <= exact.upper * (1 + 1e-6), "never above the norm, but for float32"
        assert upper >= exact.lower, "never below it"
        shortfalls.append(1 - value / exact.lower)
    assert np.mean(np.array(shortfalls) > LOST) <= 0.02
    assert max(shortfalls) < 5e-3


def test_a_lost_leader_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes up where neither followers nor patrol look."""
    monkeypatch.setattr(NormEstimate, "_look_around", lambda *_: None)
    estimate = NormEstimate(places=1)
    wave = torch.zeros(2, 2, 3, 3, dtype=torch.float64)
    wave[0, 0] = torch.tensor([[1.0, 1, 1], [1, 1, 1], [1, 1, 1]]) / 9  # largest at zero
    wave[1, 1] = torch.tensor([[1.0, -1, 1], [-1, 1, -1], [1, -1, 1]]) / 9  # at (pi, pi)
    values = []
    for step in range(40):
        grown = torch.stack([wave[0], (0.5 + step / 20) * wave[1]])
        values.append(float(estimate(Full(grown))))
    assert estimate.lost >= 1
    assert values[0] == pytest.approx(1.0) and values[-1] > 1.5


def test_the_patrol_finds_a_leader_before_a_search_does(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = []
    real = norm_estimate._search
    monkeypatch.setattr(norm_estimate, "_search", lambda *a: searches.append(1) or real(*a))
    estimate = NormEstimate(places=2)
    smooth = torch.ones(1, 1, 3, 3, dtype=torch.float64) / 9
    rough = torch.tensor([[1.0, -1, 1], [-1, 1, -1], [1, -1, 1]], dtype=torch.float64) / 9
    for step in range(100):
        share = min(step / 90, 1.0)
        weight = torch.zeros(2, 2, 3, 3, dtype=torch.float64)
        weight[0, 0], weight[1, 1] = smooth, 1.5 * share * rough
        value = float(estimate(Full(weight)))
        assert value >= max(1.0, 1.5 * share) * (1 - LOST)
    assert estimate.lost == 0 and len(searches) < 12


@pytest.mark.parametrize("kind", COUPLINGS)
def test_zero_weights_have_norm_zero(kind: str) -> None:
    operator = an_operator(kind)
    estimate = NormEstimate()
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter.zero_()
    for _ in range(3):
        value = estimate(operator.coupling())
        assert float(value.detach()) == 0
    value.backward()
    assert all(torch.isfinite(p.grad).all() for p in operator.parameters() if p.grad is not None)


def test_precision_and_device_are_those_of_the_weights() -> None:
    for dtype in (torch.float32, torch.float64):
        weight = torch.randn(3, 4, 3, 3, dtype=dtype, requires_grad=True)
        value = NormEstimate()(Full(weight))
        assert value.dtype == dtype and value.device == weight.device and value.ndim == 0
        value.backward()
        assert weight.grad is not None and weight.grad.dtype == dtype
