"""Weights as training leaves them: small networks on the digits, trained here and thrown away."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from pdenet.data.sources import load_data
from pdenet.networks import NetworkConfig
from pdenet.training.config import RunConfig, TrainingConfig, fit_to_data
from pdenet.training.loop import train

BLOCKS = ("residual", "parabolic")


@dataclass(frozen=True, eq=False)
class TrainedLayers:
    """The 3x3 kernels between the last width of a network and itself.

    Attributes:
        block: right-hand side of the network.
        layers: at the end of training, ``(c, c, 3, 3)`` in single precision.
        steps: one of them after every optimiser step.
    """

    block: str
    layers: list[np.ndarray]
    steps: list[np.ndarray]


def train_layers(block: str, channels: int, epochs: int) -> TrainedLayers:
    """Train full coupling on the digits from seed 0, in a folder that is removed again."""
    data = load_data("digits")
    network = NetworkConfig(widths=(16, channels), steps=2, block=block, coupling="full")
    training = TrainingConfig(data="digits", epochs=epochs, seed=0, device="cpu")
    config, shape = fit_to_data(RunConfig(network, training), data), (channels, channels, 3, 3)
    steps, layers = [], []

    def record(optimizer: torch.optim.Optimizer, *unused: Any) -> None:
        groups = optimizer.param_groups
        found = [p for group in groups for p in group["params"] if tuple(p.shape) == shape]
        layers[:] = found
        steps.append(found[0].detach().numpy().copy())

    hook = register_optimizer_step_post_hook(record)
    try:
        with tempfile.TemporaryDirectory() as folder:
            train(config, data, folder)
    finally:
        hook.remove()
    return TrainedLayers(block, [layer.detach().numpy().copy() for layer in layers], steps)
