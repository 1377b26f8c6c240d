"""The proximal step against a dense solve, its contraction, its derivatives and its input."""

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn

from analysis.errors import InputError
from analysis.grid import Grid
from pdenet.layers.activations import SmoothReLU
from pdenet.layers.normalization import ChannelAffine
from pdenet.layers.proximal import check_proximal, proximal_step
from pdenet.operators.conv import OPERATORS, FullConv2d, make_operator

PADDINGS = ("circular", "zeros", "reflect", "replicate")
EVERY = [(coupling, padding) for coupling in OPERATORS for padding in PADDINGS]
ACTIVATIONS = {
    "relu": (nn.ReLU(), lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "tanh": (nn.Tanh(), np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "softplus": (nn.Softplus(), lambda z: np.logaddexp(0, z), lambda z: 1 / (1 + np.exp(-z))),
}


class Step(nn.Module):
    """``proximal_step`` with its modules, as a function of all their parameters."""

    def __init__(self, coupling="full", padding="circular", activation=None, h=0.7, **options):
        super().__init__()
        torch.manual_seed(0)
        if coupling == "grouped":
            options["groups"] = 2
        self.K = make_operator(coupling, 4, 4, padding_mode=padding, **options)
        self.N, self.sigma, self.h = ChannelAffine(4), activation or nn.Tanh(), h
        with torch.no_grad():
            self.N.weight.copy_(torch.tensor([0.5, 1.0, 2.0, 0.0]))
            self.N.bias.copy_(torch.tensor([0.3, -0.2, 0.0, 0.4]))
        self.double()

    def forward(self, y):
        return proximal_step(self.K, self.N, self.sigma, y, self.h)

    def of(self, y, *parameters):
        names = [name for name, _ in self.named_parameters()]
        return torch.func.functional_call(self, dict(zip(names, parameters, strict=True)), (y,))

    def force(self, x):
        """``K^T sigma(N(K x + b))`` by the modules."""
        return self.K.adjoint(self.sigma(self.N(self.K(x))), x.shape[-2:])


def images(*shape, dtype=torch.float64, seed=1, size=2.0):
    return size * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def relative(got, expected):
    got, expected = got.detach().double(), torch.as_tensor(expected).detach().double()
    return float((got - expected).abs().max() / expected.abs().max())


def dense_proximal(step, y, activation):
    """The equation with the dense matrix of ``K``, by SciPy."""
    _, sigma, slope = ACTIVATIONS[activation]
    K = step.K.coupling().to_dense(Grid(y.shape[-2:], boundary=step.K.boundary))
    pixels = y.shape[-2] * y.shape[-1]
    gain, shift, bias = (
        np.repeat(t.detach().numpy(), pixels) for t in (step.N.weight, step.N.bias, step.K.bias)
    )
    solutions = []
    for flat in y.reshape(len(y), -1).numpy():

        def function(x, flat=flat):
            return x + step.h * K.T @ sigma(gain * (K @ x + bias) + shift) - flat

        def jacobian(x):
            slopes = gain * slope(gain * (K @ x + bias) + shift)
            return np.eye(len(x)) + step.h * K.T @ (slopes[:, None] * K)

        found = scipy.optimize.root(function, flat, jac=jacobian, tol=1e-14)
        assert np.abs(function(found.x)).max() < 1e-10
        solutions.append(found.x)
    return torch.from_numpy(np.array(solutions)).reshape(y.shape)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize(("coupling", "padding"), EVERY)
def test_equals_a_dense_solve(coupling, padding, activation):
    step = Step(coupling, padding, ACTIVATIONS[activation][0])
    y = images(2, 4, 4, 5)
    assert relative(step(y), dense_proximal(step, y, activation)) < 1e-10


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("coupling", list(OPERATORS))
def test_solves_to_rounding_at_long_steps(coupling, activation):
    for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 1e-3)):
        step = Step(coupling, "reflect", ACTIVATIONS[activation][0], h=1000.0).to(dtype)
        y = images(3, 4, 6, 5, dtype=dtype)
        with torch.no_grad():
            x = step(y)
            force = step.h * step.force(x)
            assert float((x + force - y).norm() / (y.norm() + force.norm())) < tolerance


@pytest.mark.parametrize("h", [1e-3, 1.0, 1000.0])
@pytest.mark.parametrize("coupling", ["full", "depthwise", "lean"])
def test_firmly_non_expansive(coupling, h):
    """``||x1 - x2||^2 <= <x1 - x2, y1 - y2>``, for near and for far pairs; no explicit step is."""
    step = Step(coupling, "zeros", nn.ReLU(), h=h)
    y = images(8, 4, 5, 4)
    for distance in (1e-3, 1.0, 100.0):
        z = y + distance * images(8, 4, 5, 4, seed=2)
        with torch.no_grad():
            between = step(y) - step(z)
        square = between.square().sum((1, 2, 3))
        assert bool((square <= (between * (y - z)).sum((1, 2, 3)) * (1 + 1e-9)).all())
    with torch.no_grad():
        explicit = (y - h * step.force(y)) - (z - h * step.force(z))
    grown = explicit.norm() > (y - z).norm()
    assert bool(grown) == (h > 100)


def test_short_steps_are_explicit_ones_to_second_order():
    y = images(2, 4, 5, 4)
    errors = []
    for h in (1e-2, 5e-3):
        step = Step("lean", "reflect", nn.Tanh(), h=h)
        errors.append(float((step(y) - (y - h * step.force(y))).detach().norm()))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.1)
    torch.testing.assert_close(Step(h=0.0)(y), y)


@pytest.mark.parametrize(("coupling", "padding"), EVERY)
def test_forward_and_reverse_derivatives(coupling, padding):
    step = Step(coupling, padding, nn.Tanh())
    point = (images(1, 4, 3, 4), *(p.detach() for p in step.parameters()))
    direction = tuple(images(*p.shape, seed=i + 3, size=1.0) for i, p in enumerate(point))
    image, tangent = torch.func.jvp(step.of, point, direction)
    assert torch.equal(image, step(point[0]))
    weight = images(*image.shape, seed=9)
    pulled = torch.func.vjp(step.of, *point)[1](weight)
    reverse = sum((g * d).sum() for g, d in zip(pulled, direction, strict=True))
    assert float(reverse) == pytest.approx(float((tangent * weight).sum()), rel=1e-9)
    epsilon = 1e-5
    # Inside the domain: a scale of zero would become negative on one side.
    inside = [p + (0.1 if i == len(point) - 2 else 0) for i, p in enumerate(point)]
    tangent = torch.func.jvp(step.of, tuple(inside), direction)[1]
    ahead, behind = (
        step.of(*(p + sign * epsilon * d for p, d in zip(inside, direction, strict=True)))
        for sign in (1, -1)
    )
    assert relative(tangent, (ahead - behind).detach() / (2 * epsilon)) < 1e-6


def test_gradcheck():
    for activation in (nn.Softplus(), SmoothReLU()):
        step = Step("full", "zeros", activation)
        nn.init.constant_(step.N.weight, 0.8)
        arguments = [images(1, 4, 1, 2), *(p.detach() for p in step.parameters())]
        arguments = [a.requires_grad_() for a in arguments]
        assert torch.autograd.gradcheck(step.of, arguments, check_forward_ad=True, fast_mode=True)


def test_relu_takes_the_jacobian_at_the_solution():
    """One channel, one pixel: slope ``1 / (1 + h k^2)`` where the unit is active, else 1."""
    K = FullConv2d(1, 1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(K.weight, 2.0)
    y = torch.tensor([[[[3.0, -1.0]]]], dtype=torch.float64, requires_grad=True)
    proximal_step(K, nn.Identity(), nn.ReLU(), y, 0.25).sum().backward()
    assert y.grad.flatten().tolist() == pytest.approx([0.5, 1.0])
    # x = y / (1 + h k^2): dx/dk = -2 h k y / (1 + h k^2)^2
    assert float(K.weight.grad) == pytest.approx(-2 * 0.25 * 2 * 3 / 4)


def test_half_precision_is_solved_in_float32():
    step = Step("lean", "zeros", nn.ReLU()).float()
    y = images(1, 4, 5, 4, dtype=torch.float32)
    expected = step(y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(step(y), expected)
    low = step(y.bfloat16())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), expected, rtol=0.03, atol=0.03)
    torch.testing.assert_close(step.bfloat16()(y), expected, rtol=0.05, atol=0.05)


def test_strides_and_channels_may_change_inside():
    torch.manual_seed(1)
    K = FullConv2d(3, 5, 3, 2, dtype=torch.float64)
    y = images(2, 3, 5, 6)
    x = proximal_step(K, nn.Identity(), nn.ReLU(), y, 2.0)
    back = x + 2 * K.adjoint(torch.relu(K(x)), (5, 6))
    assert relative(back, y) < 1e-12


def test_images_of_a_batch_do_not_know_each_other():
    step = Step("full", "reflect", nn.ReLU(), h=100.0)
    y = images(3, 4, 5, 4) * torch.tensor([1e-3, 1.0, 1e3]).double()[:, None, None, None]
    alone = torch.cat([step(one[None]) for one in y])
    assert max(relative(a, b) for a, b in zip(step(y), alone, strict=True)) < 1e-9
    y[1, 0, 0, 0] = torch.nan
    assert torch.isnan(step(y)).all()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_compiles_without_breaks_and_exports():
    step = Step("lean", "zeros", nn.ReLU())
    y = images(1, 4, 5, 4)
    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    gradients = []
    for call in (step, compiled):
        at = y.clone().requires_grad_()
        step.zero_grad()
        call(at).square().sum().backward()
        gradients.append([at.grad, *(p.grad.clone() for p in step.parameters())])
    for one, other in zip(*gradients, strict=True):
        assert relative(other, one) < 1e-9
    exported = torch.export.export(step, (y,), strict=False).module()
    assert relative(exported(y), step(y)) < 1e-12


@pytest.mark.parametrize(
    ("normalization", "activation", "h", "message"),
    [
        (nn.BatchNorm2d(4), nn.ReLU(), 1.0, "Identity or ChannelAffine.*got BatchNorm2d"),
        (nn.Identity(), nn.GELU(), 1.0, "monotone activation.*got GELU"),
        (nn.Identity(), nn.ReLU(), -1.0, "at least zero, got -1.0"),
        (nn.Identity(), nn.ReLU(), 1.0, "\\(B, 4, H, W\\), got float32 of shape \\(1, 3"),
    ],
)
def test_bad_input(normalization, activation, h, message):
    channels = 3 if "shape" in message else 4
    with pytest.raises(InputError, match=message):
        proximal_step(FullConv2d(4, 4), normalization, activation, torch.ones(1, channels, 5, 5), h)


def test_a_negative_scale_is_named():
    step = Step()
    check_proximal(step.K, step.N, step.sigma)
    with torch.no_grad():
        step.N.weight[2] = -0.5
    with pytest.raises(InputError, match=r"got -0\.5 in channel 2"):
        step(images(1, 4, 4, 4))
