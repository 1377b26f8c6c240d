"""Operators from a line of text and their weights, for code that a compiler does not look into.

A custom operation of torch takes tensors, numbers and text, no modules.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import OPERATORS


def description_of(operator: StencilOperator) -> str:
    """What ``rebuild`` needs beside the weights, as words.

    >>> from pdenet.operators.conv import LeanConv2d
    >>> description_of(LeanConv2d(8, 8, padding_mode="reflect"))
    'lean 8 8 3 3 1 1 1 1 1 1 reflect 0'
    """
    k, p, d = operator.kernel_size, operator.padding, operator.dilation
    return (
        f"{operator.name} {operator.in_channels} {operator.out_channels} {k[0]} {k[1]} "
        f"{operator.stride[0]} {p[0]} {p[1]} {d[0]} {d[1]} {operator.groups} "
        f"{operator.padding_mode} {int(operator.five_point)}"
    )


def rebuild(description: str, weights: Sequence[Tensor]) -> StencilOperator:
    """An operator without bias whose weights are the given tensors themselves.

    >>> from pdenet.operators.conv import DepthwiseConv2d
    >>> D = DepthwiseConv2d(2, 2)
    >>> twin = rebuild(description_of(D), [D.weight])
    >>> bool((twin.linear(torch.ones(1, 2, 4, 4)) == D.linear(torch.ones(1, 2, 4, 4))).all())
    True
    """
    operator = copy.copy(_template(description, weights[0].device))
    names = [name for name, parameter in operator.named_parameters() if parameter is not None]
    operator._parameters = dict(zip(names, weights, strict=True))  # type: ignore[arg-type]
    return operator


@lru_cache(maxsize=256)
def _template(description: str, device: torch.device) -> StencilOperator:
    name, *numbers, padding_mode, five_point = description.split()
    channels, outputs, k1, k2, stride, p1, p2, d1, d2, groups = map(int, numbers)
    with torch.random.fork_rng(devices=[]):  # its first weights are drawn and thrown away
        operator = OPERATORS[name](
            channels,
            outputs,
            (k1, k2),
            stride,
            (p1, p2),
            dilation=(d1, d2),
            groups=groups,
            bias=False,
            padding_mode=padding_mode,
            five_point=bool(int(five_point)),
        )
    return operator.to(device)
