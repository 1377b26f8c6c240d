"""Every coupling beside torch.nn.Conv2d: forward, and forward with backward, on the CPU.

float32, zero padding, both memory layouts. `ratio` is to the dense convolution of the same width in
the same layout; `peer_ratio`, of forward with backward, to what PyTorch itself has for the
structure: grouped, depthwise and 1x1 convolutions, for lean the sum of the last two, for circulant
nothing but the dense one. Below one is faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from _common import Rows, interleaved, main
from torch import nn

from pdenet.operators.conv import OPERATORS, make_operator
from pdenet.training.device import keep_large_buffers

LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
GROUPS = 4


def rows(*, quick: bool = False, progress: Callable[[str], Any] = lambda text: None) -> Rows:
    """One row a coupling, size and layout: milliseconds and ratios."""
    keep_large_buffers()  # as training does
    cases = [(16, 8, 4)] if quick else [(32, 32, 32), (64, 16, 32), (128, 8, 32)]
    repeats = 3 if quick else 21
    found: Rows = []
    for channels, side, batch in cases:
        for layout, memory_format in LAYOUTS.items():
            progress(f"{channels} channels, {side}x{side}, batch {batch}, {layout}")
            torch.manual_seed(0)
            images = torch.randn(batch, channels, side, side).to(memory_format=memory_format)
            modules = {
                name: module.to(memory_format=memory_format)
                for name, module in _modules(channels).items()
            }
            forward = interleaved({n: _forward(m, images) for n, m in modules.items()}, repeats)
            both = interleaved({n: _with_backward(m, images) for n, m in modules.items()}, repeats)
            for name in ("nn.Conv2d", *OPERATORS):
                found.append(
                    {
                        "coupling": name,
                        "size": f"{channels}x{side}x{side}",
                        "layout": layout,
                        "forward_ms": 1e3 * forward[name],
                        "forward_ratio": forward[name] / forward["nn.Conv2d"],
                        "both_ms": 1e3 * both[name],
                        "both_ratio": both[name] / both["nn.Conv2d"],
                        "peer_ratio": both[name] / both.get(f"peer {name}", both["nn.Conv2d"]),
                    }
                )
    return found


def _modules(channels: int) -> dict[str, nn.Module]:
    """The dense convolution, the couplings, and what PyTorch has for some of them."""
    c = channels
    modules: dict[str, nn.Module] = {"nn.Conv2d": nn.Conv2d(c, c, 3, padding=1)}
    for name in OPERATORS:
        modules[name] = make_operator(name, c, c, groups=GROUPS if name == "grouped" else 1)
    modules["peer depthwise"] = nn.Conv2d(c, c, 3, padding=1, groups=c)
    modules["peer pointwise"] = nn.Conv2d(c, c, 1)
    modules["peer grouped"] = nn.Conv2d(c, c, 3, padding=1, groups=GROUPS)
    modules["peer lean"] = _Sum(c)
    return modules


class _Sum(nn.Module):
    """A 1x1 convolution plus a depthwise one, the lean coupling in PyTorch's own layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mixing = nn.Conv2d(channels, channels, 1)
        self.local = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.mixing(images) + self.local(images)


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
