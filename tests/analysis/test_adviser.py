"""The adviser against marching with what it advises, and against all other choices."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.adviser import SAFETY, plans, work
from analysis.clouds import Pairs, RealInterval
from analysis.errors import InputError
from analysis.methods import method
from analysis.model_problems import LinearProblem
from analysis.stability_of import stability_of
from analysis.steps import largest_stable_step

HEAT = LinearProblem((40,), diffusivity=1.0, spacing=0.5).spectrum()


@pytest.mark.parametrize("accuracy", [None, 1e-2, 1e-6])
def test_every_plan_keeps_its_limit_and_its_error(accuracy):
    found = plans(HEAT, time=3.0, accuracy=accuracy)
    assert found == sorted(found, key=lambda plan: plan.cost(10.0))
    for plan in found:
        assert plan.step_size * plan.steps == pytest.approx(3.0)
        limit = largest_stable_step(plan.method, HEAT).step_size
        assert plan.step_size <= SAFETY * limit * (1 + 1e-12)
        if plan.error is not None:
            # The error by marching every mode.
            y, R = np.ones(len(HEAT), dtype=complex), stability_of(plan.method)
            for _ in range(plan.steps):
                y = R(plan.step_size * HEAT) * y
            assert np.abs(y - np.exp(3.0 * HEAT)).max() == pytest.approx(plan.error, abs=1e-12)
            assert accuracy is None or plan.error <= accuracy
        applications, solves = work(method(plan.method))
        assert (plan.applications, plan.solves) == (applications * plan.steps, solves * plan.steps)


@pytest.mark.parametrize("name", ["euler", "rk4", "crank-nicolson"])
def test_one_step_fewer_breaks_the_limit_or_the_error(name):
    (plan,) = (p for p in plans(HEAT, time=3.0, accuracy=1e-3) if p.method == name)
    fewer = plan.steps - 1
    limit = SAFETY * largest_stable_step(name, HEAT).step_size
    error = np.abs(stability_of(name)(3.0 / fewer * HEAT) ** fewer - np.exp(3.0 * HEAT)).max()
    assert 3.0 / fewer > limit or error > 1e-3


def test_stabilised_methods_have_the_fewest_stages():
    (plan,) = (p for p in plans(HEAT, time=3.0) if p.method.startswith("rkc1"))
    stages = plan.applications // plan.steps
    shorter = largest_stable_step(f"rkc1:stages={stages - 1}", HEAT).step_size
    assert SAFETY * shorter < 3.0 / plan.steps
    # Its cost grows like the root of the stiffness, that of Euler like the stiffness.
    stiff = plans(100 * HEAT, time=3.0)
    costs = {p.method.partition(":")[0]: p.applications for p in stiff}
    assert costs["rkc1"] < 12 * plan.applications
    assert costs["euler"] > 40 * costs["rkc1"]


def test_non_expansive_plans_are_those_of_the_contractivity_radius():
    found = {p.method: p for p in plans(RealInterval(-10.0, 0.0), time=2.0, claim="non-expansive")}
    assert found["euler"].limit == pytest.approx(0.2)
    assert found["rk4"].limit == pytest.approx(0.2)
    assert "dopri5" not in found and "rkc1:stages=2" not in found  # r_cc = 0, and none of many
    assert found["backward-euler"].steps == 1
    explicit = [p for p in found.values() if not p.solves]
    assert min(explicit, key=lambda p: p.applications).method == "euler"
    with pytest.raises(InputError, match="real eigenvalues of a symmetric field"):
        plans([-1 + 1j], time=1.0, claim="non-expansive")


def test_pairs_and_budgets():
    problem = LinearProblem((32, 32), velocity=(1.0, 0.0), diffusivity=20.0)
    s = problem.split_spectrum()
    found = plans(Pairs(s[:, 0], s[:, 1]), time=1.0, accuracy=1e-2)
    assert found and all(p.solves and p.applications for p in found)
    cheap = plans(Pairs(s[:, 0], s[:, 1]), time=1.0, accuracy=1e-2, budget=found[0].cost(10.0))
    assert cheap[0] == found[0]
    assert plans(HEAT, time=3.0, budget=1.0) == []


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"time": 0.0}, "a positive time"),
        ({"time": 1.0, "budget": -1.0}, "a positive budget"),
        ({"time": 1.0, "accuracy": math.nan}, "a positive accuracy"),
        ({"time": 1.0, "claim": "safe"}, "linear or non-expansive"),
    ],
)
def test_what_makes_no_sense_is_refused(options, part):
    with pytest.raises(InputError, match=part):
        plans(HEAT, **options)
    with pytest.raises(InputError, match="without growth"):
        plans([0.5], time=1.0)
