"""One contract of all couplings: symbols and matrices against references built another way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from analysis.couplings import (
    COUPLINGS,
    Circulant,
    Depthwise,
    Full,
    Grouped,
    Lean,
    Pointwise,
    circulant_index,
)
from analysis.errors import InputError
from analysis.grid import BOUNDARIES, Grid
from analysis.search import definite
from analysis.spectra import as_linear_operator, eigenvalues, singular_values
from analysis.stacked import Stacked
from tests.analysis.references import (
    blocks_by_definition,
    case_name,
    cases,
    dense_by_padding,
    distance_of_multisets,
    random_coupling,
    strided_symbol_by_sum,
    symbol_by_sum,
    symbols_by_fft,
)

SIZES = {1: ((6,), (7,)), 2: ((4, 5), (6, 3)), 3: ((3, 2, 3),)}
EVEN_SIZES = {1: ((6,),), 2: ((4, 6),), 3: ((2, 4, 2),)}
ALL = pytest.mark.parametrize("case", cases(), ids=case_name)
UNSTRIDED = pytest.mark.parametrize("case", [c for c in cases() if c[3] == 1], ids=case_name)


def make(case, *, even: bool = False, seed: int = 0):
    kind, channels, kernel_shape, stride, five_point = case
    rng = np.random.default_rng([seed, *map(ord, str(case))])
    options = {"stride": stride, "five_point": five_point, "even": even}
    return random_coupling(kind, channels, kernel_shape, rng, **options)


def sizes_of(coupling) -> list[tuple[int, ...]]:
    """Sizes, even and odd, that the stride divides and that hold the stencil."""
    if coupling.stride == 3:
        return [(3, 6)]
    table = SIZES if coupling.stride == 1 else EVEN_SIZES
    reach = coupling.radius
    return [
        tuple(max(n, 2 * r) for n, r in zip(size, reach, strict=True))
        for size in table[coupling.dimension]
    ]


@ALL
def test_dense_weight_is_the_structure_of_the_paper(case) -> None:
    coupling = make(case)
    expected = blocks_by_definition(coupling)
    np.testing.assert_array_equal(coupling.dense_weight(), expected)
    assert expected.shape == (coupling.channels_out, coupling.channels_in, *coupling.kernel_shape)
    assert coupling.name == case[0]


@ALL
def test_matrix_of_shifts_is_the_correlation_of_a_padded_image(case) -> None:
    coupling = make(case)
    weight = blocks_by_definition(coupling)
    rng = np.random.default_rng(1)
    shapes = sizes_of(coupling)
    if coupling.stride > 1:  # that does not divide the size keeps the first of every few pixels
        shapes = [shapes[0], tuple(n + 1 for n in shapes[0])]
    for boundary, shape in itertools.product(BOUNDARIES, shapes):
        grid = Grid(shape, boundary=boundary)
        matrix = coupling.to_dense(grid)
        expected = dense_by_padding(weight, shape, boundary, coupling.stride)
        np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-13)
    free = as_linear_operator(coupling, grid)
    u, v = rng.standard_normal(matrix.shape[1]), rng.standard_normal(matrix.shape[0])
    np.testing.assert_allclose(free @ u, matrix @ u, atol=1e-12)
    np.testing.assert_allclose(free.H @ v, matrix.T @ v, atol=1e-12)


@ALL
def test_singular_values_are_those_of_the_periodic_matrix(case) -> None:
    coupling = make(case)
    for size in sizes_of(coupling):
        grid = Grid(size)
        weight = blocks_by_definition(coupling)
        dense = np.linalg.svd(dense_by_padding(weight, size, "periodic", coupling.stride))[1]
        found = singular_values(coupling, grid)
        everywhere = np.sort(np.asarray(coupling.symbol(grid).singular_values()).ravel())[::-1]
        # Blocks of a grouped operator that are not square have fewer values: the rest are zeros.
        for values in (found, everywhere):
            assert values.shape[0] <= dense.shape[0]
            padded = np.zeros_like(dense)
            padded[: values.shape[0]] = values
            np.testing.assert_allclose(padded, dense, rtol=0, atol=1e-12 * dense[0])
        # Each pixel meets all taps once: the squares add up (exact sub-sampling, theory §1).
        total = np.prod(size) / coupling.stride**coupling.dimension * (weight**2).sum()
        if all(n >= k for n, k in zip(size, coupling.kernel_shape, strict=True)):
            np.testing.assert_allclose((found**2).sum(), total, rtol=1e-12)


@ALL
def test_eigenvalues_are_those_of_the_periodic_matrix(case) -> None:
    coupling = make(case)
    grid = Grid(sizes_of(coupling)[0])
    if coupling.channels_out != coupling.channels_in or coupling.stride != 1:
        with pytest.raises(InputError, match="as many output as input channels and stride 1"):
            eigenvalues(coupling, grid)
        return
    for size in sizes_of(coupling):
        weight = blocks_by_definition(coupling)
        dense = np.linalg.eigvals(dense_by_padding(weight, size, "periodic"))
        scale = 1e-9 * np.abs(dense).max()
        assert distance_of_multisets(eigenvalues(coupling, Grid(size)), dense) < scale
        everywhere = np.ravel(coupling.symbol(Grid(size)).eigenvalues())
        assert distance_of_multisets(everywhere, dense) < scale


@ALL
def test_symbol_is_the_sum_over_the_taps(case) -> None:
    """Every frequency, on the grid or off it, up to a unitary change of the channels' basis."""
    coupling = make(case)
    frequencies = np.random.default_rng(2).uniform(-4, 4, (5, coupling.dimension))
    found = coupling.symbol_at(frequencies)
    for f, frequency in enumerate(frequencies):
        weight = blocks_by_definition(coupling)
        expected = strided_symbol_by_sum(weight, frequency, coupling.stride)
        dense = np.linalg.svd(expected, compute_uv=False)
        values = np.sort(np.asarray(found.singular_values())[f])[::-1]
        np.testing.assert_allclose(values, dense[: len(values)], atol=1e-12 * dense[0])
        np.testing.assert_allclose(np.asarray(found.norms())[f], dense[0], rtol=1e-12)
        # Blocks in order of the channels say more than their values.
        blocks = np.asarray(found.blocks())[f]
        if coupling.stride == 1 and not isinstance(coupling, Circulant):
            rows, columns = blocks.shape[1:]
            for g, block in enumerate(blocks):
                part = expected[g * rows : (g + 1) * rows, g * columns : (g + 1) * columns]
                np.testing.assert_allclose(block, part, atol=1e-12)


@ALL
def test_threshold_test_of_the_gram_matrices_agrees_with_the_norms(case) -> None:
    coupling = make(case)
    frequencies = np.random.default_rng(3).uniform(0, 6, (4, coupling.dimension))
    norms = np.asarray(coupling.symbol_at(frequencies).norms())
    negatives = coupling.gram().at(frequencies, -1.0)
    assert definite(negatives, norms * (1 + 1e-9)).all()
    assert not definite(negatives, norms * (1 - 1e-9)).any()
    mixed = norms * np.array([0.5, 2.0, 0.5, 2.0])
    np.testing.assert_array_equal(definite(negatives, mixed), [False, True, False, True])


@UNSTRIDED
def test_plane_wave_maps_to_symbol_times_itself(case) -> None:
    coupling = make(case)
    size = sizes_of(coupling)[0]
    grid = Grid(size)
    matrix = coupling.to_dense(grid)
    x = np.indices(size).reshape(len(size), -1)
    v = np.random.default_rng(4).standard_normal(coupling.channels_in)
    for frequency in grid.frequencies()[1::3]:
        wave = np.exp(1j * frequency @ x)
        image = (matrix @ np.outer(v, wave).ravel()).reshape(coupling.channels_out, -1)
        symbol = symbol_by_sum(blocks_by_definition(coupling), frequency)
        np.testing.assert_allclose(image, np.outer(symbol @ v, wave), atol=1e-11)


def test_fine_wave_through_a_strided_operator() -> None:
    """Columns of the strided symbol belong to ``w + 2 pi j / s`` in row-major order of ``j``."""
    size, stride = (4, 6), 2
    coupling = Full(np.random.default_rng(5).standard_normal((3, 2, 3, 3)), stride=stride)
    matrix = coupling.to_dense(Grid(size))
    x = np.indices(size).reshape(2, -1)
    coarse = np.indices((2, 3)).reshape(2, -1)
    v = np.array([0.3, -1.2])
    frequency = 2 * np.pi * np.array([1 / 4, 2 / 6])
    block = np.asarray(coupling.symbol_at(frequency[None]).blocks())[0, 0]
    for j, shift in enumerate(itertools.product(range(2), repeat=2)):
        fine = frequency + np.pi * np.array(shift)
        image = (matrix @ np.outer(v, np.exp(1j * fine @ x)).ravel()).reshape(3, -1)
        # s^(d/2) undoes the unit length of a wave on the fine and the coarse grid.
        expected = stride * block[:, 2 * j : 2 * j + 2] @ v
        folded = np.exp(1j * stride * frequency @ coarse)
        np.testing.assert_allclose(image, np.outer(expected, folded), atol=1e-12)


@UNSTRIDED
@pytest.mark.parametrize("boundary", ["replicate", "reflect"])
def test_axis_even_stencils_are_diagonalised_by_a_cosine_transform(case, boundary: str) -> None:
    coupling = make(case, even=True)
    assert coupling.axis_even()
    weight = blocks_by_definition(coupling)
    reach = max(coupling.radius)
    if boundary == "replicate" and reach > 1:
        assert not coupling.has_cosine_transform(boundary)
        with pytest.raises(InputError, match="at most 3 taps an axis"):
            singular_values(coupling, Grid((6,) * coupling.dimension, boundary=boundary))
        return
    assert coupling.has_cosine_transform(boundary)
    for size in sizes_of(coupling):
        size = tuple(max(n, r + 1) for n, r in zip(size, coupling.radius, strict=True))
        grid = Grid(size, boundary=boundary)
        matrix = dense_by_padding(weight, size, boundary)
        # Waves that reflect about the edge between pixels (DCT-II) or about the edge pixel (DCT-I).
        centre = 0.5 if boundary == "replicate" else 0.0
        x = np.indices(size).reshape(len(size), -1) + centre
        v = np.random.default_rng(6).standard_normal(coupling.channels_in)
        for frequency in grid.frequencies()[::4]:
            wave = np.cos(frequency[:, None] * x).prod(axis=0)
            image = (matrix @ np.outer(v, wave).ravel()).reshape(coupling.channels_out, -1)
            symbol = symbol_by_sum(weight, frequency)
            np.testing.assert_allclose(image, np.outer(symbol @ v, wave), atol=1e-11)
        if boundary == "replicate":
            dense = np.linalg.svd(matrix, compute_uv=False)
            values = singular_values(coupling, grid)
            assert values.shape[0] <= dense.shape[0]
            padded = np.append(values, np.zeros(dense.shape[0] - values.shape[0]))
            np.testing.assert_allclose(padded, dense, atol=1e-12 * dense[0])
        else:
            with pytest.raises(InputError, match="not a normal matrix"):
                singular_values(coupling, grid)
        if coupling.channels_out == coupling.channels_in:
            dense = np.linalg.eigvals(matrix)
            found = eigenvalues(coupling, grid)
            # Multiple eigenvalues of a matrix that is not normal are only found to its root.
            assert distance_of_multisets(found, dense) < 1e-6 * np.abs(dense).max()


def test_stencils_that_no_cosine_transform_diagonalises_are_refused() -> None:
    d_xy = np.outer([-0.5, 0, 0.5], [-0.5, 0, 0.5])  # even in both axes at once, not in each
    assert np.array_equal(d_xy, d_xy[::-1, ::-1])
    assert not Depthwise(d_xy[None]).axis_even()
    even = np.array([[1.0, -2.0, 1.0]])
    for coupling in (Depthwise(d_xy[None]), Depthwise(np.outer(even, even)[None], stride=2)):
        for boundary in ("replicate", "reflect"):
            with pytest.raises(InputError, match="even in each axis and stride 1"):
                coupling.symbol(Grid((4, 4), boundary=boundary))
    with pytest.raises(InputError, match="a transform diagonalises"):
        singular_values(Depthwise(even), Grid((4,), boundary="zeros"))
    with pytest.raises(InputError, match="at least 2 pixels"):
        eigenvalues(Depthwise(even), Grid((1,), boundary="reflect"))


def test_the_boundary_of_long_stencils_is_not_half_sample_symmetric() -> None:
    """Even and five taps: replicate exceeds what a DCT-II would give."""
    coupling = Depthwise(np.array([[1.0, -2.0, 3.0, -2.0, 1.0]]))
    matrix = dense_by_padding(coupling.dense_weight(), (7,), "replicate")
    symbol = [
        symbol_by_sum(coupling.dense_weight(), np.array([w]))[0, 0]
        for w in np.pi * np.arange(7) / 7
    ]
    assert np.linalg.norm(matrix, 2) > 1.01 * np.abs(symbol).max()


NINE, FIVE = 9, 5


@pytest.mark.parametrize("taps", [NINE, FIVE])
@pytest.mark.parametrize(
    ("kind", "channels", "count"),
    [
        ("full", (6, 6), lambda t: t * 36),
        ("depthwise", (6, 6), lambda t: t * 6),
        ("pointwise", (6, 6), lambda _: 36),
        ("lean", (6, 6), lambda t: 36 + (t - 1) * 6),
        ("circulant", (6, 6), lambda t: t * 6),
        ("grouped", (6, 6), lambda t: t * 36 // 2),
        ("full", (4, 6), lambda t: t * 24),
        ("pointwise", (4, 6), lambda _: 24),
        ("lean", (4, 6), lambda t: 24 + (t - 1) * 4),
        ("circulant", (4, 6), lambda t: t * 6),
        ("grouped", (4, 6), lambda t: t * 12),
    ],
)
def test_numbers_of_weights_are_those_of_the_table(kind, channels, count, taps: int) -> None:
    five = taps == FIVE
    rng = np.random.default_rng(0)
    if kind == "pointwise" and five:
        return  # one tap has no corners
    coupling = random_coupling(kind, channels, (3, 3), rng, five_point=five)
    assert coupling.weights == count(taps)
    free = np.unique(coupling.dense_weight())
    assert np.count_nonzero(free) == coupling.weights, "every weight is there, and free"
    # Circulant is applied through its dense weight: as dear as full.
    operations = taps * channels[0] * channels[1] if kind == "circulant" else coupling.weights
    assert coupling.multiply_adds_per_pixel == operations


@ALL
def test_rows_are_scaled(case) -> None:
    coupling = make(case)
    scale = np.random.default_rng(7).uniform(-1, 2, coupling.channels_out)
    scaled = coupling.scale_rows(scale)
    expected = scale.reshape(-1, *(1,) * (coupling.dimension + 1)) * coupling.dense_weight()
    np.testing.assert_allclose(scaled.dense_weight(), expected, rtol=1e-15)
    assert (scaled.stride, scaled.five_point) == (coupling.stride, coupling.five_point)
    assert isinstance(scaled, Full if case[0] == "circulant" else type(coupling))
    grid = Grid(EVEN_SIZES[coupling.dimension][0] if coupling.stride < 3 else (3, 3))
    if all(n >= r for n, r in zip(grid.shape, coupling.radius, strict=True)):
        dense = np.linalg.norm(scaled.to_dense(grid), 2)
        np.testing.assert_allclose(singular_values(scaled, grid)[0], dense, rtol=1e-12)
    for wrong in (scale[:-1], np.append(scale, 1.0), scale[:, None], scale[:1][:0]):
        with pytest.raises(InputError, match="a scale of shape"):
            coupling.scale_rows(wrong)


@ALL
def test_double_and_times_keep_the_structure(case) -> None:
    coupling = make(case)
    twice = coupling.times(-2.0)
    assert type(twice) is type(coupling)
    np.testing.assert_array_equal(twice.dense_weight(), -2 * coupling.dense_weight())
    np.testing.assert_array_equal(coupling.double().dense_weight(), coupling.dense_weight())
    assert coupling.largest_weight() == np.abs(coupling.dense_weight()).max()


def test_stacked_operators_are_the_rows_of_both() -> None:
    rng = np.random.default_rng(8)
    parts = (
        random_coupling("depthwise", (3, 3), (3, 3), rng),
        random_coupling("pointwise", (2, 3), (3, 3), rng),
        random_coupling("circulant", (4, 3), (1, 5), rng),
        random_coupling("lean", (2, 3), (3, 3), rng, five_point=True),
    )
    stack = Stacked(parts)
    assert stack.kernel_shape == (3, 5)
    assert (stack.channels_out, stack.channels_in) == (11, 3)
    assert stack.weights == sum(part.weights for part in parts)
    operations = sum(part.multiply_adds_per_pixel for part in parts)
    assert stack.multiply_adds_per_pixel == operations
    for boundary, size in itertools.product(BOUNDARIES, ((4, 5), (5, 6))):
        grid = Grid(size, boundary=boundary)
        below = [dense_by_padding(blocks_by_definition(part), size, boundary) for part in parts]
        np.testing.assert_allclose(stack.to_dense(grid), np.vstack(below), atol=1e-13)
    dense = np.linalg.svd(stack.to_dense(Grid((5, 6))), compute_uv=False)
    np.testing.assert_allclose(singular_values(stack, Grid((5, 6))), dense, atol=1e-12)
    scale = rng.uniform(0, 2, 11)
    scaled = stack.scale_rows(scale)
    expected = scale[:, None, None, None] * stack.dense_weight()
    np.testing.assert_allclose(scaled.dense_weight(), expected, rtol=1e-14)
    np.testing.assert_allclose(stack.times(3.0).dense_weight(), 3 * stack.dense_weight())
    for wrong in (scale[:-1], np.append(scale, 1.0)):
        with pytest.raises(InputError, match="a scale of shape"):
            stack.scale_rows(wrong)


def test_a_stack_is_even_only_where_all_parts_are() -> None:
    even, odd = np.array([[[1.0, 2.0, 1.0]]]), np.array([[[1.0, 2.0, 0.0]]])
    assert Stacked((Full(even), Full(even))).axis_even()
    for parts in ((Full(even), Full(odd)), (Full(odd), Full(even))):
        assert not Stacked(parts).axis_even()
        with pytest.raises(InputError, match="even in each axis"):
            singular_values(Stacked(parts), Grid((4,), boundary="replicate"))


def test_stacks_that_do_not_fit_are_refused() -> None:
    one = Depthwise(np.ones((2, 3, 3)))
    others = (
        (),
        (one, Depthwise(np.ones((3, 3, 3)))),
        (one, Depthwise(np.ones((2, 3)))),
        (one, Depthwise(np.ones((2, 3, 3)), stride=2)),
    )
    for parts in others:
        with pytest.raises(
            InputError, match="operators with the same input, stride 1 and dilation 1"
        ):
            Stacked(parts)


def test_circulant_couples_by_the_difference_of_channels() -> None:
    np.testing.assert_array_equal(circulant_index(2, 3), [[0, 2, 1], [1, 0, 2]])
    shift = np.zeros((3, 1))
    shift[1] = 1.0  # block (o, i) is one where o = i + 1: a cyclic shift of the channels
    np.testing.assert_array_equal(
        Circulant(shift).dense_weight()[..., 0], [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    )


def test_table_holds_all_couplings_by_name() -> None:
    assert list(COUPLINGS) == ["full", "depthwise", "pointwise", "lean", "circulant", "grouped"]
    assert all(kind.name == name for name, kind in COUPLINGS.items())


def test_integer_weights_are_computed_in_double_precision() -> None:
    exact = singular_values(Depthwise(np.array([[1, -2, 1]])), Grid((5,)))
    assert exact.dtype == np.float64
    reference = singular_values(Depthwise(np.array([[1.0, -2.0, 1.0]])), Grid((5,)))
    np.testing.assert_array_equal(exact, reference)
    single = singular_values(Depthwise(np.array([[1, -2, 1]], dtype=np.float32)), Grid((5,)))
    assert single.dtype == np.float32


def test_reference_transform_is_the_symbol() -> None:
    """The references agree with one another: transform and sum over the taps."""
    weight = np.random.default_rng(9).standard_normal((2, 3, 3, 5))
    values = symbols_by_fft(weight, (6, 8), 2)
    for a, b in itertools.product(range(6), range(8)):
        frequency = 2 * np.pi * np.array([a / 6, b / 8])
        np.testing.assert_allclose(values[a, b], strided_symbol_by_sum(weight, frequency, 2))


BAD = [
    (lambda: Full(np.ones((2, 2))), "weights of 2 channel and 1 to 3 spatial axes"),
    (lambda: Full(np.ones((2, 2, 3, 3, 3, 3))), "1 to 3 spatial axes"),
    (lambda: Full(np.ones((2, 2, 2, 3))), "an odd number of taps an axis, got \\(2, 3\\)"),
    (lambda: Full(np.ones((0, 2, 3, 3))), "at least one channel and one tap"),
    (lambda: Full(np.ones((2, 2, 0))), "at least one channel and one tap"),
    (lambda: Full(np.ones((2, 2, 3, 3)) * 1j), "real weights, got weights of type complex128"),
    (lambda: Full(np.ones((2, 2, 3, 3)), stride=0), "a whole stride of at least 1, got 0"),
    (lambda: Full(np.ones((2, 2, 3, 3)), stride=-2), "a whole stride of at least 1, got -2"),
    (lambda: Full(np.ones((2, 2, 3, 3)), stride=1.5), "a whole stride of at least 1, got 1.5"),
    (lambda: Full(np.ones((2, 2, 3, 3)), stride=(2, 2)), "a whole stride of at least 1"),
    (lambda: Full(np.ones((2, 2, 3, 3)), five_point=True), "zero corners in a five-point stencil"),
    (lambda: Depthwise(np.ones(3)), "stencils of 1 channel"),
    (lambda: Depthwise(np.ones((2, 4))), "an odd number of taps"),
    (lambda: Pointwise(np.ones((2, 2, 1, 1))), "a matrix \\(c_out, c_in\\)"),
    (lambda: Pointwise(np.ones((2, 0))), "at least one channel"),
    (lambda: Pointwise(np.ones((2, 2)), spatial_axes=0), "1 to 3 spatial axes"),
    (lambda: Pointwise(np.ones((2, 2)), spatial_axes=4), "1 to 3 spatial axes"),
    (lambda: Lean(np.ones((2, 2)), np.zeros((3, 3, 3))), "min\\(c_out, c_in\\) stencils"),
    (lambda: Lean(np.ones((3, 2)), np.zeros((3, 3, 3))), "min\\(c_out, c_in\\) stencils"),
    (lambda: Lean(np.ones(2), np.zeros((2, 3, 3))), "min\\(c_out, c_in\\) stencils"),
    (lambda: Lean(np.ones((2, 2)), np.ones((2, 3, 3))), "stencils with a zero centre"),
    (lambda: Lean(np.ones((2, 2)), np.zeros((2, 2, 2))), "an odd number of taps"),
    (lambda: Circulant(np.ones((3, 3)), shape=(2, 2)), "max\\(c_out, c_in\\) stencils"),
    (lambda: Circulant(np.ones((3, 3)), shape=(4, 3)), "max\\(c_out, c_in\\) stencils"),
    (lambda: Circulant(np.ones((3, 3)), shape=(3, 0)), "max\\(c_out, c_in\\) stencils"),
    (lambda: Grouped(np.ones((4, 2, 3, 3)), groups=3), "a number of groups that divides"),
    (lambda: Grouped(np.ones((4, 2, 3, 3)), groups=0), "a number of groups that divides"),
    (lambda: Grouped(np.ones((4, 2, 3, 3)), groups=-2), "a number of groups that divides"),
]


@pytest.mark.parametrize(("build", "part"), BAD)
def test_weights_that_do_not_fit_are_refused(build, part: str) -> None:
    with pytest.raises(InputError, match=part) as raised:
        build()
    message = str(raised.value)
    assert message.startswith("expected ") and ", got " in message and "; " in message
    assert "\n" not in message


@pytest.mark.parametrize("kind", COUPLINGS)
def test_grids_and_frequencies_that_do_not_fit_are_refused(kind: str) -> None:
    coupling = random_coupling(kind, (2, 2), (3, 3), np.random.default_rng(0))
    for use in (coupling.symbol, coupling.to_dense, coupling.to_sparse, coupling.shift_matrices):
        with pytest.raises(InputError, match="a grid of 2 axes, got \\(4,\\)"):
            use(Grid((4,)))
    for wrong in (np.zeros((5, 1)), np.zeros(2), np.zeros((5, 3))):
        with pytest.raises(InputError, match="frequencies of shape"):
            coupling.symbol_at(wrong)
    strided = random_coupling(kind, (2, 2), (3, 3), np.random.default_rng(0), stride=2)
    with pytest.raises(InputError, match="a grid that stride 2 divides, got \\(4, 5\\)"):
        singular_values(strided, Grid((4, 5)))
