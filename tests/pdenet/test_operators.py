"""The six operators: one contract, weight counts, drop-in behaviour and bad input."""

import numpy as np
import pytest
import torch
from torch import nn

from analysis.couplings import COUPLINGS
from analysis.errors import InputError
from analysis.grid import Grid
from analysis.stencils import source_index
from pdenet.operators.boundary import BOUNDARY_OF_PADDING, pad, pad_adjoint
from pdenet.operators.conv import (
    OPERATORS,
    CirculantConv2d,
    DepthwiseConv2d,
    FullConv2d,
    GroupedConv2d,
    LeanConv2d,
    PointwiseConv2d,
    make_operator,
)
from tests.contracts import adjoint_defect, check_operator

PADDINGS = tuple(BOUNDARY_OF_PADDING)
SIZES = [(6, 4), (5, 7), (4, 5)]
CHANNELS = {"depthwise": [(4, 4)], "grouped": [(4, 4), (4, 8), (8, 4)]}


def make(coupling, channels=(4, 4), dtype=torch.float64, seed=0, **options):
    torch.manual_seed(seed)
    groups = 2 if coupling == "grouped" else 1
    return make_operator(coupling, *channels, groups=groups, **options).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("five_point", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_contract(coupling, padding_mode, stride, five_point, dtype):
    for channels in CHANNELS.get(coupling, [(4, 4), (3, 5), (5, 3)]):
        options = {"stride": stride, "five_point": five_point, "padding_mode": padding_mode}
        operator = make(coupling, channels, dtype, **options)
        for size in SIZES if dtype == torch.float64 else SIZES[:2]:
            check_operator(operator, size, dtype)


@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_contract_of_wide_and_oblong_stencils(coupling, padding_mode):
    for kernel_size, size in [(5, (6, 7)), ((3, 1), (4, 3)), ((1, 5), (3, 5))]:
        operator = make(coupling, kernel_size=kernel_size, padding_mode=padding_mode)
        check_operator(operator, size, torch.float64)


@pytest.mark.parametrize("padding_mode", ["zeros", "circular", "replicate"])
def test_contract_on_smallest_images(padding_mode):
    for coupling in COUPLINGS:
        operator = make(coupling, padding_mode=padding_mode)
        for size in [(1, 1), (1, 3), (2, 2)]:
            check_operator(operator, size, torch.float64)


GEOMETRIES = [  # kernel size, stride, padding, dilation, image
    (3, 1, 0, 1, (5, 4)),
    (3, 2, "valid", 1, (6, 5)),
    (3, 1, "same", 2, (5, 6)),
    (3, 2, (3, 0), 2, (7, 8)),
    (5, 2, 1, 1, (6, 7)),
    ((1, 3), 1, (1, 2), 1, (4, 5)),
    ((3, 1), 3, (0, 4), 2, (8, 6)),
    (1, 2, 1, 1, (3, 4)),
]


@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_contract_of_every_geometry(coupling, geometry, padding_mode):
    kernel_size, stride, padding, dilation, size = geometry
    for channels in CHANNELS.get(coupling, [(4, 4), (3, 5)])[:2]:
        options = {"kernel_size": kernel_size, "stride": stride, "dilation": dilation}
        operator = make(coupling, channels, padding=padding, padding_mode=padding_mode, **options)
        same = padding == "same"  # which PyTorch refuses with a stride
        words = {**options, "padding": dilation if same else padding, "padding_mode": padding_mode}
        check_operator(operator, size, torch.float64, nn.Conv2d(*channels, **words))


def test_default_size_of_the_adjoint_is_the_largest_that_fits():
    for kernel_size, stride, padding, dilation, (height, width) in GEOMETRIES:
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        operator = make("lean", kernel_size=kernel_size, **options)
        pixels = operator.output_size(height, width)
        found = operator.adjoint(torch.ones(1, 4, *pixels, dtype=torch.float64)).shape[2:]
        assert operator.output_size(*found) == pixels
        assert found[0] >= height and found[1] >= width
        assert operator.output_size(found[0] + 1, found[1] + 1) == (pixels[0] + 1, pixels[1] + 1)


def test_a_margin_changes_no_symbol_and_is_shown():
    operator = LeanConv2d(4, 4, padding=0, dilation=2, bias=False)
    assert operator.coupling().dilation == 2 and operator.margin == (-2, -2)
    assert repr(operator) == (
        "LeanConv2d(4, 4, kernel_size=(3, 3), padding=(0, 0), dilation=(2, 2), bias=False)"
    )


@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("radius", [(1, 1), (2, 0), (2, 3)])
def test_padding_is_the_index_map_and_its_adjoint(padding_mode, radius):
    boundary, size = BOUNDARY_OF_PADDING[padding_mode], (4, 5)
    x = torch.arange(20.0, dtype=torch.float64).reshape(1, 1, *size) + 1
    rows, columns = (source_index(n, r, boundary) for n, r in zip(size, radius, strict=True))
    expected = np.pad(x[0, 0].numpy(), 1)[np.ix_(rows + 1, columns + 1)]
    padded = pad(x, radius, padding_mode)
    np.testing.assert_array_equal(padded[0, 0].numpy(), expected)
    y = torch.randn(padded.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    folded = pad_adjoint(y, radius, padding_mode)
    assert float((padded * y).sum()) == pytest.approx(float((x * folded).sum()), rel=1e-13)


def test_a_wrong_adjoint_fails_the_contract():
    class Unfolded(FullConv2d):
        def _correlate_adjoint(self, y, size):
            return nn.functional.conv_transpose2d(y, self.weight, padding=1)

    operator = Unfolded(3, 3, padding_mode="circular", dtype=torch.float64)
    assert adjoint_defect(operator, (5, 5), torch.float64) > 1e-3


@pytest.mark.parametrize(
    ("cls", "nine", "five"),
    [
        (FullConv2d, 9 * 64, 5 * 64),
        (DepthwiseConv2d, 9 * 8, 5 * 8),
        (PointwiseConv2d, 64, 64),
        (LeanConv2d, 64 + 8 * 8, 64 + 4 * 8),
        (CirculantConv2d, 9 * 8, 5 * 8),
    ],
)
def test_weights_are_those_of_theory(cls, nine, five):
    for count, five_point in [(nine, False), (five, True)]:
        operator = cls(8, 8, five_point=five_point)
        assert operator.weights == operator.coupling().weights == count
        assert sum(p.numel() for p in operator.parameters()) == count + 8  # and the bias


def test_weights_of_grouped():
    assert GroupedConv2d(8, 8, groups=4).weights == 9 * 64 // 4
    assert GroupedConv2d(8, 8, groups=4, five_point=True).weights == 5 * 64 // 4


def test_names_are_those_of_the_analysis():
    assert list(OPERATORS) == list(COUPLINGS)
    for name in OPERATORS:
        assert make(name).coupling().name == name


@pytest.mark.parametrize(
    ("ours", "reference"),
    [
        (lambda: FullConv2d(4, 6, 3, 2, 1), lambda: nn.Conv2d(4, 6, 3, 2, 1)),
        (lambda: DepthwiseConv2d(4, 4, 3, 1, 1), lambda: nn.Conv2d(4, 4, 3, 1, 1, groups=4)),
        (lambda: PointwiseConv2d(4, 6, 1, 1, 0), lambda: nn.Conv2d(4, 6, 1, 1, 0)),
        (
            lambda: GroupedConv2d(4, 6, 3, 1, 1, 1, 2, True, "circular"),
            lambda: nn.Conv2d(4, 6, 3, 1, 1, 1, 2, True, "circular"),
        ),
    ],
)
def test_drop_in_for_conv2d(ours, reference):
    torch.manual_seed(3)
    expected = reference()
    torch.manual_seed(3)
    operator = ours()
    for key, value in expected.state_dict().items():  # same initialisation from the same seed
        torch.testing.assert_close(operator.state_dict()[key], value)
    operator.load_state_dict(expected.state_dict())
    images = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(operator(images), expected(images))
    torch.testing.assert_close(operator(images[0]), expected(images[0]))
    for name in ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"):
        assert getattr(operator, name) == getattr(expected, name)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_initial_outputs_have_the_same_size_whatever_the_coupling(coupling):
    torch.manual_seed(0)
    groups = 4 if coupling == "grouped" else 1
    operator = make_operator(coupling, 64, 64, groups=groups, padding_mode="circular", bias=False)
    variance = operator(torch.randn(16, 64, 8, 8)).var().item()
    assert variance == pytest.approx(1 / 3, rel=0.2)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_coupling_is_live_and_differentiable(coupling):
    operator = make(coupling)
    symbol = operator.coupling().symbol(Grid((4, 4)))
    symbol.norms().sum().backward()
    gradients = [p.grad for name, p in operator.named_parameters() if name != "bias"]
    assert all(g is not None and bool(g.abs().sum() > 0) for g in gradients)
    before = operator.coupling().dense_weight().detach().clone()
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter.mul_(2)
    torch.testing.assert_close(operator.coupling().dense_weight(), 2 * before)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_gradients_of_operator_and_adjoint(coupling):
    class Normal(nn.Module):
        def __init__(self):
            super().__init__()
            self.K = make(coupling, padding_mode="reflect", stride=2, five_point=True)

        def forward(self, x):
            return self.K.adjoint(self.K(x), (3, 4))

    module = Normal()
    x = torch.randn(1, 4, 3, 4, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in module.named_parameters()]

    def function(x, *parameters):
        weights = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(module, weights, (x,))

    parameters = [p.detach().clone().requires_grad_() for p in module.parameters()]
    assert torch.autograd.gradcheck(function, (x, *parameters))


def test_state_dict_holds_weights_only():
    for name in COUPLINGS:
        operator = make(name, five_point=True)
        assert set(operator.state_dict()) == {key for key, _ in operator.named_parameters()}


def test_memory_format_and_autocast():
    for name in COUPLINGS:
        operator = make(name, (16, 16), torch.float32).to(memory_format=torch.channels_last)
        x = torch.randn(2, 16, 8, 8).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = operator.adjoint(operator(x))
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.float(), operator.adjoint(operator(x)), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("channels", [4, 96])
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_the_bias_keeps_the_precision_of_autocast(coupling, channels):
    """As ``torch.nn.Conv2d``, whose result and gradients these are."""
    operator = make(coupling, (channels, channels), torch.float32)
    reference = nn.Conv2d(channels, channels, 3, padding=1)
    x = torch.randn(1, channels, 6, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = operator(x)
        assert y.dtype == reference(x).dtype == torch.bfloat16
        torch._dynamo.reset()
        compiled = torch.compile(operator, backend="aot_eager", fullgraph=True)(x)
    assert compiled.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), operator(x), rtol=0.05, atol=0.05)
    (gradient,) = torch.autograd.grad(y.sum(), operator.bias)
    assert torch.equal(gradient, torch.full((channels,), 30.0))
    assert operator(x).dtype == torch.float32
    assert operator.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FullConv2d(3, 3, 2), "expected an odd kernel size.*got \\(2, 2\\); pass 3"),
        (lambda: FullConv2d(3, 3, 3, 1, -1), "expected padding 'same', 'valid' or.*got -1; pass"),
        (lambda: FullConv2d(3, 3, 3, 1, "full"), "expected padding 'same', .*got 'full'"),
        (lambda: FullConv2d(3, 3, dilation=(1, 2)), "one dilation of at least 1.*got \\(1, 2\\)"),
        (
            lambda: LeanConv2d(3, 3, padding=0)(torch.ones(1, 3, 2, 5)),
            "at least 3 x 3 pixels for padding \\(0, 0\\), got 2 x 5",
        ),
        (lambda: FullConv2d(3, 3, stride=0), "expected one stride of at least 1"),
        (lambda: FullConv2d(3, 3, groups=3), "expected groups=1 for the full.*GroupedConv2d"),
        (lambda: FullConv2d(0, 3), "expected at least one input"),
        (lambda: FullConv2d(3, 3, padding_mode="circle"), "did you mean 'circular'"),
        (lambda: DepthwiseConv2d(3, 6), "as many output as input channels.*got 3 -> 6"),
        (lambda: DepthwiseConv2d(4, 4, groups=2), "groups=1 or 4"),
        (lambda: GroupedConv2d(4, 6, groups=4), "multiples of groups=4, got 4 -> 6"),
        (lambda: make_operator("leen", 3, 3), "did you mean 'lean'"),
        (lambda: FullConv2d(3, 3)(torch.ones(1, 4, 5, 5)), "shape \\(B, 3, H, W\\).*\\(1, 4, 5, 5"),
        (lambda: FullConv2d(3, 3)(torch.ones(1, 3, 5, 5, dtype=torch.uint8)), "got uint8"),
        (lambda: FullConv2d(3, 3)(torch.ones(3, 5)), "floating-point images"),
        (
            lambda: FullConv2d(3, 3, padding_mode="reflect")(torch.ones(1, 3, 1, 5)),
            "at least 2 x 2 pixels for reflect padding, got 1 x 5",
        ),
        (
            lambda: FullConv2d(3, 3, stride=2).adjoint(torch.ones(1, 3, 3, 3), (7, 5)),
            "images of 4 x 3 pixels, the output for 7 x 5, got 3 x 3",
        ),
    ],
)
def test_bad_input_is_one_sentence(build, message):
    with pytest.raises(InputError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)
