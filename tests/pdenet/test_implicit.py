"""Implicit diffusion by FFT against a dense solve, its gradient, its precision and its input."""

import numpy as np
import pytest
import torch

from analysis.errors import InputError
from analysis.grid import Grid
from pdenet.operators.conv import CirculantConv2d, DepthwiseConv2d, FullConv2d
from pdenet.operators.implicit import solve_implicit_diffusion, solve_multiply_adds

H = 0.7


def make(cls, channels=4, dtype=torch.float64, **options):
    torch.manual_seed(0)
    options = {"padding_mode": "circular", "dtype": dtype, **options}
    return cls(channels, channels, **options)


@pytest.mark.parametrize("five_point", [False, True])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(4, 6), (5, 5), (4, 5), (2, 1), (1, 3)])
@pytest.mark.parametrize("cls", [DepthwiseConv2d, CirculantConv2d])
def test_equals_dense_solve(cls, size, channels, five_point):
    operator = make(cls, channels, five_point=five_point)
    with torch.no_grad():
        operator.get_parameter("bias").fill_(3.0)  # takes no part
    D = operator.coupling().to_dense(Grid(size))
    y = torch.randn(2, channels, *size, dtype=torch.float64)
    expected = np.linalg.solve(np.eye(len(D)) + H * D.T @ D, y.reshape(2, -1).numpy().T).T
    got = solve_implicit_diffusion(operator, y, H).detach().reshape(2, -1).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("cls", [DepthwiseConv2d, CirculantConv2d])
def test_gradient_in_images_and_weights(cls):
    operator = make(cls, 3, bias=False)
    (name, weight), *_ = operator.named_parameters()
    y = torch.randn(1, 3, 3, 4, dtype=torch.float64, requires_grad=True)

    class Solve(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.D = operator

        def forward(self, y):
            return solve_implicit_diffusion(self.D, y, H)

    def function(y, weight):
        return torch.func.functional_call(Solve(), {f"D.{name}": weight}, (y,))

    assert torch.autograd.gradcheck(function, (y, weight.detach().requires_grad_()))


@pytest.mark.parametrize("cls", [DepthwiseConv2d, CirculantConv2d])
def test_inverts_the_applied_operator_in_float32(cls):
    operator = make(cls, 16, torch.float32, bias=False)
    y = torch.randn(2, 16, 9, 8)
    x = solve_implicit_diffusion(operator, y, H)
    back = x + H * operator.adjoint(operator.linear(x))
    torch.testing.assert_close(back, y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("step_size", [0.0, 1e-3, 1.0, 1e6])
def test_never_expands_and_zero_is_the_identity(step_size):
    y = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    x = solve_implicit_diffusion(make(CirculantConv2d), y, step_size)
    assert x.norm().item() <= y.norm().item() * (1 + 1e-14)
    if step_size == 0:
        torch.testing.assert_close(x, y)


def test_half_precision_is_solved_in_float32():
    operator = make(DepthwiseConv2d, 4, torch.float32)
    y = torch.randn(1, 4, 6, 7)
    expected = solve_implicit_diffusion(operator, y, H)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = solve_implicit_diffusion(operator, y, H)
    torch.testing.assert_close(inside, expected, rtol=0, atol=0)
    low = solve_implicit_diffusion(operator, y.bfloat16(), H)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), expected, rtol=0.02, atol=0.02)


def test_nominal_operation_count():
    # 64 pixels, log2 = 6: a depthwise solve costs 2.5 * 6 + 1 a value.
    assert solve_multiply_adds(make(DepthwiseConv2d, 4), 8, 8) == 4 * 64 * 16
    # Four channels add two to the logarithm.
    assert solve_multiply_adds(make(CirculantConv2d, 4), 8, 8) == 4 * 64 * 21


@pytest.mark.parametrize(
    ("operator", "step_size", "message"),
    [
        (FullConv2d(4, 4, padding_mode="circular"), H, "a depthwise or circulant.*got full"),
        (DepthwiseConv2d(4, 4), H, "padding_mode 'circular'.*got 'zeros'"),
        (CirculantConv2d(4, 4, 3, 2, padding_mode="circular"), H, "stride 1.*got stride 2, 4 -> 4"),
        (DepthwiseConv2d(4, 4, padding_mode="circular"), -1.0, "at least zero, got -1.0"),
        (DepthwiseConv2d(4, 4, padding_mode="circular"), float("nan"), "at least zero, got nan"),
        (DepthwiseConv2d(3, 3, padding_mode="circular"), H, "\\(B, 3, H, W\\), got \\(1, 4"),
    ],
)
def test_bad_input(operator, step_size, message):
    with pytest.raises(InputError, match=message):
        solve_implicit_diffusion(operator, torch.ones(1, 4, 5, 5), step_size)


@pytest.mark.parametrize("five_point", [False, True])
@pytest.mark.parametrize("operator_class", [DepthwiseConv2d, CirculantConv2d])
def test_transforms_of_torch_func_pass_through(operator_class, five_point):
    """The solve is linear and symmetric: jvp and vjp of it are the solve itself."""
    torch.manual_seed(6)
    operator = operator_class(
        3, 3, padding_mode="circular", bias=False, five_point=five_point, dtype=torch.float64
    )
    y, v = torch.randn(2, 1, 3, 5, 6, dtype=torch.float64)

    def solve(z):
        return solve_implicit_diffusion(operator, z, 0.7)

    expected = solve(v)
    image, tangent = torch.func.jvp(solve, (y,), (v,))
    assert torch.allclose(image, solve(y), atol=1e-13)
    assert torch.allclose(tangent, expected, atol=1e-13)
    assert torch.allclose(torch.func.vjp(solve, y)[1](v)[0], expected, atol=1e-13)
