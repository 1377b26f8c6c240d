"""The search for a block that grows by more than is certified: what it counts and keeps."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from evidence import diffusion_reaction as evidence


@pytest.fixture(autouse=True)
def apart(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(evidence, "RESULTS", tmp_path)


def kept() -> dict:
    return json.loads((evidence.RESULTS / "diffusion_reaction.json").read_text())


def test_the_script_keeps_what_it_found_and_says_a_sentence(capsys) -> None:
    assert evidence.main(["--count", "40"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "" and shown.out.startswith("40 blocks of seed 31: 0 failures.")
    found = kept()
    assert found["count"] == 40 and found["failures"] == []
    assert [kind["count"] for kind in found["kinds"].values()] == [10, 10, 10, 10]
    assert found["machine"]["processor"] and found["commit"]
    assert 0 < found["beyond_the_limit_of_the_diffusion"] < 40
    assert found["largest_growth_at_0.999_of_the_stacked_limit"] <= 1 + 1e-12
    assert found["least_growth_of_full_slopes_at_1.001"] == pytest.approx(1.002)


def test_a_block_that_grows_too_much_is_kept_and_fails(capsys, monkeypatch) -> None:
    examine = evidence.examine

    def wrong(index: int, seed: int):
        found = examine(index, seed)
        return replace(found, faults=("it grows",)) if index == 5 else found

    monkeypatch.setattr(evidence, "examine", wrong)
    assert evidence.main(["--count", "8", "--seed", "2"]) == 1
    assert [failure["index"] for failure in kept()["failures"]] == [5]
    assert "block 5: it grows" in capsys.readouterr().out


def test_a_count_that_is_none_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        evidence.main(["--count", "0"])
    assert "positive whole number" in capsys.readouterr().err
