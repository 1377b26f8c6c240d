"""Small systems ``y' = f(y)`` with exact solutions, to observe the order of methods on.

A problem observes only the order conditions whose elementary differentials it does not annihilate:
``y' = A y`` sees one tree an order, a quadratic field none with three branches at a node. `circle`
sees every tree (the tests say up to which order).

>>> problem = logistic()
>>> problem.y0, problem.f(problem.y0)
(array([0.2]), array([0.16]))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ellipj, ellipk

from analysis.errors import InputError

Field = Callable[[np.ndarray], np.ndarray]
Flow = Callable[[float, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class OdeProblem:
    """An initial value problem ``y' = f(y)`` on ``[0, end]`` whose solution is known.

    Attributes:
        name: what the problem is called in reports.
        f: the right-hand side, shape ``(d,)`` to ``(d,)``.
        jacobian: ``f'(y)``, shape ``(d, d)``.
        exact: the solution at a time, shape ``(d,)``.
        end: the time to which it is followed.
    """

    name: str
    f: Field
    jacobian: Field
    exact: Callable[[float], np.ndarray]
    end: float

    @property
    def y0(self) -> np.ndarray:
        """The initial value ``y(0)``, shape ``(d,)``."""
        return self.exact(0.0)


@dataclass(frozen=True, eq=False)
class HamiltonianProblem(OdeProblem):
    """A mechanical system ``q' = p, p' = force(q)`` as ``y = (q, p)``, of equal halves.

    Attributes:
        force: ``-grad U(q)``, shape ``(d / 2,)`` to ``(d / 2,)``.
        energy: ``|p|^2 / 2 + U(q)`` of ``y``, constant along solutions.
    """

    force: Field
    energy: Callable[[np.ndarray], float]


@dataclass(frozen=True, eq=False)
class SplitProblem(OdeProblem):
    """A problem ``y' = g(y) + A y`` whose two parts do not commute, for splitting and IMEX steps.

    Attributes:
        explicit: the mild part ``g``, shape ``(d,)`` to ``(d,)``.
        explicit_jacobian: ``g'(y)``, shape ``(d, d)``.
        linear: the stiff part ``A``, shape ``(d, d)``, 1 / time.
        explicit_flow: the solution of ``y' = g(y)`` at a time from a value, where it is known in
            closed form; that of ``y' = A y`` is ``expm(t A) y``.
    """

    explicit: Field
    explicit_jacobian: Field
    linear: np.ndarray
    explicit_flow: Flow | None = None


def logistic() -> OdeProblem:
    """``y' = y (1 - y)`` from 1/5, one dimension: ``y = 1 / (1 + 4 exp(-t))``.

    In one dimension many trees share one elementary differential: a method whose errors of them
    cancel looks better here than it is.

    >>> float(logistic().exact(math.log(4.0))[0])
    0.5
    """
    return OdeProblem(
        name="logistic",
        f=lambda y: y * (1 - y),
        jacobian=lambda y: np.array([[1 - 2 * y[0]]]),
        exact=lambda t: np.array([1 / (1 + 4 * math.exp(-t))]),
        end=2.0,
    )


def clock() -> OdeProblem:
    """``y' = -2 t y^2`` with the time as the first component: ``(t, 1 / (1 + t^2))``.

    >>> clock().exact(1.0)
    array([1. , 0.5])
    """
    return OdeProblem(
        name="clock",
        f=lambda y: np.array([1.0, -2 * y[0] * y[1] ** 2]),
        jacobian=lambda y: np.array([[0.0, 0.0], [-2 * y[1] ** 2, -4 * y[0] * y[1]]]),
        exact=lambda t: np.array([t, 1 / (1 + t * t)]),
        end=1.5,
    )


def circle() -> OdeProblem:
    """A nonlinear system on the unit circle that sees every order condition up to order six.

        x' = y^2 exp(x y (x^2 + y^2 - 1)),      y' = -x y / (x^2 + y^2)

    with the solution ``(tanh(t - 1), 1 / cosh(t - 1))``. Beside the circle the field is neither
    polynomial nor symmetric, and no linear equation holds along it, as it does for ``(sin, cos)``:
    the elementary differentials of the rooted trees of an order are independent there.

    >>> circle().exact(1.0)
    array([0., 1.])
    """

    def f(y: np.ndarray) -> np.ndarray:
        a, b = y
        q = a * a + b * b
        return np.array([b * b * np.exp(a * b * (q - 1)), -a * b / q])

    def jacobian(y: np.ndarray) -> np.ndarray:
        a, b = y
        q, grown = a * a + b * b, np.exp(a * b * (a * a + b * b - 1))
        by_a, by_b = b * (q - 1) + 2 * a * a * b, a * (q - 1) + 2 * a * b * b
        return np.array(
            [
                [b * b * by_a * grown, (2 * b + b * b * by_b) * grown],
                [b * (a * a - b * b) / q**2, a * (b * b - a * a) / q**2],
            ]
        )

    return OdeProblem("circle", f, jacobian, lambda t: np.array(_on_the_circle(t)), end=2.5)


def _on_the_circle(t: float) -> tuple[float, float]:
    """``tanh`` and ``1 / cosh``, whose derivatives are ``y^2`` and ``-x y``."""
    return math.tanh(t - 1), 1 / math.cosh(t - 1)


def pendulum(amplitude: float = 2.0) -> HamiltonianProblem:
    """``q'' = -sin q`` released at rest: ``q = 2 arcsin(k sn(t + K(k), k))``, ``k = sin(q0 / 2)``.

    Source: Whittaker, Analytical Dynamics, section 44.

    Args:
        amplitude: ``q(0)``, radians, between 0 and pi.

    >>> pendulum(2.0).y0.round(12)
    array([ 2., -0.])
    """
    if not 0 < amplitude < math.pi:
        raise InputError("an amplitude between 0 and pi", amplitude, "pass one in radians")
    modulus = math.sin(amplitude / 2)
    quarter = float(ellipk(modulus**2))

    def exact(t: float) -> np.ndarray:
        sn, cn, _, _ = ellipj(t + quarter, modulus**2)
        return np.array([2 * math.asin(modulus * sn), 2 * modulus * cn])

    return HamiltonianProblem(
        name="pendulum",
        f=lambda y: np.array([y[1], -np.sin(y[0])]),
        jacobian=lambda y: np.array([[0.0, 1.0], [-np.cos(y[0]), 0.0]]),
        exact=exact,
        end=3.0,
        force=lambda q: -np.sin(q),
        energy=lambda y: float(y[1] ** 2 / 2 - np.cos(y[0])),
    )


def kepler(eccentricity: float = 0.3) -> HamiltonianProblem:
    """Two bodies in the plane, ``q'' = -q / |q|^3``, of period ``2 pi`` from the nearest point.

    ``q = (cos E - e, sqrt(1 - e^2) sin E)`` where ``E - e sin E = t`` (Kepler's equation).

    Args:
        eccentricity: ``e``, between 0 and 1.

    >>> kepler(0.6).exact(np.pi).round(12) + 0.0
    array([-1.6,  0. ,  0. , -0.5])
    """
    e = eccentricity
    if not 0 <= e < 1:
        raise InputError("an eccentricity from 0, below 1", e, "pass 0.3")
    minor = math.sqrt(1 - e * e)

    def exact(t: float) -> np.ndarray:
        angle = _eccentric_anomaly(t, e)
        cos, sin = math.cos(angle), math.sin(angle)
        rate = 1 / (1 - e * cos)
        return np.array([cos - e, minor * sin, -rate * sin, rate * minor * cos])

    def force(q: np.ndarray) -> np.ndarray:
        return np.asarray(-q / np.dot(q, q) ** 1.5)

    def jacobian(y: np.ndarray) -> np.ndarray:
        q, square = y[:2], np.dot(y[:2], y[:2])
        pull = (3 * np.outer(q, q) / square - np.eye(2)) / square**1.5
        return np.block([[np.zeros((2, 2)), np.eye(2)], [pull, np.zeros((2, 2))]])

    return HamiltonianProblem(
        name="kepler",
        f=lambda y: np.concatenate([y[2:], force(y[:2])]),
        jacobian=jacobian,
        exact=exact,
        end=2.5,
        force=force,
        energy=lambda y: float(np.dot(y[2:], y[2:]) / 2 - 1 / np.linalg.norm(y[:2])),
    )


def _eccentric_anomaly(t: float, e: float) -> float:
    """Solve ``E - e sin E = t`` by bisection to two neighbouring numbers."""
    low, high = t - e, t + e
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        # The left side grows with E, so that the root is never lost; Newton's method can lose it.
        if middle - e * math.sin(middle) < t:
            low = middle
        else:
            high = middle


def bernoulli(stiffness: float = 5.0) -> SplitProblem:
    """``y' = (y - y^2) - s y`` from 1/2: growth and decay, each with a flow in closed form.

    The sum is ``y' = r y - y^2`` with ``r = 1 - s`` and ``y = r y0 / (y0 + (r - y0) exp(-r t))``;
    the commutator of the parts is ``s y^2``, so that splitting has an error.

    Args:
        stiffness: ``s >= 0`` other than 1, 1 / time.

    >>> problem = bernoulli(3.0)
    >>> problem.linear, problem.f(np.array([0.5]))
    (array([[-3.]]), array([-1.25]))
    """
    if not 0 <= stiffness < math.inf or stiffness == 1:
        raise InputError("a stiffness from 0 other than 1", stiffness, "pass 5.0")
    rate, start = 1 - stiffness, 0.5

    def exact(t: float) -> np.ndarray:
        grown = math.exp(rate * t)  # of a stiff problem it vanishes, where its inverse overflows
        return np.array([rate * start * grown / (start * grown + rate - start)])

    def explicit_flow(t: float, y: np.ndarray) -> np.ndarray:
        return np.asarray(y / (y + (1 - y) * math.exp(-t)))

    return SplitProblem(
        name="bernoulli",
        f=lambda y: rate * y - y * y,
        jacobian=lambda y: np.array([[rate - 2 * y[0]]]),
        exact=exact,
        end=1.0,
        explicit=lambda y: y - y * y,
        explicit_jacobian=lambda y: np.array([[1 - 2 * y[0]]]),
        linear=np.array([[-float(stiffness)]]),
        explicit_flow=explicit_flow,
    )


_TURN = np.array([[2.0, -1.0, 2.0], [2.0, 2.0, -1.0], [-1.0, 2.0, 2.0]]) / 3
"""A rotation of space with rational entries: no coordinate is one of the modes."""


def stiff_circle(stiffness: float = 20.0) -> SplitProblem:
    """The circle beside a stiff mode: ``y = Q z``, ``z = (x, y, x y / s)`` of the same x and y.

    ``z' = g(z) + diag(-1, -2, -s) z`` with ``q = z1^2 + z2^2``, ``w = z3 - z1 z2 / s`` and

        g1 = z2^2 exp(z1 z2 (q - 1)) + z1 + w
        g2 = -z1 z2 / q + 2 z2 + w z1
        g3 = z1 z2 + (z2^3 - z1^2 z2) / s

    ``Q`` is a rotation, so that ``A = Q diag(-1, -2, -s) Q^T`` is full. The slopes of ``g`` do not
    grow with ``s``. Explicit methods, implicit ones and the couplings of their order conditions are
    all seen up to order four; a linear part alone has no tree with two branches at a node.

    Args:
        stiffness: ``s > 0``, 1 / time.

    >>> problem = stiff_circle(100.0)
    >>> bool(np.allclose(np.linalg.eigvalsh(problem.linear), [-100.0, -2.0, -1.0]))
    True
    """
    if not 0 < stiffness < math.inf:
        raise InputError("a positive stiffness", stiffness, "pass 20.0")
    linear = (_TURN * np.array([-1.0, -2.0, -stiffness])) @ _TURN.T

    def explicit(y: np.ndarray) -> np.ndarray:
        return np.asarray(_TURN @ _mild(_TURN.T @ y, stiffness))

    def explicit_jacobian(y: np.ndarray) -> np.ndarray:
        return np.asarray(_TURN @ _mild_jacobian(_TURN.T @ y, stiffness) @ _TURN.T)

    def exact(t: float) -> np.ndarray:
        a, b = _on_the_circle(t)
        return np.asarray(_TURN @ np.array([a, b, a * b / stiffness]))

    return SplitProblem(
        name="stiff circle",
        f=lambda y: explicit(y) + linear @ y,
        jacobian=lambda y: explicit_jacobian(y) + linear,
        exact=exact,
        end=2.5,
        explicit=explicit,
        explicit_jacobian=explicit_jacobian,
        linear=linear,
    )


def _mild(z: np.ndarray, s: float) -> np.ndarray:
    """``g`` of the stiff circle: the field of the circle without the linear part, in modes."""
    a, b, c = z
    on_circle, w = _CIRCLE.f(z[:2]), c - a * b / s
    third = a * b + (b**3 - a * a * b) / s
    return np.array([on_circle[0] + a + w, on_circle[1] + 2 * b + w * a, third])


def _mild_jacobian(z: np.ndarray, s: float) -> np.ndarray:
    a, b, c = z
    w, w_a, w_b = c - a * b / s, -b / s, -a / s
    slopes = np.zeros((3, 3), dtype=z.dtype)
    coupled = np.array([[1 + w_a, w_b], [w + a * w_a, 2 + a * w_b]])
    slopes[:2, :2] = _CIRCLE.jacobian(z[:2]) + coupled
    slopes[:2, 2] = 1, a
    slopes[2, :2] = b - 2 * a * b / s, a + (3 * b * b - a * a) / s
    return slopes


_CIRCLE = circle()
