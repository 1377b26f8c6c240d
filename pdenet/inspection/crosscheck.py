"""What theory says of each layer: norms, limits, certified growth and the claim it makes."""

from __future__ import annotations

import math

import torch
from torch import nn

from analysis.dynamics import STATEMENTS, lipschitz_growth, pooling_norm
from analysis.errors import InputError
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.spectra import NormInterval
from analysis.step_growth import Pair, method_growth, multistep_growth
from pdenet.inspection.hints import gains_of
from pdenet.inspection.monotone_steps import (
    diffusion_of,
    diffusion_reaction_step,
    parabolic_step,
    reaction_of,
)
from pdenet.inspection.reader import Layer
from pdenet.inspection.theory import (
    BOUNDED,
    FROZEN,
    NON_EXPANSIVE,
    Theory,
    affine,
    certified,
    curvature_of,
    norm_at,
    slopes_of,
)
from pdenet.inspection.wave_steps import wave_parts, wave_step
from pdenet.integrators.multistep import start_method
from pdenet.layers.block import Block
from pdenet.layers.connector import Connector
from pdenet.layers.terms import DiffusionReactionTerm, ParabolicTerm, ResidualTerm, Term
from pdenet.layers.time_step import TimeStep
from pdenet.layers.wave_terms import HamiltonianTerm, SecondOrderTerm
from pdenet.network_config import TERMS
from pdenet.operators.base import StencilOperator

__all__ = ["BOUNDED", "FROZEN", "NON_EXPANSIVE", "Theory", "theory_of"]


def theory_of(layer: Layer) -> Theory:
    """Limits and certified growth of a layer, by the theorem that fits it."""
    module = layer.module
    if not affine(module):
        return _without_theorem(layer)
    if isinstance(module, Block):
        return _multistep(module)
    if isinstance(module, TimeStep):
        return _of_step(layer, module)
    if isinstance(module, Connector):
        return _of_connector(layer, module)
    assert isinstance(module, nn.Linear)
    height, width = layer.size
    size = float(torch.linalg.matrix_norm(module.weight, 2))
    return Theory(
        coupling="pointwise",
        block="classifier",
        norm=NormInterval(size, size, "singular values of the matrix"),
        norm_certified=size,
        growth_certified=size / math.sqrt(height * width),
        statement=STATEMENTS["classifier"],
    )


def _of_step(layer: Layer, step: TimeStep) -> Theory:
    term = step.term
    if isinstance(term, ParabolicTerm):
        return parabolic_step(layer, step, term)
    if isinstance(term, DiffusionReactionTerm):
        return diffusion_reaction_step(layer, step, term)
    if isinstance(term, HamiltonianTerm | SecondOrderTerm):
        return wave_step(layer, step, term)
    if isinstance(term, ResidualTerm):
        return _residual(step, term)
    raise InputError("a known term", type(term).__name__, "add its theorem to the cross-check")


def block_name(term: Term) -> str:
    """The name of a right-hand side in a configuration."""
    return next(name for name, kind in TERMS.items() if type(term) is kind)


def _without_theorem(layer: Layer) -> Theory:
    """A layer whose normalisation depends on the image: nothing is certified (theory §4.3)."""
    module = layer.module
    step = module.first if isinstance(module, Block) else module
    operators = [m for m in module.modules() if isinstance(m, StencilOperator)]
    return Theory(
        coupling=operators[0].name if operators else "",
        block=block_name(step.term) if isinstance(step, TimeStep) else layer.kind,
        method=step.method if isinstance(step, TimeStep) else None,
        step_size=step.step_size if isinstance(step, TimeStep) else None,
        growth_certified=math.inf,
        proved=False,
        applicable=False,
        statement=STATEMENTS["not affine"],
    )


def _residual(step: TimeStep, term: ResidualTerm) -> Theory:
    assert step.tableau is not None  # residual fields have explicit methods alone
    lipschitz = residual_lipschitz(term)
    return Theory(
        coupling=term.first.name,
        block="residual",
        method=step.method,
        step_size=step.step_size,
        growth_certified=lipschitz_growth(step.tableau, step.step_size * lipschitz),
        statement=STATEMENTS["residual"],
    )


def residual_lipschitz(term: ResidualTerm) -> float:
    """``L ||K2|| ||S K1||``, certified."""
    first = certified(term.first, gains_of(term.first, term.normalization))
    return term.slope_bound * first.upper * certified(term.second).upper


def _multistep(block: Block) -> Theory:
    """All steps of a multistep method together: their history is no state of the network."""
    step, method = block.first, block.first.exact_method
    assert isinstance(method, MultistepMethod | ImexMultistep)
    found = {id(s): _lipschitz(s.term, method) for s in block.steps if isinstance(s, TimeStep)}
    along = [found[id(s)] for s in block.sequence()]
    start = start_method(method)
    starts = [method_growth(start, step.step_size, pair) for pair in along[: method.steps - 1]]
    term = step.term
    return Theory(
        coupling=next(m.name for m in term.modules() if isinstance(m, StencilOperator)),
        block=block_name(term),
        method=step.method,
        step_size=step.step_size,
        growth_certified=multistep_growth(method, step.step_size, along, starts),
        statement=STATEMENTS["stages"],
    )


def _lipschitz(term: Term, method: MultistepMethod | ImexMultistep) -> Pair:
    """Lipschitz constants of what a multistep method evaluates and of what it solves for."""
    if isinstance(method, ImexMultistep):
        assert isinstance(term, DiffusionReactionTerm)  # no other field has two parts
        return reaction_of(term).lipschitz, diffusion_of(term).lipschitz
    whole = _whole_lipschitz(term)
    return (whole, 0.0) if method.explicit else (0.0, whole)


def _whole_lipschitz(term: Term) -> float:
    slopes = [slopes_of(term)]
    if isinstance(term, DiffusionReactionTerm):
        return reaction_of(term).lipschitz + diffusion_of(term).lipschitz
    if isinstance(term, ParabolicTerm):
        return curvature_of([(term.operator, term.normalization)], slopes).lipschitz
    if isinstance(term, ResidualTerm):
        return residual_lipschitz(term)
    assert isinstance(term, HamiltonianTerm | SecondOrderTerm)
    halves = [curvature_of([part], slopes).lipschitz for part in wave_parts(term)]
    return max(*halves, 1.0) if isinstance(term, SecondOrderTerm) else max(halves)


def _of_connector(layer: Layer, connector: Connector) -> Theory:
    operator = connector.operator
    gains = gains_of(operator, connector.normalization)
    growth = connector.slope_bound * certified(operator, gains).upper
    if isinstance(connector.pooling, nn.AvgPool2d):
        growth *= pooling_norm("average", 2)
    elif isinstance(connector.pooling, nn.MaxPool2d):
        growth *= pooling_norm("max", 2)
    coupling = operator.coupling()
    return Theory(
        coupling=operator.name,
        block=layer.kind,
        norm=norm_at(coupling, layer, operator.boundary),
        norm_certified=certified(operator).upper,
        growth_certified=growth,
        statement=STATEMENTS["layer"],
    )
