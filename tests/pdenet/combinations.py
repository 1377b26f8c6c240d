"""Every network there is: all combinations of right-hand side, coupling and method, and covers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from analysis.errors import InputError
from analysis.methods import METHODS, method
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.stabilised import StabilisedMethod
from analysis.time_basis import BASES
from pdenet.integrators.choice import family_of
from pdenet.layers.activations import ACTIVATIONS
from pdenet.layers.block import BACKPROPAGATIONS, Block
from pdenet.layers.normalization import NORMALIZATIONS
from pdenet.layers.terms import DIFFUSIONS, REACTIONS
from pdenet.network_config import BLOCKS, STENCILS, WEIGHTS_IN_TIME, NetworkConfig
from pdenet.networks import PDENet
from pdenet.operators.boundary import BOUNDARY_OF_PADDING
from pdenet.operators.conv import OPERATORS

SIZE = (5, 4)
"""Pixels, different and one of them odd."""
SIZES = (SIZE, (12, 11))
"""Modes by a matrix product on the small, by an FFT on the large."""
SEED = 20
PADDINGS = tuple(BOUNDARY_OF_PADDING)

Choice = dict[str, Any]


# All of them.


def steps_of(name: str) -> int:
    """So many steps that the last one is of the method itself and not of its start."""
    found = method(name)
    return found.steps if isinstance(found, MultistepMethod | ImexMultistep) else 1


def configuration(**options: Any) -> NetworkConfig:
    """A tiny network: one width, smooth, without normalisation and with circular padding."""
    block = options.get("block", "parabolic")
    small = {
        "in_channels": 2,
        "classes": 3,
        "widths": (8 if block == "hamiltonian" else 4,),
        "groups": 2,
        "steps": steps_of(options.get("method", "euler")),
        "step_size": 0.3,
        "normalization": "none",
        "activation": "tanh",
        "padding_mode": "circular",
    }
    return NetworkConfig(**(small | options))


def variants(block: str) -> list[Choice]:
    """The fields of a block: four of diffusion and reaction, one of the others."""
    if block != "diffusion-reaction":
        return [{}]
    return [{"diffusion": d, "reaction": r} for d in DIFFUSIONS for r in REACTIONS]


@cache
def every_combination() -> tuple[NetworkConfig, ...]:
    """All of right-hand side, coupling and method that a network accepts."""
    choices = itertools.product(BLOCKS, OPERATORS, METHODS)
    found = [
        accepted({"block": block, "coupling": coupling, "method": name} | variant)
        for block, coupling, name in choices
        for variant in variants(block)
    ]
    return tuple(config for config in found if config)


def accepted(options: Choice) -> NetworkConfig | None:
    """The configuration, None where it is refused."""
    try:
        return configuration(**options)
    except InputError:
        return None


def field_of(config: NetworkConfig) -> str:
    """The right-hand side in words; diffusion-reaction has four."""
    if config.block != "diffusion-reaction":
        return config.block
    return f"{config.diffusion} diffusion, {config.reaction} reaction"


@cache
def selection() -> tuple[NetworkConfig, ...]:
    """Some of all combinations: every two of field and coupling, and of field and method."""
    table = {(field_of(c), c.method, c.coupling): c for c in every_combination()}
    pairs = dict.fromkeys((field, name) for field, name, _ in table)
    couplings = tuple(OPERATORS)
    return tuple(
        table[field, name, couplings[index % len(couplings)]]
        for index, (field, name) in enumerate(sorted(pairs))
    )


@cache
def by_coupling_and_method() -> tuple[NetworkConfig, ...]:
    """Some of all combinations: every two of coupling and method, with fields in turn."""
    table: dict[tuple[str, str], list[NetworkConfig]] = {}
    for config in every_combination():
        table.setdefault((config.coupling, config.method), []).append(config)
    return tuple(fields[index % len(fields)] for index, fields in enumerate(table.values()))


# Pairwise covers.

KINDS: dict[str, Callable[[Any], bool]] = {
    "one step": lambda m: not isinstance(m, StabilisedMethod | MultistepMethod | ImexMultistep),
    "stabilised": lambda m: isinstance(m, StabilisedMethod),
    "several steps": lambda m: isinstance(m, MultistepMethod | ImexMultistep),
}
"""How a method of a family steps."""


def kind_of(name: str) -> str:
    """Family of a method and how it steps."""
    found = method(name)
    return f"{family_of(found)}, {next(kind for kind, is_it in KINDS.items() if is_it(found))}"


@cache
def methods_by_kind() -> dict[str, tuple[str, ...]]:
    """Methods that serve some field by family and kind of stepper."""
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(config.method for config in every_combination()):
        found.setdefault(kind_of(name), []).append(name)
    return {kind: tuple(names) for kind, names in sorted(found.items())}


def factors() -> dict[str, tuple[Any, ...]]:
    """What a network is chosen by, beside sizes; methods stand for their kinds."""
    return {
        "block": BLOCKS,
        "coupling": tuple(OPERATORS),
        "kind": tuple(methods_by_kind()),
        "padding_mode": PADDINGS,
        "normalization": NORMALIZATIONS,
        "activation": tuple(ACTIVATIONS),
        "stencil": STENCILS,
        "weights_in_time": WEIGHTS_IN_TIME,
        "backpropagation": BACKPROPAGATIONS,
        "diffusion": DIFFUSIONS,
        "reaction": REACTIONS,
        "reaction_coupling": tuple(OPERATORS),
        "size": SIZES,
    }


Pair = tuple[tuple[str, Any], tuple[str, Any]]


def pairs_of(choice: Mapping[str, Any]) -> frozenset[Pair]:
    """All pairs of factors with their levels in a choice."""
    return frozenset(itertools.combinations(sorted(choice.items(), key=lambda item: item[0]), 2))


def pairwise(
    levels: Mapping[str, tuple[Any, ...]],
    valid: Callable[[Choice], bool],
    complete: Callable[[Choice, Choice], Choice] = lambda choice, fixed: choice,
    seed: int = SEED,
    tries: int = 40,
) -> tuple[list[Choice], set[Pair]]:
    """Choices in which every pair of levels occurs that is valid together, and the other pairs.

    Greedy: of a few valid completions of an uncovered pair the one that covers most of the rest.
    A pair without a valid completion in so many tries is taken to be invalid.

    Args:
        levels: of every factor.
        valid: whether a whole choice exists.
        complete: random choice and the part of it that must stay to one that rather exists.
        seed: of the choices.
        tries: completions of a pair.
    """
    generator = random.Random(seed)
    names = sorted(levels)
    missing: dict[Pair, None] = {}
    for a, b in itertools.combinations(names, 2):
        for x, y in itertools.product(levels[a], levels[b]):
            missing[(a, x), (b, y)] = None
    chosen: list[Choice] = []
    invalid: set[Pair] = set()
    while missing:
        fixed = dict(next(iter(missing)))
        candidates: list[Choice] = []
        for _ in range(tries):
            free = {name: generator.choice(levels[name]) for name in names}
            choice = complete(free | fixed, fixed)
            if len(candidates) < 8 and valid(choice):
                candidates.append(choice)
        if not candidates:
            invalid.add(next(iter(missing)))
            del missing[next(iter(missing))]
            continue
        best = max(candidates, key=lambda c: sum(p in missing for p in pairs_of(c)))
        best = _improved(best, levels, valid, missing, set(fixed))
        chosen.append(best)
        for covered in pairs_of(best):
            missing.pop(covered, None)
    return chosen, invalid


def _improved(
    choice: Choice,
    levels: Mapping[str, tuple[Any, ...]],
    valid: Callable[[Choice], bool],
    missing: Mapping[Pair, None],
    fixed: set[str],
) -> Choice:
    """One sweep over the factors, each to the level that covers most."""

    def gain(one: Choice) -> int:
        return sum(p in missing for p in pairs_of(one))

    for name in sorted(levels):
        if name in fixed:
            continue
        others = [choice | {name: level} for level in levels[name] if level != choice[name]]
        better = [one for one in others if gain(one) > gain(choice) and valid(one)]
        choice = max([choice, *better], key=gain)
    return choice


def options_of(choice: Choice) -> Choice:
    """The options of a configuration that a choice of the factors stands for.

    A kind of methods becomes one of them, another one for another choice of the rest.
    """
    options = {name: level for name, level in choice.items() if name not in ("kind", "size")}
    methods = methods_by_kind()[choice["kind"]]
    others = sorted((name, str(level)) for name, level in choice.items())
    chosen = random.Random(str(others)).choice(methods)
    # The recurrence of ten stages makes large graphs and shows nothing that four do not.
    options["method"] = chosen.replace("stages=10", "stages=4")
    options["steps"] = max(2, steps_of(options["method"]))
    return options


def _valid(choice: Choice) -> bool:
    return accepted(options_of(choice)) is not None


SPECIAL = {"diffusion": "nonlinear", "reaction": "dissipative", "reaction_coupling": "pointwise"}
"""What only diffusion-reaction chooses, and what stands there for the others."""


@cache
def blocks_of_kinds() -> dict[str, tuple[str, ...]]:
    """The blocks that a kind of methods serves."""
    served = {(config.method, config.block) for config in every_combination()}
    return {
        kind: tuple(b for b in BLOCKS if any((m, b) in served for m in methods))
        for kind, methods in methods_by_kind().items()
    }


def _completed(choice: Choice, fixed: Choice) -> Choice:
    """Change what is free so that the parts fit one another where they can."""

    def free(name: str, level: Any) -> None:
        choice.setdefault(name, level)
        if name not in fixed:
            choice[name] = level

    special = any(fixed.get(name, level) != level for name, level in SPECIAL.items())
    if special:
        free("block", "diffusion-reaction")
    if fixed.get("backpropagation") == "reversible":
        free("kind", "partitioned, one step")
    _fit_block_and_kind(choice, free)
    if choice["block"] != "diffusion-reaction":
        for name, level in SPECIAL.items():
            free(name, level)
    if choice["kind"] != "partitioned, one step":
        free("backpropagation", "stored")
    if choice["backpropagation"] == "reversible":
        free("weights_in_time", ("per-step", "shared")[len(str(choice)) % 2])
    if "implicit" in choice["kind"] and choice["diffusion"] == "nonlinear":
        free("normalization", "none")
        free("activation", "softplus" if choice["activation"] == "gelu" else choice["activation"])
    return choice


def _fit_block_and_kind(choice: Choice, free: Callable[[str, Any], None]) -> None:
    """The block to the kind of methods, or the other way round where it must stay."""
    served = blocks_of_kinds()
    if choice["block"] not in served[choice["kind"]]:
        others = served[choice["kind"]]
        free("block", others[len(str(choice)) % len(others)])
    if choice["block"] not in served[choice["kind"]]:
        kinds = [kind for kind, blocks in served.items() if choice["block"] in blocks]
        free("kind", kinds[len(str(choice)) % len(kinds)])


@cache
def pairwise_cover() -> tuple[tuple[tuple[NetworkConfig, tuple[int, int]], ...], frozenset[Pair]]:
    """Networks and sizes of images in which every valid pair of choices occurs; invalid pairs."""
    chosen, invalid = pairwise(factors(), _valid, _completed)
    networks = [(configuration(**options_of(c)), c["size"]) for c in chosen]
    return tuple(networks), frozenset(invalid)


@cache
def by_field_kind_and_padding() -> tuple[NetworkConfig, ...]:
    """Every three of field, kind of methods and padding, with couplings and methods in turn."""
    served = {(field_of(c), c.method): c for c in every_combination()}
    couplings, found = tuple(OPERATORS), []
    for field in dict.fromkeys(field for field, _ in served):
        for names in methods_by_kind().values():
            fitting = [served[field, name] for name in names if (field, name) in served]
            for padding in PADDINGS if fitting else ():
                one = fitting[len(found) % len(fitting)]
                coupling = couplings[len(found) % len(couplings)]
                found.append(replace(one, padding_mode=padding, coupling=coupling))
    return tuple(found)


# Networks and images.


def network(config: NetworkConfig, seed: int = 0, dtype: torch.dtype = torch.float64) -> PDENet:
    """With random weights, gains and statistics, in inference mode."""
    torch.manual_seed(seed)
    model = PDENet(config).to(dtype)
    with torch.no_grad():
        for name, tensor in model.named_buffers():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif name.endswith("running_mean"):
                tensor.normal_(0, 0.3)
        if config.weights_in_time in BASES:  # Legendre polynomials beyond the first begin at zero
            for name, parameter in model.named_parameters():
                if ".steps." in name and not parameter.any():
                    parameter.uniform_(-0.2, 0.2)
    return model.eval()


def block_of(model: PDENet) -> Block:
    """The first block."""
    block = model.blocks[0]
    assert isinstance(block, Block)
    return block


def images(
    channels: int,
    size: tuple[int, int] = SIZE,
    batch: int = 2,
    seed: int = 1,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Normal numbers that depend on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, *size, generator=generator, dtype=dtype)


def label(config: NetworkConfig) -> str:
    """Right-hand side, coupling and method in words, and what differs from ``configuration``."""
    words = f"{field_of(config)}, {config.coupling}, {config.method}"
    default = configuration()
    names = ("padding_mode", "normalization", "activation", "stencil", "weights_in_time")
    names += ("backpropagation", "reaction_coupling")
    others = [str(getattr(config, n)) for n in names if getattr(config, n) != getattr(default, n)]
    return ", ".join([words, *others])
