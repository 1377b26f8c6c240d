"""Splitting methods as data: orders against exponentials of matrices, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

from analysis.errors import InputError
from analysis.methods import METHODS, method
from analysis.splitting import SplittingMethod

SPLITTINGS = [n for n in METHODS if isinstance(method(n), SplittingMethod)]


def matrix_order(found):
    """Slope of the error on two matrices that do not commute and satisfy no relation."""
    rng = np.random.default_rng(4)
    first, second = (0.5 * rng.standard_normal((5, 5)) for _ in range(2))
    matrices = dict(zip(sorted({part for part, _ in found.flows}), (first, second), strict=True))
    errors = []
    for steps in (64, 128):
        step = np.eye(5)
        for part, fraction in found.flows:
            step = expm(float(fraction) / steps * matrices[part]) @ step
        difference = np.linalg.matrix_power(step, steps) - expm(first + second)
        errors.append(np.linalg.norm(difference))
    return np.log2(errors[0] / errors[1])


@pytest.mark.parametrize("name", SPLITTINGS)
def test_order_is_that_on_matrices(name):
    assert matrix_order(method(name)) == pytest.approx(method(name).order, abs=0.15)


def test_parts():
    assert not method("strang").partitioned
    assert method("verlet").partitioned
    assert [part for part, _ in method("lie").flows] == ["explicit", "implicit"]


def test_the_order_does_not_depend_on_the_names_of_the_parts():
    flows = [("drift" if part == "kick" else "kick", x) for part, x in method("ruth3").flows]
    swapped = SplittingMethod("swapped", flows)
    assert swapped.order == 3
    assert matrix_order(swapped) == pytest.approx(3, abs=0.15)


def test_composing_a_method_with_its_adjoint_gives_order_two():
    half = [("kick", "1/2"), ("drift", "1/2")]
    assert SplittingMethod("euler twice", half + half).order == 1
    assert SplittingMethod("with its adjoint", half + half[::-1]).order == 2


@pytest.mark.parametrize(
    ("flows", "message"),
    [
        ([], "flows of explicit and implicit, or of drift and kick, got none"),
        ([("drift", 1)], "got drift"),
        ([("drift", 1), ("implicit", 1)], "got drift, implicit"),
        ([("drift", 1), ("kick", "1/2")], "sum to 1, got 1/2 for kick"),
        ([("drift", 1.0), ("kick", 1)], "exact table entries"),
    ],
)
def test_what_cannot_be_is_refused(flows, message):
    with pytest.raises(InputError, match=message):
        SplittingMethod("bad", flows)
