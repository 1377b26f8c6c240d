"""Verdicts on every kind of step against dense Jacobians of small networks."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from analysis.dynamics import STATEMENTS
from analysis.methods import method
from analysis.stability_of import stability_of
from analysis.step_growth import additive_growth, multistep_growth, partitioned_growth
from pdenet.inspection.crosscheck import BOUNDED, FROZEN, NON_EXPANSIVE, theory_of
from pdenet.inspection.figures import cloud, region_method
from pdenet.inspection.reader import double_inference, read_layers
from pdenet.inspection.verdict import judge, step_verdicts
from pdenet.inspection.wave_steps import fastest_mode
from pdenet.network_config import NetworkConfig
from pdenet.networks import PDENet

SMALL = NetworkConfig(
    in_channels=1, classes=2, widths=(4,), steps=2, groups=2, step_size=0.4, activation="tanh",
    normalization="none",
)  # fmt: skip
DIFFUSION = {"block": "diffusion-reaction"}
LINEAR = DIFFUSION | {"diffusion": "linear"}
CASES = [
    {"method": "backward-euler", "step_size": 3.0},
    {"method": "crank-nicolson", "step_size": 3.0},
    {"method": "sdirk2", "step_size": 20.0},
    {"method": "ab2"},
    {"method": "bdf2", "step_size": 2.0},
    {"method": "am1", "step_size": 2.0},
    {"activation": "gelu"},
    {"activation": "gelu", "method": "heun"},
    {"block": "residual", "method": "ab3", "steps": 4},
    *({"block": b, "method": m} for b in ("hamiltonian", "second-order") for m in (
        "verlet", "symplectic-euler", "ruth3", "rk4", "leapfrog",
    )),
    *(DIFFUSION | {"method": m, "reaction": r} for m in ("lie", "strang", "ars222") for r in (
        "dissipative", "plain",
    )),
    *(LINEAR | {"method": m, "reaction": r, "padding_mode": p} for m, r, p in (
        ("lie", "plain", "circular"), ("strang", "dissipative", "circular"),
        ("strang", "plain", "zeros"), ("ars111", "plain", "zeros"),
        ("ars232", "dissipative", "circular"), ("ars443", "plain", "circular"),
        ("sbdf2", "dissipative", "circular"), ("cnab", "plain", "circular"),
        ("cnlf", "plain", "circular"),
    )),
    LINEAR | {"method": "euler", "reaction": "plain", "reaction_coupling": "lean"},
    DIFFUSION | {"method": "heun", "reaction_coupling": "depthwise"},
]  # fmt: skip


def network(seed=0, gain=1.5, **options):
    torch.manual_seed(seed)
    found = PDENet(replace(SMALL, **options))
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.mul_(gain)
    return double_inference(found)


def images(seed=1, side=(4, 3)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 1, *side, dtype=torch.float64, generator=generator)


def steps_of(net):
    return [layer for layer in read_layers(net, images()) if layer.kind == "step"]


def jacobian(layer, state):
    shape = state.shape
    J = torch.func.jacrev(lambda s: layer.apply(s.reshape(1, *shape)).flatten())(state.flatten())
    return J.detach().numpy()


def states_of(layer, theory, scale=(0.0, 0.3, 1.0)):
    found = [factor * state for state in layer.features[:2] for factor in scale]
    return [*found, *(() if theory.points is None else theory.points)]


@pytest.mark.parametrize("options", CASES, ids=lambda o: "-".join(map(str, o.values())))
def test_no_jacobian_is_larger_than_the_certified_growth(options):
    layer = steps_of(network(**options))[0]
    theory = theory_of(layer)
    states = states_of(layer, theory)
    if "step_size" in options:  # implicit steps take their time
        states = states[1:3]
    norms = [np.linalg.norm(jacobian(layer, s), 2) for s in states]
    assert max(norms) <= theory.growth_certified * (1 + 1e-9)
    assert theory.statement in STATEMENTS.values()
    if theory.claim == NON_EXPANSIVE and theory.proved:
        assert theory.growth_certified <= 1
    # The bound is of the right size, not merely large (of multistep methods it is a majorant).
    allowed = 60 if layer.name.startswith("blocks.0.steps") else 300
    assert theory.growth_certified <= allowed * max(max(norms), 1.0)


WAVES = [
    (block, method_name)
    for block in ("hamiltonian", "second-order")
    for method_name in ("symplectic-euler", "verlet", "ruth3", "rk4")
]


@pytest.mark.parametrize("coupling", ["full", "depthwise", "lean", "circulant"])
@pytest.mark.parametrize(("block", "method_name"), WAVES)
def test_frozen_limits_hold_below_and_fail_above(block, method_name, coupling):
    """At rest with tanh every unit is at full slope: the largest frequency is reached."""
    net = network(block=block, method=method_name, coupling=coupling, padding_mode="circular")
    layer = steps_of(net)[0]
    step = layer.module
    with torch.no_grad():
        for name, parameter in step.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
        if block == "hamiltonian":  # one operator: the leading vectors agree
            step.term.first.load_state_dict(step.term.second.state_dict())
    # On a grid whose frequencies hold the maximum, the certificate for all sizes is attained.
    rest = torch.zeros_like(layer.features[0])
    true = true_limit(layer, rest)
    limit = theory_of(layer).linear_limit
    assert limit <= true * (1 + 1e-9)
    for factor, proved in [(0.999, True), (1.001, False)]:
        step.step_size = factor * limit
        theory = theory_of(layer)
        assert (theory.claim, theory.proved) == (FROZEN, proved)
    step.step_size = 0.999 * true
    assert radius(layer, rest) <= 1 + 1e-6
    step.step_size = 1.001 * true
    assert radius(layer, rest) > 1 + 1e-4
    verdict = judge(layer)
    mode = verdict.mode
    assert (verdict.grade, verdict.contradicted) == ("violated", True)
    assert 1 < mode.radius <= radius(layer, mode.state) * (1 + 1e-6)
    assert mode.radius == pytest.approx(radius(layer, mode.state), rel=2e-3)
    assert any("grows" in warning for warning in verdict.warnings)
    state, moved = verdict.pair
    assert torch.equal(state, mode.state)
    assert not torch.equal(state, moved)


def radius(layer, state):
    return float(max(abs(np.linalg.eigvals(jacobian(layer, state)))))


def true_limit(layer, state):
    """Imaginary interval over the largest frequency of the dense field at a state."""
    step = layer.module
    shape = state.shape
    J = torch.func.jacrev(lambda s: step.term(s.reshape(1, *shape)).flatten())(state.flatten())
    frequency = max(abs(np.linalg.eigvals(J.detach().numpy()).imag))
    return stability_of(step.method).imaginary_interval / frequency


# Negative gains: the Jacobians of drift and minus kick are indefinite.


def signed(gains, matrices=None, side=(1, 1), h=0.5, **options):
    """A step with the gains ``(S1, S2)``, at rest where all units have full slope."""
    width = 2 * len(gains[0])
    options = {"block": "hamiltonian", "method": "verlet", "coupling": "pointwise"} | options
    net = network(widths=(width,), normalization="batch", step_size=h, **options)
    layer = steps_of(net)[0]
    term = layer.module.term
    with torch.no_grad():
        for index, name in enumerate(("first", "second")):
            norm = getattr(term, f"{name}_normalization")
            gain = torch.as_tensor(gains[index], dtype=torch.float64)
            norm.weight.copy_(gain * (1 + norm.eps) ** 0.5)
            norm.bias.zero_()
            if matrices is not None:
                getattr(term, name).weight.copy_(
                    torch.as_tensor(matrices[index])[..., None, None]
                    if getattr(term, name).weight.ndim == 4
                    else torch.as_tensor(matrices[index])
                )
    return replace(layer, features=torch.zeros(1, width, *side, dtype=torch.float64))


def halves(layer, state):
    """Dense ``A`` and ``B`` at a state."""
    y, z = state.chunk(2, dim=0)
    term = layer.module.term
    found = [
        torch.func.jacrev(lambda s, f=f, n=x.shape: f(s.reshape(1, *n)).flatten())(x.flatten())
        for f, x in ((term.drift, z), (term.kick, y))
    ]
    return found[0].detach().numpy(), -found[1].detach().numpy()


def test_indefinite_halves_below_the_true_limit_are_not_called_violated():
    """The Rayleigh quotient of an indefinite product is no bound: it said 1.0563."""
    wanted = np.array([[2, 0.4995], [0.4995, -1]])
    values, Q = np.linalg.eigh(wanted)
    K2 = (np.sqrt(abs(values))[:, None] * Q.T)[::-1].copy()
    gains = ([1.0, -1.0], [1.0, -1.0])
    layer = signed(gains, (np.eye(2), K2), h=1.6208778920280245)
    rest = layer.features[0]
    A, B = halves(layer, rest)
    np.testing.assert_allclose(B, wanted, atol=1e-12)
    np.testing.assert_allclose(A, np.diag([1, -1]), atol=1e-12)
    assert radius(layer, rest) == pytest.approx(1, abs=1e-6)
    verdict = judge(layer)
    assert (verdict.grade, verdict.contradicted) == ("measured", False)
    assert verdict.mode.radius == pytest.approx(1, abs=1e-9)


def test_exponential_growth_of_the_frozen_field_itself_is_found():
    """``omega^2 = -1``: a step of Verlet's has the roots of ``r + 1 / r = 2 + h^2``."""
    layer = signed(([1.0, 1.0], [1.0, -1.0]), (np.eye(2), np.eye(2)))
    verdict = judge(layer)
    trace = 2 + 0.5**2
    expected = trace / 2 + math.sqrt(trace**2 / 4 - 1)
    assert expected == pytest.approx(1.64, abs=5e-3)
    assert verdict.grade == "violated"
    assert verdict.mode.radius == pytest.approx(expected, rel=1e-9)
    assert verdict.mode.frequency == pytest.approx(1)
    assert not verdict.mode.oscillates
    assert any("a mode of rate 1 grows" in warning for warning in verdict.warnings)
    assert verdict.mode.mode.flatten().abs().tolist() == pytest.approx([0, 1], abs=1e-12)


@pytest.mark.parametrize("method_name", ["verlet", "symplectic-euler", "ruth3", "rk4"])
@pytest.mark.parametrize("block", ["hamiltonian", "second-order"])
@pytest.mark.parametrize("limit", [600, 10])
def test_modes_of_indefinite_halves_are_those_of_dense_spectra(
    block, method_name, limit, monkeypatch
):
    monkeypatch.setattr("pdenet.inspection.wave_steps.DENSE", limit)
    side = (4, 3) if limit == 600 else (6, 5)
    for seed in range(2):
        options = {"activation": "gelu"} if seed == 1 else {}
        net = network(seed, block=block, method=method_name, normalization="batch", **options)
        layer = steps_of(net)[0]
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in layer.module.named_parameters():
            if "normalization.weight" in name:
                parameter.data = 3 * torch.randn(parameter.shape, generator=generator).double()
                parameter.data[0] = -4
            if name.endswith("normalization.bias"):
                parameter.data.zero_()
        shape = (1, layer.features.shape[1], *side)
        layer = replace(layer, features=torch.zeros(shape, dtype=torch.float64))
        mode = fastest_mode(layer, layer.module, None, semidefinite=False)
        moduli = abs(np.linalg.eigvals(jacobian(layer, mode.state)))
        assert abs(moduli - mode.radius).min() < 1e-6
        assert mode.radius > moduli.max() - 1e-6
        assert mode.radius > 1.001
        A, B = halves(layer, mode.state)
        if mode.square.imag == 0:  # the evidence is an eigenvector, not any vector of the iteration
            v = mode.mode.flatten().numpy()
            np.testing.assert_allclose(A @ B @ v, mode.square.real * v, atol=1e-6)


def test_complex_frequencies_are_found_with_a_real_direction():
    wanted = np.array([[1.0, 2.0], [2.0, 1.0]])  # A B = [[1, 2], [-2, -1]]: omega^2 = +-i sqrt(3)
    values, Q = np.linalg.eigh(wanted)
    K2 = np.sqrt(abs(values))[:, None] * Q.T
    layer = signed(([1.0, -1.0], [-1.0, 1.0]), (np.eye(2), K2))
    verdict = judge(layer)
    assert verdict.grade == "violated"
    assert abs(verdict.mode.square.imag) == pytest.approx(math.sqrt(3))
    assert verdict.mode.frequency == pytest.approx(3**0.25)
    assert verdict.mode.radius == pytest.approx(radius(layer, verdict.mode.state), abs=1e-6)
    assert float(verdict.mode.mode.norm()) == pytest.approx(1)


def test_halves_with_a_kernel_or_without_a_spectrum_grow_nowhere():
    """Eigenvalues of rounding about zero are no growth, whatever their sign."""
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    K = np.diag([1.0, 1e-9, 0.5, 0.0]) @ Q.T
    layer = signed(([1.0, 1.0, 1.0, -1.0], [1.0] * 3 + [-1.0]), (K, K))
    for gain in (1.0, 0.0):
        with torch.no_grad():
            layer.module.term.second_normalization.weight.mul_(gain)
        mode = fastest_mode(layer, layer.module, None, semidefinite=False)
        assert not mode.grows


def test_euler_amplifies_every_oscillation():
    layer = steps_of(network(block="hamiltonian", method="euler"))[0]
    verdict = judge(layer)
    assert verdict.theory.linear_limit == 0
    assert verdict.grade == "violated"
    assert any("imaginary interval 0" in warning for warning in verdict.warnings)


def test_a_step_beyond_its_limit_without_a_growing_state_is_measured():
    """On four by three zero-padded pixels the certificate of all image sizes is not attained."""
    layer = steps_of(network(block="second-order", method="verlet"))[0]
    step = layer.module
    step.step_size = 1.02 * theory_of(layer).linear_limit
    assert true_limit(layer, torch.zeros_like(layer.features[0])) > step.step_size
    verdict = judge(layer)
    assert (verdict.grade, verdict.contradicted) == ("measured", False)
    assert verdict.mode.radius <= 1 + 1e-9
    assert any("not below the limit" in warning for warning in verdict.warnings)


@pytest.mark.parametrize("normalization", ["tv", "layer", "instance"])
def test_what_is_not_affine_is_measured_without_a_grade(normalization):
    net = network(normalization=normalization)
    verdicts = [judge(layer) for layer in read_layers(net, images())]
    for verdict in verdicts[:-1]:
        assert verdict.grade == "not-applicable"
        assert not verdict.contradicted
        assert verdict.theory.growth_certified == math.inf
        assert verdict.growth.value > 0
    assert verdicts[-1].grade == "proved"  # the classifier is a matrix
    for verdict in step_verdicts(verdicts):
        assert region_method(verdict) is None


def test_slopes_of_gelu_are_counted_where_they_fall():
    layer = steps_of(network(activation="gelu", step_size=1e-3))[0]
    verdict = judge(layer)
    assert verdict.theory.linear_limit is None
    assert not verdict.theory.proved
    assert any("slopes of the activation reach -0.129" in w for w in verdict.warnings)
    assert 1 < verdict.theory.growth_certified < 1.1


def test_multistep_blocks_are_one_layer():
    layers = steps_of(network(method="ab2"))
    assert [layer.name for layer in layers] == ["blocks.0"]
    assert theory_of(layers[0]).claim == BOUNDED
    assert isinstance(layers[0].module, nn.Module)


def test_clouds_of_oscillating_fields_are_frozen_frequencies():
    for block in ("hamiltonian", "second-order"):
        net = network(block=block, method="rk4", padding_mode="circular")
        layer = steps_of(net)[0]
        with torch.no_grad():
            for name, parameter in layer.module.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
        values = cloud(judge(layer))
        rest = torch.zeros_like(layer.features[0])
        shape = rest.shape
        field = layer.module.term
        flat = lambda s, f=field, n=shape: f(s.reshape(1, *n)).flatten()  # noqa: E731
        J = torch.func.jacrev(flat)(rest.flatten())
        expected = np.abs(np.linalg.eigvals(J.detach().numpy())).max() * layer.module.step_size
        assert np.abs(values).max() == pytest.approx(expected, rel=1e-6)
        assert np.abs(values.real).max() < 1e-9


# The bounds by themselves, on fields whose Lipschitz constants are known.


def random_symmetric(rng, n, low, high):
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return Q @ np.diag(rng.uniform(low, high, n)) @ Q.T


@pytest.mark.parametrize(
    "name", ["backward-euler", "crank-nicolson", "sdirk2", "ars111", "ars222", "ars233", "ars443"]
)
def test_additive_growth_bounds_linear_steps(name):
    from analysis.stepping import SplitField, stepper

    rng, found = np.random.default_rng(0), method(name)
    for h in (0.1, 1.0, 10.0):
        F = rng.standard_normal((4, 4)) if name.startswith("ars") else np.zeros((4, 4))
        G = -random_symmetric(rng, 4, 0.0, 5.0)
        constants = (float(np.linalg.norm(F, 2)), float(np.linalg.norm(G, 2)))
        if name.startswith("ars"):
            field = SplitField(lambda y, F=F: F @ y, lambda y, G=G: G @ y, lambda y, G=G: G)
        else:
            field = lambda y, G=G: G @ y  # noqa: E731
        step = stepper(found, field)
        M = np.stack([step(e, h) for e in np.eye(4)], axis=1)
        assert np.linalg.norm(M, 2) <= additive_growth(found, h, constants) * (1 + 1e-9)


def test_partitioned_growth_is_attained_by_one_mode():
    for name in ("symplectic-euler", "verlet", "ruth3"):
        a, b, h = 1.3, 0.7, 0.9
        M = np.eye(2)
        for part, fraction in method(name).flows:
            t = abs(float(fraction)) * h
            shear = np.eye(2)
            shear[(0, 1) if part == "drift" else (1, 0)] = t * (a if part == "drift" else b)
            M = shear @ M
        assert partitioned_growth(method(name), h, a, b) == pytest.approx(np.linalg.norm(M, 2))


def test_multistep_growth_of_a_scalar_that_grows_is_attained():
    """y' = y by Adams-Bashforth 2: b_1 = -1/2 counts with its modulus."""
    h, growths = 0.1, [1.0, 1.05]
    for _ in range(3):
        growths.append(growths[-1] + h * (1.5 * growths[-1] + 0.5 * growths[-2]))
    found = multistep_growth(method("ab2"), h, [(1.0, 0.0)] * 4, [1.05])
    assert found == pytest.approx(growths[-1])
