"""Where and with which numerics a run computes: device, precision, memory."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from analysis.errors import InputError

CHANNELS_LAST_COUPLINGS = frozenset({"depthwise", "lean", "pointwise", "circulant"})
"""Couplings that train faster on the CPU in the channels-last layout.

There forward and backward take 0.4 to 0.6 of the time for depthwise operators, 0.7 to 0.9 for lean
and pointwise ones and 0.5 to 0.7 for circulant ones of 64 channels or more; full and grouped ones
are equal in both.
"""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def choose_device(name: str) -> torch.device:
    """Device of a run; ``auto`` is CUDA where there is one, otherwise the CPU.

    Raises:
        InputError: for a device this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(name, False):
        working = ", ".join(key for key, value in available.items() if value)
        raise InputError("a device of this machine", name, f"pass auto or one of: {working}")
    return torch.device(name)


@contextmanager
def reproducible_numerics() -> Iterator[None]:
    """Full float32 and fixed algorithms inside the block, the caller's settings after it.

    TF32 keeps ten bits of a product: it would hide the margin of a step limit. Benchmarked
    algorithm choice of cuDNN would make two runs of one seed differ.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, matmul.allow_tf32)
    cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = False, True, False
    matmul.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, matmul.allow_tf32 = before


SMALL_WORK = 2**28
"""Multiply-adds of a batch below which one CPU thread is faster than several."""


@contextmanager
def enough_threads(multiply_adds: int) -> Iterator[None]:
    """One CPU thread inside the block where the work of a batch is small, the caller's after it.

    Threads that wait for one another cost more than tiny tensors gain, and several times as much
    on a machine that is busy otherwise. The rule depends on the work alone, so that a seed
    reproduces.

    Args:
        multiply_adds: of one batch through the network.
    """
    before = torch.get_num_threads()
    if multiply_adds < SMALL_WORK:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_large_buffers() -> bool:
    """Let the C allocator keep large freed buffers instead of returning them to the system.

    glibc maps tensors above 32 MB afresh at every allocation, and the page faults cost
    depthwise and transform layers a factor of 3 to 5 on the CPU. Holds for the rest of the
    process; other C libraries are left alone.

    Returns:
        Whether the allocator took the settings.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - absent outside glibc
        # -1 is the largest threshold: freed memory is never trimmed.
        return bool(libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, -1))
    except (OSError, AttributeError, TypeError):
        return False


def memory_format(device: torch.device, coupling: str) -> torch.memory_format:
    """Memory layout in which a network of this coupling trains fastest."""
    if device.type == "cpu" and coupling in CHANNELS_LAST_COUPLINGS:
        return torch.channels_last
    return torch.contiguous_format
