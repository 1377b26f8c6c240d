"""Networks on finer meshes: the same flow in time, the same features of smooth images in space."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from analysis.differential import differential_coefficients
from analysis.errors import InputError
from analysis.time_basis import time_basis
from pdenet.layers.block import Block
from pdenet.layers.time_weights import BasisBlock
from pdenet.network_config import BLOCKS
from pdenet.networks import NetworkConfig, PDENet
from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import OPERATORS
from pdenet.refinement import refine_in_space, refine_in_time, with_steps

SMOOTH = NetworkConfig(
    widths=(4,), steps=4, step_size=0.25, activation="tanh", padding_mode="circular"
)


def network(**changes: object) -> PDENet:
    """A network in double precision whose norms are no identities, at inference."""
    torch.manual_seed(0)
    found = PDENet(replace(SMOOTH, **changes)).double()
    for module in found.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    for name, buffer in found.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            nn.init.uniform_(buffer, *((-0.5, 0.5) if name.endswith("mean") else (0.5, 1.5)))
    return found.eval()


def smooth_in_time(**changes: object) -> PDENet:
    """Weights and statistics that are functions of time: ``a + b sin(3 tau) + c tau^2``."""
    found = network(**changes)
    torch.manual_seed(1)  # the same functions whatever the number of steps
    for block in found.blocks:
        states = [step.state_dict() for step in block.steps]
        for name in states[0]:
            a, b, c = (torch.randn_like(states[0][name].double()) / 3 for _ in range(3))
            for index, state in enumerate(states):
                tau = (index + 0.5) / len(states)
                value = a + b * np.sin(3 * tau) + c * tau**2
                if not state[name].is_floating_point():
                    continue
                state[name].copy_(value.abs() + 0.2 if name.endswith("var") else value)
    return found


def images(side: int, channels: int = 1) -> torch.Tensor:
    """Smooth periodic images on the means of cells: the same ones at every resolution."""
    x = (torch.arange(side, dtype=torch.float64) + 0.5) / side * 2 * torch.pi
    waves = [
        torch.sin(x[:, None] + k) + torch.cos(x[None, :] * (1 + k % 2) + k) for k in range(channels)
    ]
    return torch.stack(waves)[None]


# In time.


def exact_flow(found: PDENet, factor: int) -> torch.Tensor:
    """What a block makes of an image after a refinement, without reading its configuration."""
    refined = refine_in_time(found, factor)
    return refined.blocks[0](images(8, 4))


@pytest.mark.parametrize("block", ["parabolic", "residual"])
def test_refinement_in_time_changes_a_block_by_a_step_squared_a_step(block: str) -> None:
    """Forward Euler: the distance to a much finer network halves with the step."""
    errors = []
    for steps in (4, 8, 16):
        found = smooth_in_time(steps=steps, step_size=1 / steps, block=block)
        errors.append((found.blocks[0](images(8, 4)) - exact_flow(found, 2)).abs().max().item())
    slopes = [np.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert errors[-1] > 1e-6
    assert slopes[-1] == pytest.approx(1, abs=0.3), errors


def test_refined_networks_converge() -> None:
    found = smooth_in_time()
    values = [exact_flow(found, factor) for factor in (1, 2, 4, 8, 16)]
    gaps = [(a - b).abs().max().item() for a, b in itertools.pairwise(values)]
    assert gaps[-1] > 1e-7
    assert np.log2(gaps[-2] / gaps[-1]) == pytest.approx(1, abs=0.2), gaps


def test_weights_and_statistics_are_interpolated_between_the_middles_of_steps() -> None:
    found = network(steps=2, step_size=0.5)
    fine = refine_in_time(found)
    assert (fine.config.steps, fine.config.step_size) == (4, 0.25)
    assert all(step.step_size == 0.25 for step in fine.blocks[0].steps)
    old = [step.state_dict() for step in found.blocks[0].steps]
    for step, share in zip(fine.blocks[0].steps, (0.0, 0.25, 0.75, 1.0), strict=True):
        for name, value in step.state_dict().items():
            first, second = old[0][name], old[1][name]
            if value.is_floating_point():
                expected = (1 - share) * first + share * second
                torch.testing.assert_close(value, expected, rtol=1e-14, atol=1e-15)
    for part in ("opening", "connectors", "classifier"):
        before, after = (getattr(n, part).state_dict() for n in (found, fine))
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_shared_weights_stay_the_same() -> None:
    found = network(weights_in_time="shared")
    fine = refine_in_time(found, 3)
    assert len(fine.blocks[0].steps) == 1
    assert fine.blocks[0].applications == 12
    states = [n.blocks[0].steps[0].state_dict() for n in (found, fine)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("basis", ["piecewise-linear", "legendre", "bspline"])
def test_functions_of_time_stay_the_same(basis: str) -> None:
    found = network(weights_in_time=basis, time_coefficients=3, steps=2, step_size=0.5)
    for step in found.blocks[0].steps:  # Legendre polynomials beyond the first start at zero
        nn.init.normal_(step.term.operator.pointwise)
    fine = refine_in_time(found)
    block = fine.blocks[0]
    assert isinstance(block, BasisBlock)
    times = np.array([0.125, 0.375, 0.625, 0.875])
    values = torch.tensor(time_basis(basis, 3, times))
    sets = torch.stack([step.term.operator.pointwise for step in found.blocks[0].steps])
    for index, weights in enumerate(block.weights_in_time()):
        expected = torch.einsum("i,iab->ab", values[index], sets)
        torch.testing.assert_close(weights["term.operator.pointwise"], expected)
    old = [statistics.by_name() for statistics in found.blocks[0].statistics]
    new = [statistics.by_name() for statistics in block.statistics]
    name = "term.normalization.running_var"
    torch.testing.assert_close(new[1][name], 0.75 * old[0][name] + 0.25 * old[1][name])


def test_coarse_and_fine_again_is_the_identity_where_weights_are_linear_in_time() -> None:
    found = network(steps=2, step_size=0.5)
    for step in found.blocks[0].steps:
        step.load_state_dict(found.blocks[0].steps[0].state_dict())
    one = with_steps(found, 1)
    assert (one.config.steps, one.config.step_size) == (1, 1.0)
    back = with_steps(one, 2)
    torch.testing.assert_close(back(images(8)), found(images(8)))


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_refined(block: str) -> None:
    method = "verlet" if block in ("hamiltonian", "second-order") else "euler"
    found = network(block=block, method=method)
    fine = refine_in_space(refine_in_time(found), keep="operator")
    assert fine.config == replace(found.config, steps=8, step_size=0.125)
    assert fine(images(16)).isfinite().all()


def test_refinement_keeps_mode_precision_layout_and_the_callers_randomness() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    found = network(coupling="full").float().to(memory_format=torch.channels_last)
    torch.manual_seed(3)
    for mode in (True, False):
        fine = refine_in_time(found.train(mode))
        assert fine.training == mode
        assert all(p.dtype == torch.float32 and p.requires_grad for p in fine.parameters())
    weight = fine.blocks[0].steps[1].term.operator.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(torch.rand(2), expected)
    before = {name: value.clone() for name, value in found.state_dict().items()}
    with torch.no_grad():
        for parameter in fine.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], value) for name, value in found.state_dict().items())


# In space.


def relative_gap(coarse: torch.Tensor, fine: torch.Tensor) -> float:
    """Distance of features of two resolutions, as a share of the coarse ones."""
    return ((functional.avg_pool2d(fine, 2) - coarse).norm() / coarse.norm()).item()


@pytest.mark.parametrize("block", ["parabolic", "residual", "diffusion-reaction"])
def test_features_of_smooth_images_agree_to_second_order(block: str) -> None:
    """Blocks of differential operators: features at ``dx`` and ``dx / 2`` differ by ``O(dx^2)``."""
    found, gaps = network(block=block, steps=2, step_size=0.1), []
    for refinement in (1, 2):
        coarse = refine_in_space(found, refinement, keep="operator")
        fine = refine_in_space(found, 2 * refinement, keep="operator")
        side = 32 * refinement
        features = [
            n.blocks[0](n.opening(images(s))) for n, s in ((coarse, side), (fine, 2 * side))
        ]
        gaps.append(relative_gap(*features))
    assert 1e-5 < gaps[0] < 0.01, gaps
    assert np.log2(gaps[-2] / gaps[-1]) == pytest.approx(2, abs=0.25), gaps


def test_kept_stencils_are_other_operators() -> None:
    found = network(steps=2, step_size=0.1)
    coarse = found.blocks[0](found.opening(images(32)))
    for keep, close in (("operator", True), ("stencil", False)):
        fine = refine_in_space(found, keep=keep)
        gap = relative_gap(coarse, fine.blocks[0](fine.opening(images(64))))
        assert (gap < 0.01) == close, (keep, gap)


def stencils_of_blocks(found: PDENet) -> torch.Tensor:
    """Dense stencils of the first operator, ``(c, c, k, k)``."""
    operator = next(m for m in found.blocks.modules() if isinstance(m, StencilOperator))
    return operator.coupling().dense_weight().detach()


@pytest.mark.parametrize("stencil", ["nine-point", "five-point"])
@pytest.mark.parametrize("coupling", list(OPERATORS))
@pytest.mark.parametrize("keep", ["operator", "averages"])
def test_every_coupling_moves_within_its_structure(coupling: str, stencil: str, keep: str) -> None:
    found = network(coupling=coupling, stencil=stencil, groups=2)
    fine = refine_in_space(found, keep=keep)
    before, after = (stencils_of_blocks(n) for n in (found, fine))
    coefficients = [differential_coefficients(s, 1.0) for s in (before, after)]
    first = torch.tensor([0, 1, 1, 1, 1, 2, 2, 2, 2])  # axes with a difference
    order = torch.tensor([0, 1, 1, 2, 2, 2, 3, 3, 4])
    factor = 2.0 ** (order if keep == "operator" else first)
    if coupling == "pointwise":
        assert torch.equal(before, after)
    else:
        torch.testing.assert_close(coefficients[1], factor * coefficients[0])
        assert not torch.allclose(before, after)
    back = refine_in_space(fine, 0.5, keep=keep)
    for name, value in found.state_dict().items():
        torch.testing.assert_close(back.state_dict()[name], value)


def test_functions_of_time_and_the_opening_move_too() -> None:
    found = network(weights_in_time="bspline")
    fine = refine_in_space(found, keep="operator")
    coarse_block, fine_block = found.blocks[0], fine.blocks[0]
    assert isinstance(coarse_block, Block)
    pairs = zip(coarse_block.weights_in_time(), fine_block.weights_in_time(), strict=True)
    name = "term.operator.stencils"
    assert all(not torch.allclose(a[name], b[name]) for a, b in pairs)
    assert not torch.allclose(found.opening.operator.weight, fine.opening.operator.weight)
    kept = refine_in_space(found, keep="stencil")
    assert all(torch.equal(kept.state_dict()[k], v) for k, v in found.state_dict().items())


def test_what_cannot_be_is_refused() -> None:
    found = network()
    with pytest.raises(InputError, match="whole number of at least 1 as factor"):
        refine_in_time(found, 0)
    with pytest.raises(InputError, match="whole number of at least 1 as steps"):
        with_steps(found, 1.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="did you mean 'operator'"):
        refine_in_space(found, keep="operators")
    with pytest.raises(InputError, match="positive factor"):
        refine_in_space(found, 0)
