"""Stable steps of whole fields: partial differential equations, regions, operators, pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg

from analysis.clouds import Disc, Eigenvalues, Hull, Operator, Pairs, RealInterval
from analysis.coupling import Coupling
from analysis.couplings import Full
from analysis.errors import InputError
from analysis.fields import field_operator
from analysis.grid import Grid
from analysis.methods import METHODS, Method, method
from analysis.model_problems import LinearProblem
from analysis.model_solutions import problem_matrix
from analysis.multistep import MultistepMethod
from analysis.nonnormal import numerical_range
from analysis.one_step import explicit_step, stabilised_step
from analysis.operator_steps import contractive_step, merge_defective
from analysis.stabilised import StabilisedMethod
from analysis.stability_of import stability_of
from analysis.steps import amplification, largest_stable_step
from analysis.tableau import ButcherTableau

EXPLICIT = [name for name in METHODS if getattr(method(name), "explicit", False) is True]
UNDAMPED = ("rkl1", "rkl2")


def step_map(found: Method, A, h):
    """One step on y' = A y with a sparse matrix, as a map of the state (a list of old values)."""
    f = lambda y: A @ y  # noqa: E731
    if isinstance(found, StabilisedMethod):
        recurrence = [tuple(float(x) for x in stage) for stage in found.recurrence]
        return lambda state: [stabilised_step(recurrence, f, state[-1], h)]
    if isinstance(found, ButcherTableau):
        table = tuple(np.array(x, dtype=float) for x in (found.A, found.b))
        return lambda state: [explicit_step(table, f, state[-1], h)]
    assert isinstance(found, MultistepMethod)
    alpha, beta = ([float(x) for x in p] for p in (found.alpha, found.beta))

    def advance(state):
        new = sum(
            (h * b * f(y) - a * y for a, b, y in zip(alpha[:-1], beta[:-1], state, strict=True)),
            0 * state[-1],
        )
        return [*state[1:], new]

    return advance


def growth(found, A, h, y, count):
    """Factor of growth over the second half of the steps, when transients are over."""
    k = found.steps if isinstance(found, MultistepMethod) else 1
    rng = np.random.default_rng(0)
    # Multistep methods get all their modes from values that are no solution.
    state = [y * (1 + 0.1 * rng.random()) for _ in range(k)]
    advance, sizes = step_map(found, A, h), []
    for _ in range(count):
        state = advance(state)
        sizes.append(max(float(np.linalg.norm(v)) for v in state))
        if sizes[-1] > 1e9 * sizes[0]:
            return math.inf
    return sizes[-1] / sizes[count // 2]


@pytest.mark.parametrize("name", EXPLICIT)
@pytest.mark.parametrize("shape", [(10, 10), (6, 6, 6)])
def test_heat_in_two_and_three_dimensions_is_sharp(name, shape):
    found = method(name)
    problem = LinearProblem(shape, diffusivity=0.7, spacing=0.5)
    limit = largest_stable_step(name, problem.spectrum())
    A = problem_matrix(problem)
    # The limiting mode alone, the checkerboard, and everything at once.
    mode = np.real((-1.0) ** sum(np.indices(shape))).ravel()
    noise = np.random.default_rng(1).normal(size=A.shape[0])
    if limit.step_size == 0:
        assert method(name).name == "leapfrog"
        assert growth(found, A, 1e-3, mode, 3000) > 10
        return
    assert limit.limiting_eigenvalue == pytest.approx(-4 * len(shape) * 0.7 / 0.25)
    assert growth(found, A, 0.999 * limit.step_size, noise, 400) <= 1 + 1e-9
    inside = growth(found, A, 0.999 * limit.step_size, mode, 400)
    # Undamped families decay strictly at the limit only where R crosses 1 there.
    assert inside < 1
    assert growth(found, A, 1.001 * limit.step_size, mode, 4000) > 1.01


@pytest.mark.parametrize("boundary", ["periodic", "neumann", "dirichlet"])
@pytest.mark.parametrize("name", ["rk4", "ab3", "rkc2:stages=5"])
def test_advection_and_diffusion_with_boundaries(boundary, name):
    velocity = 0.6 if boundary == "periodic" else 0.0
    problem = LinearProblem((24,), boundary=boundary, diffusivity=0.4, velocity=velocity)
    A, h = problem_matrix(problem), largest_stable_step(name, problem.spectrum()).step_size
    y = np.random.default_rng(2).normal(size=24)
    assert growth(method(name), A, 0.999 * h, y, 600) <= 1 + 1e-9
    assert growth(method(name), A, 1.002 * h, y, 6000) > 1


def test_skew_spectra_with_and_without_an_imaginary_interval():
    # Central advection alone is skew: forward Euler grows at every step size, RK4 does not.
    problem = LinearProblem((32,), diffusivity=0.0, velocity=1.0)
    assert largest_stable_step("euler", problem.spectrum()).step_size == 0.0
    found = largest_stable_step("rk4", problem.spectrum())
    assert found.step_size == pytest.approx(2 * math.sqrt(2), rel=1e-12)
    y = np.random.default_rng(0).normal(size=32)
    A = problem_matrix(problem)
    assert growth(method("rk4"), A, 0.999 * found.step_size, y, 500) <= 1 + 1e-12
    assert growth(method("rk4"), A, 1.001 * found.step_size, y, 500) > 1
    assert largest_stable_step("leapfrog", problem.spectrum()).step_size == pytest.approx(1.0)


def test_islands_and_growing_problems_are_named():
    grows = largest_stable_step("backward-euler", [0.5])
    assert (grows.step_size, grows.growing_rate) == (0.0, 0.5)
    island = amplification("backward-euler", [0.5], 5.0)
    assert island.stable
    assert "isolated island" in island.warnings[0] and "grows at rate 0.5" in island.warnings[1]
    assert amplification("backward-euler", [0.5], 5.0).value == pytest.approx(1 / 1.5)
    assert not amplification("backward-euler", [0.5], 3.0).stable


# Largest disc tangent to the imaginary axis: known for Euler; others by dense sampling.
@pytest.mark.parametrize("name", ["euler", "heun", "ssprk33", "rk4", "ab2"])
def test_a_disc_holds_until_its_boundary_leaves(name):
    disc, R = Disc(-2.0, 1.0), stability_of(name)
    found = largest_stable_step(name, disc)
    turn = np.exp(2j * np.pi * np.arange(200_000) / 200_000)
    inside = np.abs(R(0.9999 * found.step_size * (-2 + turn)))
    assert inside.max() <= 1 + 1e-9
    assert np.abs(R(1.0001 * found.step_size * (-2 + turn))).max() > 1
    assert "sampled" in found.assumption
    if name == "euler":
        assert found.step_size == pytest.approx(2 / 3, rel=1e-9)


def test_a_disc_tangent_to_the_axis_of_forward_euler():
    assert largest_stable_step("euler", Disc(-1.0, 1.0)).step_size == pytest.approx(1.0, rel=1e-8)
    assert largest_stable_step("crank-nicolson", Disc(-1.0, 1.0)).step_size == math.inf
    assert largest_stable_step("euler", Disc(0.0, 1.0)).step_size == 0.0


def test_an_interval_and_a_hull():
    assert largest_stable_step("rk4", RealInterval(-8.0, 0.0)).step_size == pytest.approx(
        2.785293563405282 / 8, rel=1e-14
    )
    square = Hull(np.array([-1 + 1j, -1 - 1j, -3 - 1j, -3 + 1j]))
    found = largest_stable_step("euler", square).step_size
    # |1 + h (-3 + i)| = 1 at h = 6 / 10, |1 + h (-1 + i)| = 1 at h = 1.
    assert found == pytest.approx(0.6, rel=1e-9)
    blocks = np.array([[-2.0, 1.5], [0.0, -2.0]])
    hull = Hull(numerical_range(blocks, angles=128).outer)
    by_range = largest_stable_step("euler", hull).step_size
    # The numerical range is the disc of radius 3/4 about -2; its outer polygon a little more.
    assert by_range == pytest.approx(2 / 2.75, rel=1e-3) and by_range < 2 / 2.75
    assert by_range < largest_stable_step("euler", np.linalg.eigvals(blocks)).step_size


def test_pairs_are_commuting_parts_of_a_problem():
    problem = LinearProblem((64, 64), velocity=(1.0, 0.5), reaction=-0.2)
    pairs = problem.split_spectrum()
    found = largest_stable_step("ars222", Pairs(pairs[:, 0], pairs[:, 1]))
    R = stability_of("ars222")
    h = found.step_size
    assert np.abs(R(0.999 * h * pairs[:, 0], 0.999 * h * pairs[:, 1])).max() <= 1 + 1e-12
    assert np.abs(R(1.001 * h * pairs[:, 0], 1.001 * h * pairs[:, 1])).max() > 1
    assert amplification("ars222", Pairs(pairs[:, 0], pairs[:, 1]), 0.5 * h).stable
    assert not amplification("ars222", Pairs(pairs[:, 0], pairs[:, 1]), 1.01 * h).stable
    # Another method sees the sums.
    assert largest_stable_step("rk4", Pairs(pairs[:, 0], pairs[:, 1])).step_size == pytest.approx(
        largest_stable_step("rk4", problem.spectrum()).step_size, rel=1e-9
    )
    with pytest.raises(InputError, match="pairs of an explicit and an implicit"):
        largest_stable_step("ars222", [-1.0])
    with pytest.raises(InputError, match="matching shapes"):
        largest_stable_step("ars222", Pairs([1.0, 2.0], [1.0, 2.0, 3.0]))
    growing = largest_stable_step("ars222", Pairs(0.5, [0.0, -1.0]))
    assert growing.growing_rate == 0.5 and growing.step_size == 0.0


def test_pairs_of_an_oscillation_with_implicit_damping_of_nothing():
    # Crank-Nicolson with leapfrog keeps |zeta| = 1 on explicit oscillations below one.
    found = largest_stable_step("cnlf", Pairs([0.5j, -0.5j], [0.0, 0.0]))
    assert found.step_size == pytest.approx(2.0, rel=1e-6)


# theory §4.7: radius 0.5 and norm 50 at h = 0.5.
FIXTURE = np.array([[-1.0, 100.0], [0.0, -2.0]])


def test_a_non_normal_operator_is_named_and_its_norm_stands_beside():
    operator = Operator.of(FIXTURE)
    found = largest_stable_step("euler", operator)
    assert found.step_size == pytest.approx(1.0)
    assert found.contractive_step == 0.0  # the logarithmic norm is 48.5
    assert any("not normal" in warning for warning in found.warnings)
    control = Operator.of(np.array([[-2.0, 1.0], [1.0, -2.0]]))
    assert control.normal
    quiet = largest_stable_step("euler", control)
    assert quiet.warnings == ()
    assert quiet.contractive_step == pytest.approx(quiet.step_size, rel=1e-8)


@pytest.mark.parametrize("name", ["euler", "heun", "rk4", "rkc1:stages=4"])
def test_the_contractive_step_is_sharp(name):
    rng = np.random.default_rng(5)
    B = rng.normal(size=(5, 5))
    A = -(B @ B.T) + (B - B.T) - 0.3 * np.eye(5)
    R, operator = stability_of(name), Operator.of(A)
    limit = largest_stable_step(name, operator).step_size
    h = contractive_step(R, operator, limit)
    assert 0 < h <= limit

    def norm(step):
        w, V = np.linalg.eig(step * A)
        return np.linalg.norm(V @ np.diag(R(w)) @ np.linalg.inv(V), 2)

    assert all(norm(x * h) <= 1 + 1e-7 for x in np.linspace(0.01, 0.9999, 80))
    if h < limit * (1 - 1e-6):
        assert norm(1.001 * h) > 1
    assert contractive_step(stability_of("backward-euler"), operator, math.inf) == math.inf


def jordan(size, eigenvalue, rng):
    """A Jordan block in a random orthogonal basis: rounding splits its eigenvalue."""
    Q, _ = np.linalg.qr(rng.normal(size=(size, size)))
    return Q @ (eigenvalue * np.eye(size) + np.eye(size, k=1)) @ Q.T


def test_defective_eigenvalues_on_the_boundary_are_named():
    rng = np.random.default_rng(0)
    found = largest_stable_step("rk4", Operator.of(jordan(2, 0.0, rng)))
    assert found.growing_rate == 0.0
    assert any("defective and stays on the boundary" in warning for warning in found.warnings)
    limited = largest_stable_step("euler", Operator.of(jordan(2, -1.0, rng)))
    assert limited.step_size == pytest.approx(2.0, rel=1e-6)
    assert any("at the limit itself powers grow" in warning for warning in limited.warnings)
    # Two equal eigenvalues with two eigenvectors are no defect.
    merged = merge_defective(Operator.of(scipy.linalg.block_diag([[-1.0]], [[-1.0]], [[-2.0]])))
    assert merged.defective == ()
    # A defect of the limiting eigenvalue is real: norms at the limit grow linearly.
    G = np.eye(2) + 2.0 * jordan(2, -1.0, rng)
    assert np.linalg.norm(np.linalg.matrix_power(G, 1000), 2) > 500


def test_symbols_are_judged_by_their_blocks():
    rng = np.random.default_rng(3)
    K: Coupling = Full(0.2 * rng.normal(size=(3, 3, 3, 3)) - 2 * np.eye(3)[:, :, None, None] / 9)
    operator = field_operator(K, Grid((6, 6)))
    dense = K.to_dense(Grid((6, 6)))
    assert operator.norm == pytest.approx(np.linalg.norm(dense, 2), rel=1e-10)
    found = largest_stable_step("heun", operator)
    reference = largest_stable_step("heun", np.linalg.eigvals(dense))
    assert found.step_size == pytest.approx(reference.step_size, rel=1e-9)


def test_what_cannot_be_a_set_is_refused():
    for make, part in (
        (lambda: Disc(0.0, -1.0), "radius >= 0"),
        (lambda: RealInterval(1.0, 0.0), "lower one first"),
        (lambda: Operator.of(np.zeros((2, 3))), "square matrix"),
        (lambda: Operator.of(np.array([[np.nan]])), "finite entries"),
        (lambda: Eigenvalues.of([]), "at least one eigenvalue"),
        (lambda: Eigenvalues.of(["a"]), "list of eigenvalues"),
    ):
        with pytest.raises(InputError, match=part):
            make()
