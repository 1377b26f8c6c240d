"""Stable steps of random methods and spectra: the first part of `evidence/stable_steps.py`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.analysis import random_steps
from tests.analysis.random_steps import KINDS, examine


@pytest.mark.parametrize("part", range(5))
def test_limits_hold_on_both_sides(part):
    findings = [examine(index) for index in range(100 * part, 100 * (part + 1))]
    assert [one for one in findings if one.faults] == []
    assert {one.kind for one in findings} == set(KINDS)
    finite = [one for one in findings if 0 < one.limit < float("inf")]
    assert len(finite) > 20


@pytest.mark.parametrize(("factor", "fault"), [(1.01, "growth"), (0.98, "no growth beyond")])
def test_a_wrong_limit_is_found(factor, fault, monkeypatch):
    right = random_steps.largest_stable_step

    def wrong(stepper, spectrum):
        found = right(stepper, spectrum)
        return replace(found, step_size=factor * found.step_size)

    monkeypatch.setattr(random_steps, "largest_stable_step", wrong)
    finite = [one for one in map(examine, range(40)) if 0 < one.limit < float("inf")]
    found = [one for one in finite if any(fault in words for words in one.faults)]
    # A mode that grazes the boundary may be inside again 1 % further.
    assert len(found) >= 0.8 * len(finite)
