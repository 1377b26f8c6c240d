"""Norm intervals against dense norms, and the padding fixtures of theory §4.8."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.certificates import certified_norm
from analysis.couplings import COUPLINGS, Depthwise, Full, Pointwise
from analysis.errors import InputError
from analysis.grid import BOUNDARIES, Grid
from analysis.spectra import (
    NormInterval,
    as_linear_operator,
    eigenvalues,
    norm,
    singular_values,
    spectral_radius,
)
from analysis.stacked import Stacked
from analysis.stencils import laplacian
from tests.analysis.references import (
    blocks_by_definition,
    dense_by_padding,
    norm_by_ascent,
    random_coupling,
)

ROUNDING = 1e-12


def dense_norm(coupling, grid: Grid) -> float:
    weight = blocks_by_definition(coupling)
    return np.linalg.norm(dense_by_padding(weight, grid.shape, grid.boundary, coupling.stride), 2)


def assert_holds(found: NormInterval, true: float, *, tightness: float) -> None:
    """The interval holds the norm and its lower end is within a relative distance of it."""
    assert found.lower <= true * (1 + ROUNDING), found
    assert true * (1 - ROUNDING) <= found.upper, found
    assert found.lower >= true * (1 - tightness), found
    assert found.lower <= found.upper and found.statement


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("kind", COUPLINGS)
def test_interval_holds_the_norm(kind: str, boundary: str) -> None:
    rng = np.random.default_rng([3, *map(ord, kind + boundary)])
    for size, stride, channels in (
        ((4, 5), 1, (2, 4)),  # small enough for a dense norm
        ((12, 11), 1, (4, 2)),  # Lanczos
        ((10, 12), 2, (4, 4)),
        ((41,), 1, (2, 2)),
    ):
        shape = (3,) * len(size)
        options = {"stride": stride, "five_point": len(size) == 2 and stride == 1}
        coupling = random_coupling(kind, channels, shape, rng, **options)
        grid = Grid(size, boundary=boundary)
        found, true = norm(coupling, grid), dense_norm(coupling, grid)
        # Lanczos works on K^T K to 1e-5, or stops early: half of it, with room.
        assert_holds(found, true, tightness=ROUNDING if boundary == "periodic" else 1e-3)
        assert found.exact == (found.upper - found.lower <= 1e-9 * found.upper)
        if boundary == "periodic":
            assert found.exact and "largest norm of the symbol" in found.statement
        bound = certified_norm(coupling, boundary=boundary).upper
        assert true <= bound and found.lower <= bound


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_even_stencils_and_row_scaling(boundary: str) -> None:
    rng = np.random.default_rng(5)
    for kind in ("full", "lean", "circulant"):
        coupling = random_coupling(kind, (3, 3), (3, 3), rng, even=True)
        scale = np.array([0.3, 0.0, 2.5])
        grid = Grid((6, 5), boundary=boundary)
        rows = np.repeat(np.sqrt(scale), grid.size)[:, None]
        true = np.linalg.norm(rows * coupling.to_dense(grid), 2)
        found = norm(coupling, grid, row_scaling=scale)
        assert_holds(found, true, tightness=1e-3)
        assert found.exact == (boundary in ("periodic", "replicate"))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    boundary=st.sampled_from(BOUNDARIES),
    shape=st.sampled_from([(3, 3), (5, 3), (1, 5), (1, 1)]),
    even=st.booleans(),
)
def test_interval_holds_at_every_size(seed, size, boundary, shape, even) -> None:
    """Down to one pixel, and for stencils longer than the image where the boundary allows it."""
    coupling = random_coupling("full", (2, 2), shape, np.random.default_rng(seed), even=even)
    smallest = {"reflect": 1, "periodic": 0}.get(boundary, -np.inf)
    size = tuple(int(max(n, r + smallest)) for n, r in zip(size, coupling.radius, strict=True))
    grid = Grid(size, boundary=boundary)
    assert_holds(norm(coupling, grid), dense_norm(coupling, grid), tightness=1e-3)


def test_long_stencils_at_the_edge_are_no_cosine_series() -> None:
    """Five even taps, replicate: the largest value of the symbol on the DCT-II grid is too low."""
    coupling = Depthwise(np.array([[1.0, -2.0, 3.0, -2.0, 1.0]]))
    grid = Grid((7,), boundary="replicate")
    true = dense_norm(coupling, grid)
    assert true > 1.01 * np.abs(coupling.symbol_at(np.pi * np.arange(7)[:, None] / 7).values).max()
    assert_holds(norm(coupling, grid), true, tightness=1e-12)


def test_zero_padding_can_exceed_the_periodic_norm() -> None:
    """Theory §4.8: three taps on three pixels; padded by one, the periodic norm bounds it."""
    coupling = Depthwise(np.array([[2.183, -1.125, 2.193]]))
    padded = norm(coupling, Grid((3,), boundary="zeros"))
    periodic = norm(coupling, Grid((3,)))
    assert round(padded.lower, 4) == 4.2193
    assert round(periodic.lower, 4) == 3.3130
    larger = norm(coupling, Grid((4,))).upper
    assert padded.lower <= padded.upper <= larger * (1 + ROUNDING)
    assert "compression of the periodic operator on (4,)" in padded.statement
    assert padded.lower == pytest.approx(dense_norm(coupling, Grid((3,), boundary="zeros")))


def test_eigenvalues_of_zero_padding_say_little() -> None:
    """Theory §4.8: all eigenvalues of I + h J at 1/2, powers beyond 1e9, the symbol says 1.25."""
    coupling, h = Depthwise(np.array([[1.5, -1.0, 0.0]])), 0.5
    dense = coupling.to_dense(Grid((64,), boundary="zeros"))
    step = np.eye(64) + h * dense
    assert not np.triu(step, 1).any()
    np.testing.assert_array_equal(np.diag(step), 0.5)
    power, largest = np.eye(64), 0.0
    for _ in range(150):
        power = step @ power
        largest = max(largest, np.linalg.norm(power, 2))
    assert largest > 1e9
    growth = Depthwise(np.array([[1.5 * h, 1 - h, 0.0]]))
    assert certified_norm(growth).lower == pytest.approx(1.25)
    # The periodic operator is normal: its eigenvalues tell the growth.
    assert spectral_radius(growth, Grid((64,))) == pytest.approx(1.25)


def test_norm_of_zero_padding_grows_with_the_image() -> None:
    """T_n is monotone in n, below the supremum and below the periodic norm on n + r pixels."""
    rng = np.random.default_rng(7)
    coupling = random_coupling("full", (2, 2), (3,), rng)
    supremum = norm_by_ascent(blocks_by_definition(coupling))
    norms = []
    for n in (1, 2, 3, 4, 8, 16, 32):
        found = norm(coupling, Grid((n,), boundary="zeros"))
        true = dense_norm(coupling, Grid((n,), boundary="zeros"))
        assert_holds(found, true, tightness=1e-5)
        assert true <= dense_norm(coupling, Grid((n + 1,))) * (1 + ROUNDING)
        norms.append(true)
    assert (np.diff(norms) >= -ROUNDING).all() and norms[-1] <= supremum
    gaps = supremum - np.array(norms)
    # The gap falls like 1 / n^2.
    assert gaps[-1] / gaps[-2] == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("boundary", ["reflect", "replicate"])
def test_a_corner_shift_attains_the_extension(boundary: str) -> None:
    """||K|| = 2 in two dimensions although the symbol has modulus one."""
    weight = np.zeros((1, 1, 3, 3))
    weight[0, 0, 2, 2] = 1.0
    found = norm(Full(weight), Grid((6, 7), boundary=boundary))
    assert found.lower == pytest.approx(2.0, rel=1e-9)
    assert 2.0 <= found.upper <= 2 * 1.01 * (1 + 1e-9)
    assert f"{boundary} extension" in found.statement
    assert norm(Full(weight), Grid((6, 7))).upper == pytest.approx(1.0)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("kind", COUPLINGS)
def test_zero_operators(kind: str, boundary: str) -> None:
    """On images small and large: nothing to iterate on."""
    coupling = random_coupling(kind, (2, 2), (3, 3), np.random.default_rng(0)).times(0.0)
    for size in ((3, 3), (12, 12)):
        found = norm(coupling, Grid(size, boundary=boundary))
        assert (found.lower, found.upper) == (0.0, 0.0)
        assert found.exact


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_one_pixel_images(boundary: str) -> None:
    """What is left of a stencil on one pixel is the sum of its taps, or its centre."""
    weight = np.array([[[1.0, -3.0, 7.0]]])
    grid = Grid((1,), boundary=boundary)
    if boundary == "reflect":
        with pytest.raises(InputError, match="at least 2 pixels an axis, got 1"):
            norm(Full(weight), grid)
        return
    expected = 3.0 if boundary == "zeros" else 5.0
    found = norm(Full(weight), grid)
    assert found.lower == pytest.approx(expected) and found.upper >= expected * (1 - ROUNDING)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("exponent", [-600, 600])
def test_units_do_not_matter(boundary: str, exponent: int) -> None:
    coupling = random_coupling("lean", (2, 2), (3, 3), np.random.default_rng(2))
    grid = Grid((9, 8), boundary=boundary)
    plain, scaled = norm(coupling, grid), norm(coupling.times(2.0**exponent), grid)
    assert scaled.lower == plain.lower * 2.0**exponent
    assert scaled.upper == plain.upper * 2.0**exponent


@given(seed=st.integers(0, 10**6), size=st.tuples(st.integers(1, 9), st.integers(1, 9)))
@settings(max_examples=40)
def test_periodic_norm_is_the_largest_singular_value(seed: int, size: tuple[int, int]) -> None:
    """Excluding frequencies never loses the largest, also where many are equal."""
    rng = np.random.default_rng(seed)
    kind = list(COUPLINGS)[seed % len(COUPLINGS)]
    coupling = random_coupling(kind, (4, 4), (3, 3), rng)
    grid = Grid(size)
    largest = float(singular_values(coupling, grid)[0])
    found = norm(coupling, grid)
    assert found.lower == pytest.approx(largest, rel=1e-13)
    assert largest <= found.upper <= largest * (1 + 1e-11)


def test_periodic_norm_where_power_iterations_mislead() -> None:
    """At w = 0 eight close singular values, of which few iterations see less than of one at pi."""
    rng = np.random.default_rng(1)
    left, right = (np.linalg.qr(rng.standard_normal((8, 8)))[0] for _ in range(2))
    even = left @ np.diag([1.0, *[0.98] * 7]) @ right
    odd = left @ np.diag([0.995, *[0.0] * 7]) @ right
    # K^(w) = even (1 + cos w) / 2 + odd (1 - cos w) / 2
    weight = np.stack([even - odd, 2 * (even + odd), even - odd], axis=-1) / 4
    found = norm(Full(weight), Grid((2,)))
    assert found.lower == pytest.approx(1.0, rel=1e-12)
    assert 1.0 <= found.upper <= 1 + 1e-10


def test_stack_of_diffusion_and_reaction() -> None:
    rng = np.random.default_rng(9)
    parts = (random_coupling("depthwise", (2, 2), (3, 3), rng), Pointwise(rng.random((3, 2))))
    for boundary in BOUNDARIES:
        grid = Grid((9, 10), boundary=boundary)
        true = np.linalg.norm(np.vstack([part.to_dense(grid) for part in parts]), 2)
        assert_holds(norm(Stacked(parts), grid), true, tightness=1e-3)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_spectrum_of_the_heat_equation(dimension: int) -> None:
    """-4 / dx^2 sum sin^2(w / 2), and the Neumann values of the DCT-II."""
    n, spacing = 4, 0.5
    coupling = Depthwise(laplacian(dimension, spacing)[None])
    for boundary, step in (("periodic", 2 * np.pi / n), ("replicate", np.pi / n)):
        line = -4 / spacing**2 * np.sin(step * np.arange(n) / 2) ** 2
        expected = line
        for _ in range(dimension - 1):
            expected = np.add.outer(expected, line)
        grid = Grid((n,) * dimension, boundary=boundary)
        found = eigenvalues(coupling, grid)
        assert np.abs(found.imag).max() < 1e-12
        np.testing.assert_allclose(np.sort(found.real), np.sort(expected.ravel()), atol=1e-12)
        assert spectral_radius(coupling, grid) == pytest.approx(np.abs(expected).max())
        values = singular_values(coupling, grid)
        assert (np.diff(values) <= 0).all()
        np.testing.assert_allclose(values, np.sort(np.abs(expected).ravel())[::-1], atol=1e-12)


def test_moments_do_not_depend_on_the_grid() -> None:
    """The mean of sigma^(2p) is the same on every grid of more than 2 r p points (theory §1)."""
    coupling = random_coupling("full", (2, 3), (3, 3), np.random.default_rng(4))
    for p, points in ((1, 3), (2, 5), (3, 7)):
        means = [
            np.mean(np.asarray(singular_values(coupling, Grid((n, n)))) ** (2 * p))
            for n in (points, points + 3, 16)
        ]
        np.testing.assert_allclose(means, means[0], rtol=1e-12)
        coarse = np.mean(singular_values(coupling, Grid((points - 1,) * 2)) ** (2 * p))
        assert abs(coarse / means[0] - 1) > 1e-6, "one point fewer does not do"


@pytest.mark.parametrize(
    "use", [norm, singular_values, eigenvalues, spectral_radius, as_linear_operator]
)
def test_grids_of_another_dimension_are_refused(use) -> None:
    coupling = Full(np.ones((2, 2, 3, 3)))
    for boundary in BOUNDARIES[:1] if use in (singular_values, eigenvalues) else BOUNDARIES:
        with pytest.raises(InputError, match="a grid of 2 axes"):
            use(coupling, Grid((4,), boundary=boundary))


@pytest.mark.parametrize("use", [norm, singular_values, eigenvalues, spectral_radius])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(use, value: float) -> None:
    weight = np.ones((2, 2, 3, 3))
    weight[1, 0, 2, 1] = value
    with pytest.raises(InputError, match="expected finite weights, got nan or inf; use a check"):
        use(Full(weight), Grid((4, 4)))


def test_values_that_are_not_eigenvalues_are_refused() -> None:
    """A strided operator can be square, and yet maps no space to itself."""
    square = Full(np.random.default_rng(0).standard_normal((4, 1, 3, 3)), stride=2)
    assert square.to_dense(Grid((4, 4))).shape == (16, 16)
    wide = Full(np.ones((2, 3, 3, 3)))
    for coupling in (square, wide):
        with pytest.raises(InputError, match="as many output as input channels and stride 1"):
            eigenvalues(coupling, Grid((4, 4)))
