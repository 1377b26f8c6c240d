"""Normalisations, right-hand sides, time steps, blocks and connectors."""

import pytest
import torch
from torch import nn

from analysis.couplings import COUPLINGS
from analysis.errors import InputError
from analysis.grid import Grid
from pdenet.layers.activations import ACTIVATIONS, SLOPES, make_activation
from pdenet.layers.block import Block
from pdenet.layers.connector import Connector
from pdenet.layers.normalization import (
    ChannelAffine,
    fold_batch_norm,
    inference_affine,
    make_normalization,
)
from pdenet.layers.terms import DiffusionReactionTerm, ParabolicTerm, ResidualTerm
from pdenet.layers.time_step import TimeStep
from pdenet.operators.conv import FullConv2d, LeanConv2d, PointwiseConv2d, make_operator

SIZE = (5, 6)


def images(channels=4, batch=2, seed=0, size=SIZE):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, *size, dtype=torch.float64, generator=generator)


def trained_batch_norm(channels=4, seed=7):
    """A batch norm whose running statistics, gains and shifts are far from their defaults."""
    generator = torch.Generator().manual_seed(seed)
    norm = nn.BatchNorm2d(channels, dtype=torch.float64).eval()
    with torch.no_grad():
        for tensor in (norm.weight, norm.running_var):
            tensor.copy_(0.2 + torch.rand(channels, generator=generator))
        for tensor in (norm.bias, norm.running_mean):
            tensor.copy_(torch.randn(channels, generator=generator))
    return norm


def parabolic(coupling="lean", normalization=None, activation="relu", seed=0, **options):
    torch.manual_seed(seed)
    groups = 2 if coupling == "grouped" else 1
    bias = normalization is None
    operator = make_operator(coupling, 4, 4, groups=groups, bias=bias, **options).double()
    return ParabolicTerm(operator, normalization or nn.Identity(), activation)


def diffusion_reaction(diffusion="nonlinear", reaction="dissipative", coupling="depthwise"):
    torch.manual_seed(0)
    D = make_operator(coupling, 4, 4, padding_mode="circular", bias=diffusion == "nonlinear")
    W = PointwiseConv2d(4, 4)
    term = DiffusionReactionTerm(
        D, nn.Identity(), W, nn.Identity(), "tanh", diffusion=diffusion, reaction=reaction
    )
    return term.double()


# Activations and normalisations.


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_lie_in_zero_to_the_bound(name):
    x = torch.linspace(-30, 30, 6001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(make_activation(name)(x).sum(), x)
    low, high = SLOPES[name]
    assert high == ACTIVATIONS[name]
    assert low <= slope.min().item() <= low + 1e-4
    assert 0.99 * high <= slope.max().item() <= high
    assert (low < 0) == (name == "gelu")


def test_inference_affine_is_the_normalisation_in_evaluation_mode():
    y, affine = images(), ChannelAffine(4, dtype=torch.float64)
    with torch.no_grad():
        affine.weight.uniform_(-1, 1)
        affine.bias.uniform_(-1, 1)
    bare = nn.BatchNorm2d(4, affine=False, dtype=torch.float64).eval()
    for norm in (trained_batch_norm(), bare, affine, nn.Identity()):
        scale, shift = inference_affine(norm, 4)
        expected = y * scale[:, None, None] + shift[:, None, None]
        torch.testing.assert_close(norm(y), expected, rtol=1e-13, atol=1e-13)


def test_folding_is_exact_leaves_the_original_and_reaches_every_level():
    norms = [trained_batch_norm(seed=seed) for seed in range(3)]
    inner = nn.Sequential(norms[1], nn.Tanh(), norms[2])
    module = nn.Sequential(norms[0], inner).eval()
    folded = fold_batch_norm(module)
    torch.testing.assert_close(folded.train()(images()), module(images()), rtol=1e-13, atol=1e-13)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in module.modules()) == 3
    single = fold_batch_norm(norms[0])
    torch.testing.assert_close(single(images()), norms[0](images()), rtol=1e-13, atol=1e-13)


def test_normalisations_that_are_not_affine_are_refused():
    with pytest.raises(InputError, match="got GroupNorm"):
        inference_affine(nn.GroupNorm(2, 4), 4)
    with pytest.raises(InputError, match="running statistics"):
        inference_affine(nn.BatchNorm2d(4, track_running_stats=False), 4)
    with pytest.raises(InputError, match="did you mean 'batch'"):
        make_normalization("bacth", 4)


# Right-hand sides, each against its formula with dense matrices.


def dense(operator):
    matrix = operator.coupling().to_dense(Grid(SIZE, boundary=operator.boundary))
    return torch.from_numpy(matrix)


def flat(operator):
    bias = operator.bias
    return 0 if bias is None else bias.repeat_interleave(SIZE[0] * SIZE[1])


@pytest.mark.parametrize("padding_mode", ["zeros", "circular", "reflect", "replicate"])
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_parabolic_term(coupling, padding_mode):
    term = parabolic(coupling, padding_mode=padding_mode)
    K, y = dense(term.operator), images()
    expected = -torch.relu(y.reshape(2, -1) @ K.T + flat(term.operator)) @ K
    torch.testing.assert_close(term(y).reshape(2, -1), expected, rtol=1e-12, atol=1e-12)


def test_residual_term():
    torch.manual_seed(0)
    first, second = LeanConv2d(4, 6).double(), FullConv2d(6, 4, bias=False).double()
    term = ResidualTerm(first, second, nn.Identity(), "tanh")
    hidden = torch.tanh(images().reshape(2, -1) @ dense(first).T + flat(first))
    expected = hidden @ dense(second).T
    torch.testing.assert_close(term(images()).reshape(2, -1), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reaction", ["dissipative", "plain"])
@pytest.mark.parametrize("diffusion", ["nonlinear", "linear"])
def test_diffusion_reaction_term(diffusion, reaction):
    term = diffusion_reaction(diffusion, reaction)
    D, W = term.diffusion_operator, term.reaction_operator
    y = images().reshape(2, -1)
    flux = y @ dense(D).T + flat(D)
    expected = -(torch.tanh(flux) if diffusion == "nonlinear" else flux) @ dense(D)
    activated = torch.tanh(y @ dense(W).T + flat(W))
    expected += activated if reaction == "plain" else -activated @ dense(W)
    torch.testing.assert_close(term(images()).reshape(2, -1), expected, rtol=1e-12, atol=1e-12)


def test_linear_diffusion_takes_neither_bias_nor_normalisation():
    W = PointwiseConv2d(4, 4)
    for bias, norm in [(True, nn.Identity()), (False, nn.BatchNorm2d(4))]:
        D = FullConv2d(4, 4, bias=bias)
        with pytest.raises(InputError, match="neither bias nor normalisation"):
            DiffusionReactionTerm(D, norm, W, nn.Identity(), "relu", diffusion="linear")


# Time steps and blocks.


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_parabolic_step_never_expands_inside_its_limit(coupling, activation):
    """theory §4.1: ||T(y) - T(z)|| <= ||y - z|| for h <= 2 / (L ||S^(1/2) K||^2)."""
    term = parabolic(coupling, trained_batch_norm(), activation, padding_mode="circular").eval()
    scale, _ = inference_affine(term.normalization, 4)
    rows = scale.repeat_interleave(SIZE[0] * SIZE[1]).sqrt()[:, None]
    norm = torch.linalg.matrix_norm(rows * dense(term.operator), 2).item()
    step = TimeStep(term, "euler", 0.999 * 2 / (term.slope_bound * norm**2))
    y = images(batch=16)
    for size in (1e-3, 1.0, 100.0):
        z = y + size * images(batch=16, seed=1)
        before = (y - z).flatten(1).norm(dim=1)
        after = (step(y) - step(z)).flatten(1).norm(dim=1)
        assert (after / before).max().item() <= 1 + 1e-12


def test_parabolic_step_expands_beyond_its_limit():
    """The same statement is sharp: tanh near the origin has slope one in every unit."""
    term = parabolic("full", activation="tanh", padding_mode="circular")
    with torch.no_grad():
        term.operator.get_parameter("bias").zero_()
    _, values, rows = torch.linalg.svd(dense(term.operator).detach())
    step = TimeStep(term, "euler", 1.01 * 2 / values[0].item() ** 2)
    y = 1e-4 * rows[0].reshape(1, 4, *SIZE)
    assert (step(y) - step(-y)).norm().item() > 1.015 * (2 * y).norm().item()


@pytest.mark.parametrize("method", ["euler", "heun", "ssprk33", "rk4", "midpoint"])
def test_periodic_steps_commute_with_translations(method):
    step = TimeStep(parabolic("lean", padding_mode="circular"), method, 0.3)
    shifted = step(images().roll((2, -1), (2, 3)))
    torch.testing.assert_close(shifted, step(images()).roll((2, -1), (2, 3)), rtol=0, atol=1e-13)


@pytest.mark.parametrize("coupling", ["depthwise", "circulant"])
@pytest.mark.parametrize("name", ["ars111", "imex-euler"])
def test_imex_step_equals_its_dense_formula(name, coupling):
    term = diffusion_reaction("linear", "plain", coupling)
    step = TimeStep(term, name, 0.8)
    assert (step.method, step.tableau) == ("ars111", None)
    D = dense(term.diffusion_operator)
    right = (images() + 0.8 * term.react(images())).reshape(2, -1)
    expected = torch.linalg.solve(torch.eye(len(D)) + 0.8 * D.T @ D, right.T).T
    torch.testing.assert_close(step(images()).reshape(2, -1), expected, rtol=1e-10, atol=1e-10)


def test_imex_and_euler_step_the_same_field():
    """They differ by h^2 D^T D f / 2 and so on: halving h quarters the difference."""
    term = diffusion_reaction("linear")
    gaps = []
    for h in (1e-3, 5e-4):
        implicit, explicit = (TimeStep(term, name, h) for name in ("ars111", "euler"))
        gaps.append((implicit(images()) - explicit(images())).norm().item())
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.01)


def test_steps_know_their_method_size_and_term():
    step = TimeStep(parabolic(), "forward-euler", 1)
    assert (step.method, step.step_size, step.tableau.stages) == ("euler", 1.0, 1)
    assert step.term.slope_bound == 1
    assert step.term.operator.name == "lean"
    assert "method='euler', step_size=1.0" in repr(step)


def test_shared_and_own_weights():
    steps = [TimeStep(parabolic(seed=seed), "euler", 0.5) for seed in range(3)]
    own, shared = Block(steps, 3), Block(steps[:1], 3)
    y = images()
    torch.testing.assert_close(own(y), steps[2](steps[1](steps[0](y))))
    torch.testing.assert_close(shared(y), steps[0](steps[0](steps[0](y))))
    assert (own.shared, shared.shared) == (False, True)
    assert list(shared.sequence()) == [steps[0]] * 3
    assert len(list(shared.parameters())) * 3 == len(list(own.parameters()))
    assert shared.multiply_adds(*SIZE) == own.multiply_adds(*SIZE)


def test_multiply_adds_of_steps():
    c, pixels = 4, SIZE[0] * SIZE[1]
    term = parabolic("full")
    assert TimeStep(term, "rk4", 1.0).multiply_adds(*SIZE) == 4 * 2 * 9 * c * c * pixels
    term = diffusion_reaction("nonlinear", "plain")
    assert TimeStep(term, "euler", 1.0).multiply_adds(*SIZE) == (2 * 9 * c + c * c) * pixels
    implicit = TimeStep(diffusion_reaction("linear"), "ars111", 1.0).multiply_adds(4, 4)
    assert implicit == 16 * (2 * c * c + c * (2.5 * 4 + 1))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TimeStep(parabolic(), "euler", 0.0), "a positive step size, got 0.0"),
        (lambda: TimeStep(parabolic(), "euler", float("inf")), "a positive step size, got inf"),
        (lambda: TimeStep(parabolic(), "eulr", 1.0), "did you mean 'euler'"),
        (lambda: TimeStep(parabolic(), "gauss2", 1.0), "solved for one after the other"),
        (lambda: TimeStep(parabolic(), "ars111", 1.0), "explicit or implicit for ParabolicTerm"),
        (lambda: TimeStep(diffusion_reaction(), "verlet", 1.0), "got one that is partitioned"),
        (lambda: Block([TimeStep(parabolic(), "euler", 1.0)] * 2, 3), "each of 3.*got 2"),
        (lambda: parabolic(activation="rleu"), "did you mean 'relu'"),
        (lambda: diffusion_reaction(reaction="plian"), "did you mean 'plain'"),
        (lambda: Connector(FullConv2d(1, 1), nn.Identity(), "relu", "maxi"), "mean 'max'"),
    ],
)
def test_bad_input(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_connector_pools_pairs_of_pixels():
    operator = PointwiseConv2d(4, 3, 1).double()
    connector = Connector(operator, nn.Identity(), "relu", "average")
    expected = nn.functional.avg_pool2d(torch.relu(operator(images())), 2)
    torch.testing.assert_close(connector(images()), expected)
    assert connector(images()).shape == (2, 3, 2, 3)
    with pytest.raises(InputError, match="at least 2 x 2 pixels to pool, got 1 x 6"):
        connector(images(size=(1, 6)))
