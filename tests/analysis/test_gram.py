"""Gram matrices, derivatives and forms of symbols against symbols summed term by term."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.ascent import ascend, expand, peak_at
from analysis.backend import cholesky_ok, eigvalsh
from analysis.couplings import Depthwise, Full
from analysis.gram import BlockGram, LeanGram, SymbolGram
from tests.analysis.references import (
    blocks_by_definition,
    case_name,
    cases,
    norm_by_ascent,
    random_coupling,
    strided_symbol_by_sum,
)

ALL = pytest.mark.parametrize("case", cases(), ids=case_name)


def make(case, seed: int = 1):
    kind, channels, shape, stride, five = case
    rng = np.random.default_rng(seed)
    return random_coupling(kind, channels, shape, rng, stride=stride, five_point=five)


def squares_by_definition(coupling, frequency: np.ndarray, count: int) -> np.ndarray:
    symbol = strided_symbol_by_sum(blocks_by_definition(coupling), frequency, coupling.stride)
    return np.sort(np.linalg.svd(symbol, compute_uv=False) ** 2)[-count:]


@ALL
def test_eigenvalues_are_the_squares_of_the_singular_values(case) -> None:
    coupling = make(case)
    frequencies = np.random.default_rng(2).uniform(-4, 4, (5, coupling.dimension))
    gram = coupling.gram()
    matrices = gram.at(frequencies)
    assert matrices.shape == (5, gram.groups, gram.size, gram.size)
    np.testing.assert_allclose(matrices, np.conj(np.swapaxes(matrices, -1, -2)), atol=1e-12)
    np.testing.assert_allclose(gram.at(frequencies, -2.0), -2 * matrices, atol=1e-12)
    for frequency, blocks in zip(frequencies, matrices, strict=True):
        found = np.sort(np.linalg.eigvalsh(blocks).ravel())
        expected = squares_by_definition(coupling, frequency, len(found))
        np.testing.assert_allclose(found, expected, atol=1e-12 * expected[-1])


def test_the_tightest_form_is_taken() -> None:
    rng = np.random.default_rng(0)
    kinds = {
        "full": BlockGram,
        "grouped": BlockGram,
        "lean": LeanGram,
        "pointwise": LeanGram,
        "depthwise": SymbolGram,
        "circulant": SymbolGram,
    }
    for kind, form in kinds.items():
        assert type(random_coupling(kind, (32, 32), (3, 3), rng).gram()) is form
    # Few channels and many taps: the product of symbols is less work.
    few = random_coupling("full", (1, 2), (7, 7), rng).gram()
    assert type(few) is SymbolGram and few.size == 1
    tall = random_coupling("lean", (16, 2), (3, 3), rng, stride=2).gram()
    assert type(tall) is SymbolGram and tall.size == 8
    # K K^* of a strided operator keeps a quarter of the correlations.
    strided = random_coupling("full", (16, 16), (3, 3), rng, stride=2).gram()
    assert strided.size == 16 and len(strided.lags) == 5


def test_rounding_bound_holds() -> None:
    """Against Gram matrices in extended precision, of weights of very different sizes."""
    rng = np.random.default_rng(3)
    for trial in range(40):
        kind = ("full", "lean", "grouped", "depthwise")[trial % 4]
        coupling = random_coupling(kind, (4, 4), (3, 3), rng)
        coupling = replace(
            coupling,
            **{n: a * 10.0 ** rng.uniform(-8, 0, a.shape) for n, a in coupling._arrays().items()},
        )
        gram, frequency = coupling.gram(), rng.uniform(-4, 4, 2)
        weight = blocks_by_definition(coupling).astype(np.longdouble)
        places = np.indices((3, 3)).reshape(2, -1).T - 1
        phase = np.exp(1j * (places.astype(np.longdouble) @ frequency.astype(np.longdouble)))
        symbol = weight.reshape(4, 4, 9) @ phase
        sides = (symbol @ symbol.conj().T, symbol.conj().T @ symbol)
        exact = [np.linalg.eigvalsh(side.astype(complex)) for side in sides]
        found = np.sort(np.linalg.eigvalsh(gram.at(frequency[None, :])[0]).ravel())
        assert np.abs(found - exact[0]).max() <= gram.rounding + 1e-15 * exact[0][-1]
        assert gram.rounding < 1e-11 * coupling.tap_norms() ** 2


@ALL
def test_derivatives_of_the_symbol(case) -> None:
    coupling = make(case)
    d, frequency, h = (
        coupling.dimension,
        np.random.default_rng(4).uniform(-3, 3, case[2].__len__()),
        1e-5,
    )
    orders = [tuple(np.eye(d, dtype=int)[a]) for a in range(d)] + [(2,) + (0,) * (d - 1)]
    found = coupling.derivatives_at(frequency, orders)

    def blocks(place: np.ndarray) -> np.ndarray:
        return coupling.symbol_at(place[None, :]).blocks()[0]

    for axis in range(d):
        step = h * np.eye(d)[axis]
        expected = (blocks(frequency + step) - blocks(frequency - step)) / (2 * h)
        np.testing.assert_allclose(found[axis], expected, atol=1e-8 * coupling.tap_norms())
    step = 1e-3 * np.eye(d)[0]
    second = blocks(frequency + step) - 2 * blocks(frequency) + blocks(frequency - step)
    np.testing.assert_allclose(found[-1], second / 1e-6, atol=1e-4 * coupling.tap_norms())


@ALL
def test_expansion_of_the_largest_eigenvalue(case) -> None:
    """Gradient and Hessian against differences of the largest eigenvalue itself."""
    coupling = make(case)
    d, h = coupling.dimension, 1e-4
    frequency = np.random.default_rng(5).uniform(-3, 3, d)
    here = expand(coupling, frequency)

    def largest(place: np.ndarray) -> float:
        return float(
            np.linalg.norm(coupling.symbol_at(place[None, :]).blocks(), 2, (-2, -1)).max() ** 2
        )

    assert here.value == pytest.approx(largest(frequency), rel=1e-12)
    units = np.eye(d)
    gradient = [(largest(frequency + h * e) - largest(frequency - h * e)) / (2 * h) for e in units]
    np.testing.assert_allclose(here.gradient, gradient, atol=1e-6 * here.value)
    hessian = [
        (
            expand(coupling, frequency + h * e).gradient
            - expand(coupling, frequency - h * e).gradient
        )
        / (2 * h)
        for e in units
    ]
    np.testing.assert_allclose(here.hessian, hessian, atol=1e-4 * here.value)


@ALL
def test_forms_are_linear_in_the_weights(case) -> None:
    """The value of ``Re u* K^(w) v`` is the product of the weights with its derivatives."""
    coupling = make(case)
    frequency = np.random.default_rng(6).uniform(-3, 3, coupling.dimension)
    peak = peak_at(coupling, frequency)
    gradients = coupling.form_gradients(frequency, peak.group, peak.left, peak.right)
    if gradients is None:
        assert coupling.stride > 1 or coupling.channels_out != coupling.channels_in
        return
    assert set(gradients) == set(coupling._arrays())
    value = sum(np.sum(coupling._arrays()[name] * g) for name, g in gradients.items())
    assert value == pytest.approx(peak.value, rel=1e-12)


def test_ascent_reaches_a_maximum_from_a_saddle() -> None:
    # |2 i sin(w)|: zero slope at zero, where it is smallest.
    slope = Full(np.array([[[-1.0, 0.0, 1.0]]]) + 1e-3)
    assert ascend(slope, np.zeros(1)).value == pytest.approx(norm_by_ascent(slope.weight), rel=1e-9)
    bowl = Depthwise(np.array([[-1.0, 2.5, -1.0]]))
    assert ascend(bowl, np.zeros(1)).value == pytest.approx(4.5, rel=1e-12)


@pytest.mark.parametrize("size", [1, 2, 5, 13, 40])
@pytest.mark.parametrize("kind", [np.complex128, np.complex64, np.float64])
def test_definite_matrices_and_eigenvalues(size: int, kind) -> None:
    """NumPy's own functions, matrix by matrix, whatever route the size takes."""
    rng = np.random.default_rng(size)
    matrices = rng.standard_normal((9, size, size)) + (
        1j * rng.standard_normal((9, size, size)) if kind is not np.float64 else 0
    )
    hermitian = ((matrices + np.conj(np.swapaxes(matrices, 1, 2))) / 2).astype(kind)
    expected = np.linalg.eigvalsh(hermitian.astype(complex))
    tolerance = 1e-4 if kind is np.complex64 else 1e-12
    np.testing.assert_allclose(eigvalsh(hermitian.copy()), expected, atol=tolerance * size)
    for shift in (
        0.01 - np.median(expected[:, 0]),
        -expected.min() + 0.1,
        -expected[:, 0].max() - 0.1,
    ):
        shifted = hermitian + (shift * np.eye(size)).astype(kind)
        np.testing.assert_array_equal(cholesky_ok(shifted.copy()), expected[:, 0] + shift > 0)
