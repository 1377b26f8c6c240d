"""Any torch model with its convolutions in a cheaper coupling, and the report of it (theory §2)."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from numbers import Integral
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from analysis.errors import InputError, unknown_name
from pdenet import __version__
from pdenet.conversion.costs import (
    Call,
    Convolution,
    convolutions,
    coupling_name,
    dense_shape,
    multiply_adds_before,
    record_calls,
    weight_count,
)
from pdenet.conversion.layers import Kept, LayerConverter, Replacement
from pdenet.files import write_atomic
from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import OPERATORS

Filter = str | Callable[[str, nn.Module], bool] | None
"""Which layers to convert: a pattern of names, a function of name and module, or the default."""


@dataclass(frozen=True)
class ConvertedLayer:
    """A convolution of a model before and after the conversion.

    Attributes:
        name: the first name of the layer in ``model.named_modules()``.
        shape: of its dense weights, ``(c_out, c_in, *kernel_size)``.
        coupling_before: full, grouped, depthwise or pointwise (theory §2).
        coupling: the one it has now, the same where it was kept.
        weights_before, weights: number of weights, the bias not counted.
        multiply_adds_before, multiply_adds: of one forward of the example, in all calls of the
            layer; None without an example.
        projection_error: ``||W - P W||_F / ||W||_F`` (``analysis.projection``); None where the
            layer was kept or has no values (meta device).
        kept: why it was not converted, None where it was.
    """

    name: str
    shape: tuple[int, ...]
    coupling_before: str
    coupling: str
    weights_before: int
    weights: int
    multiply_adds_before: int | None
    multiply_adds: int | None
    projection_error: float | None
    kept: str | None


@dataclass(frozen=True, eq=False)
class Conversion:
    """A model with converted convolutions, and the report of it.

    Attributes:
        model: the converted model.
        coupling: the coupling asked for.
        layers: every convolution of the model, in the order of ``model.named_modules()``; one
            that is used at several places stands here once.
        parameters_before, parameters: all parameters of the model, with biases, norms and heads.
    """

    model: nn.Module
    coupling: str
    layers: tuple[ConvertedLayer, ...]
    parameters_before: int
    parameters: int

    @property
    def weights_before(self) -> int:
        """Weights of all convolutions before; those that two layers share count in both."""
        return sum(layer.weights_before for layer in self.layers)

    @property
    def weights(self) -> int:
        """Weights of all convolutions now."""
        return sum(layer.weights for layer in self.layers)

    @property
    def multiply_adds_before(self) -> int | None:
        """Multiply-adds of all convolutions before, None without an example."""
        return _total([layer.multiply_adds_before for layer in self.layers])

    @property
    def multiply_adds(self) -> int | None:
        """Multiply-adds of all convolutions now, None without an example."""
        return _total([layer.multiply_adds for layer in self.layers])

    @property
    def converted(self) -> tuple[ConvertedLayer, ...]:
        """The layers that were not kept."""
        return tuple(layer for layer in self.layers if layer.kept is None)

    def to_json(self) -> dict[str, Any]:
        """Layers and totals as plain values."""
        totals = ("weights_before", "weights", "multiply_adds_before", "multiply_adds")
        names = ("coupling", *totals, "parameters_before", "parameters")
        report = {name: getattr(self, name) for name in names}
        return report | {"layers": [asdict(layer) for layer in self.layers]}

    def save(self, path: str | PathLike[str]) -> None:
        """Write the weights as safetensors, whole or not at all.

        ``convert`` of the same model gives a module whose ``load_state_dict`` takes them. The
        metadata holds the version, the coupling asked for and, as JSON, that of every layer.

        Raises:
            InputError: where the file cannot be written, and for a model on the meta device.
        """
        from safetensors.torch import save

        state = self.model.state_dict()
        if any(value.is_meta for value in state.values()):
            raise InputError("weights with values", "the meta device", "build the model elsewhere")
        tensors = {  # safetensors knows no other memory layout and no sharing
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in state.items()
        }
        layers = {layer.name: layer.coupling for layer in self.layers}
        metadata = {"format": "pt", "pdenet_version": __version__, "coupling": self.coupling}
        write_atomic(path, save(tensors, metadata | {"layers": json.dumps(layers)}))


def _total(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def convert(
    model: nn.Module,
    coupling: str = "lean",
    *,
    filter: Filter = None,
    groups: int = 4,
    five_point: bool = False,
    keep_norm: bool = False,
    example: Tensor | tuple[Any, ...] | None = None,
    inplace: bool = False,
) -> Conversion:
    """Swap the convolutions of a model for a coupling, starting from the nearest weights.

    Every ``nn.Conv2d`` becomes the operator of the coupling with the same strides, dilation,
    padding, padding mode and bias; its weights are the projection ``P W`` of the dense ones onto
    the structure, the nearest in Frobenius norm. Device, precision, memory format, modes, hooks,
    ``requires_grad``, modules used twice and tied weights are kept; names of weights change, so
    make the optimiser afterwards.

    A layer is kept, with the reason in the report, where the coupling cannot express it or has no
    fewer weights (``full`` may have as many: only the class changes), where its weight or its
    forward is not the plain one, and where its weight is tied to a module that is kept or that
    has other groups: apart they would have more parameters and train away from each other.
    Without a filter two kinds more are kept, which lose most for the little they cost: 1x1
    convolutions, and those of at most 4 input channels, which open a network.

    Args:
        model: any module with convolutions, or one itself.
        coupling: full, depthwise, pointwise, lean, circulant or grouped (theory §2).
        filter: a pattern of names as of files (``"layer3.*"``), or a function of name and module
            that says whether to convert; a module used twice has two names.
        groups: number of groups of the grouped coupling.
        five_point: stencils without corners.
        keep_norm: scale the nearest weights of every layer to the norm of its dense ones, so that
            outputs keep their power. Under a normalisation this changes no output, but training:
            weights that shrank move too fast there. Circulant weights, which are means of many,
            train from a good start with it alone (``benchmarks/conversion.py``).
        example: input of the model, or a tuple of them, for the multiply-adds: one forward in
            inference mode, which hooks see.
        inplace: change the model itself in place of a deep copy.

    Raises:
        InputError: for an unknown coupling, groups that are no whole number above 0, a filter of
            another kind, a model without convolutions, a pattern that none of their names has,
            weights that are not finite where they would be projected, and an example that the
            model does not take.

    >>> model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
    >>> found = convert(model, "lean", example=torch.zeros(1, 3, 10, 10))
    >>> found.model[2]
    LeanConv2d(16, 16, kernel_size=(3, 3))
    >>> found.layers[1].weights_before, found.layers[1].weights, found.layers[1].multiply_adds
    (2304, 384, 24576)
    >>> found.layers[0].kept
    'opens the network, 3 channels in; a filter converts it'
    """
    _check_arguments(coupling, groups, filter)
    chosen = _chosen(model, filter)
    _check_finite(model, chosen)
    calls = None if example is None else record_calls(model, example)
    before = _parameters(model)
    model = model if inplace else _copied(model)
    options = {"five_point": five_point, "keep_norm": keep_norm, "sparing": filter is None}
    converter = LayerConverter(coupling, groups, **options)
    replacements, kept = {}, {}
    for name, module in convolutions(model).items():
        try:
            if name not in chosen:
                raise Kept("not in the filter")
            used = None if calls is None else calls[name]
            replacements[module] = converter.convert(module, used)
        except Kept as reason:
            kept[module] = str(reason)
    for module, tie in _tied(model, set(replacements)).items():
        del replacements[module]
        kept[module] = tie
    layers = [
        _layer(name, m, None if calls is None else calls[name], replacements.get(m), kept.get(m))
        for name, m in convolutions(model).items()
    ]
    operators = {module: found.operator for module, found in replacements.items()}
    model = _swapped(model, operators)
    return Conversion(model, coupling, tuple(layers), before, _parameters(model))


def _check_arguments(coupling: str, groups: int, filter: Filter) -> None:
    """Raise InputError for arguments of another kind than ``convert`` takes."""
    if not isinstance(coupling, str) or coupling not in OPERATORS:
        raise unknown_name("coupling", str(coupling), OPERATORS)
    if not isinstance(groups, Integral) or isinstance(groups, bool) or groups < 1:
        raise InputError("groups that are a whole number above 0", repr(groups), "pass groups=4")
    if not (filter is None or isinstance(filter, str) or callable(filter)):
        expected = "a filter that is a pattern, a function of name and module, or None"
        raise InputError(expected, repr(filter), "pass a pattern as 'layer3.*'")


def _check_finite(model: nn.Module, chosen: set[str]) -> None:
    """Raise InputError where a layer to convert has weights that no projection is near to."""
    for name, module in convolutions(model).items():
        weight = module._parameters.get("weight")
        if name not in chosen or weight is None or isinstance(weight, UninitializedParameter):
            continue
        if not weight.is_meta and not bool(torch.isfinite(weight).all()):
            remedy = "load weights that are finite, or leave the layer out with a filter"
            raise InputError("finite weights", f"others in layer '{name}'", remedy)


def _tied(model: nn.Module, replaced: set[Convolution]) -> dict[Convolution, str]:
    """Why some convolutions stay after all: a weight of theirs serves what would not share it."""
    owners: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, module in model.named_modules():
        for parameter in {id(p) for p in module._parameters.values() if p is not None}:
            owners.setdefault(parameter, []).append((name, module))
    found = {}
    for module in replaced:
        for name, other in owners[id(module.weight)]:
            if other not in replaced:
                found[module] = f"its weight is tied to '{name}', which is kept"
                break
            if isinstance(other, Convolution) and other.groups != module.groups:
                found[module] = f"its weight is tied to '{name}', which has other groups"
    return found


def _chosen(model: nn.Module, filter: Filter) -> set[str]:
    """First names of the convolutions that the filter lets through."""
    if not isinstance(model, nn.Module):
        raise InputError("a torch.nn.Module", type(model).__name__, "pass the model itself")
    first = {module: name for name, module in convolutions(model).items()}
    if not first:
        raise InputError("a model with convolutions of torch", "none", "pass one that has some")
    named = [
        (name, module)
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, Convolution)
    ]
    if filter is None:
        return set(first.values())
    if callable(filter):
        return {first[module] for name, module in named if filter(name, module)}
    found = {first[module] for name, module in named if fnmatchcase(name, filter)}
    if not found:
        names = list(dict.fromkeys(name for name, _ in named))
        near = difflib.get_close_matches(filter, names, n=1) or names[:1]
        expected = f"a pattern that fits one of the {len(names)} convolutions"
        raise InputError(expected, f"'{filter}'", f"a name is '{near[0]}'")
    return found


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:
        remedy = "pass inplace=True to change the model itself"
        raise InputError("a model that can be copied", error, remedy) from error


def _parameters(model: nn.Module) -> int:
    """Number of parameters; those of lazy modules are not known yet and count nothing."""
    lazy = UninitializedParameter
    return sum(p.numel() for p in model.parameters() if not isinstance(p, lazy))


def _layer(
    name: str,
    module: Convolution,
    calls: list[Call] | None,
    found: Replacement | None = None,
    kept: str | None = None,
) -> ConvertedLayer:
    """The line of the report for a layer."""
    before, count = coupling_name(module), weight_count(module)
    cost = None if calls is None else multiply_adds_before(module, calls)
    return ConvertedLayer(
        name=name,
        shape=dense_shape(module),
        coupling_before=before,
        coupling=found.operator.name if found else before,
        weights_before=count,
        weights=found.operator.weights if found else count,
        multiply_adds_before=cost,
        multiply_adds=found.multiply_adds if found else cost,
        projection_error=found.projection_error if found else None,
        kept=kept,
    )


def _swapped(model: nn.Module, operators: dict[Convolution, StencilOperator]) -> nn.Module:
    """The model with the operators in place of the convolutions, wherever these stand."""
    if isinstance(model, Convolution):
        return operators.get(model, model)
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, Convolution) and child in operators:
                parent._modules[name] = operators[child]
    return model
