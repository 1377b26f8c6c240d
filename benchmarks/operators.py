"""Every coupling beside torch.nn.Conv2d, and blocks of equal width beside one another.

Zero padding, float32 on one CPU thread after ``keep_large_buffers()`` as training has it, bfloat16
in the channels-last layout on a GPU. Everything runs in the better of both layouts for itself.
`times_faster` is the time of the full 3x3 convolution over that of the row, `fewer_operations` the
ratio of multiply-adds, the goal where both use the machine equally well, `of_1x1` the time of
PyTorch's 1x1 convolution over it, `memory` the most bytes held in forward and backward over those
of the full convolution, `of_bound` the least time that operations and bytes moved in the cache
allow over the time measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from _common import Rows, main, threads
from _operator_machine import DIRECTIONS, Case, Roofline, roofline
from _operator_peers import SumOfTwo, blocks
from torch import Tensor, nn

from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import make_operator
from pdenet.operators.solves.implicit import solve_implicit_diffusion, solve_multiply_adds
from pdenet.training.device import keep_large_buffers

GROUPS = 4
SIZES = [(64, 32, 8), (128, 16, 16), (256, 16, 8), (256, 8, 32), (512, 8, 32)]
"""Channels, side and batch: 2 MB of images each, 4 for the last."""
BLOCK_SIZES = [(64, 32, 8), (128, 16, 16), (256, 16, 8)]
OURS = ("full", "grouped", "lean", "lean five-point", "depthwise", "circulant", "pointwise")
IMPLICIT, FULL, ONE = "implicit depthwise", "nn.Conv2d 3x3", "nn.Conv2d 1x1"


class ImplicitDiffusion(nn.Module):
    """``(I + h D^T D)^{-1} y`` with a depthwise ``D``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        options: dict[str, Any] = {"bias": False, "padding_mode": "circular"}
        self.operator = make_operator("depthwise", channels, channels, **options)

    def forward(self, y: Tensor) -> Tensor:
        """One solve with ``h = 0.5``."""
        return solve_implicit_diffusion(self.operator, y, 0.5)


def modules(channels: int) -> dict[str, nn.Module]:
    """The convolutions of PyTorch, the couplings, and PyTorch's own sum for lean."""
    c = channels
    found: dict[str, nn.Module] = {
        FULL: nn.Conv2d(c, c, 3, padding=1, bias=False),
        ONE: nn.Conv2d(c, c, 1, bias=False),
        "1x1 + depthwise": SumOfTwo(c),
    }
    for name in OURS:
        coupling, _, five = name.partition(" ")
        groups = GROUPS if coupling == "grouped" else 1
        options: dict[str, Any] = {"groups": groups, "five_point": bool(five), "bias": False}
        found[name] = make_operator(coupling, c, c, **options)
    found[IMPLICIT] = ImplicitDiffusion(c)
    return found


def multiply_adds(module: nn.Module, side: int) -> float:
    """Of one image, forward."""
    if isinstance(module, StencilOperator):
        return module.multiply_adds(side, side)
    if isinstance(module, ImplicitDiffusion):
        return solve_multiply_adds(module.operator, side, side)
    return sum(p.numel() for p in module.parameters() if p.ndim > 1) * side * side


def rows(*, quick: bool = False, progress: Callable[[str], Any] = lambda text: None) -> Rows:
    """Tables of couplings, of blocks and of the machine, on the CPU and on a GPU where one is."""
    keep_large_buffers()
    found: Rows = []
    with threads(1):
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            case = Case(device, torch.bfloat16 if device == "cuda" else torch.float32, quick)
            progress(f"peak of the machine, {device}")
            bound = roofline(device, case.dtype, quick=quick)
            for channels, side, batch in [(16, 8, 4)] if quick else SIZES:
                progress(f"couplings of {channels} channels, {side} x {side}, {device}")
                found += _coupling_rows(case, channels, side, batch, bound)
            for channels, side, batch in [(16, 8, 4)] if quick else BLOCK_SIZES:
                progress(f"blocks of {channels} channels, {side} x {side}, {device}")
                found += _block_rows(case, channels, side, batch)
            found.append(_machine_row(bound, device))
    return sorted(found, key=lambda row: (row["device"], _ORDER.index(row["section"])))


_BLOCKS, _MACHINE = "blocks of equal width", "machine"
_ORDER = [*(f"couplings, {direction}" for direction in DIRECTIONS), _BLOCKS, _MACHINE]


def _machine_row(bound: Roofline, device: str) -> dict[str, Any]:
    return {
        "section": _MACHINE,
        "device": device,
        "gflop_per_s": bound.operations / 1e9,
        "gb_per_s_in_cache": bound.bytes_in_cache / 1e9,
        "gb_per_s_in_memory": bound.bytes_in_memory / 1e9,
    }


def _coupling_rows(case: Case, channels: int, side: int, batch: int, bound: Roofline) -> Rows:
    """One row a coupling and direction."""
    shape = (batch, channels, side, side)
    best, memory = case.measure(lambda: modules(channels), shape)
    size = torch.finfo(case.dtype).bits // 8
    image = batch * channels * side * side * size
    found: Rows = []
    for name, module in modules(channels).items():
        weights = sum(p.numel() for p in module.parameters()) * size
        operations = batch * multiply_adds(module, side)
        full = batch * 9 * channels**2 * side**2
        kept = 2 * image + weights, 2 * image + 9 * channels**2 * size
        for direction in DIRECTIONS:
            passes = 1 if direction == DIRECTIONS[0] else 3
            # Backward reads images and their gradient, and writes the gradient of the images.
            moved = (2 if passes == 1 else 5) * image + passes * weights
            seconds, layout = best[direction][name]
            found.append(
                {
                    "section": f"couplings, {direction}",
                    "device": case.device,
                    "coupling": name,
                    "size": f"{channels}x{side}x{side}x{batch}",
                    "layout": layout,
                    "ms": 1e3 * seconds,
                    "times_faster": best[direction][FULL][0] / seconds,
                    "fewer_operations": full / operations,
                    "of_1x1": best[direction][ONE][0] / seconds,
                    "memory": (kept[0] + memory[name]) / (kept[1] + memory[FULL]),
                    "of_bound": bound.least_seconds(passes * operations, moved) / seconds,
                }
            )
    return found


def _block_rows(case: Case, channels: int, side: int, batch: int) -> Rows:
    """One row a block."""
    best, memory = case.measure(lambda: blocks(channels), (batch, channels, side, side))
    first = next(iter(memory))
    rows: Rows = []
    for name, module in blocks(channels).items():
        forward, both = (best[direction][name] for direction in DIRECTIONS)
        faster = [best[d][first][0] / best[d][name][0] for d in DIRECTIONS]
        rows.append(
            {
                "section": _BLOCKS,
                "device": case.device,
                "block": name,
                "size": f"{channels}x{side}x{side}x{batch}",
                "weights": sum(p.numel() for p in module.parameters()),
                "forward_ms": 1e3 * forward[0],
                "faster": faster[0],
                "both_ms": 1e3 * both[0],
                "both_faster": faster[1],
                "memory": memory[name] / memory[first],
            }
        )
    return rows


if __name__ == "__main__":
    main("operators", rows)
