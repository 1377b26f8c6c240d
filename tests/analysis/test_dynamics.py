"""Step limits and growth bounds against dense matrices, enumeration and worst cases (theory §4)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.certificates import certified_norm
from analysis.couplings import Pointwise
from analysis.dynamics import (
    ReactionConstants,
    StepLimits,
    diffusion_reaction_growth,
    imex_euler_growth,
    lipschitz_growth,
    parabolic_growth,
    parabolic_limits,
    pooling_norm,
    product,
    reaction_constants,
    reaction_growth,
)
from analysis.errors import InputError
from analysis.grid import Grid
from analysis.methods import tableau
from analysis.spectra import norm, spectral_radius
from analysis.stability import stability_function
from analysis.stacked import Stacked
from analysis.steps import amplification, largest_stable_step

EXPLICIT = ("euler", "midpoint", "heun", "ssprk22", "ssprk33", "rk4", "dopri5", "rkc1:stages=5")
CONTRACTIVE = ("euler", "heun", "ssprk33", "rk4", "rkc1:stages=5,damping=0")
SEEDS = st.integers(0, 2**32 - 1)
ONE_PIXEL = Grid((1, 1))


def spectral_norm(matrix: np.ndarray) -> float:
    return float(np.linalg.norm(matrix, 2))


def slopes(rng: np.random.Generator, rows: int, largest: float) -> np.ndarray:
    """Slopes in ``[0, L]``, often at an end: worst cases are there."""
    values = rng.uniform(0, largest, rows)
    ends = rng.integers(0, 2, rows) * largest
    return np.where(rng.random(rows) < 0.7, ends, values)


def curvature_of(K: np.ndarray, gains: np.ndarray, slope: float) -> float:
    """``L ||S^(1/2) K||^2`` of the rows with gains of one sign."""
    return slope * spectral_norm(np.sqrt(np.maximum(gains, 0))[:, None] * K) ** 2


def step_matrix(method: str, h: float, jacobians: list[np.ndarray]) -> np.ndarray:
    """The step of an explicit method whose field has another linear part in every stage."""
    table = tableau(method)
    identity = np.eye(len(jacobians[0]))
    stages: list[np.ndarray] = []
    for row, jacobian in zip(table.A, jacobians, strict=True):
        known = zip(row, stages, strict=False)
        stages.append(jacobian @ (identity + h * sum(float(a) * stage for a, stage in known)))
    weights = zip(table.b, stages, strict=True)
    return identity + h * sum(float(b) * stage for b, stage in weights)


# Parabolic: the two limits


@pytest.mark.parametrize("method", EXPLICIT)
@pytest.mark.parametrize("seed", range(3))
def test_the_linear_limit_is_where_dense_eigenvalues_leave_the_region(method, seed) -> None:
    rng = np.random.default_rng(seed)
    K, gains = rng.standard_normal((5, 4)), rng.uniform(0, 2, 5)
    eigenvalues = np.linalg.eigvalsh(-(K.T * gains) @ K)
    limits = parabolic_limits(method, curvature_of(K, gains, 1.0))
    assert limits.linear == pytest.approx(largest_stable_step(method, eigenvalues).step_size)
    R = stability_function(tableau(method))
    inside, outside = (np.abs(R(c * limits.linear * eigenvalues)) for c in (0.999, 1.001))
    assert inside.max() <= 1 < outside.max()
    assert limits.nonexpansive <= limits.linear


def test_limits_of_named_methods() -> None:
    """Theory §4.2: contractivity radii one, zero for midpoint; linear intervals as published."""
    for method in ("euler", "heun", "ssprk33", "rk4"):
        assert parabolic_limits(method, 4.0).nonexpansive == pytest.approx(0.5)
    for method in ("midpoint", "dopri5"):
        found = parabolic_limits(method, 4.0)
        assert found.nonexpansive == 0 < found.linear
    published = {"euler": 2, "midpoint": 2, "heun": 2, "ssprk33": 2.5127, "rk4": 2.7853}
    for method, interval in published.items():
        assert parabolic_limits(method, 1.0).linear == pytest.approx(interval, abs=1e-4)
    chebyshev = parabolic_limits("rkc1:stages=5,damping=0", 1.0)
    assert chebyshev.linear == pytest.approx(50)
    assert chebyshev.nonexpansive == pytest.approx(2 * 1.43, abs=0.01)


def test_a_field_that_does_nothing_has_no_limit() -> None:
    assert parabolic_limits("euler", 0.0) == StepLimits(math.inf, math.inf)


# Parabolic: growth of one step


@settings(max_examples=150)
@given(SEEDS, st.floats(0.05, 6.0), st.sampled_from([0.5, 1.0, 2.0]), st.booleans())
def test_euler_never_grows_beyond_its_certificate_and_attains_it(seed, h, slope, signed) -> None:
    """``||I - h K^T D K||`` over slopes in ``[0, L]``, gains of both signs."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 6, 2)
    K = rng.standard_normal((rows, columns))
    gains = rng.standard_normal(rows) if signed else rng.uniform(0, 2, rows)
    plus, minus = curvature_of(K, gains, slope), curvature_of(K, -gains, slope)
    certified = parabolic_growth("euler", h, plus, minus)
    identity = np.eye(columns)

    def growth(d: np.ndarray) -> float:
        return spectral_norm(identity - h * (K.T * (d * gains)) @ K)

    sampled = [growth(slopes(rng, rows, slope)) for _ in range(20)]
    assert max(sampled) <= certified * (1 + 1e-12)
    extremes = [growth(slope * mask) for mask in (gains > 0, gains < 0, np.zeros(rows))]
    assert max(extremes) == pytest.approx(certified, rel=1e-10)


@settings(max_examples=100)
@given(SEEDS, st.sampled_from(CONTRACTIVE))
def test_no_stages_expand_inside_the_nonexpansive_limit(seed, method) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 5, 2)
    K, gains = rng.standard_normal((rows, columns)), rng.uniform(0, 2, rows)
    curvature = curvature_of(K, gains, 1.0)
    h = parabolic_limits(method, curvature).nonexpansive
    assert parabolic_growth(method, h, curvature) == 1.0
    count = tableau(method).stages
    for _ in range(10):
        fields = [-(K.T * (slopes(rng, rows, 1.0) * gains)) @ K for _ in range(count)]
        assert spectral_norm(step_matrix(method, h, fields)) <= 1 + 1e-10


@settings(max_examples=100)
@given(SEEDS, st.sampled_from(EXPLICIT), st.floats(0.1, 4.0), st.booleans())
def test_no_stages_exceed_the_certified_growth(seed, method, factor, signed) -> None:
    """Any method, inside and beyond its limits, gains of both signs."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 5, 2)
    K = rng.standard_normal((rows, columns))
    gains = rng.standard_normal(rows) if signed else rng.uniform(0, 2, rows)
    plus, minus = curvature_of(K, gains, 1.0), curvature_of(K, -gains, 1.0)
    h = factor / max(plus, minus, 1e-3)
    certified = parabolic_growth(method, h, plus, minus)
    count = tableau(method).stages
    for _ in range(10):
        fields = [-(K.T * (slopes(rng, rows, 1.0) * gains)) @ K for _ in range(count)]
        assert spectral_norm(step_matrix(method, h, fields)) <= certified * (1 + 1e-10)


def test_linear_stability_does_not_bound_a_step_of_midpoint() -> None:
    """Theory §4.2: stage Jacobians ``v v^T``, then ``e e^T``; inside the linear limit, yet > 1."""
    v, e = np.array([1.0, 1.0]) / math.sqrt(2), np.array([1.0, 0.0])
    for h in (0.1, 0.5, 1.0):
        assert h < parabolic_limits("midpoint", 1.0).linear
        grown = spectral_norm(step_matrix("midpoint", h, [-np.outer(v, v), -np.outer(e, e)]))
        assert math.sqrt(1 + h**4 / 16) - 1e-12 <= grown <= parabolic_growth("midpoint", h, 1.0)


def test_rk4_beyond_its_nonexpansive_limit_is_certified_by_its_stages() -> None:
    """Between the two limits frozen coefficients decay; the certificate must not say one."""
    limits = parabolic_limits("rk4", 1.0)
    h = (limits.nonexpansive + limits.linear) / 2
    assert abs(complex(stability_function(tableau("rk4"))(np.array(-h)))) < 1
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, np.pi, (4000, 4))
    worst = 1.0
    for some in angles:
        units = np.stack([np.cos(some), np.sin(some)], axis=1)
        fields = [-np.outer(u, u) for u in units]
        worst = max(worst, spectral_norm(step_matrix("rk4", h, fields)))
    assert 1.001 < worst <= parabolic_growth("rk4", h, 1.0)


# Any field with a Lipschitz constant


@pytest.mark.parametrize("method", EXPLICIT)
def test_lipschitz_growth_solves_the_triangular_system_of_moduli(method) -> None:
    table = tableau(method)
    A, b = (np.abs(np.array(part, dtype=float)) for part in (table.A, table.b))
    ones = np.ones(table.stages)
    for z in (0.0, 0.3, 2.0):
        expected = 1 + z * b @ np.linalg.solve(np.eye(len(b)) - z * A, ones)
        assert lipschitz_growth(method, z) == pytest.approx(expected, rel=1e-12)
    assert lipschitz_growth(method, 0.0) == 1.0


@pytest.mark.parametrize("method", ["euler", "heun", "ssprk33", "rk4"])
def test_lipschitz_growth_is_attained_by_growth_where_no_weight_is_negative(method) -> None:
    R = stability_function(tableau(method))
    for z in (0.1, 1.0, 3.0):
        assert lipschitz_growth(method, z) == pytest.approx(R(np.array(z)).real, rel=1e-12)


@settings(max_examples=60)
@given(SEEDS, st.sampled_from(EXPLICIT))
def test_lipschitz_growth_bounds_arbitrary_stages(seed, method) -> None:
    rng = np.random.default_rng(seed)
    fields = []
    for _ in range(tableau(method).stages):
        matrix = rng.standard_normal((3, 3))
        fields.append(matrix / spectral_norm(matrix))
    h = float(rng.uniform(0, 3))
    assert spectral_norm(step_matrix(method, h, fields)) <= lipschitz_growth(method, h) * (
        1 + 1e-12
    )


# Reactions


def reaction_by_enumeration(W: np.ndarray, s: np.ndarray, slope: float) -> tuple[float, float]:
    """``mu`` and ``L_R`` of ``sigma(S W y + b)`` over all slopes at the ends of ``[0, L]``."""
    scaled = s[:, None] * W
    ends = itertools.product((0.0, slope), repeat=len(W))
    mu = max(
        np.linalg.eigvalsh((d * scaled.T).T / 2 + (d * scaled.T) / 2)[-1]
        for d in map(np.array, ends)
    )
    return max(0.0, float(mu)), slope * spectral_norm(scaled)


@settings(max_examples=60)
@given(SEEDS, st.integers(1, 8), st.sampled_from([0.5, 1.0, 3.0]))
def test_reaction_constants_against_enumeration(seed, channels, slope) -> None:
    rng = np.random.default_rng(seed)
    W, s = rng.standard_normal((channels, channels)), rng.standard_normal(channels)
    if rng.integers(2):
        W -= 2 * np.eye(channels)  # mostly attracting
    found = reaction_constants(W, s, slope)
    mu, lipschitz = reaction_by_enumeration(W, s, slope)
    assert 0 <= mu <= found.one_sided * (1 + 1e-12) + 1e-12
    assert found.one_sided <= found.lipschitz * (1 + 1e-12)
    assert found.lipschitz == pytest.approx(lipschitz, rel=1e-12)


def test_reaction_constants_that_are_known() -> None:
    """Growth is sharp; decay has ``mu = 0``; a skew matrix inside ``sigma`` has ``mu > 0``."""
    scale = np.ones(2)
    assert reaction_constants(3 * np.eye(2), scale) == ReactionConstants(3.0, 3.0)
    assert reaction_constants(-3 * np.eye(2), scale) == ReactionConstants(0.0, 3.0)
    assert reaction_constants(-3 * np.eye(2), -scale) == ReactionConstants(3.0, 3.0)
    skew = np.array([[0.0, 1.0], [-1.0, 0.0]])
    truth = reaction_by_enumeration(skew, scale, 1.0)[0]
    assert 0 < truth == pytest.approx(0.5)
    assert reaction_constants(skew, scale).one_sided == pytest.approx(0.5)
    # -V^T V inside sigma is no dissipation either (theory §4.6).
    V = np.array([[1.0, 0.0], [0.0, 4.0]]) @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    truth = reaction_by_enumeration(-V.T @ V, scale, 1.0)[0]
    assert 0 < truth <= reaction_constants(-V.T @ V, scale).one_sided


@settings(max_examples=80)
@given(SEEDS, st.floats(0.01, 3.0))
def test_an_explicit_reaction_never_exceeds_its_growth(seed, h) -> None:
    rng = np.random.default_rng(seed)
    channels = int(rng.integers(1, 5))
    W, s = rng.standard_normal((channels, channels)), rng.standard_normal(channels)
    certified = reaction_growth(h, reaction_constants(W, s))
    for _ in range(20):
        jacobian = (slopes(rng, channels, 1.0) * s)[:, None] * W
        assert spectral_norm(np.eye(channels) + h * jacobian) <= certified * (1 + 1e-12)


# Diffusion and reaction together


def random_diffusion_reaction(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    channels, rows = rng.integers(1, 5, 2)
    D = rng.standard_normal((rows, channels)) * rng.choice([0.1, 1.0])
    W = rng.standard_normal((channels, channels)) * rng.choice([0.1, 1.0])
    return D, rng.uniform(0, 2, rows), W, rng.standard_normal(channels)


def test_diffusion_and_reaction_never_exceed_their_growth() -> None:
    """Theory §4.10b, thousands of steps with slopes of their own, a third beyond the limit."""
    rng = np.random.default_rng(4)
    closest = 0.0
    for _ in range(4000):
        D, gains, W, s = random_diffusion_reaction(rng)
        curvature = curvature_of(D, gains, 1.0)
        h = float(rng.choice([0.2, 0.9, 1.0, 1.5])) * 2 / max(curvature, 1e-2)
        certified = diffusion_reaction_growth(h, curvature, reaction_constants(W, s))
        diffusion = (D.T * (slopes(rng, len(D), 1.0) * gains)) @ D
        reaction = (slopes(rng, len(W), 1.0) * s)[:, None] * W
        grown = spectral_norm(np.eye(len(W)) + h * (reaction - diffusion))
        assert grown <= certified * (1 + 1e-12)
        closest = max(closest, grown / certified)
    assert closest > 0.99  # the bound is attained, so that a smaller one would fail


@settings(max_examples=60)
@given(st.floats(0.01, 10), st.floats(0, 5), st.floats(0, 1))
def test_growth_of_diffusion_and_reaction_at_its_ends(h, lipschitz, share) -> None:
    reaction = ReactionConstants(share * lipschitz, lipschitz)
    at_limit = diffusion_reaction_growth(h, 2 / h, reaction)
    assert at_limit == pytest.approx(1 + h * lipschitz)
    alone = diffusion_reaction_growth(h, 0.0, reaction)
    assert alone == pytest.approx(min(1 + h * lipschitz, reaction_growth(h, reaction)), rel=1e-6)
    assert alone <= diffusion_reaction_growth(h, 1 / h, reaction) * (1 + 1e-6)
    assert diffusion_reaction_growth(h, 1 / h, reaction) <= at_limit * (1 + 1e-12)
    assert diffusion_reaction_growth(h, 3 / h, reaction) == pytest.approx(2 + h * lipschitz)


def test_growth_next_to_the_limit() -> None:
    """No interval of theta is left to minimise over."""
    reaction = ReactionConstants(0.2, 0.5)
    for gap in (1e-8, 1e-9, 1e-10, 1e-14, 0.0, -1e-10):
        found = diffusion_reaction_growth(1.0, 2 * (1 - gap), reaction)
        assert found == pytest.approx(1.5, abs=1e-6)


def test_the_best_theta_beats_both_ends() -> None:
    """A dense scan of theta, by the formula of theory §4.10b written out."""
    h, curvature, reaction = 1.0, 0.4, ReactionConstants(0.0, 2.0)
    theta = np.linspace(h * curvature / 2, 1, 20001)[:-1]
    mu, lipschitz = reaction.one_sided, reaction.lipschitz
    values = theta + (1 - theta) * np.sqrt(
        1 + 2 * h * mu / (1 - theta) + (h * lipschitz / (1 - theta)) ** 2
    )
    found = diffusion_reaction_growth(h, curvature, reaction)
    assert found == pytest.approx(values.min(), rel=1e-6)


@settings(max_examples=80)
@given(SEEDS, st.floats(0.05, 4.0))
def test_imex_euler_never_exceeds_its_growth(seed, h) -> None:
    rng = np.random.default_rng(seed)
    D, _, W, s = random_diffusion_reaction(rng)
    channels = len(W)
    sigma = np.linalg.svd(D, compute_uv=False)
    smallest = float(sigma[-1]) if len(sigma) == channels else 0.0
    plain = imex_euler_growth(h, smallest, reaction_growth(h, reaction_constants(W, s)))
    gains = np.abs(s)
    dissipative = imex_euler_growth(
        h, smallest, parabolic_growth("euler", h, curvature_of(W, gains, 1.0))
    )
    solve = np.linalg.inv(np.eye(channels) + h * D.T @ D)
    for _ in range(20):
        d = slopes(rng, channels, 1.0)
        grown = spectral_norm(solve @ (np.eye(channels) + h * (d * s)[:, None] * W))
        assert grown <= plain * (1 + 1e-12)
        grown = spectral_norm(solve @ (np.eye(channels) - h * (W.T * (d * gains)) @ W))
        assert grown <= dissipative * (1 + 1e-12)


def test_the_stacked_limit_where_two_separate_limits_do_not_suffice() -> None:
    """Theory §4.10a: ``D = W = 1``, ``h = 2``: the step is ``y -> -3 y``."""
    one = Pointwise(np.array([[1.0]]))
    separate = parabolic_limits("euler", certified_norm(one).upper ** 2)
    assert separate.nonexpansive == pytest.approx(2.0, rel=0.03)
    stack = Stacked((one, one))
    curvature = norm(stack, ONE_PIXEL).lower ** 2
    assert curvature == pytest.approx(2.0)
    stacked = parabolic_limits("euler", curvature)
    assert stacked.nonexpansive == pytest.approx(1.0)
    h = 2.0
    factor = 1 - h * 1 - h * 1
    assert factor == -3
    assert parabolic_growth("euler", h, curvature) == pytest.approx(abs(factor))
    assert parabolic_growth("euler", stacked.nonexpansive, curvature) == 1.0


@settings(max_examples=60)
@given(SEEDS)
def test_the_stacked_limit_is_sharp(seed) -> None:
    rng = np.random.default_rng(seed)
    channels = int(rng.integers(1, 4))
    D, W = rng.standard_normal((2, channels, channels))
    gains = rng.uniform(0, 2, 2 * channels)
    stack = Stacked((Pointwise(D), Pointwise(W))).scale_rows(np.sqrt(gains))
    h = parabolic_limits("euler", norm(stack, ONE_PIXEL).lower ** 2).nonexpansive
    K = np.concatenate([D, W])
    full = (K.T * gains) @ K
    assert spectral_norm(np.eye(channels) - 0.999 * h * full) <= 1 + 1e-12
    assert spectral_norm(np.eye(channels) - 1.001 * h * full) == pytest.approx(1.002)


# Frozen Jacobians say too little (theory §4.7)


def as_step(matrix: np.ndarray) -> Pointwise:
    return Pointwise(matrix)


def test_a_step_with_a_small_radius_and_a_large_norm() -> None:
    """``J = [[-1, 100], [0, -2]]`` at ``h = 0.5``: radius 0.5, norm 50.0025."""
    J, h = np.array([[-1.0, 100.0], [0.0, -2.0]]), 0.5
    frozen = amplification("euler", np.linalg.eigvals(J), h)
    assert frozen.stable
    assert frozen.value == pytest.approx(0.5)
    step = as_step(np.eye(2) + h * J)
    assert spectral_radius(step, ONE_PIXEL) == pytest.approx(0.5)
    assert norm(step, ONE_PIXEL).lower == pytest.approx(50.0025, abs=5e-5)
    # The bound that a verdict on the plain step quotes is above the norm, never above the radius.
    assert lipschitz_growth("euler", h * spectral_norm(J)) >= norm(step, ONE_PIXEL).lower


def test_products_of_stable_layers_can_grow() -> None:
    """``U = [[.5, 2], [0, .5]]`` and ``U^T``: radius 0.5 each, product 4.486."""
    U = np.array([[0.5, 2.0], [0.0, 0.5]])
    layers = [as_step(U), as_step(U.T)]
    for layer in layers:
        # A double eigenvalue: half of the digits.
        assert spectral_radius(layer, ONE_PIXEL) == pytest.approx(0.5, abs=1e-7)
    truth = spectral_norm(U @ U.T)
    assert truth == pytest.approx(4.486, abs=5e-4)
    assert product([norm(layer, ONE_PIXEL).lower for layer in layers]) == pytest.approx(truth)


def test_symmetric_layers_of_the_same_size_are_not_flagged() -> None:
    """The control: norm and radius agree, and the product of the norms stays below one."""
    U = np.array([[0.5, 2.0], [0.0, 0.5]])
    basis = np.linalg.qr(U)[0]
    layers = [as_step(basis @ np.diag([0.5, -0.3]) @ basis.T), as_step(0.5 * np.eye(2))]
    for layer in layers:
        value = norm(layer, ONE_PIXEL).lower
        assert value == pytest.approx(spectral_radius(layer, ONE_PIXEL)) == pytest.approx(0.5)
    assert product([norm(layer, ONE_PIXEL).upper for layer in layers]) < 1


# Pooling and products


@pytest.mark.parametrize("size", [2, 3])
def test_pooling_against_the_matrix_of_averages(size) -> None:
    rows = np.kron(np.eye(3), np.full((1, size), 1 / size))
    average = np.kron(rows, rows)
    assert pooling_norm("average", size) == pytest.approx(spectral_norm(average))


def test_max_pooling_never_expands_and_attains_one() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 500, 4, 2, 2))

    def pool(images: np.ndarray) -> np.ndarray:
        return images.max(axis=(-2, -1))

    moved = np.linalg.norm(pool(first) - pool(second), axis=1)
    ratio = moved / np.linalg.norm((first - second).reshape(500, -1), axis=1)
    assert ratio.max() <= pooling_norm("max", 2) == 1.0
    first[:, :, 0, 0] = 9.0
    second = first.copy()
    second[:, :, 0, 0] += 1.0
    assert np.allclose(np.linalg.norm(pool(first) - pool(second), axis=1), 2.0)  # of four channels


def test_products_of_constants() -> None:
    assert product([]) == 1.0
    assert product([2.0, 0.0, 3.0]) == 0.0


# Numbers that are no numbers


@pytest.mark.parametrize("wrong", [-1.0, math.nan])
def test_negative_numbers_and_nan_never_become_a_verdict(wrong) -> None:
    """A maximum swallows NaN: growth one would be a proof of nothing."""
    good = ReactionConstants(0.1, 0.5)
    calls = [
        lambda: parabolic_limits("euler", wrong),
        lambda: parabolic_growth("euler", 1.0, wrong),
        lambda: parabolic_growth("euler", 1.0, 1.0, wrong),
        lambda: parabolic_growth("rk4", wrong, 1.0),
        lambda: lipschitz_growth("euler", wrong),
        lambda: diffusion_reaction_growth(1.0, wrong, good),
        lambda: diffusion_reaction_growth(wrong, 1.0, good),
        lambda: product([1.0, wrong]),
    ]
    for call in calls:
        with pytest.raises(InputError, match=">= 0"):
            call()


def test_what_has_no_theorem_is_refused() -> None:
    with pytest.raises(InputError, match="explicit"):
        lipschitz_growth("backward-euler", 1.0)
    with pytest.raises(InputError, match="explicit"):
        parabolic_growth("backward-euler", 1.0, 1.0, 1.0)
    with pytest.raises(InputError, match="average or max"):
        pooling_norm("median", 2)
    with pytest.raises(InputError, match="finite"):
        reaction_constants(np.full((2, 2), np.nan), np.ones(2))
    for matrix, scale in ((np.ones((2, 3)), np.ones(2)), (np.ones((2, 2)), np.ones(3))):
        with pytest.raises(InputError, match="square"):
            reaction_constants(matrix, scale)
    with pytest.raises(InputError, match="did you mean"):
        parabolic_limits("eular", 1.0)


def test_implicit_euler_has_a_theorem_inside_its_limit() -> None:
    assert parabolic_limits("backward-euler", 4.0) == StepLimits(math.inf, math.inf)
    assert parabolic_growth("backward-euler", 100.0, 4.0) == 1.0
