"""What the steps of a network keep for every coupling: energy, areas, distances at their limits."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor

from analysis.dynamics import parabolic_limits
from analysis.methods import METHODS, method
from analysis.stabilised import StabilisedMethod
from analysis.tableau import ButcherTableau, ImexTableau
from pdenet.integrators.choice import family_of
from pdenet.layers.block import Block
from pdenet.layers.terms import DiffusionReactionTerm, ParabolicTerm
from pdenet.layers.time_step import TimeStep
from pdenet.layers.wave_terms import HamiltonianTerm, SecondOrderTerm
from pdenet.operators.conv import OPERATORS
from tests.contracts import dense_operator
from tests.pdenet.combinations import (
    PADDINGS,
    SIZE,
    accepted,
    block_of,
    configuration,
    images,
    network,
)

COUPLINGS = tuple(OPERATORS)
PARTITIONED = tuple(m for m in METHODS if family_of(method(m)) == "partitioned")
IMEX = tuple(m for m in METHODS if isinstance(method(m), ImexTableau))
ONE_STEP = (ButcherTableau, StabilisedMethod)


def term_of(**options):
    """The right-hand side of the first step of a network in float64, random weights."""
    return block_of(network(configuration(**options))).first.term


def jacobian(mapping, at: Tensor) -> Tensor:
    """Dense, of images to images of equal shape."""

    def flat(vector: Tensor) -> Tensor:
        return mapping(vector.reshape(at.shape)).flatten()

    return torch.func.jacrev(flat)(at.flatten()).detach()


def matrix_of(linear, like: Tensor) -> Tensor:
    """Dense, of a linear map of images, by one batch of unit vectors."""
    n = like.numel()
    with torch.no_grad():
        return linear(torch.eye(n, dtype=like.dtype).reshape(n, *like.shape[1:])).reshape(n, n).T


def norm(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix, 2))


def spectral_norm(*operators) -> float:
    """Of operators one above the other, from dense matrices of shifts."""
    return norm(torch.cat([torch.from_numpy(dense_operator(K, SIZE)) for K in operators]))


# Hamiltonian and second-order blocks.


def energy(term: HamiltonianTerm | SecondOrderTerm, state: Tensor) -> float:
    """Phi(K1 z + b1) + Phi(K2 y + b2), or |v|^2 / 2 + Phi(K y + b), with Phi = log cosh."""
    y, z = state.chunk(2, dim=1)
    with torch.no_grad():
        if isinstance(term, HamiltonianTerm):
            return float((log_cosh(term.first(z)) + log_cosh(term.second(y))).sum())
        return float(z.square().sum() / 2 + log_cosh(term.operator(y)).sum())


def log_cosh(x: Tensor) -> Tensor:
    return x.abs() + torch.log1p(torch.exp(-2 * x.abs())) - math.log(2)


def frequency(term: HamiltonianTerm | SecondOrderTerm) -> float:
    """The largest at the origin without biases; ``h omega < 2`` is the limit (theory §4.4).

    Of two operators it is at most ``||K1|| ||K2||``, with which the theorem is stated.
    """
    if isinstance(term, SecondOrderTerm):
        return spectral_norm(term.operator)
    first, second = (torch.from_numpy(dense_operator(K, SIZE)) for K in (term.first, term.second))
    squares = torch.linalg.eigvals(first.T @ first @ second.T @ second)
    return math.sqrt(float(squares.abs().max()))


OSCILLATING = list(itertools.product(("hamiltonian", "second-order"), COUPLINGS))


@pytest.mark.parametrize(("block", "coupling"), OSCILLATING)
def test_energy_does_not_drift_and_areas_stay(block: str, coupling: str) -> None:
    """Over 500 steps of half the limit; forward Euler, of a tenth of it, drifts away."""
    term = term_of(block=block, coupling=coupling, method="verlet")
    state = term.initial(images(8 if block == "hamiltonian" else 4, batch=1))
    start = energy(term, state)

    def deviations(name: str, h: float) -> list[float]:
        step, moving, found = TimeStep(term, name, h), state, []
        with torch.no_grad():
            for n in range(500):
                moving = step(moving)
                if n % 5 == 4:
                    found.append(abs(energy(term, moving) - start) / start)
        return found

    for name in PARTITIONED:
        h = 1.0 / frequency(term)
        found = deviations(name, h)
        assert max(found) < {"symplectic-euler": 0.5, "verlet": 0.15, "ruth3": 0.05}[name]
        assert max(found[50:]) < 1.5 * max(found[:50])
        check_areas(TimeStep(term, name, h), state)
    drifting = deviations("euler", 0.1 / frequency(term))
    assert drifting[-1] > 1.5 * max(drifting[:50]) > 0


def check_areas(step: TimeStep, state: Tensor) -> None:
    """``J^T S J = S``: the step is symplectic."""
    J = jacobian(step, state)
    half, zero = torch.eye(len(J) // 2, dtype=J.dtype), torch.zeros(len(J) // 2, len(J) // 2)
    S = torch.cat((torch.cat((zero, half), 1), torch.cat((-half, zero), 1)))
    torch.testing.assert_close(J.T @ S @ J, S, rtol=0, atol=1e-11)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_oscillations_grow_just_beyond_their_limit(coupling: str) -> None:
    """theory §4.4: strict, at the origin, where every slope is one."""
    for block in ("hamiltonian", "second-order"):
        term = term_of(block=block, coupling=coupling, method="verlet")
        shift(term)
        origin = torch.zeros_like(term.initial(images(8 if block == "hamiltonian" else 4, batch=1)))
        omega = frequency(term)
        for name in ("symplectic-euler", "verlet"):
            inside, beyond = (
                float(torch.linalg.eigvals(jacobian(TimeStep(term, name, h), origin)).abs().max())
                for h in (1.99 / omega, 2.01 / omega)
            )
            assert inside < 1 + 1e-6
            assert beyond > 1.05


def shift(module: torch.nn.Module, by: float = 0.0) -> None:
    """All biases to one number."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.fill_(by)


# Parabolic and dissipative blocks.

MONOTONE = {
    "parabolic": {"block": "parabolic"},
    "dissipative": {"block": "diffusion-reaction", "reaction": "dissipative"},
}


def curvature(term: ParabolicTerm | DiffusionReactionTerm) -> float:
    """``L ||K||^2`` of the operators one above the other (theory §4.1, §4.10a)."""
    if isinstance(term, ParabolicTerm):
        return spectral_norm(term.operator) ** 2
    return spectral_norm(term.diffusion_operator, term.reaction_operator) ** 2


def one_step_methods(options: dict[str, str]) -> list[str]:
    """Runge-Kutta methods of the whole field that the block accepts."""
    names = [m for m in METHODS if isinstance(method(m), ONE_STEP)]
    return [m for m in names if accepted(options | {"method": m})]


@pytest.mark.parametrize("kind", MONOTONE)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_distances_never_grow_within_the_limit(coupling: str, kind: str) -> None:
    """Jacobians at random patterns of slopes 0 and 1, and of 1 alone, at the limit of every method.

    Implicit methods, whose limits are larger, by pairs of points far from one another and near.
    """
    options = MONOTONE[kind] | {"coupling": coupling}
    term = term_of(**options, activation="relu")
    bound = curvature(term)
    points = [size * images(4, batch=1, seed=seed) for seed, size in ((1, 1), (2, 1), (3, 30))]
    limited = 0
    for name in one_step_methods(options):
        limit = parabolic_limits(name, bound).nonexpansive
        if limit == 0:
            continue
        limited += limit < math.inf
        step = TimeStep(term, name, min(limit, 100 / bound))
        if family_of(method(name)) == "implicit":
            assert growth_of_pairs(step) < 1 + 1e-9, name
            continue
        for y in points:
            assert norm(jacobian(step, y)) < 1 + 1e-9, name
        with_full_slopes = copy.deepcopy(step)
        shift(with_full_slopes, 1e3)
        assert norm(jacobian(with_full_slopes, points[0])) < 1 + 1e-9, name
    assert limited >= 10


def growth_of_pairs(step: TimeStep) -> float:
    """The largest of a few pairs."""
    y = 3 * images(4, batch=12, seed=5)
    z = y + torch.logspace(-4, 1, 12, dtype=y.dtype)[:, None, None, None] * images(4, batch=12)
    with torch.no_grad():
        moved = (step(y) - step(z)).flatten(1).norm(dim=1)
    return float((moved / (y - z).flatten(1).norm(dim=1)).max())


@pytest.mark.parametrize("kind", MONOTONE)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_linear_limits_are_sharp(coupling: str, kind: str) -> None:
    """At the origin, where all slopes are one, modes decay just below and grow just beyond."""
    options = MONOTONE[kind] | {"coupling": coupling}
    term = term_of(**options)
    shift(term)
    bound, origin = curvature(term), torch.zeros(1, 4, *SIZE, dtype=torch.float64)
    for name in one_step_methods(options):
        if family_of(method(name)) == "implicit":
            continue
        limit = parabolic_limits(name, bound).linear
        below, beyond = (
            norm(jacobian(TimeStep(term, name, h * limit), origin)) for h in (0.999, 1.001)
        )
        assert below <= 1 + 1e-9, name
        assert beyond > 1 + 1e-6, name


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_backward_euler_is_firmly_nonexpansive(coupling: str) -> None:
    """``||x1 - x2||^2 <= <x1 - x2, y1 - y2>`` for every step (theory §4.5).

    For far points, and along the steepest direction where all slopes are one.
    """
    far = term_of(coupling=coupling, activation="relu")
    near = term_of(coupling=coupling)
    shift(near)
    steepest = torch.linalg.svd(torch.from_numpy(dense_operator(near.operator, SIZE)))[2][0]
    small = 1e-3 * steepest.reshape(1, 4, *SIZE)
    pairs = [(far, images(4, seed=3), images(4, seed=4)), (near, small, -small)]
    for h in (0.1, 10.0, 1000.0):
        for term, y1, y2 in pairs:
            step = TimeStep(term, "backward-euler", h)
            with torch.no_grad():
                moved, before = step(y1) - step(y2), y1 - y2
            assert moved.square().sum() <= (moved * before).sum() * (1 + 1e-9)


# Linear diffusion, implicit.


def without_reaction(coupling: str, padding: str):
    term = term_of(
        block="diffusion-reaction", diffusion="linear", coupling=coupling, padding_mode=padding
    )
    with torch.no_grad():
        for parameter in term.reaction_operator.parameters():
            parameter.zero_()
    return term


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_implicit_diffusion_never_grows(coupling: str) -> None:
    """At ``h = 1000``, with every padding, periodic with every method; forward Euler diverges."""
    y = images(4, batch=1)
    for padding in PADDINGS:
        term = without_reaction(coupling, padding)
        euler = matrix_of(TimeStep(term, "ars111", 1000.0), y)
        modes = torch.linalg.eigvalsh((euler + euler.T) / 2)
        assert norm(euler - euler.T) < 1e-8
        assert 0 < float(modes.min()) <= float(modes.max()) <= 1 + 1e-8, padding
        # Systems at edges are solved one by one: one method is enough there.
        for name in IMEX if padding == "circular" else ():
            assert norm(matrix_of(TimeStep(term, name, 1000.0), y)) <= 1 + 1e-8, name
        with torch.no_grad():
            explicit = Block([TimeStep(term, "euler", 1000.0)], 10)(y)
        assert explicit.norm() > 1e12 * y.norm()


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_methods_of_several_steps_and_exact_flows_stay_bounded(coupling: str) -> None:
    y = images(4, batch=1)
    term = without_reaction(coupling, "circular")
    for name in ("lie", "strang"):
        assert norm(matrix_of(TimeStep(term, name, 1000.0), y)) <= 1 + 1e-12
    for name in ("sbdf1", "sbdf2", "sbdf3", "sbdf4", "cnab", "cnlf"):
        with torch.no_grad():
            late = [Block([TimeStep(term, name, 1000.0)], n)(y).norm() for n in (50, 51)]
        assert max(late) <= (1 + 1e-9) * y.norm(), name
