"""Networks of time steps: opening, blocks, connectors and classifier, from a frozen configuration.

The architecture of the parabolic networks of Ruthotto & Haber (arXiv 1804.04272, §5), with every
channel coupling, right-hand side and time stepper of theory §2 and §3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from analysis.errors import InputError, unknown_name
from pdenet.layers.activations import ACTIVATIONS
from pdenet.layers.block import Block, TimeStep, check_step_size, step_method
from pdenet.layers.connector import POOLINGS, Connector
from pdenet.layers.normalization import NORMALIZATIONS, make_normalization
from pdenet.layers.terms import (
    DIFFUSIONS,
    REACTIONS,
    DiffusionReactionTerm,
    ParabolicTerm,
    ResidualTerm,
    Term,
)
from pdenet.operators.base import StencilOperator
from pdenet.operators.boundary import BOUNDARY_OF_PADDING
from pdenet.operators.conv import OPERATORS, FullConv2d, PointwiseConv2d, make_operator
from pdenet.operators.implicit import SOLVABLE

BLOCKS = ("parabolic", "residual", "diffusion-reaction")
"""Right-hand sides of a network."""
STENCILS = ("nine-point", "five-point")
"""Shapes of the stencils of the blocks."""
WEIGHTS_IN_TIME = ("per-step", "shared")
"""Weights of their own for every time step of a block, or one set for all."""

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
        groups: number of groups of the grouped coupling; others ignore it.
        stencil: one of ``STENCILS``.
        method: time stepper, an explicit method or ``ars111`` (made canonical).
        step_size: ``h > 0``, units of time.
        weights_in_time: one of ``WEIGHTS_IN_TIME``.
        normalization: one of ``NORMALIZATIONS``; without it the inner operators have a bias.
        activation: a name of ``ACTIVATIONS``.
        padding_mode: boundary condition by PyTorch's name.
        diffusion: one of ``DIFFUSIONS``, for diffusion-reaction only.
        reaction: one of ``REACTIONS``, for diffusion-reaction only.
        pooling: a name of ``POOLINGS``.

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
    pooling: str = "average"

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

    def _check_numbers(self) -> None:
        if not self.widths:
            raise InputError("at least one width", "none", "pass widths=(16, 32)")
        counts = {f"widths[{i}]": width for i, width in enumerate(self.widths)}
        counts |= {name: getattr(self, name) for name in ("in_channels", "classes", "steps")}
        counts |= {"groups": self.groups, "head_width": self.output_width}
        for name, value in counts.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"a positive whole number for {name}", repr(value), "change it")
        check_step_size(self.step_size)

    def _check_combinations(self) -> None:
        if self.coupling == "grouped" and any(width % self.groups for width in self.widths):
            raise InputError(
                f"widths that are multiples of groups={self.groups}",
                self.widths,
                "change the widths or the groups",
            )
        special = self.diffusion != "nonlinear" or self.reaction != "dissipative"
        if self.block != "diffusion-reaction" and special:
            raise InputError(
                "block='diffusion-reaction' for the options diffusion and reaction",
                repr(self.block),
                "leave the options at their defaults or change the block",
            )
        if step_method(self.method)[1] is None:
            self._check_implicit()

    def _check_implicit(self) -> None:
        needed = {
            "block": ("diffusion-reaction",),
            "diffusion": ("linear",),
            "padding_mode": ("circular",),
            "coupling": SOLVABLE,
        }
        for name, values in needed.items():
            if getattr(self, name) not in values:
                choices = " or ".join(map(repr, values))
                raise InputError(
                    f"{name}={choices} for the implicit method {self.method}",
                    repr(getattr(self, name)),
                    "change it or choose an explicit method such as euler",
                )

    @property
    def output_width(self) -> int:
        """Channels the classifier sees: ``head_width`` or the last width."""
        return self.widths[-1] if self.head_width is None else self.head_width


class PDENet(nn.Module):
    """A classifier whose blocks are time steps of a partial differential equation.

    Opening (3x3, full), for each width a block of time steps and a connector (1x1, with 2x2 pooling
    except the last), global average, linear classifier. Images ``(B, C, H, W)`` to logits
    ``(B, classes)``.

    Args:
        config: the architecture.

    Attributes:
        config: the architecture.
        opening: a ``Connector`` without pooling.
        blocks: ``ModuleList`` of ``Block``, one a width.
        connectors: ``ModuleList`` of ``Connector``, one after each block.
        classifier: ``Linear``.

    Raises:
        InputError: in ``forward``, for tensors that are not such images or too small for the
            poolings.

    >>> PDENet(NetworkConfig(in_channels=3, widths=(32, 64, 112), coupling="full")).weights
    502570
    """

    opening: Connector

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.opening = self._make_opening()
        self.blocks = nn.ModuleList(self._make_block(width) for width in widths)
        following = (*widths[1:], config.output_width)
        self.connectors = nn.ModuleList(
            self._make_connector(a, b, last=index == len(widths) - 1)
            for index, (a, b) in enumerate(zip(widths, following, strict=True))
        )
        self.classifier = nn.Linear(config.output_width, config.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(B, classes)`` for images ``(B, in_channels, H, W)``."""
        self._check_images(images)
        y = self.opening(images)
        for block, connector in zip(self.blocks, self.connectors, strict=True):
            y = connector(block(y))
        return self.classifier(y.mean(dim=(-2, -1)))

    @property
    def weights(self) -> int:
        """Number of trained numbers: weights, biases, scales and shifts."""
        return sum(parameter.numel() for parameter in self.parameters())

    def time_steps(self) -> Iterator[tuple[str, TimeStep]]:
        """The distinct time steps with their names (``blocks.0.steps.1``), in order.

        A step with weights shared in time comes once; ``Block.applications`` says how often it
        acts.
        """
        for name, module in self.named_modules():
            if isinstance(module, TimeStep):
                yield name, module

    def multiply_adds(self, height: int, width: int) -> int:
        """Multiply-adds of a forward pass for one image of the given size.

        Convolutions with their adjoints, Fourier transforms at their nominal count and the
        classifier; normalisation, activation and pooling are not counted.
        """
        total = self.opening.multiply_adds(height, width)
        for block, connector in zip(self.blocks, self.connectors, strict=True):
            assert isinstance(block, Block)
            assert isinstance(connector, Connector)
            total += block.multiply_adds(height, width) + connector.multiply_adds(height, width)
            if connector.pools:
                height, width = height // 2, width // 2
        return total + self.classifier.in_features * self.classifier.out_features

    @property
    def smallest_side(self) -> int:
        """Pixels an axis of an image must have to survive the poolings and the padding."""
        last = 2 if self.config.padding_mode == "reflect" else 1
        return last * 2 ** (len(self.config.widths) - 1)

    def _check_images(self, images: Tensor) -> None:
        channels, side = self.config.in_channels, self.smallest_side
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[1] != channels or not images.is_floating_point():
            raise InputError(
                f"floating-point images of shape (B, {channels}, H, W)",
                f"{str(images.dtype).removeprefix('torch.')} of shape {shape}",
                "match the network's in_channels, and scale bytes to floating point",
            )
        if min(shape[2:]) < side:
            raise InputError(
                f"images of at least {side} x {side} pixels for {len(self.config.widths)} widths",
                f"{shape[2]} x {shape[3]}",
                "use larger images or fewer widths",
            )

    # Construction: the choices of the configuration, one method a part.

    @property
    def _bias(self) -> bool:
        """Inner operators have a bias where no normalisation shifts."""
        return self.config.normalization == "none"

    def _make_opening(self) -> Connector:
        config, width = self.config, self.config.widths[0]
        operator = FullConv2d(
            config.in_channels, width, bias=self._bias, padding_mode=config.padding_mode
        )
        normalization = make_normalization(config.normalization, width)
        return Connector(operator, normalization, config.activation)

    def _make_connector(self, c_in: int, c_out: int, *, last: bool) -> Connector:
        config = self.config
        return Connector(
            PointwiseConv2d(c_in, c_out, 1, bias=self._bias),
            make_normalization(config.normalization, c_out),
            config.activation,
            None if last else config.pooling,
        )

    def _make_block(self, width: int) -> Block:
        config = self.config
        distinct = 1 if config.weights_in_time == "shared" else config.steps
        steps = [
            TimeStep(self._make_term(width), config.method, config.step_size)
            for _ in range(distinct)
        ]
        return Block(steps, config.steps)

    def _make_term(self, width: int) -> Term:
        config = self.config
        if config.block == "diffusion-reaction":
            return self._make_diffusion_reaction(width)
        normalization = make_normalization(config.normalization, width)
        inner = self._make_operator(width, bias=self._bias)
        if config.block == "parabolic":
            return ParabolicTerm(inner, normalization, config.activation)
        second = self._make_operator(width, bias=False)
        return ResidualTerm(inner, second, normalization, config.activation)

    def _make_diffusion_reaction(self, width: int) -> DiffusionReactionTerm:
        config = self.config
        linear = config.diffusion == "linear"
        return DiffusionReactionTerm(
            self._make_operator(width, bias=self._bias and not linear),
            nn.Identity() if linear else make_normalization(config.normalization, width),
            PointwiseConv2d(width, width, 1, bias=self._bias),
            make_normalization(config.normalization, width),
            config.activation,
            diffusion=config.diffusion,
            reaction=config.reaction,
        )

    def _make_operator(self, width: int, *, bias: bool) -> StencilOperator:
        config = self.config
        return make_operator(
            config.coupling,
            width,
            width,
            groups=config.groups if config.coupling == "grouped" else 1,
            bias=bias,
            padding_mode=config.padding_mode,
            five_point=config.stencil == "five-point",
        )
