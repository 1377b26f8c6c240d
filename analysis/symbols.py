"""Symbols of convolution operators in structured form (theory §1).

A symbol holds one ``c_out x c_in`` matrix a frequency, as compactly as the coupling allows: scalars
(depthwise, circulant), a constant matrix plus a diagonal (pointwise, lean) or diagonal blocks
(full, grouped, strided). All three speak one small protocol.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from analysis.backend import Array, eigvals, like, namespace
from analysis.errors import InputError


class Symbol(ABC):
    """One matrix a frequency; ``F`` frequencies, ``c_out`` rows, ``c_in`` columns."""

    @abstractmethod
    def blocks(self) -> Array:
        """Blocks whose union has the spectrum of the symbol, shape ``(F, g, rows, columns)``."""

    def singular_values(self) -> Array:
        """All singular values, shape ``(F, values)``, descending within every block."""
        blocks = self.blocks()
        xp = namespace(blocks)
        if min(blocks.shape[-2:]) == 1:
            values = xp.linalg.vector_norm(blocks, axis=(-2, -1))
        else:
            values = xp.linalg.svdvals(blocks)
        return xp.reshape(values, (values.shape[0], -1))

    def eigenvalues(self) -> Array:
        """All eigenvalues, shape ``(F, c)``.

        Raises:
            InputError: where the operator is not square.
        """
        blocks = self.blocks()
        if blocks.shape[-1] != blocks.shape[-2]:
            raise InputError(
                "as many output as input channels and stride 1",
                f"blocks of {blocks.shape[-2]} x {blocks.shape[-1]}",
                "ask for the singular values",
            )
        values = eigvals(blocks)
        return namespace(values).reshape(values, (values.shape[0], -1))

    def norms(self) -> Array:
        """Largest singular value of every frequency, shape ``(F,)``."""
        values = self.singular_values()
        return namespace(values).max(values, axis=-1)


@dataclass(frozen=True, eq=False)
class ScalarSymbol(Symbol):
    """A symbol that is diagonal in a unitary basis of the channels.

    Attributes:
        values: the diagonal, complex, shape ``(F, c)``: of the channels (depthwise) or of their
            discrete Fourier modes (circulant). A normal operator: singular values are moduli.
    """

    values: Array

    def blocks(self) -> Array:
        """The scalars as 1 x 1 blocks, shape ``(F, c, 1, 1)``."""
        return self.values[..., None, None]

    def singular_values(self) -> Array:
        """Moduli of the scalars, shape ``(F, c)``."""
        return namespace(self.values).abs(self.values)

    def eigenvalues(self) -> Array:
        """The scalars themselves, shape ``(F, c)``."""
        return self.values


@dataclass(frozen=True, eq=False)
class LeanSymbol(Symbol):
    """One constant matrix plus a diagonal that depends on the frequency.

    Attributes:
        matrix: the constant part, real, shape ``(c_out, c_in)``.
        diagonal: complex, shape ``(F, m)`` with ``m = min(c_out, c_in)``; ``m = 0`` for pointwise.
    """

    matrix: Array
    diagonal: Array

    def blocks(self) -> Array:
        """The matrices, shape ``(F, 1, c_out, c_in)`` (one suffices where all are equal)."""
        xp = namespace(self.matrix)
        constant = like(self.matrix, self.diagonal, complex_=True)
        count, m = self.diagonal.shape
        if m == 0:
            return xp.broadcast_to(constant, (count, 1, *constant.shape))
        padded = like(xp.eye(*constant.shape), self.diagonal, complex_=True)[:m, :]
        # Row i of the m x c_in identity times d_i(w); rows beyond m are zero.
        diagonal = self.diagonal[:, :, None] * padded[None, :, :]
        if constant.shape[0] > m:
            rest = xp.zeros_like(diagonal[:, :1, :])
            diagonal = xp.concat([diagonal] + [rest] * (constant.shape[0] - m), axis=1)
        return (constant[None, :, :] + diagonal)[:, None, :, :]

    def singular_values(self) -> Array:
        """Singular values, shape ``(F, min(c_out, c_in))``; one decomposition for pointwise."""
        xp = namespace(self.matrix)
        if self.diagonal.shape[1]:
            return super().singular_values()
        # Half precisions have no decompositions.
        values = xp.linalg.svdvals(like(self.matrix, self.matrix))
        return xp.broadcast_to(values[None, :], (self.diagonal.shape[0], values.shape[0]))


@dataclass(frozen=True, eq=False)
class BlockSymbol(Symbol):
    """Diagonal blocks: full (one block), grouped, and every strided operator.

    Attributes:
        values: complex, shape ``(F, g, rows, columns)``.
    """

    values: Array

    def blocks(self) -> Array:
        """The blocks, shape ``(F, g, rows, columns)``."""
        return self.values


def alias(symbols: list[Symbol], scale: float) -> BlockSymbol:
    """Symbol of a strided operator: the aliased symbols side by side, times ``s^(-d/2)``.

    Stride ``s`` folds ``s^d`` frequencies onto one coarse frequency (theory §1).
    """
    blocks = [symbol.blocks() for symbol in symbols]
    return BlockSymbol(namespace(blocks[0]).concat(blocks, axis=-1) * scale)
