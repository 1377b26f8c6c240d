"""Where the spectrum lies when the reaction varies in space: bounds and attained values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse.linalg import aslinearoperator

from analysis.errors import InputError
from analysis.krylov import leading_eigenpair
from analysis.model_problems import LinearProblem
from analysis.model_solutions import problem_matrix


@dataclass(frozen=True)
class SpectrumBounds:
    """The ends of a real spectrum, each between two numbers, in 1 / time.

    Attributes:
        lowest: no eigenvalue lies below (Weyl).
        highest: no eigenvalue lies above (Weyl).
        lowest_found: attained by a vector of Lanczos: the least eigenvalue is not above it.
        highest_found: the same for the largest one, which is not below.
        residual: the larger residual of both vectors; an eigenvalue lies as near as that.
        exact: whether the bounds are eigenvalues themselves, up to rounding.
        statement: what is proved and what is found.
    """

    lowest: float
    highest: float
    lowest_found: float
    highest_found: float
    residual: float
    exact: bool
    statement: str


_WEYL = (
    "all eigenvalues lie in [lowest, highest] (Weyl: those of the differences plus the least and "
    "the largest reaction); the found values are attained by vectors, so from inside"
)


def spectrum_bounds(problem: LinearProblem) -> SpectrumBounds:
    """Ends of the spectrum of a symmetric problem whose reaction may vary: ``A + diag(mu(x))``.

        lambda_min(A) + min mu <= lambda_min,      lambda_max <= lambda_max(A) + max mu

    With a constant reaction both are equalities and no vector is looked for.

    Args:
        problem: without advection.

    Raises:
        InputError: for a problem that is not symmetric.

    >>> half = LinearProblem((2,), diffusivity=0.5, boundary="neumann", reaction=[0.0, 1.0])
    >>> found = spectrum_bounds(half)
    >>> found.lowest, found.highest, round(found.highest_found, 6)
    (-1.0, 1.0, 0.707107)
    """
    if not problem.symmetric:
        raise InputError(
            "a symmetric problem, without advection",
            f"a velocity of {np.asarray(problem.velocity).tolist()}",
            "use the numerical range of its matrix (analysis.nonnormal)",
        )
    plain = replace(problem, reaction=0.0).spectrum()
    lowest = float(plain[-1] + np.min(problem.reaction))
    highest = float(plain[0] + np.max(problem.reaction))
    if np.ptp(problem.reaction) == 0:
        return SpectrumBounds(
            lowest, highest, lowest, highest, 0.0, True, "eigenvalues in closed form"
        )
    matrix = problem_matrix(problem)
    if matrix.shape[0] <= _SMALL:
        values = np.linalg.eigvalsh(matrix.toarray())
        ends, residual = (float(values[0]), float(values[-1])), 0.0
    else:
        top, _, above = leading_eigenpair(aslinearoperator(matrix))
        bottom, _, below = leading_eigenpair(aslinearoperator(-matrix))
        ends, residual = (-bottom, top), max(above, below)
    return SpectrumBounds(lowest, highest, *ends, residual, False, _WEYL)


_SMALL = 64
"""Points up to which all eigenvalues of the dense matrix are found."""
