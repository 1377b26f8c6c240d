"""The ground on torch tensors: the results of NumPy, differentiable, in every precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.certificates import certified_norm
from analysis.couplings import COUPLINGS, Depthwise, Full
from analysis.errors import InputError
from analysis.grid import BOUNDARIES, Grid
from analysis.spectra import eigenvalues, norm, singular_values, spectral_radius
from analysis.stacked import Stacked
from pdenet.operators.conv import make_operator
from tests.analysis.references import distance_of_multisets, random_coupling

GRID = Grid((4, 5))
DEVICES = ["cpu"]
if torch.cuda.is_available():
    DEVICES.append(pytest.param("cuda", marks=pytest.mark.gpu))
HALVES = [torch.bfloat16, torch.float16]


@pytest.fixture(params=DEVICES)
def device(request) -> str:
    return request.param


def examples(**options) -> list:
    """One operator of every coupling, rectangular and strided ones among them."""
    rng = np.random.default_rng(0)
    found = [random_coupling(kind, (4, 4), (3, 3), rng, **options) for kind in COUPLINGS]
    found += [
        random_coupling("lean", (2, 4), (3, 3), rng, **options),
        random_coupling("lean", (4, 2), (3, 3), rng, **options),
        random_coupling("circulant", (2, 3), (3, 3), rng, **options),
        random_coupling("full", (2, 3), (5, 3), rng, **options),
    ]
    if not options:
        parts = (found[1], random_coupling("pointwise", (2, 4), (1, 1), rng))
        found.append(Stacked(parts))
    return found


def name(coupling) -> str:
    return f"{coupling.name}-{coupling.channels_out}x{coupling.channels_in}"


def tensors_of(coupling, convert):
    """The coupling with its arrays converted."""
    if isinstance(coupling, Stacked):
        return Stacked(tuple(tensors_of(part, convert) for part in coupling.parts))
    return of_arrays(coupling, map(convert, coupling._arrays().values()))


def of_arrays(coupling, arrays):
    """The coupling with other arrays, in the order of its fields."""
    return replace(coupling, **dict(zip(coupling._arrays(), arrays, strict=True)))


def to_torch(device="cpu", dtype=torch.float64, *, grad: bool = False):
    return lambda array: torch.tensor(array, dtype=dtype, device=device, requires_grad=grad)


EVERY = pytest.mark.parametrize("coupling", examples(), ids=name)


@EVERY
def test_results_are_those_of_numpy(coupling, device: str) -> None:
    tensors = tensors_of(coupling, to_torch(device, grad=True))
    close = {"rtol": 0, "atol": 1e-12 * float(singular_values(coupling, GRID)[0])}
    pairs = [
        (singular_values(tensors, GRID), singular_values(coupling, GRID)),
        (tensors.dense_weight(), coupling.dense_weight()),
        (tensors.symbol(GRID).norms(), coupling.symbol(GRID).norms()),
    ]
    for found, expected in pairs:
        assert isinstance(found, torch.Tensor) and found.device.type == device
        assert found.dtype == torch.float64 and found.requires_grad
        np.testing.assert_allclose(found.detach().cpu(), expected, **close)
    blocks = tensors.symbol(GRID).blocks()
    assert blocks.dtype == torch.complex128 and blocks.device.type == device
    np.testing.assert_allclose(blocks.detach().cpu(), coupling.symbol(GRID).blocks(), **close)
    if coupling.channels_in == coupling.channels_out:
        found = eigenvalues(tensors, GRID).detach().cpu().numpy()
        assert distance_of_multisets(found, eigenvalues(coupling, GRID)) < 1e3 * close["atol"]
        radius = spectral_radius(coupling, GRID)
        assert spectral_radius(tensors, GRID) == pytest.approx(radius, rel=1e-10)
    for boundary in BOUNDARIES:
        grid = Grid((5, 5), boundary=boundary)
        np.testing.assert_array_equal(tensors.to_dense(grid), coupling.to_dense(grid))


@EVERY
def test_certificates_are_those_of_numpy(coupling, device: str) -> None:
    tensors = tensors_of(coupling, to_torch(device, grad=True))
    scale = np.linspace(0, 2, coupling.channels_out)
    for options in ({}, {"row_scaling": scale}):
        expected = certified_norm(coupling, **options)
        if options:
            options = {"row_scaling": torch.tensor(scale, device=device, requires_grad=True)}
        found = certified_norm(tensors, **options)
        assert type(found.lower) is float and type(found.upper) is float
        assert found.lower == pytest.approx(expected.lower, rel=1e-12)
        assert found.upper == pytest.approx(expected.upper, rel=1e-12)
        assert isinstance(found.frequency, np.ndarray) and found.boundary == expected.boundary
    for boundary in BOUNDARIES:
        grid = Grid((9, 8), boundary=boundary)
        one, other = norm(tensors, grid), norm(coupling, grid)
        assert (one.lower, one.upper) == pytest.approx((other.lower, other.upper), rel=1e-9)
    arrays = [*tensors._arrays().values()]
    assert all(array.grad is None for array in arrays)


@EVERY
def test_single_precision_stays_single(coupling, device: str) -> None:
    tensors = tensors_of(coupling, to_torch(device, torch.float32))
    found, expected = singular_values(tensors, GRID), singular_values(coupling, GRID)
    assert found.dtype == torch.float32 and found.device.type == device
    np.testing.assert_allclose(found.cpu(), expected, atol=5e-6 * expected[0])
    assert tensors.symbol(GRID).blocks().dtype == torch.complex64
    # NumPy in single precision too.
    single = tensors_of(coupling, lambda array: array.astype(np.float32))
    assert singular_values(single, GRID).dtype == np.float32
    np.testing.assert_allclose(singular_values(single, GRID), expected, atol=5e-6 * expected[0])


@pytest.mark.parametrize("half", HALVES, ids=str)
@EVERY
def test_half_precision_is_cast_up(coupling, half: torch.dtype, device: str) -> None:
    """A certificate of half-precision weights is that of the numbers they hold, not of others."""
    tensors = tensors_of(coupling, to_torch(device, half))
    held = tensors_of(tensors, lambda array: array.double().cpu().numpy())
    found, expected = certified_norm(tensors), certified_norm(held)
    assert found.upper == pytest.approx(expected.upper, rel=1e-12)
    values = singular_values(tensors, GRID)
    assert values.dtype == torch.float32
    largest = float(singular_values(held, GRID)[0])
    np.testing.assert_allclose(values.cpu(), singular_values(held, GRID), atol=5e-6 * largest)
    grid = Grid((5, 5), boundary="zeros")
    np.testing.assert_array_equal(tensors.to_dense(grid), held.to_dense(grid))
    assert norm(tensors, grid).lower == pytest.approx(norm(held, grid).lower, rel=1e-12)


def free_inputs(coupling) -> list[torch.Tensor]:
    return [to_torch(grad=True)(array) for array in coupling._arrays().values()]


def with_zero_centre(coupling, arrays):
    """A perturbed centre of lean stencils belongs to no coupling: it is masked off."""
    if coupling.name != "lean":
        return arrays
    matrix, stencils = arrays
    mask = torch.ones(coupling.kernel_shape, dtype=stencils.dtype)
    mask[tuple(k // 2 for k in coupling.kernel_shape)] = 0
    return matrix, stencils * mask


UNSTACKED = pytest.mark.parametrize("coupling", [*examples()[:-1], *examples(stride=2)], ids=name)


@UNSTACKED
def test_singular_values_are_differentiable(coupling) -> None:
    """Gradients of weighted sums of singular values, and of the norm, against differences."""
    grid = Grid((4, 2))
    weights = torch.tensor(np.random.default_rng(1).standard_normal(400))

    def value(*arrays: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        operator = of_arrays(coupling, with_zero_centre(coupling, arrays))
        values = singular_values(operator, grid)
        return (weights[: values.shape[0]] * values).sum(), values[0]

    assert torch.autograd.gradcheck(value, free_inputs(coupling), atol=1e-6, fast_mode=True)


@UNSTACKED
def test_symbols_are_differentiable(coupling) -> None:
    frequencies = np.random.default_rng(2).uniform(-3, 3, (2, 2))

    def value(*arrays: torch.Tensor) -> torch.Tensor:
        operator = of_arrays(coupling, with_zero_centre(coupling, arrays))
        return operator.symbol_at(frequencies).blocks()

    assert torch.autograd.gradcheck(value, free_inputs(coupling))


def test_eigenvalues_and_scales_are_differentiable() -> None:
    rng = np.random.default_rng(3)
    weight = torch.tensor(rng.standard_normal((2, 2, 3)), requires_grad=True)
    scale = torch.tensor(rng.uniform(1, 2, 2), requires_grad=True)

    def value(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        # The sum of the squares does not depend on the order.
        return (eigenvalues(Full(weight).scale_rows(scale), Grid((3,))) ** 2).sum().real

    assert torch.autograd.gradcheck(value, [weight, scale])


def test_gradient_of_the_norm_is_that_of_its_formula() -> None:
    """``d sigma / d k_p = Re(conj(u) v^T exp(i p.w))`` (theory §1), at one frequency."""
    weight = torch.tensor(np.random.default_rng(4).standard_normal((2, 3, 3)), requires_grad=True)
    w = np.array([[0.7]])
    symbol = Full(weight).symbol_at(w)
    symbol.norms()[0].backward()
    u, _, vh = np.linalg.svd(symbol.blocks().detach().numpy()[0, 0])
    phases = np.exp(1j * 0.7 * np.arange(-1, 2))
    expected = np.real(np.einsum("o,i,t->oit", u[:, 0].conj(), vh[0].conj(), phases))
    np.testing.assert_allclose(weight.grad, expected, atol=1e-12)


@pytest.mark.parametrize("kind", COUPLINGS)
def test_layers_hand_over_their_parameters(kind: str) -> None:
    """The coupling of a layer is live: gradients of its spectrum reach the parameters."""
    groups = 2 if kind == "grouped" else 1
    operator = make_operator(kind, 4, 4, groups=groups, bias=False)
    singular_values(operator.coupling(), GRID).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in operator.parameters())
    before = [p.detach().clone() for p in operator.parameters()]
    found = certified_norm(operator.coupling())
    assert 0 < found.lower <= found.upper
    for parameter, old in zip(operator.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def test_certificates_need_no_gradients_and_leave_none() -> None:
    weight = torch.ones(1, 1, 3, requires_grad=True)
    with torch.inference_mode():
        inside = certified_norm(Full(torch.ones(1, 1, 3)))
    outside = certified_norm(Full(weight * 1.0))
    assert inside.upper == outside.upper and weight.grad is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_tensors_that_are_not_finite_are_refused(value: float) -> None:
    stencils = torch.ones(2, 3, 3, dtype=torch.bfloat16)
    stencils[1, 2, 0] = value
    for use in (certified_norm, lambda c: norm(c, GRID), lambda c: singular_values(c, GRID)):
        with pytest.raises(InputError, match="finite weights"):
            use(Depthwise(stencils))


def test_tensors_that_do_not_fit_are_refused() -> None:
    for build, part in (
        (lambda: Full(torch.ones(2, 2, 2, 3)), "an odd number of taps"),
        (lambda: Full(torch.ones(2, 2, 3, 3) * 1j), "real weights, got weights of type"),
        (lambda: Full(torch.ones(2, 2, 3, 3), five_point=True), "zero corners"),
        (lambda: Full(torch.ones(2, 2, 3)).scale_rows(torch.ones(3)), "a scale of shape"),
    ):
        with pytest.raises(InputError, match=part):
            build()
