"""Time and memory of modules in the better layout, and what the machine can do at most."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from _common import cpu_clock, interleaved
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

# The recorder's library says on standard error when it starts and stops.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
DIRECTIONS = ("forward", "forward and backward")
Found = tuple[dict[str, dict[str, tuple[float, str]]], dict[str, int]]


@dataclass(frozen=True)
class Roofline:
    """Attributes in operations and bytes a second; two operations are a multiply-add."""

    operations: float
    bytes_in_cache: float
    bytes_in_memory: float

    def least_seconds(self, multiply_adds: float, moved: float) -> float:
        """The least time of work that moves so many bytes, all of which fit the cache."""
        return max(2 * multiply_adds / self.operations, moved / self.bytes_in_cache)


def timed(
    work: Mapping[str, Callable[[], Any]], repeats: int, device: str, *, least: float = 0.02
) -> dict[str, float]:
    """Median seconds: processor time on one CPU thread, events on a GPU."""
    if device != "cuda":
        return interleaved(work, repeats, least=least, clock=cpu_clock())
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 2):
        for name, run in work.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(10):
                run()
            end.record()
            torch.cuda.synchronize()
            if turn >= 2:
                times[name].append(start.elapsed_time(end) / 1e4)
    return {name: sorted(values)[len(values) // 2] for name, values in times.items()}


def roofline(device: str, dtype: torch.dtype, *, quick: bool) -> Roofline:
    """The fastest of a matrix product and a convolution, and copies of small and large tensors."""
    n, large = (128, 2**18) if quick else (1024, 2**26)
    options: dict[str, Any] = {"device": device, "dtype": dtype}
    a, images = torch.randn(n, n, **options), torch.randn(16, n // 4, 8, 8, **options)
    images = images.to(memory_format=torch.channels_last)
    weight = torch.randn(n // 4, n // 4, 3, 3, **options)
    small, big = torch.zeros(2**17, **options), torch.zeros(large, **options)
    targets = torch.empty_like(small), torch.empty_like(big)
    work = {
        "product": lambda: a @ a,
        "convolution": lambda: functional.conv2d(images, weight, padding=1),
        "cache": lambda: targets[0].copy_(small),
        "memory": lambda: targets[1].copy_(big),
    }
    with torch.no_grad():
        times = timed(work, 3 if quick else 9, device)
    convolution = 2 * 16 * 64 * 9 * (n // 4) ** 2
    return Roofline(
        max(2 * n**3 / times["product"], convolution / times["convolution"]),
        2 * small.nbytes / times["cache"],
        2 * big.nbytes / times["memory"],
    )


def peak_bytes(run: Callable[[], Any], device: str = "cpu") -> int:
    """Most bytes that PyTorch holds at once for a piece of work, beside what there was before.

    On the CPU from the record of every allocation; what a library takes for itself is not in it.
    """
    run()
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return int(torch.cuda.max_memory_allocated() - before)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


@dataclass(frozen=True)
class Case:
    """Where and in which precision modules run."""

    device: str
    dtype: torch.dtype
    quick: bool

    @property
    def repeats(self) -> int:
        """Rounds of a comparison."""
        return 2 if self.quick else 15

    def measure(self, make: Callable[[], dict[str, nn.Module]], shape: tuple[int, ...]) -> Found:
        """Seconds of all modules in both directions and layouts, and the memory of each."""
        layouts = LAYOUTS if self.device == "cpu" else {"NHWC": torch.channels_last}
        runs: dict[str, dict[tuple[str, str], Callable[[], Any]]] = {d: {} for d in DIRECTIONS}
        for layout, memory_format in layouts.items():
            torch.manual_seed(0)
            for name, module in make().items():
                module.to(device=self.device, dtype=self.dtype, memory_format=memory_format)
                images = torch.randn(shape).to(
                    device=self.device, dtype=self.dtype, memory_format=memory_format
                )
                runs[DIRECTIONS[0]][name, layout] = _forward(module, images)
                runs[DIRECTIONS[1]][name, layout] = _with_backward(module, images)
        seconds = {d: timed(work, self.repeats, self.device) for d, work in runs.items()}
        best = {d: _best(times) for d, times in seconds.items()}
        both = DIRECTIONS[1]
        memory = {
            name: peak_bytes(runs[both][name, layout], self.device)
            for name, (_, layout) in best[both].items()
        }
        return best, memory


def _best(seconds: dict[tuple[str, str], float]) -> dict[str, tuple[float, str]]:
    """Least seconds of every module, and the layout that takes them."""
    best: dict[str, tuple[float, str]] = {}
    for (name, layout), value in seconds.items():
        best[name] = min(best.get(name, (float("inf"), "")), (value, layout))
    return best


def _forward(module: nn.Module, images: Tensor) -> Callable[[], Any]:
    def run() -> None:
        module.eval()
        with torch.no_grad():
            module(images)

    return run


def _with_backward(module: nn.Module, images: Tensor) -> Callable[[], Any]:
    inputs = images.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    gradient, wanted = torch.randn_like(images), [inputs, *module.parameters()]

    def run() -> None:
        module.train()
        torch.autograd.grad(module(inputs), wanted, gradient)

    return run
