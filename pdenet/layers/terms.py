"""Right-hand sides ``y' = f(y)`` of the network blocks (theory §3)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from analysis.errors import InputError, unknown_name
from pdenet.layers.activations import ACTIVATIONS, make_activation
from pdenet.operators.base import StencilOperator
from pdenet.operators.implicit import check_solvable, solve_implicit_diffusion

DIFFUSIONS = ("nonlinear", "linear")
"""``-D^T sigma(N(D y))`` or ``-D^T D y``."""
REACTIONS = ("dissipative", "plain")
"""``-W^T sigma(N(W y))`` or ``sigma(N(W y))``."""


class Term(nn.Module, ABC):
    """A right-hand side: a module whose ``forward`` is ``f(y)``, images to images of equal shape.

    Args:
        activation: name of ``sigma`` in ``ACTIVATIONS``.

    Attributes:
        activation: the module of ``sigma``.
        slope_bound: ``L``, the largest slope of ``sigma``.
    """

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = make_activation(activation)
        self.slope_bound = ACTIVATIONS[activation]

    @abstractmethod
    def multiply_adds(self, height: int, width: int) -> int:
        """Multiply-adds of one evaluation of ``f`` for one image, the convolutions only."""

    def _symmetric(self, operator: StencilOperator, normalization: nn.Module, y: Tensor) -> Tensor:
        """``-K^T sigma(N(K y + b))``, monotone for every ``K`` while the scale of ``N`` is >= 0."""
        z = self.activation(normalization(operator(y)))
        return -operator.adjoint(z, (y.shape[-2], y.shape[-1]))


class ParabolicTerm(Term):
    """``f(y) = -K^T sigma(N(K y + b))``: the symmetric layer of Ruthotto & Haber (1804.04272).

    Args:
        operator: ``K`` with its bias ``b`` (None where ``N`` shifts).
        normalization: ``N``, affine at inference, or ``Identity``.
        activation: name of ``sigma``.

    Attributes:
        operator, normalization: as given.
        activation, slope_bound: as ``Term``.
    """

    def __init__(
        self, operator: StencilOperator, normalization: nn.Module, activation: str
    ) -> None:
        super().__init__(activation)
        self.operator = operator
        self.normalization = normalization

    def forward(self, y: Tensor) -> Tensor:
        """``f(y)`` for images ``(B, C, H, W)``."""
        return self._symmetric(self.operator, self.normalization, y)

    def multiply_adds(self, height: int, width: int) -> int:
        """Twice those of ``K``: once for ``K`` and once for ``K^T``."""
        return 2 * self.operator.multiply_adds(height, width)


class ResidualTerm(Term):
    """``f(y) = K2 sigma(N(K1 y + b))``: a plain residual layer (He et al. 2016).

    Args:
        first: ``K1`` with its bias ``b`` (None where ``N`` shifts).
        second: ``K2`` without bias.
        normalization: ``N`` between them.
        activation: name of ``sigma``.

    Attributes:
        first, second, normalization: as given.
        activation, slope_bound: as ``Term``.
    """

    def __init__(
        self,
        first: StencilOperator,
        second: StencilOperator,
        normalization: nn.Module,
        activation: str,
    ) -> None:
        super().__init__(activation)
        self.first = first
        self.second = second
        self.normalization = normalization

    def forward(self, y: Tensor) -> Tensor:
        """``f(y)`` for images ``(B, C, H, W)``."""
        return self.second(self.activation(self.normalization(self.first(y))))

    def multiply_adds(self, height: int, width: int) -> int:
        """Those of both operators."""
        inner = self.first.output_size(height, width)
        return self.first.multiply_adds(height, width) + self.second.multiply_adds(*inner)


class DiffusionReactionTerm(Term):
    """Diffusion in space plus a reaction of the channels within a pixel (1805.07821, theory §3).

    ``f(y) = -D^T sigma(N_D(D y + b)) + R(y)`` (nonlinear) or ``-D^T D y + R(y)`` (linear), with
    ``R(y) = -W^T sigma(N_W(W y + b))`` (dissipative) or ``sigma(N_W(W y + b))`` (plain).

    Args:
        diffusion_operator: ``D``; for linear diffusion without bias.
        diffusion_normalization: ``N_D``; for linear diffusion ``Identity``.
        reaction_operator: ``W``, a pointwise operator.
        reaction_normalization: ``N_W``.
        activation: name of ``sigma``.
        diffusion: a name in ``DIFFUSIONS``.
        reaction: a name in ``REACTIONS``.

    Attributes:
        diffusion_operator, diffusion_normalization, reaction_operator, reaction_normalization,
            diffusion, reaction: as given.
        activation, slope_bound: as ``Term``.

    Raises:
        InputError: for unknown names, and for linear diffusion with a bias or a normalisation.
    """

    def __init__(
        self,
        diffusion_operator: StencilOperator,
        diffusion_normalization: nn.Module,
        reaction_operator: StencilOperator,
        reaction_normalization: nn.Module,
        activation: str,
        *,
        diffusion: str = "nonlinear",
        reaction: str = "dissipative",
    ) -> None:
        super().__init__(activation)
        if diffusion not in DIFFUSIONS:
            raise unknown_name("diffusion", diffusion, DIFFUSIONS)
        if reaction not in REACTIONS:
            raise unknown_name("reaction", reaction, REACTIONS)
        plain = isinstance(diffusion_normalization, nn.Identity) and diffusion_operator.bias is None
        if diffusion == "linear" and not plain:
            raise InputError(
                "neither bias nor normalisation in linear diffusion -D^T D y",
                f"bias={diffusion_operator.bias is not None} and "
                f"{type(diffusion_normalization).__name__}",
                "pass bias=False and Identity, or choose nonlinear diffusion",
            )
        self.diffusion, self.reaction = diffusion, reaction
        self.diffusion_operator = diffusion_operator
        self.diffusion_normalization = diffusion_normalization
        self.reaction_operator = reaction_operator
        self.reaction_normalization = reaction_normalization

    def forward(self, y: Tensor) -> Tensor:
        """``f(y)`` for images ``(B, C, H, W)``."""
        return self.diffuse(y) + self.react(y)

    def diffuse(self, y: Tensor) -> Tensor:
        """The diffusion alone."""
        D = self.diffusion_operator
        if self.diffusion == "linear":
            return -D.adjoint(D.linear(y), (y.shape[-2], y.shape[-1]))
        return self._symmetric(D, self.diffusion_normalization, y)

    def react(self, y: Tensor) -> Tensor:
        """The reaction ``R(y)`` alone."""
        if self.reaction == "dissipative":
            return self._symmetric(self.reaction_operator, self.reaction_normalization, y)
        return self.activation(self.reaction_normalization(self.reaction_operator(y)))

    def check_implicit(self) -> None:
        """Raise InputError where ``solve_implicit`` does not exist."""
        if self.diffusion != "linear":
            raise InputError(
                "diffusion='linear' for an implicit step",
                repr(self.diffusion),
                "choose it or an explicit method",
            )
        check_solvable(self.diffusion_operator)

    def solve_implicit(self, y: Tensor, step_size: float) -> Tensor:
        """``(I + h D^T D)^{-1} y``, see ``pdenet.operators.implicit``."""
        return solve_implicit_diffusion(self.diffusion_operator, y, step_size)

    def multiply_adds(self, height: int, width: int) -> int:
        """Twice those of ``D`` plus those of the reaction."""
        return 2 * self.diffusion_operator.multiply_adds(height, width) + (
            self.reaction_multiply_adds(height, width)
        )

    def reaction_multiply_adds(self, height: int, width: int) -> int:
        """Those of ``W``, twice where ``W^T`` follows."""
        applications = 2 if self.reaction == "dissipative" else 1
        return applications * self.reaction_operator.multiply_adds(height, width)
