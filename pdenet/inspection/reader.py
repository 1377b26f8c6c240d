"""A trained network as a chain of layers, each with the features that reach it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pdenet.integrators.multistep import MultistepStepper
from pdenet.layers.block import Block
from pdenet.layers.connector import Connector
from pdenet.networks import PDENet, per_step

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of a network in inference mode, float64.

    Attributes:
        name: dotted name of the module.
        kind: ``opening``, ``step``, ``connector`` or ``classifier``.
        module: the module.
        apply: the map of the layer, images ``(B, C, H, W)`` to images or logits.
        features: what reaches it from the images given, ``(B, C, H, W)``; a step with weights
            shared in time has those of all its applications.
        applications: how often the layer acts.
    """

    name: str
    kind: str
    module: nn.Module
    apply: Map
    features: Tensor
    applications: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the features."""
        return int(self.features.shape[-2]), int(self.features.shape[-1])


def double_inference(network: PDENet) -> PDENet:
    """A copy in float64 and inference mode, on the CPU, without gradients of the weights.

    Weights that are functions of time become those of the steps they stand for.
    """
    double = per_step(copy.deepcopy(network).cpu().double().eval())
    return double.requires_grad_(False)


@torch.no_grad()
def read_layers(network: PDENet, images: Tensor) -> list[Layer]:
    """The layers of a network in the order they act.

    Args:
        network: as ``double_inference`` returns it.
        images: normalised float64 images ``(B, C, H, W)``.
    """
    layers = [Layer("opening", "opening", network.opening, network.opening, images)]
    y = network.opening(images)
    for index, (block, connector) in enumerate(
        zip(network.blocks, network.connectors, strict=True)
    ):
        assert isinstance(block, Block)
        assert isinstance(connector, Connector)
        layers += _steps_of(f"blocks.{index}", block, y)
        y = block(y)
        layers.append(Layer(f"connectors.{index}", "connector", connector, connector, y))
        y = connector(y)
    classify = layer_map(network, "classifier")
    layers.append(Layer("classifier", "classifier", network.classifier, classify, y))
    return layers


def _steps_of(name: str, block: Block, y: Tensor) -> list[Layer]:
    """The time steps of a block with the states that reach them.

    A multistep method is one layer: what it remembers between steps is no state.
    """
    if isinstance(block.first.stepper, MultistepStepper):
        return [Layer(name, "step", block, block, y)]
    inputs: list[list[Tensor]] = [[] for _ in block.steps]
    state = block.first.term.initial(y)
    for number, step in enumerate(block.sequence()):
        inputs[0 if block.shared else number].append(state)
        state = step(state)
    return [
        Layer(f"{name}.steps.{number}", "step", module, module, torch.cat(seen), len(seen))
        for number, (module, seen) in enumerate(zip(block.steps, inputs, strict=True))
    ]


def layer_map(network: PDENet, name: str) -> Map:
    """The map of a layer by its name; that of the classifier begins with the global average."""
    module = network.get_submodule(name)
    if name != "classifier":
        return module

    def classify(features: Tensor) -> Tensor:
        return module(features.mean(dim=(-2, -1)))

    return classify
