"""The ground stands alone: what importing it brings along, and what it must not."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import analysis

FOLDER = Path(analysis.__file__).parent
MODULES = sorted(f"analysis.{module.name}" for module in pkgutil.iter_modules([str(FOLDER)]))


def loaded_after(modules: list[str]) -> set[str]:
    """Top-level packages in a fresh interpreter that has imported these modules."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return set(json.loads(done.stdout))


def test_there_are_modules_to_look_at() -> None:
    assert "analysis.errors" in MODULES


@pytest.mark.parametrize("foreign", ["torch", "pdenet"])
def test_no_module_of_the_ground_brings_the_networks(foreign: str) -> None:
    assert foreign not in loaded_after(MODULES)


def test_only_the_package_of_plots_brings_matplotlib() -> None:
    assert "matplotlib" not in loaded_after([m for m in MODULES if m != "analysis.plots"])
