"""Right-hand sides that oscillate: Hamiltonian and second-order blocks (theory §3, §4.4).

Their states are two halves ``(y, z)`` of the channels; ``y' = drift(z)`` and ``z' = kick(y)`` have
exact flows, so that every partitioned method has an inverse.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pdenet.layers.terms import Term
from pdenet.operators.base import StencilOperator


class HamiltonianTerm(Term):
    """``y' = K1^T sigma(N1(K1 z + b1))``, ``z' = -K2^T sigma(N2(K2 y + b2))`` (1804.04272).

    The state is ``(y, z)``, each half of the channels. Without normalisation ``H(y, z) = Phi(K1 z +
    b1) + Phi(K2 y + b2)``, ``Phi' = sigma``, is constant along solutions.

    Args:
        first, second: ``K1`` and ``K2``, on half of the channels, with their biases.
        first_normalization, second_normalization: ``N1`` and ``N2``.
        activation: name of ``sigma``.

    Attributes:
        first, second, first_normalization, second_normalization: as given.
        activation, slope_bound: as ``Term``.
    """

    families = ("explicit", "partitioned")

    def __init__(
        self,
        first: StencilOperator,
        first_normalization: nn.Module,
        second: StencilOperator,
        second_normalization: nn.Module,
        activation: str,
    ) -> None:
        super().__init__(activation)
        self.first, self.first_normalization = first, first_normalization
        self.second, self.second_normalization = second, second_normalization

    def forward(self, state: Tensor) -> Tensor:
        """``(y', z')`` for states ``(B, C, H, W)``."""
        y, z = state.chunk(2, dim=1)
        return torch.cat((self.drift(z), self.kick(y)), dim=1)

    def drift(self, z: Tensor) -> Tensor:
        """``y' = K1^T sigma(N1(K1 z + b1))``."""
        return -self._symmetric(self.first, self.first_normalization, z)

    def kick(self, y: Tensor) -> Tensor:
        """``z' = -K2^T sigma(N2(K2 y + b2))``."""
        return self._symmetric(self.second, self.second_normalization, y)

    def multiply_adds(self, height: int, width: int, part: str = "whole") -> int:
        """Twice those of both operators, or of one for ``drift`` and ``kick``."""
        drift = 2 * self.first.multiply_adds(height, width)
        kick = 2 * self.second.multiply_adds(height, width)
        return {"whole": drift + kick, "drift": drift, "kick": kick}[part]


class SecondOrderTerm(Term):
    """``y'' = -K^T sigma(N(K y + b))`` as ``y' = v, v' = -K^T sigma(N(K y + b))`` (1804.04272).

    The state is ``(y, v)``, twice the channels of the images, and begins at rest. Without
    normalisation ``|v|^2 / 2 + Phi(K y + b)``, ``Phi' = sigma``, is constant along solutions.
    Symplectic Euler is what the networks' literature calls leapfrog, ``y_{j+1} = 2 y_j - y_{j-1} +
    h^2 f(y_j)`` from ``y_{-1} = y_0``.

    Args:
        operator: ``K`` with its bias ``b`` (None where ``N`` shifts).
        normalization: ``N``.
        activation: name of ``sigma``.

    Attributes:
        operator, normalization: as given.
        activation, slope_bound: as ``Term``.
    """

    families = ("explicit", "partitioned")

    def __init__(
        self, operator: StencilOperator, normalization: nn.Module, activation: str
    ) -> None:
        super().__init__(activation)
        self.operator = operator
        self.normalization = normalization

    def initial(self, y: Tensor) -> Tensor:
        """``(y, 0)``."""
        return torch.cat((y, torch.zeros_like(y)), dim=1)

    def observed(self, state: Tensor) -> Tensor:
        """``y`` of ``(y, v)``."""
        return state.chunk(2, dim=1)[0]

    def forward(self, state: Tensor) -> Tensor:
        """``(v, v')`` for states ``(B, 2 C, H, W)``."""
        y, v = state.chunk(2, dim=1)
        return torch.cat((v, self.kick(y)), dim=1)

    def drift(self, v: Tensor) -> Tensor:
        """``y' = v``."""
        return v

    def kick(self, y: Tensor) -> Tensor:
        """``v' = -K^T sigma(N(K y + b))``."""
        return self._symmetric(self.operator, self.normalization, y)

    def multiply_adds(self, height: int, width: int, part: str = "whole") -> int:
        """Twice those of ``K``; a drift costs none."""
        return 0 if part == "drift" else 2 * self.operator.multiply_adds(height, width)
