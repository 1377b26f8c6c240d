"""Every combination of right-hand side, coupling and method keeps what a network promises.

All of them, with every padding, are examined by `evidence/combinations.py`; here every field
with every coupling and with every method, and a cover of all pairs of other choices.
"""

from __future__ import annotations

import math

import pytest
import torch

from analysis.errors import InputError
from pdenet.config import from_toml, to_toml
from pdenet.network_config import BLOCKS, TERMS, NetworkConfig
from pdenet.operators.conv import OPERATORS
from pdenet.operators.jacobian import dot_test, taylor_test
from tests.pdenet.combination_checks import (
    as_vector_map,
    derivative_faults,
    difference_faults,
    order_faults,
    random_vectors,
    round_trip_faults,
    translation_defect,
)
from tests.pdenet.combinations import (
    SPECIAL,
    block_of,
    by_coupling_and_method,
    configuration,
    every_combination,
    factors,
    field_of,
    images,
    kind_of,
    label,
    methods_by_kind,
    network,
    pairs_of,
    pairwise,
    pairwise_cover,
    selection,
)

PARTS = 12
"""Tests run on several cores: a selection in so many parts."""


def test_what_there_is() -> None:
    """What is left out is refused for a reason that a list of its own names."""
    every = every_combination()
    assert len(every) == len(set(every)) == 1716
    assert {c.block for c in every} == set(BLOCKS)
    for coupling in OPERATORS:
        assert sum(c.coupling == coupling for c in every) == 1716 // len(OPERATORS)
    kinds = methods_by_kind()
    assert sum(map(len, kinds.values())) == len({c.method for c in every})
    for name in ("coupling", "method"):
        pairs = [{(field_of(c), getattr(c, name)) for c in some} for some in (every, selection())]
        assert pairs[0] == pairs[1]


def refused(pair) -> bool:
    """Whether two choices never go together, by the rules of ``NetworkConfig`` in words."""
    choice = dict(pair)
    kind, block = choice.get("kind"), choice.get("block")
    family = kind and kind.split(",")[0]
    special = any(choice.get(name, level) != level for name, level in SPECIAL.items())
    reacts = block == "diffusion-reaction" or special
    reversible = choice.get("backpropagation") == "reversible"
    return any(
        (
            special and block not in (None, "diffusion-reaction"),
            reacts and (family in ("implicit", "partitioned") or reversible),
            bool(kind and block) and family not in TERMS[block].families,
            reversible and kind not in (None, "partitioned, one step"),
            reversible and block in ("parabolic", "residual"),
            reversible and choice.get("weights_in_time", "shared") not in ("shared", "per-step"),
            family == "implicit" and choice.get("normalization", "none") != "none",
            family == "implicit" and choice.get("activation") == "gelu",
        )
    )


def test_the_cover_holds_every_pair_that_exists() -> None:
    cover, invalid = pairwise_cover()
    assert all(map(refused, invalid))
    seen = set()
    for config, size in cover:
        kind = kind_of(config.method)
        options = {name: getattr(config, name, None) for name in factors()}
        seen |= pairs_of(options | {"kind": kind, "size": size})
    levels = factors()
    every = {
        ((a, x), (b, y))
        for a in levels
        for b in levels
        if a < b
        for x in levels[a]
        for y in levels[b]
    }
    assert seen == {pair for pair in every if not refused(pair)}


def test_pairwise_is_a_cover_of_few() -> None:
    """All pairs of nine factors of three levels in fewer than thirty of 19683 choices."""
    levels = {str(k): (0, 1, 2) for k in range(9)}
    chosen, invalid = pairwise(levels, lambda choice: choice["0"] != 2 or choice["1"] != 1)
    assert invalid == {(("0", 2), ("1", 1))}
    assert 9 <= len(chosen) < 30
    assert len(set().union(*map(pairs_of, chosen))) == 36 * 9 - 1


def test_every_configuration_is_read_back() -> None:
    for config in every_combination():
        assert from_toml(NetworkConfig, to_toml(config)) == config


@pytest.mark.parametrize("part", range(PARTS))
def test_combinations(part: int) -> None:
    """Derivatives, adjoint of the Jacobian, state dict and translations."""
    faults = {}
    for config in selection()[part::PARTS]:
        found = derivative_faults(config) + round_trip_faults(config)
        defect = translation_defect(network(config))
        if not defect < 1e-12:
            found.append(f"a translation is lost by {defect:.1e}")
        if found:
            faults[label(config)] = found
    assert not faults


@pytest.mark.parametrize("part", range(PARTS))
def test_other_choices(part: int) -> None:
    """The same for paddings, normalisations, activations, weights in time and the rest."""
    faults = {}
    for config, size in pairwise_cover()[0][part::PARTS]:
        found = derivative_faults(config, size) + round_trip_faults(config, size)
        defect = translation_defect(network(config), size)
        kept = defect < 1e-12
        if kept != (config.padding_mode == "circular" or is_pointwise(config)):
            found.append(f"a translation is lost by {defect:.1e}")
        if found:
            faults[label(config)] = found
    assert not faults


@pytest.mark.parametrize("part", range(3))
def test_observed_orders(part: int) -> None:
    """Every coupling with methods of every kind, fields in turn."""
    found = {label(c): order_faults(c) for c in by_coupling_and_method()[::17][part::3]}
    assert not {name: faults for name, faults in found.items() if faults}


WRONG = {
    "a derivative that misses a factor": ("the Taylor remainder has order 1", 1.1, 1.0),
    "an adjoint that misses a factor": ("<u, J^T v> is", 1.0, 1.1),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_derivatives_are_found(name: str) -> None:
    fault, forward, reverse = WRONG[name]
    block = block_of(network(configuration()))
    mapping, point = as_vector_map(block, images(4, batch=1))
    u, v = random_vectors(len(point), len(mapping(point)), dtype=point.dtype)
    u = u / 1000
    pushed = torch.func.jvp(mapping, (point,), (u,))[1].detach()
    pulled = torch.func.vjp(mapping, point)[1](v)[0].detach()
    assert not difference_faults(mapping, point, (u, v), pushed, pulled)
    (found,) = difference_faults(mapping, point, (u, v), forward * pushed, reverse * pulled)
    assert found.startswith(fault)


def test_a_wrong_adjoint_is_found() -> None:
    A, (x, y) = images(5, batch=1)[0, 0], random_vectors(4, 5, dtype=torch.float64)
    assert dot_test(lambda v: A @ v, lambda v: A.T @ v, x, y) < 1e-15
    assert dot_test(lambda v: A @ v, lambda v: 1.01 * A.T @ v, x, y) > 1e-4
    with pytest.raises(InputError, match="A x of the shape of y"):
        dot_test(lambda v: A @ v, lambda v: A.T @ v, x, x)


def test_taylor_test_in_single_precision_and_at_kinks() -> None:
    x = images(3, dtype=torch.float32)
    assert taylor_test(torch.tanh, x, x / 10) == pytest.approx(2, abs=0.05)
    assert taylor_test(torch.tanh, x, x / 10, 0.9 * x) < 1.2
    assert taylor_test(torch.relu, torch.zeros(1), -torch.ones(1), torch.ones(1)) == 1
    assert math.isinf(taylor_test(torch.relu, torch.ones(1), torch.ones(1)))
    for arguments in ((x[0],), (x, x[0])):
        with pytest.raises(InputError, match="that fit"):
            taylor_test(torch.tanh, x, *arguments)
    with pytest.raises(InputError, match="finite values near"):
        taylor_test(lambda y: y / 0, x, x, x)


def is_pointwise(config: NetworkConfig) -> bool:
    """Whether a block has no neighbours: its edges are like its inside."""
    reaction = config.block != "diffusion-reaction" or config.reaction_coupling == "pointwise"
    return config.coupling == "pointwise" and reaction
