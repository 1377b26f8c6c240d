"""Searches on grids and of many layers, transposed and dilated operators, distributions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis import grid_search
from analysis.certificates import certified_norm, certified_norms
from analysis.couplings import COUPLINGS, Circulant, Depthwise, Full
from analysis.distribution import estimate_singular_values, kolmogorov_distance
from analysis.errors import InputError
from analysis.grid import Grid
from analysis.search import definite, finish_together, search_supremum
from analysis.spectra import eigenvalues, norm, singular_values, symbol_values
from analysis.transposed import Transposed
from tests.analysis.references import random_coupling

SIZES = [(7,), (64,), (12, 12), (24, 18), (17, 32), (6, 4, 8)]


def largest_by_all_frequencies(coupling, grid: Grid) -> float:
    values = coupling.symbol(grid).singular_values()
    return float(values.max())


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", COUPLINGS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_norm_on_a_grid_is_the_largest_of_all_frequencies(kind, size, stride, monkeypatch) -> None:
    monkeypatch.setattr(grid_search, "_FEW", 3)
    size = tuple(stride * n for n in size)
    for seed in range(3):
        rng = np.random.default_rng([seed, len(size)])
        channels = (4, 4) if kind in ("grouped", "depthwise") else (3, 4)
        coupling = random_coupling(kind, channels, (3,) * len(size), rng, stride=stride)
        found = norm(coupling, Grid(size))
        expected = largest_by_all_frequencies(coupling, Grid(size))
        assert found.lower == pytest.approx(expected, rel=1e-12)
        assert found.lower <= found.upper <= found.lower * (1 + 1e-9)


def least_excess(factor: float) -> float:
    """Least ``||K^(w + t)|| - bound(||K^(w)||, f m.|t|)`` over the norm, of several kinds."""
    least = np.inf
    for seed in range(60):
        rng = np.random.default_rng([9, seed])
        kind, shape = ("full", "lean", "depthwise")[seed % 3], [(3,), (5,), (3, 3)][seed % 4 % 3]
        coupling = random_coupling(kind, (2, 2), shape, rng)
        if seed % 2:  # waves along the diagonal, next to which nothing falls faster
            wave = np.zeros(shape)
            wave[(0,) * len(shape)], wave[(-1,) * len(shape)] = 1.0, rng.choice([-1, 1])
            coupling = Depthwise(np.stack([wave, wave]))
        bound = certified_norm(coupling, relative_width=1e-6).upper
        places = rng.uniform(-np.pi, np.pi, (200, len(shape)))
        away = rng.uniform(-0.8, 0.8, places.shape)
        angle = np.abs(away) @ np.array(coupling.radius)
        norms, there = (coupling.symbol_at(w).norms() for w in (places, places + away))
        for norm_here, a, found in zip(norms, angle, there, strict=True):
            least_there = grid_search._least_norm(
                bound, norm_here, np.array(factor * a), coupling.oscillation()
            )
            least = min(least, float(found - least_there) / bound)
    return least


def test_norm_next_to_a_frequency_is_at_least_the_bound() -> None:
    assert -1e-9 < least_excess(1.0) < 0.02
    assert least_excess(0.7) < -0.05


def test_replicated_grids_are_searched_too() -> None:
    rng = np.random.default_rng(1)
    coupling = random_coupling("full", (4, 4), (3, 3), rng, even=True)
    grid = Grid((20, 14), boundary="replicate")
    dense = np.linalg.norm(coupling.to_dense(grid), 2)
    assert norm(coupling, grid).lower == pytest.approx(dense, rel=1e-12)


def test_many_layers_are_certified_as_each_alone() -> None:
    rng = np.random.default_rng(2)
    layers = [random_coupling(kind, (4, 4), (3, 3), rng) for kind in COUPLINGS]
    layers.append(layers[0].times(0.0))
    scalings = [None, rng.uniform(0, 2, 4)] * 3 + [None]
    together = certified_norms(layers, row_scalings=scalings, relative_width=1e-3)
    for layer, scaling, found in zip(layers, scalings, together, strict=True):
        alone = certified_norm(layer, row_scaling=scaling, relative_width=1e-3)
        assert (found.lower, found.upper, found.cells) == (alone.lower, alone.upper, alone.cells)
    assert certified_norms([]) == []
    with pytest.raises(ValueError, match="zip"):
        certified_norms(layers, row_scalings=[None])


def test_searches_in_step_are_searches_alone() -> None:
    rng = np.random.default_rng(3)
    layers = [random_coupling("full", (c, c), (3, 3), rng) for c in (3, 5, 3, 2)]
    searches = [search_supremum(layer, 1e-3) for layer in layers]
    for layer, found in zip(layers, finish_together(searches), strict=True):
        alone = certified_norm(layer, relative_width=1e-3)
        assert found.peak.value == pytest.approx(alone.lower, rel=1e-12)
        assert found.cells == alone.cells
        # What the search leaves behind: places whose norm reaches the estimate.
        norms = layer.symbol_at(found.places).norms()
        assert (found.estimates <= norms * (1 + 1e-9)).all()


def test_definite_is_proof_of_every_group() -> None:
    stencils = Depthwise(np.array([[0.0, 1.0, 0.0], [0.0, 3.0, 0.0]]))
    negatives = stencils.gram().at(np.zeros((3, 1)), -1.0)
    np.testing.assert_array_equal(definite(negatives, np.array([2.0, 3.1, 0.5])), [0, 1, 0])


@pytest.mark.parametrize("kind", COUPLINGS)
@pytest.mark.parametrize(("dilation", "stride"), [(2, 1), (3, 1), (2, 2)])
def test_dilated_operators_are_matrices_with_gaps(kind, dilation: int, stride: int) -> None:
    """Against dense matrices of the same stencils with zeros between their taps."""
    rng = np.random.default_rng(4)
    channels = (4, 4) if kind in ("grouped", "depthwise") else (3, 4)
    plain = random_coupling(kind, channels, (3, 3), rng, stride=stride)
    dilated = replace(plain, dilation=dilation)
    grid = Grid((4 * stride, 6 * stride))
    weight = np.asarray(plain.dense_weight())
    wide = tuple(dilation * (k - 1) + 1 for k in weight.shape[2:])
    gaps = np.zeros((*weight.shape[:2], *wide))
    gaps[:, :, ::dilation, ::dilation] = weight
    for boundary in ("periodic", "zeros"):
        there = replace(grid, boundary=boundary)
        if min(grid.shape) >= 2 * dilation:
            expected = Full(gaps, stride=stride).to_dense(there)
            np.testing.assert_allclose(dilated.to_dense(there), expected, atol=1e-14)
    dense = np.linalg.svd(dilated.to_dense(grid), compute_uv=False)
    found = singular_values(dilated, grid)
    np.testing.assert_allclose(found, dense[: len(found)], atol=1e-11)
    bound = certified_norm(dilated, relative_width=1e-3)
    other = certified_norm(Full(gaps, stride=stride), relative_width=1e-3)
    assert bound.lower <= other.upper and other.lower <= bound.upper
    attained = dilated.symbol_at(bound.frequency[None, :]).norms()[0]
    assert attained == pytest.approx(bound.lower, rel=1e-12)
    assert norm(dilated, replace(grid, boundary="zeros")).lower <= bound.upper


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kind", ["full", "depthwise", "lean", "circulant"])
def test_transposed_operators(kind: str, stride: int) -> None:
    rng = np.random.default_rng(5)
    channels = (3, 3) if kind == "depthwise" else (4, 2)
    operator = random_coupling(kind, channels, (3, 3), rng, stride=stride)
    up, grid = Transposed(operator), Grid((4, 3))
    assert (up.channels_out, up.channels_in) == (operator.channels_in, operator.channels_out)
    for boundary in ("periodic", "zeros", "reflect"):
        there = Grid(grid.shape, boundary=boundary)
        dense = up.to_sparse(there).toarray()
        assert dense.shape[0] == up.output_grid(there).size * up.channels_out
        interval = norm(up, there)
        true = np.linalg.norm(dense, 2)
        assert interval.lower * (1 - 1e-9) <= true <= interval.upper * (1 + 1e-12)
        if boundary == "periodic":
            found, expected = singular_values(up, there), np.linalg.svd(dense, compute_uv=False)
            np.testing.assert_allclose(found, expected[: len(found)], atol=1e-11)
            assert interval.exact
    bound = certified_norm(up)
    symbol = operator.symbol_at(bound.frequency[None, :])
    assert symbol.norms()[0] == pytest.approx(bound.lower, rel=1e-12)
    assert len(bound.right) == up.channels_in and len(bound.left) == stride**2 * up.channels_out
    with pytest.raises(InputError, match="without row scaling, got one; scale the weights"):
        certified_norm(up, row_scaling=np.ones(up.channels_out))


def test_eigenvalues_of_the_transposed_operator() -> None:
    coupling = random_coupling("full", (2, 2), (3, 3), np.random.default_rng(6))
    grid = Grid((4, 5))
    found = np.sort_complex(np.round(eigenvalues(Transposed(coupling), grid), 9))
    dense = np.linalg.eigvals(Transposed(coupling).to_sparse(grid).toarray())
    np.testing.assert_allclose(found, np.sort_complex(np.round(dense, 9)), atol=1e-8)


@pytest.mark.parametrize("accuracy", ["values", "norm"])
@pytest.mark.parametrize("single", [False, True])
def test_accuracy_is_what_it_says(accuracy: str, single: bool) -> None:
    """Singular values from one to 1e-9 of the norm, some of them zero."""
    rng = np.random.default_rng(7)
    left, right = (np.linalg.qr(rng.standard_normal((20, 20)))[0] for _ in range(2))
    scales = np.append(np.logspace(0, -9, 19), 0.0)
    weight = np.einsum("ij,j,jk->ik", left, scales, right)[:, :, None, None] * np.array(
        [[0.1, 0.2, 0.1], [0.2, 1.0, 0.2], [0.1, 0.2, 0.1]]
    )
    grid = Grid((8, 6))
    operator = Full(weight.astype(np.float32) if single else weight)
    truth = np.linalg.svd(operator.to_dense(grid), compute_uv=False)
    found = np.asarray(singular_values(operator, grid, accuracy=accuracy), dtype=float)
    error = np.abs(found - truth) / truth[0]
    large = truth > 1e-3 * truth[0]
    # float32 results are rounded to float32; its Gram matrices lose half of the digits.
    assert error[large].max() < ({"values": 1e-7, "norm": 1e-4}[accuracy] if single else 1e-12)
    small = {"values": 1e-7, "norm": 2e-3} if single else {"values": 1e-12, "norm": 2e-7}
    assert error.max() < small[accuracy]
    if accuracy == "norm":
        assert error.max() > 1e-12, "the small ones are worse, which is why there is a choice"


def test_an_unknown_accuracy_is_refused() -> None:
    with pytest.raises(InputError, match="an accuracy out of values, norm, got 'best'"):
        singular_values(Depthwise(np.ones((1, 3))), Grid((4,)), accuracy="best")


@pytest.mark.parametrize("size", [(5,), (6, 7), (8, 8), (3, 4, 5)])
@pytest.mark.parametrize("kind", COUPLINGS)
def test_frequency_by_frequency_values_are_all_values(kind: str, size) -> None:
    rng = np.random.default_rng(8)
    coupling = random_coupling(kind, (4, 4), (3,) * len(size), rng)
    found = symbol_values(coupling, Grid(size))
    assert found.multiplicity.sum() == np.prod(size)
    repeated = np.repeat(found.values, found.multiplicity, axis=0)
    everywhere = coupling.symbol(Grid(size)).singular_values()
    np.testing.assert_allclose(np.sort(repeated.ravel()), np.sort(everywhere.ravel()), atol=1e-11)
    np.testing.assert_allclose(found.sorted(), np.sort(everywhere.ravel())[::-1], atol=1e-11)


def test_distribution_of_few_frequencies() -> None:
    rng = np.random.default_rng(9)
    for coupling in (
        random_coupling("full", (8, 8), (3, 3), rng),
        Depthwise(rng.standard_normal((5, 3, 3))),
        Circulant(rng.standard_normal((6, 3, 3)), stride=2),
    ):
        grid = Grid((192, 192))
        found = estimate_singular_values(coupling, grid)
        full = singular_values(coupling, grid)
        assert np.prod(found.shape) < 0.5 * np.prod(coupling.output_grid(grid).shape)
        assert found.distance <= 0.01
        assert kolmogorov_distance(found.values, full) <= 0.01
        for p in (1, 2):  # moments are exact
            assert np.mean(found.values ** (2 * p)) == pytest.approx(np.mean(full ** (2 * p)))
        assert "no bound" in found.statement
    small = estimate_singular_values(coupling, Grid((10, 12)), tolerance=1e-9)
    assert small.shape == (5, 6) and small.distance == 0
    np.testing.assert_allclose(small.values[::-1], singular_values(coupling, Grid((10, 12))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": Grid((8,), boundary="zeros")}, "a periodic grid, got zeros"),
        ({"tolerance": 0.0}, "a tolerance between 0 and 1, got 0.0; pass 0.01"),
        ({"tolerance": float("nan")}, "a tolerance"),
        ({"coupling": Depthwise(np.array([[np.nan, 1, 1]]))}, "finite weights"),
    ],
)
def test_distributions_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    asked = {"coupling": Depthwise(np.ones((1, 3))), "grid": Grid((8,)), "tolerance": 0.1} | options
    with pytest.raises(InputError, match=message):
        estimate_singular_values(asked["coupling"], asked["grid"], tolerance=asked["tolerance"])
