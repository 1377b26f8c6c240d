"""Projections onto the structure of a coupling, against least squares on a basis of it."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from analysis.couplings import Circulant, Depthwise, Full, Grouped, Lean, Pointwise
from analysis.errors import InputError
from analysis.projection import dense_in, project, projection_error, with_norm_of
from analysis.stencils import star_mask

NAMES = ("full", "depthwise", "pointwise", "lean", "circulant", "grouped")
CHANNELS = ((4, 4), (6, 4), (4, 6), (2, 2))
KERNELS = ((3, 3), (1, 5), (3,), (3, 1, 3))
GROUPS = 2


def zero_member(name: str, channels: tuple[int, int], kernel: tuple[int, ...], five_point: bool):
    """The structure with all weights zero, written down without the projection."""
    rows, columns = channels
    small, large = min(channels), max(channels)
    options = {"five_point": five_point}
    if name == "full":
        return Full(np.zeros((*channels, *kernel)), **options)
    if name == "depthwise":
        return Depthwise(np.zeros((rows, *kernel)), **options)
    if name == "pointwise":
        return Pointwise(np.zeros(channels), spatial_axes=len(kernel))
    if name == "lean":
        return Lean(np.zeros(channels), np.zeros((small, *kernel)), **options)
    if name == "circulant":
        return Circulant(np.zeros((large, *kernel)), channels, **options)
    return Grouped(np.zeros((rows, columns // GROUPS, *kernel)), GROUPS, **options)


def basis(zero) -> np.ndarray:
    """Dense weights of all unit weights of a structure, shape (weights, c_out c_in taps)."""
    kernel = zero.kernel_shape
    rows = []
    for item in fields(zero):
        array = getattr(zero, item.name)
        if not isinstance(array, np.ndarray):
            continue
        for position in np.ndindex(array.shape):
            unit = np.zeros(array.shape)
            unit[position] = 1
            try:
                member = replace(zero, **{item.name: unit})
            except InputError:  # a corner of five points, the centre of lean stencils
                continue
            rows.append(member.dense_weight().ravel())
    assert len(rows) == zero.weights, (zero.name, kernel)
    return np.array(rows)


def cases():
    for name in NAMES:
        for channels in CHANNELS:
            for kernel in KERNELS if channels == (4, 4) else KERNELS[:1]:
                for five_point in (False, True):
                    square = channels[0] == channels[1]
                    if (name != "depthwise" or square) and not (name == "pointwise" and five_point):
                        yield name, channels, kernel, five_point


ALL = pytest.mark.parametrize("case", list(cases()), ids=lambda c: f"{c[0]}-{c[1]}-{c[2]}-{c[3]}")


def drawn(case, seed: int = 0) -> np.ndarray:
    _, channels, kernel, _ = case
    return np.random.default_rng([seed, *map(ord, str(case))]).standard_normal((*channels, *kernel))


def projected(weight: np.ndarray, case):
    return project(weight, case[0], groups=GROUPS, five_point=case[3])


def image(weight: np.ndarray, case) -> np.ndarray:
    """P W as a dense array."""
    return dense_in(projected(weight, case), case[2])


def embedded_basis(case) -> np.ndarray:
    """Basis of the structure in the full kernel; that of pointwise padded by hand."""
    name, channels, kernel, _ = case
    vectors = basis(zero_member(*case))
    if name != "pointwise":
        return vectors
    full = np.zeros((len(vectors), *channels, *kernel))
    full[(..., *(k // 2 for k in kernel))] = vectors.reshape(-1, *channels)
    return full.reshape(len(vectors), -1)


@ALL
def test_the_projection_is_least_squares_on_the_basis_of_the_structure(case) -> None:
    weight, vectors = drawn(case), embedded_basis(case)
    coefficients = np.linalg.lstsq(vectors.T, weight.ravel(), rcond=None)[0]
    nearest = (coefficients @ vectors).reshape(weight.shape)
    np.testing.assert_allclose(image(weight, case), nearest, atol=1e-13)
    error = np.linalg.norm(weight - nearest) / np.linalg.norm(weight)
    assert projection_error(weight, projected(weight, case)) == pytest.approx(error, abs=1e-14)


@ALL
def test_the_residual_is_orthogonal_to_every_weight_of_the_structure(case) -> None:
    weight = drawn(case)
    products = embedded_basis(case) @ (weight - image(weight, case)).ravel()
    np.testing.assert_allclose(products, 0, atol=1e-12)


@ALL
def test_the_projection_is_idempotent_and_symmetric(case) -> None:
    one, other = drawn(case), drawn(case, seed=1)
    np.testing.assert_allclose(image(image(one, case), case), image(one, case), atol=1e-14)
    left = np.vdot(image(one, case), other)
    assert left == pytest.approx(np.vdot(one, image(other, case)), abs=1e-12)


@ALL
def test_no_random_member_is_nearer(case) -> None:
    weight, vectors = drawn(case), embedded_basis(case)
    error = projection_error(weight, projected(weight, case)) * np.linalg.norm(weight)
    rng = np.random.default_rng(3)
    near = np.linalg.lstsq(vectors.T, weight.ravel(), rcond=None)[0]
    for scale in (1e-3, 0.1, 1.0):
        some = (near + scale * rng.standard_normal((20, len(vectors)))) @ vectors
        distances = np.linalg.norm(some - weight.ravel(), axis=1)
        assert (distances > error).all()


@ALL
def test_no_random_member_of_the_same_norm_is_nearer(case) -> None:
    weight, vectors = drawn(case), embedded_basis(case)
    found = dense_in(with_norm_of(weight, projected(weight, case)), case[2])
    norm, distance = np.linalg.norm(weight), np.linalg.norm(weight - found)
    assert np.linalg.norm(found) == pytest.approx(norm)
    rng = np.random.default_rng(5)
    near = np.linalg.lstsq(vectors.T, found.ravel(), rcond=None)[0]
    for scale in (1e-3, 0.1, 1.0):
        some = (near + scale * rng.standard_normal((20, len(vectors)))) @ vectors
        some *= norm / np.linalg.norm(some, axis=1, keepdims=True)
        assert (np.linalg.norm(some - weight.ravel(), axis=1) > distance).all()


def test_a_projection_that_is_zero_has_no_norm_to_keep() -> None:
    weight = np.eye(2)[:, ::-1, None, None] * np.ones((3, 3))
    found = project(weight, "depthwise")
    assert with_norm_of(weight, found) is found


@ALL
def test_members_are_their_own_projection(case) -> None:
    rng = np.random.default_rng(4)
    vectors = embedded_basis(case)
    member = (rng.standard_normal(len(vectors)) @ vectors).reshape(*case[1], *case[2])
    assert projection_error(member, projected(member, case)) < 1e-15


def test_a_circulant_of_unequal_channels_by_hand() -> None:
    # C = 3: stencil 0 stands in blocks (0, 0), (1, 1), 1 in (1, 0), (2, 1), 2 in (2, 0), (0, 1).
    weight = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 9.0]])[..., None, None]
    found = project(weight, "circulant")
    np.testing.assert_array_equal(found.stencils.ravel(), [3.0, 6.0, 3.0])
    wide = project(np.swapaxes(weight, 0, 1), "circulant")  # transposed: j becomes -j mod 3
    np.testing.assert_array_equal(wide.stencils.ravel(), [3.0, 3.0, 6.0])


def test_five_points_are_the_projection_of_the_projection() -> None:
    weight = np.random.default_rng(0).standard_normal((4, 4, 5, 5))
    for name in NAMES:
        found = project(weight, name, groups=2, five_point=True)
        twice = project(weight * star_mask((5, 5)), name, groups=2)
        np.testing.assert_allclose(
            dense_in(found, (5, 5)), dense_in(twice, (5, 5)), atol=1e-15, err_msg=name
        )


def test_stride_and_dilation_are_those_asked_for() -> None:
    for name in NAMES:
        found = project(np.ones((2, 2, 3, 3)), name, groups=2, stride=2, dilation=3)
        assert (found.name, found.stride, found.dilation) == (name, 2, 3)


def test_half_precision_is_averaged_in_single_and_integers_in_double() -> None:
    half = np.full((300, 300, 1, 1), 65504, np.float16)  # a sum of two overflows
    assert project(half, "circulant").stencils[0, 0, 0] == 65504
    whole = np.array([[0, 1], [0, 1]])[..., None, None]
    np.testing.assert_array_equal(project(whole, "circulant").stencils.ravel(), [0.5, 0.5])


def test_zero_weights_have_no_error() -> None:
    zeros = np.zeros((2, 2, 3, 3))
    assert projection_error(zeros, project(zeros, "lean")) == 0


@pytest.mark.parametrize(
    ("shape", "name", "groups", "part"),
    [
        ((2, 2, 3, 3), "leen", 1, "did you mean 'lean'"),
        ((2, 2, 2, 3), "lean", 1, r"an odd kernel size, got \(2, 3\)"),
        ((2, 3, 3, 3), "depthwise", 1, "as many output as input channels.*got 3 -> 2"),
        ((4, 6, 3, 3), "grouped", 4, "multiples of groups=4, got 6 -> 4"),
        ((4, 4, 3, 3), "grouped", 0, "multiples of groups=0"),
        ((2, 2), "lean", 1, "spatial axes"),
    ],
)
def test_what_the_structure_cannot_hold_is_refused(shape, name, groups, part) -> None:
    with pytest.raises(InputError, match=part):
        project(np.ones(shape), name, groups=groups)


def test_a_kernel_too_small_for_the_coupling_is_refused() -> None:
    with pytest.raises(InputError, match="odd kernels of at least"):
        dense_in(project(np.ones((1, 1, 3, 3)), "lean"), (1, 1))
