"""Figures of the repository show what their captions say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from analysis.plots import file_bytes
from analysis.reaction_diffusion import schnakenberg

SCRIPTS = Path(__file__).parents[2] / "paper_figures"


def script(name: str) -> ModuleType:
    if not (SCRIPTS / f"{name}.py").exists():
        pytest.skip("the scripts are not part of the package")
    spec = importlib.util.spec_from_file_location(f"figure_{name}", SCRIPTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_measured_growth_rates_are_those_of_the_grid_and_not_of_the_continuum() -> None:
    turing = script("turing_band")
    model = schnakenberg()
    waves, rates = turing.measured_rates(model)
    assert len(waves) > 30 and (rates > 0).sum() > 8
    assert rates == pytest.approx(turing.discrete_rates(model, waves), abs=1e-4)
    continuous = model.eigenvalues(waves**2).real.max(axis=-1)
    assert np.abs(rates - continuous).max() > 0.1


def test_the_wave_number_of_a_pattern_is_that_of_its_wave() -> None:
    turing = script("turing_band")
    x = turing.SPACING * np.arange(32)
    wave = 2 * np.pi * 5 / (32 * turing.SPACING)
    assert turing.wave_number_of(3 + np.cos(wave * x)[:, None] * np.ones(32)) == pytest.approx(wave)


def test_pairs_of_the_figure_are_stable_up_to_the_largest_step() -> None:
    imex = script("imex_regions")
    assert imex.verdicts("ars443") == (400, 0)
    assert all(sum(imex.verdicts(name)) == 400 for name in imex.METHODS)
    assert imex.verdicts("cnab")[1] > imex.verdicts("sbdf2")[1] > imex.verdicts("ars222")[1] > 0


def test_the_gallery_draws() -> None:
    assert file_bytes(script("stability_regions").draw()).startswith(b"\x89PNG")
