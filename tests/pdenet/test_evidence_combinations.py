"""The search over all combinations: what it examines, what it keeps, and that faults are seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evidence import combinations as evidence


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(evidence, "RESULTS", tmp_path)


def kept() -> dict[str, Any]:
    return dict(json.loads((evidence.RESULTS / "combinations.json").read_text()))


def test_the_script_keeps_what_it_found_and_says_a_line_a_part(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert evidence.main(["--count", "12"]) == 0
    shown, found = capsys.readouterr(), kept()
    first, *others = shown.out.splitlines()
    combinations, cover = found["combinations"], found["cover"]
    assert first == f"{combinations} combinations, {cover} networks of the cover"
    assert len(others) == len(found["parts"]) and all(", 0 failures" in line for line in others)
    assert sum(part["count"] for part in found["parts"].values()) >= 12
    assert found["failures"] == [] and found["commit"] and found["machine"]["processor"]


def test_every_combination_and_all_of_the_cover_are_examined(tmp_path: Path) -> None:
    parts: dict[str, list[str]] = {}
    for part, name, _ in evidence.cases(tmp_path):
        parts.setdefault(part, []).append(name)
    count, cover = len(evidence.every_combination()), len(evidence.pairwise_cover()[0])
    for part in ("derivatives", "round trips", "translations", "derivatives at edges"):
        assert len(set(parts[part])) == len(parts[part]) == count
    for part in ("compiled", "exported", "autocast"):
        assert len(parts[part]) == cover
    assert len(parts["ONNX"]) + len(parts["refused by ONNX"]) == cover


def test_faults_are_counted_said_and_end_with_status_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raises() -> list[str]:
        raise ValueError("of the second\nand more")

    def three(folder: Path) -> list[evidence.Case]:
        some = (lambda: ["of the first"], raises, lambda: [])
        return [("a part", f"network {n}", examine) for n, examine in enumerate(some)]

    monkeypatch.setattr(evidence, "cases", three)
    assert evidence.main([]) == 1
    shown, found = capsys.readouterr(), kept()
    assert "a part: 3 cases, 2 failures" in shown.out
    assert [one["faults"] for one in found["failures"]] == [
        ["of the first"],
        ["ValueError: of the second"],
    ]
    assert "network 0" in shown.err and "network 2" not in shown.err
