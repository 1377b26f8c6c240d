"""The inspection of networks: theory against weights, grades, counter-pairs, remedies, pages."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from analysis.dynamics import (
    STATEMENTS,
    diffusion_reaction_growth,
    lipschitz_growth,
    reaction_constants,
    reaction_growth,
)
from analysis.errors import InputError
from analysis.grid import Grid
from pdenet.inspection import demo, growth, prescription, report
from pdenet.inspection import theory as theory_module
from pdenet.inspection.crosscheck import BOUNDED, NON_EXPANSIVE, Theory, theory_of
from pdenet.inspection.figures import short_name
from pdenet.inspection.growth import Growth, measure_growth, pair_ratios
from pdenet.inspection.hints import gains_of
from pdenet.inspection.images import load_probe
from pdenet.inspection.page import summary
from pdenet.inspection.prescription import constrained_config, needs_remedy, shrunk
from pdenet.inspection.reader import Layer, double_inference, read_layers
from pdenet.inspection.report import inspect_run, pair_growth
from pdenet.inspection.result import Inspection
from pdenet.inspection.verdict import (
    Verdict,
    count_grades,
    first_offender,
    grade,
    judge,
    lipschitz_certified,
    step_verdicts,
)
from pdenet.layers.terms import DiffusionReactionTerm, ParabolicTerm, ResidualTerm
from pdenet.layers.time_step import TimeStep
from pdenet.networks import NetworkConfig, PDENet
from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import FullConv2d, LeanConv2d
from pdenet.training.checkpoint import load_run, save_model
from pdenet.training.config import RunConfig
from pdenet.training.loop import train
from tests.pdenet.cli_runner import refused, run
from tests.pdenet.training_runs import few_digits, tiny_run

LAYER_KEYS = {
    "name", "kind", "coupling", "method", "step_size", "norm", "norm_certified", "linear_limit",
    "nonexpansive_limit", "claim", "grade", "statement", "growth_certified", "measured_growth",
    "measured_on", "counter_pair", "warnings",
}  # fmt: skip
EXTRA_LAYER_KEYS = {
    "norm_interval", "curvature", "measured_random", "measured_on_data", "applications", "limit",
    "frozen_radius",
}  # fmt: skip
NETWORK_KEYS = {"lipschitz_certified", "measured_growth", "first_offending_layer", "prescription"}
EXTRA_NETWORK_KEYS = {"measured_random", "test_accuracy", "grades", "time_variation"}
REMEDY_KEYS = {"layer", "action", "value", "predicted_growth"}
EXTRA_REMEDY_KEYS = {"tried", "accuracy_before", "accuracy_after", "proved_steps", "steps", "run"}


FULL_SEARCH = {"POWER_ITERATIONS": 25, "ASCENT_STEPS": 60, "STARTS": 6}


@pytest.fixture(scope="module", autouse=True)
def quick_search():
    """A short search: bounds must hold for every pair, found or not."""
    assert {key: getattr(growth, key) for key in FULL_SEARCH} == FULL_SEARCH
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {"POWER_ITERATIONS": 6, "ASCENT_STEPS": 10, "STARTS": 3}.items():
            patch.setattr(growth, key, value)
        yield


@pytest.fixture
def full_search(monkeypatch):
    """The search as it is, where it is what is tested."""
    for key, value in FULL_SEARCH.items():
        monkeypatch.setattr(growth, key, value)


# Trained runs, made once


def trained(folder: Path, **changes: Any) -> Path:
    """A run of one epoch with one width, so that few layers are inspected."""
    config = tiny_run(**({"widths": (4,), "epochs": 1} | changes))
    result = train(config, few_digits(), folder)
    assert result.status == "completed"
    return folder


@pytest.fixture(scope="module")
def free_run(tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "free", step_size=4.0)


@pytest.fixture(scope="module")
def constrained_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "constrained"
    return trained(folder, constraint="nonexpansive", widths=(4, 8))


@pytest.fixture(scope="module")
def free_inspection(free_run, tmp_path_factory) -> Inspection:
    return inspect_run(free_run, out=tmp_path_factory.mktemp("free"), try_prescription="never")


@pytest.fixture(scope="module")
def constrained_inspection(constrained_run) -> Inspection:
    return inspect_run(constrained_run)


# Networks as chains of layers


def random_network(seed: int = 0, gain: float = 1.5, **changes: Any) -> PDENet:
    """A network in float64 with weights and statistics all over the place, gains >= 0."""
    keys = {"widths": (4,), "steps": 2, "classes": 3} | changes
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = PDENet(NetworkConfig(**keys))
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.weight.uniform_(0.2, 2.0)
                    module.bias.normal_()
                    assert module.running_var is not None
                    assert module.running_mean is not None
                    module.running_var.uniform_(0.2, 2.0)
                    module.running_mean.normal_()
                elif isinstance(module, StencilOperator):
                    for parameter in module.parameters():
                        parameter.mul_(gain)
    return double_inference(network)


def images(count: int = 5, channels: int = 1, size: tuple[int, int] = (6, 7)) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, *size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shared", ["shared", "per-step"])
def test_the_layers_in_a_row_are_the_network(shared) -> None:
    network = random_network(widths=(4, 6), steps=3, weights_in_time=shared)
    layers = read_layers(network, images())
    y = images()
    for layer in layers:
        assert torch.equal(layer.features[: len(y)], y)
        for _ in range(layer.applications):
            y = layer.apply(y)
    assert torch.allclose(y, network(images()), atol=1e-13)
    names = dict(network.named_modules())
    assert all(names[layer.name] is layer.module for layer in layers)
    steps = [layer for layer in layers if layer.kind == "step"]
    assert sum(layer.applications for layer in steps) == 6
    # A shared step is judged on what reaches each of its applications.
    assert len(steps[0].features) == 5 * steps[0].applications


def test_the_copy_that_is_inspected_leaves_the_network_alone() -> None:
    network = PDENet(NetworkConfig(widths=(4,)))
    network.train()
    double = double_inference(network)
    assert network.training
    assert not double.training
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert {p.dtype for p in double.parameters()} == {torch.float64}


# Measured growth


def linear_map(matrix: Tensor):
    return lambda x: (x.flatten(1) @ matrix.T)[:, :, None, None]


def test_the_search_finds_the_norm_of_a_linear_map(full_search) -> None:
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(30, 18, generator=generator, dtype=torch.float64)
    matrix[:, 0] *= 5
    found = measure_growth(linear_map(matrix), images(4, 2, (3, 3)))
    norm = float(torch.linalg.matrix_norm(matrix, 2))
    assert norm * (1 - 1e-6) < found.value <= norm * (1 + 1e-12)
    assert found.random < 0.8 * norm
    assert found.random <= found.data <= found.value
    again = measure_growth(linear_map(matrix), images(4, 2, (3, 3)))
    assert again.value == found.value


def test_the_search_crosses_kinks(full_search) -> None:
    """Growth 9 hides where one unit is active; data are all on the other side."""

    def bent(x: Tensor) -> Tensor:
        return 0.1 * x + 8.9 * torch.relu(x - 1)

    features = 0.2 * images(4, 1, (2, 2)).abs()
    assert features.max() < 0.9
    found = measure_growth(bent, features)
    assert found.value == pytest.approx(9, rel=1e-3)
    assert found.value <= 9 * (1 + 1e-12)


def test_a_constant_map_and_dead_features() -> None:
    found = measure_growth(lambda x: 0 * x, images())
    assert found.value == 0
    dead = measure_growth(lambda x: 2 * x, torch.zeros(3, 1, 4, 4, dtype=torch.float64))
    assert dead.value == pytest.approx(2)


def test_a_map_without_finite_values_is_not_applicable() -> None:
    def broken(x: Tensor) -> Tensor:
        return x * math.nan

    found = measure_growth(broken, images())
    assert math.isnan(found.value)
    layer = Layer("opening", "opening", nn.Identity(), broken, images())
    verdict = grade(layer, Theory("full", "opening", 1.0, "none"), found)
    assert (verdict.grade, verdict.contradicted) == ("not-applicable", False)
    assert any("not finite" in warning for warning in verdict.warnings)


@pytest.mark.parametrize("bias", [1e2, 1e5, 1e8])
def test_rounding_is_no_counter_pair(bias) -> None:
    """A large bias drowns small distances in rounding; the step is proved and stays proved."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        operator = LeanConv2d(4, 4, dtype=torch.float64)
    assert operator.bias is not None
    with torch.no_grad():
        operator.bias.fill_(bias)
    for activation in ("relu", "softplus", "tanh"):
        step = TimeStep(ParabolicTerm(operator, nn.Identity(), activation), "euler", 0.3)
        step = step.double().requires_grad_(False)
        verdict = judge(Layer("step", "step", step, step, images(4, 4, (5, 5))))
        assert verdict.theory.proved
        assert verdict.grade == "proved", verdict.warnings
        assert verdict.growth.value <= 1 + 1e-6


def test_allowances_grow_with_the_rounding() -> None:
    first = images(3)
    for distance, most in ((1e-3, 1e-7), (1e-6, 1e-4), (1e-9, 1e-1)):
        second = first + distance * torch.randn_like(first)
        ratios, allowances = pair_ratios(lambda x: x + 1e3, first, second)
        assert ((ratios - 1).abs() <= allowances).all()
        assert (allowances < most).all()


# Theory against measurement, for every kind of network

BLOCKS: dict[str, dict[str, Any]] = {
    "parabolic": {"coupling": "lean"},
    "parabolic-shared": {"coupling": "full", "weights_in_time": "shared", "method": "heun"},
    "parabolic-five-point": {"coupling": "circulant", "stencil": "five-point", "method": "rk4"},
    "parabolic-no-norm": {"coupling": "grouped", "groups": 2, "normalization": "none"},
    "parabolic-inside": {"coupling": "depthwise", "step_size": 0.02, "padding_mode": "circular"},
    "parabolic-reflect": {"coupling": "full", "padding_mode": "reflect", "step_size": 0.1},
    "parabolic-replicate": {"coupling": "lean", "padding_mode": "replicate", "pooling": "max"},
    "midpoint": {"coupling": "pointwise", "method": "midpoint"},
    "residual": {"block": "residual", "coupling": "full", "step_size": 0.5},
    "residual-rk4": {"block": "residual", "coupling": "lean", "method": "rk4", "step_size": 0.2},
    "dissipative": {"block": "diffusion-reaction", "coupling": "lean", "step_size": 0.5},
    "dissipative-linear": {
        "block": "diffusion-reaction", "coupling": "depthwise", "diffusion": "linear",
        "step_size": 0.05, "activation": "tanh",
    },
    "plain": {
        "block": "diffusion-reaction", "coupling": "depthwise", "reaction": "plain",
        "step_size": 0.1, "padding_mode": "reflect",
    },
    "plain-heun": {
        "block": "diffusion-reaction", "coupling": "lean", "reaction": "plain", "method": "heun",
        "activation": "softplus", "diffusion": "linear",
    },
    "implicit-dissipative": {
        "block": "diffusion-reaction", "coupling": "circulant", "diffusion": "linear",
        "method": "ars111", "padding_mode": "circular", "step_size": 0.2, "stencil": "five-point",
    },
    "implicit-plain": {
        "block": "diffusion-reaction", "coupling": "depthwise", "diffusion": "linear",
        "reaction": "plain", "method": "ars111", "padding_mode": "circular",
    },
}  # fmt: skip


def check_bounds(verdicts: list[Verdict], network: PDENet, features: Tensor) -> None:
    """No pair beyond its certificate, in no layer and not through all of them."""
    for verdict in verdicts:
        found, theory = verdict.growth, verdict.theory
        slack = found.allowance * (1 + theory.growth_certified)
        assert found.value <= theory.growth_certified + slack, verdict.layer.name
        assert theory.statement in STATEMENTS.values()
        if theory.claim == NON_EXPANSIVE and verdict.grade == "proved":
            assert theory.growth_certified <= 1
            assert found.value <= 1 + 1e-9
        assert verdict.contradicted == (verdict.grade == "violated")
    whole = measure_growth(network, features)
    bound = lipschitz_certified(verdicts)
    assert whole.value <= bound * (1 + whole.allowance) + whole.allowance


@pytest.mark.parametrize("name", list(BLOCKS))
def test_measured_growth_stays_below_the_certified(name) -> None:
    network = random_network(len(name), **BLOCKS[name])
    verdicts = [judge(layer) for layer in read_layers(network, images())]
    check_bounds(verdicts, network, images())
    claims = {v.theory.claim for v in step_verdicts(verdicts)}
    plain = name.startswith(("residual", "plain", "implicit-plain"))
    assert claims == ({BOUNDED} if plain else {NON_EXPANSIVE})
    if plain:
        assert {v.grade for v in verdicts} == {"proved"}
        assert all(v.theory.nonexpansive_limit is None for v in verdicts)
    if name in ("parabolic-inside", "dissipative-linear"):
        assert {v.grade for v in step_verdicts(verdicts)} == {"proved"}
    if "reflect" in name and not plain:
        assert all(any("factor" in w for w in v.warnings) for v in step_verdicts(verdicts))


@pytest.mark.parametrize("name", ["parabolic", "plain", "dissipative", "implicit-dissipative"])
def test_negative_gains_are_named_and_never_proved(name) -> None:
    network = random_network(2, **(BLOCKS[name] | {"step_size": 1e-3}))
    steps = [m for m in network.modules() if isinstance(m, TimeStep)]
    norms = [m for m in steps[1].modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        norms[0].weight[2] = -3.0
    verdicts = [judge(layer) for layer in read_layers(network, images())]
    check_bounds(verdicts, network, images())
    good, bad = step_verdicts(verdicts)
    assert not any("negative gain" in warning for warning in good.warnings)
    assert any("negative gain in channel 2 " in warning for warning in bad.warnings)
    if name != "plain":
        assert good.grade == "proved"
        assert bad.grade in ("violated", "measured")
        assert bad.theory.nonexpansive_limit is None
        assert bad.theory.growth_certified > 1


def dense_norm(operator: StencilOperator, gains: Tensor, size: tuple[int, int]) -> float:
    """``||diag(gains) K||`` at one image size by the singular values of the dense matrix."""
    grid = Grid(size, boundary=operator.boundary)
    dense = operator.coupling().double().to_dense(grid)
    return float(np.linalg.norm(np.repeat(gains.numpy(), size[0] * size[1])[:, None] * dense, 2))


def smallest_singular_value(operator: StencilOperator, size: tuple[int, int]) -> float:
    dense = operator.coupling().double().to_dense(Grid(size, boundary=operator.boundary))
    return float(np.linalg.svd(dense, compute_uv=False)[-1])


@pytest.mark.parametrize("name", ["residual", "residual-rk4", "plain", "plain-heun"])
def test_growth_of_steps_without_a_limit_by_dense_norms(name) -> None:
    """Theory §4.10b and the stages of a method, with norms of the image at hand in the formulas.

    The certificate is for every size and a little above: never below, and not by much.
    """
    network = random_network(7, **(BLOCKS[name] | {"padding_mode": "circular"}))
    size = (12, 12)
    layer = read_layers(network, images(size=size))[1]
    step = layer.module
    assert isinstance(step, TimeStep)
    term, h = step.term, step.step_size
    if isinstance(term, ResidualTerm):
        scale = gains_of(term.first, term.normalization)
        inner = dense_norm(term.first, scale, size)
        outer = dense_norm(term.second, torch.ones(4).double(), size)
        expected = lipschitz_growth(step.method, h * inner * outer)
    else:
        assert isinstance(term, DiffusionReactionTerm)
        scale = gains_of(term.diffusion_operator, term.diffusion_normalization)
        curvature = dense_norm(term.diffusion_operator, scale.sqrt(), size) ** 2
        rates = gains_of(term.reaction_operator, term.reaction_normalization).numpy()
        matrix = term.reaction_operator.coupling().dense_weight().numpy()[:, :, 0, 0]
        reaction = reaction_constants(matrix, rates)
        if step.method == "euler":
            expected = diffusion_reaction_growth(h, curvature, reaction)
        else:
            expected = lipschitz_growth(step.method, h * (curvature + reaction.lipschitz))
    certified = theory_of(layer).growth_certified
    assert expected * (1 - 1e-12) <= certified <= 1 + 1.25 * (expected - 1)


@pytest.mark.parametrize("name", ["implicit-plain", "implicit-dissipative"])
def test_growth_of_implicit_diffusion_by_dense_singular_values(name) -> None:
    network = random_network(8, **BLOCKS[name])
    size = (5, 5)
    layer = read_layers(network, images(size=size))[1]
    step = layer.module
    assert isinstance(step, TimeStep)
    term, h = step.term, step.step_size
    assert isinstance(term, DiffusionReactionTerm)
    rates = gains_of(term.reaction_operator, term.reaction_normalization)
    matrix = term.reaction_operator.coupling().dense_weight().numpy()[:, :, 0, 0]
    if term.reaction == "plain":
        explicit = reaction_growth(h, reaction_constants(matrix, rates.numpy()))
    else:
        curvature = np.linalg.norm(rates.sqrt().numpy()[:, None] * matrix, 2) ** 2
        explicit = max(1.0, h * float(curvature) - 1)
    smallest = smallest_singular_value(term.diffusion_operator, size)
    assert smallest > 0
    theory = theory_of(layer)
    assert theory.growth_certified == pytest.approx(explicit / (1 + h * smallest**2), rel=0.05)
    assert theory.coupling == term.diffusion_operator.name
    assert theory.norm is not None
    assert theory.norm.lower == pytest.approx(
        dense_norm(term.diffusion_operator, torch.ones(4).double(), size)
    )


def test_constants_of_the_outer_layers_are_attained(full_search) -> None:
    """Opening, connector and classifier without kinks: certificate and search meet."""
    network = random_network(3, pooling="average", widths=(4, 5), normalization="none")
    with torch.no_grad():
        for connector in (network.opening, *network.connectors):
            connector.operator.bias.fill_(40.0)
    chosen = {"opening", "connectors.0", "connectors.1", "classifier"}
    for layer in read_layers(network, images(size=(8, 8))):
        if layer.name in chosen:
            verdict = judge(layer)
            certified = verdict.theory.growth_certified
            assert 0.9 * certified < verdict.growth.value <= certified * (1 + 1e-9), layer.name


# Grades


def theory(**changes: Any) -> Theory:
    """A step beyond its limit that claims non-expansion."""
    facts = {
        "coupling": "lean", "block": "parabolic", "growth_certified": 3.0, "statement": "a theorem",
        "claim": NON_EXPANSIVE, "proved": False, "step_size": 1.0, "nonexpansive_limit": 0.5,
    }  # fmt: skip
    return Theory(**(facts | changes))


def measured(value: float, allowance: float = 1e-12) -> Growth:
    point = torch.zeros(1, 2, 2, dtype=torch.float64)
    return Growth(value, value, value, point, point + 1, allowance)


def graded(the_theory: Theory, the_growth: Growth) -> Verdict:
    layer = Layer("blocks.0.steps.0", "step", nn.Identity(), nn.Identity(), images())
    return grade(layer, the_theory, the_growth)


INSIDE = {"proved": True, "growth_certified": 1.0, "nonexpansive_limit": 2.0}


@pytest.mark.parametrize(
    ("changes", "value", "expected", "contradicted"),
    [
        (INSIDE, 0.9, "proved", False),
        (INSIDE, 1.0 + 1e-12, "proved", False),  # rounding
        (INSIDE, 1.0 + 1e-9, "violated", True),  # a theorem that fails
        ({}, 0.9, "measured", False),
        ({}, 1.0 + 1e-10, "measured", False),  # too close to one to speak of
        ({}, 1.0 + 1e-8, "violated", True),
        ({}, 2.9, "violated", True),
        ({}, 3.1, "violated", True),
        ({"nonexpansive_limit": None}, 0.9, "measured", False),
        ({"claim": BOUNDED, "proved": True}, 2.9, "proved", False),
        ({"claim": BOUNDED}, 2.9, "proved", False),  # there is no other claim to prove
        ({"claim": BOUNDED, "proved": True}, 3.1, "violated", True),
        ({}, math.nan, "not-applicable", False),
        ({}, math.inf, "not-applicable", False),
    ],
)
def test_grades(changes, value, expected, contradicted) -> None:
    verdict = graded(theory(**changes), measured(value))
    assert (verdict.grade, verdict.contradicted) == (expected, contradicted)
    told = " ".join(verdict.warnings)
    certified = changes.get("growth_certified", 3.0)
    assert ("defect" in told) == (math.isfinite(value) and value > certified + 1e-11)
    limited = "nonexpansive_limit" not in changes
    assert ("beyond the limit" in told) == (expected == "measured" and limited)


def test_rounding_near_one_is_no_violation() -> None:
    assert graded(theory(), measured(1.0 + 1e-7, allowance=1e-6)).grade == "measured"
    assert graded(theory(**INSIDE), measured(1.0 + 1e-7, allowance=1e-6)).grade == "proved"


def test_the_first_offender_is_violated_before_measured() -> None:
    proved, weak = graded(theory(**INSIDE), measured(0.5)), graded(theory(), measured(0.5))
    broken = graded(theory(), measured(2.0))
    others = [replace(weak, layer=replace(weak.layer, name=name)) for name in ("a", "b")]
    broken = replace(broken, layer=replace(broken.layer, name="c"))
    assert first_offender([proved]) is None
    assert first_offender([proved, *others]) == "a"
    assert first_offender([others[0], broken, others[1]]) == "c"
    assert count_grades([proved, *others, broken]) == {"proved": 1, "measured": 2, "violated": 1}


def test_the_certified_constant_counts_every_application() -> None:
    verdict = graded(theory(growth_certified=3.0), measured(1.0))
    shared = replace(verdict, layer=replace(verdict.layer, applications=3))
    assert lipschitz_certified([verdict, shared]) == 81


# A wrong certificate is noticed


def halved_certificate(monkeypatch) -> None:
    genuine = theory_module.certified_norm

    def tampered(*arguments: Any, **options: Any) -> Any:
        found = genuine(*arguments, **options)
        return replace(found, lower=found.lower / 2, upper=found.upper / 2)

    monkeypatch.setattr(theory_module, "certified_norm", tampered)


def test_a_wrong_certificate_contradicts_the_measurement(monkeypatch) -> None:
    """Half the norm: a step at twice its limit would be proved, were it not measured."""
    network = random_network(5, activation="tanh", normalization="none")
    step = next(m for m in network.modules() if isinstance(m, TimeStep))
    limit = theory_of(read_layers(network, images())[1]).nonexpansive_limit
    assert limit is not None
    step.step_size = 2 * limit
    layers = read_layers(network, images())
    assert judge(layers[1]).grade == "violated"
    assert not theory_of(layers[1]).proved
    halved_certificate(monkeypatch)
    for layer in layers[:2]:  # the opening claims its growth alone
        verdict = judge(layer)
        assert verdict.theory.proved
        assert (verdict.grade, verdict.contradicted) == ("violated", True)
        assert any("defect of theory or program" in warning for warning in verdict.warnings)


def test_a_wrong_constant_of_the_whole_network_is_told(monkeypatch, free_run, tmp_path) -> None:
    monkeypatch.setattr(report, "lipschitz_certified", lambda verdicts: 1e-3)
    found = inspect_run(free_run, out=tmp_path, try_prescription="never")
    assert found.beyond_certificate
    assert found.contradicted
    assert any("defect" in warning for warning in found.warnings)
    assert "defect" in (tmp_path / "report.html").read_text()


# Inspections of trained runs


def test_a_free_run_at_a_large_step_is_violated_with_pairs_that_separate(free_inspection) -> None:
    found = free_inspection
    assert found.contradicted
    assert found.grades.get("violated", 0) == 2
    network = load_run(found.run.path).network
    for verdict in found.verdicts:
        file = found.counter_pairs.get(verdict.layer.name)
        assert (file is not None) == verdict.contradicted
        if file is not None:
            again = pair_growth(network, verdict.layer.name, file)
            assert again > 1.01
            assert again == pytest.approx(verdict.growth.value, rel=1e-9)
            with np.load(file) as pair:
                difference = np.linalg.norm(pair["first_image"] - pair["second_image"])
                distance = np.linalg.norm(pair["first"] - pair["second"])
                assert difference / distance == pytest.approx(float(pair["growth"]), rel=1e-9)
    assert found.counter_pairs
    assert first_offender(found.verdicts) in found.counter_pairs


def test_pairs_of_the_classifier_can_be_recomputed(tmp_path) -> None:
    network = random_network(1)
    first, second = images(1, 4, (5, 5)), images(1, 4, (5, 5)) + 1
    file = tmp_path / "pair.npz"
    np.savez(file, first=first[0].numpy(), second=second[0].numpy())
    layer = read_layers(network, images())[-1]
    expected = pair_ratios(layer.apply, first, second)[0]
    assert pair_growth(network, "classifier", file) == pytest.approx(float(expected))


def test_a_constrained_run_is_proved(constrained_inspection, constrained_run) -> None:
    found = constrained_inspection
    assert found.grades == {"proved": 4}
    assert not found.contradicted
    assert found.worst_step_growth <= 1 + 1e-9
    assert found.remedies == []
    assert found.counter_pairs == {}
    assert found.out == constrained_run / "inspection"
    assert found.test_accuracy == pytest.approx(
        float(load_run(constrained_run).metadata["test_accuracy"])
    )


def test_json_has_the_keys_of_the_contract(free_inspection) -> None:
    found = free_inspection.to_json()
    assert found.keys() == {"run", "layers", "network", "report", "figures", "warnings"}
    for layer in found["layers"]:
        assert layer.keys() == LAYER_KEYS | EXTRA_LAYER_KEYS
        assert layer["grade"] in ("proved", "measured", "violated", "not-applicable")
        assert layer["measured_on"] == "64 test images of digits"
        assert (layer["step_size"] is None) == (".steps." not in layer["name"])
    assert found["network"].keys() == NETWORK_KEYS | EXTRA_NETWORK_KEYS
    assert found["network"]["prescription"]
    for remedy in found["network"]["prescription"]:
        assert remedy.keys() == REMEDY_KEYS | EXTRA_REMEDY_KEYS
    written = json.loads((free_inspection.out / "inspection.json").read_text())
    assert written.keys() == found.keys()
    assert all(Path(path).is_file() for path in [found["report"], *found["figures"]])


@pytest.mark.parametrize("which", ["free_inspection", "constrained_inspection"])
def test_the_page_shows_every_layer_and_nothing_undefined(which, request) -> None:
    found: Inspection = request.getfixturevalue(which)
    page = (found.out / "report.html").read_text()
    text = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "picture", page)
    assert page.count("data:image/png") == len(found.figures) >= 3
    for verdict in found.verdicts:
        assert f"<td>{short_name(verdict.layer.name)}</td>" in text
        for file in found.counter_pairs.values():
            assert file in text
    visible = re.sub(r"<[^>]+>", " ", text)
    for wrong in ("None", "nan", "Undefined", "{{", "inf "):
        assert wrong not in visible, wrong
    assert summary(found).replace("<", "&lt;") in text
    for grade_name, count in found.grades.items():
        assert text.count(f">{grade_name}</span>") >= count


def test_summaries_say_what_was_found(free_inspection, constrained_inspection) -> None:
    assert "2 of 2 steps can drive inputs apart" in summary(free_inspection)
    assert "All 4 steps are proved" in summary(constrained_inspection)
    bounded = [
        replace(v, theory=replace(v.theory, claim=BOUNDED), grade="proved")
        for v in constrained_inspection.verdicts
    ]
    assert "no claim" in summary(replace(constrained_inspection, verdicts=bounded))
    broken = [replace(v, grade="violated", contradicted=True) for v in bounded]
    told = summary(replace(constrained_inspection, verdicts=broken))
    assert "stays" not in told
    assert "defect" in told
    weak = [replace(v, grade="measured") for v in constrained_inspection.verdicts]
    assert "0 of 4 steps are proved" in summary(replace(constrained_inspection, verdicts=weak))


def test_an_earlier_counter_pair_does_not_outlive_its_verdict(constrained_run, tmp_path) -> None:
    old = tmp_path / "counter_pairs" / "blocks.0.steps.0.npz"
    old.parent.mkdir()
    old.write_bytes(b"old")
    found = inspect_run(constrained_run, out=tmp_path, size=(5, 6))
    assert found.grades == {"proved": 4}
    assert not old.exists()
    assert found.measured_on.endswith("resampled to 5x6")
    assert found.verdicts[0].layer.size == (5, 6)


# Data


def rewritten(source: Path, folder: Path, **training: Any) -> Path:
    """The same network in a file whose configuration says something else."""
    loaded = load_run(source)
    config = replace(loaded.config, training=replace(loaded.config.training, **training))
    save_model(folder / "model.safetensors", loaded.network, config, loaded.images)
    return folder / "model.safetensors"


def test_noise_where_the_data_are_gone(constrained_run, tmp_path) -> None:
    source = rewritten(constrained_run, tmp_path / "moved", data=str(tmp_path / "gone"))
    done = run("inspect", source, "--json", "-")
    assert done.status == 0
    assert done.json["layers"][0]["measured_on"] == "seeded noise"
    assert any("seeded noise" in warning for warning in done.json["warnings"])
    assert done.json["network"]["test_accuracy"] is None
    assert (tmp_path / "moved" / "inspection" / "report.html").is_file()


def test_wrong_data_are_refused(free_run, tmp_path, monkeypatch) -> None:
    assert "nowhere" in refused("inspect", free_run, "--data", tmp_path / "nowhere")
    assert "grade" not in refused("inspect", tmp_path / "no-run")
    assert "always" in refused("inspect", free_run, "--try", "allways")
    file = tmp_path / "file"
    file.write_text("")
    assert "folder" in refused("inspect", free_run, "--out", file)
    loaded = load_run(free_run)
    data = few_digits()
    for wrong in (
        replace(data, classes=tuple("abcdefghij")),
        replace(data, classes=data.classes[:9]),
        replace(data, test_images=np.repeat(data.test_images, 3, axis=-1)),
    ):
        monkeypatch.setattr("pdenet.inspection.images.load_data", lambda *a, w=wrong, **k: w)
        with pytest.raises(InputError, match="classes"):
            load_probe(loaded, "others", None)
        # Data that nobody named are replaced by noise, with a warning.
        assert load_probe(loaded, None, None).labels is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    "name", ["classifier.weight", "classifier.bias", "opening.normalization.running_mean"]
)
def test_diverged_weights_are_refused(free_run, tmp_path, name, value) -> None:
    """An infinite shift before a ReLU would pass for a dead channel, and be proved."""
    loaded = load_run(free_run)
    loaded.network.state_dict()[name].view(-1)[0] = value
    file = tmp_path / "model.safetensors"
    save_model(file, loaded.network, loaded.config, loaded.images)
    assert name in refused("inspect", file)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_images_too_small_for_the_network_are_refused(constrained_run) -> None:
    assert "2 x 2 pixels" in refused("inspect", constrained_run, "--size", "1x1")


# What helps


def test_shrinking_proves_every_step(free_inspection) -> None:
    offenders = needs_remedy(free_inspection.verdicts)
    assert len(offenders) == 2
    smaller = shrunk(free_inspection.run.network, offenders)
    assert smaller is not None
    layers = read_layers(double_inference(smaller), images(3, 1, (8, 8)))
    steps = [judge(layer) for layer in layers if layer.kind == "step"]
    assert {step.grade for step in steps} == {"proved"}
    assert all(step.growth.value <= 1 + 1e-9 for step in steps)
    before = [m.step_size for m in free_inspection.run.network.modules() if isinstance(m, TimeStep)]
    assert before == [4.0, 4.0]
    remedies = [r for r in free_inspection.remedies if r.action.startswith("reduce")]
    assert [r.layer for r in remedies] == [o.layer.name for o in offenders]
    assert all(r.accuracy_after is not None and float(r.value) < 4.0 for r in remedies)


@pytest.mark.parametrize("limit", [None, 0.0])
def test_without_a_limit_there_is_nothing_to_shrink_to(free_inspection, limit) -> None:
    offenders = needs_remedy(free_inspection.verdicts)
    changed = replace(offenders[0], theory=replace(offenders[0].theory, nonexpansive_limit=limit))
    assert shrunk(free_inspection.run.network, [changed, *offenders[1:]]) is None


def test_training_with_the_constraint_is_tried_and_proves(free_run, tmp_path, monkeypatch) -> None:
    first = inspect_run(free_run, out=tmp_path, try_prescription="always").remedies[0]
    assert (first.layer, first.value, first.proved) == ("network", "nonexpansive", (2, 2))
    assert first.run == str(tmp_path / "constrained")
    assert first.accuracy_after is not None
    found = load_run(tmp_path / "constrained")
    assert found.config == constrained_config(load_run(free_run).config)
    # Again: the run is there and is the one that was asked for.
    monkeypatch.setattr(prescription, "train", lambda *a, **k: pytest.fail("trained again"))
    again = inspect_run(free_run, out=tmp_path, try_prescription="always").remedies[0]
    assert again == first
    # Of other images, or with another seed, it would be another run.
    wanted, data = found.config, few_digits()
    assert prescription._run_folder(tmp_path, wanted, data) == (tmp_path / "constrained", True)
    other = replace(wanted, training=replace(wanted.training, seed=5))
    free = (tmp_path / "constrained-2", False)
    assert prescription._run_folder(tmp_path, other, data) == free
    assert prescription._run_folder(tmp_path, wanted, replace(data, mean=data.mean + 1)) == free


def test_another_folder_of_that_name_is_left_alone(free_run, tmp_path) -> None:
    (tmp_path / "constrained").mkdir()
    (tmp_path / "constrained" / "mine").write_text("mine")
    found = inspect_run(free_run, out=tmp_path, try_prescription="always").remedies[0]
    assert found.run == str(tmp_path / "constrained-2")
    assert found.proved == (2, 2)
    assert [p.name for p in (tmp_path / "constrained").iterdir()] == ["mine"]


def test_methods_without_a_limit_are_replaced_in_the_remedy() -> None:
    config = constrained_config(RunConfig(network=NetworkConfig(method="midpoint")))
    assert config.network.method == "heun"
    assert config.training.constraint == "nonexpansive"
    remedy = prescription.constraint_remedy(RunConfig(network=NetworkConfig(method="midpoint")))
    assert remedy.action.endswith("the method heun")
    assert constrained_config(RunConfig()).network == NetworkConfig()


def test_what_cannot_be_constrained_is_not_prescribed(tmp_path) -> None:
    """Copying boundaries on two pixels: no bound in training, and no error in the inspection."""
    source = trained(
        tmp_path / "run", widths=(2, 2, 2), steps=1, padding_mode="reflect", step_size=9.0
    )
    found = inspect_run(source, try_prescription="always")
    assert needs_remedy(found.verdicts)
    assert {r.action for r in found.remedies} <= {
        "reduce the step size of the trained weights",
        *prescription.STEPPERS.values(),
    }


# The command line


def test_exit_codes(free_run, constrained_run, tmp_path) -> None:
    done = run("inspect", free_run, "--out", tmp_path / "a", "--try", "never", "--json", "-")
    assert done.status == 1
    assert done.json["network"]["grades"] == {"violated": 2}
    assert done.json["command"] == "inspect"
    assert "not tried" in done.err
    done = run("inspect", constrained_run, "--out", tmp_path / "b")
    assert done.status == 0
    assert done.out.count("proved") >= 4
    assert max(len(line) for line in done.out.splitlines() if "report" not in line) <= 80


# The demo

DEMO_KEYS = {"runs", "test_accuracy", "report", "figures"}
DEMO_RUN_KEYS = {"name", "run", "test_accuracy", "grades", "measured_growth"}


def test_the_demo_tells_its_story_and_replaces_itself(tmp_path) -> None:
    config = tiny_run(widths=(4, 8), steps=1, epochs=1, step_size=4.0)
    out = tmp_path / "demo"
    told: list[str] = []
    first = demo.run_demo(out, config=config, progress=told.append)
    (out / "free" / "note.txt").write_text("gone after the next demo")
    second = demo.run_demo(out, config=config)
    assert not (out / "free" / "note.txt").exists()
    for found in (first, second):
        document = found.to_json()
        assert document.keys() == DEMO_KEYS | {"shrunk_test_accuracy"}
        for line in document["runs"]:
            assert line.keys() == DEMO_RUN_KEYS | {"lipschitz_certified"}
        assert [line["name"] for line in document["runs"]] == ["free", "constrained"]
        assert document["runs"][1]["grades"] == {"proved": 2}
        assert document["runs"][1]["measured_growth"] <= 1 + 1e-9
        assert document["runs"][0]["grades"].get("violated", 0) >= 1
        assert document["test_accuracy"] == document["runs"][1]["test_accuracy"]
        assert all(Path(file).is_file() for file in document["figures"])
    numbers = [
        [line | {"run": ""} for line in found.to_json()["runs"]] for found in (first, second)
    ]
    assert numbers[0] == numbers[1]
    assert any("training freely: epoch 1 of 1" in text for text in told)
    page = (out / "report.html").read_text()
    visible = re.sub(r"<[^>]+>", " ", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page))
    for sentence in demo.story(second):
        assert sentence in visible
    for wrong in ("None", "nan", "Undefined"):
        assert wrong not in visible


@pytest.mark.parametrize("name", ["thesis.txt", "free/thesis.txt", "constrained/thesis.txt"])
def test_the_demo_refuses_a_folder_of_something_else(tmp_path, name, monkeypatch) -> None:
    monkeypatch.setattr(demo, "train", lambda *a, **k: pytest.fail("trained"))
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    assert "earlier demo" in refused("demo", "--out", tmp_path)
    assert file.read_text() == "mine"
    with pytest.raises(InputError, match="earlier demo"):
        demo.run_demo(file)


def test_an_interrupted_training_ends_the_demo(tmp_path, monkeypatch) -> None:
    result = train(tiny_run(epochs=1), few_digits(), tmp_path / "run")
    stopped = replace(result, status="interrupted")
    monkeypatch.setattr(demo, "train", lambda *a, **k: stopped)
    with pytest.raises(KeyboardInterrupt):
        demo.run_demo(tmp_path / "demo", config=tiny_run())


def test_a_full_operator_beside_its_certificate() -> None:
    """The norm at the image size lies in its interval, below the certificate of all sizes."""
    network = random_network(6, coupling="full")
    for layer in read_layers(network, images()):
        found = theory_of(layer)
        if found.norm is None or found.norm_certified is None:
            continue
        assert found.norm.lower <= found.norm.upper <= found.norm_certified * (1 + 1e-12)
        if isinstance(layer.module, TimeStep):
            assert isinstance(layer.module.term.operator, FullConv2d)
