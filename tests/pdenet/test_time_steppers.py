"""Every method of the tables as the steps of a network: which fields it serves, and its order."""

import math
from functools import lru_cache

import pytest
import torch
from torch import nn

from analysis.errors import InputError
from analysis.methods import METHODS, method
from analysis.stability import stability_function
from pdenet.integrators.choice import FAMILIES, family_of, stepper_of
from pdenet.integrators.splitting import PartitionedStepper
from pdenet.layers.block import Block
from pdenet.layers.terms import DiffusionReactionTerm, ParabolicTerm, ResidualTerm
from pdenet.layers.time_step import TimeStep
from pdenet.layers.wave_terms import HamiltonianTerm, SecondOrderTerm
from pdenet.operators.conv import make_operator

SIZE = (5, 4)


def operator(channels, coupling="depthwise", bias=True):
    return make_operator(coupling, channels, channels, padding_mode="circular", bias=bias)


def diffusion_reaction(diffusion="linear"):
    D = operator(3, bias=diffusion == "nonlinear")
    W = operator(3, "pointwise")
    parts = (D, nn.Identity(), W, nn.Identity(), "tanh")
    return DiffusionReactionTerm(*parts, diffusion=diffusion, reaction="plain")


FIELDS = {
    "parabolic": lambda: ParabolicTerm(operator(3, "lean"), nn.Identity(), "tanh"),
    "residual": lambda: ResidualTerm(
        operator(3, "full"), operator(3, bias=False), nn.Identity(), "tanh"
    ),
    "linear diffusion": diffusion_reaction,
    "nonlinear diffusion": lambda: diffusion_reaction("nonlinear"),
    "hamiltonian": lambda: HamiltonianTerm(
        operator(2), nn.Identity(), operator(2, "full"), nn.Identity(), "tanh"
    ),
    "second order": lambda: SecondOrderTerm(operator(3), nn.Identity(), "tanh"),
}


def field(name, seed=5):
    torch.manual_seed(seed)
    return FIELDS[name]().double()


def images(name, seed=1):
    generator = torch.Generator().manual_seed(seed)
    channels = 4 if name == "hamiltonian" else 3
    return torch.randn(1, channels, *SIZE, dtype=torch.float64, generator=generator)


def fits(term, name):
    try:
        stepper_of(method(name))
        term.check_method(family_of(method(name)))
    except InputError:
        return False
    return True


COUPLED = {"gauss2", "gauss3", "radau-iia2", "radau-iia3"}
COUPLED |= {"lobatto-iiic2", "lobatto-iiic3", "lobatto-iiic4"}
WITHOUT_START = {"am3", "am4", "am5", "am6", "bdf4", "bdf5", "bdf6"}
"""Multistep methods whose first values would need a diagonally implicit method of order 3."""


def test_which_method_serves_which_field():
    served = {name: {m for m in METHODS if fits(field(name), m)} for name in FIELDS}
    by_family = {kind: {m for m in METHODS if family_of(method(m)) == kind} for kind in FAMILIES}
    assert set().union(*by_family.values()) == set(METHODS)
    refused = COUPLED | WITHOUT_START
    assert served["residual"] == by_family["explicit"]
    assert served["parabolic"] == by_family["explicit"] | by_family["implicit"] - refused
    for name in ("linear diffusion", "nonlinear diffusion"):
        wanted = by_family["explicit"] | by_family["implicit-explicit"] | by_family["splitting"]
        assert served[name] == wanted
    for name in ("hamiltonian", "second order"):
        assert served[name] == by_family["explicit"] | by_family["partitioned"]
    assert refused == {m for m in by_family["implicit"] if m not in served["parabolic"]}


def solve(term, name, steps, y, time=1.0):
    with torch.no_grad():
        return Block([TimeStep(term, name, time / steps)], steps)(y)


STEPS = {1: 80, 2: 40, 3: 24, 4: 16, 5: 10, 6: 12}
"""From here on the leading term of the error rules; twice as many stay above rounding."""
HIGH_ADAMS = ("ab5", "ab6")
"""They come to their order only where rounding has begun."""
CASES = [
    (name, m) for name in FIELDS for m in METHODS if fits(field(name), m) and m not in HIGH_ADAMS
]


@lru_cache
def truth(name):
    """By a method of order five with small steps."""
    return solve(field(name), "dopri5", 150, images(name))


@pytest.mark.parametrize(("name", "method_name"), CASES)
def test_observed_order(name, method_name):
    """Of the whole integration of the same field, with a smooth activation."""
    term, y, order = field(name), images(name), method(method_name).order
    steps = STEPS[order]
    errors = [
        float((solve(term, method_name, n, y) - truth(name)).norm()) for n in (steps, 2 * steps)
    ]
    # Methods of order five come to their slope where rounding begins.
    allowed = 0.25 if order <= 4 else 0.6
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=allowed)


@pytest.mark.parametrize("name", ["backward-euler", "crank-nicolson", "sdirk2", "theta:value=1/3"])
def test_implicit_steps_of_a_linear_field_are_the_stability_function(name):
    """theory §4.2: an identity activation does not exist; softplus far from zero is one."""
    term = field("parabolic")
    with torch.no_grad():
        term.operator.bias.fill_(0.0)
    y = 1e-7 * images("parabolic")  # tanh z = z up to 1e-21
    h, R = 0.7, stability_function(method(name))
    A = (
        torch.stack(
            [
                term(e.reshape(1, 3, *SIZE)).flatten()
                for e in 1e-7 * torch.eye(60, dtype=torch.float64)
            ],
            1,
        ).detach()
        / 1e-7
    )
    z = h * A
    numerator, denominator = (
        sum(float(c) * torch.linalg.matrix_power(z, k) for k, c in enumerate(p))
        for p in (R.numerator, R.denominator)
    )
    expected = torch.linalg.solve(denominator, numerator @ y.flatten())
    step = TimeStep(term, name, h)
    torch.testing.assert_close(step(y).flatten(), expected, rtol=1e-8, atol=1e-16)


def test_multistep_methods_read_slopes_of_their_own_layers():
    """Adams-Bashforth over layers with other weights: f_n is evaluated once, by layer n."""
    terms = [field("parabolic", seed) for seed in range(4)]
    y0, h = images("parabolic"), 0.3
    block = Block([TimeStep(term, "ab2", h) for term in terms], 4)
    f = [None] * 4
    ys = [y0]
    f[0] = terms[0](y0)
    heun = y0 + h * (f[0] + terms[0](y0 + h * f[0])) / 2
    ys.append(heun)
    for n in range(1, 4):
        f[n] = terms[n](ys[n])
        ys.append(ys[n] + h * (1.5 * f[n] - 0.5 * f[n - 1]))
    torch.testing.assert_close(block(y0), ys[4], rtol=1e-13, atol=1e-14)
    evaluation = terms[0].multiply_adds(*SIZE)
    # The first step costs Heun's two evaluations and the one whose slope is kept.
    assert block.multiply_adds(*SIZE) == (3 + 1 + 1 + 1) * evaluation


def test_symplectic_euler_is_the_leapfrog_of_the_networks_literature():
    """Ruthotto & Haber: Y_{j+1} = 2 Y_j - Y_{j-1} + h^2 f_j(Y_j), Y_{-1} = Y_0."""
    terms = [field("second order", seed) for seed in range(5)]
    y, h = images("second order"), 0.4
    before, now = y, y
    for term in terms:
        before, now = now, 2 * now - before + h**2 * term.kick(now)
    block = Block([TimeStep(term, "symplectic-euler", h) for term in terms], 5)
    torch.testing.assert_close(block(y), now, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", ["symplectic-euler", "verlet", "ruth3"])
@pytest.mark.parametrize("kind", ["hamiltonian", "second order"])
def test_partitioned_steps_keep_areas_and_energy(kind, name):
    """The Jacobian is symplectic, J^T S J = S, and the energy does not drift."""
    term = field(kind)
    step = TimeStep(term, name, 0.3)
    state = term.initial(images(kind))
    n = state.numel()
    J = torch.func.jacrev(lambda s: step(s.reshape(state.shape)).flatten())(state.flatten())
    half = n // 2
    S = torch.zeros(n, n, dtype=torch.float64)
    S[:half, half:] = torch.eye(half, dtype=torch.float64)
    S[half:, :half] = -torch.eye(half, dtype=torch.float64)
    torch.testing.assert_close(J.T @ S @ J, S, rtol=0, atol=1e-12)
    small = TimeStep(term, name, 0.02)
    with torch.no_grad():
        start, moving, energies = energy(kind, term, state), state, []
        for _ in range(1000):
            moving = small(moving)
            energies.append(energy(kind, term, moving))
    drift = max(abs(e - start) for e in energies) / abs(start)
    assert drift < {"symplectic-euler": 0.05, "verlet": 1e-3, "ruth3": 1e-4}[name]
    euler = TimeStep(term, "euler", 0.02)
    with torch.no_grad():
        for _ in range(1000):
            state = euler(state)
    assert abs(energy(kind, term, state) - start) > 2 * drift * abs(start)


def log_cosh(z):
    return torch.log(torch.cosh(z)).sum().item()


def energy(kind, term, state):
    """H = Phi(K1 z + b1) + Phi(K2 y + b2), or |v|^2 / 2 + Phi(K y + b), with Phi' = tanh."""
    y, z = state.chunk(2, dim=1)
    if kind == "hamiltonian":
        return log_cosh(term.first(z)) + log_cosh(term.second(y))
    return z.square().sum().item() / 2 + log_cosh(term.operator(y))


@pytest.mark.parametrize("kind", ["hamiltonian", "second order"])
def test_partitioned_steps_are_undone_by_the_step_backwards(kind):
    term = field(kind)
    state = term.initial(images(kind))
    stepper = stepper_of(method("verlet"))
    there = stepper.advance(term, stepper.begin(term, state), 0.3)
    back = PartitionedStepper(stepper.flows[::-1]).advance(term, there, -0.3)
    torch.testing.assert_close(stepper.end(back), state, rtol=1e-13, atol=1e-13)


def test_lie_and_strang_are_the_flows_in_turn():
    """Exact diffusion, and Euler or Heun steps of the reaction."""
    term, y, h = field("linear diffusion"), images("linear diffusion"), 0.3
    A = dense(term.diffuse, y)
    flow = torch.linalg.matrix_exp(h * A)

    def diffused(v):
        return (flow @ v.flatten()).reshape(v.shape)

    lie = diffused(y + h * term.react(y))
    torch.testing.assert_close(TimeStep(term, "lie", h)(y), lie, rtol=1e-11, atol=1e-12)

    def heun(v, t):
        slope = term.react(v)
        return v + t / 2 * (slope + term.react(v + t * slope))

    strang = heun(diffused(heun(y, h / 2)), h / 2)
    torch.testing.assert_close(TimeStep(term, "strang", h)(y), strang, rtol=1e-11, atol=1e-12)
    nonlinear = field("nonlinear diffusion")
    after = y + h * nonlinear.react(y)
    torch.testing.assert_close(
        TimeStep(nonlinear, "lie", h)(y),
        after + h * nonlinear.diffuse(after),
        rtol=1e-13,
        atol=1e-13,
    )


def dense(linear, like):
    columns = [linear(e.reshape(like.shape)).flatten() for e in torch.eye(like.numel()).double()]
    return torch.stack(columns, 1).detach()


def test_imex_stages_of_a_two_stage_method_by_hand():
    """ars222: gamma = 1 - 1/sqrt 2, every implicit stage by a dense solve."""
    term, y, h = field("linear diffusion"), images("linear diffusion"), 0.4
    gamma, delta = 1 - math.sqrt(0.5), -math.sqrt(0.5)
    A = dense(term.diffuse, y)
    eye = torch.eye(y.numel(), dtype=torch.float64)

    def solved(right):
        return torch.linalg.solve(eye - h * gamma * A, right.flatten()).reshape(y.shape)

    def g(v):
        return (A @ v.flatten()).reshape(y.shape)

    f1 = term.react(y)
    second = solved(y + h * gamma * f1)
    f2 = term.react(second)
    third = solved(y + h * (delta * f1 + (1 - delta) * f2) + h * (1 - gamma) * g(second))
    torch.testing.assert_close(TimeStep(term, "ars222", h)(y), third, rtol=1e-10, atol=1e-11)
