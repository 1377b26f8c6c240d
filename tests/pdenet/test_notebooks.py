"""The notebooks run from beginning to end, and what is shown of them is what they say now."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "notebooks").glob("[!_]*.py"))
LARGEST = 500_000  # bytes of an executed notebook: it is read on a page, and kept in the history


def test_there_are_notebooks() -> None:
    assert SCRIPTS


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_a_notebook_runs(script: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # What the text of the tutorial promises.
    assert "4 violated" in done.stdout and "4 proved" in done.stdout
    assert not list(tmp_path.iterdir()), "a notebook leaves nothing behind"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_the_executed_notebook_is_the_script(script: Path) -> None:
    jupytext = pytest.importorskip("jupytext")
    executed = script.with_suffix(".ipynb")
    assert executed.is_file(), "run make notebooks"
    assert executed.stat().st_size < LARGEST
    shown = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    said = jupytext.read(script).cells
    assert ["".join(cell["source"]) for cell in shown] == [cell.source for cell in said], (
        "run make notebooks"
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_every_cell_of_code_was_executed_in_order_and_without_errors(script: Path) -> None:
    cells = json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    text = json.dumps(outputs)
    assert str(Path.home()) + "/" not in text and "/tmp/" not in text
