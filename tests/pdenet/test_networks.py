"""The network: published weight counts, every valid combination, folding, costs and bad input."""

import itertools
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from analysis.couplings import COUPLINGS
from analysis.errors import InputError
from analysis.methods import register, unregister
from analysis.tableau import ButcherTableau
from pdenet.config import from_toml, to_toml
from pdenet.integrators.explicit import rk_step
from pdenet.layers.normalization import fold_batch_norm
from pdenet.network_config import TERMS
from pdenet.networks import BLOCKS, NetworkConfig, PDENet
from pdenet.operators.solves.implicit import solve_multiply_adds

SMALL = NetworkConfig(in_channels=2, classes=3, widths=(4, 8), steps=2, groups=2)
EXPLICIT = ("euler", "heun", "ssprk33", "rk4", "midpoint")


def network(config=SMALL, seed=0):
    torch.manual_seed(seed)
    return PDENet(config)


def random_images(batch=3, side=6, channels=2, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, side, side, dtype=dtype, generator=generator)


def disturb(model):
    """Give the batch norms statistics and gains that are far from their defaults."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.running_var):
                    tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
                for tensor in (module.bias, module.running_mean):
                    tensor.copy_(torch.randn(tensor.shape, generator=generator) / 4)
    return model.eval()


@pytest.mark.parametrize(
    ("widths", "head", "classes", "weights", "hamiltonian"),
    [
        ((32, 64, 112), 112, 10, 502_570, 264_106),  # CIFAR-10
        ((32, 64, 128), 256, 100, 652_484, 362_180),  # CIFAR-100
        ((16, 32, 64, 128), 128, 10, 618_554, 324_794),  # STL-10
    ],
)
def test_published_weights(widths, head, classes, weights, hamiltonian):
    """Ruthotto & Haber, arXiv 1804.04272, Table 1: parabolic, second order, Hamiltonian."""
    published = {
        ("parabolic", "euler"): weights,
        ("second-order", "symplectic-euler"): weights,
        ("hamiltonian", "symplectic-euler"): hamiltonian,
    }
    for (block, method), count in published.items():
        config = NetworkConfig(
            in_channels=3, classes=classes, widths=widths, head_width=head, coupling="full",
            block=block, method=method, normalization="tv",
        )  # fmt: skip
        assert PDENet(config).weights == count


METHODS_OF_BLOCKS = {
    "parabolic": ("backward-euler",),
    "residual": (),
    "diffusion-reaction": ("ars111", "strang"),
    "hamiltonian": ("verlet",),
    "second-order": ("symplectic-euler",),
}


def test_every_pair_of_choices_trains():
    """Forward and backward reach every weight, for all of block, coupling and method."""
    for block, coupling in itertools.product(BLOCKS, COUPLINGS):
        for method in (*EXPLICIT, *METHODS_OF_BLOCKS[block]):
            options = {"block": block, "coupling": coupling, "method": method}
            if method == "backward-euler":
                options["normalization"] = "none"
            if method == "ars111":
                options["diffusion"] = "linear"
            model = network(replace(SMALL, padding_mode="circular", step_size=0.1, **options))
            model(random_images()).square().sum().backward()
            # What the last Euler step does to the velocity is never seen.
            unseen = (block, method) == ("second-order", "euler")
            for name, parameter in model.named_parameters():
                gradient = parameter.grad
                assert gradient is not None, (options, name)
                assert bool(gradient.isfinite().all()), (options, name)
                assert bool(gradient.any()) or (unseen and "steps.1" in name), (options, name)


@pytest.mark.parametrize(
    "options",
    [
        {"normalization": "none", "activation": "tanh", "pooling": "max", "steps": 1},
        {"normalization": "none", "block": "residual", "padding_mode": "reflect"},
        {"block": "diffusion-reaction", "reaction": "plain", "normalization": "none"},
        {"block": "diffusion-reaction", "diffusion": "linear", "normalization": "none"},
        {"stencil": "five-point", "padding_mode": "replicate", "head_width": 5},
        {"weights_in_time": "shared", "activation": "softplus", "widths": (4,)},
    ],
)
def test_other_options_train_in_double_precision(options):
    model = network(replace(SMALL, **options)).double()
    logits = model(random_images(dtype=torch.float64))
    assert logits.shape == (3, 3)
    logits.square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


def test_terms_have_biases_exactly_where_no_normalisation_shifts():
    for normalization, bias in [("batch", False), ("none", True)]:
        for block, inner, outer in [
            ("parabolic", ["operator"], []),
            ("residual", ["first"], ["second"]),
            ("diffusion-reaction", ["diffusion_operator", "reaction_operator"], []),
            ("hamiltonian", ["first", "second"], []),
            ("second-order", ["operator"], []),
        ]:
            model = network(replace(SMALL, block=block, normalization=normalization))
            for _, step in model.time_steps():
                assert all((getattr(step.term, name).bias is not None) == bias for name in inner)
                assert all(getattr(step.term, name).bias is None for name in outer)


def test_time_steps_by_name():
    for block, kind in TERMS.items():
        model = network(replace(SMALL, block=block, method="heun", step_size=0.25))
        steps = dict(model.time_steps())
        assert list(steps) == [f"blocks.{b}.steps.{s}" for b in (0, 1) for s in (0, 1)]
        for name, step in steps.items():
            assert model.get_submodule(name) is step
            assert isinstance(step.term, kind)
            assert (step.method, step.step_size) == ("heun", 0.25)


def test_shared_weights_are_stored_once_and_applied_often():
    own, shared = (network(replace(SMALL, weights_in_time=w)) for w in ("per-step", "shared"))
    assert [name for name, _ in shared.time_steps()] == ["blocks.0.steps.0", "blocks.1.steps.0"]
    per_step = sum(sum(p.numel() for p in step.parameters()) for _, step in shared.time_steps())
    assert own.weights - shared.weights == per_step
    assert own.multiply_adds(6, 6) == shared.multiply_adds(6, 6)
    tensors = shared.state_dict().values()
    assert len({tensor.data_ptr() for tensor in tensors}) == len(tensors)  # nothing is tied


@pytest.mark.parametrize("block", BLOCKS)
def test_folding_batch_norm_is_exact(block):
    model = disturb(network(replace(SMALL, block=block)).double())
    folded = fold_batch_norm(model)
    images = random_images(dtype=torch.float64)
    torch.testing.assert_close(folded.train()(images), model(images), rtol=1e-12, atol=1e-12)
    assert folded.weights == model.weights
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())


@pytest.mark.parametrize("block", BLOCKS)
def test_state_dict_round_trip(block):
    config = replace(SMALL, block=block, stencil="five-point", coupling="circulant")
    model, other = disturb(network(config)), network(config, seed=9).eval()
    images = random_images()
    assert not torch.equal(other(images), model(images))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(images), model(images))


def test_periodic_network_does_not_see_translations():
    """Up to the poolings: shifts by their stride leave the logits as they are."""
    model = disturb(network(replace(SMALL, padding_mode="circular")).double())
    images = random_images(side=8, dtype=torch.float64)
    shifted = model(images.roll((2, -4), (2, 3)))
    torch.testing.assert_close(shifted, model(images), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("coupling", ["full", "pointwise", "circulant", "grouped", "depthwise"])
@pytest.mark.parametrize("block", BLOCKS)
def test_multiply_adds_are_those_a_counter_sees(block, coupling):
    """The counter of torch is right for convolutions on images without padding copies."""
    config = replace(SMALL, block=block, coupling=coupling, method="heun")
    model = network(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(random_images(batch=1, side=7))
    assert 2 * model.multiply_adds(7, 7) == counter.get_total_flops()


def test_multiply_adds_of_lean_spare_the_centre():
    """A depthwise convolution runs over the zero centre as well: c a pixel more than counted."""
    model = network(replace(SMALL, widths=(4,), steps=1)).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(random_images(batch=1))
    assert counter.get_total_flops() // 2 - model.multiply_adds(6, 6) == 2 * 4 * 36


def test_multiply_adds_of_the_fourier_solve():
    explicit = replace(
        SMALL, block="diffusion-reaction", coupling="depthwise", diffusion="linear",
        padding_mode="circular", widths=(4,), steps=1,
    )  # fmt: skip
    model, implicit = network(explicit), network(replace(explicit, method="ars111"))
    D = next(model.time_steps())[1].term.diffusion_operator
    difference = implicit.multiply_adds(8, 8) - model.multiply_adds(8, 8)
    assert difference == solve_multiply_adds(D, 8, 8) - 2 * D.multiply_adds(8, 8)


def test_autocast_and_channels_last():
    config = replace(
        SMALL, block="diffusion-reaction", coupling="circulant", diffusion="linear",
        padding_mode="circular", method="ars111",
    )  # fmt: skip
    for model in (network(config).eval(), network().eval()):
        expected = model(random_images())
        model = model.to(memory_format=torch.channels_last)
        images = random_images().to(memory_format=torch.channels_last)
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = model(images)
        torch.testing.assert_close(low.float(), expected, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("padding_mode", ["zeros", "circular", "reflect", "replicate"])
def test_network_can_be_compiled(padding_mode):
    """One graph without breaks (traced only), for images of several sizes too."""
    options = {"padding_mode": padding_mode, "stencil": "five-point", "widths": (4,), "steps": 1}
    model = network(replace(SMALL, **options)).eval()
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for side in (6, 8, 9, 5):
        images = random_images(side=side)
        torch.testing.assert_close(compiled(images), model(images))


def test_smallest_images():
    for padding_mode, side in [("zeros", 2), ("circular", 2), ("replicate", 2), ("reflect", 4)]:
        model = network(replace(SMALL, padding_mode=padding_mode)).eval()
        assert model.smallest_side == side
        assert model(random_images(side=side)).shape == (3, 3)
        with pytest.raises(InputError, match=f"at least {side} x {side} pixels for 2 widths"):
            model(random_images(side=side - 1))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.ones(3, 1, 6, 6), "shape \\(B, 2, H, W\\), got float32 of shape \\(3, 1, 6, 6\\)"),
        (torch.ones(2, 6, 6), "got float32 of shape \\(2, 6, 6\\)"),
        (torch.ones(3, 2, 6, 6, dtype=torch.uint8), "got uint8"),
    ],
)
def test_wrong_images(images, message):
    with pytest.raises(InputError, match=message):
        network()(images)


# Configuration.


def test_config_is_frozen_canonical_and_hashable():
    config = NetworkConfig(widths=[8, 16], method="forward-euler")
    assert config == NetworkConfig(widths=(8, 16), method="euler")
    assert hash(config) == hash(NetworkConfig(widths=(8, 16)))
    assert (config.widths, config.output_width) == ((8, 16), 16)
    with pytest.raises(FrozenInstanceError):
        config.steps = 4
    imex = NetworkConfig(
        block="diffusion-reaction", diffusion="linear", padding_mode="circular",
        coupling="depthwise", method="imex-euler",
    )  # fmt: skip
    assert imex.method == "ars111"


def test_a_method_of_ones_own_stays_with_the_configuration(tmp_path):
    path = tmp_path / "ralston.toml"
    path.write_text('kind = "runge-kutta"\nA = [[0, 0], ["2/3", 0]]\nb = ["1/4", "3/4"]\n')
    config = replace(SMALL, method=str(path))
    assert config.method == "table:A=0 0;2/3 0,b=1/4 3/4"
    path.unlink()
    again = from_toml(NetworkConfig, to_toml(config))
    assert again == config
    model = network(again)
    y = random_images(channels=4, side=6)
    step = model.blocks[0].steps[0].eval()
    assert step.method == config.method
    expected = rk_step(ButcherTableau("", [[0, 0], ["2/3", 0]], ["1/4", "3/4"]), step.term, y, 1.0)
    torch.testing.assert_close(step(y), expected)
    # One that was registered is stored as its table too, where no other process knows its name.
    register(ButcherTableau("my-own", [[0, 0], ["2/3", 0]], ["1/4", "3/4"]))
    try:
        assert replace(SMALL, method="my-own") == config
    finally:
        unregister("my-own")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coupling": "leen"}, "a coupling out of.*did you mean 'lean'"),
        ({"block": "parabollic"}, "did you mean 'parabolic'"),
        ({"stencil": "fivepoint"}, "did you mean 'five-point'"),
        ({"method": "rk5"}, "a method out of"),
        ({"method": 4}, "a method out of"),
        ({"method": "gauss2"}, "solved for one after the other, got 'gauss2'"),
        ({"method": "bdf4"}, "first values a one-step method gives with order 3, got 'bdf4'"),
        ({"method": "ars222"}, "explicit or implicit for block='parabolic', got ars222"),
        ({"method": "verlet", "block": "residual"}, "got verlet, which takes drift and kick"),
        ({"method": "lie", "block": "hamiltonian"}, "choose one such as euler or verlet"),
        ({"method": "rkc1:stages=51"}, "at most 50 stages for the steps of a network"),
        ({"method": "no.toml"}, "a method file at 'no.toml', got No such file"),
        ({"method": "crank-nicolson"}, "normalization='none'.*crank-nicolson, got 'batch'"),
        (
            {"method": "bdf2", "normalization": "none", "activation": "gelu"},
            "an activation that never falls for the implicit steps of bdf2",
        ),
        ({"block": "hamiltonian", "widths": (6, 7)}, "even widths for the two halves"),
        (
            {"block": "hamiltonian", "widths": (12,), "coupling": "grouped"},
            "half of the widths that are multiples of groups=4, got \\(6,\\)",
        ),
        ({"backpropagation": "reversible"}, "verlet or another partitioned.*got 'euler'"),
        ({"time_coefficients": 0}, "whole number for time_coefficients, got 0"),
        ({"weights_in_time": "share"}, "weights in time out of.*did you mean 'shared'"),
        ({"normalization": "bach"}, "did you mean 'batch'"),
        ({"activation": "gello"}, "did you mean 'gelu'"),
        ({"padding_mode": "periodic"}, "padding mode out of zeros, circular"),
        ({"pooling": "avg"}, "a pooling out of average, max"),
        ({"step_size": 0.0}, "a positive step size, got 0.0"),
        ({"step_size": float("nan")}, "a positive step size, got nan"),
        ({"step_size": "1"}, "a positive step size, got '1'"),
        ({"widths": ()}, "at least one width"),
        ({"widths": (8, -1)}, "whole number for widths\\[1\\], got -1"),
        ({"widths": 8}, "widths as a list of whole numbers, got 8"),
        ({"steps": 0}, "whole number for steps, got 0"),
        ({"steps": 2.5}, "whole number for steps, got 2.5"),
        ({"classes": True}, "whole number for classes, got True"),
        (
            {"classes": 10**30},
            "a positive whole number below 2\\^31 for classes, got 10+; change it",
        ),
        ({"widths": (8, 2**31)}, "below 2\\^31 for widths\\[1\\], got 2147483648"),
        ({"in_channels": 2**31}, "below 2\\^31 for in_channels"),
        ({"head_width": 0}, "whole number for head_width, got 0"),
        ({"coupling": "grouped", "widths": (8, 6)}, "multiples of groups=4, got \\(8, 6\\)"),
        ({"diffusion": "linear"}, "for the option diffusion, got 'parabolic'"),
        (
            {"reaction": "plain", "reaction_coupling": "full"},
            "for the options reaction, reaction_coupling, got 'parabolic'",
        ),
        ({"method": "ars111", "block": "diffusion-reaction"}, "or choose diffusion='linear' or an"),
    ],
)
def test_bad_configuration(options, message):
    with pytest.raises(InputError, match=message) as caught:
        NetworkConfig(**options)
    assert "\n" not in str(caught.value)
