"""What defines the architecture of a network, as frozen data, checked before anything is built."""

from __future__ import annotations

from dataclasses import dataclass, fields

from analysis.errors import InputError, unknown_name
from analysis.time_basis import BASES
from pdenet.integrators.choice import FAMILIES, family_of, step_method
from pdenet.layers.activations import ACTIVATIONS, SLOPES
from pdenet.layers.block import BACKPROPAGATIONS
from pdenet.layers.connector import POOLINGS
from pdenet.layers.normalization import NORMALIZATIONS
from pdenet.layers.reversible import check_reversible
from pdenet.layers.terms import (
    DIFFUSIONS,
    REACTIONS,
    DiffusionReactionTerm,
    ParabolicTerm,
    ResidualTerm,
    Term,
)
from pdenet.layers.time_step import check_step_size
from pdenet.layers.wave_terms import HamiltonianTerm, SecondOrderTerm
from pdenet.operators.boundary import BOUNDARY_OF_PADDING
from pdenet.operators.conv import OPERATORS

TERMS: dict[str, type[Term]] = {
    "parabolic": ParabolicTerm,
    "residual": ResidualTerm,
    "diffusion-reaction": DiffusionReactionTerm,
    "hamiltonian": HamiltonianTerm,
    "second-order": SecondOrderTerm,
}
BLOCKS = tuple(TERMS)
"""Right-hand sides of a network."""
STENCILS = ("nine-point", "five-point")
"""Shapes of the stencils of the blocks."""
LARGEST_COUNT = 2**31 - 1
"""Largest of the counts of an architecture: sizes of tensors overflow above it."""
WEIGHTS_IN_TIME = ("per-step", "shared", *BASES)
"""Weights of their own for every time step of a block, one set for all, or a basis in time."""

EXAMPLES = {
    "explicit": "euler",
    "implicit": "backward-euler",
    "implicit-explicit": "ars111",
    "splitting": "strang",
    "partitioned": "verlet",
}
"""A method of every family."""

_CHOICES = {
    "block": BLOCKS,
    "coupling": tuple(OPERATORS),
    "stencil": STENCILS,
    "weights_in_time": WEIGHTS_IN_TIME,
    "normalization": NORMALIZATIONS,
    "activation": tuple(ACTIVATIONS),
    "padding_mode": tuple(BOUNDARY_OF_PADDING),
    "diffusion": DIFFUSIONS,
    "reaction": REACTIONS,
    "pooling": tuple(POOLINGS),
    "reaction_coupling": tuple(OPERATORS),
    "backpropagation": BACKPROPAGATIONS,
}


@dataclass(frozen=True)
class NetworkConfig:
    """Everything that defines the architecture of a ``PDENet``.

    Attributes:
        in_channels: channels of the images.
        classes: number of classes.
        widths: channels of each block; the resolution is halved between blocks.
        steps: time steps a block.
        head_width: channels the classifier sees; None is the last width.
        block: right-hand side, one of ``BLOCKS``.
        coupling: coupling of the channels in the blocks (the diffusion operator of
            diffusion-reaction), a name of ``analysis.couplings.COUPLINGS``.
        groups: number of groups of the grouped couplings; others ignore it.
        stencil: one of ``STENCILS``.
        method: time stepper, a method of ``analysis.methods`` that fits the block (made
            canonical).
        step_size: ``h > 0``, units of time.
        weights_in_time: one of ``WEIGHTS_IN_TIME``.
        time_coefficients: sets of weights of a basis in time; others ignore it.
        normalization: one of ``NORMALIZATIONS``; without it the inner operators have a bias.
        activation: a name of ``ACTIVATIONS``.
        padding_mode: boundary condition by PyTorch's name.
        diffusion: one of ``DIFFUSIONS``, for diffusion-reaction only.
        reaction: one of ``REACTIONS``, for diffusion-reaction only.
        reaction_coupling: coupling of the reaction, for diffusion-reaction only.
        pooling: a name of ``POOLINGS``.
        backpropagation: ``stored``, or ``reversible`` to recompute the activations of blocks whose
            steps have an inverse, with memory that does not grow with the steps.

    Raises:
        InputError: for unknown names, numbers that are not positive and combinations that do not
            exist.
    """

    in_channels: int = 1
    classes: int = 10
    widths: tuple[int, ...] = (16, 32)
    steps: int = 3
    head_width: int | None = None
    block: str = "parabolic"
    coupling: str = "lean"
    groups: int = 4
    stencil: str = "nine-point"
    method: str = "euler"
    step_size: float = 1.0
    weights_in_time: str = "per-step"
    normalization: str = "batch"
    activation: str = "relu"
    padding_mode: str = "zeros"
    diffusion: str = "nonlinear"
    reaction: str = "dissipative"
    reaction_coupling: str = "pointwise"
    pooling: str = "average"
    time_coefficients: int = 2
    backpropagation: str = "stored"

    def __post_init__(self) -> None:
        if not isinstance(self.widths, list | tuple):
            remedy = "pass widths=(16, 32)"
            raise InputError("widths as a list of whole numbers", repr(self.widths), remedy)
        object.__setattr__(self, "widths", tuple(self.widths))
        for field, known in _CHOICES.items():
            name = getattr(self, field)
            if name not in known:
                raise unknown_name(field.replace("_", " "), name, known)
        self._check_numbers()
        object.__setattr__(self, "method", step_method(self.method)[0])
        self._check_combinations()
        self._check_method()

    def _check_numbers(self) -> None:
        if not self.widths:
            raise InputError("at least one width", "none", "pass widths=(16, 32)")
        counts = {f"widths[{i}]": width for i, width in enumerate(self.widths)}
        names = ("in_channels", "classes", "steps", "groups", "time_coefficients")
        counts |= {name: getattr(self, name) for name in names}
        counts["head_width"] = self.output_width
        for name, value in counts.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"a positive whole number for {name}", repr(value), "change it")
            if value > LARGEST_COUNT:
                expected = f"a positive whole number below 2^31 for {name}"
                raise InputError(expected, repr(value), "change it")
        check_step_size(self.step_size)

    def _check_combinations(self) -> None:
        inner = [self.inner_width(width) for width in self.widths]
        if self.block == "hamiltonian" and any(width % 2 for width in self.widths):
            raise InputError(
                "even widths for the two halves of a hamiltonian block", self.widths, "change them"
            )
        grouped = "grouped" in (self.coupling, self.reaction_coupling)
        if grouped and any(width % self.groups for width in inner):
            half = "half of the widths" if self.block == "hamiltonian" else "widths"
            raise InputError(
                f"{half} that are multiples of groups={self.groups}",
                tuple(inner),
                "change the widths or the groups",
            )
        options = ("diffusion", "reaction", "reaction_coupling")
        defaults = {item.name: item.default for item in fields(self)}
        special = [name for name in options if getattr(self, name) != defaults[name]]
        if self.block != "diffusion-reaction" and special:
            raise InputError(
                f"block='diffusion-reaction' for the option{'s' * (len(special) > 1)} "
                f"{', '.join(special)}",
                repr(self.block),
                "leave the options at their defaults or change the block",
            )
        if self.backpropagation == "reversible":
            check_reversible(self.method)
            if self.weights_in_time in BASES:
                raise InputError(
                    "weights per step or shared for reversible steps",
                    repr(self.weights_in_time),
                    "change it or choose backpropagation='stored'",
                )

    def _check_method(self) -> None:
        """Refuse a method that the right-hand side has no parts for, or no solve."""
        term = TERMS[self.block]
        family = family_of(step_method(self.method)[1])
        if family not in term.families:
            raise InputError(
                f"a method that is {' or '.join(term.families)} for block={self.block!r}",
                f"{self.method}, which {FAMILIES[family]}",
                f"choose one such as {' or '.join(EXAMPLES[f] for f in term.families)}",
            )
        linear = self.block == "diffusion-reaction" and self.diffusion == "linear"
        if family not in ("implicit", "implicit-explicit") or linear:
            return
        remedy = "an explicit method"
        if self.block == "diffusion-reaction":
            remedy = "diffusion='linear' or an explicit method"
        wrong = {}
        if self.normalization != "none":
            wrong["normalization='none'"] = self.normalization
        if SLOPES[self.activation][0] < 0:
            wrong["an activation that never falls"] = self.activation
        for expected, got in wrong.items():
            raise InputError(
                f"{expected} for the implicit steps of {self.method}",
                repr(got),
                f"change it, or choose {remedy}",
            )

    def inner_width(self, width: int) -> int:
        """Channels that the operators of a block act on: half of them in a Hamiltonian block."""
        return width // 2 if self.block == "hamiltonian" else width

    @property
    def output_width(self) -> int:
        """Channels the classifier sees: ``head_width`` or the last width."""
        return self.widths[-1] if self.head_width is None else self.head_width
