"""Seconds of a training step of the same parabolic network with each coupling.

Forward, loss, backward and SGD step on random images of the size of CIFAR-10, float32, ratios to
the full coupling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from _common import Rows, interleaved, main
from torch.nn import functional

from pdenet.networks import NetworkConfig, PDENet
from pdenet.operators.conv import OPERATORS


def rows(*, quick: bool = False, progress: Callable[[str], Any] = lambda text: None) -> Rows:
    """One row a coupling: weights, milliseconds a step, ratio to full."""
    widths, batch, side, repeats = ((8, 8), 4, 8, 2) if quick else ((32, 64, 112), 64, 32, 5)
    steps, networks = {}, {}
    for name in OPERATORS:
        torch.manual_seed(0)
        config = NetworkConfig(in_channels=3, widths=widths, coupling=name, step_size=0.1)
        networks[name] = PDENet(config).to(memory_format=torch.channels_last)
        steps[name] = _step(networks[name], batch, side)
    progress(f"{repeats} rounds of {len(steps)} networks")
    seconds = interleaved(steps, repeats)
    return [
        {
            "coupling": name,
            "weights": networks[name].weights,
            "multiply_adds": networks[name].multiply_adds(side, side),
            "step_ms": 1e3 * seconds[name],
            "images_per_second": batch / seconds[name],
            "ratio": seconds[name] / seconds["full"],
        }
        for name in OPERATORS
    ]


def _step(network: PDENet, batch: int, side: int) -> Callable[[], Any]:
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    images = torch.randn(batch, 3, side, side).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))

    def run() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    return run


if __name__ == "__main__":
    main("training", rows)
