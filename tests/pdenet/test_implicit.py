"""Implicit diffusion and its exact flow against dense solves: values, gradients, limits, input."""

import numpy as np
import pytest
import scipy.linalg
import torch

from analysis.errors import InputError
from analysis.grid import Grid
from pdenet.operators.conv import (
    OPERATORS,
    CirculantConv2d,
    DepthwiseConv2d,
    FullConv2d,
    LeanConv2d,
    PointwiseConv2d,
    make_operator,
)
from pdenet.operators.solves.conjugate_gradient import conjugate_gradient
from pdenet.operators.solves.implicit import (
    diffusion_flow,
    flow_exists,
    flow_multiply_adds,
    is_iterative,
    solve_implicit_diffusion,
    solve_multiply_adds,
)

H = 0.7
PADDINGS = ("circular", "zeros", "reflect", "replicate")
EVERY = [(coupling, padding) for coupling in OPERATORS for padding in PADDINGS]


def make(coupling="depthwise", channels=4, padding_mode="circular", dtype=torch.float64, **options):
    torch.manual_seed(0)
    if coupling == "grouped":
        options.setdefault("groups", 2)
    operator = make_operator(coupling, channels, channels, padding_mode=padding_mode, **options)
    return operator.to(dtype)


def make_even(coupling, **options):
    """An operator with replicated edges whose stencils are even in each axis."""
    operator = make(coupling, padding_mode="replicate", **options)
    with torch.no_grad():
        for name, parameter in operator.named_parameters():
            if parameter.ndim == 4 or (coupling == "circulant" and name == "stencils"):
                parameter.add_(parameter.flip(-1))
                parameter.add_(parameter.flip(-2))
            elif coupling == "lean" and parameter.shape[-1] == 8:
                parameter.copy_(parameter[:, [0, 1, 0, 3, 3, 0, 1, 0]])
    return operator


def dense(operator, size):
    D = operator.coupling().to_dense(Grid(size, boundary=operator.boundary))
    return D.T @ D


def images(*shape, dtype=torch.float64, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def relative(got, expected):
    got, expected = got.detach().double(), torch.as_tensor(expected).double()
    return float((got - expected).abs().max() / expected.abs().max())


def dense_solve(operator, y, step_size):
    A = dense(operator, y.shape[-2:])
    solved = np.linalg.solve(np.eye(len(A)) + step_size * A, y.reshape(len(y), -1).numpy().T)
    return torch.from_numpy(solved.T).reshape(y.shape)


class Apply(torch.nn.Module):
    def __init__(self, function, operator, number=H):
        super().__init__()
        self.D, self.function, self.number = operator, function, number

    def forward(self, y):
        return self.function(self.D, y, self.number)

    def of(self, y, *weights):
        """As a function of the weights too."""
        names = [name for name, _ in self.named_parameters()]
        return torch.func.functional_call(self, dict(zip(names, weights, strict=True)), (y,))


@pytest.mark.parametrize("step_size", [H, 1000.0])
@pytest.mark.parametrize("size", [(4, 5), (12, 11)])
@pytest.mark.parametrize(("coupling", "padding"), EVERY)
def test_equals_dense_solve(coupling, padding, size, step_size):
    operator = make(coupling, padding_mode=padding)
    with torch.no_grad():
        operator.get_parameter("bias").fill_(3.0)  # takes no part
    y = images(2, 4, *size)
    solved = solve_implicit_diffusion(operator, y, step_size)
    assert relative(solved, dense_solve(operator, y, step_size)) < 1e-10


@pytest.mark.parametrize("size", [(2, 1), (1, 3), (5, 5), (16, 9)])
@pytest.mark.parametrize("options", [{}, {"five_point": True}, {"kernel_size": (5, 3)}])
@pytest.mark.parametrize("coupling", [c for c in OPERATORS if c != "pointwise"])
def test_other_sizes_and_stencils(coupling, options, size):
    operator = make(coupling, 2, "zeros", **options)
    y = images(1, 2, *size)
    assert relative(solve_implicit_diffusion(operator, y, H), dense_solve(operator, y, H)) < 1e-10
    if size[0] > 1:
        periodic = make(coupling, 2, "circular", **options)
        solved = solve_implicit_diffusion(periodic, y, H)
        assert relative(solved, dense_solve(periodic, y, H)) < 1e-10
        flowed = scipy.linalg.expm(-H * dense(periodic, size)) @ y.flatten().numpy()
        assert relative(diffusion_flow(periodic, y, H).flatten(), flowed) < 1e-10


@pytest.mark.parametrize("coupling", ["full", "depthwise", "lean"])
def test_dilation(coupling):
    for padding in ("circular", "zeros", "replicate"):
        operator = make(coupling, padding_mode=padding)
        size = (7, 8)
        dilated = make_operator(coupling, 4, 4, padding_mode=padding).double()
        dilated = type(dilated)(4, 4, 3, 1, "same", 2, padding_mode=padding, dtype=torch.float64)
        dilated.load_state_dict(operator.state_dict())
        y = images(1, 4, *size)
        x = solve_implicit_diffusion(dilated, y, H)
        back = x + H * dilated.adjoint(dilated.linear(x), size)
        assert relative(back, y) < 1e-12


@pytest.mark.parametrize(("coupling", "padding"), EVERY)
def test_gradients_equal_those_of_a_dense_solve(coupling, padding):
    operator = make(coupling, padding_mode=padding, bias=False)
    y = images(1, 4, 3, 4).requires_grad_()
    module = Apply(solve_implicit_diffusion, operator)
    target = images(1, 4, 3, 4, seed=2)

    def through_dense(y, *weights):
        def apply(flat):
            x = flat.reshape(1, 4, 3, 4)
            return torch.func.functional_call(Linear(operator), named(weights), (x,)).flatten()

        D = torch.func.jacrev(apply)(torch.zeros(48, dtype=torch.float64))
        return torch.linalg.solve(torch.eye(48, dtype=y.dtype) + H * D.T @ D, y.flatten())

    def named(weights):
        names = [name for name, _ in module.named_parameters()]
        return dict(zip(names, weights, strict=True))

    arguments = [y, *(w.detach().requires_grad_() for w in operator.parameters())]
    got = torch.autograd.grad((module.of(*arguments) * target).sum(), arguments)
    expected = torch.autograd.grad((through_dense(*arguments) * target.flatten()).sum(), arguments)
    for one, other in zip(got, expected, strict=True):
        assert relative(one, other) < 1e-10


class Linear(torch.nn.Module):
    """``D x``, for ``functional_call``."""

    def __init__(self, operator):
        super().__init__()
        self.D = operator

    def forward(self, x):
        return self.D.linear(x)


CASES = [(solve_implicit_diffusion, *pair) for pair in EVERY if pair[1] in ("circular", "zeros")]
CASES += [(diffusion_flow, coupling, "circular") for coupling in OPERATORS]


@pytest.mark.parametrize("size", [(3, 4), (12, 11)])
@pytest.mark.parametrize(("function", "coupling", "padding"), CASES)
def test_forward_and_reverse_derivatives_agree_with_differences(function, coupling, padding, size):
    module = Apply(function, make(coupling, padding_mode=padding, bias=False))
    point = (images(1, 4, *size), *(w.detach() for w in module.parameters()))
    direction = tuple(images(*p.shape, seed=i + 3) for i, p in enumerate(point))
    image, tangent = torch.func.jvp(module.of, point, direction)
    assert torch.equal(image, module(point[0]))
    weight = images(*image.shape, seed=9)
    pulled = torch.func.vjp(module.of, *point)[1](weight)
    reverse = sum((g * d).sum() for g, d in zip(pulled, direction, strict=True))
    assert float(reverse) == pytest.approx(float((tangent * weight).sum()), rel=1e-10)
    step = 1e-5
    ahead, behind = (
        module.of(*(p + sign * step * d for p, d in zip(point, direction, strict=True)))
        for sign in (1, -1)
    )
    assert relative(tangent, (ahead - behind).detach() / (2 * step)) < 1e-7


@pytest.mark.parametrize("coupling", ["full", "depthwise", "circulant"])
def test_gradcheck(coupling):
    for padding in ("circular", "zeros"):
        module = Apply(solve_implicit_diffusion, make(coupling, 2, padding, bias=False))
        y = images(1, 2, 2, 3).requires_grad_()
        arguments = (y, *(w.detach().requires_grad_() for w in module.parameters()))
        assert torch.autograd.gradcheck(module.of, arguments, check_forward_ad=True, fast_mode=True)


def test_second_derivatives_in_the_weights_are_refused():
    module = Apply(solve_implicit_diffusion, make("full", bias=False))
    y = images(1, 4, 3, 4).requires_grad_()
    (first,) = torch.autograd.grad(module(y).square().sum(), y, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        first.square().sum().backward()


@pytest.mark.parametrize("coupling", [c for c in OPERATORS if c != "pointwise"])
def test_even_stencils_have_cosine_modes(coupling):
    operator = make_even(coupling)
    assert flow_exists(operator)
    assert not flow_exists(make(coupling, padding_mode="replicate"))
    y = images(2, 4, 6, 5)
    solved = solve_implicit_diffusion(operator, y, H)
    assert relative(solved, dense_solve(operator, y, H)) < 1e-12
    flowed = y.flatten(1).numpy() @ scipy.linalg.expm(-H * dense(operator, (6, 5)))
    assert relative(diffusion_flow(operator, y, H).flatten(1), flowed) < 1e-12


def test_wide_stencils_see_no_mirror_in_a_replicated_edge():
    operator = make_even("depthwise", kernel_size=5)
    assert not flow_exists(operator)
    y = images(1, 4, 6, 5)
    assert relative(solve_implicit_diffusion(operator, y, H), dense_solve(operator, y, H)) < 1e-10


@pytest.mark.parametrize("coupling", ["depthwise", "circulant", "lean"])
def test_gradients_of_the_cosine_ways(coupling):
    """The solve knows directions that are not even; the flow exists among even stencils only."""
    operator = make_even(coupling, bias=False)
    module = Apply(solve_implicit_diffusion, operator)
    y = images(1, 4, 2, 3)
    arguments = (y.requires_grad_(), *(w.detach().requires_grad_() for w in operator.parameters()))
    assert torch.autograd.gradcheck(module.of, arguments)
    flow = Apply(diffusion_flow, operator)
    assert torch.autograd.gradcheck(flow, (y,))


@pytest.mark.parametrize(("coupling", "padding"), EVERY)
def test_inverts_the_applied_operator_in_float32(coupling, padding):
    operator = make(coupling, 8, padding, torch.float32, bias=False)
    y = images(2, 8, 9, 8, dtype=torch.float32)
    x = solve_implicit_diffusion(operator, y, H)
    assert x.dtype == torch.float32
    back = x + H * operator.adjoint(operator.linear(x))
    torch.testing.assert_close(back, y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("coupling", "padding"), EVERY)
def test_never_expands_whatever_the_step(coupling, padding):
    """1000 steps at h = 1000 do not grow, where the explicit step diverges."""
    operator = make(coupling, padding_mode=padding, bias=False)
    y = images(2, 4, 5, 4)
    for step_size in (0.0, 1e-3, 1.0, 1e3):
        x = solve_implicit_diffusion(operator, y, step_size)
        assert float(x.detach().norm()) <= float(y.norm()) * (1 + 1e-14)
        if step_size == 0:
            torch.testing.assert_close(x, y)
    A = dense(operator, (5, 4))
    E = np.eye(len(A))
    implicit = np.linalg.inv(E + 1000 * A)
    columns = torch.from_numpy(E).reshape(-1, 4, 5, 4)
    step = solve_implicit_diffusion(operator, columns, 1000.0).detach().reshape(len(A), -1).numpy()
    np.testing.assert_allclose(step, implicit, atol=1e-10)
    assert np.linalg.norm(np.linalg.matrix_power(step, 1000), 2) <= 1 + 1e-9
    assert np.linalg.norm(E - 1000 * A, 2) > 100


@pytest.mark.parametrize("coupling", list(OPERATORS))
def test_flow_is_the_matrix_exponential_and_a_semigroup(coupling):
    operator = make(coupling)
    y = images(2, 4, 12, 11)
    small = y[..., :4, :5].contiguous()
    expected = small.flatten(1).numpy() @ scipy.linalg.expm(-H * dense(operator, (4, 5)))
    assert relative(diffusion_flow(operator, small, H).flatten(1), expected) < 1e-12
    twice = diffusion_flow(operator, diffusion_flow(operator, y, 0.3), 0.4)
    assert relative(twice, diffusion_flow(operator, y, 0.7).detach()) < 1e-12
    for time in (0.0, 1e3):
        flowed = diffusion_flow(operator, y, time)
        assert float(flowed.detach().norm()) <= float(y.norm()) * (1 + 1e-13)
    torch.testing.assert_close(diffusion_flow(operator, y, 0.0), y)


@pytest.mark.parametrize("coupling", ["depthwise", "circulant", "lean"])
def test_half_precision_is_solved_in_float32(coupling):
    for padding in ("circular", "zeros"):
        operator = make(coupling, padding_mode=padding, dtype=torch.float32)
        y = images(1, 4, 6, 7, dtype=torch.float32)
        expected = solve_implicit_diffusion(operator, y, H)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = solve_implicit_diffusion(operator, y, H)
        torch.testing.assert_close(inside, expected, rtol=0, atol=0)
        low = solve_implicit_diffusion(operator, y.bfloat16(), H)
        assert low.dtype == torch.bfloat16
        torch.testing.assert_close(low.float(), expected, rtol=0.02, atol=0.02)
        whole = solve_implicit_diffusion(operator.bfloat16(), y.bfloat16(), H)
        torch.testing.assert_close(whole.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("function", "coupling", "padding", "size"),
    [
        (solve_implicit_diffusion, "depthwise", "circular", (12, 11)),
        (solve_implicit_diffusion, "lean", "circular", (5, 4)),
        (solve_implicit_diffusion, "lean", "reflect", (5, 4)),
        (diffusion_flow, "full", "circular", (5, 4)),
    ],
)
def test_compiles_without_breaks_and_exports(function, coupling, padding, size):
    module = Apply(function, make(coupling, padding_mode=padding, bias=False))
    y = images(1, 4, *size)
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    gradients = []
    for call in (module, compiled):
        at = y.clone().requires_grad_()
        module.zero_grad()
        call(at).square().sum().backward()
        gradients.append([at.grad, *(p.grad.clone() for p in module.parameters())])
    for one, other in zip(*gradients, strict=True):
        assert relative(other, one) < 1e-10
    exported = torch.export.export(module, (y,), strict=False).module()
    assert relative(exported(y), module(y).detach()) < 1e-12


@pytest.mark.parametrize(("coupling", "padding"), [("lean", "circular"), ("full", "zeros")])
def test_whole_jacobians_by_vmap(coupling, padding):
    module = Apply(solve_implicit_diffusion, make(coupling, padding_mode=padding, bias=False))
    y = images(1, 4, 3, 4)
    E = np.eye(48)
    expected = np.linalg.inv(E + H * dense(module.D, (3, 4)))
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        assert relative(transform(module)(y).reshape(48, 48), expected) < 1e-12


@pytest.mark.parametrize("coupling", ["full", "lean", "grouped", "pointwise"])
def test_matrices_by_products_alone(coupling, monkeypatch):
    """What ONNX is given, where there are no factorisations."""
    operator = make(coupling)
    y = images(2, 4, 5, 4)
    expected = [f(operator, y, H).detach() for f in (solve_implicit_diffusion, diffusion_flow)]
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    for function, values in zip((solve_implicit_diffusion, diffusion_flow), expected, strict=True):
        assert relative(function(operator, y, H), values) < 1e-11


def test_conjugate_gradients_solve_every_system_and_say_when_they_do_not():
    A = images(3, 6, 6)
    A = A @ A.mT + 1e-4 * torch.eye(6, dtype=A.dtype)
    b = images(3, 1, 6, 1, seed=2)
    x, iterations = conjugate_gradient(
        lambda v: A[:, None] @ v, b, lambda r: r, system_axes=(1, 2, 3)
    )
    assert relative(A[:, None] @ x, b) < 1e-11
    assert 0 < iterations < 60
    with pytest.raises(InputError, match="conjugate gradients"):
        conjugate_gradient(
            lambda v: A[:, None] @ v, b, lambda r: r, system_axes=(1, 2, 3), maximum_iterations=2
        )
    lost = conjugate_gradient(lambda v: v, b / 0, lambda r: r, system_axes=(1, 2, 3))
    assert torch.isnan(lost[0]).all()


@pytest.mark.parametrize("coupling", ["depthwise", "circulant", "lean"])
def test_iterations_are_blind_to_the_scale_of_images(coupling):
    """Squares of such numbers leave float32; every image has a scale of its own."""
    operator = make(coupling, padding_mode="zeros", dtype=torch.float32)
    y = images(1, 4, 6, 5, dtype=torch.float32)
    expected = solve_implicit_diffusion(operator, y, 1000.0).detach().double()
    scales = torch.tensor([1.0, 1e20, 1e-25, 1e-30, 0.0])
    solved = solve_implicit_diffusion(operator, scales[:, None, None, None] * y, 1000.0)
    for scale, x in zip(scales.double(), solved.detach().double(), strict=True):
        assert float((x - scale * expected[0]).abs().max()) <= 1e-5 * scale * expected.abs().max()
    alone = solve_implicit_diffusion(operator, 1e-30 * y, 1000.0)
    assert relative(alone, solved[3:4].detach()) < 1e-5


@pytest.mark.parametrize(
    ("function", "coupling", "padding"),
    [(solve_implicit_diffusion, *pair) for pair in EVERY]
    + [(diffusion_flow, *pair) for pair in EVERY if pair[1] in ("circular", "replicate")],
)
def test_a_batch_without_images(function, coupling, padding):
    options = {"dtype": torch.float32, "bias": False}
    if function is diffusion_flow and padding == "replicate":
        operator = make_even(coupling, **options)
    else:
        operator = make(coupling, padding_mode=padding, **options)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        operator.zero_grad()
        y = torch.zeros(0, 4, 6, 5, dtype=dtype, requires_grad=True)
        x = function(operator, y, H)
        assert x.shape == y.shape and x.dtype == dtype
        x.sum().backward()
        assert y.grad is not None and y.grad.shape == y.shape
        assert all(p.grad is not None and not p.grad.any() for p in operator.parameters())


def test_compiled_solves_take_any_number_of_images():
    module = Apply(solve_implicit_diffusion, make("lean", bias=False))
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for batch in (3, 5, 0):
        y = images(batch, 4, 5, 4)
        torch.testing.assert_close(compiled(y), module(y))


def test_nominal_operation_count():
    # 64 pixels, log2 = 6: transforms cost 2.5 * 6 a value, a depthwise solve one more.
    assert solve_multiply_adds(make(), 8, 8) == 4 * 64 * 16
    assert flow_multiply_adds(make(), 8, 8) == 4 * 64 * 16
    # Four channels add two to the logarithm.
    assert solve_multiply_adds(make("circulant"), 8, 8) == 4 * 64 * 21
    assert solve_multiply_adds(make("pointwise"), 8, 8) == 2 * 4**3 + 16 * 64
    # Half of the modes, four for a complex product: 2 c^2 a pixel beside the factorisation.
    applied = 4 * 64 * 15 + 2 * 64 * 16
    assert solve_multiply_adds(make("full"), 8, 8) == 81 * 64 + 64 * 64 // 3 + 1 + applied
    assert solve_multiply_adds(make("lean"), 8, 8) == 64 + 64 * 64 // 3 + 1 + applied
    iterated = solve_multiply_adds(make(padding_mode="zeros"), 8, 8)
    assert iterated == 20 * (2 * 9 * 4 * 64 + 4 * 64 * 16)


@pytest.mark.parametrize(("coupling", "padding"), EVERY)
def test_only_edges_need_an_iteration(coupling, padding):
    assert is_iterative(make(coupling, padding_mode=padding)) == (
        padding != "circular" and coupling != "pointwise"
    )


@pytest.mark.parametrize(
    ("operator", "step_size", "message"),
    [
        (CirculantConv2d(4, 4, 3, 2, padding_mode="circular"), H, "stride 1.*got stride 2, 4 -> 4"),
        (FullConv2d(4, 2), H, "as many output.*got stride 1, 4 -> 2"),
        (DepthwiseConv2d(4, 4, padding=0), H, "padding that keeps the size"),
        (DepthwiseConv2d(4, 4), -1.0, "at least zero, got -1.0"),
        (LeanConv2d(4, 4), float("nan"), "at least zero, got nan"),
        (PointwiseConv2d(3, 3), H, "\\(B, 3, H, W\\), got float32 of shape \\(1, 4"),
    ],
)
def test_bad_input(operator, step_size, message):
    for function in (solve_implicit_diffusion, diffusion_flow):
        with pytest.raises(InputError, match=message):
            function(operator, torch.ones(1, 4, 5, 5), step_size)


def test_no_flow_at_an_edge():
    with pytest.raises(InputError, match=r"even in each axis.*got padding_mode='zeros'"):
        diffusion_flow(make(padding_mode="zeros"), images(1, 4, 5, 5), H)


@pytest.mark.parametrize(("coupling", "padding"), [("lean", "circular"), ("full", "zeros")])
def test_compiled_solves_take_any_step_size(coupling, padding):
    """A number that varies is no constant of the graph; one that is refused still is."""
    module = Apply(solve_implicit_diffusion, make(coupling, padding_mode=padding, bias=False))
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    y = images(2, 4, 5, 4)
    for step_size in (0.5, 0.75, 2.0):
        module.number = step_size
        torch.testing.assert_close(compiled(y), module(y))
    for refused in (-0.5, float("nan"), float("inf")):
        with pytest.raises(InputError, match="a step size of at least zero"):
            solve_implicit_diffusion(module.D, y, refused)
