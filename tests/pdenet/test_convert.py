"""Converted models: their weights, their outputs beside dense references, and what is kept."""

from __future__ import annotations

import copy
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import pdenet
from analysis.errors import InputError
from analysis.projection import dense_in, project, projection_error
from pdenet.conversion.convert import convert
from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import OPERATORS
from tests.pdenet.cli_runner import ENVELOPE, refused, run
from tests.pdenet.torch_models import BasicBlock, ResNet18, UNet, small_resnet

COUPLINGS = tuple(OPERATORS)
EVERY = pytest.mark.parametrize("coupling", COUPLINGS)


def everything(name: str, module: nn.Module) -> bool:
    return True


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def small_models() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    return {
        "resnet": (ResNet18(10, 8, small_images=True), torch.randn(2, 3, 16, 16)),
        "unet": (UNet(3, 2, width=8, depth=2), torch.randn(2, 3, 44, 44)),
    }


MODELS = pytest.mark.parametrize("kind", ["resnet", "unet"])


def projected_by_numpy(weight: np.ndarray, coupling: str, groups: int) -> np.ndarray:
    """P W written down with masks and loops, another way than in the analysis."""
    rows, columns, *kernel = weight.shape
    centre = tuple(k // 2 for k in kernel)
    kept = np.zeros_like(weight)
    if coupling == "full":
        kept[:] = weight
    if coupling in ("pointwise", "lean"):
        kept[:, :, *centre] = weight[:, :, *centre]
    if coupling in ("depthwise", "lean"):
        for c in range(min(rows, columns)):
            kept[c, c] = weight[c, c]
    if coupling == "grouped":
        for o in range(rows):
            for i in range(columns):
                if o * groups // rows == i * groups // columns:
                    kept[o, i] = weight[o, i]
    if coupling == "circulant":
        size = max(rows, columns)
        difference = (np.arange(rows)[:, None] - np.arange(columns)) % size
        for j in range(size):
            kept[difference == j] = weight[difference == j].mean(axis=0)
    return kept


def dense_reference(model: nn.Module, coupling: str, names: set[str], groups: int) -> nn.Module:
    """The model with the dense weights of the named layers replaced by their projections."""
    reference = copy.deepcopy(model)
    for name, module in reference.named_modules():
        if name in names:
            weight = module.weight.detach().double().numpy()
            if module.groups > 1:
                blocks = np.zeros((module.out_channels, module.in_channels, *weight.shape[2:]))
                rows, columns = (n // module.groups for n in blocks.shape[:2])
                for g in range(module.groups):
                    own = slice(g * rows, (g + 1) * rows)
                    blocks[own, g * columns : (g + 1) * columns] = weight[own]
                weight, module.groups = blocks, 1
            nearest = projected_by_numpy(weight, coupling, groups)
            module.weight = nn.Parameter(torch.as_tensor(nearest, dtype=module.weight.dtype))
    return reference


# Shown on whole models.


@EVERY
@MODELS
def test_outputs_are_those_of_the_model_with_projected_dense_weights(kind, coupling) -> None:
    model, images = small_models()[kind]
    model, images = model.double().eval(), images.double()
    found = convert(model, coupling, groups=2)
    names = {layer.name for layer in found.converted}
    assert len(names) >= 5
    reference = dense_reference(model, coupling, names, groups=2)
    torch.testing.assert_close(found.model(images), reference(images), rtol=1e-10, atol=1e-11)
    if coupling == "full":
        torch.testing.assert_close(found.model(images), model(images), rtol=1e-10, atol=1e-12)


@EVERY
@MODELS
def test_a_converted_model_trains_and_its_state_dict_makes_the_round(kind, coupling) -> None:
    model, images = small_models()[kind]
    network = convert(model, coupling, groups=2).model
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    network(images).square().mean().backward()
    gradients = [p.grad for p in network.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert all(g.abs().max() > 0 for g, p in zip(gradients, network.parameters(), strict=True))
    optimizer.step()
    other = convert(model, coupling, groups=2).model
    before = other.eval()(images)
    other.load_state_dict(network.state_dict())
    assert not torch.allclose(other(images), before)
    torch.testing.assert_close(other(images), network.eval()(images))


WEIGHTS = {  # convolutions of ResNet-18: by hand from the widths 64, 128, 256, 512
    "full": 11_166_912,
    "lean": (
        9408 + 64 * 128 + 128 * 256 + 256 * 512  # opening and three 1x1 shortcuts
        + sum(4 * c * c - (c * c if c > 64 else 0) for c in (64, 128, 256, 512))
        + sum(4 * 8 * c for c in (64, 128, 256, 512))
        + sum(a * 2 * a + 8 * a - 8 * 2 * a for a in (64, 128, 256))
    ),
}  # fmt: skip


def test_a_resnet_18_has_the_weights_of_the_paper_and_every_coupling_fewer() -> None:
    with torch.device("meta"):  # counting takes no values
        model, images = ResNet18(), torch.zeros(1, 3, 224, 224)
    counts = {}
    for coupling in COUPLINGS:
        found = convert(model, coupling, example=images)
        assert found.parameters_before == 11_689_512
        assert found.weights_before == WEIGHTS["full"]
        assert found.parameters == sum(p.numel() for p in found.model.parameters())
        # Their difference, 522,600, is what is no convolution: norms and the classifier.
        assert found.parameters - found.weights == 11_689_512 - WEIGHTS["full"]
        assert found.model(images).shape == (1, 1000)
        assert all(layer.projection_error is None for layer in found.layers)
        counts[coupling] = found.weights
        # 1.814e9 multiply-adds of the convolutions; the paper's 1.8e9 with the classifier.
        assert found.multiply_adds_before == 1_813_561_344
    assert {name: counts[name] for name in WEIGHTS} == WEIGHTS
    assert all(counts[name] < counts["full"] / 3 for name in COUPLINGS if name != "full")


def test_a_u_net_has_the_weights_and_sizes_of_the_paper() -> None:
    with torch.device("meta"):
        model, images = UNet(), torch.zeros(1, 1, 572, 572)
    assert sum(p.numel() for p in model.parameters()) == 31_030_658
    found = convert(model, "lean", example=images)
    assert found.model(images).shape == (1, 2, 388, 388)
    kept = {layer.name: layer.kept for layer in found.layers if layer.kept}
    assert kept["up.0"] == "a ConvTranspose2d, not a Conv2d"
    assert kept["head"].startswith("1x1 already")
    assert kept["down.0.0"].startswith("opens the network, 1 channels in")
    assert len(kept) == 6


def test_multiply_adds_are_those_that_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    for model, images in small_models().values():
        found = convert(model, "full", example=images)
        with FlopCounterMode(display=False) as counter:
            model.eval()(images)
        counts = counter.get_flop_counts()["Global"]
        expected = sum(n for op, n in counts.items() if "conv" in str(op)) // 2
        assert found.multiply_adds_before == expected
        assert found.multiply_adds == expected


def test_multiply_adds_after_follow_from_the_operators() -> None:
    model, images = small_models()["resnet"]
    found = convert(model, "lean", example=images)
    layer = next(layer for layer in found.layers if layer.name == "layer2.0.conv1")
    # 8 -> 16 channels, stride 2 of 16 x 16 pixels, a batch of two.
    assert layer.multiply_adds == 2 * 64 * (8 * 16 + 8 * 8)
    assert layer.multiply_adds_before == 2 * 64 * 9 * 8 * 16
    assert convert(model, "lean").multiply_adds is None


@EVERY
def test_a_converted_block_compiles_without_graph_breaks(coupling) -> None:
    block = convert(BasicBlock(8, 16, 2), coupling, groups=2).model.eval()
    images = torch.randn(2, 8, 8, 8)
    torch._dynamo.reset()
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), block(images))


def test_a_timm_model_converts() -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("resnet18", pretrained=False).eval()
    images = torch.randn(1, 3, 64, 64)
    found = convert(model, "lean", example=images)
    assert len(found.converted) == 16
    assert found.model(images).shape == (1, 1000)
    full = convert(model, "full").model
    torch.testing.assert_close(full(images), model(images), rtol=1e-3, atol=1e-4)


# Single layers: every argument of a convolution.

ARGUMENTS = [
    {"padding": 1},
    {"padding": 0},
    {"padding": "same"},
    {"padding": "valid", "stride": 2},
    {"padding": 3, "stride": 2},
    {"padding": 2, "dilation": 2},
    {"padding": (1, 3), "dilation": 3, "stride": 2},
    {"padding": "same", "dilation": 2, "padding_mode": "circular"},
    {"padding": 1, "padding_mode": "reflect", "stride": 2},
    {"padding": 2, "padding_mode": "replicate"},
    {"kernel_size": (1, 5), "padding": (0, 2)},
    {"kernel_size": 5, "padding": 1, "stride": 3, "bias": False},
    {"kernel_size": (3, 1), "padding": "same", "padding_mode": "reflect"},
]


@EVERY
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("channels", [(8, 8), (8, 12), (12, 8)])
def test_every_argument_of_a_convolution_is_kept(coupling, arguments, channels) -> None:
    c_in, c_out = channels
    layer = nn.Conv2d(c_in, c_out, **{"kernel_size": 3, **arguments}).double()
    found = convert(layer, coupling, filter="", groups=4)
    if coupling == "depthwise" and c_in != c_out:
        assert found.layers[0].kept.startswith("needs as many output as input channels")
        assert found.model is not layer
        assert isinstance(found.model, nn.Conv2d)
        return
    reference = dense_reference(layer, coupling, {""}, groups=4)
    for size in ((9, 12), (11, 11)):
        images = torch.randn(2, c_in, *size, dtype=torch.float64)
        torch.testing.assert_close(found.model(images), reference(images), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_five_point_conversions_drop_the_corners(coupling) -> None:
    layer = nn.Conv2d(8, 8, 3, padding=1).double()
    found = convert(layer, coupling, filter="", groups=4, five_point=True)
    dense = found.model.coupling().dense_weight()
    if coupling == "pointwise":
        assert dense.shape == (8, 8, 1, 1)
    else:
        expected = projected_by_numpy(layer.weight.detach().numpy(), coupling, 4)
        expected[:, :, ::2, ::2] = 0
        np.testing.assert_allclose(dense.detach().numpy(), expected, atol=1e-16)
    weight = layer.weight.detach()
    reference = project(weight, coupling, groups=4, five_point=True)
    error = (weight - dense_in(reference, (3, 3))).norm() / weight.norm()
    assert found.layers[0].projection_error == pytest.approx(float(error))


@EVERY
def test_weights_keep_their_norm_where_that_is_asked_for(coupling) -> None:
    layer = nn.Conv2d(16, 16, 3).double()
    nearest = convert(layer, coupling, filter="").model.coupling().dense_weight()
    found = convert(layer, coupling, filter="", keep_norm=True)
    dense = found.model.coupling().dense_weight()
    torch.testing.assert_close(dense.norm(), layer.weight.norm())
    torch.testing.assert_close(dense / dense.norm(), nearest / nearest.norm())
    cosine = float((nearest.norm() / layer.weight.norm()).detach())
    assert found.layers[0].projection_error ** 2 + cosine**2 == pytest.approx(1)


@pytest.mark.parametrize("coupling", ["lean", "pointwise", "circulant", "grouped"])
def test_groups_are_projected_as_a_block_diagonal(coupling) -> None:
    layer = nn.Conv2d(16, 16, 3, padding=1, groups=2).double()
    found = convert(layer, coupling, filter="", groups=8)
    assert found.layers[0].coupling_before == "grouped"
    assert found.layers[0].weights_before == 9 * 16 * 16 // 2
    reference = dense_reference(layer, coupling, {""}, groups=8)
    images = torch.randn(1, 16, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(found.model(images), reference(images), rtol=1e-12, atol=1e-13)


# What is kept.


class OwnForward(nn.Conv2d):
    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input, weight / weight.norm(), bias)


class OnlyNamed(nn.Conv2d):
    """A subclass that computes nothing else."""


KEPT = [
    (nn.Conv2d(8, 8, 1), "lean", "no fewer weights: 64 -> 64"),
    (nn.Conv2d(8, 8, 3, groups=8), "lean", "no fewer weights: 72 -> 128"),
    (nn.Conv2d(8, 8, 3, groups=8), "depthwise", "no fewer weights: 72 -> 72"),
    (nn.Conv2d(8, 8, 3, groups=4), "full", "no fewer weights: 144 -> 576"),
    (nn.Conv2d(8, 8, 2), "lean", "needs an odd kernel size.*not \\(2, 2\\)"),
    (nn.Conv2d(8, 8, 3, (1, 2)), "lean", "needs one stride.*not \\(1, 2\\)"),
    (nn.Conv2d(8, 8, 3, dilation=(1, 2)), "lean", "needs one dilation.*not \\(1, 2\\)"),
    (nn.Conv2d(8, 16, 3), "depthwise", "needs as many output as input.*not 8 -> 16"),
    (nn.Conv2d(9, 9, 3), "grouped", "needs channels that are multiples of groups=4"),
    (nn.ConvTranspose2d(8, 8, 3), "lean", "a ConvTranspose2d, not a Conv2d"),
    (nn.Conv1d(8, 8, 3), "lean", "a Conv1d, not a Conv2d"),
    (nn.LazyConv2d(8, 3), "lean", "no weights before its first call"),
    (OwnForward(8, 8, 3), "lean", "OwnForward with a forward of its own"),
    (parametrizations.weight_norm(nn.Conv2d(8, 8, 3)), "lean", "its weight is computed"),
    (prune.random_unstructured(nn.Conv2d(8, 8, 3), "weight", 0.5), "lean", "is computed"),
    (nn.Conv2d(8, 8, 3, dtype=torch.complex64), "lean", "complex weights"),
]


@pytest.mark.parametrize(("layer", "coupling", "reason"), KEPT, ids=lambda v: str(v)[:30])
def test_what_cannot_gain_is_kept_with_its_reason(layer, coupling, reason) -> None:
    model = nn.Sequential(layer)
    found = convert(model, coupling, filter=everything, inplace=True)
    assert found.model[0] is layer
    (line,) = found.layers
    assert line.projection_error is None
    assert line.weights == line.weights_before
    assert found.converted == ()
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(line.kept)


def test_a_subclass_that_computes_the_same_is_converted() -> None:
    found = convert(nn.Sequential(OnlyNamed(8, 8, 3)), "lean")
    assert found.layers[0].kept is None


def test_a_forward_set_on_the_module_is_kept() -> None:
    layer = nn.Conv2d(8, 8, 3)
    layer.forward = lambda x: x
    assert "a forward of its own" in convert(nn.Sequential(layer), "lean").layers[0].kept


def test_by_default_openings_and_1x1_are_kept_and_a_filter_converts_them() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 3))
    kept = [layer.kept for layer in convert(model, "circulant").layers]
    assert [reason is None for reason in kept] == [False, False, True]
    assert (
        convert(model, "circulant", filter="*").converted
        == convert(model, "circulant", filter=everything).converted
    )
    assert len(convert(model, "circulant", filter="*").converted) == 3
    assert len(convert(model, "full").converted) == 3  # nothing is lost
    assert len(convert(model, "full", five_point=True).converted) == 1


def test_filters_choose_by_name_and_by_module() -> None:
    model = small_models()["resnet"][0]
    names = [layer.name for layer in convert(model, filter="layer3.*").converted]
    assert names == [f"layer3.{block}.conv{i}" for block in (0, 1) for i in (1, 2)]
    wide = convert(model, filter=lambda name, module: module.in_channels >= 64)
    assert {layer.name for layer in wide.converted} == {
        "layer4.0.conv2",
        "layer4.1.conv1",
        "layer4.1.conv2",
    }
    others = [layer.kept for layer in wide.layers if layer.kept]
    assert set(others) == {"not in the filter"}


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"coupling": "leen"}, "did you mean 'lean'"),
        ({"filter": "layer9.*"}, "a pattern that fits one of the 20 convolutions"),
        ({"filter": "layer3.0.conv"}, "a name is 'layer3.0.conv"),
        ({"coupling": 3}, "coupling"),
        ({"groups": "a", "coupling": "grouped"}, "groups that are a whole number.*'a'"),
        ({"groups": 2.0}, "groups that are a whole number.*2.0"),
        ({"groups": 0}, "groups that are a whole number"),
        ({"filter": 3}, "a filter that is a pattern.*3.*layer3"),
        ({"example": torch.zeros(1, 5, 8, 8)}, r"an example that the model takes.*\(1, 5, 8, 8\)"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(arguments, part) -> None:
    model = small_models()["resnet"][0].train()
    with pytest.raises(InputError, match=part):
        convert(model, inplace=True, **arguments)
    assert not any(isinstance(module, StencilOperator) for module in model.modules())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("model", [nn.Linear(2, 2), "resnet18"])
def test_a_model_without_convolutions_is_refused(model) -> None:
    with pytest.raises(InputError, match=r"a model with convolutions|a torch.nn.Module"):
        convert(model)


# What is carried over.


def test_the_original_is_left_alone_and_inplace_changes_it() -> None:
    model, images = small_models()["resnet"]
    model.eval()
    before = model(images)
    state = torch.get_rng_state()
    copied = convert(model, "lean", example=images).model
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(model(images), before, rtol=0, atol=0)
    shared = {p.data_ptr() for p in model.parameters()} & {
        p.data_ptr() for p in copied.parameters()
    }
    assert not shared
    assert convert(model, "lean", inplace=True).model is model
    torch.testing.assert_close(model(images), copied(images), rtol=0, atol=0)


def test_modes_precision_layout_and_gradients_are_kept() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3))
    model.to(torch.bfloat16, memory_format=torch.channels_last)
    model[0].eval()
    model[0].weight.requires_grad_(False)
    for coupling in COUPLINGS:
        first, second = convert(model, coupling).model
        assert not first.training
        assert second.training
        for name, parameter in first.named_parameters():
            assert parameter.requires_grad == (name == "bias")
        assert all(p.requires_grad for p in second.parameters())
        for parameter in first.parameters():
            assert parameter.dtype == torch.bfloat16
            last = parameter.is_contiguous(memory_format=torch.channels_last)
            assert parameter.ndim != 4 or last
    assert convert(model.to("meta"), "lean").model[0].pointwise.is_meta


def test_the_mean_of_low_precision_weights_is_rounded_once() -> None:
    layer = nn.Conv2d(64, 64, 1, dtype=torch.bfloat16)
    found = convert(layer, "circulant", filter="").model.stencils.detach()
    exact = project(layer.weight.detach().double(), "circulant").stencils
    torch.testing.assert_close(found, exact.bfloat16(), rtol=0, atol=0)


def test_hooks_stay_and_their_handles_still_remove_them() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3))
    seen: list[str] = []
    handle = model[0].register_forward_hook(lambda *_: seen.append("after"))
    model[0].register_forward_pre_hook(lambda m, a, k: seen.append("before"), with_kwargs=True)
    model[0].register_full_backward_hook(lambda *_: seen.append("back"))
    images = torch.randn(1, 8, 4, 4, requires_grad=True)
    convert(model, "lean").model(images).sum().backward()
    assert seen == ["before", "after", "back"]
    convert(model, "lean", inplace=True)
    handle.remove()
    seen.clear()
    model(images).sum().backward()
    assert seen == ["before", "back"]


def test_modules_used_twice_and_tied_weights_stay_shared() -> None:
    first, second = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=2, dilation=2)
    second.weight = first.weight
    model = nn.Sequential(first, nn.ReLU(), first, second)
    images = torch.randn(1, 8, 6, 6)
    found = convert(model, "lean", example=images)
    assert [layer.name for layer in found.layers] == ["0", "3"]
    assert found.model[0] is found.model[2]
    assert found.model[3].pointwise is found.model[0].pointwise
    assert found.model[3].stencils is found.model[0].stencils
    assert found.parameters == 128 + 2 * 8
    assert found.layers[0].multiply_adds == 2 * 36 * 128  # called twice
    reference = dense_reference(nn.Sequential(first), "lean", {"0"}, groups=1)
    torch.testing.assert_close(found.model[0](images), reference(images))
    second_name = convert(model, "lean", filter="[23]")
    assert second_name.model[0] is second_name.model[2]
    assert isinstance(second_name.model[0], StencilOperator)


@pytest.mark.parametrize("chosen", ["a", "[ab]", "d"])
def test_layers_tied_to_a_kept_one_are_kept_too(chosen) -> None:
    model = nn.ModuleDict({name: nn.Conv2d(16, 16, 3) for name in "abd"})
    model["b"].weight = model["d"].weight = model["a"].weight
    found = convert(model, "lean", filter=chosen)
    assert found.converted == ()
    assert found.parameters == found.parameters_before == 2352
    tied = {layer.name: layer.kept for layer in found.layers if layer.kept != "not in the filter"}
    assert set(tied) == set(chosen) - set("[]")
    assert all("its weight is tied to" in reason for reason in tied.values())
    assert found.model["b"].weight is found.model["a"].weight
    whole = convert(model, "lean", filter="[abd]")
    assert len(whole.converted) == 3
    assert whole.parameters == 384 + 3 * 16


def test_layers_tied_to_what_is_no_convolution_or_has_other_groups_are_kept() -> None:
    model = nn.Sequential(nn.Conv2d(16, 16, 3), nn.ParameterList(), nn.Conv2d(16, 16, 3))
    model[1].append(model[0].weight)
    found = convert(model, "lean")
    assert found.layers[0].kept == "its weight is tied to '1', which is kept"
    assert found.layers[1].kept is None
    model = nn.Sequential(nn.Conv2d(16, 16, 3), nn.Conv2d(32, 16, 3, groups=2))
    model[1].weight = model[0].weight
    found = convert(model, "lean")
    assert "which has other groups" in found.layers[0].kept
    assert found.model[0].weight is found.model[1].weight


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_unless_left_out(value) -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3))
    with torch.no_grad():
        model[1].weight[0, 0, 0, 0] = value
    with pytest.raises(InputError, match=r"finite weights.*'1'"):
        convert(model, inplace=True)
    assert not any(isinstance(module, StencilOperator) for module in model)
    assert len(convert(model, filter="0").converted) == 1


def test_biases_are_the_very_parameters() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3))
    bias = model[0].bias
    assert convert(model, "lean", inplace=True).model[0].bias is bias
    assert list(model.state_dict()) == ["0.pointwise", "0.stencils", "0.bias"]


def test_a_model_that_cannot_be_copied_says_so() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3))
    model.scale = model[0].weight * 2  # not a leaf: torch refuses to copy it
    with pytest.raises(InputError, match=r"a model that can be copied.*inplace=True"):
        convert(model)
    assert convert(model, inplace=True).converted


def test_weights_under_a_parametrization_elsewhere_are_no_obstacle() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Linear(8, 8))
    parametrize.register_parametrization(model[1], "weight", nn.Identity())
    assert len(convert(model).converted) == 1


def test_the_report_is_that_of_the_layers() -> None:
    model, images = small_models()["resnet"]
    found = convert(model, "lean", example=images)
    for layer in found.converted:
        original = model.get_submodule(layer.name)
        operator = found.model.get_submodule(layer.name)
        assert layer.weights == operator.weights
        expected = projection_error(original.weight, project(original.weight, "lean"))
        assert layer.projection_error == pytest.approx(expected, rel=1e-6)
        assert 0.5 < layer.projection_error < 1
    report = json.loads(json.dumps(found.to_json()))
    assert report["weights"] == sum(layer["weights"] for layer in report["layers"])


def test_the_face_of_the_package_has_it() -> None:
    assert pdenet.convert is convert
    assert "convert" in dir(pdenet)
    with pytest.raises(AttributeError, match="no attribute 'konvert'"):
        _ = pdenet.konvert


# The command.

FACTORY = "tests.pdenet.torch_models:small_resnet"
KEYS = {"weights_before", "weights", "multiply_adds_before", "multiply_adds", "layers", "out"}


def test_the_command_reports_what_the_function_does_and_writes_the_weights(tmp_path: Path) -> None:
    file = tmp_path / "new" / "lean.safetensors"
    done = run("convert", FACTORY, "--size", "32x32", "--out", file, "--json", "-")
    assert done.status == 0, done.err
    report = done.json
    assert report.keys() >= KEYS | ENVELOPE
    model = small_resnet()
    found = convert(model, "lean", example=torch.zeros(1, 3, 32, 32))
    assert report["out"] == str(file)
    for key in KEYS - {"layers", "out"}:
        assert report[key] == getattr(found, key)
    shown = done.err  # the table goes where it does not disturb
    assert all(len(line) <= 80 for line in shown.splitlines() if "weights: " not in line)
    assert all(layer.name[:18] in shown for layer in found.layers)
    assert "opens the network, 3 channels in" in " ".join(shown.split())
    found.model.load_state_dict(load_file(file))
    with safe_open(file, "pt") as content:
        metadata = content.metadata()
    assert metadata["coupling"] == "lean"
    assert metadata["pdenet_version"] == pdenet.__version__
    layers = json.loads(metadata["layers"])
    assert layers == {layer.name: layer.coupling for layer in found.layers}
    assert layers["conv1"] == "full"


def test_the_command_without_a_size_counts_weights_alone() -> None:
    words = ("--coupling", "grouped", "--groups", "2", "--filter", "layer3.*.conv?", "--five-point")
    report = run("convert", FACTORY, *words, "--json", "-").json
    converted = [layer for layer in report["layers"] if layer["kept"] is None]
    assert [layer["name"][:6] for layer in converted] == ["layer3"] * 4
    assert all(layer["weights"] * 18 == layer["weights_before"] * 5 for layer in converted)
    assert report["multiply_adds"] is None
    assert "multiply-adds" not in run("convert", FACTORY).out


def test_the_command_warns_where_nothing_was_converted() -> None:
    done = run("convert", FACTORY, "--filter", "conv1", "--coupling", "depthwise", "--json", "-")
    assert done.status == 0
    assert done.json["warnings"] == [f"no layer of {FACTORY} was converted"]


def test_factories_of_the_current_folder_are_found(tmp_path: Path, monkeypatch) -> None:
    code = "import torch\nnet = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3))\n"
    code += "def broken():\n    raise OSError('no file here')\ndef number():\n    return 1\n"
    (tmp_path / "nets_of_a_user.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert run("convert", "nets_of_a_user:net").status == 0
    line = refused("convert", "nets_of_a_user:broken")
    assert "got OSError: no file here" in line
    assert "a torch.nn.Module from nets_of_a_user:number" in refused(
        "convert", "nets_of_a_user:number"
    )
    assert sys.path == path


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["resnet18"], "SOURCE as package.module:factory"),
        (["no_such_module_here:net"], "a module no_such_module_here that can be imported"),
        (["tests.pdenet.torch_models:small_resne"], "did you mean 'small_resnet'?"),
        (["math:pi"], "which is a float"),
        ([FACTORY, "--coupling", "leen"], "did you mean 'lean'?"),
        ([FACTORY, "--filter", "nothing"], "fits one of the 20 convolutions"),
        ([FACTORY, "--size", "0x3"], "HxW for --size"),
        ([FACTORY, "--groups", "0"], "a number above 0 for --groups"),
        ([FACTORY, "--out", "model.pt"], "a file that ends in .safetensors"),
    ],
)
def test_bad_input_to_the_command_is_one_line(words, part) -> None:
    assert part in refused("convert", *words)


def test_the_command_keeps_norms_where_asked(tmp_path: Path) -> None:
    norms = []
    for option in ([], ["--keep-norm"]):
        file = tmp_path / "a.safetensors"
        assert (
            run("convert", FACTORY, "--coupling", "pointwise", *option, "--out", file).status == 0
        )
        norms.append(load_file(file)["layer4.1.conv2.weight"].norm())
    # A centre of nine equal taps has a third of the norm.
    assert norms[1] / norms[0] == pytest.approx(3, rel=0.1)


def test_the_benchmark_follows_every_coupling(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(Path(pdenet.__file__).parents[1] / "benchmarks"))
    script = importlib.import_module("conversion")
    rows = script.rows(quick=True)
    assert {(row["coupling"], row["start"]) for row in rows} == {
        (coupling, start) for coupling in COUPLINGS for start in script.STARTS
    }
    full = next(row for row in rows if row["coupling"] == "full")
    assert full["accuracy_converted"] == full["accuracy_before"]
    for row in rows:
        assert row["weight_ratio"] >= 1
        assert 0 < row["tuned_least"] <= row["accuracy_tuned"] <= row["tuned_most"] <= 1


def test_a_model_without_values_is_not_written(tmp_path: Path) -> None:
    found = convert(nn.Sequential(nn.Conv2d(8, 8, 3, device="meta")))
    with pytest.raises(InputError, match="weights with values"):
        found.save(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_conversion_on_a_gpu_is_that_on_the_cpu() -> None:
    model, images = small_models()["resnet"]
    for coupling in COUPLINGS:
        expected = convert(model, coupling, groups=2).model.eval()
        found = convert(copy.deepcopy(model).cuda(), coupling, groups=2).model.eval()
        assert all(p.is_cuda for p in [*found.parameters(), *found.buffers()])
        torch.testing.assert_close(
            found(images.cuda()).cpu(), expected(images), rtol=1e-3, atol=1e-4
        )
