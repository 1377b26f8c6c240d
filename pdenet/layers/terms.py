"""Right-hand sides ``y' = f(y)`` of the network blocks (theory §3)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from analysis.errors import InputError, unknown_name
from pdenet.integrators.choice import FAMILIES
from pdenet.layers.activations import ACTIVATIONS, make_activation
from pdenet.layers.proximal import PROXIMAL_EVALUATIONS, check_proximal, proximal_step
from pdenet.operators.base import StencilOperator
from pdenet.operators.solves.implicit import (
    check_solvable,
    diffusion_flow,
    flow_multiply_adds,
    is_iterative,
    solve_implicit_diffusion,
    solve_multiply_adds,
)

DIFFUSIONS = ("nonlinear", "linear")
"""``-D^T sigma(N(D y))`` or ``-D^T D y``."""
REACTIONS = ("dissipative", "plain")
"""``-W^T sigma(N(W y))`` or ``sigma(N(W y))``."""


class Term(nn.Module, ABC):
    """A right-hand side: a module whose ``forward`` is ``f(y)``, states to states of equal shape.

    Which methods of ``pdenet.integrators.stepper.Field`` it has beyond that, ``families`` says.

    Args:
        activation: name of ``sigma`` in ``ACTIVATIONS``.

    Attributes:
        activation: the module of ``sigma``.
        activation_name: its name.
        slope_bound: ``L``, the largest slope of ``sigma``.
        families: names of ``pdenet.integrators.choice.FAMILIES`` that can step it.
    """

    families: ClassVar[tuple[str, ...]] = ("explicit",)

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = make_activation(activation)
        self.activation_name = activation
        self.slope_bound = ACTIVATIONS[activation]

    def initial(self, y: Tensor) -> Tensor:
        """The state that begins with images ``y``: the images themselves."""
        return y

    def observed(self, state: Tensor) -> Tensor:
        """The images that a state shows: the state itself."""
        return state

    def check_method(self, family: str) -> None:
        """Raise InputError where a family of methods cannot step this field as it is."""
        if family not in self.families:
            raise InputError(
                f"a method that is {' or '.join(self.families)} for {type(self).__name__}",
                f"one that is {family}: it {FAMILIES[family]}",
                "choose another method or block",
            )

    @abstractmethod
    def multiply_adds(self, height: int, width: int, part: str = "whole") -> int:
        """Multiply-adds of one evaluation for one image, the convolutions only.

        Args:
            height, width: of the images.
            part: ``whole``, or what else of the field is evaluated, solved or followed.
        """

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

    families = ("explicit", "implicit")

    def forward(self, y: Tensor) -> Tensor:
        """``f(y)`` for images ``(B, C, H, W)``."""
        return self._symmetric(self.operator, self.normalization, y)

    def check_method(self, family: str) -> None:
        """Raise InputError where ``solve`` is needed and does not exist."""
        super().check_method(family)
        if family == "implicit":
            check_proximal(self.operator, self.normalization, self.activation)

    def solve(self, known: Tensor, scale: float) -> Tensor:
        """``x`` with ``x = known + scale f(x)``: a proximal step, firmly non-expansive (§4.5)."""
        return proximal_step(self.operator, self.normalization, self.activation, known, scale)

    def multiply_adds(self, height: int, width: int, part: str = "whole") -> int:
        """Twice those of ``K``, for ``K`` and for ``K^T``; a solve at the nominal iterations."""
        evaluation = 2 * self.operator.multiply_adds(height, width)
        return evaluation * (PROXIMAL_EVALUATIONS if part == "solve" else 1)


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

    def multiply_adds(self, height: int, width: int, part: str = "whole") -> int:
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
        reaction_operator: ``W``, pointwise or of another coupling.
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

    families = ("explicit", "implicit-explicit", "splitting")

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

    # The parts that methods of two parts ask for: reaction explicit, diffusion implicit.

    explicit = react
    implicit = diffuse

    def check_method(self, family: str) -> None:
        """Raise InputError where ``solve`` is needed and does not exist."""
        super().check_method(family)
        if family != "implicit-explicit":
            return
        if self.diffusion == "linear":
            check_solvable(self.diffusion_operator)
        else:
            check_proximal(self.diffusion_operator, self.diffusion_normalization, self.activation)

    def solve(self, known: Tensor, scale: float) -> Tensor:
        """``(I + scale D^T D)^{-1} known``, or the proximal step of the nonlinear diffusion."""
        D = self.diffusion_operator
        if self.diffusion == "linear":
            return solve_implicit_diffusion(D, known, scale)
        return proximal_step(D, self.diffusion_normalization, self.activation, known, scale)

    @property
    def exact_flow(self) -> bool:
        """Whether the flow of the diffusion is known: linear, periodic or without neighbours.

        A property of the network: stencils that happen to be even in each axis have a flow at
        replicated edges too, but a step that looked at its weights would jump when they change and
        could not be compiled.
        """
        return self.diffusion == "linear" and not is_iterative(self.diffusion_operator)

    def flow(self, part: str, y: Tensor, time: float, substep: Callable[..., Tensor]) -> Tensor:
        """``exp(-t D^T D) y`` where ``exact_flow``; other flows by ``substep(f, y, time)``."""
        if part == "implicit" and self.exact_flow:
            return diffusion_flow(self.diffusion_operator, y, time)
        return substep(self.diffuse if part == "implicit" else self.react, y, time)

    def multiply_adds(self, height: int, width: int, part: str = "whole") -> int:
        """Twice those of ``D`` plus those of the reaction, or those of a part."""
        diffusion = 2 * self.diffusion_operator.multiply_adds(height, width)
        applications = 2 if self.reaction == "dissipative" else 1
        reaction = applications * self.reaction_operator.multiply_adds(height, width)
        parts = {
            "whole": diffusion + reaction,
            "explicit": reaction,
            "implicit": diffusion,
            "explicit flow": 0,
            "implicit flow": 0,
        }
        if part == "implicit flow" and self.exact_flow:
            return flow_multiply_adds(self.diffusion_operator, height, width)
        if part == "solve":
            if self.diffusion == "linear":
                return solve_multiply_adds(self.diffusion_operator, height, width)
            return PROXIMAL_EVALUATIONS * diffusion
        return parts[part]
