"""Norm of a convolution operator with a certificate, for every image size (theory §1).

Lower end: a local maximum over the frequencies with the singular vectors that attain it. Upper end:
branch and bound over all frequencies (``analysis.search``), in float64, with its rounding added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.backend import Array, namespace, to_double, to_numpy
from analysis.coupling import Coupling
from analysis.errors import InputError
from analysis.gram import Gram
from analysis.search import Found, finish, finish_together, search_supremum
from analysis.stencils import extension_norm
from analysis.transposed import Operator, Transposed, refuse_scaling

_UNIT_ROUNDOFF = 2.0**-53
_LEAST_WIDTH = 1e-8  # below it the margin of the Cholesky tests drowns in rounding
_TOGETHER = 16
"""Searches on a GPU at a time: each holds its Gram polynomial."""


@dataclass(frozen=True, eq=False)
class CertifiedNorm:
    """An interval that holds the norm of an operator for all image sizes.

    Attributes:
        lower: attained by the symbol at ``frequency``: ``Re u* K^(w) v`` for ``left`` and ``right``
            (a lower bound of the supremum over all frequencies; the norm at one image size can be
            smaller).
        upper: bound of the operator for every image size and the boundary given.
        frequency: where the lower end is attained, ``w``, radians a pixel, shape ``(d,)``.
        left, right: unit vectors ``u`` and ``v`` of the channels, complex, shapes ``(c_out,)`` and
            ``(stride^d c_in,)``: a stride sets the symbols it folds side by side (of a transposed
            operator ``u`` is the longer). The row scaling is part of ``K``.
        boundary: the boundary condition the upper end is valid for.
        cells: number of frequencies examined.
        statement: what the certificate rests on.
    """

    lower: float
    upper: float
    frequency: np.ndarray
    left: np.ndarray
    right: np.ndarray
    boundary: str
    cells: int
    statement: str


def certified_norm(
    coupling: Operator,
    *,
    row_scaling: Array | None = None,
    boundary: str = "periodic",
    relative_width: float = 0.01,
) -> CertifiedNorm:
    """Interval for ``sup_w ||K^(w)||_2``, a bound of ``||K||_2`` for every image size.

    Periodic and zero-padded operators never exceed the upper end; for reflect and replicate it
    carries the norm of the extension as a factor (none for replicate with axis-even stencils of at
    most three taps an axis).
    Runs in float64 on detached weights. Source: theory §1.

    Args:
        coupling: the operator ``K``.
        row_scaling: ``s >= 0`` of shape ``(c_out,)``; certifies ``||diag(s)^(1/2) K||``.
        boundary: one of ``analysis.grid.BOUNDARIES``.
        relative_width: ``upper <= (1 + relative_width) lower`` before the factor and rounding.

    Raises:
        InputError: for a width below 1e-8, negative scalings and weights that are not finite.

    >>> from analysis.couplings import Full
    >>> bound = certified_norm(Full(np.array([[[1.0, -2.0, 1.0]]])), relative_width=1e-3)
    >>> round(bound.lower, 12), bound.upper < 4.005
    (4.0, True)
    """
    return certified_norms(
        [coupling],
        row_scalings=[row_scaling],
        boundary=boundary,
        relative_width=relative_width,
    )[0]


def certified_norms(
    couplings: Sequence[Operator],
    *,
    row_scalings: Sequence[Array | None] | None = None,
    boundary: str = "periodic",
    relative_width: float = 0.01,
) -> list[CertifiedNorm]:
    """``certified_norm`` of many layers; on a GPU their tests share calls.

    Arguments and errors as ``certified_norm``, with one scaling (or None) a layer.
    """
    if not relative_width >= _LEAST_WIDTH:
        raise InputError(
            f"a relative width of {_LEAST_WIDTH:g} or more", relative_width, "pass 0.01"
        )
    scalings = [None] * len(couplings) if row_scalings is None else row_scalings
    layers = [
        _Layer.of(coupling, scaling, boundary)
        for coupling, scaling in zip(couplings, scalings, strict=True)
    ]
    searched = [n for n, layer in enumerate(layers) if layer.operator.largest_weight() > 0]
    searches = {n: search_supremum(layers[n].operator, relative_width) for n in searched}
    found: dict[int, Found] = {}
    alone = [n for n in searched if not layers[n].operator.accelerated]
    shared = [n for n in searched if layers[n].operator.accelerated]
    for start in range(0, len(shared), _TOGETHER):
        some = shared[start : start + _TOGETHER]
        found |= zip(some, finish_together([searches[n] for n in some]), strict=True)
    found |= {n: finish(searches[n]) for n in alone}
    results = [layer.certificate(found.get(n)) for n, layer in enumerate(layers)]
    return [
        replace(result, left=result.right, right=result.left)
        if isinstance(coupling, Transposed)
        else result
        for coupling, result in zip(couplings, results, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Layer:
    """An operator with weights near one, or all zero, and what turns its supremum into a bound."""

    operator: Coupling
    unit: float
    dilation: int
    boundary: str
    factor: float

    @classmethod
    def of(cls, coupling: Operator, row_scaling: Array | None, boundary: str) -> _Layer:
        refuse_scaling(coupling, row_scaling)
        coupling = coupling.operator if isinstance(coupling, Transposed) else coupling
        operator, unit = scaled_double(coupling, row_scaling)
        even = boundary == "replicate" and operator.has_cosine_transform(boundary)
        factor = 1.0 if even else extension_norm(operator.radius, boundary)
        # All frequencies of a dilated symbol are all frequencies of the plain one.
        dilation = operator.dilation if operator.stride == 1 else 1
        plain = operator if dilation == 1 else replace(operator, dilation=1)
        return cls(plain, unit, dilation, boundary, factor)

    def certificate(self, found: Found | None) -> CertifiedNorm:
        """The interval that a search has found; None for an operator that is zero."""
        if found is None:
            zero, none = np.zeros(self.operator.dimension), np.zeros(0, dtype=complex)
            words = "all weights are zero"
            return CertifiedNorm(0.0, 0.0, zero, none, none, self.boundary, 0, words)
        allowance = rounding_allowance(found.gram, found.threshold)
        peak = found.peak
        outputs, inputs = self.operator.group_bases(peak.group)
        folded = peak.right.reshape(-1, inputs.shape[1])
        return CertifiedNorm(
            lower=peak.value * self.unit,
            upper=(found.threshold + allowance) * self.factor * self.unit,
            frequency=peak.frequency / self.dilation,
            left=outputs @ peak.left,
            right=(folded @ inputs.T).ravel(),
            boundary=self.boundary,
            cells=found.cells,
            statement=certificate_statement(self.factor, self.boundary),
        )


def certificate_statement(factor: float, boundary: str) -> str:
    """What a certificate rests on, with the factor of an extension where there is one."""
    statement = "branch and bound over all frequencies with the Bernstein-Szego inequality"
    extended = f", times the norm {factor:.4g} of the {boundary} extension" if factor > 1 else ""
    return statement + extended


def rounding_allowance(gram: Gram, value: float) -> float:
    """What rounding can hide of a norm near ``value`` that Cholesky tests have bounded.

    A factorisation proves its bound up to about ``(k + 2) u trace`` (Rump, BIT 2006) of a matrix of
    trace at most ``k (T share)^2``, the Gram matrix is off by its own rounding, and a square off by
    ``e`` is a supremum off by ``e / (2 T share^2)``, with ``share^2 >= 1/8`` in every test.
    """
    cholesky = (gram.size + 2) * gram.size * _UNIT_ROUNDOFF * value**2
    return 4 * (gram.rounding + 2 * cholesky) / value


def scaled_double(coupling: Coupling, row_scaling: Array | None) -> tuple[Coupling, float]:
    """``diag(s)^(1/2) K`` in detached float64, divided by a unit, and that unit.

    The unit is a power of two near the largest weight, so that squares neither overflow nor vanish
    and the division is exact. Refuses ``s < 0`` and values that are not finite.
    """
    operator = coupling.double()
    if row_scaling is not None:
        scale = to_double(row_scaling)
        if not np.all(to_numpy(scale) >= 0):
            raise InputError(
                "a row scaling s >= 0",
                f"minimum {np.min(to_numpy(scale)):g}",
                "treat negative gains apart: they are anti-diffusive",
            )
        operator = operator.scale_rows(namespace(scale).sqrt(scale))
    largest = operator.largest_weight()
    exponent = min(max(math.frexp(largest)[1], -1000), 1000) if largest else 0
    return operator.times(2.0**-exponent), 2.0**exponent
