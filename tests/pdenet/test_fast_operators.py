"""Every way of computing an operator gives the same numbers and derivatives of all kinds."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.autograd import forward_ad

from analysis.block_couplings import TRANSFORM_FROM, circulant_by_transform
from pdenet.operators import geometry
from pdenet.operators.boundary import BOUNDARY_OF_PADDING
from pdenet.operators.conv import CirculantConv2d, LeanConv2d, PointwiseConv2d, make_operator
from pdenet.operators.fast import bilinear, rules
from pdenet.operators.solves.transforms import filter_circular
from tests.contracts import check_operator, random_images, relative_error

PADDINGS = tuple(BOUNDARY_OF_PADDING)
STRUCTURES = ["lean", "circulant"]


@pytest.fixture
def fast(monkeypatch):
    """Pieces of one image and the transform of the channels, whatever the size."""
    monkeypatch.setattr(rules, "PIECES_FROM", 0)
    monkeypatch.setattr(rules, "CHUNK", 1)
    monkeypatch.setattr(rules, "LEAST_CHUNK", 1)
    monkeypatch.setattr(rules, "circulant_by_transform", lambda *_: True)


def make(coupling, channels=(4, 4), dtype=torch.float64, **options):
    torch.manual_seed(0)
    return make_operator(coupling, *channels, **options).to(dtype)


def used(monkeypatch) -> list[str]:
    """Names of the maps that are applied from now on."""
    seen: list[str] = []
    for name in ("apply", "adjoint"):
        function = getattr(bilinear, name)

        def spy(*words, name=name, function=function):
            seen.append(name)
            return function(*words)

        monkeypatch.setattr(bilinear, name, spy)
    return seen


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("coupling", STRUCTURES)
def test_contract_of_the_fast_ways(coupling, padding_mode, layout, fast, monkeypatch):
    seen = used(monkeypatch)
    geometries = [((4, 4), {}), ((3, 5), {"stride": 2}), ((5, 3), {"dilation": 2, "padding": 1})]
    for (channels, options), five_point in itertools.product(geometries, (False, True)):
        operator = make(
            coupling, channels, padding_mode=padding_mode, five_point=five_point, **options
        )
        check_operator(operator.to(memory_format=layout), (5, 6), torch.float64)
    assert {"apply", "adjoint"} <= set(seen)
    check_operator(make(coupling, (6, 6), torch.float32), (5, 4), torch.float32)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("coupling", STRUCTURES)
def test_derivatives_of_the_fast_ways(coupling, layout, plain, fast, monkeypatch):
    if plain:
        monkeypatch.setattr(rules, "PIECES_FROM", 10**9)
    operator = make(coupling, (3, 4), padding_mode="reflect", stride=2, bias=False)
    names = [name for name, _ in operator.named_parameters()]
    weights = [p.detach().clone().requires_grad_() for p in operator.parameters()]
    x = random_images(2, 3, 3, 4, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    y = random_images(2, 4, 2, 2, dtype=torch.float64, seed=1).to(memory_format=layout)
    y.requires_grad_()

    def forward(x, *weights):
        return torch.func.functional_call(operator, dict(zip(names, weights, strict=True)), (x,))

    class Transposed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.K = operator

        def forward(self, y):
            return self.K.adjoint(y, (3, 4))

    transposed = Transposed()

    def backward(y, *weights):
        values = {f"K.{n}": w for n, w in zip(names, weights, strict=True)}
        return torch.func.functional_call(transposed, values, (y,))

    for function, images in ((forward, x), (backward, y)):
        # The batching of torch.autograd.grad, older than torch.func.vmap, has no transforms.
        options = {"check_forward_ad": True, "check_batched_grad": coupling == "lean"}
        assert torch.autograd.gradcheck(function, (images, *weights), **options)
        assert torch.autograd.gradgradcheck(function, (images, *weights))


def test_batched_gradients_of_a_batch_in_one_piece(monkeypatch):
    """By the batching of torch.autograd.grad, which knows no aliases."""
    monkeypatch.setattr(rules, "PIECES_FROM", 0)
    operator = make("lean", bias=False)
    x = random_images(2, 4, 3, 4, dtype=torch.float64).requires_grad_()
    y = operator(x)
    directions = random_images(3, *y.shape, dtype=torch.float64, seed=1)
    (found,) = torch.autograd.grad(y, x, directions, is_grads_batched=True)
    torch.testing.assert_close(found, torch.stack([operator.adjoint(d) for d in directions]))


@pytest.mark.parametrize("recording", [True, False])
@pytest.mark.parametrize("coupling", [*STRUCTURES, "depthwise"])
def test_tangents_where_nothing_asks_for_gradients(coupling, recording, fast, monkeypatch):
    """Forward derivatives are asked for by the images alone, also under no_grad."""
    monkeypatch.setattr(rules, "SHIFTS", range(10**6))
    operator = make(coupling, bias=False).requires_grad_(False)
    x, v = (random_images(2, 4, 5, 4, dtype=torch.float64, seed=n) for n in (0, 1))
    for linear in (operator.linear, operator.adjoint):
        with torch.set_grad_enabled(recording), forward_ad.dual_level():
            dual = forward_ad.make_dual(x, v)
            assert rules.differentiated(dual) and not rules.differentiated(x)
            found = forward_ad.unpack_dual(linear(dual)).tangent
        torch.testing.assert_close(found, linear(v))


@pytest.mark.parametrize("axes", [(2, 3), (1, 2, 3)])
def test_filters_of_modes_in_pieces(axes, fast):
    """Equal to the transform of the whole batch, with its derivatives of every kind."""
    images = random_images(3, 2, 4, 5, dtype=torch.float64).requires_grad_()
    # Even in the frequency, as the multipliers of symmetric operators are.
    stencil = random_images(1, *images.shape[1:], dtype=torch.float64, seed=1)
    multiplier = torch.fft.rfftn(stencil, dim=axes).abs()[0].requires_grad_()

    def whole(y, q):
        return torch.fft.irfftn(torch.fft.rfftn(y, dim=axes) * q, s=y.shape[axes[0] :], dim=axes)

    def pieces(y, q):
        return filter_circular(y, q, axes)

    torch.testing.assert_close(pieces(images, multiplier), whole(images, multiplier))
    weights = random_images(*images.shape, dtype=torch.float64, seed=2)
    both = [
        torch.autograd.grad((f(images, multiplier) * weights).sum(), [images, multiplier])
        for f in (pieces, whole)
    ]
    for found, expected in zip(*both, strict=True):
        torch.testing.assert_close(found, expected)
    fixed = multiplier.detach()
    assert torch.autograd.gradcheck(lambda y: pieces(y, fixed), images, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda y: pieces(y, fixed), images)
    each = torch.func.vmap(lambda y: pieces(y[None], fixed)[0])(images)
    torch.testing.assert_close(each, pieces(images, fixed))


@pytest.mark.parametrize("coupling", STRUCTURES)
def test_transforms_of_functions(coupling, fast):
    operator = make(coupling, padding_mode="circular")
    x, v = (random_images(3, 2, 4, 5, 4, dtype=torch.float64, seed=n) for n in (0, 1))
    linear = operator.linear

    def tangent(x, v):
        return torch.func.jvp(linear, (x,), (v,))[1]

    together = torch.func.vmap(tangent)(x, v)
    torch.testing.assert_close(together, torch.stack([linear(one) for one in v]))
    pulled = torch.func.vmap(lambda x, u: torch.func.vjp(linear, x)[1](u)[0])(x, v)
    torch.testing.assert_close(pulled, torch.stack([operator.adjoint(one) for one in v]))
    weights = dict(operator.named_parameters())

    def loss(weights, x):
        return torch.func.functional_call(operator, weights, (x,)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x)
    for name, gradient in each.items():
        expected = torch.stack([torch.func.grad(loss)(weights, one)[name] for one in x])
        torch.testing.assert_close(gradient, expected)
    stacked = {name: torch.stack([w.detach(), 2 * w.detach()]) for name, w in weights.items()}
    both = torch.func.vmap(lambda w: torch.func.functional_call(operator, w, (x[0],)))(stacked)
    torch.testing.assert_close(both[1], 2 * both[0])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("coupling", [*STRUCTURES, "pointwise"])
def test_the_layout_stays(coupling, layout, fast):
    x = random_images(2, 6, 8, 8, dtype=torch.float32).to(memory_format=layout)
    operator = make(coupling, (6, 6), torch.float32).to(memory_format=layout)
    for images in (operator(x), operator.adjoint(x)):
        assert images.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("size", [(8, 16), (4, 4), (5, 3)])
def test_mixing_in_blocks_is_the_1x1_convolution(size):
    operator = make("pointwise", (6, 5))
    x = random_images(4, 6, *size, dtype=torch.float64).to(memory_format=torch.channels_last)
    assert rules.mixes_in_blocks(x) == (size != (5, 3))
    assert not rules.mixes_in_blocks(x.contiguous())
    check_operator(operator, size, torch.float64)
    expected = torch.einsum("oi,bihw->bohw", operator.weight[:, :, 0, 0], x)
    assert relative_error(operator.linear(x), expected) < 1e-14
    y = expected.detach().contiguous(memory_format=torch.channels_last)
    transposed = torch.einsum("oi,bohw->bihw", operator.weight[:, :, 0, 0], y)
    assert relative_error(operator.adjoint(y), transposed) < 1e-14


@pytest.mark.parametrize("coupling", STRUCTURES)
def test_autocast_of_the_fast_ways(coupling, fast):
    operator = make(coupling, (16, 16), torch.float32)
    x = random_images(2, 16, 8, 8, dtype=torch.float32).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = operator.adjoint(operator.linear(x))
    assert y.dtype == torch.bfloat16
    y.float().square().sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.float32
    expected = operator.adjoint(operator.linear(x))
    assert relative_error(y, expected) < 0.02
    low = operator.to(torch.bfloat16)
    assert low(x.to(torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("coupling", STRUCTURES)
def test_traces_of_the_fast_ways(coupling, fast):
    operator = make(coupling, (6, 6), torch.float32)
    x = random_images(2, 6, 8, 8, dtype=torch.float32).to(memory_format=torch.channels_last)

    def both(x):
        return operator.adjoint(operator(x))

    compiled = torch.compile(both, backend="aot_eager", fullgraph=True)
    leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
    torch.testing.assert_close(compiled(leaf), both(x))
    compiled(leaf).sum().backward()
    assert leaf.grad is not None
    exported = torch.export.export(operator, (x,)).module()
    torch.testing.assert_close(exported(x), operator(x))


@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("coupling", ["depthwise", "lean"])
def test_stencils_by_shifts(coupling, padding_mode, monkeypatch):
    """Equal to the convolutions that derivatives take, whose contract is checked elsewhere."""
    monkeypatch.setattr(rules, "SHIFTS", range(10**6))
    shifted = []
    real = geometry.sum_of_shifts
    monkeypatch.setattr(geometry, "sum_of_shifts", lambda *a: shifted.append(a) or real(*a))
    cases = [{}, {"dilation": 2}, {"kernel_size": (3, 5)}, {"padding": 0}, {"padding": 2}]
    for options, five_point in itertools.product(cases, (False, True)):
        if five_point and "kernel_size" in options:
            continue
        operator = make(coupling, padding_mode=padding_mode, five_point=five_point, **options)
        x = random_images(3, 4, 8, 7, dtype=torch.float64)
        with torch.no_grad():
            shifted.clear()
            y = operator(x)
            back = operator.adjoint(y, (8, 7))
            assert len(shifted) == 2
        torch.testing.assert_close(operator(x), y)
        torch.testing.assert_close(operator.adjoint(y, (8, 7)), back)
        assert len(shifted) == 2  # none where derivatives are recorded


def test_the_transform_is_taken_where_it_is_said():
    """One threshold for the count of multiply-adds and the way that is taken."""
    least = TRANSFORM_FROM // 9
    for channels in (least - 1, least):
        x = torch.zeros(1, channels, 4, 4).to(memory_format=torch.channels_last)
        taken = rules.by_transform(x, channels, channels, 9)
        assert taken == circulant_by_transform(channels, channels, 9) == (channels == least)
        operator = CirculantConv2d(channels, channels)
        assert (operator.multiply_adds(1, 1) < 9 * channels**2) == taken
        assert not rules.by_transform(x.contiguous(), channels, channels, 9)
        assert not rules.by_transform(x.to("meta"), 512, 512, 9)
    wide = torch.zeros(1, 2 * least, 4, 4)
    assert rules.by_transform(wide, 2 * least, 2 * least, 9)


def test_pieces_cover_the_batch():
    x = torch.zeros(7, 2**10, 2**4, 2**4)
    assert [rules.lean_piece(c) for c in (8, 100, 512)] == [2**17, 36 * 100**2, 2**19]
    for numbers, count in ((2**19, 2), (2**18, 1), (1, 1)):
        found = list(rules.pieces(x, numbers))
        covered = [n for start, length in found for n in range(start, start + length)]
        assert covered == list(range(7)) and found[0][1] == count


def test_large_batches_are_worked_through_in_pieces(monkeypatch):
    """By the rule itself, nothing forced."""
    seen = used(monkeypatch)
    x = random_images(4, 64, 16, 16, dtype=torch.float32).to(memory_format=torch.channels_last)
    for cls in (LeanConv2d, CirculantConv2d, PointwiseConv2d):
        torch.manual_seed(0)
        operator = cls(64, 64, bias=False)
        dense = torch.nn.functional.conv2d(
            x, operator.coupling().dense_weight(), padding=operator.padding
        )
        assert relative_error(operator(x), dense) < 5e-6
    assert seen == ["apply", "apply"]


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("coupling", STRUCTURES)
def test_a_batch_without_images(coupling, layout, forced, request):
    """As ``torch.nn.Conv2d``: no images, and gradients that are zeros."""
    if forced:
        request.getfixturevalue("fast")
    operator = make(coupling, (96, 96), torch.float32, stride=2)
    x = torch.zeros(0, 96, 8, 8).to(memory_format=layout).requires_grad_()
    y = operator(x)
    assert y.shape == (0, 96, 4, 4) and y.dtype == torch.float32
    back = operator.adjoint(y)
    assert back.shape == x.shape
    back.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape
    for parameter in operator.parameters():
        assert parameter.grad is not None and not parameter.grad.any()
    torch._dynamo.reset()
    compiled = torch.compile(operator, backend="aot_eager", fullgraph=True)
    for batch in (3, 5, 0):
        images = random_images(batch, 96, 8, 8, dtype=torch.float32).to(memory_format=layout)
        torch.testing.assert_close(compiled(images), operator(images))
