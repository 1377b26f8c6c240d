"""Arrays of taps: checks of their shapes, and what the symbols are sums over."""

from __future__ import annotations

import math

import numpy as np

from analysis.backend import Array, complex_from, detach, like, namespace, to_numpy
from analysis.errors import InputError


def require(condition: bool, expected: str, got: object, remedy: str) -> None:
    """Raise InputError unless the condition holds."""
    if not condition:
        raise InputError(expected, got, remedy)


def check_axes(name: str, array: Array, axes: int) -> None:
    """Raise InputError unless the array has so many channel axes and 1 to 3 spatial ones."""
    spatial = array.ndim - axes
    expected = f"{name} of {axes} channel and 1 to 3 spatial axes"
    got = f"shape {tuple(array.shape)}"
    require(1 <= spatial <= 3, expected, got, "reshape the weights")
    require(min(array.shape) >= 1, "at least one channel and one tap an axis", got, "add some")


def check_scale(scale: Array, channels: int) -> None:
    """Raise InputError unless there is one scale an output channel."""
    shape = tuple(scale.shape)
    require(shape == (channels,), f"a scale of shape ({channels},)", shape, "one number a channel")


def frobenius_norms(array: Array, channel_axes: int) -> float:
    """Sum over the taps of the Euclidean norms over the leading channel axes."""
    xp = namespace(array)
    flat = xp.reshape(detach(array), (math.prod(array.shape[:channel_axes]), -1))
    return float(to_numpy(xp.sum(xp.linalg.vector_norm(like(flat, flat), axis=0))))


def taps_first(stencils: Array, channel_axes: int) -> Array:
    """Stencils as matrices of taps, shape ``(taps, ...)``."""
    flat = flatten_taps(stencils, channel_axes)
    return namespace(flat).permute_dims(flat, (channel_axes, *range(channel_axes)))


def flatten_taps(stencils: Array, channel_axes: int) -> Array:
    """Stencils as rows of taps, shape ``(..., taps)``."""
    return namespace(stencils).reshape(stencils, (*stencils.shape[:channel_axes], -1))


def transform(stencils: Array, phases: Array) -> Array:
    """Symbols of stencils ``(..., taps)`` at the phases ``(F, taps)``, shape ``(F, ...)``."""
    xp = namespace(stencils)
    flat = xp.matrix_transpose(xp.reshape(stencils, (-1, stencils.shape[-1])))
    shape = (phases.shape[0], *stencils.shape[:-1])
    if xp.isdtype(stencils.dtype, "complex floating"):
        return xp.reshape(phases @ flat, shape)
    # Two real products are half of the work of a complex one.
    real, imaginary = xp.real(phases), xp.imag(phases)
    flat = xp.astype(flat, real.dtype, copy=False)
    return xp.reshape(complex_from(real @ flat, imaginary @ flat), shape)


def form_gradient(left: np.ndarray, right: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """``Re(conj(u_o) v_i e_p)`` for vectors and phases, shape ``(rows, columns, taps)``."""
    outer = (np.conj(left)[:, None] * right).reshape(-1, 1)
    # One real product in place of a complex one of which half is dropped.
    parts = np.concatenate([outer.real, -outer.imag], axis=1)
    values = parts @ np.stack([turned.real, turned.imag]).astype(parts.dtype)
    return values.reshape(len(left), len(right), -1)


def column(scale: Array, reference: Array) -> Array:
    """A scale of the output channels, shaped to multiply the leading axis of the reference."""
    check_scale(scale, int(reference.shape[0]))
    return namespace(scale).reshape(scale, (-1,) + (1,) * (reference.ndim - 1))
