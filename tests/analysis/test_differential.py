"""Stencils as differential operators, against polynomials, plane waves and cell averages."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from analysis.differential import (
    DIFFERENTIAL_OPERATORS,
    at_spacing,
    difference_stencils,
    differential_coefficients,
    galerkin,
    operator_names,
    stencils_of,
)
from analysis.errors import InputError
from analysis.stencils import difference_stencil, laplacian, star_mask

SIZES = ((1, 1), (3, 3), (1, 5), (5, 3), (5, 5), (7, 7))


def orders_of(name: str) -> tuple[int, int]:
    letters = name.removeprefix("identity")
    return letters.count("x"), letters.count("y")


def applied(stencils: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Correlation of one stencil with an image, pixel by pixel, on the interior."""
    k1, k2 = stencils.shape
    shape = (image.shape[0] - k1 + 1, image.shape[1] - k2 + 1)
    return np.array(
        [[(stencils * image[i : i + k1, j : j + k2]).sum() for j in range(shape[1])]
         for i in range(shape[0])]
    )  # fmt: skip


def test_the_nine_are_those_of_the_theory() -> None:
    for name, stencil in zip(DIFFERENTIAL_OPERATORS, difference_stencils(spacing=0.3), strict=True):
        np.testing.assert_allclose(stencil, difference_stencil(name, 0.3), rtol=1e-14)


@pytest.mark.parametrize("size", SIZES)
def test_difference_stencils_are_a_basis(size: tuple[int, int]) -> None:
    basis = difference_stencils(size)
    count = size[0] * size[1]
    assert len(operator_names(size)) == len(basis) == count
    assert np.linalg.matrix_rank(basis.reshape(count, count)) == count


@pytest.mark.parametrize("size", SIZES)
def test_every_stencil_differentiates_polynomials_exactly(size: tuple[int, int]) -> None:
    """``d_x^a d_y^b`` of ``x^p y^q`` for all ``p <= a + 1, q <= b + 1``: x down, y across."""
    dx = 0.5
    x = dx * (np.arange(size[0]) - size[0] // 2)[:, None]
    y = dx * (np.arange(size[1]) - size[1] // 2)[None, :]
    named = zip(operator_names(size), difference_stencils(size, dx), strict=True)
    for name, stencil in named:
        a, b = orders_of(name)
        for p, q in itertools.product(range(a + 2), range(b + 2)):
            factorials = [np.prod(np.arange(1, n + 1)) for n in (a, b)]
            expected = factorials[0] * factorials[1] if (p, q) == (a, b) else 0.0
            assert (stencil * x**p * y**q).sum() == pytest.approx(expected, abs=1e-9), (name, p, q)


@pytest.mark.parametrize("size", SIZES)
def test_coefficients_and_back(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    stencils = rng.standard_normal((2, 4, *size))
    coefficients = differential_coefficients(stencils, 0.25)
    assert coefficients.shape == (2, 4, size[0] * size[1])
    np.testing.assert_allclose(stencils_of(coefficients, 0.25, size), stencils, atol=1e-10)
    basis = difference_stencils(size, 0.25).reshape(-1, size[0] * size[1])
    solved = np.linalg.solve(basis.T, stencils.reshape(8, -1).T).T
    np.testing.assert_allclose(coefficients.reshape(8, -1), solved, atol=1e-12)


def test_the_laplacian_is_read_as_one() -> None:
    values = differential_coefficients(laplacian(2, spacing=0.1), 0.1)
    found = dict(zip(DIFFERENTIAL_OPERATORS, values, strict=True))
    expected = dict.fromkeys(DIFFERENTIAL_OPERATORS, 0.0) | {"d_xx": 1.0, "d_yy": 1.0}
    assert found == pytest.approx(expected, abs=1e-12)


def test_moved_stencils_have_the_coefficients_of_the_old_ones() -> None:
    stencils = np.random.default_rng(1).standard_normal((5, 3, 3))
    moved = at_spacing(stencils, 0.2, 0.05)
    expected = differential_coefficients(stencils, 0.2)
    np.testing.assert_allclose(differential_coefficients(moved, 0.05), expected, rtol=1e-12)
    np.testing.assert_allclose(at_spacing(moved, 0.05, 0.2), stencils, rtol=1e-11)


def symbol(stencil: np.ndarray, wave: np.ndarray, dx: float) -> complex:
    """What a stencil makes of ``exp(i k.x)`` at the origin."""
    p, q = (np.arange(k) - k // 2 for k in stencil.shape)
    phases = np.exp(1j * dx * (wave[0] * p[:, None] + wave[1] * q[None, :]))
    return complex((stencil * phases).sum())


@pytest.mark.parametrize("size", [(3, 3), (5, 5)])
def test_symbols_at_a_physical_wave_number_agree_to_second_order(size: tuple[int, int]) -> None:
    """The symbols of ``dx`` and ``dx / 2`` differ by four times less when ``dx`` is halved."""
    coefficients = np.random.default_rng(2).standard_normal(size[0] * size[1])
    wave, gaps = np.array([0.7, -1.1]), []
    for dx in (0.2, 0.1) if size == (3, 3) else (0.4, 0.2):
        stencil = stencils_of(coefficients, dx, size)
        moved = at_spacing(stencil, dx, dx / 2)
        gaps.append(abs(symbol(stencil, wave, dx) - symbol(moved, wave, dx / 2)))
    assert gaps[0] > 1e-5
    assert np.log2(gaps[0] / gaps[1]) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("move", [at_spacing, galerkin])
def test_five_point_stencils_stay_five_point(move) -> None:
    stencils = np.random.default_rng(3).standard_normal((4, 3, 3)) * star_mask((3, 3))
    assert np.abs(move(stencils, 1.0, 0.5)[:, ~star_mask((3, 3))]).max() < 1e-15
    larger = np.random.default_rng(3).standard_normal((5, 5)) * star_mask((5, 5))
    assert np.abs(at_spacing(larger, 1.0, 0.5)[~star_mask((5, 5))]).max() < 1e-13


@pytest.mark.parametrize("move", [at_spacing, galerkin])
def test_a_number_stays_a_number(move) -> None:
    centre = np.zeros((3, 3))
    centre[1, 1] = 2.5
    np.testing.assert_allclose(move(centre, 1.0, 0.25), centre, atol=1e-15)
    np.testing.assert_allclose(move(np.array([[2.5]]), 1.0, 0.25), [[2.5]])


@pytest.mark.parametrize("factor", [2, 3])
def test_galerkin_is_the_product_with_means_and_copies(factor: int) -> None:
    """``R K P`` on an image: copy every pixel into a square, correlate, take means."""
    rng = np.random.default_rng(4)
    stencil, image = rng.standard_normal((3, 3)), rng.standard_normal((5, 6))
    fine = np.kron(image, np.ones((factor, factor)))
    full = applied(stencil, np.pad(fine, 1))
    shape = (5, factor, 6, factor)
    means = full.reshape(shape).mean(axis=(1, 3))
    coarse = applied(galerkin(stencil, 1.0, float(factor)), np.pad(image, 1))
    np.testing.assert_allclose(coarse, means, atol=1e-12)
    back = galerkin(galerkin(stencil, 1.0, float(factor)), float(factor), 1.0)
    np.testing.assert_allclose(back, stencil, atol=1e-12)


def test_galerkin_doubles_second_derivatives_and_keeps_first_ones() -> None:
    for name, share in (("d_x", 1.0), ("d_yy", 2.0), ("d_xxyy", 4.0), ("d_xy", 1.0)):
        coarse = galerkin(difference_stencil(name, 0.5), 0.5, 1.0)
        np.testing.assert_allclose(coarse, share * difference_stencil(name, 1.0), atol=1e-15)


def test_other_namespaces_and_gradients() -> None:
    torch = pytest.importorskip("torch")
    stencils = np.random.default_rng(5).standard_normal((2, 3, 3, 3))
    tensor = torch.tensor(stencils, requires_grad=True)
    for function, arguments in (
        (differential_coefficients, (0.5,)),
        (at_spacing, (1.0, 0.5)),
        (galerkin, (1.0, 0.5)),
    ):
        found = function(tensor, *arguments)
        np.testing.assert_allclose(found.detach(), function(stencils, *arguments), rtol=1e-14)
        assert torch.autograd.gradcheck(lambda t, f=function, a=arguments: f(t, *a), tensor)
        assert function(tensor.float(), *arguments).dtype == torch.float32
    flat = torch.tensor(stencils.reshape(2, 3, 9), requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: stencils_of(t, 0.5), flat)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="odd number of taps"):
        differential_coefficients(np.zeros((2, 3)))
    with pytest.raises(InputError, match="positive mesh width"):
        at_spacing(np.zeros((3, 3)), 1.0, 0.0)
    with pytest.raises(InputError, match="at most 3 x 3"):
        galerkin(np.zeros((5, 5)), 1.0, 2.0)
    with pytest.raises(InputError, match=r"9 coefficients.*kernel_shape"):
        stencils_of(np.zeros(8))
    with pytest.raises(InputError, match="add an axis"):
        at_spacing(np.zeros(3), 1.0, 2.0)
