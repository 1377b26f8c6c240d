"""Norms: certificates beside other norms, their memory, and norms that follow a training run."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import _peers
import numpy as np
import torch
from _common import Rows, cpu_clock
from _peers import WarmPower
from _spectra_values import _ratio, full_weight, on, timed
from _training_run import TrainedLayers

from analysis import spectra
from analysis.certificates import certified_norm
from analysis.couplings import Full
from analysis.grid import Grid
from analysis.spectra import symbol_values
from pdenet.operators.norm import NormBound
from pdenet.operators.norm_estimate import NormEstimate
from pdenet.training.constraints import DRIFT

WIDTH = 1e-3
SHORTFALL = 1e-4
"""By which an estimate may stay below the norm, relative."""

Peers = dict[str, Callable[[], Any]]


def certified_rows(
    layers: Mapping[str, Sequence[np.ndarray]],
    side: int,
    repeats: int,
    *,
    count: int,
    warm: int = 1,
    device: str = "cpu",
    slow: bool = True,
) -> Rows:
    """Certified norms of every set of layers to ``WIDTH`` beside other norms, times of all summed.

    Errors are relative to the supremum over all frequencies, which is what is certified: a norm of
    one image size, and the more one with zero padding, is below it however long a peer works. Ours
    is the width of the interval. `slow` says whether ARPACK takes part.
    """
    found: Rows = []
    for name, weights in layers.items():
        sums: dict[str, list[float]] = {}
        errors: dict[str, list[float]] = {}
        for weight in weights:
            seconds, ends = _certified(weight, side, repeats, count, warm, device, slow)
            for peer, value in seconds.items():
                sums.setdefault(peer, []).append(value)
                errors.setdefault(peer, []).append(ends[peer])
        ours = float(np.mean(sums.pop("ours")))
        for peer, values in sums.items():
            found.append(
                {
                    "section": f"certified norm, width {WIDTH:g}, n = {side}",
                    "coupling": "full",
                    "weights": name,
                    "peer": peer,
                    **_ratio(ours, float(np.mean(values))),
                    "peer_error": max(errors[peer], key=abs),
                    "width": max(errors["ours"]),
                    "timed_share": min(1.0, count / side**2) if peer == "FFT+SVD" else 1.0,
                }
            )
    return found


def _certified(
    weight: np.ndarray, side: int, repeats: int, count: int, warm: int, device: str, slow: bool
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and relative errors by peer for one layer."""
    double, operator = on(device, weight), Full(on(device, weight))
    tensor = torch.as_tensor(weight, dtype=torch.float32, device=device)
    numbers = _peers.sample(side, count)
    matrices = _peers.symbol(double, side).reshape(-1, *weight.shape[:2])[numbers]
    work: Peers = {
        "ours": partial(certified_norm, operator, relative_width=WIDTH),
        "fft": partial(_peers.symbol, double, side),
        "svd": partial(_peers.decomposed, matrices),
        "Gram iteration": partial(_peers.gram_iteration, double, side),
        "Gram, float32": partial(_peers.gram_iteration, tensor, side),
        "power iteration": partial(_peers.power_iteration, tensor, side),
    }
    if device == "cpu":
        work["spectral_norm"] = partial(_peers.reshaped_norm, tensor)
        if slow:
            work["svds"] = partial(_peers.lanczos, weight.astype(float), side)
    results: dict[str, Any] = {}

    def kept(name: str) -> None:
        results[name] = work[name]()

    seconds = timed({name: partial(kept, name) for name in work}, repeats, device, warm)
    decomposing = seconds.pop("fft") + seconds.pop("svd") * side**2 / len(numbers)
    seconds = {"FFT+SVD": decomposing, **seconds}
    certificate = results.pop("ours")
    # Of a sample the largest says little: the largest on the grid is found by our search.
    whole = float(results.pop("svd").max()) if len(numbers) == side**2 else None
    results["FFT+SVD"] = whole or spectra.norm(operator, Grid((side, side))).lower
    results["power iteration"] = results["power iteration"][0]
    truth = certified_norm(operator, relative_width=1e-6).lower
    errors = {name: results[name] / truth - 1 for name in seconds if name != "ours"}
    return seconds, errors | {"ours": certificate.upper / certificate.lower - 1}


def memory_rows(sizes: Sequence[tuple[str, int, int]]) -> Rows:
    """Peak of what NumPy holds beside the weights, MB, by ``tracemalloc``.

    16.8 of it are asked for at the start, never touched and given back, so that the C library keeps
    what is freed later (``analysis.backend.retain_freed_memory``).

    Sizes are `norm` or `values`, channels and pixels an axis. The peer is what FFT+SVD holds: the
    matrices of all frequencies.
    """
    found: Rows = []
    for what, channels, side in sizes:
        coupling = Full(full_weight(channels))
        run: Callable[[], Any] = partial(certified_norm, coupling, relative_width=WIDTH)
        if what == "values":
            run = partial(symbol_values, coupling, Grid((side, side)))
        peak, peer = peak_bytes(run), 16 * side**2 * channels**2
        found.append(
            {
                "section": "peak memory",
                "coupling": "full",
                "size": f"{channels}x{side}x{side}",
                "computes": what,
                "peer": "FFT+SVD",
                "ours_mb": peak / 1e6,
                "peer_mb": peer / 1e6,
                "times_less": peer / peak,
            }
        )
    return found


def peak_bytes(run: Callable[[], Any]) -> int:
    """Most bytes held at a time while something runs."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def estimate_rows(run: TrainedLayers, side: int, decompositions: int) -> Rows:
    """An estimate with its gradient in every step of a training run, and a bound that follows it.

    All candidates see the same recorded weights, in turns. FFT+SVD with its gradient, which has no
    memory of the last step, is timed in a few of them. The bound is renewed as the constraint of
    training does, where it has drifted by ``DRIFT``.
    """
    estimate, bound = NormEstimate(), NormBound()
    warm, scaling = WarmPower(torch.from_numpy(run.steps[0]), side), np.ones(len(run.steps[0]))
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", "power", "svd", "bound")}
    values: dict[str, list[float]] = {name: [] for name in ("ours", "power", "bound", "truth")}
    renewals, every, clock = 0, max(1, len(run.steps) // decompositions), cpu_clock()

    def follow(coupling: Full) -> float:
        nonlocal renewals
        value = bound.bound(coupling, scaling)
        if value > (1 + DRIFT) * bound.certified:
            value, renewals = bound.renew(coupling, scaling), renewals + 1
        return value

    for step, weight in enumerate(run.steps):
        leaf = torch.from_numpy(weight).requires_grad_()
        work: Peers = {
            "ours": lambda leaf=leaf: _with_gradient(estimate(Full(leaf))),
            "power": lambda leaf=leaf: _with_gradient(warm(leaf)),
            "bound": lambda leaf=leaf: follow(Full(leaf)),
        }
        if step == 0:
            bound.certify(Full(leaf), scaling)
        if step % every == every // 2:
            work["svd"] = lambda leaf=leaf: _with_gradient(_peers.svd_norm(leaf, side))
        names = list(work)
        for name in names[step % len(names) :] + names[: step % len(names)]:
            started = clock()
            value = work[name]()
            seconds[name].append(clock() - started)
            values.setdefault(name, []).append(value)
        truth = certified_norm(Full(weight), relative_width=1e-5)
        values["truth"].append(truth.lower)
    mean = {name: float(np.mean(some)) for name, some in seconds.items()}
    truth_of, ours = np.array(values["truth"]), np.array(values["ours"])
    shortfall = 1 - ours / truth_of
    over = np.array(values["bound"]) / truth_of
    common = {"coupling": "full", "weights": run.block, "steps": len(run.steps)}
    accuracy = {
        "shortfall": float(shortfall.max()),
        "share_short": float(np.mean(shortfall > SHORTFALL)),
        "lost": int(estimate.lost),
    }
    return [
        *(
            {
                "section": f"norm estimate with gradient, mean over a training run, n = {side}",
                **common,
                "peer": peer,
                **_ratio(mean["ours"], mean[name]),
                **accuracy,
            }
            for peer, name in (("FFT+SVD", "svd"), ("one power iteration", "power"))
        ),
        {
            "section": "norm bound over a training run",
            **common,
            "peer": "the norm",
            "ours_ms": 1e3 * mean["bound"],
            "least_ratio": float(over.min()),
            "largest_ratio": float(over.max()),
            "renewals": renewals,
        },
    ]


def _with_gradient(value: torch.Tensor) -> float:
    value.backward()
    return float(value.detach())
