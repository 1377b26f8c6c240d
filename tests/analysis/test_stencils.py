"""Stencils against polynomials and waves, shifts and paddings against numpy.pad."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import InputError
from analysis.grid import BOUNDARIES, Grid
from analysis.stencils import (
    difference_stencil,
    extension_norm,
    laplacian,
    shift_matrix,
    source_index,
    star_mask,
)
from tests.analysis.references import PAD_MODE, dense_by_padding

NAMES = ("identity", "d_x", "d_y", "d_xx", "d_yy", "d_xy", "d_xxy", "d_xyy", "d_xxyy")
ORDERS = {name: (name[2:].count("x"), name[2:].count("y")) for name in NAMES[1:]}
ORDERS["identity"] = (0, 0)


def correlate(stencil: np.ndarray, values: np.ndarray) -> float:
    """The stencil at the middle of as many values."""
    return float((stencil * values).sum())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spacing", [1.0, 0.5])
def test_differences_are_exact_on_monomials(name: str, spacing: float) -> None:
    """``x^a y^b / (a! b!)`` at the origin has the derivative one of its own order, zero of others.

    Centred differences are exact for degrees up to two in each variable; ``x`` is the first axis.
    """
    stencil = difference_stencil(name, spacing)
    x, y = spacing * np.array([-1, 0, 1])[:, None], spacing * np.array([-1, 0, 1])[None, :]
    factorial = (1, 1, 2)
    for a, b in itertools.product(range(3), repeat=2):
        monomial = x**a * y**b / (factorial[a] * factorial[b])
        expected = float((a, b) == ORDERS[name])
        assert correlate(stencil, monomial) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("name", NAMES[1:])
def test_differences_are_of_second_order(name: str) -> None:
    """On ``exp(0.7 x - 0.4 y)`` the error falls by four when the mesh is halved."""
    a, b = ORDERS[name]
    exact = 0.7**a * (-0.4) ** b
    errors = []
    for spacing in (0.2, 0.1):
        x = spacing * np.array([-1, 0, 1])
        values = np.exp(0.7 * x[:, None] - 0.4 * x[None, :])
        errors.append(abs(correlate(difference_stencil(name, spacing), values) - exact))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.05)


def test_the_nine_differences_span_all_stencils() -> None:
    matrix = np.stack([difference_stencil(name).ravel() for name in NAMES])
    assert np.linalg.matrix_rank(matrix) == 9
    assert not any(np.signbit(matrix[matrix == 0])), "no negative zeros to print"


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_laplacian_is_exact_on_quadratics(dimension: int) -> None:
    spacing = 0.25
    stencil = laplacian(dimension, spacing)
    x = spacing * (np.indices(stencil.shape) - 1)
    curvature = np.arange(1.0, dimension + 1)
    quadratic = 3 + x.sum(axis=0) + np.tensordot(curvature, x**2, 1) / 2
    assert correlate(stencil, quadratic) == pytest.approx(curvature.sum())
    assert np.count_nonzero(stencil) == 2 * dimension + 1
    assert not stencil[~star_mask(stencil.shape)].any()


def test_laplacian_is_the_sum_of_second_differences() -> None:
    total = difference_stencil("d_xx", 0.5) + difference_stencil("d_yy", 0.5)
    np.testing.assert_allclose(laplacian(2, 0.5), total)


@given(st.lists(st.sampled_from([1, 3, 5]), min_size=1, max_size=3).map(tuple))
def test_star_mask_keeps_the_axes(shape: tuple[int, ...]) -> None:
    mask = star_mask(shape)
    assert mask.shape == shape and mask.sum() == 1 + sum(k - 1 for k in shape)
    for axis in range(len(shape)):
        line = [k // 2 for k in shape]
        line[axis] = slice(None)
        assert mask[tuple(line)].all()


@given(st.integers(1, 6), st.integers(0, 7), st.sampled_from(BOUNDARIES))
def test_padding_copies_the_pixels_that_numpy_copies(n: int, radius: int, boundary: str) -> None:
    if (boundary == "periodic" and radius > n) or (boundary == "reflect" and radius >= n):
        with pytest.raises(InputError, match="pixels an axis, got"):
            source_index(n, radius, boundary)
        return
    pixels = np.arange(1, n + 1)
    expected = np.pad(pixels, radius, mode=PAD_MODE[boundary])
    np.testing.assert_array_equal(source_index(n, radius, boundary) + 1, expected)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(5,), (3, 4), (3, 2, 4)])
def test_shift_reads_the_pixel_at_the_offset(boundary: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    image = rng.standard_normal(shape)
    padded = np.pad(image, 1, mode=PAD_MODE[boundary])
    for offset in itertools.product((-1, 0, 1), repeat=len(shape)):
        window = tuple(slice(1 + p, 1 + p + n) for p, n in zip(offset, shape, strict=True))
        shift = shift_matrix(offset, Grid(shape, boundary=boundary))
        np.testing.assert_array_equal(shift @ image.ravel(), padded[window].ravel())
        assert shift.nnz == np.count_nonzero(shift.toarray())


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_shift_of_two_pixels(boundary: str) -> None:
    image = np.arange(1.0, 5.0)
    padded = np.pad(image, 2, mode=PAD_MODE[boundary])
    for p in (-2, 2):
        shift = shift_matrix((p,), Grid((4,), boundary=boundary))
        np.testing.assert_array_equal(shift @ image, padded[2 + p : 6 + p])


@pytest.mark.parametrize("radius", [(1,), (2,), (1, 1), (2, 1), (0, 2), (0, 0), (1, 1, 1)])
@pytest.mark.parametrize("boundary", ["reflect", "replicate"])
def test_extension_norm_is_the_norm_of_the_padding(radius: tuple[int, ...], boundary: str) -> None:
    shape = tuple(2 * r + 2 for r in radius)
    units = np.eye(np.prod(shape)).reshape(-1, *shape)
    margins = [(0, 0), *((r, r) for r in radius)]
    padding = np.pad(units, margins, mode=PAD_MODE[boundary]).reshape(len(units), -1)
    assert extension_norm(radius, boundary) == pytest.approx(np.linalg.norm(padding, 2))


@pytest.mark.parametrize("boundary", ["reflect", "replicate"])
def test_a_corner_shift_attains_the_extension_norm(boundary: str) -> None:
    """The symbol has modulus one, the operator the norm two (theory §1)."""
    weight = np.zeros((1, 1, 3, 3))
    weight[0, 0, 2, 2] = 1.0
    matrix = dense_by_padding(weight, (4, 5), boundary)
    assert np.linalg.norm(matrix, 2) == pytest.approx(2.0)
    assert extension_norm((1, 1), boundary) == pytest.approx(2.0)


@pytest.mark.parametrize("boundary", ["periodic", "zeros"])
def test_compressions_need_no_factor(boundary: str) -> None:
    assert extension_norm((1, 2, 3), boundary) == 1.0


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'd_xx'"):
        difference_stencil("d_xxx")
    with pytest.raises(InputError, match="a dimension of 1, 2 or 3, got 4"):
        laplacian(4)
    for spacing in (0.0, -1.0, float("nan"), float("inf")):
        for use in (laplacian, lambda _, s: difference_stencil("d_x", s)):
            with pytest.raises(InputError, match="a positive mesh width"):
                use(2, spacing)
    for use in (lambda b: source_index(4, 1, b), lambda b: extension_norm((1,), b)):
        with pytest.raises(InputError, match="did you mean 'replicate'"):
            use("replicat")
