"""Products of layers that differ, their variation and the joint spectral radius."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.sparse.linalg import aslinearoperator

from analysis.errors import InputError
from analysis.hamiltonian import verlet_layers
from analysis.joint_radius import joint_spectral_radius
from analysis.products import product_growth, time_variation

GOLDEN = (1 + math.sqrt(5)) / 2
U = np.array([[0.5, 2.0], [0.0, 0.5]])
SEEDS = range(6)


def norm(matrix: np.ndarray) -> float:
    return float(np.linalg.norm(matrix, 2))


def radius(matrix: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max())


# Products


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("free", [False, True])
def test_partial_products_are_those_of_dense_matrices(seed: int, free: bool) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(70, 75, 6) if free else rng.integers(2, 6, 6)
    steps = [rng.standard_normal((a, b)) for b, a in itertools.pairwise(sizes)]
    expected = [norm(np.linalg.multi_dot([*steps[k::-1]]) if k else steps[0]) for k in range(5)]
    found = product_growth([aslinearoperator(step) for step in steps] if free else steps)
    assert found.exact != free
    assert np.allclose(np.exp(found.log_norms), expected, rtol=1e-6 if free else 1e-12)
    if free:
        assert np.all(np.exp(found.log_norms) <= np.array(expected) * (1 + 1e-12))
    assert found.norm == pytest.approx(expected[-1], rel=1e-6)
    assert found.per_layer == pytest.approx(expected[-1] ** (1 / 5), rel=1e-6)


def test_the_largest_partial_product_can_be_in_the_middle() -> None:
    found = product_growth([np.diag([3.0, 1.0]), np.diag([2.0, 1.0]), np.diag([0.1, 1.0])])
    assert found.largest == pytest.approx(6.0)
    assert found.largest_after == 2
    assert found.norm == pytest.approx(1.0)


def test_deep_chains_neither_overflow_nor_vanish() -> None:
    grown = product_growth([3 * np.eye(2)] * 1000)
    assert grown.norm == math.inf
    assert grown.per_layer == pytest.approx(3.0)
    assert grown.log_norms[-1] == pytest.approx(1000 * math.log(3.0))
    fallen = product_growth([np.eye(2) / 3] * 1000)
    assert fallen.per_layer == pytest.approx(1 / 3)
    nothing = product_growth([np.array([[0.0, 1.0], [0.0, 0.0]])] * 3)
    assert nothing.norm == 0.0
    assert np.array_equal(np.isinf(nothing.log_norms), [False, True, True])
    large = [aslinearoperator(np.zeros((70, 70)))] * 2
    assert product_growth(large).norm == 0.0


def test_the_products_of_theory_4_7() -> None:
    """``U U^T`` is symmetric: 4.486 is its norm and its radius; a layer alone has radius 0.5."""
    assert (
        product_growth([U.T, U]).norm
        == pytest.approx(radius(U @ U.T))
        == pytest.approx(4.486, abs=5e-4)
    )
    assert (
        product_growth([U, U.T]).norm
        == pytest.approx(norm(U.T @ U))
        == pytest.approx(4.486, abs=5e-4)
    )
    # The same layer again and again decays in the end.
    assert product_growth([U] * 30).norm < 1e-6


def test_alternating_verlet_layers_grow_by_the_golden_ratio_a_layer() -> None:
    layers = list(verlet_layers([1.0, 3.0] * 60))
    found = product_growth(layers)
    slope = (found.log_norms[-1] - found.log_norms[59]) / 60
    assert math.exp(slope) == pytest.approx(GOLDEN, rel=1e-9)
    assert product_growth(list(verlet_layers([1.0] * 120))).norm < 2
    assert product_growth(list(verlet_layers([3.0] * 120))).norm < 4


def test_chains_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="at least one step"):
        product_growth([])
    with pytest.raises(InputError, match="a step of 3 inputs"):
        product_growth([np.ones((3, 2)), np.ones((2, 2))])
    with pytest.raises(InputError, match="equal shape"):
        time_variation([np.eye(2), np.eye(3)])


# Variation in time


def test_variation_of_shared_rough_and_smooth_layers() -> None:
    rng = np.random.default_rng(0)
    K = rng.standard_normal((4, 4))
    assert time_variation([K] * 5).largest == 0.0
    assert time_variation([K, -K]).largest == pytest.approx(2.0)
    assert time_variation([np.zeros((2, 2))] * 3).total == 0.0
    assert time_variation([K]).total == time_variation([K]).largest == 0.0
    other = rng.standard_normal((4, 4))
    expected = norm(other - K) / max(norm(K), norm(other))
    assert time_variation([K, other]).steps == pytest.approx([expected])
    for pair in ([1.0, 3.0], [3.0, 1.0]):  # of the larger one, in both directions
        assert time_variation([a * K for a in pair]).steps == pytest.approx([2 / 3])
    free = [aslinearoperator(rng.standard_normal((70, 70))) for _ in range(2)]
    dense = [operator @ np.eye(70) for operator in free]
    assert time_variation(free).steps == pytest.approx(time_variation(dense).steps, rel=1e-6)

    def smooth(count: int) -> list[np.ndarray]:
        return [K + t * other for t in np.linspace(0, 1, count)]

    coarse, fine = time_variation(smooth(21)), time_variation(smooth(41))
    assert coarse.largest / fine.largest == pytest.approx(2, rel=0.05)
    assert coarse.total == pytest.approx(fine.total, rel=0.05)


# The joint spectral radius


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bounds_hold_those_of_every_word_multiplied_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = list(rng.standard_normal((rng.integers(1, 4), 3, 3)))
    found = joint_spectral_radius(steps, length=6)
    lowers, uppers = [], []
    for k in range(1, 7):
        products = [
            np.linalg.multi_dot([*word[::-1], np.eye(3)])
            for word in itertools.product(steps, repeat=k)
        ]
        lowers.append(max(map(radius, products)) ** (1 / k))
        uppers.append(max(map(norm, products)) ** (1 / k))
    # Pruned words are at most a thousandth above the lower bound.
    assert max(lowers) / 1.001 <= found.lower <= max(lowers) * (1 + 1e-12)
    assert found.lower <= found.upper
    assert max(lowers) <= found.upper * (1 + 1e-12)
    assert found.upper <= max(min(uppers), found.lower * 1.001) * (1 + 1e-12)
    product = np.linalg.multi_dot([*(steps[j] for j in reversed(found.word)), np.eye(3)])
    assert radius(product) ** (1 / len(found.word)) == pytest.approx(found.lower, rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_upper_bound_is_that_of_the_best_beginning_of_each_word(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((3, 2, 2))
    bounds = []
    for k in range(1, 6):
        sizes = []
        for word in itertools.product(range(3), repeat=k):
            product, begun = np.eye(2), []
            for j in word:
                product = steps[j] @ product
                begun.append(norm(product) ** (1 / (len(begun) + 1)))
            sizes.append(min(begun))
        bounds.append(max(sizes))
    found = joint_spectral_radius(steps, length=5, relative_width=1e-12)
    assert found.upper == pytest.approx(max(min(bounds), found.lower), rel=1e-9)


def test_words_that_were_pruned_stay_within_the_upper_bound() -> None:
    wide = joint_spectral_radius([U, U.T], relative_width=5.0)
    assert wide.lower == pytest.approx(0.5) and wide.length == 1
    assert wide.upper >= math.sqrt(radius(U @ U.T))
    # The first two are pruned at once, although together they grow by 1.4; the third one is
    # continued, and all that begins with it decays.
    A, B = np.zeros((2, 5, 5))
    A[0, 1], B[3, 4] = 1.4, 3.0
    A[2, 2] = B[2, 2] = 0.1
    found = joint_spectral_radius([A, A.T, B], relative_width=13.5)
    assert found.lower == pytest.approx(0.1)
    assert found.length > 1 and found.upper >= math.sqrt(radius(A.T @ A)) - 1e-12


def test_known_joint_radii() -> None:
    layers = verlet_layers([1.0, 3.0])
    found = joint_spectral_radius(layers)
    assert found.word == (0, 1) and found.verdict == "grows"
    assert found.lower == pytest.approx(GOLDEN, rel=1e-12) == pytest.approx(found.upper, rel=1e-12)
    found = joint_spectral_radius([U, U.T])
    assert found.lower == pytest.approx(math.sqrt(radius(U @ U.T))) == pytest.approx(found.upper)
    assert found.lower**2 == pytest.approx(4.486, abs=5e-4)
    assert joint_spectral_radius([U]).lower == pytest.approx(0.5)
    # Two shears whose products are those of continued fractions.
    shears = [np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 1.0]])]
    assert joint_spectral_radius(shears).lower == pytest.approx(GOLDEN)


@pytest.mark.parametrize("seed", SEEDS)
def test_symmetric_layers_are_not_flagged(seed: int) -> None:
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(U)[0]
    layers = [basis @ np.diag([0.5, -0.3]) @ basis.T, 0.5 * np.eye(2)]
    found = joint_spectral_radius(layers)
    assert found.lower == pytest.approx(0.5) == pytest.approx(found.upper, rel=1e-14)
    assert found.verdict == "decays"
    M = rng.standard_normal((4, 5, 5))
    layers = M + M.transpose(0, 2, 1)
    found = joint_spectral_radius(layers)
    assert found.lower == pytest.approx(max(map(radius, layers)), rel=1e-13)
    assert found.lower <= found.upper <= found.lower * (1 + 1e-13)


def test_the_upper_bound_is_above_long_products_of_random_order() -> None:
    rng = np.random.default_rng(1)
    steps = rng.standard_normal((3, 3, 3))
    found = joint_spectral_radius(steps, length=8)
    for _ in range(50):
        order = rng.integers(0, 3, 400)
        assert product_growth(list(steps[order])).per_layer <= found.upper * 1.02
    worst = list(steps[list(found.word)]) * 100
    assert product_growth(worst).per_layer == pytest.approx(found.lower, rel=0.05)


def test_a_basis_of_the_energy_makes_the_upper_bound_sharp() -> None:
    """Half kicks of one frequency are rotations in their conserved energy: radius one, not more."""
    layer = verlet_layers([0.7], "kick-drift-kick")
    plain = joint_spectral_radius(layer, length=4)
    assert plain.lower == pytest.approx(1.0) and plain.upper > 1.01
    assert plain.verdict == "undecided"
    energy = np.diag([0.7 * (1 - 0.7 / 4), 1.0])
    turned = joint_spectral_radius(layer, length=4, basis=sqrtm(energy))
    assert turned.upper == pytest.approx(1.0, abs=1e-12)


def test_long_searches_end_and_bounds_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    steps = rng.standard_normal((4, 3, 3))
    bounds = [joint_spectral_radius(steps, length=k, relative_width=1e-6) for k in (1, 4, 20)]
    assert bounds[0].upper >= bounds[1].upper >= bounds[2].upper
    assert bounds[0].lower <= bounds[1].lower <= bounds[2].lower
    assert bounds[2].length == 20
    monkeypatch.setattr("analysis.joint_radius.MOST_WORDS", 7)
    short = joint_spectral_radius(steps, length=20, relative_width=1e-6)
    assert short.length < 20
    assert short.lower <= bounds[2].upper <= short.upper


def test_steps_without_a_joint_radius_are_refused() -> None:
    for steps in ([np.ones((2, 3))], [np.eye(2), np.eye(3)], [], [np.full((2, 2), np.nan)]):
        with pytest.raises(InputError, match="matrices"):
            joint_spectral_radius(steps)
    with pytest.raises(InputError, match="length of 1"):
        joint_spectral_radius([U], length=0)
    with pytest.raises(InputError, match="invertible basis"):
        joint_spectral_radius([U], basis=np.ones((2, 2)))
