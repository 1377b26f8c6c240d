"""Nonlinear reaction and diffusion with known solutions: Fisher's wave, Turing's bands (§4.10).

    y' = diag(d_1, d_2) Laplace y + f(y)

of two species decays to its steady state without diffusion, and with it the waves grow for whose
``q = |k|^2`` the determinant of ``J - q diag(d_1, d_2)`` is negative.

>>> model = schnakenberg()
>>> [round(end, 4) for end in model.turing_band()]
[0.0463, 0.7204]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.errors import InputError
from analysis.grid import Grid
from analysis.stability import as_tableau, real_stability_interval, stability_function


@dataclass(frozen=True)
class FisherWave:
    """Front ``u = (1 + exp(sqrt(r / (6 D)) x - 5 r t / 6))^-2`` of ``u_t = D u_xx + r u (1 - u)``.

    Source: Ablowitz and Zeppetella, Bull. Math. Biol. 41 (1979).

    Attributes:
        diffusivity: ``D``, length^2 / time.
        rate: ``r``, 1 / time.

    >>> wave = FisherWave()
    >>> round(wave.speed, 6), float(wave.exact(np.array(0.0), 0.0))
    (2.041241, 0.25)
    """

    diffusivity: float = 1.0
    rate: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("diffusivity", self.diffusivity), ("rate", self.rate)):
            if not 0 < value < math.inf:
                raise InputError(f"a positive {name}", value, "pass a number > 0")

    @property
    def speed(self) -> float:
        """``5 sqrt(r D / 6)``, length / time: above the least speed ``2 sqrt(r D)``."""
        return 5 * math.sqrt(self.rate * self.diffusivity / 6)

    def exact(self, x: np.ndarray, t: float) -> np.ndarray:
        """Values at places ``x`` and a time."""
        phase = math.sqrt(self.rate / (6 * self.diffusivity)) * (x - self.speed * t)
        # The exponential of a large phase would overflow where the front has not arrived.
        return np.asarray(np.exp(-2 * np.logaddexp(0.0, phase)))

    def reaction(self, u: np.ndarray) -> np.ndarray:
        """``r u (1 - u)``."""
        return self.rate * u * (1 - u)


@dataclass(frozen=True, eq=False)
class TwoSpeciesModel:
    """Two species that react and diffuse, about a homogeneous steady state.

    Attributes:
        name: of the model.
        diffusivities: ``d_1`` and ``d_2``, length^2 / time.
        reaction: ``f``, arrays of shape ``(2, ...)`` to the same shape.
        steady_state: where ``f`` vanishes, shape ``(2,)``.
        jacobian: of ``f`` at the steady state, shape ``(2, 2)``, 1 / time.
    """

    name: str
    diffusivities: tuple[float, float]
    reaction: Callable[[np.ndarray], np.ndarray]
    steady_state: np.ndarray
    jacobian: np.ndarray

    def eigenvalues(self, squares: np.ndarray) -> np.ndarray:
        """Eigenvalues of ``J - q diag(d_1, d_2)``, complex, of shape ``(*q.shape, 2)``.

        Args:
            squares: ``q``, the squared wave numbers, 1 / length^2.
        """
        q = np.asarray(squares, dtype=float)[..., None, None]
        return np.asarray(np.linalg.eigvals(self.jacobian - q * np.diag(self.diffusivities)) + 0j)

    def eigenvalues_on(self, grid: Grid) -> np.ndarray:
        """Those of the five-point Laplacian on a periodic grid, of shape ``(F, 2)``.

        ``q(w) = (4 / dx^2) sum_axes sin^2(w_i / 2)`` takes the place of ``|k|^2``; ``w`` are the
        ``frequencies`` of the grid.
        """
        if grid.boundary == "zeros":
            raise InputError("a grid with a constant mode", "zeros", "make it periodic")
        sines = np.sin(grid.frequencies() / 2) ** 2
        return self.eigenvalues(4 / grid.spacing**2 * sines.sum(axis=1))

    @property
    def stable_alone(self) -> bool:
        """Whether the reaction decays without diffusion: trace below 0 and determinant above."""
        return bool(np.trace(self.jacobian) < 0 < np.linalg.det(self.jacobian))

    def turing_band(self) -> tuple[float, float] | None:
        """The open interval of squared wave numbers that grow, 1 / length^2; None without one.

        The roots of ``det(J - q D) = d_1 d_2 q^2 - (d_1 J_22 + d_2 J_11) q + det J``: the trace
        only falls with ``q``, so that a wave grows where the determinant is negative.

        Raises:
            InputError: for a reaction that grows without diffusion, which is no Turing instability.
        """
        if not self.stable_alone:
            raise InputError(
                "a reaction that decays without diffusion",
                f"eigenvalues {np.linalg.eigvals(self.jacobian)}",
                "its band would begin at zero: choose other parameters",
            )
        (d1, d2), J = self.diffusivities, self.jacobian
        middle = (d1 * J[1, 1] + d2 * J[0, 0]) / 2
        square = middle**2 - d1 * d2 * float(np.linalg.det(J))
        if middle <= 0 or square <= 0:
            return None
        upper = middle + math.sqrt(square)
        # The product of the roots is known: no difference of nearly equal numbers.
        return float(np.linalg.det(J) / upper), float(upper / (d1 * d2))


def schnakenberg(
    a: float = 0.1, b: float = 0.9, diffusivities: tuple[float, float] = (1.0, 30.0)
) -> TwoSpeciesModel:
    """``u' = a - u + u^2 v, v' = b - u^2 v`` about ``(a + b, b / (a + b)^2)``.

    Source: Schnakenberg, J. Theor. Biol. 81 (1979).

    >>> schnakenberg().jacobian
    array([[ 0.8,  1. ],
           [-1.8, -1. ]])
    """
    _require_positive(b=b, sum=a + b)
    u, v = a + b, b / (a + b) ** 2

    def reaction(y: np.ndarray) -> np.ndarray:
        made = y[0] ** 2 * y[1]
        return np.stack([a - y[0] + made, b - made])

    J = np.array([[2 * u * v - 1, u * u], [-2 * u * v, -u * u]])
    return _model("schnakenberg", diffusivities, reaction, (u, v), J)


def brusselator(
    a: float = 2.0, b: float = 3.0, diffusivities: tuple[float, float] = (1.0, 10.0)
) -> TwoSpeciesModel:
    """``u' = a - (b + 1) u + u^2 v, v' = b u - u^2 v`` about ``(a, b / a)``.

    Source: Prigogine and Lefever, J. Chem. Phys. 48 (1968).

    >>> brusselator().jacobian
    array([[ 2.,  4.],
           [-3., -4.]])
    """
    _require_positive(a=a, b=b)

    def reaction(y: np.ndarray) -> np.ndarray:
        made = y[0] ** 2 * y[1]
        return np.stack([a - (b + 1) * y[0] + made, b * y[0] - made])

    J = np.array([[b - 1, a * a], [-b, -a * a]])
    return _model("brusselator", diffusivities, reaction, (a, b / a), J)


def gray_scott(
    feed: float = 0.04, kill: float = 0.0575, diffusivities: tuple[float, float] = (4.0, 1.0)
) -> TwoSpeciesModel:
    """``u' = F (1 - u) - u v^2, v' = u v^2 - (F + k) v`` about its fed steady state.

    ``v = (F + sqrt(F^2 - 4 F g^2)) / (2 g)`` and ``u = g / v`` with ``g = F + k``; the state
    ``(1, 0)`` is always there and stable. Source: Pearson, Science 261 (1993).

    >>> gray_scott(0.0625, 0.0625).steady_state
    array([0.5 , 0.25])
    """
    _require_positive(feed=feed, total=feed + kill)
    g = feed + kill
    if feed < 4 * g * g:
        raise InputError("a feed of at least 4 (F + k)^2", feed, "feed more or kill less")
    v = (feed + math.sqrt(feed * (feed - 4 * g * g))) / (2 * g)
    u = g / v

    def reaction(y: np.ndarray) -> np.ndarray:
        made = y[0] * y[1] ** 2
        return np.stack([feed * (1 - y[0]) - made, made - g * y[1]])

    J = np.array([[-feed - v * v, -2 * g], [v * v, g]])
    return _model("gray-scott", diffusivities, reaction, (u, v), J)


def _model(
    name: str,
    diffusivities: tuple[float, float],
    reaction: Callable[[np.ndarray], np.ndarray],
    steady_state: tuple[float, float],
    jacobian: np.ndarray,
) -> TwoSpeciesModel:
    d1, d2 = map(float, diffusivities)
    _require_positive(diffusivity=min(d1, d2))
    return TwoSpeciesModel(name, (d1, d2), reaction, np.array(steady_state), jacobian)


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise InputError(f"a positive {name}", value, "pass a number > 0")


def simulate(
    model: TwoSpeciesModel, grid: Grid, start: np.ndarray, step_size: float, steps: int
) -> np.ndarray:
    """A model on a periodic grid by RK4 and the five-point Laplacian, without any transform.

    Args:
        model: two species.
        grid: periodic.
        start: shape ``(2, *grid.shape)``.
        step_size: at most ``2.785 dx^2 / (4 d max(d_1, d_2))``, the real interval of RK4 over the
            stiffest mode of the diffusion.
        steps: how many.

    Returns:
        The values at the end, of the shape of the start.

    Raises:
        InputError: for another boundary, a start of another shape and a step beyond the limit.

    >>> model, grid = schnakenberg(), Grid((4, 4))
    >>> still = model.steady_state[:, None, None] * np.ones((2, 4, 4))
    >>> float(abs(simulate(model, grid, still, 0.01, 10) - still).max()) < 1e-14
    True
    """
    y = np.array(start, dtype=float)
    if grid.boundary != "periodic" or y.shape != (2, *grid.shape):
        raise InputError(
            f"a periodic grid and a start of shape {(2, *grid.shape)}",
            f"{grid.boundary} and shape {y.shape}",
            "sample both species on the grid",
        )
    stiffest = 4 * grid.dimension * max(model.diffusivities) / grid.spacing**2
    limit = real_stability_interval(stability_function(as_tableau("rk4"))) / stiffest
    if not 0 < step_size <= limit:
        raise InputError(f"a step size of at most {limit:.6g}", step_size, "take smaller steps")
    rates = np.array(model.diffusivities).reshape(2, *(1,) * grid.dimension) / grid.spacing**2

    def field(y: np.ndarray) -> np.ndarray:
        around = -2.0 * grid.dimension * y
        for axis in range(1, grid.dimension + 1):
            around += np.roll(y, 1, axis) + np.roll(y, -1, axis)
        return model.reaction(y) + rates * around

    h = step_size
    for _ in range(steps):
        k1 = field(y)
        k2 = field(y + h / 2 * k1)
        k3 = field(y + h / 2 * k2)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + field(y + h * k3))
    return y
