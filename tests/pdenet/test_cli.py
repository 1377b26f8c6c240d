"""The command line as a whole: exit codes, one-line errors, the JSON envelope, lightness."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pdenet
from analysis.errors import InputError
from pdenet.cli import main, method
from pdenet.cli.app import COMMANDS
from pdenet.files import jsonable
from tests.pdenet.cli_runner import ENVELOPE, refused, run

NAMES = [function.__name__ for function, _ in COMMANDS]


def python(code: str, *, closed_stdout: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    if closed_stdout:
        command = ["bash", "-c", f'"{sys.executable}" -c "{code}" | true; exit ${{PIPESTATUS[0]}}']
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("name", NAMES)
def test_help_of_every_command_shows_an_example_that_parses(name: str) -> None:
    done = run(name, "--help")
    assert done.status == 0
    assert done.err == ""
    assert f"Example: pdenet {name}" in " ".join(done.out.split())
    assert all(len(line) <= 80 for line in done.out.splitlines())


def test_examples_use_options_that_exist() -> None:
    for function, example in COMMANDS:
        help_text = run(function.__name__, "--help").out
        for word in example.split():
            if word.startswith("--"):
                assert word in help_text, (example, word)


def test_without_words_the_help_is_shown() -> None:
    done = run()
    assert done.status == 0
    assert all(name in done.out for name in NAMES)


def test_version_is_that_of_the_package() -> None:
    assert run("--version").out == f"{pdenet.__version__}\n"


def test_python_dash_m_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pdenet", "method", "heun", "--json", "-"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0
    assert json.loads(done.stdout) == run("method", "heun", "--json", "-").json


def test_the_laplacian_needs_no_heavy_package() -> None:
    code = (
        "import sys; from pdenet.cli import main; "
        "status = main('stability --method rk4 --laplacian 64 --json -'.split()); "
        "heavy = {'torch', 'matplotlib', 'sympy', 'sklearn', 'PIL'} & set(sys.modules); "
        "sys.exit(9 if heavy else status)"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["largest_stable_step"] == pytest.approx(0.6963233908512)


def test_a_terminal_that_knows_ascii_only_is_served() -> None:
    words = ["stability", "--method", "euler", "--laplacian", "8", "--json", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "pdenet", *words],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "theory §4.11" in json.loads(done.stdout.decode("ascii"))["statement"]
    assert done.stderr.isascii()


def test_a_closed_pipe_is_silent() -> None:
    code = "import sys; from pdenet.cli import main; sys.exit(main(['method', '--list']))"
    done = python(code, closed_stdout=True)
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # 0 where all was written before the reader left


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["methd"], ["a command out of demo", "did you mean 'method'?"]),
        (["method", "rk5"], ["a method out of", "'rk5'", "did you mean 'rk4'?"]),
        (["method", "rkc1:stages=0"], ["stages"]),
        (["method", "rkc1:damp=0"], ["damp"]),
        (["method", "rk4", "--lst"], ["an option of pdenet method", "did you mean '--list'?"]),
        (["method", "rk4", "heum"], ["a method out of", "did you mean 'heun'?"]),
        (["bench", "spectra", "more"], ["no further argument", "'more'"]),
        (["method"], ["the name of a method or --list", "nothing"]),
        (["method", "rk4", "--list"], ["both rk4 and --list"]),
        (["method", "rk4", "--save", "a.gif"], [".png, .pdf, .svg", "'a.gif'"]),
        (["method", "--list", "--save", "a.png"], ["name one method"]),
        (["method", "rk4", "--plot", "star"], ["--save FIGURE beside --plot"]),
        (["method", "rk4", "heun", "--per-stage"], ["--save FIGURE beside --per-stage"]),
        (["method", "rk4", "--plot", "stra", "--save", "a.png"], ["did you mean 'star'?"]),
        (["method", "rk4", "--json"], ["a value for --json", "none"]),
        (["method", "rk4", "--json", "/"], ["a file for --json"]),
        (["stability", "--laplacian", "many"], ["a whole number for --laplacian", "'many'"]),
        (["stability", "--laplacian", "8", "--step", "x"], ["a number for --step", "'x'"]),
        (["spectrum"], ["SOURCE", "nothing"]),
        (["spectrum", "no-such.npz"], ["no such file or folder: no-such.npz"]),
        (["spectrum", "package.module:factory"], ["the factory 'package.module:factory'"]),
        (["compare"], ["RUN", "nothing"]),
        (["compare", "no-such-run"], ["no such file"]),
        (["train"], ["a folder for the run", "--out"]),
        (["bench", "operator"], ["did you mean 'operators'?"]),
    ],
)
def test_bad_input_is_one_line_with_expected_got_and_remedy(
    words: list[str], parts: list[str]
) -> None:
    line = refused(*words)
    assert all(part in line for part in parts), line


@given(
    st.lists(st.sampled_from([*NAMES, "--json", "-", "--method", "rk4"]) | st.text(), max_size=5)
)
def test_random_words_never_end_in_a_traceback(words: list[str]) -> None:
    # Commands that would work for minutes or write where they are told are spared.
    if {"demo", "bench", "train"} & set(words) or "--json" in words:
        return
    done = run(*words)
    assert done.status in (0, 1, 2)
    assert "Traceback" not in done.err
    assert done.err == "" or done.status != 2 or done.err.count("\n") == 1


def test_json_to_a_file_is_the_document_of_standard_output(tmp_path: Path) -> None:
    file = tmp_path / "new" / "rk4.json"
    assert run("method", "rk4", "--json", file).status == 0
    assert json.loads(file.read_text()) == run("method", "rk4", "--json", "-").json
    assert [path.name for path in file.parent.iterdir()] == ["rk4.json"]


def test_bad_input_leaves_no_file(tmp_path: Path) -> None:
    refused("method", "rk5", "--json", tmp_path / "a.json", "--save", tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_json_holds_infinities_as_text_and_unknowns_as_null() -> None:
    found = jsonable({"a": float("inf"), "b": -float("inf"), "c": float("nan"), "d": None})
    assert found == {"a": "inf", "b": "-inf", "c": None, "d": None}
    assert run("method", "backward-euler", "--json", "-").json["real_interval"] == "inf"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_all_their_digits(value: float) -> None:
    assert json.loads(json.dumps(jsonable([value]))) == [value]


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a"), 2, "runs/a"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "'Permission denied'"),
        (MemoryError(), 2, "fits into memory"),
        (InputError("a", "b", "c"), 2, "expected a, got b; c"),
        (KeyboardInterrupt(), 130, "pdenet: interrupted"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
        (ZeroDivisionError("a defect"), 70, "this is a defect of pdenet"),
    ],
)
def test_errors_of_the_machine_have_a_status_each(
    error: BaseException,
    status: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(method, "method_facts", fail)
    monkeypatch.setattr("pdenet.cli._silence_stdout", lambda: None)
    assert main(["method", "rk4"]) == status
    captured = capsys.readouterr()
    assert text in captured.err
    assert ("Traceback" in captured.err) == (status == 70)
    assert captured.err.count("\n") <= 1 or status == 70


METHOD_KEYS = {
    "name",
    "order",
    "stages",
    "real_interval",
    "imaginary_interval",
    "circle_contractivity",
    "stability_function",
}


def test_method_has_the_keys_of_the_contract() -> None:
    done = run("method", "rkc1:stages=12,damping=0", "--json", "-")
    assert done.json.keys() >= METHOD_KEYS | ENVELOPE
    assert done.json["real_interval"] == 288.0
    assert done.json["command"] == "method"
    assert "rkc1" in done.err  # the table goes where it does not disturb


def test_method_gives_exact_coefficients() -> None:
    function = run("method", "rk4", "--json", "-").json["stability_function"]
    assert function == {"numerator": ["1", "1", "1/2", "1/6", "1/24"], "denominator": ["1"]}


def test_method_list_holds_every_method_and_fits_the_screen() -> None:
    done = run("method", "--list", "--json", "-")
    names = {item["name"].partition(":")[0] for item in done.json["methods"]}
    assert {"euler", "heun", "ssprk33", "rk4", "rkc1", "backward-euler"} <= names
    assert all(item.keys() >= METHOD_KEYS for item in done.json["methods"])
    assert all(len(line) <= 80 for line in done.err.splitlines())


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_method_draws_its_region(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = tmp_path / f"region.{suffix}"
    assert run("method", "rk4", "--save", figure).status == 0
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    assert figure.read_bytes().startswith(start)


@pytest.mark.parametrize(
    "words",
    [
        ["bdf2"],
        ["rkc1:stages=200"],
        ["sbdf2"],
        ["rk4", "ab3", "verlet", "--per-stage"],
        ["gauss2", "--plot", "star"],
        ["rkc1", "rkl1", "--plot", "stages", "--per-stage"],
    ],
)
def test_method_draws_every_kind(words: list[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = tmp_path / "a.png"
    assert run("method", *words, "--save", figure).status == 0
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["ars222", "--plot", "region"], ["one eigenvalue", "'ars222'"]),
        (["rk4", "ars222"], ["one eigenvalue", "'ars222'"]),
        (["rk4", "--plot", "imex"], ["an explicit and an implicit part", "'rk4'"]),
        (["bdf2", "--plot", "star"], ["a Runge-Kutta method"]),
        (["rk4", "--plot", "stages"], ["a stabilised family"]),
        (["rk4", "heun", "--plot", "star"], ["one method for --plot star", "2 names"]),
        (["rk4", "--per-stage"], ["several methods"]),
    ],
)
def test_methods_that_a_picture_is_not_for_are_refused_before_anything_is_shown(
    words: list[str], parts: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    figure = tmp_path / "a.png"
    line = refused("method", *words, "--save", figure)
    assert all(part in line for part in parts), line
    assert not figure.exists()


def test_several_methods_are_a_list_like_that_of_all() -> None:
    names = ["heun", "table:A=0 0;1/2 0,b=0 1", "ars111"]
    found = run("method", *names, "--json", "-").json["methods"]
    assert [item["name"] for item in found] == names
    assert found[2]["imex_limits"]["real"] == 2.0
    assert [item.pop("description")[:13] for item in found] == [
        "Heun's explic",
        "a Runge-Kutta",
        "implicit-expl",
    ]
    alone = run("method", "heun", "--json", "-").json
    assert found[0] == {key: alone[key] for key in alone.keys() - ENVELOPE}


@pytest.mark.parametrize("name", ["spectra", "stability", "operators", "training"])
def test_benchmarks_give_rows_with_ratios(name: str) -> None:
    rows = run("bench", name, "--quick", "--json", "-").json["rows"]
    couplings = {"full", "depthwise", "pointwise", "lean", "circulant", "grouped"}
    if name != "stability":  # whole commands, no couplings
        assert {row["coupling"] for row in rows if "coupling" in row} >= couplings
    of = ("ratio", "faster", "less")
    for row in rows:
        if row.get("section") == "machine":  # what the ratios are measured against
            continue
        if "exponent_c" in row:  # slopes of our own times, beside theory and no peer
            assert name == "spectra" and abs(row["exponent_c"]) < 10
            continue
        ratios = [value for key, value in row.items() if key.endswith(of)]
        assert ratios
        assert min(ratios) > 0
