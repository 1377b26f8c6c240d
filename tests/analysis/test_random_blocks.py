"""Theory §4.10 on random blocks: certified growth is never exceeded, the stacked limit is sharp."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from analysis.dynamics import ReactionConstants, diffusion_reaction_growth, parabolic_limits
from tests.analysis import random_blocks as blocks


@pytest.mark.parametrize("part", range(3))
def test_no_block_exceeds_its_growth_and_the_stacked_limit_is_sharp(part: int) -> None:
    """The first 300; `evidence/diffusion_reaction.py` looks at thousands."""
    found = [blocks.examine(index) for index in range(100 * part, 100 * (part + 1))]
    assert [one for one in found if one.faults] == []
    for kind in blocks.KINDS:
        some = [one for one in found if one.kind == kind]
        # Attained where the reaction acts apart from the diffusion, and where it pushes on a flip.
        if kind in ("kernel", "flip"):
            assert max(one.plain for one in some) > 1 - 1e-9
        assert max(one.plain for one in some) > 0.8
        assert min(one.beyond for one in some) == pytest.approx(1.002, abs=1e-9)
    assert {one.diffusive < 2 for one in found} == {True, False}


def test_blocks_are_functions_of_their_index_and_cover_the_kinds() -> None:
    for index in range(8):
        one, other = blocks.make_block(index), blocks.make_block(index)
        assert np.array_equal(one.D, other.D) and one.step_size == other.step_size
        assert one.kind == blocks.KINDS[index % 4]
    assert blocks.make_block(0, 1).step_size != blocks.make_block(0, 2).step_size
    made = [blocks.make_block(index) for index in range(400)]
    assert {block.slope for block in made} == {0.25, 1.0, 2.0}
    assert sum(block.step_size * block.curvature > 2.001 for block in made) > 40
    assert any((block.reaction_gains < 0).any() for block in made)


def test_ascent_reaches_what_enumeration_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    reached = []
    for _ in range(40):
        left, right = rng.standard_normal((3, 6)), rng.standard_normal((6, 3))
        truth = max(
            blocks.norm(np.eye(3) + 0.7 * (left * np.array(ends)) @ right)
            for ends in itertools.product((0, 1), repeat=6)
        )
        assert blocks.largest_growth(left, right, 0.7, rng) == pytest.approx(truth, rel=1e-12)
        monkeypatch.setattr(blocks, "MOST_ENUMERATED", 0)
        found = blocks.largest_growth(left, right, 0.7, rng)
        monkeypatch.undo()
        assert found <= truth * (1 + 1e-12)
        reached.append(found / truth)
        # No slopes within the interval do more than those at its ends.
        inside = [blocks.norm(np.eye(3) + (left * d) @ right) for d in rng.uniform(0, 0.7, (50, 6))]
        assert max(inside) <= truth * (1 + 1e-12)
    assert np.mean(np.array(reached) > 1 - 1e-9) > 0.8


@pytest.mark.parametrize(
    "wrong",
    [
        lambda h, c, r: 0.999 * diffusion_reaction_growth(h, c, r),
        lambda h, c, r: diffusion_reaction_growth(h, 0.9 * c, r),
        lambda h, c, r: diffusion_reaction_growth(
            h, c, ReactionConstants(0.9 * r.one_sided, r.lipschitz)
        ),
        lambda h, c, r: diffusion_reaction_growth(
            h, c, ReactionConstants(r.one_sided, max(r.one_sided, 0.95 * r.lipschitz))
        ),
    ],
)
def test_a_wrong_constant_of_the_growth_is_found(wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "diffusion_reaction_growth", wrong)
    faults = {fault for index in range(300) for fault in blocks.examine(index).faults}
    assert faults == {"a step grows by more than is certified"}


@pytest.mark.parametrize("factor", [1.01, 0.99])
def test_a_wrong_stacked_limit_is_found(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        blocks, "parabolic_limits", lambda method, c: parabolic_limits(method, c / factor)
    )
    faults = {fault for index in range(20) for fault in blocks.examine(index).faults}
    word = "below the stacked limit" if factor > 1 else "do not expand beyond"
    assert len(faults) == 1 and word in faults.pop()
