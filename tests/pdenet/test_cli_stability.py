"""`pdenet stability`: the contract, known limits, and readers that meet any bytes."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pdenet.cli_runner import ENVELOPE, refused, run

KEYS = {
    "method",
    "step_size",
    "largest_stable_step",
    "stable",
    "limiting_eigenvalue",
    "amplification",
    "nonexpansive_limit",
    "assumption",
    "statement",
}


def judge(*words: object) -> dict:
    return run("stability", *words, "--json", "-").json


def test_the_keys_are_those_of_the_contract() -> None:
    found = judge("--method", "euler", "--laplacian", 64, "--diffusivity", 1)
    assert found.keys() >= KEYS | ENVELOPE
    assert (found["stable"], found["amplification"], found["step_size"]) == (None, None, None)
    assert found["limiting_eigenvalue"] == [-4.0, 0.0]


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize(("diffusivity", "spacing"), [(1.0, 1.0), (0.3, 0.5)])
def test_heat_equation_has_the_textbook_limit(
    dimension: int, diffusivity: float, spacing: float
) -> None:
    """Forward Euler: D h / dx^2 <= 1 / (2 d)."""
    words = ["--laplacian", 16, "--dimension", dimension]
    words += ["--diffusivity", diffusivity, "--spacing", spacing]
    found = judge("--method", "euler", *words)
    limit = spacing**2 / (2 * dimension * diffusivity)
    assert found["largest_stable_step"] == pytest.approx(limit, rel=1e-14)
    # Euler is non-expansive exactly as far as it is stable on a symmetric field.
    assert found["nonexpansive_limit"] == pytest.approx(limit, rel=1e-14)
    assert run("stability", "--method", "euler", *words, "--step", 0.999 * limit).status == 0
    assert run("stability", "--method", "euler", *words, "--step", 1.001 * limit).status == 1


def test_midpoint_is_never_non_expansive_although_linearly_stable() -> None:
    found = judge("--method", "midpoint", "--laplacian", 8)
    assert found["largest_stable_step"] == 0.5
    assert found["nonexpansive_limit"] == 0.0


def test_an_implicit_method_has_infinite_limits() -> None:
    found = judge("--method", "backward-euler", "--laplacian", 8, "--step", 1e6)
    assert found["largest_stable_step"] == found["nonexpansive_limit"] == "inf"
    assert found["limiting_eigenvalue"] is None
    assert found["stable"] is True


def test_a_growing_problem_has_no_limit_and_says_so() -> None:
    found = judge("--method", "euler", "--laplacian", 8, "--reaction", 0.5)
    assert found["largest_stable_step"] == 0.0
    assert found["nonexpansive_limit"] is None
    assert "grows at rate 0.5" in found["statement"]


def test_a_damping_reaction_stays_dissipative() -> None:
    found = judge("--method", "euler", "--laplacian", 8, "--reaction", -1)
    assert found["nonexpansive_limit"] == found["largest_stable_step"] == 0.4


def test_eigenvalues_tell_no_norm(tmp_path: Path) -> None:
    file = tmp_path / "spectrum.txt"
    file.write_text("# re im\n-1 0.5\n\n-1, -0.5\n-2\n")
    found = judge("--method", "heun", "--eigenvalues", file)
    assert found["nonexpansive_limit"] is None
    assert "norm" in found["assumption"]


def test_all_kinds_of_files_hold_the_same_spectrum(tmp_path: Path) -> None:
    values = np.array([-1 + 2j, -1 - 2j, -3])
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", values)
    lines = [f"{float(z.real)!r} {float(z.imag)!r}" for z in values]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    found = [
        judge("--method", "rk4", "--eigenvalues", tmp_path / f"a.{kind}")["largest_stable_step"]
        for kind in ("npy", "npz", "txt")
    ]
    assert found[0] == found[1] == found[2]
    assert math.isfinite(found[0])


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "one of --laplacian N, --eigenvalues FILE or SOURCE"),
        (["--laplacian", "8", "--eigenvalues", "x"], "--laplacian and --eigenvalues"),
        (["--laplacian", "0"], "at least one grid point"),
        (["--laplacian", "9" * 400], "at most"),
        (["--laplacian", "100000", "--dimension", "2"], "at most"),
        (["--laplacian", "8", "--dimension", "4"], "a dimension of 1, 2 or 3"),
        (["--laplacian", "8", "--diffusivity", "-1"], "a positive number for --diffusivity"),
        (["--laplacian", "8", "--spacing", "0"], "a positive number for --spacing"),
        (["--laplacian", "8", "--spacing", "1e-200"], "finite"),
        (["--laplacian", "8", "--reaction", "nan"], "a finite number for --reaction"),
        (["--laplacian", "8", "--step", "0"], "a positive number for --step"),
        (["--laplacian", "8", "--step", "inf"], "a positive number for --step"),
        (["--laplacian", "8", "--size", "8x8"], "SOURCE beside --size"),
        (["--eigenvalues", "x", "--spacing", "1"], "--laplacian N beside --spacing"),
        (["--eigenvalues", "no-such-file"], "no file 'no-such-file'"),
        (["--eigenvalues", "/"], "which is no file"),
    ],
)
def test_bad_input_is_refused(words: list[str], part: str) -> None:
    assert part in refused("stability", "--method", "rk4", *words)


def test_a_method_must_be_named() -> None:
    assert "--method M" in refused("stability", "--laplacian", 8)


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.zeros((2, 2)), "real numbers of shape (2, 2)"),
        (np.zeros(0), "got none"),
        (np.array([1.0, np.nan]), "an infinite or undefined one"),
        (np.array(["a"]), "numbers in"),
        (np.array([{}]), "readable .npy"),
    ],
)
def test_arrays_that_are_no_eigenvalues_are_refused(
    array: np.ndarray, part: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    line = refused("stability", "--method", "rk4", "--eigenvalues", tmp_path / "a.npy")
    assert part in line


def test_a_file_of_two_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=[1.0], b=[2.0])
    line = refused("stability", "--method", "rk4", "--eigenvalues", tmp_path / "a.npz")
    assert "2 (a, b)" in line


def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    header = {"descr": "<c16", "fortran_order": False, "shape": (10**15,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    (tmp_path / "a.npy").write_bytes(buffer.getvalue() + b"\0" * 64)
    line = refused("stability", "--method", "rk4", "--eigenvalues", tmp_path / "a.npy")
    assert "fewer numbers than its header says" in line


def whole_npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def whole_npz(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, values=values)
    return buffer.getvalue()


@settings(max_examples=150)
@given(
    kind=st.sampled_from(["npy", "npz", "txt"]),
    position=st.integers(0, 10_000),
    junk=st.binary(max_size=40),
    keep=st.booleans(),
)
def test_damaged_files_end_in_one_line_or_a_verdict(
    kind: str, position: int, junk: bytes, keep: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    values = np.array([-1.0 + 1j, -1.0 - 1j])
    whole = {"npy": whole_npy, "npz": whole_npz, "txt": lambda v: b"-1 1\n-1 -1\n"}[kind](values)
    position %= len(whole)
    rest = whole[position + len(junk) :] if keep else b""
    file = tmp_path_factory.mktemp("damaged") / f"a.{kind}"
    file.write_bytes(whole[:position] + junk + rest)
    done = run("stability", "--method", "heun", "--eigenvalues", file, "--step", "0.5")
    assert done.status in (0, 1, 2), done.err
    assert "Traceback" not in done.err
    if done.status == 2:
        assert done.err.count("\n") == 1
        assert done.err.startswith("pdenet: error: expected ")


# Fields that are not normal, second-order readings, advice


def test_a_field_that_is_not_normal_is_never_plainly_stable() -> None:
    words = "--method euler --laplacian 40 --boundary neumann --velocity 1 --diffusivity 0.5"
    done = run("stability", *words.split(), "--step", "1.9", "--json", "-")
    assert done.status == 0 and done.json["stable"] is True
    assert "EIGENVALUES STABLE" in done.err and "not normal" in done.err
    assert done.json["contractive_step"] == 0.0
    # I + h A of the bidiagonal matrix with rows (1, -1, 0), but for the ends.
    A = np.diag(np.ones(39), -1) - np.eye(40)
    A[0, 0] = 0.0
    G = np.eye(40) + 1.9 * A
    assert done.json["step_norm"] == pytest.approx(np.linalg.norm(G, 2), rel=1e-9)
    assert done.json["largest_power_norm"] > 1e6
    error = refused("stability", *words.split()[2:], "--advise", "10")
    assert "whose eigenvalues tell its growth" in error


def test_verlet_reads_a_laplacian_as_a_wave_equation() -> None:
    done = run("stability", "--method", "verlet", "--laplacian", "64", "--json", "-")
    assert done.json["largest_stable_step"] == 1.0  # 2 / sqrt(4)
    assert any("y'' = A y" in warning for warning in done.json["warnings"])
    assert run("stability", "--method", "verlet", "--laplacian", "64", "--step", "1").status == 1


def test_advection_alone_central_and_upwind() -> None:
    words = ["stability", "--laplacian", "64", "--diffusivity", "0", "--velocity", "1"]
    done = run(*words, "--method", "leapfrog", "--json", "-")
    assert done.json["largest_stable_step"] == pytest.approx(1.0)
    assert "0 < h < 1" in done.json["statement"]
    upwind = run(*words, "--advection", "upwind", "--method", "euler", "--json", "-")
    assert upwind.json["largest_stable_step"] == pytest.approx(1.0)


def test_advice_suits_all_layers_and_the_slowest_modes(tmp_path: Path) -> None:
    weights = {"stiff": np.zeros((1, 1, 3, 3)), "slow": np.zeros((1, 1, 3, 3))}
    weights["stiff"][0, 0, 1, 1], weights["slow"][0, 0, 1, 1] = 30.0, 1.0
    file = tmp_path / "w.npz"
    np.savez(file, **weights)
    plans = run("stability", file, "--advise", "1", "--json", "-").json["prescription"]
    assert plans
    for plan in plans:
        if plan["method"] == "backward-euler":
            slow = (1 + plan["step_size"]) ** -plan["steps"]
            assert plan["error"] >= abs(slow - math.exp(-1)) - 1e-12
            assert plan["error"] <= 0.01
