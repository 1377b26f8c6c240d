"""The search for a wrong certificate: it covers what it says, finds one, and goes on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.progress import Progress

from analysis.couplings import COUPLINGS
from evidence import certificates as evidence


@pytest.fixture(autouse=True)
def apart(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(evidence, "RESULTS", tmp_path)
    monkeypatch.setattr(evidence, "commit", lambda: "0123456789ab")
    monkeypatch.setattr(evidence, "CHUNK", 4)


def test_cases_cover_what_is_promised() -> None:
    cases = [evidence.make_case(index) for index in range(1500)]
    assert {case.operator.name for case in cases if case.kind != "planted"} == set(COUPLINGS)
    assert {case.operator.stride for case in cases} == {1, 2, 3}
    assert {case.operator.dimension for case in cases} == {1, 2, 3}
    assert {case.width for case in cases} == {1e-2, 1e-3, 5e-2}
    sizes = [np.abs(case.weight()).max() for case in cases]
    assert min(sizes) < 1e-5 and max(sizes) > 1e5
    single = sum(case.operator.dense_weight().dtype == np.float32 for case in cases)
    assert 200 < single < 1000
    shares = []
    for case in cases[1::3]:
        assert case.kind == "rank one"
        weight = np.asarray(case.operator.dense_weight(), float)
        if case.operator.name == "full" and min(weight.shape[:2]) > 1:
            values = np.linalg.svd(weight.reshape(len(weight), -1), compute_uv=False)
            shares.append(values[1] / values[0])
    assert min(shares) < 1e-5 and max(shares) > 0.01


def test_an_operator_is_a_function_of_its_index() -> None:
    for index in range(6):
        one, other = evidence.make_case(index), evidence.make_case(index)
        np.testing.assert_array_equal(one.weight(), other.weight())
    sizes = {float(np.abs(evidence.make_case(0, seed).weight()).max()) for seed in range(5)}
    assert len(sizes) == 5


@pytest.mark.parametrize("part", range(4))
def test_certificates_hold(part: int) -> None:
    """The first hundredth of the search; the whole is `make evidence`."""
    findings = [evidence.examine(index) for index in range(250 * part, 250 * (part + 1))]
    assert [one for one in findings if one.faults] == []
    assert all(one.upper >= 1 and one.lower <= 1 + 1e-12 for one in findings)


@pytest.mark.parametrize(
    ("end", "factor", "fault"),
    [
        ("upper", 0.98, "the upper end is below the norm"),
        ("upper", 1.1, "the width is not met"),
        ("lower", 1.001, "the lower end is above the norm"),
        ("lower", 0.999, "the lower end is not attained"),
    ],
)
def test_a_wrong_certificate_is_found(end: str, factor: float, fault: str, monkeypatch) -> None:
    right = evidence.certified_norm

    def wrong(operator, **options):
        found = right(operator, **options)
        return replace(found, **{end: factor * getattr(found, end)})

    monkeypatch.setattr(evidence, "certified_norm", wrong)
    for index in range(3):  # one of each kind
        assert fault in evidence.examine(index).faults
    assert evidence.main(["--count", "3", "--workers", "1"]) == 1
    kept = json.loads((evidence.RESULTS / "certificates.json").read_text())
    assert [failure["index"] for failure in kept["failures"]] == [0, 1, 2]
    assert fault in kept["failures"][0]["faults"]


def search(count: int, tmp_path, name: str) -> dict:
    with Progress(disable=True) as progress:
        tally = evidence.search(count, 5, 1, tmp_path / name, progress)
    assert tally["seconds"] > 0
    return {key: value for key, value in tally.items() if key != "seconds"}


def test_an_interrupted_search_goes_on(tmp_path, monkeypatch) -> None:
    whole = search(10, tmp_path, "whole.json")
    examined = []
    examine = evidence.examine

    def interrupted(index: int, seed: int):
        if index == 6:
            raise KeyboardInterrupt
        return examine(index, seed)

    monkeypatch.setattr(evidence, "examine", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(10, tmp_path, "part.json")
    assert json.loads((tmp_path / "part.json").read_text())["count"] == 4
    monkeypatch.setattr(evidence, "examine", lambda i, s: (examined.append(i), examine(i, s))[1])
    assert search(10, tmp_path, "part.json") == whole
    assert examined == [4, 5, 6, 7, 8, 9]
    kept = json.loads((tmp_path / "part.json").read_text())
    assert kept["commit"] == "0123456789ab" and kept["seed"] == 5 and kept["machine"]["processor"]


@pytest.mark.parametrize("code", ["ba9876543210", "0123456789ab-modified", "unknown"])
def test_other_code_starts_anew(code: str, tmp_path, monkeypatch) -> None:
    file = tmp_path / "part.json"
    search(4, tmp_path, file.name)
    assert evidence.earlier_tally(file, 5, 8)["count"] == 4
    assert evidence.earlier_tally(file, 6, 8)["count"] == 0  # another seed
    assert evidence.earlier_tally(file, 5, 4)["count"] == 0  # finished: once more
    monkeypatch.setattr(evidence, "commit", lambda: code)
    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"commit": code if code != "ba9876543210" else "0"}))
    assert evidence.earlier_tally(file, 5, 8)["count"] == 0
    file.write_text("{")
    assert evidence.earlier_tally(file, 5, 8)["count"] == 0


def test_the_script_says_two_sentences_in_a_pipe(capsys) -> None:
    assert evidence.main(["--count", "6", "--workers", "1"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "" and shown.out.count("\n") == 1
    assert shown.out.startswith("6 operators of seed 29: 0 failures.")
    assert (evidence.RESULTS / "certificates.json").is_file()


def test_several_processes_find_the_same(tmp_path) -> None:
    one = search(8, tmp_path, "one.json")
    with Progress(disable=True) as progress:
        two = evidence.search(8, 5, 2, tmp_path / "two.json", progress)
    assert {key: two[key] for key in one} == one
