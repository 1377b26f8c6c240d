"""The step limits are sharp: no pair of inputs separates below them, one is found just above."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from analysis.dynamics import parabolic_limits
from analysis.grid import Grid
from pdenet.inspection import growth
from pdenet.inspection.crosscheck import theory_of
from pdenet.inspection.growth import pair_ratios
from pdenet.inspection.hints import full_slope_points, overshoot_directions
from pdenet.inspection.reader import Layer
from pdenet.inspection.verdict import Verdict, judge
from pdenet.layers.normalization import ChannelAffine
from pdenet.layers.terms import DiffusionReactionTerm, ParabolicTerm, Term
from pdenet.layers.time_step import TimeStep
from pdenet.operators.base import StencilOperator
from pdenet.operators.boundary import BOUNDARY_OF_PADDING
from pdenet.operators.conv import (
    OPERATORS,
    CirculantConv2d,
    DepthwiseConv2d,
    PointwiseConv2d,
    make_operator,
)

SIZE = (6, 6)
COUPLINGS = tuple(OPERATORS)
METHODS = ("euler", "heun", "ssprk33", "rk4")


@pytest.fixture(scope="module", autouse=True)
def short_search():
    """Limits that are sharp show at once; the long search can only find more."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {"POWER_ITERATIONS": 8, "ASCENT_STEPS": 10}.items():
            patch.setattr(growth, key, value)
        yield


def random_operator(coupling: str, padding: str, seed: int, channels: int = 4) -> StencilOperator:
    """Random weights in float64 with a random bias."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        operator = make_operator(
            coupling,
            channels,
            channels,
            kernel_size=1 if coupling == "pointwise" else 3,
            groups=2 if coupling == "grouped" else 1,
            padding_mode=padding,
        )
    return operator.double()


def true_curvature(parts: list[tuple[StencilOperator, Tensor]], size: tuple[int, int]) -> float:
    """``||[S_i^(1/2) K_i]||^2`` at one image size by dense singular values."""
    rows = []
    for operator, gains in parts:
        grid = Grid(size, boundary=operator.boundary)
        dense = operator.coupling().double().to_dense(grid)
        scale = np.repeat(np.sqrt(gains.numpy()), size[0] * size[1])
        rows.append(scale[:, None] * dense)
    return float(np.linalg.norm(np.concatenate(rows), 2)) ** 2


def fill_bias(operator: StencilOperator, value: float) -> None:
    assert operator.bias is not None
    with torch.no_grad():
        operator.bias.fill_(value)


def affine(gains: Tensor, shift: float = 0.0) -> ChannelAffine:
    normalization = ChannelAffine(len(gains), dtype=torch.float64)
    with torch.no_grad():
        normalization.weight.copy_(gains)
        normalization.bias.fill_(shift)
    return normalization


def layer_of(
    term: Term, method: str, h: float, channels: int, size: tuple[int, int] = SIZE
) -> Layer:
    step = TimeStep(term, method, h).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(5, channels, *size, generator=generator, dtype=torch.float64)
    return Layer("blocks.0.steps.0", "step", step, step, images)


def judged(
    operator: StencilOperator, method: str, h: float, activation: str, norm: Any = None
) -> Verdict:
    term = ParabolicTerm(operator, norm or nn.Identity(), activation)
    return judge(layer_of(term, method, h, operator.in_channels))


# Below the limit


@settings(max_examples=80)
@given(
    st.sampled_from(COUPLINGS),
    st.sampled_from(tuple(BOUNDARY_OF_PADDING)),
    st.sampled_from(METHODS),
    st.sampled_from(["relu", "tanh", "softplus"]),
    st.integers(0, 10**6),
    st.integers(-2, 2),
)
def test_distances_never_grow_below_the_limit(
    coupling, padding, method, activation, seed, exponent
) -> None:
    """At 0.999 of the limit by the true norm: random pairs, and those where the theorem is sharp.

    A step size of the certificate would be smaller still.
    """
    generator = torch.Generator().manual_seed(seed)
    operator = random_operator(coupling, padding, seed)
    gains = torch.rand(4, generator=generator, dtype=torch.float64) * 3
    size = (5, 6)
    limit = parabolic_limits(method, true_curvature([(operator, gains)], size)).nonexpansive
    normalization = affine(gains, shift=0.3)
    term = ParabolicTerm(operator, normalization, activation)
    layer = layer_of(term, method, 0.999 * limit, 4, size)
    parts = [(operator, normalization)]
    points = torch.cat([layer.features * 10.0**exponent, full_slope_points(parts, layer.features)])
    noise = torch.randn(points.shape, generator=generator, dtype=torch.float64)
    others = [noise * 10.0**exponent, points + noise, points + 1e-3 * noise]
    for direction in overshoot_directions(parts, gains, layer.features):
        others += [points + scale * direction for scale in (1e-4, 1e-2, 1.0, 100.0)]
    for other in others:
        ratios, allowances = pair_ratios(layer.apply, points, other)
        assert (ratios <= 1 + allowances).all(), float(ratios.max())


@pytest.mark.parametrize("method", METHODS)
def test_a_step_below_the_certified_limit_is_proved(method) -> None:
    operator = random_operator("lean", "zeros", 3)
    certified = judged(operator, method, 1.0, "tanh").theory
    assert certified.curvature is not None
    assert certified.nonexpansive_limit == pytest.approx(2 / certified.curvature)
    found = judged(operator, method, 0.999 * certified.nonexpansive_limit, "tanh")
    assert found.grade == "proved"
    assert found.theory.growth_certified == 1.0
    assert found.growth.value <= 1 + 1e-9
    assert not found.warnings


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("padding", list(BOUNDARY_OF_PADDING))
def test_the_certified_limit_is_never_above_the_true_one(coupling, padding) -> None:
    """And not far below it where nothing but the size of the image is between them."""
    operator = random_operator(coupling, padding, 5)
    gains = torch.tensor([0.5, 2.0, 1.0, 0.0], dtype=torch.float64)
    term = ParabolicTerm(operator, affine(gains), "tanh")
    theory = theory_of(layer_of(term, "euler", 1e-3, 4))
    true = 2 / true_curvature([(operator, gains)], SIZE)
    large = 2 / true_curvature([(operator, gains)], (14, 14))
    assert theory.nonexpansive_limit is not None
    assert theory.nonexpansive_limit <= true * (1 + 1e-12)
    if padding in ("zeros", "circular"):
        assert theory.nonexpansive_limit >= 0.9 * large


# Above the limit


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(
    ("coupling", "padding"),
    [*((coupling, "circular") for coupling in COUPLINGS), ("full", "zeros"), ("lean", "zeros")],
)
def test_a_counter_pair_is_found_just_above_the_limit(coupling, padding, activation) -> None:
    """tanh without bias at the origin; ReLU with a bias that activates all units."""
    operator = random_operator(coupling, padding, 7)
    fill_bias(operator, 0.0 if activation == "tanh" else 50.0)
    limit = 2 / true_curvature([(operator, torch.ones(4).double())], SIZE)
    found = judged(operator, "euler", 1.01 * limit, activation)
    assert found.grade == "violated"
    assert found.contradicted
    assert 1.015 < found.growth.value <= found.theory.growth_certified * (1 + 1e-9)
    # What is kept is a pair that separates, computed anew.
    y, z = found.growth.first, found.growth.second
    moved = found.layer.apply(y[None]) - found.layer.apply(z[None])
    assert float(moved.norm() / (y - z).norm()) == pytest.approx(found.growth.value, rel=1e-9)


@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus"])
@pytest.mark.parametrize("shift", [-3.0, 40.0])
def test_shifts_do_not_hide_the_growth(activation, shift) -> None:
    """The search solves for inputs with full slopes; data are nowhere near them."""
    operator = random_operator("full", "circular", 2)
    fill_bias(operator, 0.0)
    gains = torch.tensor([3.0, 0.2, 1.0, 2.0], dtype=torch.float64)
    limit = 2 / true_curvature([(operator, gains)], SIZE)
    found = judged(operator, "euler", 1.05 * limit, activation, affine(gains, shift))
    assert found.grade == "violated"
    assert found.growth.value > 1.05


@pytest.mark.parametrize("operator_class", [DepthwiseConv2d, CirculantConv2d])
def test_a_symbol_that_attains_its_supremum_on_the_grid(operator_class) -> None:
    """The Laplacian at (pi, pi), even images: its norm is 8, and so is that at this size."""
    operator = operator_class(1, 1, padding_mode="circular", dtype=torch.float64)
    laplacian = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64)
    with torch.no_grad():
        next(iter(operator.parameters())).copy_(laplacian.view_as(next(operator.parameters())))
    fill_bias(operator, 0.0)
    found = judged(operator, "euler", 1.01 * 2 / 64, "tanh")
    assert found.grade == "violated"
    assert found.growth.value == pytest.approx(1.02, abs=1e-4)
    theory = found.theory
    assert theory.norm is not None
    assert theory.norm.lower == pytest.approx(8)
    assert theory.nonexpansive_limit is not None
    assert 0.98 * 2 / 64 <= theory.nonexpansive_limit <= 2 / 64
    # Slopes are below one at any distance, so that growth shows in short distances first.
    assert judged(operator, "euler", 0.999 * 2 / 64, "tanh").grade in ("proved", "measured")


@pytest.mark.parametrize("factor", [1.3, 3.0, 30.0])
@pytest.mark.parametrize("activation", ["tanh", "relu", "softplus"])
def test_far_beyond_the_limit_the_certified_growth_is_attained(factor, activation) -> None:
    operator = random_operator("depthwise", "circular", 4)
    fill_bias(operator, 0.0 if activation == "tanh" else 30.0)
    curvature = true_curvature([(operator, torch.ones(4).double())], SIZE)
    found = judged(operator, "euler", 2 * factor / curvature, activation)
    assert found.growth.value == pytest.approx(2 * factor - 1, rel=2e-3)
    assert found.growth.value <= found.theory.growth_certified


# Where the theorem is conservative, or does not apply


def opposite_units(h: float, bias: float = 0.0) -> Verdict:
    """``K = [1; -1]``: one channel, two units of opposite sign."""
    operator = PointwiseConv2d(1, 2, dtype=torch.float64)
    with torch.no_grad():
        operator.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
    fill_bias(operator, bias)
    return judged(operator, "euler", h, "relu")


def test_beyond_the_limit_without_a_counter_pair_is_measured() -> None:
    """Theory §4.1: ``y' = -y``, limit 1 by the statement and 2 in truth."""
    found = opposite_units(1.5)
    assert found.theory.nonexpansive_limit == pytest.approx(1, rel=0.03)
    assert found.theory.nonexpansive_limit <= 1
    assert found.growth.value == pytest.approx(0.5)
    assert (found.grade, found.contradicted) == ("measured", False)
    assert any("beyond the limit" in warning for warning in found.warnings)
    assert opposite_units(0.97).grade == "proved"
    assert opposite_units(2.02).grade == "violated"
    # A bias makes both units active somewhere: then the statement is sharp.
    assert opposite_units(1.5, bias=1.0).growth.value == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("method", ["midpoint", "dopri5", "rkc2:stages=4"])
def test_methods_without_a_nonexpansive_step_are_never_proved(method) -> None:
    operator = random_operator("lean", "zeros", 1)
    found = judged(operator, method, 1e-4, "tanh")
    assert found.theory.nonexpansive_limit == 0
    assert found.theory.linear_limit is not None
    assert found.theory.linear_limit > 1e-4
    assert found.grade == "measured"
    assert any("no non-expansive step" in warning for warning in found.warnings)
    assert found.theory.growth_certified > 1


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_negative_gains_are_named_and_grow_as_certified(activation) -> None:
    """Theory §4.1: an anti-diffusive channel grows by ``1 + h Lambda_-`` at every step size."""
    operator = random_operator("depthwise", "circular", 4)
    fill_bias(operator, 0.0)
    gains = torch.tensor([1.0, -0.5, 1.0, -0.25], dtype=torch.float64)
    h = 1e-2
    shift = 0.0 if activation == "tanh" else 30.0
    found = judged(operator, "euler", h, activation, affine(gains, shift))
    minus = true_curvature([(operator, (-gains).clamp(min=0))], SIZE)
    assert found.growth.value == pytest.approx(1 + h * minus, rel=1e-6)
    assert found.growth.value <= found.theory.growth_certified
    assert found.grade == "violated"
    assert found.theory.nonexpansive_limit is None
    assert not found.theory.proved
    (warning,) = found.theory.warnings
    assert "channels 1, 3" in warning
    assert "-0.5" in warning
    assert "symmetric" in found.theory.statement


# Stacked operators


def one(channels: int = 1) -> StencilOperator:
    """The identity as a 1x1 operator."""
    operator = PointwiseConv2d(channels, channels, dtype=torch.float64)
    with torch.no_grad():
        operator.weight.copy_(torch.eye(channels).view(channels, channels, 1, 1))
    return operator


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_two_separate_limits_do_not_suffice(activation) -> None:
    """Theory §4.10: ``D = W = 1`` and ``h = 2``, each at its limit: the factor is -3."""
    diffusion, reaction = one(), one()
    for operator in (diffusion, reaction):
        fill_bias(operator, 0.0 if activation == "tanh" else 100.0)
    identities = nn.Identity(), nn.Identity()
    term = DiffusionReactionTerm(
        diffusion, identities[0], reaction, identities[1], activation, reaction="dissipative"
    )
    found = judge(layer_of(term, "euler", 2.0, 1))
    assert found.growth.value == pytest.approx(3, abs=1e-3)
    assert found.grade == "violated"
    assert found.theory.growth_certified == pytest.approx(3, rel=0.06)
    limit = found.theory.nonexpansive_limit
    assert limit is not None
    assert 0.98 <= limit <= 1
    assert judge(layer_of(term, "euler", 0.999 * limit, 1)).grade == "proved"


@pytest.mark.parametrize("diffusion", ["linear", "nonlinear"])
@pytest.mark.parametrize("coupling", ["depthwise", "lean"])
def test_diffusion_reaction_is_sharp_at_its_stacked_limit(diffusion, coupling) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        D = make_operator(coupling, 3, 3, bias=False, padding_mode="circular").double()
        W = PointwiseConv2d(3, 3, bias=False, dtype=torch.float64)
    with torch.no_grad():
        W.weight.mul_(3)  # so that neither part of the stack can stand for the other
    gains = {"linear": torch.ones(3), "nonlinear": torch.tensor([0.2, 1.0, 3.0])}[diffusion]
    gains, rates = gains.double(), torch.tensor([2.0, 0.5, 1.0], dtype=torch.float64)
    inner = nn.Identity() if diffusion == "linear" else affine(gains)
    term = DiffusionReactionTerm(D, inner, W, affine(rates), "tanh", diffusion=diffusion)
    limit = 2 / true_curvature([(D, gains), (W, rates)], SIZE)
    above = judge(layer_of(term, "euler", 1.01 * limit, 3))
    assert above.grade == "violated"
    assert 1.015 < above.growth.value <= above.theory.growth_certified
    certified = above.theory.nonexpansive_limit
    assert certified is not None
    larger = 2 / true_curvature([(D, gains), (W, rates)], (12, 12))
    assert 0.95 * larger <= certified <= limit
    below = judge(layer_of(term, "euler", 0.999 * certified, 3))
    assert below.growth.value <= 1 + 1e-9
    assert below.grade == "proved"


def test_implicit_diffusion_leaves_the_limit_to_the_reaction() -> None:
    """Theory §4.5: with ``D`` = 0 the limit of ``W`` alone is sharp; any ``D`` keeps it valid."""
    for strength in (0.0, 1.0):
        with torch.random.fork_rng():
            torch.manual_seed(12)
            D = DepthwiseConv2d(3, 3, bias=False, padding_mode="circular", dtype=torch.float64)
            W = PointwiseConv2d(3, 3, bias=False, dtype=torch.float64)
        with torch.no_grad():
            D.weight.mul_(strength)
        term = DiffusionReactionTerm(D, nn.Identity(), W, nn.Identity(), "tanh", diffusion="linear")
        limit = 2 / true_curvature([(W, torch.ones(3).double())], SIZE)
        found = judge(layer_of(term, "ars111", 1.01 * limit, 3))
        assert found.growth.value <= found.theory.growth_certified * (1 + 1e-12)
        if strength == 0:
            assert found.grade == "violated"
            assert found.growth.value == pytest.approx(1.02, abs=1e-3)
        assert judge(layer_of(term, "ars111", 0.97 * limit, 3)).grade == "proved"


def test_no_operator_no_limit() -> None:
    operator = random_operator("full", "zeros", 0)
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter.zero_()
    found = judged(operator, "euler", 1e6, "relu")
    assert found.theory.nonexpansive_limit == math.inf
    assert found.grade == "proved"
    assert found.growth.value == pytest.approx(1)
