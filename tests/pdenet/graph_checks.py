"""What every network must show beyond eager float64: compiled, exported, autocast, in ONNX.

Each check returns the sentences of its faults. Shared by the tests and by the evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from analysis.errors import InputError
from pdenet.export import INPUT, export_program, to_onnx
from pdenet.network_config import NetworkConfig
from tests.pdenet.combinations import images, network

SINGLE = torch.float32
PIXELS = tuple[int, int]


def values_and_gradients(call: Callable[[Tensor], Tensor], model: nn.Module, x: Tensor) -> Tensor:
    """Output and the gradients of its squares in images and weights, one vector."""
    model.zero_grad()
    at = x.clone().requires_grad_()
    out = call(at)
    out.float().square().sum().backward()
    parts = [out, at.grad, *(p.grad for p in model.parameters())]
    return torch.cat([p.detach().float().flatten() for p in parts if p is not None])


def relative(found: Tensor, expected: Tensor) -> float:
    """``|a - b| / |b|``; infinite where shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).norm() / expected.norm())


def compile_faults(config: NetworkConfig, size: PIXELS) -> list[str]:
    """One graph without breaks gives the same values and gradients (traced, not generated)."""
    model = network(config, dtype=SINGLE)
    x = images(config.in_channels, size, dtype=SINGLE)
    expected = values_and_gradients(model, model, x)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    error = relative(values_and_gradients(compiled, model, x), expected)
    return [] if error < 1e-4 else [f"compiled: deviates by {error:.1e}"]


def export_faults(config: NetworkConfig, size: PIXELS) -> list[str]:
    """The exported program gives the same values for batches of other sizes."""
    model = network(config, dtype=SINGLE)
    program = export_program(model, (config.in_channels, *size)).module()
    faults = []
    for batch in (1, 5):
        x = images(config.in_channels, size, batch=batch, dtype=SINGLE)
        with torch.no_grad():
            error = relative(program(x), model(x))
        if not error < 1e-4:
            faults.append(f"exported: deviates by {error:.1e} for a batch of {batch}")
    return faults


PRECISE = ("_fft", "fft_", "linalg", "cholesky", "triangular", "eigh", "implicit", "proximal")
"""Parts of the names of operations that have no lower precision than float32."""


class Precisions(TorchDispatchMode):
    """Records the types of numbers of operations that must be precise."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, torch.dtype]] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        name = str(function)
        if any(part in name for part in PRECISE):
            for leaf in tree_leaves((args, kwargs)):
                if isinstance(leaf, Tensor) and (leaf.is_floating_point() or leaf.is_complex()):
                    self.seen.add((name, leaf.dtype))
        return function(*args, **(kwargs or {}))


def autocast_faults(config: NetworkConfig, size: PIXELS) -> list[str]:
    """Values in bfloat16 are near; transforms and solves run in float32, forward and backward."""
    model = network(config, dtype=SINGLE)
    x = images(config.in_channels, size, dtype=SINGLE)
    with torch.no_grad():
        expected = model(x)
    with Precisions() as precisions, torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(x)
        found.float().square().sum().backward()
    faults = []
    if found.dtype != torch.bfloat16:
        faults.append(f"autocast: the result is {found.dtype}")
    error = relative(found.detach().float(), expected)
    if not error < 0.05:
        faults.append(f"autocast: deviates by {error:.1e}")
    if not all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters()):
        faults.append("autocast: a gradient is not finite")
    low = {one for one in precisions.seen if one[1] not in (torch.float32, torch.complex64)}
    return [*faults, *(f"autocast: {name} in {dtype}" for name, dtype in sorted(low, key=str))]


def has_iteration(config: NetworkConfig) -> bool:
    """Whether a step iterates, by the rule in words: implicit, and nonlinear or with an edge."""
    step = next(iter(network(config).time_steps()))[1]
    if step.family not in ("implicit", "implicit-explicit"):
        return False
    return config.diffusion == "nonlinear" or (
        config.padding_mode != "circular" and config.coupling != "pointwise"
    )


def onnx_faults(config: NetworkConfig, size: PIXELS, folder: Path) -> list[str]:
    """A file that runs for another batch, or the reason where the network iterates."""
    model = network(config, dtype=SINGLE)
    file = folder / "network.onnx"
    try:
        written = to_onnx(model, file, (config.in_channels, *size), tolerance=1e-4)
    except InputError as error:
        refused = "without iterative solves" in str(error)
        return [] if refused and has_iteration(config) else [f"ONNX: {error}"]
    if has_iteration(config):
        return ["ONNX: a network that iterates is not refused"]
    x = images(config.in_channels, size, batch=1, dtype=SINGLE)
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        error = relative(torch.from_numpy(session.run(None, {INPUT: x.numpy()})[0]), model(x))
    written.path.unlink()
    return [] if error < 1e-4 else [f"ONNX: deviates by {error:.1e}"]
