"""Linear multistep methods, explicit, implicit and both, over layers whose weights may differ.

    sum_j alpha_j y_{n+j} = h sum_j (beta_j f(y_{n+j}) + beta~_j g(y_{n+j})),   alpha_k = 1

A slope that a later layer reads was evaluated by the layer of its own time. The first values come
from a one-step method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from analysis.errors import InputError
from analysis.methods import method
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.tableau import ButcherTableau, ImexTableau
from pdenet.integrators.additive import additive_stepper, combine
from pdenet.integrators.explicit import ExplicitStepper, step_coefficients
from pdenet.integrators.stepper import Field, Stepper

_EXPLICIT_STARTS = ("euler", "heun", "ssprk33", "rk4", "dopri5")
_IMPLICIT_STARTS = ("backward-euler", "sdirk2")
_IMEX_STARTS = ("ars111", "ars222", "ars443")


class History(NamedTuple):
    """The last values of a multistep method, the newest at the end.

    Attributes:
        states: at most ``k`` states.
        explicit, implicit: the slopes at the states before the newest, None where none is read.
    """

    states: tuple[Tensor, ...]
    explicit: tuple[Tensor | None, ...] = ()
    implicit: tuple[Tensor | None, ...] = ()


@dataclass(frozen=True)
class MultistepStepper(Stepper):
    """A ``k``-step method in float64.

    Attributes:
        alpha: ``k`` coefficients, from the oldest.
        beta, beta_implicit: ``k + 1`` each; the last of ``beta`` is 0.
        start: the one-step method of the first ``k - 1`` steps.
        paired: whether the two parts are the explicit and implicit part of the field; otherwise
            ``beta_implicit`` or ``beta`` belongs to the whole field and the other is zero.
    """

    alpha: tuple[float, ...]
    beta: tuple[float, ...]
    beta_implicit: tuple[float, ...]
    start: Stepper
    paired: bool

    @property
    def steps(self) -> int:
        """Number of old values ``k`` a step reads."""
        return len(self.alpha)

    def begin(self, field: Field, state: Tensor) -> History:
        """A history of one value."""
        return History((state,))

    def end(self, carried: History) -> Tensor:
        """The newest state."""
        return carried.states[-1]

    def advance(self, field: Field, state: History, h: float) -> History:
        """The history after one more step."""
        now, k = state.states[-1], self.steps
        f = (*state.explicit, self._explicit(field, now))
        g = (*state.implicit, self._implicit(field, now))
        if len(state.states) < k:
            new = self.start.advance(field, now, h)
        else:
            new = self._step(field, state.states, (f, g), h)
        kept = slice(max(len(f) - (k - 1), 0), None)
        return History((*state.states, new)[-k:], f[kept], g[kept])

    def _step(
        self,
        field: Field,
        states: tuple[Tensor, ...],
        slopes: tuple[tuple[Tensor | None, ...], tuple[Tensor | None, ...]],
        h: float,
    ) -> Tensor:
        known: Tensor | None = None
        for alpha, old in zip(self.alpha, states, strict=True):
            if alpha:
                known = old * -alpha if known is None else known.sub(old, alpha=alpha)
        assert known is not None  # consistency: the alphas sum to -1
        parts = ((self.beta[:-1], list(slopes[0])), (self.beta_implicit[:-1], list(slopes[1])))
        known = combine(known, parts, h)
        last = self.beta_implicit[-1]
        return field.solve(known, h * last) if last else known

    def _explicit(self, field: Field, y: Tensor) -> Tensor | None:
        if not any(self.beta):
            return None
        return field.explicit(y) if self.paired else field(y)

    def _implicit(self, field: Field, y: Tensor) -> Tensor | None:
        if not any(self.beta_implicit[:-1]):
            return None
        return field.implicit(y) if self.paired else field(y)

    def multiply_adds(self, field: Field, height: int, width: int, earlier: int) -> int:
        """One evaluation of each part and a solve; the first steps cost those of the start too."""
        explicit, implicit = ("explicit", "implicit") if self.paired else ("whole", "whole")
        total = 0
        if any(self.beta):
            total += field.multiply_adds(height, width, explicit)
        if any(self.beta_implicit[:-1]):
            total += field.multiply_adds(height, width, implicit)
        if earlier < self.steps - 1:
            return total + self.start.multiply_adds(field, height, width, earlier)
        if self.beta_implicit[-1]:
            total += field.multiply_adds(height, width, "solve")
        return total


def multistep_stepper(found: MultistepMethod | ImexMultistep) -> MultistepStepper:
    """The stepper of a multistep method with the one-step method that gives its first values.

    Raises:
        InputError: where no such method keeps the order.

    >>> from analysis.methods import method
    >>> multistep_stepper(method("sbdf2")).steps
    2
    """
    beta, zeros = tuple(map(float, found.beta)), (0.0,) * len(found.beta)
    pair = (beta, zeros)
    if isinstance(found, ImexMultistep):
        pair = (beta, tuple(map(float, found.beta_implicit)))
    elif not found.explicit:
        pair = (zeros, beta)
    return MultistepStepper(
        alpha=tuple(map(float, found.alpha[:-1])),
        beta=pair[0],
        beta_implicit=pair[1],
        start=_one_step(start_method(found)),
        paired=isinstance(found, ImexMultistep),
    )


def _one_step(start: ButcherTableau | ImexTableau) -> Stepper:
    if isinstance(start, ButcherTableau) and start.explicit:
        return ExplicitStepper(step_coefficients(start))
    return additive_stepper(start)


def start_method(found: MultistepMethod | ImexMultistep) -> ButcherTableau | ImexTableau:
    """One-step method of the same kind; a first value may have one order less than the method.

    Raises:
        InputError: where no diagonally implicit method has the order.
    """
    names: tuple[str, ...] = _IMEX_STARTS
    if isinstance(found, MultistepMethod):
        names = _EXPLICIT_STARTS if found.explicit else _IMPLICIT_STARTS
    wanted = max(found.order - 1, min(found.order, 2))
    for name in names:
        start = method(name)
        assert isinstance(start, ButcherTableau | ImexTableau)
        if start.order >= wanted or found.steps == 1:
            return start
    raise InputError(
        f"a multistep method whose first values a one-step method gives with order {wanted}",
        f"{found.name!r}",
        "choose bdf2, bdf3, am1 or am2",
    )
