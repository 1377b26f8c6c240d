"""Convolution operators built a second way: plain loops, np.pad and np.fft, nothing of analysis.

Random operators of every coupling come from here too.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import linear_sum_assignment, minimize

from analysis.couplings import COUPLINGS, Circulant, Depthwise, Full, Grouped, Lean, Pointwise

PAD_MODE = {"periodic": "wrap", "zeros": "constant", "reflect": "reflect", "replicate": "edge"}
"""What ``numpy.pad`` calls the boundaries."""


def random_coupling(
    kind: str,
    channels: tuple[int, int],
    kernel_shape: tuple[int, ...],
    rng: np.random.Generator,
    *,
    stride: int = 1,
    five_point: bool = False,
    even: bool = False,
):
    """Normal random weights; ``even`` makes every stencil even in each axis."""
    c_out, c_in = channels

    def stencils(*leading: int) -> np.ndarray:
        values = rng.standard_normal((*leading, *kernel_shape))
        if five_point:
            for tap in itertools.product(*map(range, kernel_shape)):
                if sum(t != k // 2 for t, k in zip(tap, kernel_shape, strict=True)) > 1:
                    values[(..., *tap)] = 0
        if even:
            for axis in range(-len(kernel_shape), 0):
                values = (values + np.flip(values, axis)) / 2
        return values

    options = {"stride": stride, "five_point": five_point}
    if kind == "full":
        return Full(stencils(c_out, c_in), **options)
    if kind == "depthwise":
        return Depthwise(stencils(c_out), **options)
    if kind == "pointwise":
        matrix = rng.standard_normal(channels)
        return Pointwise(matrix, spatial_axes=len(kernel_shape), **options)
    if kind == "lean":
        off_centre = stencils(min(channels))
        off_centre[(slice(None), *(k // 2 for k in kernel_shape))] = 0
        return Lean(rng.standard_normal(channels), off_centre, **options)
    if kind == "circulant":
        return Circulant(stencils(max(channels)), shape=channels, **options)
    return Grouped(stencils(c_out, c_in // 2), groups=2, **options)


def cases(kinds=tuple(COUPLINGS)) -> list[tuple[str, tuple[int, int], tuple[int, ...], int, bool]]:
    """``(kind, channels, kernel_shape, stride, five_point)`` of every combination that exists."""
    # Two dimensions whole; one and three, where only the number of axes differs, by examples.
    planned = [
        (2, c, s, f) for c in ((3, 3), (2, 4), (4, 2)) for s in (1, 2) for f in (False, True)
    ]
    planned += [(1, (3, 3), 1, False), (1, (2, 4), 2, False), (1, (4, 2), 1, False)]
    planned += [(3, (3, 3), 1, True), (3, (2, 4), 1, False), (3, (4, 2), 2, False)]
    found = []
    for kind, (dimension, channels, stride, five) in itertools.product(kinds, planned):
        if kind == "depthwise" and channels != (3, 3):
            continue
        if kind == "grouped" and channels == (3, 3):
            channels = (4, 4)
        if five and (kind == "pointwise" or (stride == 2 and channels != (2, 4))):
            continue  # one tap has no corners
        found.append((kind, channels, (3,) * dimension, stride, five))
    # Stencils of other shapes than three taps an axis.
    found += [("full", (2, 3), shape, 1, False) for shape in ((5,), (1, 3), (5, 3), (3, 1, 5))]
    found += [("depthwise", (2, 2), (5, 5), s, False) for s in (1, 2)]
    found += [("lean", (3, 2), (5, 1), 1, False), ("circulant", (3, 3), (1, 5), 2, False)]
    found += [("full", (2, 2), (3, 3), 3, False), ("grouped", (2, 4), (5, 5), 1, True)]
    return found


def case_name(case: object) -> str | None:
    """Readable names of the cases in the output of pytest."""
    if not isinstance(case, tuple):
        return None
    kind, (c_out, c_in), shape, stride, five = case
    taps = "x".join(map(str, shape))
    return f"{kind}-{c_out}x{c_in}-{taps}-stride{stride}{'-star' if five else ''}"


def blocks_by_definition(coupling) -> np.ndarray:
    """Stencil of every block from the words of theory §2, ``(c_out, c_in, *kernel_shape)``."""
    c_out, c_in = coupling.channels_out, coupling.channels_in
    weight = np.zeros((c_out, c_in, *coupling.kernel_shape))
    centre = tuple(k // 2 for k in coupling.kernel_shape)
    for o, i in itertools.product(range(c_out), range(c_in)):
        if isinstance(coupling, Full):
            weight[o, i] = coupling.weight[o, i]
        elif isinstance(coupling, Depthwise) and o == i:
            weight[o, i] = coupling.stencils[o]
        elif isinstance(coupling, Pointwise):
            weight[(o, i, *centre)] = coupling.matrix[o, i]
        elif isinstance(coupling, Lean):
            weight[o, i] = coupling.stencils[o] if o == i else 0
            weight[(o, i, *centre)] += coupling.matrix[o, i]
        elif isinstance(coupling, Circulant):
            weight[o, i] = coupling.stencils[(o - i) % max(c_out, c_in)]
        elif isinstance(coupling, Grouped):
            rows, columns = c_out // coupling.groups, c_in // coupling.groups
            if o // rows == i // columns:
                weight[o, i] = coupling.weight[o, i % columns]
    return weight


def dense_by_padding(
    weight: np.ndarray, shape: tuple[int, ...], boundary: str, stride: int = 1
) -> np.ndarray:
    """Matrix of the cross-correlation with a padded image, one unit image a column.

    ``weight`` is ``(c_out, c_in, *kernel_shape)``; rows and columns run over channels first.
    """
    c_out, c_in, *kernel_shape = weight.shape
    pixels = int(np.prod(shape))
    units = np.eye(pixels).reshape(pixels, *shape)
    margins = [(0, 0)] + [(k // 2, k // 2) for k in kernel_shape]
    padded = np.pad(units, margins, mode=PAD_MODE[boundary])
    out = [len(range(0, n, stride)) for n in shape]
    matrix = np.zeros((c_out, int(np.prod(out)), c_in, pixels))
    for tap in itertools.product(*map(range, kernel_shape)):
        window = tuple(slice(t, t + n, stride) for t, n in zip(tap, shape, strict=True))
        moved = padded[(slice(None), *window)].reshape(pixels, -1).T
        matrix += weight[(..., *tap)][:, None, :, None] * moved[None, :, None, :]
    return matrix.reshape(c_out * matrix.shape[1], c_in * pixels)


def symbol_by_sum(weight: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """``sum_p k[o, i, p] exp(i p.w)`` from its definition, ``(c_out, c_in)``."""
    places = np.indices(weight.shape[2:]).reshape(len(frequency), -1).T
    offsets = places - [k // 2 for k in weight.shape[2:]]
    return weight.reshape(*weight.shape[:2], -1) @ np.exp(1j * (offsets @ frequency))


def strided_symbol_by_sum(weight: np.ndarray, frequency: np.ndarray, stride: int) -> np.ndarray:
    """The aliased symbols side by side, divided by ``stride^(d/2)`` (theory §1)."""
    shifts = itertools.product(range(stride), repeat=len(frequency))
    parts = [symbol_by_sum(weight, frequency + 2 * np.pi * np.array(j) / stride) for j in shifts]
    return np.concatenate(parts, axis=1) / stride ** (len(frequency) / 2)


def symbols_by_fft(weight: np.ndarray, points: tuple[int, ...], stride: int = 1) -> np.ndarray:
    """The symbol on a uniform grid by a fast Fourier transform, ``(*points, c_out, c_in s^d)``.

    The grid covers ``[0, 2 pi)``; with a stride, the frequencies that fold onto each other are
    gathered at each of them.
    """
    kernel_shape = weight.shape[2:]
    axes = tuple(range(2, weight.ndim))
    # fft sums exp(-i j w) over j >= 0: flipped taps sit at -p, and a roll centres them.
    flipped = np.flip(weight, axes)
    padding = [(0, 0), (0, 0)] + [(0, n - k) for n, k in zip(points, kernel_shape, strict=True)]
    centred = np.roll(np.pad(flipped, padding), [-(k // 2) for k in kernel_shape], axes)
    values = np.moveaxis(np.fft.fftn(centred, axes=axes), (0, 1), (-2, -1))
    if stride == 1:
        return values
    assert all(n % stride == 0 for n in points), "points that fold onto points"
    places = tuple(range(len(points)))
    shifts = itertools.product(range(stride), repeat=len(points))
    rolled = [
        np.roll(values, [-j * n // stride for j, n in zip(shift, points, strict=True)], places)
        for shift in shifts
    ]
    return np.concatenate(rolled, axis=-1) / stride ** (len(points) / 2)


def norm_by_ascent(weight: np.ndarray, stride: int = 1) -> float:
    """Supremum of the norm of the symbol: a 1024-point transform, then ascent from the best peaks.

    A lower bound always, and the supremum where the ascent finds its peak.
    """
    dimension = weight.ndim - 2
    size = {1: 1024, 2: 32, 3: 12}[dimension]
    points = (size - size % stride,) * dimension
    values = np.linalg.norm(symbols_by_fft(weight, points, stride), 2, axis=(-2, -1))
    peaks = np.ones(points, dtype=bool)
    for axis, step in itertools.product(range(dimension), (1, -1)):
        peaks &= values >= np.roll(values, step, axis)
    ranked = sorted(np.argwhere(peaks), key=lambda place: -values[tuple(place)])
    best = float(values.max())

    def negative(frequency: np.ndarray) -> float:
        return -float(np.linalg.norm(strided_symbol_by_sum(weight, frequency, stride), 2))

    for place in ranked[:2]:
        steps = 2 * np.pi / np.array(points)
        simplex = steps * (place + np.vstack([np.zeros(dimension), 0.5 * np.eye(dimension)]))
        options = {"initial_simplex": simplex, "maxfev": 80, "xatol": 1e-4, "fatol": 1e-9 * best}
        found = minimize(negative, simplex[0], method="Nelder-Mead", options=options)
        best = max(best, -float(found.fun))
    return best


def distance_of_multisets(a: np.ndarray, b: np.ndarray) -> float:
    """Largest distance in the best matching of two sets of as many complex numbers."""
    assert a.shape == b.shape, "as many values"
    distances = np.abs(a[:, None] - b[None, :])
    rows, columns = linear_sum_assignment(distances)
    return float(distances[rows, columns].max())
