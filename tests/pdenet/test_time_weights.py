"""Weights as functions of time: bases, the steps they stand for, and the smoothness penalty."""

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre
from scipy.interpolate import BSpline

from analysis.errors import InputError
from analysis.time_basis import BASES, interpolation, step_times, time_basis
from pdenet.inspection.reader import double_inference
from pdenet.layers.time_weights import BasisBlock, time_smoothness
from pdenet.networks import NetworkConfig, PDENet, per_step

SMALL = NetworkConfig(in_channels=2, classes=3, widths=(4, 6), steps=5, step_size=0.3)


def network(seed=0, **options):
    torch.manual_seed(seed)
    found = PDENet(NetworkConfig(**{**vars(SMALL), **options})).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in found.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise, alpha=0.1)
    return found


def images(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 2, 8, 6, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_bases_against_their_definitions(count):
    tau = np.linspace(0, 1, 23)
    hats = time_basis("piecewise-linear", count, tau)
    nodes = np.linspace(0, 1, count)
    units = np.eye(count)
    expected = [np.interp(tau, nodes, unit) for unit in units] if count > 1 else [np.ones(23)]
    np.testing.assert_allclose(hats, np.transpose(expected), atol=1e-14)
    polynomials = [legendre.Legendre.basis(i, domain=[0, 1])(tau) for i in range(count)]
    np.testing.assert_allclose(
        time_basis("legendre", count, tau), np.transpose(polynomials), atol=1e-14
    )
    splines = time_basis("bspline", count, tau)
    assert (splines >= 0).all()
    np.testing.assert_allclose(splines.sum(axis=1), 1, atol=1e-14)
    k = min(3, count - 1)
    knots = np.r_[[0.0] * k, np.linspace(0, 1, count - k + 1), [1.0] * k]
    for i in range(count):  # the recursion of Cox and de Boor
        np.testing.assert_allclose(splines[:-1, i], [cox_de_boor(knots, i, k, t) for t in tau[:-1]])
    assert isinstance(BSpline(knots, units[0], k), BSpline)


def cox_de_boor(knots, i, k, t):
    if k == 0:
        return float(knots[i] <= t < knots[i + 1])
    total = 0.0
    if knots[i + k] > knots[i]:
        total += (t - knots[i]) / (knots[i + k] - knots[i]) * cox_de_boor(knots, i, k - 1, t)
    if knots[i + k + 1] > knots[i + 1]:
        left = (knots[i + k + 1] - t) / (knots[i + k + 1] - knots[i + 1])
        total += left * cox_de_boor(knots, i + 1, k - 1, t)
    return total


def test_interpolation_keeps_lines_inside():
    for old, new in [(2, 4), (3, 6), (5, 5), (4, 2), (3, 7)]:
        matrix = interpolation(old, new)
        np.testing.assert_allclose(matrix.sum(axis=1), 1)
        line = matrix @ step_times(old)
        inside = (step_times(new) >= step_times(old)[0]) & (step_times(new) <= step_times(old)[-1])
        np.testing.assert_allclose(line[inside], step_times(new)[inside])
    assert np.array_equal(interpolation(5, 5), np.eye(5))


@pytest.mark.parametrize("normalization", ["batch", "none", "tv"])
@pytest.mark.parametrize("basis", BASES)
def test_the_steps_of_a_basis_are_those_of_its_weights(basis, normalization):
    """Training mode and inference: the block equals one with weights of its own for every step."""
    found = network(weights_in_time=basis, time_coefficients=3, normalization=normalization)
    found.train()(images())  # running statistics that differ from step to step
    block = found.blocks[0]
    assert isinstance(block, BasisBlock)
    values = time_basis(basis, 3, step_times(5))
    coefficients = [dict(step.named_parameters()) for step in block.steps]
    for j, weights in enumerate(block.weights_in_time()):
        for name, weight in weights.items():
            expected = sum(values[j, i] * coefficients[i][name] for i in range(3))
            torch.testing.assert_close(weight, expected, rtol=1e-14, atol=1e-15)
    explicit = per_step(found)
    assert explicit.config.weights_in_time == "per-step"
    assert type(explicit.blocks[0]) is not BasisBlock
    for mode in (True, False):
        torch.testing.assert_close(
            explicit.train(mode)(images()), found.train(mode)(images()), rtol=1e-12, atol=1e-12
        )
    again = PDENet(explicit.config).double().eval()
    again.load_state_dict(explicit.state_dict())
    torch.testing.assert_close(again(images()), found.eval()(images()), rtol=1e-12, atol=1e-12)


def test_running_statistics_belong_to_each_application():
    found = network(weights_in_time="piecewise-linear")
    found.train()
    for _ in range(200):
        found(images())
    found.eval()
    # After many passes of one batch, inference normalises as training does (variance n / (n-1)).
    torch.testing.assert_close(found(images()), found.train()(images()), rtol=0.05, atol=0.05)
    means = [s.term_normalization_running_mean for s in found.blocks[0].statistics]
    assert len({tuple(mean.tolist()) for mean in means}) == 5
    assert not any("steps" in n and "running" in n for n, _ in found.named_buffers())


@pytest.mark.parametrize("basis", BASES)
def test_gradients_reach_every_coefficient_and_state_round_trips(basis):
    found = network(weights_in_time=basis, time_coefficients=3)
    found(images()).square().sum().backward()
    assert all(bool(p.grad.any()) for p in found.parameters())
    other = network(seed=7, weights_in_time=basis, time_coefficients=3).eval()
    # Without metadata, as a file holds it.
    other.load_state_dict(dict(found.state_dict()))
    assert torch.equal(other(images()), found.eval()(images()))


def test_weights_of_a_basis_do_not_grow_with_the_steps():
    few, many = (
        network(weights_in_time="bspline", time_coefficients=4, steps=n).weights for n in (4, 40)
    )
    assert few == many


def test_a_legendre_network_begins_constant_in_time():
    torch.manual_seed(0)
    config = NetworkConfig(weights_in_time="legendre", time_coefficients=3)
    assert time_smoothness(PDENet(config)).item() == 0


def test_multistep_methods_and_halves_carry_their_state_through_a_basis():
    for options in (
        {"method": "ab2"},
        {"block": "second-order", "method": "verlet"},
        {"block": "hamiltonian", "method": "verlet"},
    ):
        found = network(weights_in_time="piecewise-linear", **options).eval()
        expected = per_step(found)(images())
        torch.testing.assert_close(found(images()), expected, rtol=1e-12, atol=1e-12)


def test_smoothness_is_the_sum_of_squared_differences_over_the_step():
    found = network()
    expected = 0.0
    for block in found.blocks:
        for before, after in zip(block.steps[:-1], block.steps[1:], strict=True):
            pairs = zip(before.parameters(), after.parameters(), strict=True)
            change = sum((b - a).square().sum().item() for a, b in pairs)
            expected += 0.3 * change / 0.3**2 / 2
    torch.testing.assert_close(
        time_smoothness(found), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0
    )
    assert time_smoothness(network(weights_in_time="shared")).item() == 0
    time_smoothness(found).backward()
    assert found.blocks[0].steps[2].term.operator.pointwise.grad is not None


def test_inspection_sees_the_steps():
    found = network(weights_in_time="legendre", time_coefficients=2)
    double = double_inference(found)
    assert len(list(double.time_steps())) == 10
    torch.testing.assert_close(double(images()), found.eval()(images()))


def test_bad_bases():
    with pytest.raises(InputError, match="did you mean 'legendre'"):
        time_basis("legendr", 2, step_times(2))
    with pytest.raises(InputError, match="at least one function of time, got 0"):
        time_basis("bspline", 0, step_times(2))
    with pytest.raises(InputError, match="at least one time step, got 0 and 2"):
        interpolation(0, 2)
    with pytest.raises(InputError, match="at least one coefficient"):
        BasisBlock([], 3, "bspline")
    with pytest.raises(InputError, match="weights per step or shared for reversible steps"):
        NetworkConfig(
            block="second-order", method="verlet", backpropagation="reversible",
            weights_in_time="legendre",
        )  # fmt: skip
