"""The package as a whole: its version, its lightness, and the ground it stands on."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pdenet

ROOT = Path(pdenet.__file__).resolve().parents[1]


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in `folder`, which comes first on the import path, before our packages."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_version_is_that_of_the_distribution() -> None:
    assert pdenet.__version__ == importlib.metadata.version("pdenet")


@pytest.mark.parametrize("heavy", ["torch", "matplotlib", "sympy", "numpy"])
def test_importing_the_package_is_light(heavy: str, tmp_path: Path) -> None:
    done = run_python(f"import sys, pdenet; print({heavy!r} in sys.modules)", tmp_path)
    assert done.stdout == "False\n", done.stderr


def test_our_own_ground_is_accepted_before_and_after_it_is_imported(tmp_path: Path) -> None:
    for code in ("import pdenet, analysis.errors", "import analysis.errors, pdenet"):
        done = run_python(code, tmp_path)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", ["analysis.py", "analysis/__init__.py"])
@pytest.mark.parametrize("code", ["import pdenet", "import analysis, pdenet"])
def test_a_foreign_analysis_is_named_in_one_sentence(file: str, code: str, tmp_path: Path) -> None:
    foreign = tmp_path / file
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("def unrelated(): ...\n")
    done = run_python(code, tmp_path)
    assert done.returncode == 1
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("ImportError: expected pdenet's own package 'analysis'")
    assert f"got {foreign}; rename it" in sentence


def test_a_foreign_script_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "analysis.py").write_text("print('I ran')\n")
    assert run_python("import pdenet", tmp_path).stdout == ""


def test_a_namespace_package_that_took_the_name_is_named(tmp_path: Path) -> None:
    # Ours wins over a folder without __init__.py unless the name was taken before.
    folder = tmp_path / "analysis"
    folder.mkdir()
    code = (
        "import sys; path = sys.path[:]; sys.path[:] = [p for p in path if p != "
        f"{str(ROOT)!r} and 'site-packages' not in p]; sys.meta_path[:] = [f for f in "
        "sys.meta_path if 'editable' not in repr(f)]\n"
        "import analysis; sys.path[:] = path; import pdenet"
    )
    done = run_python(code, tmp_path)
    assert done.returncode == 1
    assert f"got {folder}; rename it" in done.stderr.splitlines()[-1]


def test_a_missing_ground_asks_for_a_new_installation(tmp_path: Path) -> None:
    # A copy of pdenet alone; -S keeps the installed packages out of sight.
    (tmp_path / "pdenet").mkdir()
    (tmp_path / "pdenet" / "__init__.py").write_text(Path(pdenet.__file__).read_text())
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import pdenet"],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "got none at all; install pdenet again" in done.stderr.splitlines()[-1]


def test_the_wheel_and_the_pins_agree_with_the_definition() -> None:
    definition = (ROOT / "pyproject.toml").read_text()
    pins = (ROOT / "constraints.txt").read_text()
    assert 'packages = ["pdenet", "analysis"]' in definition
    for line in pins.splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line)
