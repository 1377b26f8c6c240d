"""Networks of time steps: opening, blocks, connectors and classifier, from a frozen configuration.

The architecture of the networks of Ruthotto & Haber (arXiv 1804.04272, §5), with every channel
coupling, right-hand side and time stepper of theory §2 and §3.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor, nn

from analysis.errors import InputError
from analysis.time_basis import BASES
from pdenet.layers.block import Block
from pdenet.layers.connector import Connector
from pdenet.layers.normalization import make_normalization
from pdenet.layers.terms import DiffusionReactionTerm, ParabolicTerm, ResidualTerm, Term
from pdenet.layers.time_step import TimeStep
from pdenet.layers.time_weights import BasisBlock
from pdenet.layers.wave_terms import HamiltonianTerm, SecondOrderTerm
from pdenet.network_config import BLOCKS, NetworkConfig
from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import FullConv2d, PointwiseConv2d, make_operator

__all__ = ["BLOCKS", "NetworkConfig", "PDENet", "per_step"]


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
        """Pixels an axis of an image must have for poolings, padding and normalisation."""
        several = self.config.padding_mode == "reflect" or self.config.normalization == "instance"
        last = 2 if several else 1
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
        distinct = {"per-step": config.steps, "shared": 1}
        steps = [
            TimeStep(self._make_term(config.inner_width(width)), config.method, config.step_size)
            for _ in range(distinct.get(config.weights_in_time, config.time_coefficients))
        ]
        if config.weights_in_time in BASES:
            return BasisBlock(steps, config.steps, config.weights_in_time)
        return Block(steps, config.steps, backpropagation=config.backpropagation)

    def _make_term(self, width: int) -> Term:
        config, activation = self.config, self.config.activation
        if config.block == "diffusion-reaction":
            return self._make_diffusion_reaction(width)
        inner = self._make_operator(config.coupling, width, bias=self._bias)
        normalization = make_normalization(config.normalization, width)
        if config.block == "parabolic":
            return ParabolicTerm(inner, normalization, activation)
        if config.block == "second-order":
            return SecondOrderTerm(inner, normalization, activation)
        if config.block == "hamiltonian":
            other = self._make_operator(config.coupling, width, bias=self._bias)
            other_normalization = make_normalization(config.normalization, width)
            return HamiltonianTerm(inner, normalization, other, other_normalization, activation)
        second = self._make_operator(config.coupling, width, bias=False)
        return ResidualTerm(inner, second, normalization, activation)

    def _make_diffusion_reaction(self, width: int) -> DiffusionReactionTerm:
        config = self.config
        linear = config.diffusion == "linear"
        return DiffusionReactionTerm(
            self._make_operator(config.coupling, width, bias=self._bias and not linear),
            nn.Identity() if linear else make_normalization(config.normalization, width),
            self._make_operator(config.reaction_coupling, width, bias=self._bias),
            make_normalization(config.normalization, width),
            config.activation,
            diffusion=config.diffusion,
            reaction=config.reaction,
        )

    def _make_operator(self, coupling: str, width: int, *, bias: bool) -> StencilOperator:
        config = self.config
        return make_operator(
            coupling,
            width,
            width,
            kernel_size=1 if coupling == "pointwise" else 3,
            groups=config.groups if coupling == "grouped" else 1,
            bias=bias,
            padding_mode=config.padding_mode,
            five_point=config.stencil == "five-point",
        )


def per_step(network: PDENet) -> PDENet:
    """The same map with weights of its own for every step in place of a basis in time.

    A network without a basis is returned as it is.
    """
    if network.config.weights_in_time not in BASES:
        return network
    copied = copy.deepcopy(network)
    copied.config = replace(network.config, weights_in_time="per-step", time_coefficients=2)
    for index, block in enumerate(network.blocks):
        assert isinstance(block, BasisBlock)
        copied.blocks[index] = block.per_step()
    return copied.train(network.training)
