"""A layer as a linear field: its matrices frequency by frequency, and steps on them (theory §4.7).

A square operator ``K`` of stride 1 is the right-hand side of ``y' = K y``, the frozen Jacobian of a
residual layer. A unitary transform turns it into a direct sum of small blocks, which the tools of
``analysis.nonnormal`` take as they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.backend import eigvalsh, to_numpy
from analysis.clouds import Operator
from analysis.coupling import Coupling
from analysis.errors import InputError
from analysis.grid import Grid
from analysis.pseudospectra import Pseudospectra, Window, normal_pseudospectra, pseudospectra
from analysis.search import chunks

_COMPLEX_NUMBERS = 2**20


def check_field(coupling: Coupling, grid: Grid) -> None:
    """Refuse operators that are no right-hand side, and boundaries that no unitary transform fits.

    Raises:
        InputError: for another number of outputs than inputs, a stride, weights that are not
            finite, and boundaries other than periodic (or replicate for axis-even stencils).
    """
    if coupling.stride != 1 or coupling.channels_out != coupling.channels_in:
        raise InputError(
            "as many output as input channels and stride 1",
            f"{coupling.channels_in} to {coupling.channels_out} channels, stride {coupling.stride}",
            "choose a layer that keeps its input's shape",
        )
    if grid.boundary in ("zeros", "reflect"):
        raise InputError(
            "a boundary with an orthogonal transform (periodic, replicate)",
            grid.boundary,
            "take the periodic operator",
        )
    coupling.largest_weight()


def field_blocks(coupling: Coupling, grid: Grid, *, half: bool = False) -> np.ndarray:
    """Blocks whose direct sum is unitarily the operator, complex, shape ``(F, n, n)``.

    Args:
        coupling: a square operator of stride 1.
        grid: periodic, or replicate for axis-even stencils.
        half: leave out mirror images ``-w``, whose blocks are the conjugates: enough for norms of
            powers and for logarithmic norms, not for what lies in the complex plane.

    Raises:
        InputError: as ``check_field``.

    >>> from analysis.couplings import Depthwise
    >>> stencil = Depthwise(np.array([[-1.0, 1.0, 0.0]]))
    >>> (field_blocks(stencil, Grid((2,))).ravel().round(12) + 0.0).tolist()
    [0j, (2+0j)]
    """
    check_field(coupling, grid)
    return _blocks(coupling, _frequencies(coupling, grid, half=half))


def _frequencies(coupling: Coupling, grid: Grid, *, half: bool) -> np.ndarray:
    if not any(coupling.radius):  # one matrix for all frequencies
        return np.zeros((1, coupling.dimension))
    return coupling.half_frequencies(grid)[0] if half else coupling.grid_frequencies(grid)


def _blocks(coupling: Coupling, frequencies: np.ndarray) -> np.ndarray:
    blocks = to_numpy(coupling.double().symbol_at(frequencies).blocks())
    return blocks.reshape(-1, *blocks.shape[-2:])


def field_log_norm(coupling: Coupling, grid: Grid) -> float:
    """Logarithmic norm of ``y' = K y``: ``max_w lambda_max((K^(w) + K^(w)^*) / 2)``.

    ``||exp(t K)|| <= exp(t mu)``, with the best constant. Exact up to rounding at this image size;
    memory does not grow with it. Arguments and errors as ``field_blocks``. Source: theory §4.7.

    >>> from analysis.couplings import Depthwise
    >>> field_log_norm(Depthwise(np.array([[0.0, -2.0, 1.0]])), Grid((4,)))
    -1.0
    """
    check_field(coupling, grid)
    frequencies = _frequencies(coupling, grid, half=True)
    size = max(1, _COMPLEX_NUMBERS // coupling.channels_in**2)
    largest = -np.inf
    for part in chunks(len(frequencies), size):
        found = _blocks(coupling, frequencies[part])
        hermitian = (found + np.conj(np.swapaxes(found, -1, -2))) / 2
        largest = max(largest, float(eigvalsh(hermitian).max()))
    return largest


def field_pseudospectra(
    coupling: Coupling, grid: Grid, window: Window, *, points: int = 80
) -> Pseudospectra:
    """``pseudospectra`` of ``y' = K y``, exact, in a window that the real axis halves.

    Arguments and errors as ``field_blocks`` and ``pseudospectra``; of real weights the blocks of
    half the frequencies and their mirror images are all.

    Args:
        coupling: a square operator of stride 1.
        grid: periodic, or replicate for axis-even stencils.
        window: left, right, bottom and top with ``bottom = -top``.
        points: of the grid, along the longer side.
    """
    if window[2] != -window[3]:
        raise InputError("a window with bottom = -top", window, "make it symmetric")
    blocks = field_blocks(coupling, grid, half=True)
    if blocks.shape[-1] == 1:  # scalars are normal, and their distances cost next to nothing
        both = np.concatenate([blocks.ravel(), blocks.ravel().conj()])
        return normal_pseudospectra(both, window, points=6 * points)
    found = pseudospectra(blocks, window, points=points)
    return replace(found, sigma_min=np.minimum(found.sigma_min, found.sigma_min[::-1]))


def field_operator(coupling: Coupling, grid: Grid) -> Operator:
    """The field ``y' = K y`` as an `Operator`, whose steps `analysis.steps` judges with its norms.

    Arguments and errors as ``field_blocks``.

    >>> from analysis.couplings import Depthwise
    >>> upwind = Depthwise(np.array([[1.0, -1.0, 0.0]]))
    >>> field_operator(upwind, Grid((8,))).normal
    True
    """
    return Operator.of(field_blocks(coupling, grid))
