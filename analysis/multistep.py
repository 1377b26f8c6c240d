"""Linear multistep methods as data, explicit, implicit and both together.

    sum_j alpha_j y_{n+j} = h sum_j beta_j f(y_{n+j}),      j = 0 .. k

>>> MultistepMethod("leapfrog", alpha=[-1, 0, 1], beta=[0, 2, 0]).order
2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from analysis.errors import InputError
from analysis.exact import Exact
from analysis.tableau import Number, exact_entry


def _coefficients(
    name: str, alpha: Sequence[Number], *betas: Sequence[Number]
) -> list[tuple[Exact, ...]]:
    """All coefficients as exact numbers, scaled to alpha_k = 1."""
    exact = [tuple(exact_entry(x) for x in p) for p in (alpha, *betas)]
    if len(exact[0]) < 2 or any(len(p) != len(exact[0]) for p in exact) or not exact[0][-1]:
        raise InputError(
            "k + 1 >= 2 coefficients each in alpha and beta, the last of alpha not zero",
            f"{' and '.join(str(len(p)) for p in exact)} of them",
            f"write those of '{name}' from the oldest step to the newest",
        )
    return [tuple(x / exact[0][-1] for x in p) for p in exact]


def _order(alpha: tuple[Exact, ...], beta: tuple[Exact, ...]) -> int:
    """The largest p with sum_j alpha_j j^q = q sum_j beta_j j^(q-1) for q = 0 .. p."""
    order = -1
    # A k-step method has order at most 2 k (Dahlquist 1956), so the search ends.
    for q in range(2 * len(alpha)):
        left = sum((a * j**q for j, a in enumerate(alpha)), Fraction(0))
        right = sum((b * j ** (q - 1) for j, b in enumerate(beta) if q), Fraction(0))
        if left != q * right:
            break
        order = q
    return order


@dataclass(frozen=True, init=False)
class MultistepMethod:
    """A linear k-step method, `alpha` and `beta` from the oldest step to the newest (k + 1 each).

    Scaled to alpha_k = 1. Raises InputError for lengths that do not fit, inexact entries, and a
    method that is not consistent (order below 1).

    Source: Hairer, Norsett & Wanner, Solving ODEs I, section III.2.
    """

    name: str
    alpha: tuple[Exact, ...]
    beta: tuple[Exact, ...]

    def __init__(self, name: str, alpha: Sequence[Number], beta: Sequence[Number]) -> None:
        scaled = _coefficients(name, alpha, beta)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "alpha", scaled[0])
        object.__setattr__(self, "beta", scaled[1])
        _require_consistent(name, self.order)

    @property
    def steps(self) -> int:
        """Number of old values k a step reads."""
        return len(self.alpha) - 1

    @property
    def explicit(self) -> bool:
        """Whether beta_k = 0."""
        return not self.beta[-1]

    @cached_property
    def order(self) -> int:
        """The order of consistency, by the conditions on alpha and beta in exact arithmetic."""
        return _order(self.alpha, self.beta)


@dataclass(frozen=True, init=False)
class ImexMultistep:
    """A k-step method for y' = f(y) + g(y): `beta` of f, explicit, and `beta_implicit` of g.

        sum_j alpha_j y_{n+j} = h sum_j (beta_j f(y_{n+j}) + beta~_j g(y_{n+j})),   beta_k = 0

    Source: Ascher, Ruuth & Wetton, SIAM J. Numer. Anal. 32 (1995), section 2.
    """

    name: str
    alpha: tuple[Exact, ...]
    beta: tuple[Exact, ...]
    beta_implicit: tuple[Exact, ...]

    def __init__(
        self,
        name: str,
        alpha: Sequence[Number],
        beta: Sequence[Number],
        beta_implicit: Sequence[Number],
    ) -> None:
        scaled = _coefficients(name, alpha, beta, beta_implicit)
        if scaled[1][-1]:
            raise InputError(
                "an explicit part that does not read the new step, beta_k = 0",
                str(scaled[1][-1]),
                f"check beta of '{name}'",
            )
        for key, value in zip(("alpha", "beta", "beta_implicit"), scaled, strict=True):
            object.__setattr__(self, key, value)
        object.__setattr__(self, "name", name)
        _require_consistent(name, self.order)

    @property
    def steps(self) -> int:
        """Number of old values k a step reads."""
        return len(self.alpha) - 1

    @cached_property
    def order(self) -> int:
        """The smaller order of its two parts: multistep methods have no coupling conditions."""
        return min(_order(self.alpha, self.beta), _order(self.alpha, self.beta_implicit))


def _require_consistent(name: str, order: int) -> None:
    if order < 1:
        raise InputError(
            "a consistent method: sum alpha = 0 and sum j alpha_j = sum beta",
            f"order {order}",
            f"check the coefficients of '{name}'",
        )
