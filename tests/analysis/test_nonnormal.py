"""Non-normal tools against closed forms, dense block matrices and the fixtures of theory §4.7."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import block_diag
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from analysis.couplings import Depthwise
from analysis.errors import InputError
from analysis.grid import Grid
from analysis.kreiss import kreiss_lower_bound
from analysis.krylov import arnoldi
from analysis.nonnormal import log_norm, numerical_range
from analysis.pseudospectra import (
    normal_pseudospectra,
    pseudospectra,
    pseudospectral_abscissa,
    pseudospectral_radius,
)
from analysis.resolvent import DirectSum
from analysis.transients import exponential_growth, product_growth, transient_growth
from tests.analysis.references import dense_by_padding, distance_of_multisets

J = np.array([[-1.0, 100.0], [0.0, -2.0]])
U = np.array([[0.5, 2.0], [0.0, 0.5]])
SKEWED = np.array([[[1.5, -1.0, 0.0]]])
"""Three taps whose zero-padded operator has one eigenvalue (theory §4.8)."""


def jordan(n: int) -> np.ndarray:
    return np.eye(n, k=1)


def skewed_step(n: int = 64, h: float = 0.5) -> np.ndarray:
    return np.eye(n) + h * dense_by_padding(SKEWED, (n,), "zeros")


def random_matrix(n: int, seed: int, *, complex_: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    real = rng.standard_normal((n, n)) / np.sqrt(n)
    return real + 1j * rng.standard_normal((n, n)) / np.sqrt(n) if complex_ else real


def random_normal(eigenvalues: np.ndarray, seed: int = 0) -> np.ndarray:
    Q = np.linalg.qr(random_matrix(len(eigenvalues), seed, complex_=True))[0]
    return (Q * eigenvalues) @ Q.conj().T


def sigma_min(A: np.ndarray, z: complex) -> float:
    return float(np.linalg.svd(z * np.eye(len(A)) - A, compute_uv=False)[-1])


def decaying(n: int = 150, *, complex_: bool = False) -> np.ndarray:
    """A non-normal matrix too large for the dense shortcut, with a clear leading direction."""
    A = np.diag(np.linspace(0.1, 0.9, n)) + 1.5 * np.eye(n, k=1) * np.linspace(0, 1, n)
    return A * np.exp(0.3j) if complex_ else A


# Logarithmic norm


def test_log_norms_of_the_fixture() -> None:
    # The larger root of (x + 1)(x + 2) = 50^2.
    assert log_norm(J).value == pytest.approx((-3 + math.sqrt(1 + 4 * 2500)) / 2, rel=1e-14)
    assert log_norm(J, order=1).value == 98.0
    assert log_norm(J, order=math.inf).value == 99.0
    assert log_norm(J).exact and "exact" in log_norm(J).statement


@pytest.mark.parametrize("order", [1, 2, math.inf])
@pytest.mark.parametrize("complex_", [False, True])
def test_log_norm_is_the_derivative_of_the_norm(order: float, complex_: bool) -> None:
    A, t = random_matrix(6, 1, complex_=complex_), 1e-7
    slope = (np.linalg.norm(np.eye(6) + t * A, order) - 1) / t
    assert log_norm(A, order=order).value == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize("complex_", [False, True])
def test_matrix_free_log_norm_is_from_below_and_near(complex_: bool) -> None:
    A = decaying(complex_=complex_)
    true = np.linalg.eigvalsh((A + A.conj().T) / 2)[-1]
    found = log_norm(aslinearoperator(A))
    assert not found.exact and "below" in found.statement
    assert true - 1e-8 <= found.value <= true + 1e-13
    assert found.residual < 1e-6
    # A norm of nearly zero must not stop the search: the tolerance is one of the operator.
    shifted = A - true * np.eye(len(A))
    assert abs(log_norm(aslinearoperator(shifted)).value) < 1e-7


# Numerical range


@pytest.mark.parametrize("n", [2, 3, 10])
def test_range_of_a_jordan_block_is_a_disc(n: int) -> None:
    radius = math.cos(math.pi / (n + 1))
    found = numerical_range(jordan(n), angles=64)
    assert np.abs(found.points) == pytest.approx(np.full(64, radius), abs=1e-13)
    assert found.support == pytest.approx(np.full(64, radius), abs=1e-13)
    assert found.radius_lower == pytest.approx(radius, abs=1e-13)
    assert radius < found.radius_upper == pytest.approx(radius / math.cos(math.pi / 64), rel=1e-12)


def test_range_of_two_rows_is_an_ellipse_with_the_eigenvalues_as_foci() -> None:
    A = np.array([[1 + 1j, 2.0], [0.0, -1 + 0.5j]])
    found = numerical_range(A, angles=50)
    first, second = np.diag(A)
    axis = math.sqrt(abs(first - second) ** 2 + 2.0**2)  # Elliptic range theorem: minor axis 2
    through = np.abs(found.points - first) + np.abs(found.points - second)
    assert through == pytest.approx(np.full(50, axis), rel=1e-12)


def test_range_of_a_normal_matrix_is_the_hull_of_its_eigenvalues() -> None:
    values = np.array([2.0, 1j, -1 - 1j, 0.1, 0.2j])
    found = numerical_range(random_normal(values), angles=40)
    reach = np.real(np.exp(-1j * found.angles)[:, None] * values).max(axis=1)
    assert found.support == pytest.approx(reach, abs=1e-13)
    assert np.abs(found.points[:, None] - values[:3]).min(axis=1) == pytest.approx(0, abs=1e-12)
    assert distance_of_multisets(found.eigenvalues, values) < 1e-13
    assert found.radius_lower == pytest.approx(2.0, abs=1e-13)


@settings(max_examples=25)
@given(st.integers(1, 6), st.integers(0, 10_000), st.booleans())
def test_quotients_lie_between_the_polygons(n: int, seed: int, complex_: bool) -> None:
    A = random_matrix(n, seed, complex_=complex_)
    found = numerical_range(A, angles=16)
    v = np.random.default_rng(seed).standard_normal((2, n, 50))
    v = v[0] + 1j * v[1]
    quotients = np.sum(v.conj() * (A @ v), axis=0) / np.sum(np.abs(v) ** 2, axis=0)
    turned = np.exp(-1j * found.angles)[:, None]
    for inner in (quotients, found.points, found.eigenvalues):
        assert (np.real(turned * inner) <= found.support[:, None] + 1e-12).all()
    assert (np.real(turned * found.outer[None]).max(axis=1) >= found.support - 1e-12).all()
    assert np.abs(quotients).max() <= found.radius_upper
    # Between the numerical radius and the norm lies a factor of two at most.
    norm = np.linalg.norm(A, 2)
    assert norm / 2 - 1e-12 <= found.radius_upper and found.radius_lower <= norm + 1e-12
    left, right, bottom, top = found.window()
    assert left < found.points.real.min() <= found.points.real.max() < right
    assert bottom < found.points.imag.min() <= found.points.imag.max() < top


def test_a_stack_is_the_direct_sum_of_its_blocks() -> None:
    blocks = np.stack([random_matrix(3, s, complex_=True) for s in range(5)]).reshape(5, 1, 3, 3)
    whole = block_diag(*blocks[:, 0])
    one, other = numerical_range(blocks), numerical_range(whole)
    assert one.support == pytest.approx(other.support, abs=1e-13)
    assert log_norm(blocks).value == pytest.approx(log_norm(whole).value, abs=1e-13)
    for order in (1, math.inf):
        assert log_norm(blocks, order=order).value == log_norm(whole, order=order).value
    window = (-2.0, 2.0, -1.5, 1.5)
    a, b = pseudospectra(blocks, window, points=25), pseudospectra(whole, window, points=25)
    assert a.sigma_min.shape == b.sigma_min.shape == (19, 25)
    assert a.sigma_min == pytest.approx(b.sigma_min, abs=1e-13)
    assert transient_growth(blocks, 6).norms == pytest.approx(transient_growth(whole, 6).norms)
    times = [0.0, 0.5, 2.0]
    grown = exponential_growth(whole, times).norms
    assert exponential_growth(blocks, times).norms == pytest.approx(grown)
    for extreme in (pseudospectral_abscissa, pseudospectral_radius):
        assert extreme(blocks, 0.1).value == pytest.approx(extreme(whole, 0.1).value, rel=1e-9)
    scale = 1.05 * np.abs(np.linalg.eigvals(whole)).max()
    kreiss = [kreiss_lower_bound(A / scale).value for A in (blocks, whole)]
    assert kreiss[0] == pytest.approx(kreiss[1], rel=1e-3)


def test_symbol_blocks_are_the_periodic_operator() -> None:
    K, grid = Depthwise(np.array([[1.5, -1.0, 0.0]])), Grid((12,))
    blocks, dense = K.symbol(grid).blocks(), dense_by_padding(SKEWED, (12,), "periodic")
    assert log_norm(blocks).value == pytest.approx(log_norm(dense).value, abs=1e-13)
    window = (-3.0, 1.0, -2.0, 2.0)
    one, other = (pseudospectra(A, window, points=20).sigma_min for A in (blocks, dense))
    assert one == pytest.approx(other, abs=1e-13)


@pytest.mark.parametrize("complex_", [False, True])
def test_matrix_free_range_lies_inside_and_near(complex_: bool) -> None:
    A = decaying(complex_=complex_)
    dense = numerical_range(A, angles=12)
    found = numerical_range(aslinearoperator(A), angles=12)
    assert (found.support <= dense.support + 1e-12).all()
    assert found.support == pytest.approx(dense.support, abs=1e-6)
    assert found.radius_upper == math.inf and found.eigenvalues is None
    assert "further" in found.statement


# Pseudospectra


def test_pseudospectra_of_a_normal_matrix_are_distances_to_the_spectrum() -> None:
    values = np.array([0.0, 1j, 2.0, 2.0, -1 - 1j])
    found = pseudospectra(random_normal(values), points=30)
    z = found.x[None, :] + 1j * found.y[:, None]
    distance = np.abs(z[..., None] - values).min(axis=-1)
    assert found.sigma_min == pytest.approx(distance, abs=1e-13)
    assert found.exact and (distance <= 0.5).any()
    assert found.abscissa(0.5) == z.real[distance <= 0.5].max()
    assert found.radius(0.5) == np.abs(z[distance <= 0.5]).max()
    assert found.abscissa(1e-9) == -math.inf


@pytest.mark.parametrize("n", [110, 130])
@pytest.mark.parametrize("kind", ["random", "symmetric", "jordan", "zero", "circle"])
def test_large_blocks_are_as_accurate_as_all_singular_values(kind: str, n: int) -> None:
    A = {
        "random": random_matrix(n, 2),
        "symmetric": random_matrix(n, 3) + random_matrix(n, 3).T,
        "jordan": 1.5 * jordan(n) - np.eye(n),  # sigma_min far below rounding
        "zero": np.zeros((n, n)),
        "circle": np.diag(np.exp(2j * np.pi * np.arange(n) / n)),  # all values equal at 0
    }[kind]
    z = np.array([0.0, 0.3, -1.0, 0.4 + 0.7j, 2.0, 1j, -2.5])
    found = DirectSum(A[None]).sigma_min(z)
    exact = [sigma_min(A, point) for point in z]
    assert found == pytest.approx(exact, abs=1e-13, rel=1e-9)


def test_a_block_that_is_passed_over_is_decomposed_when_it_matters() -> None:
    rng = np.random.default_rng(5)
    blocks = rng.standard_normal((300, 2, 2)) + 1j * rng.standard_normal((300, 2, 2))
    path = np.concatenate([np.linspace(-3, 3, 40), 3j * np.linspace(1, -1, 40), [5.0, -5.0]])
    exact = [np.linalg.svd(z * np.eye(2) - blocks, compute_uv=False)[:, -1].min() for z in path]
    assert DirectSum(blocks).sigma_min(path) == pytest.approx(exact, abs=1e-14)


@pytest.mark.parametrize("complex_", [False, True])
def test_matrix_free_resolvent_is_from_above(complex_: bool) -> None:
    A, window = decaying(complex_=complex_), (-2.0, 2.5, -2.0, 2.0)
    exact = pseudospectra(A, window, points=12).sigma_min
    found = pseudospectra(aslinearoperator(A), window, points=12, vectors=60)
    assert (found.sigma_min >= exact - 1e-12).all()
    assert not found.exact and found.eigenvalues is None and "above" in found.statement
    whole = pseudospectra(aslinearoperator(A), window, points=12, vectors=len(A))
    assert (whole.sigma_min >= exact - 1e-12).all()
    assert (found.sigma_min >= whole.sigma_min - 1e-12).all()
    outside = np.abs(found.x[None, :] + 1j * found.y[:, None]) > 2.5
    assert found.sigma_min[outside] == pytest.approx(exact[outside], rel=0.25)


def test_the_projection_of_a_unitary_operator_keeps_lengths() -> None:
    # The square Hessenberg matrix would not: it forgets what leaves the Krylov space.
    shift = aslinearoperator(np.roll(np.eye(100), 1, axis=0))
    found = pseudospectra(shift, (-1.0, 1.0, -1.0, 1.0), points=3, vectors=10)
    assert found.sigma_min[1, 1] == pytest.approx(1.0, rel=1e-12)


def test_arnoldi_relation() -> None:
    A = decaying(100)
    H = arnoldi(aslinearoperator(A), 100)
    assert H.shape == (101, 100)
    ours = np.linalg.svd(2 * np.eye(101, 100) - H, compute_uv=False)
    assert ours == pytest.approx(np.linalg.svd(2 * np.eye(100) - A, compute_uv=False), abs=1e-11)


def test_extremes_of_closed_forms() -> None:
    # Two rows: sigma_max - sigma_min = 1, and their product is |z|^2.
    for extreme in (pseudospectral_abscissa, pseudospectral_radius):
        assert extreme(jordan(2), 0.1).value == pytest.approx(math.sqrt(0.11), rel=1e-12)
        assert extreme(np.zeros((3, 3)), 0.25).value == pytest.approx(0.25, rel=1e-12)
    normal = random_normal(np.array([1 + 2j, -3.0, 0.5]))
    assert pseudospectral_abscissa(normal, 0.2).value == pytest.approx(1.2, rel=1e-12)
    found = pseudospectral_radius(normal, 0.2)
    assert found.value == pytest.approx(3.2, rel=1e-12)
    assert found.point == pytest.approx(-3.2, rel=1e-12)


@pytest.mark.parametrize("epsilon", [1e-4, 1e-2, 0.5])
@pytest.mark.parametrize("complex_", [False, True])
def test_criss_cross_finds_the_extremes_that_a_fine_search_finds(
    epsilon: float, complex_: bool
) -> None:
    # Far from a disc: the rightmost point is not above the rightmost eigenvalue.
    for seed in range(4):
        A = np.triu(random_matrix(5, seed, complex_=complex_)) * 2
        size = np.linalg.norm(A, 2) + epsilon
        right, out = pseudospectral_abscissa(A, epsilon), pseudospectral_radius(A, epsilon)
        for found in (right, out):
            assert sigma_min(A, found.point) == pytest.approx(epsilon, rel=1e-6)
        # Nothing of the pseudospectrum lies beyond: on the line and circle just outside.
        edge = right.value * (1 + 1e-6) + 1e-6 + 1j * np.linspace(-size, size, 4001)
        circle = (out.value * (1 + 1e-6) + 1e-6) * np.exp(1j * np.linspace(0, 2 * np.pi, 4001))
        assert DirectSum(A[None]).sigma_min(edge).min() > epsilon
        assert DirectSum(A[None]).sigma_min(circle).min() > epsilon
        seen = pseudospectra(A, (-size, size, -size, size), points=30)
        assert seen.abscissa(epsilon) <= right.value and seen.radius(epsilon) <= out.value


# Growth


def test_growth_of_the_fixtures() -> None:
    # ||I + h J|| of h = 0.5: theory §4.7.
    assert transient_growth(np.eye(2) + 0.5 * J, 1).norms[1] == pytest.approx(50.0025, abs=1e-4)
    assert product_growth([U, U.T]).norms[-1] == pytest.approx(4.486, abs=5e-4)
    # exp(tJ) = [[e^-t, 100 (e^-t - e^-2t)], [0, e^-2t]]
    t = 0.7
    a, b = math.exp(-t), math.exp(-2 * t)
    exact = np.linalg.norm([[a, 100 * (a - b)], [0, b]], 2)
    assert exponential_growth(J, [t]).norms[0] == pytest.approx(exact, rel=1e-13)


def test_padded_convolution_grows_although_its_eigenvalues_are_small() -> None:
    G = skewed_step()
    assert np.linalg.eigvals(G) == pytest.approx(np.full(64, 0.5), abs=1e-12)
    grown = transient_growth(G, 150)
    assert grown.peak > 1e9 and grown.peak_time > 60
    bound = kreiss_lower_bound(G)
    assert 1e9 < bound.value <= grown.peak < math.e * 64 * bound.value
    assert numerical_range(G).abscissa > 1


def test_symmetric_control_is_not_flagged() -> None:
    S = random_matrix(12, 7)
    G = np.eye(12) - S @ S.T / np.linalg.norm(S, 2) ** 2
    assert transient_growth(G, 20).peak == 1.0 and transient_growth(G, 20).peak_time == 0
    assert kreiss_lower_bound(G).value == 1.0
    assert numerical_range(G).radius_lower <= 1 + 1e-14
    assert log_norm(G - np.eye(12)).value <= 1e-14
    grown = product_growth([G] * 5)
    assert (np.diff(grown.norms) <= 1e-14).all()
    assert kreiss_lower_bound(-(S @ S.T), "continuous").value == 1.0


def test_powers_products_and_exponentials_agree_with_their_definitions() -> None:
    A = random_matrix(5, 9)
    powers = [np.linalg.norm(np.linalg.matrix_power(A, n), 2) for n in range(9)]
    assert transient_growth(A, 8).norms == pytest.approx(powers, rel=1e-12)
    rng = np.random.default_rng(0)
    chain = [rng.standard_normal(shape) for shape in ((4, 5), (3, 4), (6, 3))]
    products = [1.0, *(np.linalg.norm(P, 2) for P in (chain[0], chain[1] @ chain[0]))]
    products.append(np.linalg.norm(chain[2] @ chain[1] @ chain[0], 2))
    assert product_growth(chain).norms == pytest.approx(products, rel=1e-13)
    first, second = rng.standard_normal((2, 3, 3))
    ordered = np.linalg.norm(second @ first @ first, 2)
    assert product_growth([first, first, second]).norms[-1] == pytest.approx(ordered, rel=1e-13)
    assert ordered != pytest.approx(np.linalg.norm(first @ first @ second, 2), rel=1e-3)
    values = np.array([-1 + 2j, -0.3, 0.2 + 1j])
    times = np.array([0.0, 1.0, 3.0])
    grown = exponential_growth(random_normal(values), times).norms
    assert grown == pytest.approx(np.exp(0.2 * times), rel=1e-12)
    # Neither end of the range of doubles is a reason to fail.
    assert exponential_growth([[800.0]], [1.0, 0.5]).norms == pytest.approx([math.inf, np.exp(400)])
    assert transient_growth([[1e200]], 2).norms.tolist() == [1.0, pytest.approx(1e200), math.inf]
    assert transient_growth(jordan(3), 4).norms.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("complex_", [False, True])
def test_matrix_free_growth_is_from_below_and_near(complex_: bool) -> None:
    A = decaying(complex_=complex_)
    exact, found = transient_growth(A, 12), transient_growth(aslinearoperator(A), 12)
    assert (found.norms <= exact.norms * (1 + 1e-12)).all()
    assert found.norms == pytest.approx(exact.norms, rel=1e-4)
    assert not found.exact and "below" in found.statement
    factors = [A, aslinearoperator(A.conj().T), csr_array(A)]
    mixed, dense = product_growth(factors), product_growth([A, A.conj().T, A])
    assert mixed.norms == pytest.approx(dense.norms, rel=1e-4)
    assert transient_growth(aslinearoperator(np.zeros((80, 80))), 2).norms.tolist() == [1, 0, 0]


def test_a_convolution_grows_the_same_with_and_without_its_matrix() -> None:
    K, grid = Depthwise(np.array([[1.5, -1.0, 0.0]])), Grid((90,), boundary="zeros")
    A = aslinearoperator(K.to_sparse(grid))
    dense = np.eye(90) + 0.5 * K.to_dense(grid)
    step = LinearOperator(
        A.shape, lambda x: x + 0.5 * (A @ x), rmatvec=lambda x: x + 0.5 * (A.H @ x), dtype=float
    )
    exact = transient_growth(dense, 15).norms
    assert transient_growth(step, 15).norms == pytest.approx(exact, rel=1e-3)
    assert log_norm(step).value == pytest.approx(log_norm(dense).value, abs=1e-5)


# Kreiss constant


@pytest.mark.parametrize("a", [3.0, 10.0, 1000.0])
def test_kreiss_constant_of_two_rows(a: float) -> None:
    def quotient(r: float, gap: float) -> float:
        return gap * (math.hypot(a, 2 * r) + a) / (2 * r**2)

    # The distance to the circle from 0, and to the axis from -1, is one.
    for A, kind in ((a * jordan(2), "discrete"), (a * jordan(2) - np.eye(2), "continuous")):
        best = minimize_scalar(
            lambda r: -quotient(r, r - 1), bounds=(1, 100 * a), options={"xatol": 1e-9}
        )
        found = kreiss_lower_bound(A, kind)
        assert found.value == pytest.approx(max(1.0, -best.fun), rel=1e-6)
        assert "N = 2" in found.statement


@settings(max_examples=15)
@given(st.integers(2, 8), st.integers(0, 10_000), st.booleans())
def test_kreiss_bound_is_below_the_powers_and_its_theorem_holds(
    n: int, seed: int, complex_: bool
) -> None:
    A = np.triu(3 * random_matrix(n, seed, complex_=complex_), 1)
    A += np.diag(np.random.default_rng(seed).uniform(-0.9, 0.9, n))
    found = kreiss_lower_bound(A)
    grown = transient_growth(A, 200).peak
    assert found.value <= grown * (1 + 1e-12) and grown <= math.e * n * found.value
    if math.isfinite(abs(found.point)):
        assert abs(found.point) > 1
        quotient = (abs(found.point) - 1) / sigma_min(A, found.point)
        assert found.value <= quotient == pytest.approx(found.value, rel=1e-9)
    generator = A - np.eye(n)
    continuous = kreiss_lower_bound(generator, "continuous")
    grown = exponential_growth(generator, np.linspace(0, 40, 400)).peak
    assert continuous.value <= grown * (1 + 0.02)
    assert grown <= math.e * n * continuous.value


def test_growing_spectra_have_no_constant_and_hidden_ones_are_not_claimed() -> None:
    for A, kind in ((np.diag([1.2, 0.1]), "discrete"), (np.diag([-1.0, 0.3]), "continuous")):
        found = kreiss_lower_bound(A, kind)
        assert found.value == math.inf and "infinite" in found.statement
        assert found.point == pytest.approx(1.2 if kind == "discrete" else 0.3)
    # All eigenvalues are 0.5; rounding moves the computed ones beyond one.
    Q = np.linalg.qr(random_matrix(64, 4))[0]
    hidden = Q @ (0.5 * np.eye(64) + 2 * np.eye(64, k=-1)) @ Q.T
    assert np.abs(np.linalg.eigvals(hidden)).max() > 1.1
    assert 1e9 < kreiss_lower_bound(hidden).value < math.inf
    # On the circle: bounded powers, and a Jordan block of linear growth.
    assert kreiss_lower_bound([[0.0, 1.0], [-1.0, 0.0]]).value == 1.0
    assert kreiss_lower_bound([[1.0, 1.0], [0.0, 1.0]]).value > 1e6


def test_matrix_free_kreiss_bound_is_below_the_dense_one() -> None:
    A = decaying()
    dense = kreiss_lower_bound(A).value
    found = kreiss_lower_bound(aslinearoperator(A), vectors=120)
    assert 0.3 * dense < found.value <= dense * (1 + 1e-6)
    assert "above" in found.statement


# Input


def test_small_operators_are_made_dense_and_exact() -> None:
    found = log_norm(aslinearoperator(J))
    assert found.exact and found.value == log_norm(J).value
    assert numerical_range(csr_array(J)).radius_upper < math.inf


@pytest.mark.parametrize(
    ("A", "text"),
    [
        (np.ones((2, 3)), "square"),
        (np.ones(3), r"\(m, n\)"),
        (np.ones((0, 0)), "entries"),
        (np.ones((0, 2, 2)), "entries"),
        ([[1.0, np.nan], [0.0, 1.0]], "finite"),
        (np.array([["a"]]), "numbers"),
        (LinearOperator((80, 80), lambda x: x, dtype=float), "adjoint"),
        (LinearOperator((80, 80), lambda x: x, rmatvec=lambda x: 2 * x, dtype=float), "adjoint"),
        (
            LinearOperator((80, 80), lambda x: x * np.nan, rmatvec=lambda x: x, dtype=float),
            "finite",
        ),
        (aslinearoperator(np.ones((80, 90))), "square"),
    ],
)
def test_operators_that_cannot_be_used_are_refused(A: object, text: str) -> None:
    for function in (log_norm, numerical_range, pseudospectra, kreiss_lower_bound):
        with pytest.raises(InputError, match=text):
            function(A)
    with pytest.raises(InputError, match=text):
        transient_growth(A, 3)


def test_arguments_that_cannot_be_used_are_refused() -> None:
    large = aslinearoperator(decaying(80))
    refused = [
        (lambda: log_norm(J, order=3), "order 1, 2 or inf"),
        (lambda: log_norm(large, order=1), "dense"),
        (lambda: numerical_range(J, angles=3), "8 angles"),
        (lambda: pseudospectra(J, (1, 0, 0, 1)), "window"),
        (lambda: pseudospectra(J, points=1), "2 points"),
        (lambda: pseudospectra(J, points=4).radius(-1.0), "positive epsilon"),
        (lambda: pseudospectral_abscissa(J, -1.0), "positive epsilon"),
        (lambda: pseudospectral_abscissa(J, math.nan), "positive epsilon"),
        (lambda: pseudospectral_radius(J, 1e-15), "rounding"),
        (lambda: pseudospectral_radius(large, 0.1), "dense"),
        (lambda: transient_growth(J, 0), "1 step"),
        (lambda: product_growth([]), "one factor"),
        (lambda: product_growth([np.ones((2, 3)), np.ones((2, 3))]), "factor 2 with 2 columns"),
        (lambda: product_growth([np.ones((2, 2, 2)), np.ones((3, 2, 2))]), "stacks"),
        (lambda: product_growth([np.ones((2, 80, 80)), large]), "one kind"),
        (lambda: exponential_growth(J, [-1.0]), "at least 0"),
        (lambda: exponential_growth(J, []), "one time"),
        (lambda: exponential_growth(large, [1.0]), "dense"),
        (lambda: kreiss_lower_bound(J, "both"), "discrete"),
        (lambda: kreiss_lower_bound(J, samples=1), "4 samples"),
    ]
    for call, text in refused:
        with pytest.raises(InputError, match=text):
            call()


def test_pseudospectra_of_a_normal_matrix_are_distances() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=7) + 1j * rng.normal(size=7)
    window = (-2.0, 1.0, -1.5, 2.0)
    found = normal_pseudospectra(values, window, points=9)
    general = pseudospectra(np.diag(values), window, points=9)
    assert found.sigma_min == pytest.approx(general.sigma_min, abs=1e-12)
    assert np.array_equal(found.x, general.x) and np.array_equal(found.y, general.y)
    assert found.exact and np.array_equal(found.eigenvalues, values)
    for wrong in ([], [np.nan]):
        with pytest.raises(InputError, match="finite eigenvalues"):
            normal_pseudospectra(np.array(wrong), window)
