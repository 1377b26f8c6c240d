"""All singular values: full coupling at many sizes, structured couplings, cost, distribution."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import _peers
import numpy as np
import torch
from _common import Rows, cpu_clock, interleaved
from _peers import Array

from analysis import backend, spectra
from analysis.backend import to_numpy
from analysis.certificates import certified_norm
from analysis.coupling import Coupling
from analysis.couplings import Circulant, Depthwise, Full, Grouped, Lean, Pointwise
from analysis.distribution import estimate_singular_values, kolmogorov_distance
from analysis.grid import Grid
from analysis.spectra import SymbolValues, symbol_values

LARGE = 1e-3
"""Share of the norm above which the accuracy ``norm`` promises its digits."""
TURN = 0.02
"""Seconds a candidate has at least in a round."""
COMPUTES = (("float64", "values"), ("float64", "norm"), ("float32", "norm"))
COST = {
    "full": "c^3 n^2",
    "depthwise": "c n^2",
    "pointwise": "c^3",
    "lean": "c^3 n^2",
    "circulant": "c log c n^2",
    "grouped": "c^3 n^2 / g^2",
}


def full_weight(channels: int, seed: int = 0) -> np.ndarray:
    """Random dense 3x3 weights that single precision holds, in double."""
    weight = np.random.default_rng(seed).standard_normal((channels, channels, 3, 3)) / channels
    return weight.astype(np.float32).astype(float)


def couplings(channels: int) -> dict[str, Coupling]:
    """One operator of every structure, random weights."""
    rng, c = np.random.default_rng(0), channels
    centreless = rng.standard_normal((c, 3, 3))
    centreless[:, 1, 1] = 0
    return {
        "full": Full(rng.standard_normal((c, c, 3, 3)) / c),
        "depthwise": Depthwise(rng.standard_normal((c, 3, 3))),
        "pointwise": Pointwise(rng.standard_normal((c, c)) / c),
        "lean": Lean(rng.standard_normal((c, c)) / c, centreless),
        "circulant": Circulant(rng.standard_normal((c, 3, 3)) / c),
        "grouped": Grouped(rng.standard_normal((c, c // 4, 3, 3)) / c, 4),
    }


def on(device: str, weight: np.ndarray, precision: str = "float64") -> Array:
    """The weights in NumPy for ``cpu``, as a tensor for any other device (``cpu:0`` too)."""
    if device == "cpu":
        return weight.astype(precision)
    return torch.as_tensor(weight, dtype=getattr(torch, precision), device=device)


def timed(
    work: Mapping[str, Callable[[], Any]], repeats: int, device: str = "cpu", warm: int = 2
) -> dict[str, float]:
    """``interleaved``, in processor time where one thread works, the end of other work awaited."""
    if device == "cpu":
        return interleaved(work, repeats, warm=warm, least=TURN, clock=cpu_clock())

    def awaited(run: Callable[[], Any]) -> None:
        run()
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize()

    work = {name: partial(awaited, run) for name, run in work.items()}
    return interleaved(work, repeats, warm=warm, least=TURN)


@contextmanager
def lapack_alone() -> Iterator[None]:
    """No eigenvalues by vector lanes."""
    before = backend._LANES_FROM
    backend._LANES_FROM = math.inf  # type: ignore[assignment]
    try:
        yield
    finally:
        backend._LANES_FROM = before


def full_rows(channels: int, side: int, repeats: int, count: int, device: str = "cpu") -> Rows:
    """Values of the full coupling beside decompositions of all frequencies and of half.

    `count` frequencies are decomposed by the peers and scaled to all where there are more. The rows
    of LAPACK say what halves of frequencies and eigenvalues in place of singular values give alone.
    """
    weight, grid = full_weight(channels), Grid((side, side))
    numbers = _peers.sample(side, count)
    matrices = _peers.symbol(on(device, weight), side).reshape(-1, channels, channels)
    matrices = matrices[numbers] if len(numbers) < side**2 else matrices
    single = torch.as_tensor(matrices).to(torch.complex64)
    ours = {
        (precision, accuracy): partial(
            symbol_values, Full(on(device, weight, precision)), grid, accuracy=accuracy
        )
        for precision, accuracy in COMPUTES
    }
    work: dict[str, Callable[[], Any]] = {
        "fft": partial(_peers.symbol, on(device, weight), side),
        "rfft": partial(_peers.symbol, on(device, weight), side, half=True),
        "svd": partial(_peers.decomposed, matrices),
        "svd in float32": partial(_peers.decomposed, single),
        **{" ".join(key): run for key, run in ours.items()},
    }
    if device == "cpu":
        work |= _lapack_work(weight, numbers, matrices, ours)
    seconds = timed(work, repeats, device, warm=1 if channels > 64 else 2)
    share, half = len(numbers) / side**2, side * (side // 2 + 1) / side**2
    peers = {
        "FFT+SVD": seconds["fft"] + seconds["svd"] / share,
        "half of it": seconds["rfft"] + seconds["svd"] * half / share,
        "half, single": seconds["rfft"] + seconds["svd in float32"] * half / share,
    }
    truth = to_numpy(_peers.decomposed(matrices))
    found: Rows = []
    for key, run in ours.items():
        errors = _errors(run(), side, numbers, truth)
        for peer, peer_seconds in peers.items():
            if (peer == "half, single") <= (key[0] == "float32"):
                found.append(
                    {
                        "section": f"all singular values, full coupling, {channels} channels",
                        "coupling": "full",
                        "size": f"{channels}x{side}x{side}",
                        "computes": " ".join(key),
                        "peer": peer,
                        **_ratio(seconds[" ".join(key)], peer_seconds),
                        **errors,
                        "timed_share": share,
                    }
                )
    if device == "cpu":
        found += _lapack_rows(channels, side, seconds, peers["FFT+SVD"], share)
    return found


def _ratio(ours: float, peer: float) -> dict[str, float]:
    return {"ours_ms": 1e3 * ours, "peer_ms": 1e3 * peer, "times_faster": peer / ours}


def _lapack_work(
    weight: np.ndarray, numbers: np.ndarray, matrices: np.ndarray, ours: Mapping[Any, Any]
) -> dict[str, Callable[[], Any]]:
    grams = np.conj(matrices.swapaxes(-1, -2)) @ matrices

    def alone(run: Callable[[], Any]) -> Any:
        with lapack_alone():
            return run()

    return {
        "eigenvalues": lambda: alone(lambda: backend.eigvalsh(grams.copy())),
        **{f"lapack {' '.join(key)}": partial(alone, run) for key, run in ours.items()},
    }


def _lapack_rows(
    channels: int, side: int, seconds: Mapping[str, float], peer: float, share: float
) -> Rows:
    """Ratios to FFT+SVD without vector lanes, and the ceiling of that."""
    kept = len(Grid((side, side)).half_frequencies()[0]) / side**2
    return [
        {
            "section": "the same without vector lanes: LAPACK alone",
            "coupling": "full",
            "size": f"{channels}x{side}x{side}",
            "computes": " ".join(key),
            "peer": "FFT+SVD",
            **_ratio(seconds[f"lapack {' '.join(key)}"], peer),
            "with_lanes": peer / seconds[" ".join(key)],
            "lapack_ceiling": seconds["svd"] / (kept * seconds["eigenvalues"]),
            "timed_share": share,
        }
        for key in COMPUTES
    ]


def _errors(
    found: SymbolValues, side: int, numbers: np.ndarray, truth: np.ndarray
) -> dict[str, float]:
    """Largest differences at the frequencies `numbers`, relative to the norm: all, large values."""
    place = np.rint(found.frequencies * side / (2 * np.pi)).astype(int)
    rows = np.zeros(side**2, dtype=int)
    for sign in (-1, 1):  # mirror images share their values
        at = sign * place % side
        rows[at[:, 0] * side + at[:, 1]] = np.arange(len(place))
    values = np.sort(to_numpy(found.values)[rows[numbers]], axis=1)
    truth = np.sort(truth, axis=1)
    difference = np.abs(values - truth) / truth.max()
    return {
        "error": float(difference.max()),
        "error_large": float(difference[truth > LARGE * truth.max()].max()),
    }


def structured_rows(channels: int, side: int, repeats: int, device: str = "cpu") -> Rows:
    """Every structure beside FFT+SVD of its dense weight: all values, and the certified norm."""
    grid, found = Grid((side, side)), []
    for name, coupling in couplings(channels).items():
        arrays = {key: on(device, array) for key, array in coupling._arrays().items()}
        moved = replace(coupling, **arrays)
        dense = on(device, np.asarray(coupling.dense_weight()))
        work = {
            "FFT+SVD": partial(_peers.fft_svd, dense, side),
            "values": partial(symbol_values, moved, grid),
            "norm": partial(certified_norm, moved),
        }
        seconds = timed(work, repeats, device)
        truth = np.sort(to_numpy(_peers.fft_svd(dense, side)).ravel())
        ours = np.sort(to_numpy(spectra.singular_values(moved, grid)))
        bound = certified_norm(moved)
        errors = {
            "values": float(np.abs(ours - truth).max() / truth[-1]),
            "norm": bound.upper / bound.lower - 1,
        }
        found += [
            {
                "section": "structured couplings: values, and certified norms to 1 %",
                "coupling": name,
                "size": f"{channels}x{side}x{side}",
                "computes": what,
                "peer": "FFT+SVD",
                **_ratio(seconds[what], seconds["FFT+SVD"]),
                "error": error,
            }
            for what, error in errors.items()
        ]
    return found


def cost_rows(channels: Sequence[int], sides: Sequence[int], repeats: int) -> Rows:
    """Measured exponents in channels and in pixels an axis beside those of the theory.

    Channels vary at the middle side, sides at the second number of channels.
    """
    side, some = sides[len(sides) // 2], channels[1]
    sizes = [(c, side) for c in channels] + [(some, n) for n in sides if n != side]
    found: Rows = []
    for name in COST:
        work: dict[str, Callable[[], Any]] = {}
        for c, n in sizes:
            coupling = couplings(c)[name]
            work[f"values {c} {n}"] = partial(symbol_values, coupling, Grid((n, n)))
            if n == side:
                work[f"norm {c} {n}"] = partial(certified_norm, coupling)
        seconds = timed(work, repeats, warm=1)
        for what in ("values", "norm"):
            by_channels = [seconds[f"{what} {c} {side}"] for c in channels]
            row = {
                "section": "cost: exponents of c and n",
                "coupling": name,
                "computes": what,
                "theory": COST[name] if what == "values" else "no n",
                "exponent_c": _slope(channels, by_channels),
                "last_octave_c": _slope(channels[-2:], by_channels[-2:]),
                "exponent_n": None,
            }
            if what == "values":
                row["exponent_n"] = _slope(sides, [seconds[f"values {some} {n}"] for n in sides])
            found.append(row)
    return found


def _slope(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def distribution_rows(channels: int, side: int, repeats: int, count: int) -> Rows:
    """A distribution of all values from few frequencies beside FFT+SVD of all, and its distance."""
    weight, grid = full_weight(channels), Grid((side, side))
    numbers = _peers.sample(side, count)
    matrices = _peers.symbol(weight, side).reshape(-1, channels, channels)[numbers]
    run = partial(estimate_singular_values, Full(weight), grid)
    work = {
        "svd": partial(_peers.decomposed, matrices),
        "ours": run,
        "all": partial(symbol_values, Full(weight), grid, accuracy="norm"),
    }
    seconds = timed(work, repeats, warm=1)
    # The transform of all frequencies takes gigabytes: once is enough.
    seconds |= timed({"fft": partial(_peers.symbol, weight, side)}, 1, warm=0)
    share = len(numbers) / side**2
    found = run()
    truth = symbol_values(Full(weight), grid, accuracy="norm").sorted()
    distance = kolmogorov_distance(found.values, to_numpy(truth))
    peers = {"FFT+SVD": seconds["fft"] + seconds["svd"] / share, "our values": seconds["all"]}
    return [
        {
            "section": "distribution of the values from few frequencies",
            "coupling": "full",
            "size": f"{channels}x{side}x{side}",
            "peer": peer,
            **_ratio(seconds["ours"], peer_seconds),
            "grid": "x".join(map(str, found.shape)),
            "distance": distance,
            "stated_distance": found.distance,
            "timed_share": share if peer == "FFT+SVD" else 1.0,
        }
        for peer, peer_seconds in peers.items()
    ]
