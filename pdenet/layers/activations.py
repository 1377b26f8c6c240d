"""Activations by name, with the slope bound the theorems need (theory §4)."""

from __future__ import annotations

from torch import nn

from analysis.errors import unknown_name

ACTIVATIONS: dict[str, float] = {"relu": 1.0, "tanh": 1.0, "softplus": 1.0}
"""Activations and the ``L`` for which their slopes lie in ``[0, L]``; all are monotone."""

_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}


def make_activation(name: str) -> nn.Module:
    """The module of an activation in ``ACTIVATIONS``.

    Raises:
        InputError: for an unknown name.

    >>> make_activation("tanh")
    Tanh()
    """
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)
    return _MODULES[name]()
