"""The linear fields that `pdenet stability` judges, and what is known of each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from analysis.errors import InputError
from pdenet.cli.common import finite, number, positive

if TYPE_CHECKING:
    import numpy as np

    from pdenet.cli.sources import Layer, Source

LARGEST_NORM = 1e150
"""Norms beyond it have no square in double precision."""
LARGEST_MATRIX = 400
"""Points of a problem that is not normal up to which its matrix is laid out for its norms."""


@dataclass(frozen=True, eq=False)
class Field:
    """The linear field whose steps are judged.

    Attributes:
        title: what it is, for the screen.
        eigenvalues: all different ones, or values that bound them, shape (n,).
        norm: ||A|| where the field is symmetric negative semidefinite, else None.
        normal: whether the eigenvalues decide, because the operator is known to be normal.
        assumption: what was assumed of it.
        warnings: what the reader should know.
        attained: eigenvalues known to occur, where `eigenvalues` only bound them.
        pairs: eigenvalues of an explicit and an implicit part, shape (n, 2), where there are two.
        matrix: of a field that is not normal and small enough for its norms.
        transient: whether the field is known not to be normal: norms can grow for a while.
    """

    title: str
    eigenvalues: np.ndarray
    norm: float | None
    normal: bool
    assumption: str
    warnings: list[str] = field(default_factory=list)
    attained: np.ndarray | None = None
    pairs: np.ndarray | None = None
    matrix: np.ndarray | None = None
    transient: bool = False

    def for_method(self, pairs: bool, second_order: bool) -> Any:
        """What `analysis.steps` judges: pairs where the method has two parts.

        Methods of drift and kick take a symmetric field as y'' = A y, with its frequencies.
        """
        import numpy as np

        from analysis.clouds import Operator, Pairs

        if second_order and self.norm is not None:
            return 1j * np.sqrt(-self.eigenvalues)

        if pairs:
            if self.pairs is None:
                raise InputError(
                    "a field with an explicit and an implicit part for this method",
                    self.title,
                    "pass --laplacian N, --eigenvalues with 're im re im' a line, or ask pdenet "
                    "inspect about a network",
                )
            return Pairs(self.pairs[:, 0], self.pairs[:, 1])
        return Operator.of(self.matrix) if self.matrix is not None else self.eigenvalues


def parse_numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers from `1,0.5`: one for all axes, or one an axis.

    >>> parse_numbers("--diffusivity", "1,0.5")
    (1.0, 0.5)
    """
    if text is None:
        return None
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise InputError(
            f"a number, or one an axis, for {option}", f"'{text}'", f"as in {option} 1,0.5"
        ) from None


def laplacian_field(points: int, options: dict[str, Any]) -> Field:
    """Diffusion, advection and reaction on a grid with `points` points an axis.

    `options` holds what was given of dimension, diffusivity, spacing, velocity, boundary and
    reaction, None where the default serves.
    """
    from analysis.clouds import Eigenvalues
    from analysis.model_problems import LinearProblem

    given = {name: value for name, value in options.items() if value is not None}
    # Checked here with the names of the options, although the problem checks its numbers as well.
    for value in given.get("spacing", ()):
        positive("--spacing", value)
    for value in given.get("diffusivity", ()):
        if value != 0:
            positive("--diffusivity", value)
    for name in ("reaction", "velocity"):
        values = given.get(name, ())
        for value in values if isinstance(values, tuple) else (values,):
            finite(f"--{name}", value)
    if points < 1:
        raise InputError("at least one grid point an axis", points, "pass --laplacian 64")
    dimension = given.pop("dimension", 1)
    if dimension not in (1, 2, 3):
        raise InputError("a dimension of 1, 2 or 3", dimension, "pass --dimension 2")
    axes = {name: _per_axis(name, given[name], dimension) for name in _PER_AXIS if name in given}
    problem = LinearProblem((points,) * dimension, **(given | axes))
    # Sines of multiples of pi are zeros: what rounding leaves of them is no news.
    values = Eigenvalues.of(problem.spectrum()).snapped
    values = values if values.imag.any() else values.real
    separable = problem.boundary == "periodic" or problem.symmetric
    rate = float(given.get("reaction", 0.0))
    title = _title(points, dimension, options)
    if not problem.normal:
        return _not_normal(problem, title, values)
    kind = "symmetric" if problem.symmetric else "normal"
    assumption = f"Linear field with a {kind} operator: its eigenvalues decide."
    norm = -float(values[-1].real) if problem.symmetric and rate <= 0 else None
    pairs = problem.split_spectrum() if separable else None
    return Field(title, values, norm, True, assumption, pairs=pairs)


_PER_AXIS = ("diffusivity", "spacing", "velocity")


def _per_axis(name: str, values: tuple[float, ...], dimension: int) -> Any:
    if len(values) not in (1, dimension):
        raise InputError(
            f"one number or {dimension} for --{name}", f"{len(values)} numbers", "one an axis"
        )
    # A velocity along the first axis alone is the plain reading of one number.
    if len(values) == 1 and name == "velocity":
        return values + (0.0,) * (dimension - 1)
    return values[0] if len(values) == 1 else values


def _title(points: int, dimension: int, options: dict[str, Any]) -> str:
    boundary = options.get("boundary") or "periodic"
    title = f"{boundary} Laplacian, {points} points an axis, {dimension}-D"
    for name, default in (("diffusivity", (1.0,)), ("spacing", (1.0,)), ("velocity", None)):
        values = options.get(name) or default
        if values is not None:
            title += f", {name} " + ", ".join(map(number, values))
    rate = options.get("reaction")
    return title + (f", reaction {number(rate)}" if rate else "")


def _not_normal(problem: Any, title: str, values: np.ndarray) -> Field:
    """Advection beside a boundary: eigenvalues say little, so a small matrix is laid out."""
    from analysis.model_solutions import problem_matrix

    small = math.prod(problem.shape) <= LARGEST_MATRIX
    assumption = (
        "Linear field whose operator is not normal (advection beside a boundary): eigenvalues are "
        "necessary, and norms of powers can grow in between."
    )
    warnings = (
        []
        if small
        else [f"the operator is not normal; its norms are shown up to {LARGEST_MATRIX} points"]
    )
    matrix = problem_matrix(problem).toarray() if small else None
    return Field(title, values, None, False, assumption, warnings, matrix=matrix, transient=True)


def file_field(path: str) -> Field:
    """Eigenvalues of a file, or pairs of them."""
    from pdenet.cli.readers import read_eigenvalues

    values = read_eigenvalues(path)
    assumption = "Eigenvalues do not tell the norm: no non-expansive limit is given."
    pairs = values if values.ndim == 2 else None
    kind = "pairs of eigenvalues" if values.ndim == 2 else "eigenvalues"
    sums = values.sum(axis=1) if values.ndim == 2 else values
    title = f"{len(values)} {kind} of {path}"
    return Field(title, sums, None, False, assumption, pairs=pairs)


def source_fields(opened: Source, size: tuple[int, ...] | None) -> list[Field]:
    """One field -K^T K a layer, symmetric and negative semidefinite by construction."""
    if not opened.fields:
        raise InputError(
            "a network whose steps are taken on -K^T sigma(K y)",
            f"none in {opened.path}",
            "judge it with pdenet inspect",
        )
    return [_gradient_field(item, opened.path, size, opened.warnings) for item in opened.fields]


def _gradient_field(
    layer: Layer, path: str, size: tuple[int, ...] | None, warnings: list[str]
) -> Field:
    """The frozen linear field -K^T K of one operator, with its spectrum or a bound of it."""
    import numpy as np

    from analysis import spectra
    from analysis.backend import to_numpy
    from analysis.certificates import certified_norm

    grid = layer.grid(size)
    certified = float(certified_norm(layer.coupling, boundary=grid.boundary).upper)
    if certified > LARGEST_NORM:
        raise InputError("weights with finite squares", f"a norm of {certified:g}", "rescale them")
    transformed, attained = layer.transformed(grid), None
    if transformed is not None:
        singular = to_numpy(spectra.singular_values(layer.coupling, transformed))
        known = f"its singular values on {'x'.join(map(str, grid.shape))} pixels"
    else:
        # No transform diagonalises it: every value up to the norm may occur.
        norm = spectra.norm(layer.coupling, grid)
        singular = np.linspace(0.0, norm.upper, 1025)
        attained = np.array([-(norm.lower**2)])
        known = (
            f"norm within [{number(norm.lower)}, {number(norm.upper)}], boundary {grid.boundary}"
        )
    values = -(singular**2)
    # Squares of rounding errors are zeros, not eigenvalues close to the imaginary axis.
    values[values > -1e-13 * certified**2] = 0.0
    assumption = (
        f"Frozen linear field -K^T K of layer {layer.name}, every unit at full "
        f"slope, normalisation folded in, {known}; the "
        "non-expansive limit rests on the certified norm of the largest layer."
    )
    title = f"-K^T K of layer {layer.name} in {path}"
    return Field(title, values, certified**2, True, assumption, warnings, attained)
