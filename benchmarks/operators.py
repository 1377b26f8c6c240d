"""Every coupling beside torch.nn.Conv2d of the same width: forward, and forward with backward.

float32, zero padding, channels_last (the layout that training uses for convolutions on the CPU). A
ratio below one is faster than the dense convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from _common import Rows, interleaved, main
from torch import nn

from pdenet.operators.conv import OPERATORS, make_operator

LAYOUT = torch.channels_last


def rows(*, quick: bool = False, progress: Callable[[str], Any] = lambda text: None) -> Rows:
    """One row a coupling and width: milliseconds and ratios to nn.Conv2d."""
    cases = [(16, 8, 4)] if quick else [(32, 32, 32), (64, 16, 32), (128, 8, 32)]
    repeats = 3 if quick else 15
    found: Rows = []
    for channels, side, batch in cases:
        progress(f"{channels} channels, {side}x{side}, batch {batch}")
        layers: dict[str, nn.Module] = {"nn.Conv2d": nn.Conv2d(channels, channels, 3, padding=1)}
        for name in OPERATORS:
            groups = 4 if name == "grouped" else 1
            layers[name] = make_operator(name, channels, channels, groups=groups)
        torch.manual_seed(0)
        images = torch.randn(batch, channels, side, side).to(memory_format=LAYOUT)
        modules = {name: layer.to(memory_format=LAYOUT) for name, layer in layers.items()}
        forward = interleaved(
            {name: _forward(module, images) for name, module in modules.items()}, repeats
        )
        both = interleaved(
            {name: _with_backward(module, images) for name, module in modules.items()}, repeats
        )
        for name, module in modules.items():
            found.append(
                {
                    "coupling": name,
                    "size": f"{channels}x{side}x{side}",
                    "weights": sum(p.numel() for p in module.parameters()),
                    "forward_ms": 1e3 * forward[name],
                    "forward_ratio": forward[name] / forward["nn.Conv2d"],
                    "both_ms": 1e3 * both[name],
                    "both_ratio": both[name] / both["nn.Conv2d"],
                }
            )
    return found


def _forward(module: nn.Module, images: torch.Tensor) -> Callable[[], Any]:
    def run() -> None:
        with torch.no_grad():
            module(images)

    return run


def _with_backward(module: nn.Module, images: torch.Tensor) -> Callable[[], Any]:
    inputs = images.detach().clone(memory_format=torch.preserve_format).requires_grad_()

    def run() -> None:
        module.zero_grad()
        inputs.grad = None
        module(inputs).sum().backward()

    return run


if __name__ == "__main__":
    main("operators", rows)
