"""A layer as the right-hand side y' = K y, against its dense matrix."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

from analysis.coupling import Coupling
from analysis.couplings import Circulant, Depthwise, Full, Grouped, Lean, Pointwise
from analysis.errors import InputError
from analysis.fields import field_blocks, field_log_norm, field_pseudospectra
from analysis.grid import Grid
from analysis.methods import tableau
from analysis.operator_steps import step_blocks
from analysis.stability import stability_function

RNG = np.random.default_rng(0)
STENCILS = RNG.normal(size=(4, 3, 3))
HOLLOW = np.where(np.arange(9).reshape(3, 3) == 4, 0.0, STENCILS)
COUPLINGS: list[Coupling] = [
    Full(RNG.normal(size=(3, 3, 3, 3))),
    Full(RNG.normal(size=(2, 2, 3, 3)), dilation=2),
    Depthwise(STENCILS),
    Lean(RNG.normal(size=(4, 4)), HOLLOW),
    Circulant(STENCILS),
    Grouped(RNG.normal(size=(4, 2, 3, 3)), 2),
    Pointwise(RNG.normal(size=(3, 3))),
]
GRID = Grid((4, 5))


@pytest.mark.parametrize("coupling", COUPLINGS, ids=lambda c: c.name)
def test_the_logarithmic_norm_is_that_of_the_dense_matrix(coupling: Coupling) -> None:
    dense = coupling.to_dense(GRID)
    exact = np.linalg.eigvalsh((dense + dense.T) / 2)[-1]
    assert field_log_norm(coupling, GRID) == pytest.approx(exact, rel=1e-12)
    # The definition, from above and nearly attained.
    t = 1e-4
    growth = np.log(np.linalg.norm(expm(t * dense), 2)) / t
    assert growth <= exact + 1e-9 and growth == pytest.approx(exact, abs=2e-2)


@pytest.mark.parametrize("coupling", COUPLINGS, ids=lambda c: c.name)
def test_blocks_have_the_eigenvalues_and_the_resolvent_of_the_dense_matrix(
    coupling: Coupling,
) -> None:
    dense, blocks = coupling.to_dense(GRID), field_blocks(coupling, GRID)
    if not isinstance(coupling, Pointwise):  # of which one block stands for all
        found = np.sort_complex(np.linalg.eigvals(blocks).ravel().round(8))
        assert found == pytest.approx(np.sort_complex(np.linalg.eigvals(dense).round(8)), abs=1e-6)
    for z in (0.3 + 0.4j, -2.0, 1j):
        exact = np.linalg.svd(z * np.eye(len(dense)) - dense, compute_uv=False)[-1]
        each = np.linalg.svd(z * np.eye(blocks.shape[-1]) - blocks, compute_uv=False)
        assert each.min() == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize("coupling", [COUPLINGS[0], COUPLINGS[2], COUPLINGS[6]])
def test_pseudospectra_are_those_of_the_dense_matrix(coupling: Coupling) -> None:
    dense = coupling.to_dense(GRID)
    found = field_pseudospectra(coupling, GRID, (-3.0, 2.0, -2.0, 2.0), points=7)
    for j in range(0, len(found.y), 3):
        for i in range(0, len(found.x), 3):
            z = found.x[i] + 1j * found.y[j]
            exact = np.linalg.svd(z * np.eye(len(dense)) - dense, compute_uv=False)[-1]
            assert found.sigma_min[j, i] == pytest.approx(exact, rel=1e-8)
    with pytest.raises(InputError, match="bottom = -top"):
        field_pseudospectra(coupling, GRID, (-3.0, 2.0, -2.0, 1.0))


@pytest.mark.parametrize("method", ["euler", "rk4", "rkc1:stages=20,damping=0", "crank-nicolson"])
def test_powers_of_steps_have_the_norms_of_the_dense_matrix(method: str) -> None:
    coupling, h, table = COUPLINGS[0], 0.07, tableau(method)
    dense = coupling.to_dense(GRID)
    n, s = len(dense), table.stages
    # The stages as the method has them: k = A-weighted system, solved at once.
    A = np.array(table.A, dtype=float)
    system = np.eye(n * s) - h * np.kron(A, dense)
    stages = np.linalg.solve(system, np.kron(np.ones((s, 1)), dense)).reshape(s, n, n)
    exact = np.eye(n) + h * np.tensordot(np.array(table.b, dtype=float), stages, 1)
    function = stability_function(table)
    blocks = field_blocks(coupling, GRID, half=True)
    step = step_blocks(function, blocks, h)
    for power in (1, 3):
        wanted = np.linalg.norm(np.linalg.matrix_power(exact, power), 2)
        found = np.linalg.norm(np.linalg.matrix_power(step, power), 2, axis=(-2, -1)).max()
        assert found == pytest.approx(wanted, rel=1e-9)
    assert step_blocks(function, dense, h) == pytest.approx(exact, rel=1e-8, abs=1e-9)


def test_operators_that_are_no_field_are_refused() -> None:
    wide, strided = Full(np.ones((2, 3, 3, 3))), Full(np.ones((2, 2, 3, 3)), stride=2)
    for coupling in (wide, strided):
        for function in (field_blocks, field_log_norm):
            with pytest.raises(InputError, match="stride 1"):
                function(coupling, Grid((4, 4)))
    for boundary in ("zeros", "reflect"):
        with pytest.raises(InputError, match="orthogonal transform"):
            field_log_norm(COUPLINGS[0], Grid((4, 4), boundary=boundary))
    with pytest.raises(InputError, match="finite weights"):
        field_log_norm(Full(np.full((1, 1, 3, 3), np.nan)), Grid((4, 4)))


def test_a_pole_at_an_eigenvalue_is_refused() -> None:
    function = stability_function(tableau("backward-euler"))
    with pytest.raises(InputError, match="pole"):
        step_blocks(function, np.array([[2.0]]), 0.5)
