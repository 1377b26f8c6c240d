"""Seconds of a training step of the same parabolic network with each coupling, on the CPU.

Forward, loss, backward and SGD step on random images of the size of CIFAR-10, float32, in the
layout that `pdenet train` chooses and in the other. `ratio` is to the full coupling in the chosen
layout. The row `plain torch` is the full network written with functions of PyTorch alone, on the
same weights: its ratio says what our modules cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from _common import Rows, interleaved, main
from torch import nn
from torch.nn import functional

from pdenet.networks import NetworkConfig, PDENet
from pdenet.operators.conv import OPERATORS
from pdenet.training.device import keep_large_buffers, memory_format

LAYOUTS = {torch.contiguous_format: "NCHW", torch.channels_last: "NHWC"}
PLAIN = "plain torch"


def rows(*, quick: bool = False, progress: Callable[[str], Any] = lambda text: None) -> Rows:
    """One row a coupling and layout: weights, milliseconds a step, ratio to full."""
    keep_large_buffers()  # as training does
    widths, batch, side, repeats = ((8, 8), 4, 8, 2) if quick else ((32, 64, 112), 64, 32, 7)
    steps, networks = {}, {}
    for name in (*OPERATORS, PLAIN):
        for layout in LAYOUTS:
            coupling = "full" if name == PLAIN else name
            torch.manual_seed(0)
            config = NetworkConfig(in_channels=3, widths=widths, coupling=coupling, step_size=0.1)
            network = PDENet(config).to(memory_format=layout)
            networks[name] = network
            forward = _plain(network) if name == PLAIN else network
            steps[name, layout] = _step(network, forward, batch, side, layout)
    progress(f"{repeats} rounds of {len(steps)} networks")
    seconds = interleaved({f"{name} {layout}": s for (name, layout), s in steps.items()}, repeats)
    cpu = torch.device("cpu")
    full = seconds[f"full {memory_format(cpu, 'full')}"]
    return [
        {
            "coupling": name,
            "layout": LAYOUTS[layout],
            "chosen": layout is memory_format(cpu, "full" if name == PLAIN else name),
            "weights": networks[name].weights,
            "multiply_adds": networks[name].multiply_adds(side, side),
            "step_ms": 1e3 * seconds[f"{name} {layout}"],
            "ratio": seconds[f"{name} {layout}"] / full,
        }
        for name, layout in steps
    ]


def _step(
    network: PDENet,
    forward: Callable[[torch.Tensor], torch.Tensor],
    batch: int,
    side: int,
    layout: torch.memory_format,
) -> Callable[[], Any]:
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    images = torch.randn(batch, 3, side, side).to(memory_format=layout)
    labels = torch.randint(0, 10, (batch,))

    def run() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(forward(images), labels).backward()
        optimizer.step()

    return run


def _plain(network: PDENet) -> Callable[[torch.Tensor], torch.Tensor]:
    """The same function of a full parabolic network with Euler steps, in PyTorch's own words."""
    opening, step_size = network.opening, network.config.step_size

    def layer(connector: Any, y: torch.Tensor) -> torch.Tensor:
        weight = connector.operator.weight
        y = functional.conv2d(y, weight, padding=weight.shape[-1] // 2)
        y = functional.relu(connector.normalization(y))
        return y if isinstance(connector.pooling, nn.Identity) else functional.avg_pool2d(y, 2)

    def forward(images: torch.Tensor) -> torch.Tensor:
        y = layer(opening, images)
        for block, connector in zip(network.blocks, network.connectors, strict=True):
            for step in block.steps:
                weight = step.term.operator.weight
                z = step.term.normalization(functional.conv2d(y, weight, padding=1))
                y = y - step_size * functional.conv_transpose2d(
                    functional.relu(z), weight, padding=1
                )
            y = layer(connector, y)
        return network.classifier(y.mean(dim=(-2, -1)))

    return forward


if __name__ == "__main__":
    main("training", rows)
