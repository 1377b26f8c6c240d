"""Limits of second-order and Hamiltonian blocks against dense steps, and what they conserve."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.energies import (
    distances,
    energy_change,
    leapfrog_energy,
    oscillator_energy,
    potential,
    staggered_energy,
    symplectic_euler_energy,
    verlet_energy,
    verlet_oscillation_bound,
)
from analysis.errors import InputError
from analysis.hamiltonian import (
    FORMS,
    antisymmetric_limit,
    hamiltonian_limit,
    second_order_limit,
    verlet_layers,
)
from analysis.ode_problems import pendulum

SEEDS = range(8)


def radius(matrix: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def norm(matrix: np.ndarray) -> float:
    return float(np.linalg.norm(matrix, 2))


def by_columns(step, d: int) -> np.ndarray:
    """The matrix of a linear step of two halves, one unit vector after the other."""
    return np.stack([np.concatenate(step(u[:d], u[d:])) for u in np.eye(2 * d)], axis=1)


def symplectic_euler(A: np.ndarray, B: np.ndarray, h: float) -> np.ndarray:
    def step(y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = y + h * A @ z
        return y, z - h * B @ y

    return by_columns(step, len(A))


def velocity_verlet(A: np.ndarray, h: float) -> np.ndarray:
    def step(y: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        half = v - h / 2 * A @ y
        y = y + h * half
        return y, half - h / 2 * A @ y

    return by_columns(step, len(A))


def slopes(rng: np.random.Generator, rows: int, largest: float) -> np.ndarray:
    ends = rng.integers(0, 2, rows) * largest
    return np.where(rng.random(rows) < 0.5, ends, rng.uniform(0, largest, rows))


# The limits


@pytest.mark.parametrize("seed", SEEDS)
def test_hamiltonian_blocks_do_not_grow_below_their_limit(seed: int) -> None:
    """``h L ||K1|| ||K2|| < 2`` over slopes in ``[0, L]`` and gains, from exact frozen matrices."""
    rng = np.random.default_rng(seed)
    L, d = 1.7, 3
    K1, K2 = rng.standard_normal((4, d)), rng.standard_normal((5, d))
    s1, s2 = rng.uniform(0.1, 2, 4), rng.uniform(0.1, 2, 5)
    curvatures = [L * norm(np.sqrt(s)[:, None] * K) ** 2 for s, K in ((s1, K1), (s2, K2))]
    h = 0.999 * hamiltonian_limit(*curvatures).step_size
    for _ in range(50):
        d1, d2 = slopes(rng, 4, L) * s1, slopes(rng, 5, L) * s2
        step = symplectic_euler((K1.T * d1) @ K1, (K2.T * d2) @ K2, h)
        # Modes of frequency zero are defective: their eigenvalue 1 has half of the digits.
        assert radius(step) <= 1 + 1e-6
    plain = hamiltonian_limit(norm(K1) ** 2, norm(K2) ** 2).step_size
    assert plain == pytest.approx(2 / (norm(K1) * norm(K2)))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_limits_are_sharp_where_leading_vectors_agree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    L, d = 0.8, 4
    U1, U2, V = (np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(3))
    K1, K2 = (U * np.sort(rng.uniform(0.5, 2, d))[::-1] @ V.T for U in (U1, U2))
    A, B = L * K1.T @ K1, L * K2.T @ K2
    h = hamiltonian_limit(L * norm(K1) ** 2, L * norm(K2) ** 2).step_size
    assert radius(symplectic_euler(A, B, 0.999 * h)) == pytest.approx(1, abs=1e-9)
    assert radius(symplectic_euler(A, B, 1.001 * h)) > 1.05
    h = second_order_limit(L * norm(K1) ** 2).step_size
    assert radius(velocity_verlet(A, 0.999 * h)) == pytest.approx(1, abs=1e-9)
    assert radius(velocity_verlet(A, 1.001 * h)) > 1.05
    # At the limit itself a mode is defective and grows linearly: the limit is strict.
    powers = np.linalg.matrix_power(velocity_verlet(A, h), 400)
    assert norm(powers) > 100

    def antisymmetric(h: float) -> np.ndarray:
        def step(y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            y = y + h * L * K1 @ z
            return y, z - h * L * K1.T @ y

        return by_columns(step, d)

    h = antisymmetric_limit(L * norm(K1)).step_size
    assert radius(antisymmetric(0.999 * h)) == pytest.approx(1, abs=1e-9)
    assert radius(antisymmetric(1.001 * h)) > 1.05


@pytest.mark.parametrize("seed", SEEDS)
def test_antisymmetric_blocks_do_not_grow_with_slopes_and_gains_of_their_own(seed: int) -> None:
    rng = np.random.default_rng(seed)
    L, d = 1.3, 3
    K, s1, s2 = rng.standard_normal((d, d)), rng.uniform(0.1, 2, d), rng.uniform(0.1, 2, d)
    h = 0.999 * antisymmetric_limit(L * math.sqrt(s1.max() * s2.max()) * norm(K)).step_size
    for _ in range(50):
        left, right = (slopes(rng, d, L) * s1)[:, None] * K, (slopes(rng, d, L) * s2)[:, None] * K.T
        step = np.block([[np.eye(d), h * left], [-h * right, np.eye(d) - h * h * right @ left]])
        assert radius(step) <= 1 + 1e-6


def test_other_methods_bring_their_imaginary_interval() -> None:
    A = np.array([[2.0, 0.5], [0.5, 1.0]])
    J = np.block([[np.zeros((2, 2)), np.eye(2)], [-A, np.zeros((2, 2))]])
    largest = norm(A)

    def rk4(h: float) -> np.ndarray:
        z = h * J
        return np.eye(4) + z + z @ z / 2 + z @ z @ z / 6 + z @ z @ z @ z / 24

    def leapfrog(h: float) -> np.ndarray:
        return np.block([[2 * h * J, np.eye(4)], [np.eye(4), np.zeros((4, 4))]])

    for step, interval in ((rk4, 2 * math.sqrt(2)), (leapfrog, 1.0)):
        h = second_order_limit(largest, imaginary_interval=interval).step_size
        assert radius(step(0.999 * h)) <= 1 + 1e-9
        assert radius(step(1.001 * h)) > 1.0005
    assert second_order_limit(largest, imaginary_interval=0.0).step_size == 0.0
    assert second_order_limit(0.0, imaginary_interval=0.0).step_size == math.inf


def test_modes_of_frequency_zero_drift_linearly_at_every_step() -> None:
    powers = np.linalg.matrix_power(velocity_verlet(np.zeros((1, 1)), 0.01), 1000)
    assert powers[0, 1] == pytest.approx(10.0)
    assert "drift linearly" in second_order_limit(1.0).statement


def test_numbers_without_a_limit_are_refused() -> None:
    for wrong in (-1.0, math.nan):
        for make in (
            second_order_limit,
            lambda w: hamiltonian_limit(1.0, w),
            lambda w: hamiltonian_limit(w, 1.0),
            antisymmetric_limit,
            lambda w: second_order_limit(1.0, imaginary_interval=w),
        ):
            with pytest.raises(InputError, match=">= 0"):
                make(wrong)
    with pytest.raises(InputError, match="did you mean 'two-step'"):
        verlet_layers([1.0], "twostep")
    for squares in ([-1.0], [[1.0]], [math.inf]):
        with pytest.raises(InputError, match="h omega"):
            verlet_layers(squares)


# Layers that differ


def test_alternating_layers_grow_by_the_golden_ratio() -> None:
    """The two-step recurrence itself: ``y+ = (2 - a) y - y-`` with ``a = 1, 3, 1, 3, ...``."""
    before, y, sizes = 1.0, 0.3, []
    for n in range(60):
        before, y = y, (2 - (1.0 if n % 2 == 0 else 3.0)) * y - before
        sizes.append(math.hypot(before, y))
    golden = (1 + math.sqrt(5)) / 2
    assert (sizes[-1] / sizes[19]) ** (1 / 40) == pytest.approx(golden, rel=1e-9)
    first, second = verlet_layers([1.0, 3.0])
    assert math.sqrt(radius(second @ first)) == pytest.approx(golden, rel=1e-12)
    for layer in (first, second):
        assert radius(layer) == pytest.approx(1, abs=1e-12)


def test_half_kicks_of_the_same_layers_return_to_minus_the_start() -> None:
    first, second = verlet_layers([1.0, 3.0], "kick-drift-kick")
    assert np.allclose(second @ first, -np.eye(2), atol=1e-15)
    for a in (0.1, 1.7):
        one, other = verlet_layers([a, 4 - a], "kick-drift-kick")
        assert np.allclose(other @ one, -np.eye(2), atol=1e-14)
    # Half kicks grow elsewhere, in resonance with the rotation of the layers.
    one, other = verlet_layers([1.0, 1.2], "kick-drift-kick")
    word = [*[other] * 7, one, other, other, one]
    assert radius(np.linalg.multi_dot(word)) ** (1 / 11) == pytest.approx(1.008, abs=5e-4)
    for a in (0.0, 0.7, 3.9):
        layer = verlet_layers([a], "kick-drift-kick")[0]
        assert np.allclose(layer, velocity_verlet(np.array([[a]]), 1.0), atol=1e-15)
        assert np.linalg.det(layer) == pytest.approx(1)
        # One method while the coefficients stay: the same trace and so the same eigenvalues.
        traces = [np.trace(verlet_layers([a], form)[0]) for form in FORMS]
        assert traces[0] == pytest.approx(traces[1]) == pytest.approx(2 - a)


# Energies


def spring(rng: np.random.Generator, d: int = 4) -> np.ndarray:
    K = rng.standard_normal((d, d))
    return K.T @ K


@pytest.mark.parametrize("seed", SEEDS)
def test_verlet_conserves_its_energy_to_rounding_and_no_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    A = spring(rng)
    h = 1.8 / math.sqrt(norm(A))
    step, state = velocity_verlet(A, h), rng.standard_normal(8)
    states = [state]
    for _ in range(500):
        states.append(step @ states[-1])
    y, v = np.split(np.array(states), 2, axis=1)
    conserved = energy_change(verlet_energy(A, y, v, h))
    assert conserved.oscillation < 1e-11
    plain = oscillator_energy(A, y, v)
    assert energy_change(plain).oscillation > 0.01
    assert energy_change(verlet_energy(A, y, v, 1.01 * h)).oscillation > 1e-4
    assert plain.max() / plain.min() <= verlet_oscillation_bound(h, norm(A)) * (1 + 1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_staggered_and_symplectic_steps_conserve_their_energies(seed: int) -> None:
    rng = np.random.default_rng(seed)
    A, B = spring(rng), spring(rng)
    h = 1.9 / math.sqrt(np.linalg.eigvals(A @ B).real.max())
    y, z = rng.standard_normal((2, 4))
    kept, plain = [], []
    for _ in range(300):
        kept.append(symplectic_euler_energy(A, B, y, z, h))
        plain.append(oscillator_energy(B, y, z) - z @ z + z @ A @ z)
        y = y + h * A @ z
        z = z - h * B @ y
    assert energy_change(np.array(kept)).oscillation < 1e-10
    assert energy_change(np.array(plain)).oscillation > 0.01
    h = 1.9 / math.sqrt(norm(A))
    y, v = rng.standard_normal((2, 4))
    kept, pairs = [], []
    for _ in range(300):
        kept.append(staggered_energy(A, y, v, h))
        v = v - h * A @ y
        pairs.append(v @ v + y @ A @ (y + h * v))
        y = y + h * v
    assert energy_change(np.array(kept)).oscillation < 1e-11
    assert np.allclose(kept[1:], pairs[:-1], rtol=1e-11)


def test_the_conserved_energies_are_positive_exactly_inside_the_limit() -> None:
    """Theory §4.4: this is why nothing grows there."""
    rng = np.random.default_rng(0)
    A, B = spring(rng, 3), spring(rng, 3)
    limit = 2 / math.sqrt(np.linalg.eigvals(A @ B).real.max())
    verlet = second_order_limit(norm(A)).step_size
    for factor, positive in ((0.999, True), (1.001, False)):
        form = _gram(
            lambda u, h=factor * limit: symplectic_euler_energy(A, B, u[:, :3], u[:, 3:], h)
        )
        assert (np.linalg.eigvalsh(form)[0] > 0) == positive
        form = _gram(lambda u, h=factor * verlet: verlet_energy(A, u[:, :3], u[:, 3:], h))
        assert (np.linalg.eigvalsh(form)[0] > 0) == positive


def _gram(quadratic) -> np.ndarray:
    """The matrix of a quadratic form, by polarisation."""
    units = np.eye(6)
    pairs = (units[:, None] + units[None]).reshape(-1, 6)
    own = quadratic(units)
    return (quadratic(pairs).reshape(6, 6) - own[:, None] - own[None]) / 2


def test_leapfrog_conserves_the_form_of_two_steps() -> None:
    rng = np.random.default_rng(1)
    M = rng.standard_normal((4, 4))
    J = M - M.T
    h = 0.95 / norm(J)
    before, y = rng.standard_normal((2, 4))
    kept = []
    for _ in range(500):
        kept.append(leapfrog_energy(J, y, before, h))
        before, y = y, before + 2 * h * J @ y
    assert energy_change(np.array(kept)).oscillation < 1e-11


def test_the_bound_of_the_oscillation_is_attained_and_of_order_two() -> None:
    A = np.array([[4.0]])
    for h in (0.2, 0.1):
        step, state = velocity_verlet(A, h), np.array([1.0, 0.0])
        energies = []
        for _ in range(200):
            energies.append(float(oscillator_energy(A, state[:1], state[1:])))
            state = step @ state
        reached, bound = max(energies) / min(energies), verlet_oscillation_bound(h, 4.0)
        assert 1 + 0.99 * (bound - 1) < reached <= bound * (1 + 1e-12)
    ratio = (verlet_oscillation_bound(0.02, 4.0) - 1) / (verlet_oscillation_bound(0.01, 4.0) - 1)
    assert ratio == pytest.approx(4, rel=1e-3)
    with pytest.raises(InputError, match="below 4"):
        verlet_oscillation_bound(1.0, 4.0)


def test_energy_of_a_nonlinear_block_oscillates_with_order_two_and_does_not_drift() -> None:
    """``y'' = -K^T tanh(K y + b)`` by Verlet; explicit Euler drifts."""
    rng = np.random.default_rng(2)
    K, b = rng.standard_normal((5, 3)), rng.standard_normal(5)
    y0, v0 = rng.standard_normal((2, 3))

    def force(y: np.ndarray) -> np.ndarray:
        return -K.T @ np.tanh(K @ y + b)

    def energies(h: float, steps: int, euler: bool = False) -> np.ndarray:
        y, v, found = y0, v0, []
        for _ in range(steps):
            found.append(v @ v / 2 + potential(K, b, lambda x: np.logaddexp(x, -x), y))
            if euler:
                y, v = y + h * v, v + h * force(y)
                continue
            half = v + h / 2 * force(y)
            y = y + h * half
            v = half + h / 2 * force(y)
        return np.array(found)

    coarse, fine = (energy_change(energies(h, round(200 / h))) for h in (0.1, 0.05))
    assert math.log2(coarse.oscillation / fine.oscillation) == pytest.approx(2, abs=0.25)
    assert abs(fine.drift) < 0.2 * fine.oscillation
    growing = energy_change(energies(0.05, 4000, euler=True))
    assert growing.drift > 0.5 and growing.last > 0.5


def test_the_pendulum_keeps_its_energy_along_the_exact_solution() -> None:
    problem = pendulum()
    times = np.linspace(0, 30, 200)
    change = energy_change(np.array([problem.energy(problem.exact(t)) for t in times]), times)
    assert change.oscillation < 1e-12


def test_potential_and_distance_of_a_parabolic_field_decay_up_to_the_limit() -> None:
    """Theory §4.1: forward Euler at ``h Lambda = 2``, of tanh and of ReLU."""
    rng = np.random.default_rng(3)
    K, b = rng.standard_normal((6, 4)), rng.standard_normal(6)
    curvature = norm(K) ** 2
    pairs = (
        (np.tanh, lambda x: np.logaddexp(x, -x)),
        (lambda x: np.maximum(x, 0), lambda x: np.maximum(x, 0) ** 2 / 2),
    )
    for sigma, primitive in pairs:
        h = 2 / curvature
        y, z = 3 * rng.standard_normal((2, 4))
        first, second = [y], [z]
        for _ in range(100):
            y, z = (x - h * K.T @ sigma(K @ x + b) for x in (y, z))
            first.append(y)
            second.append(z)
        # Theory §4.4: by how much it falls in a step within the limit.
        start, after = first[0], first[0] - h / 2 * K.T @ sigma(K @ first[0] + b)
        values = potential(K, b, primitive, np.stack([start, after]))
        slope = K.T @ sigma(K @ start + b)
        assert values[1] <= values[0] - h / 2 * (1 - h * curvature / 4) * slope @ slope
        energy = energy_change(1 + potential(K, b, primitive, np.array(first)))
        assert energy.largest_increase < 1e-12 and energy.last < 0
        apart = energy_change(distances(np.array(first), np.array(second)))
        assert apart.largest_increase < 1e-12 and apart.last < 0
    # The slope of the potential is the field.
    y = rng.standard_normal(4)
    for k in range(4):
        shift = 1e-5 * np.eye(4)[k]
        ends = potential(K, b, lambda x: np.logaddexp(x, -x), np.stack([y + shift, y - shift]))
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx((K.T @ np.tanh(K @ y + b))[k], rel=1e-8)


def test_beyond_its_limit_the_potential_of_a_parabolic_field_can_grow() -> None:
    y, K = np.array([0.01]), np.ones((1, 1))
    after = y - 2.01 * np.tanh(y)
    before, later = potential(K, np.zeros(1), lambda x: np.logaddexp(x, -x), np.stack([y, after]))
    assert later > before


def test_trajectories_that_are_none_are_refused() -> None:
    for energies in (np.ones(1), np.array([0.0, 1.0]), np.array([1.0, np.nan]), np.ones((2, 2))):
        with pytest.raises(InputError, match="two finite energies"):
            energy_change(energies)
    uneven = energy_change(np.array([1.0, 2.0, 5.0]), np.array([0.0, 1.0, 4.0]))
    assert uneven.drift == pytest.approx(4.0)
    assert (uneven.largest_increase, uneven.last, uneven.oscillation) == (3.0, 4.0, 4.0)
