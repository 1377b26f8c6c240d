"""Model problems against padded images, dense matrices and solutions of the equation itself."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from scipy.linalg import expm

from analysis.errors import InputError
from analysis.grid import Grid, offsets
from analysis.model_problems import LinearProblem, heat_spectrum
from analysis.model_solutions import continuous_mode, exact_flow, problem_matrix
from analysis.reaction_bounds import spectrum_bounds
from analysis.stencils import laplacian, shift_matrix

PAD = {"periodic": "wrap", "replicate": "edge", "zeros": "constant"}
TENSOR = [[1.0, 0.6], [0.6, 0.5]]
CASES = [
    {"shape": (5,), "velocity": 0.3},
    {"shape": (1,), "velocity": 0.3},
    {"shape": (2,), "velocity": 3.0, "reaction": 1.0},
    {"shape": (6,), "velocity": -5.0, "diffusivity": 0.2, "spacing": 0.5},
    {"shape": (4, 4), "diffusivity": 0.7},
    {"shape": (4, 3), "velocity": (1.0, -2.0), "spacing": (0.5, 2.0), "reaction": -0.5},
    {"shape": (3, 4), "diffusivity": (0.5, 2.0), "velocity": (0.0, 1.0)},
    {"shape": (3, 3, 2), "diffusivity": (1.0, 1.0, 0.3), "velocity": (0.4, 0.4, 0.0)},
    {"shape": (4, 5), "diffusivity": 0.0, "velocity": (1.0, 2.0)},
]
PROBLEMS = [
    LinearProblem(**case, boundary=boundary, advection=advection)
    for case in CASES
    for boundary in PAD
    for advection in ("central", "upwind")
] + [
    LinearProblem((4, 5), diffusivity=TENSOR, spacing=(0.5, 1.0)),
    LinearProblem((5, 4), diffusivity=TENSOR, velocity=(1.0, 0.5), advection="upwind"),
    LinearProblem((3, 4, 2), diffusivity=np.eye(3) + 0.3, reaction=0.1),
]


def dense(problem: LinearProblem) -> np.ndarray:
    """The matrix column by column: differences of padded unit images."""
    columns = []
    for unit in np.eye(problem.grid.size):
        image = np.pad(unit.reshape(problem.shape), 1, mode=PAD[problem.boundary])
        columns.append(right_hand_side(problem, image).ravel())
    return np.stack(columns, axis=1)


def right_hand_side(problem: LinearProblem, image: np.ndarray) -> np.ndarray:
    D, v, dx = problem.diffusivity, problem.velocity, problem.spacing
    d = len(problem.shape)

    def at(*offset: int) -> np.ndarray:
        return image[
            tuple(slice(1 + p, n + 1 + p) for p, n in zip(offset, problem.shape, strict=True))
        ]

    here = at(*[0] * d)
    total = problem.reaction * here
    for a in range(d):
        unit = [int(a == k) for k in range(d)]
        after, before = at(*unit), at(*[-p for p in unit])
        total = total + D[a, a] * (after - 2 * here + before) / dx[a] ** 2
        if problem.advection == "central":
            total = total - v[a] * (after - before) / (2 * dx[a])
        else:
            one_sided = here - before if v[a] > 0 else after - here
            total = total - v[a] * one_sided / dx[a]
        for b in range(d):
            if b != a and D[a, b]:
                corners = 0.0
                for p, q in itertools.product((-1, 1), repeat=2):
                    offset = [0] * d
                    offset[a], offset[b] = p, q
                    corners = corners + p * q * at(*offset)
                total = total + D[a, b] * corners / (4 * dx[a] * dx[b])
    return total


def label(problem: LinearProblem) -> str:
    words = [*map(str, problem.shape), problem.boundary, problem.advection]
    return "-".join(words)


@pytest.mark.parametrize(
    ("points", "dimension"), [(1, 1), (2, 1), *((n, d) for n in (3, 4, 5) for d in (1, 2, 3))]
)
def test_eigenvalues_are_those_of_the_dense_operator(points: int, dimension: int) -> None:
    grid = Grid((points,) * dimension)
    stencil = 0.7 * laplacian(dimension, 0.5)
    matrix = np.zeros((grid.size, grid.size))
    for offset, value in zip(offsets(stencil.shape), stencil.ravel(), strict=True):
        matrix += value * shift_matrix(tuple(offset), grid).toarray()
    matrix += 0.25 * np.eye(grid.size)
    dense = np.linalg.eigvalsh(matrix)
    found = heat_spectrum(points, diffusivity=0.7, dimension=dimension, spacing=0.5, reaction=0.25)
    scale = np.abs(dense).max()
    assert found[0] == pytest.approx(dense[-1], abs=1e-12 * scale)
    assert found[-1] == pytest.approx(dense[0], rel=1e-13)
    # The same set of values, whatever their multiplicities.
    distance = np.abs(dense[:, None] - found[None, :])
    assert distance.min(axis=1).max() < 1e-12 * scale
    assert distance.min(axis=0).max() < 1e-12 * scale


def test_an_even_number_of_points_reaches_the_stiffest_mode() -> None:
    assert heat_spectrum(6, dimension=2)[-1] == -8.0
    assert heat_spectrum(7, dimension=2)[-1] > -8.0


@pytest.mark.parametrize("problem", PROBLEMS, ids=label)
def test_the_matrix_is_that_of_padded_images(problem: LinearProblem) -> None:
    assert np.allclose(problem_matrix(problem).toarray(), dense(problem), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("problem", PROBLEMS, ids=label)
def test_the_spectrum_holds_every_eigenvalue_and_no_other(problem: LinearProblem) -> None:
    matrix = dense(problem)
    # Eigenvalues of a Jordan block of n rows are found to the n-th root of the precision.
    defect = 1 if problem.normal else max(problem.shape)
    tolerance = 200 * np.finfo(float).eps ** (1 / defect) * max(1.0, np.abs(matrix).max())
    found = problem.spectrum()
    distance = np.abs(np.linalg.eigvals(matrix)[:, None] - found[None, :])
    assert distance.min(axis=0).max() < tolerance
    assert distance.min(axis=1).max() < tolerance
    assert np.all(np.diff(found.real) <= 0)


@pytest.mark.parametrize("problem", PROBLEMS, ids=label)
def test_each_value_of_the_spectrum_is_a_root_to_rounding(problem: LinearProblem) -> None:
    """Also where dense eigenvalues are poor: the least singular value of ``z I - A``."""
    matrix = dense(problem)
    for value in problem.spectrum():
        shifted = matrix - value * np.eye(len(matrix))
        assert np.linalg.svd(shifted, compute_uv=False)[-1] < 1e-12 * np.abs(matrix).max() + 1e-15


@pytest.mark.parametrize("problem", PROBLEMS, ids=label)
def test_normal_and_symmetric_are_what_they_say(problem: LinearProblem) -> None:
    matrix = dense(problem)
    size = max(np.linalg.norm(matrix) ** 2, 1e-300)
    commutes = np.linalg.norm(matrix @ matrix.T - matrix.T @ matrix) < 1e-12 * size
    assert problem.normal == commutes
    if problem.symmetric:
        assert np.array_equal(matrix, matrix.T)
        assert problem.spectrum().dtype == np.float64 or problem.grid.size == 1


@pytest.mark.parametrize("problem", PROBLEMS, ids=label)
def test_the_exact_flow_is_the_exponential_of_the_dense_matrix(problem: LinearProblem) -> None:
    y0 = np.random.default_rng(0).standard_normal(problem.shape)
    for t in (0.7, -0.1):
        expected = expm(t * dense(problem)) @ y0.ravel()
        found = exact_flow(problem, y0, t)
        assert np.allclose(found.ravel(), expected, rtol=1e-11, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("boundary", PAD)
@pytest.mark.parametrize("velocity", [(0.0, 0.0), (1.0, 0.0)])
def test_a_reaction_that_varies_flows_as_its_dense_matrix(boundary: str, velocity: tuple) -> None:
    rng = np.random.default_rng(1)
    reaction = rng.uniform(-2, 1, (4, 3))
    problem = LinearProblem((4, 3), boundary=boundary, velocity=velocity, reaction=reaction)
    y0 = rng.standard_normal((4, 3))
    expected = expm(0.7 * dense(problem)) @ y0.ravel()
    assert np.allclose(exact_flow(problem, y0, 0.7).ravel(), expected, rtol=1e-11)
    assert problem.normal == problem.symmetric == (velocity == (0.0, 0.0))


@pytest.mark.parametrize("problem", PROBLEMS, ids=label)
def test_pairs_of_the_split_spectrum_share_an_eigenvector(problem: LinearProblem) -> None:
    implicit = dense(LinearProblem(**(problem_fields(problem) | {"velocity": 0.0, "reaction": 0})))
    explicit = dense(problem) - implicit
    commute = np.allclose(explicit @ implicit, implicit @ explicit, rtol=0, atol=1e-12)
    if problem.boundary != "periodic" and np.any(problem.velocity):
        assert not commute or problem.grid.size == 1 or not implicit.any()
        with pytest.raises(InputError, match="commute"):
            problem.split_spectrum()
        return
    assert commute
    pairs = problem.split_spectrum()
    assert pairs.dtype == np.complex128
    # A common eigenvector: a vector that both shifted matrices annihilate.
    identity = np.eye(len(implicit))
    for mild, stiff in pairs:
        both = np.concatenate([explicit - mild * identity, implicit - stiff * identity])
        assert np.linalg.svd(both, compute_uv=False)[-1] < 1e-12
    sums = np.abs(pairs.sum(axis=1)[:, None] - problem.spectrum()[None, :])
    assert sums.min(axis=0).max() < 1e-12


def problem_fields(problem: LinearProblem) -> dict:
    names = ("shape", "spacing", "boundary", "diffusivity", "advection", "velocity", "reaction")
    return {name: getattr(problem, name) for name in names}


def test_large_spectra_are_cheap_and_need_no_scipy() -> None:
    code = (
        "import sys, time\n"
        "from analysis.model_problems import LinearProblem\n"
        "start = time.perf_counter()\n"
        "LinearProblem((512, 512)).spectrum()\n"
        "LinearProblem((512, 512), velocity=(1, 2)).spectrum()\n"
        "assert time.perf_counter() - start < 1.5\n"
        "assert 'scipy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# The equation itself


@pytest.mark.parametrize(
    ("boundary", "velocity", "diffusivity"),
    [
        ("periodic", (0.7, -0.4), 0.05),
        ("periodic", (0.7, -0.4), [[0.05, 0.03], [0.03, 0.04]]),
        ("neumann", (0.0, 0.0), (0.05, 0.02)),
        ("dirichlet", (0.0, 0.0), (0.05, 0.02)),
        ("dirichlet", (0.3, -0.2), (0.05, 0.1)),
    ],
)
@pytest.mark.parametrize("advection", ["central", "upwind"])
def test_modes_of_the_equation_are_reached_with_the_order_of_the_differences(
    boundary: str, velocity: tuple, diffusivity: list, advection: str
) -> None:
    errors = []
    for points in (24, 48) if advection == "central" else (96, 192):
        # The same interval [0, 1] at both mesh widths.
        steps = points + 1 if boundary == "dirichlet" else points
        problem = LinearProblem(
            (points, points), 1 / steps, boundary, diffusivity, velocity, 0.3, advection
        )
        start, end = (continuous_mode(problem, (2, 1), t) for t in (0.0, 0.4))
        difference = exact_flow(problem, start, 0.4) - end
        errors.append(np.sqrt(np.mean(difference**2)))
    order = 1 if advection == "upwind" and any(velocity) else 2
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


def test_a_cosine_decays_with_the_rate_of_the_equation() -> None:
    inside = LinearProblem((50,), 0.02, "neumann", 0.3)
    wave = continuous_mode(inside, (3,), 0.1)
    x = (np.arange(50) + 0.5) * 0.02
    assert np.allclose(wave, np.exp(-0.3 * (3 * np.pi) ** 2 * 0.1) * np.cos(3 * np.pi * x))


# Reactions that vary


@pytest.mark.parametrize("boundary", PAD)
@pytest.mark.parametrize("shape", [(5, 6), (12, 9)])
def test_bounds_hold_the_dense_spectrum_and_found_values_are_its_ends(
    boundary: str, shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(2)
    problem = LinearProblem(shape, boundary=boundary, reaction=rng.uniform(-3, 1, shape))
    values = np.linalg.eigvalsh(dense(problem))
    found = spectrum_bounds(problem)
    assert found.lowest <= values[0] <= found.lowest_found * (1 - 1e-12)
    assert found.highest_found <= values[-1] + 1e-12 <= found.highest + 1e-12
    assert found.lowest_found == pytest.approx(values[0], rel=1e-7)
    assert found.highest_found == pytest.approx(values[-1], rel=1e-7)
    assert not found.exact
    with pytest.raises(InputError, match="same at all points"):
        problem.spectrum()
    same = spectrum_bounds(LinearProblem(shape, boundary=boundary, reaction=np.full(shape, -1.0)))
    assert same.exact
    assert same.highest == same.highest_found
    # Weyl's bounds are attained where the reaction is constant, so they cannot be narrower.
    assert same.lowest == pytest.approx(np.linalg.eigvalsh(dense(problem))[0], abs=3.1)
    with pytest.raises(InputError, match="symmetric"):
        spectrum_bounds(LinearProblem((4,), velocity=1.0))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"points": 0}, "at least one grid point"),
        ({"points": 10**6, "dimension": 3}, "different eigenvalues"),
        ({"points": 10**5000}, "different eigenvalues"),
        ({"points": 4, "dimension": 0}, "a dimension of 1, 2 or 3"),
        ({"points": 4, "diffusivity": -1.0}, "diffusivity"),
        ({"points": 4, "spacing": 0.0}, "mesh width"),
        ({"points": 4, "spacing": 1e-200}, "finite"),
        ({"points": 4, "reaction": float("nan")}, "reaction"),
    ],
)
def test_values_out_of_range_are_refused(options: dict, part: str) -> None:
    with pytest.raises(InputError, match=part):
        heat_spectrum(**options)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"shape": (4, 4, 4, 4)}, "dimension"),
        ({"shape": 4}, "whole numbers"),
        ({"shape": (4, 4), "boundary": "dirichle"}, "did you mean 'dirichlet'"),
        ({"shape": (4,), "advection": "downwind"}, "did you mean 'upwind'"),
        ({"shape": (4, 4), "velocity": 1.0}, "2 components"),
        ({"shape": (4, 4), "velocity": (1.0, 2.0, 3.0)}, "velocity of one number or one an axis"),
        ({"shape": (4, 4), "diffusivity": [[1.0, 2.0], [2.0, 1.0]]}, "semidefinite"),
        ({"shape": (4, 4), "diffusivity": [[1.0, 0.5], [0.4, 1.0]]}, "symmetric"),
        ({"shape": (4, 4), "diffusivity": TENSOR, "boundary": "zeros"}, "periodic"),
        ({"shape": (4, 4), "reaction": np.zeros(4)}, "one a point"),
        ({"shape": (4,), "velocity": float("nan")}, "finite"),
    ],
)
def test_problems_that_do_not_fit_are_refused(options: dict, part: str) -> None:
    with pytest.raises(InputError, match=part):
        LinearProblem(**options)


def test_a_problem_keeps_what_was_checked() -> None:
    reaction = np.zeros(3)
    problem = LinearProblem((3,), reaction=reaction)
    reaction[0] = 1.0
    assert not problem.reaction.any()
    with pytest.raises(ValueError, match="read-only"):
        problem.velocity[0] = 1.0


def test_what_has_no_closed_form_is_refused() -> None:
    beside = LinearProblem((4,), boundary="zeros", velocity=1.0)
    with pytest.raises(InputError, match="modes of a transform"):
        beside.eigenvalues_by_mode()
    with pytest.raises(InputError, match="shape"):
        exact_flow(beside, np.zeros(5), 1.0)
    with pytest.raises(InputError, match="closed form"):
        continuous_mode(LinearProblem((4,), boundary="neumann", velocity=1.0), (1,), 0.0)
    with pytest.raises(InputError, match="constant reaction"):
        continuous_mode(LinearProblem((2,), reaction=[0.0, 1.0]), (1,), 0.0)
    with pytest.raises(InputError, match="mode numbers"):
        continuous_mode(beside, (1, 2), 0.0)
