"""Transposed convolutions: adjoints of convolutions, which upsample (theory §1)."""

from __future__ import annotations

from dataclasses import dataclass

import scipy.sparse as sp

from analysis.backend import Array
from analysis.coupling import Coupling
from analysis.errors import InputError
from analysis.grid import Grid


@dataclass(frozen=True, eq=False)
class Transposed:
    """The adjoint ``K^T`` of an operator: its symbol is ``K^(w)^*``, its singular values are K's.

    The weight of ``torch.nn.ConvTranspose2d`` is that of the operator it transposes, so
    ``Transposed(Full(weight, stride=s))`` is that layer with an output of ``s`` times its input.
    The functions of ``analysis.spectra``, ``analysis.certificates`` and ``analysis.distribution``
    take it in place of a coupling.

    Attributes:
        operator: the operator ``K``.

    >>> import numpy as np
    >>> from analysis.couplings import Full
    >>> up = Transposed(Full(np.array([[[0.0, 1.0, 2.0]]]), stride=2))
    >>> up.to_sparse(Grid((2,))).toarray()
    array([[1., 0.],
           [2., 0.],
           [0., 1.],
           [0., 2.]])
    """

    operator: Coupling

    @property
    def channels_out(self) -> int:
        """Number of output channels."""
        return self.operator.channels_in

    @property
    def channels_in(self) -> int:
        """Number of input channels."""
        return self.operator.channels_out

    def output_grid(self, grid: Grid) -> Grid:
        """Grid of the output, ``stride`` times as fine as that of the input."""
        shape = tuple(n * self.operator.stride for n in grid.shape)
        return Grid(shape, boundary=grid.boundary)

    def to_sparse(self, grid: Grid) -> sp.csr_matrix:
        """The operator on an input grid as a SciPy matrix (NumPy only)."""
        return self.operator.to_sparse(self.output_grid(grid)).T.tocsr()


Operator = Coupling | Transposed
"""What the functions of spectra take."""


def untransposed(coupling: Operator, grid: Grid) -> tuple[Coupling, Grid]:
    """The operator with the same singular values, and the grid it acts on."""
    if isinstance(coupling, Transposed):
        return coupling.operator, coupling.output_grid(grid)
    return coupling, grid


def refuse_scaling(coupling: Operator, row_scaling: Array | None) -> None:
    """Raise InputError for a scaling of the rows of a transposed operator."""
    if row_scaling is not None and isinstance(coupling, Transposed):
        raise InputError(
            "a transposed operator without row scaling", "one", "scale the weights instead"
        )
