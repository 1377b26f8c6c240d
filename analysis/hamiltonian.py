"""Step limits of second-order and Hamiltonian blocks with frozen coefficients (theory §4.4).

A frozen block is ``y' = A z, z' = -B y`` with symmetric positive semidefinite ``A`` and ``B``: its
eigenvalues are ``+-i sqrt(eig(A B))``, and the largest frequency has the bound
``sqrt(||A|| ||B||)``. What follows from it excludes exponential growth only.

>>> hamiltonian_limit(4.0, 1.0).step_size
1.0
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.errors import InputError, unknown_name

VERLET_INTERVAL = 2.0
"""``h omega`` of Stormer-Verlet and symplectic Euler; two-step leapfrog of ``y' = f`` has 1."""

FORMS = ("two-step", "kick-drift-kick")
"""How layers of Stormer-Verlet follow each other."""


@dataclass(frozen=True)
class FrozenLimit:
    """A strict limit of the step size for coefficients that do not change (theory §4.4).

    Attributes:
        step_size: ``h`` below it, not at it, lets no mode grow exponentially.
        frequency: the bound of ``omega`` it comes from, radians / time.
        statement: what holds below it and what does not.
    """

    step_size: float
    frequency: float
    statement: str


_STATEMENT = (
    "no mode grows exponentially for h < {step:.6g} while the coefficients stay as they are "
    "(frozen, strict); modes of frequency 0 drift linearly at every h, and layers that differ can "
    "grow: report products of layers beside it (theory §4.4)"
)


def second_order_limit(
    curvature: float, *, imaginary_interval: float = VERLET_INTERVAL
) -> FrozenLimit:
    """Limit of ``y'' = -K^T sigma(S K y + b)``: ``h^2 Lambda < 4`` for Stormer-Verlet.

    ``h sqrt(Lambda) < I`` for a method of imaginary interval ``I``, with ``Lambda = L ||S^(1/2)
    K||^2``. Sharp where all units of the leading singular vector can be at full slope.

    Args:
        curvature: ``Lambda`` or a bound of it, 1 / time^2.
        imaginary_interval: of the method, on ``y'' = -omega^2 y`` or ``y' = i omega y``.

    Raises:
        InputError: for negative numbers and gains.

    >>> second_order_limit(4.0).step_size
    1.0
    """
    _require_nonnegative("curvature", curvature)
    return _limit(math.sqrt(curvature), imaginary_interval)


def hamiltonian_limit(
    first_curvature: float,
    second_curvature: float,
    *,
    imaginary_interval: float = VERLET_INTERVAL,
) -> FrozenLimit:
    """Limit of ``y' = K1^T sigma(S1 K1 z + b1), z' = -K2^T sigma(S2 K2 y + b2)``.

    ``h sqrt(Lambda_1 Lambda_2) < 2`` for symplectic Euler, which is ``h L ||K1|| ||K2|| < 2``
    without gains: ``omega^2`` is an eigenvalue of a product of two positive semidefinite matrices,
    so that it is real and at most the product of their norms. Sharp where the leading right
    singular vectors of ``K1`` and ``K2`` agree.

    Args:
        first_curvature: ``Lambda_1 = L ||S1^(1/2) K1||^2``, 1 / time.
        second_curvature: ``Lambda_2``.
        imaginary_interval: as in ``second_order_limit``.
    """
    for curvature in (first_curvature, second_curvature):
        _require_nonnegative("curvature", curvature)
    return _limit(math.sqrt(first_curvature) * math.sqrt(second_curvature), imaginary_interval)


def antisymmetric_limit(
    coupling: float, *, imaginary_interval: float = VERLET_INTERVAL
) -> FrozenLimit:
    """Limit of ``y' = sigma(K z + b), z' = -sigma(K^T y + b)``: ``h L ||K|| < 2``.

    Args:
        coupling: ``L ||K||``, with gains ``L sqrt(||S1|| ||S2||) ||K||``, 1 / time.
        imaginary_interval: as in ``second_order_limit``.

    >>> antisymmetric_limit(1.0, imaginary_interval=1.0).step_size
    1.0
    """
    _require_nonnegative("coupling", coupling)
    return _limit(coupling, imaginary_interval)


def _limit(frequency: float, interval: float) -> FrozenLimit:
    _require_nonnegative("imaginary interval", interval)
    # A method of interval zero grows on every frequency but zero.
    step = math.inf if frequency == 0 else interval / frequency
    return FrozenLimit(step, frequency, _STATEMENT.format(step=step))


def _require_nonnegative(name: str, value: float) -> None:
    if not value >= 0:
        raise InputError(
            f"a {name} >= 0", value, "a negative gain is anti-diffusive: it has no such limit"
        )


def verlet_layers(squares: ArrayLike, form: str = "two-step") -> np.ndarray:
    """Steps of Stormer-Verlet on one mode whose ``a = (h omega)^2`` changes from layer to layer.

        two-step         (y_n, y_(n-1)) -> (y_(n+1), y_n),  y_(n+1) = (2 - a) y_n - y_(n-1)
        kick-drift-kick  (y, h v), a half kick with the layer's own ``a`` before and behind a drift

    The two forms are one method for one ``a``, and another for layers that differ: alternating
    ``a = 1`` and ``a = 3``, both inside the limit ``a < 4``, the two-step form grows by the golden
    ratio a layer, while the half kicks return to minus the start. Half kicks have pairs of their
    own that grow (theory §4.4).

    Args:
        squares: ``a`` of every layer, shape ``(n,)``.
        form: one of ``FORMS``.

    Returns:
        Matrices of determinant one, shape ``(n, 2, 2)``.

    >>> first, second = verlet_layers([1.0, 3.0])
    >>> round(float(max(abs(np.linalg.eigvals(second @ first)))) ** 0.5, 6)
    1.618034
    """
    a = np.asarray(squares, dtype=float)
    if a.ndim != 1 or not (np.isfinite(a).all() and (a >= 0).all()):
        raise InputError("a list of numbers (h omega)^2 >= 0", squares, "pass [1.0, 3.0]")
    one = np.ones_like(a)
    if form == "two-step":
        rows = [[2 - a, -one], [one, 0 * a]]
    elif form == "kick-drift-kick":
        rows = [[1 - a / 2, one], [-a * (1 - a / 4), 1 - a / 2]]
    else:
        raise unknown_name("form", form, FORMS)
    return np.moveaxis(np.array(rows), -1, 0)
