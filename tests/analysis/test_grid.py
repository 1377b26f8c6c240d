"""Grids: frequencies against NumPy's, pairs of conjugates, the order of pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import InputError
from analysis.grid import BOUNDARIES, Grid, offsets

SHAPES = st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple)


@given(SHAPES)
def test_frequencies_are_those_of_the_transform(shape: tuple[int, ...]) -> None:
    """The mode with frequency number f is the one that ``fftn`` puts at place f."""
    grid = Grid(shape)
    frequencies = grid.frequencies()
    assert frequencies.shape == (grid.size, grid.dimension) and frequencies.dtype == np.float64
    expected = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in shape), indexing="ij")
    turns = (frequencies - np.stack(expected, -1).reshape(frequencies.shape)) / (2 * np.pi)
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-12)
    x = np.indices(shape).reshape(len(shape), -1)
    place = grid.size // 2
    spectrum = np.fft.fftn(np.exp(1j * frequencies[place] @ x).reshape(shape)).ravel()
    unit = np.zeros(grid.size)
    unit[place] = grid.size
    np.testing.assert_allclose(spectrum, unit, atol=1e-10 * grid.size)


@given(SHAPES)
def test_half_of_the_frequencies_stands_for_all(shape: tuple[int, ...]) -> None:
    grid = Grid(shape)
    half, multiplicity = grid.half_frequencies()
    assert set(multiplicity) <= {1, 2} and multiplicity.sum() == grid.size

    def key(frequency: np.ndarray) -> tuple[int, ...]:
        return tuple(np.round(frequency / (2 * np.pi) * shape).astype(int) % shape)

    both = [key(f) for f in half]
    # A frequency is its own mirror exactly where it counts once.
    assert all((key(-f) == key(f)) == (m == 1) for f, m in zip(half, multiplicity, strict=True))
    both += [key(-f) for f, m in zip(half, multiplicity, strict=True) if m == 2]
    assert sorted(both) == sorted(itertools.product(*map(range, shape)))


@pytest.mark.parametrize("boundary", ["replicate", "reflect"])
def test_cosine_grids_have_no_conjugates(boundary: str) -> None:
    grid = Grid((3, 4), boundary=boundary)
    half, multiplicity = grid.half_frequencies()
    np.testing.assert_array_equal(half, grid.frequencies())
    assert (multiplicity == 1).all()


@pytest.mark.parametrize("n", [2, 3, 6])
def test_cosines_meet_their_boundary(n: int) -> None:
    """Half-sample symmetric for replicate, whole-sample symmetric for reflect, at both ends."""
    for boundary, left, right in (("replicate", -1, n), ("reflect", -1, n)):
        frequencies = Grid((n,), boundary=boundary).axis_frequencies(0)
        assert frequencies.shape == (n,) and frequencies[0] == 0
        assert len(np.unique(np.round(frequencies, 12))) == n
        centre = 0.5 if boundary == "replicate" else 0.0

        def wave(x: int, w: np.ndarray = frequencies, c: float = centre) -> np.ndarray:
            return np.cos(w * (x + c))

        mirror = (0, n - 1) if boundary == "replicate" else (1, n - 2)
        np.testing.assert_allclose(wave(left), wave(mirror[0]), atol=1e-12)
        np.testing.assert_allclose(wave(right), wave(mirror[1]), atol=1e-12)


def test_zero_padding_has_no_frequencies() -> None:
    with pytest.raises(InputError, match="a boundary that a transform diagonalises"):
        Grid((4, 4), boundary="zeros").frequencies()


def test_numbers_of_a_grid() -> None:
    grid = Grid((np.int64(3), 4, 5), spacing=0.5)
    assert (grid.dimension, grid.size, grid.shape) == (3, 60, (3, 4, 5))
    assert all(type(n) is int for n in grid.shape)
    assert Grid((3,)) == Grid((3,)) and hash(Grid((3,))) == hash(Grid((3,)))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (((),), "at least one pixel an axis"),
        (((4, 0),), "at least one pixel an axis"),
        (((4, -1),), "at least one pixel an axis"),
        (((2.5,),), "whole numbers of pixels, got \\(2.5,\\)"),
        ((5,), "whole numbers of pixels, got 5"),
        (("ab",), "whole numbers of pixels"),
        (((4,), 0.0), "a positive mesh width"),
        (((4,), -1.0), "a positive mesh width"),
        (((4,), float("nan")), "a positive mesh width"),
        (((4,), float("inf")), "a positive mesh width"),
        (((4,), 1.0, "circular"), "a boundary out of periodic, zeros, reflect, replicate"),
        (((4,), 1.0, "refelct"), "did you mean 'reflect'"),
    ],
)
def test_grids_that_do_not_exist_are_refused(arguments: tuple, part: str) -> None:
    with pytest.raises(InputError, match=part):
        Grid(*arguments)


def test_offsets_run_in_row_major_order() -> None:
    np.testing.assert_array_equal(offsets((1, 3)), [[0, -1], [0, 0], [0, 1]])
    weight = np.arange(45).reshape(3, 5, 3)
    centre = np.array([1, 2, 1])
    for value, offset in zip(weight.ravel(), offsets(weight.shape), strict=True):
        assert weight[tuple(offset + centre)] == value
    assert BOUNDARIES == ("periodic", "zeros", "reflect", "replicate")
