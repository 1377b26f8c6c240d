"""Eigenvalues in lanes against LAPACK and closed forms, compiled and as plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import lane_compiler, lane_kernels, lanes
from analysis.errors import InputError
from analysis.lanes import available, eigvalsh_lanes

ROUNDING = 2.0**-53
needs_numba = pytest.mark.skipif(not available(), reason="numba is not installed")


def random_gram(count: int, size: int, seed: int, rank: int | None = None) -> np.ndarray:
    rng = np.random.default_rng([size, seed])
    shape = (count, size if rank is None else rank, size)
    factor = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    return factor.conj().swapaxes(-1, -2) @ factor


def assert_eigenvalues(found: np.ndarray, true: np.ndarray, factor: float = 20) -> None:
    """Ascending, and off by at most ``factor k u ||A||``."""
    assert found.shape == true.shape
    assert (np.diff(found) >= 0).all()
    norms = abs(true).max(axis=-1, keepdims=True)
    assert (abs(found - true) <= factor * true.shape[-1] * ROUNDING * norms).all()


@needs_numba
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 13, 16, 31, 32, 64, 128])
def test_random_matrices_as_lapack(size: int) -> None:
    for count in (1, 7, 16, 41):
        gram = random_gram(count, size, seed=count)
        indefinite = gram - 2 * size * np.eye(size)
        for matrices in (gram, indefinite):
            assert_eigenvalues(eigvalsh_lanes(matrices), np.linalg.eigvalsh(matrices))


@needs_numba
@settings(max_examples=60)
@given(
    size=st.integers(2, 12),
    count=st.integers(1, 20),
    rank=st.integers(0, 12),
    exponent=st.integers(-150, 150),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_rank_and_scale(size: int, count: int, rank: int, exponent: int, seed: int) -> None:
    matrices = random_gram(count, size, seed, rank=min(rank, size)) * 10.0**exponent
    assert_eigenvalues(eigvalsh_lanes(matrices), np.linalg.eigvalsh(matrices))


@needs_numba
def test_circulant_matrices_by_fourier() -> None:
    rng = np.random.default_rng(5)
    size = 24
    column = rng.standard_normal((20, size)) + 1j * rng.standard_normal((20, size))
    column += np.roll(column[:, ::-1], 1, axis=1).conj()  # Hermitian
    shift = np.arange(size)
    matrices = column[:, (shift[:, None] - shift) % size]
    assert_eigenvalues(eigvalsh_lanes(matrices), np.sort(np.fft.fft(column).real))


@needs_numba
def test_rank_one() -> None:
    rng = np.random.default_rng(6)
    vectors = rng.standard_normal((19, 30)) + 1j * rng.standard_normal((19, 30))
    matrices = vectors[:, :, None] * vectors[:, None, :].conj()
    true = np.zeros((19, 30))
    true[:, -1] = np.linalg.norm(vectors, axis=1) ** 2
    assert_eigenvalues(eigvalsh_lanes(matrices), true)


@needs_numba
def test_diagonal_and_zero_matrices_are_exact() -> None:
    diagonal = np.random.default_rng(7).standard_normal((18, 9))
    diagonal[3] = 0
    diagonal[4] = 1 / 3  # repeated
    matrices = np.zeros((18, 9, 9), dtype=complex)
    matrices[:, range(9), range(9)] = diagonal
    np.testing.assert_array_equal(eigvalsh_lanes(matrices), np.sort(diagonal))
    busy = np.concatenate([matrices, random_gram(11, 9, seed=15)])  # whose sweeps pass by
    np.testing.assert_array_equal(eigvalsh_lanes(busy)[:18], np.sort(diagonal))


@needs_numba
def test_every_lane_on_its_own() -> None:
    """Neighbours that are done, split, tiny or huge change nothing beyond rounding."""
    size = 16
    rng = np.random.default_rng(8)
    unitary = np.linalg.qr(random_gram(1, size, seed=3)[0])[0]
    clusters = np.repeat([-1.0, 1.0, 1.0, 3.0], size // 4)
    graded = 10.0 ** -np.arange(size)
    distance = abs(np.subtract.outer(np.arange(size), np.arange(size)))
    hollow = random_gram(1, size, seed=16)[0] * (distance != 1)  # columns that begin with zero
    kinds = [
        np.zeros((size, size)),
        np.eye(size),
        np.ones((size, size)),
        np.diag(np.ones(size - 1), -1) + np.diag(np.ones(size - 1), 1),
        np.kron(np.eye(size // 2), [[0, 1j], [-1j, 0]]),
        hollow,
        hollow + 1e-159 * random_gram(1, size, seed=17)[0] * (distance == 1),
        np.kron(np.eye(2), random_gram(1, size // 2, seed=4)[0]),
        (unitary * clusters) @ unitary.conj().T,
        (unitary * graded) @ unitary.conj().T,
        graded[:, None] * random_gram(1, size, seed=5)[0] * graded,
        graded[::-1, None] * random_gram(1, size, seed=6)[0] * graded[::-1],
        1e-300 * random_gram(1, size, seed=7)[0],
        1e300 * random_gram(1, size, seed=8)[0],
        np.diag(rng.permutation(size)) + 1e-200 * random_gram(1, size, seed=9)[0],
        np.diag(rng.permutation(size)) + 1e-120 * random_gram(1, size, seed=10)[0],
    ]
    for _ in range(3):
        matrices = np.array([kinds[n] for n in rng.permutation(len(kinds))], dtype=complex)
        found = eigvalsh_lanes(matrices)
        assert_eigenvalues(found, np.linalg.eigvalsh(matrices))
        for matrix, values in zip(matrices, found, strict=True):
            assert_eigenvalues(eigvalsh_lanes(matrix[None]), values[None])


@needs_numba
@pytest.mark.parametrize("scale", [5e-324, 2.0**-1060, 2.0**1023])
def test_ends_of_the_range(scale: float) -> None:
    path = np.eye(7, k=-1) + 0j  # its eigenvalues are 2 cos(j pi / 8)
    true = 2 * np.cos(np.pi * np.arange(7, 0, -1) / 8)
    found = eigvalsh_lanes(scale * path[None])
    assert (abs(found - scale * true) <= 1e-14 * scale + 5e-324).all()


@needs_numba
def test_reads_lower_triangles_and_keeps_its_input() -> None:
    gram = random_gram(5, 6, seed=11)
    true = np.linalg.eigvalsh(gram)
    matrices = np.tril(gram)
    matrices[:, range(6), range(6)] += 7j  # no part of a Hermitian matrix
    matrices += np.triu(np.full((6, 6), np.nan), 1)
    before = matrices.copy()
    matrices.flags.writeable = False
    assert_eigenvalues(eigvalsh_lanes(matrices), true)
    np.testing.assert_array_equal(matrices, before)
    assert_eigenvalues(eigvalsh_lanes(gram.swapaxes(1, 2)), true)  # in another order
    assert_eigenvalues(eigvalsh_lanes(gram[::2]), true[::2])


@needs_numba
def test_single_precision_and_real_matrices() -> None:
    gram = random_gram(9, 20, seed=12).astype(np.complex64)
    found = eigvalsh_lanes(gram)
    assert found.dtype == np.float32
    true = np.linalg.eigvalsh(gram.astype(complex))
    assert (abs(found - true) <= 2.0**-24 * abs(true).max()).all()
    real = gram.real.astype(float)
    assert_eigenvalues(eigvalsh_lanes(real), np.linalg.eigvalsh(real))
    whole = np.array([[[2, 0], [1, 2]]])
    assert_eigenvalues(eigvalsh_lanes(whole), np.array([[1.0, 3.0]]))


@needs_numba
def test_without_matrices_or_entries() -> None:
    assert eigvalsh_lanes(np.empty((0, 4, 4), dtype=complex)).shape == (0, 4)
    assert eigvalsh_lanes(np.empty((4, 0, 0), dtype=complex)).shape == (4, 0)


@needs_numba
@pytest.mark.parametrize("value", [np.nan, np.inf, complex(0, np.nan), complex(0, -np.inf)])
@pytest.mark.parametrize("place", [(0, 0), (1, 0), (3, 2)])
def test_entries_that_are_not_finite(value: complex, place: tuple[int, int]) -> None:
    matrices = random_gram(20, 4, seed=13)
    matrices[(18, *place)] = value
    with pytest.raises(np.linalg.LinAlgError, match="finite"):
        eigvalsh_lanes(matrices)


def test_shapes_are_checked() -> None:
    for shape in ((4, 4), (2, 3, 4), (1, 2, 3, 3)):
        with pytest.raises(InputError, match="shape"):
            eigvalsh_lanes(np.zeros(shape, dtype=complex))


def test_says_when_numba_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "available", lambda: False)
    with pytest.raises(InputError, match="numba"):
        eigvalsh_lanes(random_gram(1, 3, seed=0))


@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_kernel_as_plain_python(size: int, width: int) -> None:
    """What numba compiles also runs without it, a row of NumPy for every vector."""
    matrices = random_gram(7, size, seed=14)
    matrices[2] = 0
    values = np.empty((7, size))
    # A shift of a corner that is almost diagonal overflows on its way to the right limit.
    with np.errstate(over="ignore"):
        done = lane_kernels.solve(
            matrices.view(float).reshape(7, size, size, 2),
            values,
            np.empty((size * (size + 1), width)),
            np.empty((8 * size, width)),
            *(np.empty((size + 1, 2, width)) for _ in range(2)),
            np.empty((2, 2, width)),
            np.empty((3, 2, width)),
            np.empty(2 * width, dtype=int),
        )
    assert done
    assert_eigenvalues(np.sort(values), np.linalg.eigvalsh(matrices))


@needs_numba
def test_no_folder_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    asked = []

    def without_folder(signature: object, *, cache: bool = False, **options: object) -> object:
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", without_folder)
    monkeypatch.setattr(lane_compiler, "_teach", lambda lanes: None)
    assert lane_compiler.compiled.__wrapped__()[0] is lane_kernels.solve
    assert asked == [True, False]


def test_a_numba_that_cannot_compile_is_said_and_done_without(monkeypatch) -> None:
    def broken() -> None:
        raise AttributeError("another interior")

    monkeypatch.setattr(lanes, "_compiled", broken)
    monkeypatch.setattr(lanes.importlib.util, "find_spec", lambda name: object())
    with pytest.warns(UserWarning, match="LAPACK is used: another interior"):
        assert not lanes.available.__wrapped__()
