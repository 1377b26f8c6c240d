"""What `pdenet spectrum` finds of one layer: the keys of the contract, and what pictures need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.errors import InputError
from pdenet.cli.common import Output, check_name, positive

if TYPE_CHECKING:
    import numpy as np

    from analysis.certificates import CertifiedNorm
    from analysis.grid import Grid
    from pdenet.cli.sources import Layer


@dataclass(frozen=True)
class Wish:
    """How the layers are measured, as asked for on the command line.

    Attributes:
        size, boundary: of the grids, None for those of the layers.
        method, step: what -K^T K is judged with, None for no verdict.
        width: relative width of the certificates.
        accuracy: of the singular values, a name of `analysis.spectra.ACCURACIES`.
    """

    size: tuple[int, ...] | None
    boundary: str | None
    method: str | None
    step: float | None
    width: float
    accuracy: str

    @classmethod
    def checked(
        cls,
        size: tuple[int, ...] | None,
        boundary: str | None,
        method: str | None,
        step: float | None,
        width: float,
        accuracy: str,
    ) -> Wish:
        """The options, refused where they do not fit."""
        from analysis.grid import BOUNDARIES
        from analysis.methods import tableau
        from analysis.spectra import ACCURACIES

        if boundary is not None:
            check_name("boundary", boundary, BOUNDARIES)
        if (method is None) != (step is None):
            raise InputError("--method and --step together", "one of them", "pass both or neither")
        positive("--step", step)
        positive("--width", width)
        check_name("accuracy", accuracy, ACCURACIES)
        if method is not None:
            tableau(method)  # refuses unknown ones
        return cls(size, boundary, method, step, width, accuracy)


@dataclass(frozen=True, eq=False)
class Measured:
    """One layer with what was found of it.

    Attributes:
        layer: the operator.
        record: its keys of the contract.
        singular: its singular values, None where no transform gives them.
        certificate: of its norm.
    """

    layer: Layer
    record: dict[str, Any]
    singular: np.ndarray | None
    certificate: CertifiedNorm

    @property
    def title(self) -> str:
        """Name, size and boundary."""
        size = "x".join(map(str, self.record["size"]))
        return f"{self.record['name']} on {size}, {self.record['boundary']}"


def measured_layer(layer: Layer, wish: Wish, output: Output) -> Measured:
    """The keys of the contract for one layer, its singular values and its certificate."""
    from analysis import spectra
    from analysis.backend import to_numpy
    from analysis.certificates import certified_norm

    grid, coupling = layer.grid(wish.size, wish.boundary), layer.coupling
    certificate = certified_norm(coupling, boundary=grid.boundary, relative_width=wish.width)
    transformed, singular = layer.transformed(grid), None
    if transformed is not None:
        found = spectra.singular_values(coupling, transformed, accuracy=wish.accuracy)
        singular = to_numpy(found)
        interval = [float(singular[0]), float(singular[0])]
    else:
        bounds = spectra.norm(coupling, grid)
        interval = [float(bounds.lower), float(bounds.upper)]
        output.warn(
            f"boundary {grid.boundary}: no transform gives its singular values, so the norm is "
            "an interval and the smallest value is unknown"
        )
    record = {
        "name": layer.name,
        "shape": list(layer.shape),
        "coupling": coupling.name,
        "boundary": grid.boundary,
        "size": list(grid.shape),
        "norm": interval[0],
        "norm_interval": interval,
        "norm_certified": float(certificate.upper),
        "frequency": [float(w) for w in certificate.frequency],
        **_of_square(layer, transformed),
        "singular_values": {
            "count": _count(layer, grid) if singular is None else int(singular.size),
            "min": None if singular is None else float(singular[-1]),
            "max": interval[0],
        },
    }
    if wish.method is not None and wish.step is not None:
        record["amplification"] = _amplification(wish.method, wish.step, interval[1], singular)
    return Measured(layer, record, singular, certificate)


def _count(layer: Layer, grid: Grid) -> int:
    """How many singular values there are."""
    coupling, axes = layer.coupling, layer.coupling.dimension
    pixels = -(-grid.size // coupling.stride**axes)
    return min(coupling.channels_in * grid.size, coupling.channels_out * pixels)


def _of_square(layer: Layer, grid: Grid | None) -> dict[str, float | None]:
    """What only operators have that are square and diagonalised: of others None."""
    from analysis import spectra
    from analysis.fields import field_log_norm

    coupling = layer.coupling
    square = coupling.channels_in == coupling.channels_out and coupling.stride == 1
    if not square or grid is None:
        return {"spectral_radius": None, "log_norm": None}
    return {
        "spectral_radius": float(spectra.spectral_radius(coupling, grid)),
        "log_norm": field_log_norm(coupling, grid),
    }


def _amplification(method: str, step: float, norm: float, singular: np.ndarray | None) -> float:
    """max |R(-h sigma^2)| over the singular values, or over [0, norm] where they are unknown."""
    import numpy as np

    from analysis.methods import tableau
    from analysis.steps import amplification

    known = np.linspace(0, norm, 1025) if singular is None else singular
    return float(amplification(tableau(method), -(known**2), step).value)
