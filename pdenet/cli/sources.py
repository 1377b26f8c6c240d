"""SOURCE of `spectrum` and `stability`: a run, or a file of weights, as named operators."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.errors import InputError, unknown_name
from pdenet.cli.readers import read_npz, read_safetensors, safetensors_metadata

if TYPE_CHECKING:
    import numpy as np

    from analysis.coupling import Coupling
    from analysis.grid import Grid

DEFAULT_PIXELS = {1: 32, 2: 32, 3: 16}
"""Pixels an axis, by the number of axes, where neither a source nor --size says more."""

FIRST = "first"
"""RUN/first is the network of a run before its training."""

ARRAY_OPTIONS = ("--groups", "--stride", "--dilation")
"""Options `NAME=NUMBER` for arrays in files."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One convolution operator of a source.

    Attributes:
        name: as the source calls it.
        coupling: the operator as the analysis knows it.
        boundary: boundary condition, a name of `analysis.grid.BOUNDARIES`.
        size: pixels of every axis of its input; None where the source does not say.
    """

    name: str
    coupling: Coupling
    boundary: str = "periodic"
    size: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the dense weights, (c_out, c_in, k, k) on two axes."""
        return (self.coupling.channels_out, self.coupling.channels_in, *self.coupling.kernel_shape)

    def grid(self, size: tuple[int, ...] | None = None, boundary: str | None = None) -> Grid:
        """The grid of the layer, with another size or boundary where they are given.

        Raises:
            InputError: for a size of another number of axes; one number is meant for all.
        """
        from analysis.grid import Grid

        axes = self.coupling.dimension
        wanted = size or self.size or (DEFAULT_PIXELS[axes],)
        if len(wanted) not in (1, axes):
            expected = f"one number or {axes} for --size, as many as layer {self.name} has axes"
            remedy = f"as in {'x'.join([str(DEFAULT_PIXELS[axes])] * axes)}"
            raise InputError(expected, "x".join(map(str, wanted)), remedy)
        shape = wanted * axes if len(wanted) == 1 else wanted
        return Grid(shape, boundary=boundary or self.boundary)

    def transformed(self, grid: Grid) -> Grid | None:
        """The grid whose transform gives the singular values on `grid` exactly (theory §1).

        None where there is no such transform.
        """
        from dataclasses import replace

        coupling = self.coupling
        if grid.boundary == "periodic":
            return grid
        if coupling.stride > 1:
            return None
        if not any(coupling.radius):  # a 1x1 operator meets no boundary
            return replace(grid, boundary="periodic")
        exact = grid.boundary == "replicate" and coupling.has_cosine_transform("replicate")
        return grid if exact else None


@dataclass(frozen=True, eq=False)
class Source:
    """What was found in a source.

    Attributes:
        path: of the source.
        layers: every operator, in order.
        fields: operators K whose steps are taken on -K^T K, the normalisation folded in; for a
            file of weights these are the layers themselves.
        method, step_size: of the time steps of a run; None for a file of weights.
        warnings: what was assumed.
    """

    path: str
    layers: list[Layer]
    fields: list[Layer]
    method: str | None = None
    step_size: float | None = None
    warnings: list[str] = field(default_factory=list)


def open_source(
    path: str,
    *,
    layer: str | None = None,
    groups: dict[str, int] | None = None,
    strides: dict[str, int] | None = None,
    dilations: dict[str, int] | None = None,
) -> Source:
    """The operators of a run folder, of its `.safetensors` file, or of a file of weights.

    Args:
        path: the source; RUN/first for a run before its training.
        layer: keep this layer only; the one way to arrays of 3 or 5 axes, as other things than
            weights have three.
        groups, strides, dilations: of arrays in a file of weights, by name.

    Raises:
        InputError: where there is no such source, or it cannot be read as operators.
    """
    given = (groups, strides, dilations)
    overrides = {o: v or {} for o, v in zip(ARRAY_OPTIONS, given, strict=True)}
    try:
        place = Path(path)
        folder, exists = place.is_dir(), place.exists()
    except (OSError, ValueError) as error:  # a name too long, a null character
        raise InputError("a run, a .safetensors or an .npz file", error, "check SOURCE") from None
    first = not exists and place.name == FIRST and _is_run(place.parent)
    if not exists and not first:
        raise _missing(path)
    if first or folder or (place.suffix == ".safetensors" and _is_ours(place)):
        for option in (option for option, values in overrides.items() if values):
            expected = f"a file of weights beside {option}"
            raise InputError(expected, f"the run {path}", f"leave out {option}")
        return _read_run(path, layer, first=first)
    if place.suffix == ".safetensors":
        return _read_weights(path, read_safetensors(place)[0], layer, overrides)
    if place.suffix == ".npz":
        return _read_weights(path, read_npz(place), layer, overrides)
    raise InputError(
        "a run folder, a .safetensors or an .npz file", f"'{path}'", "pass one of these as SOURCE"
    )


def _is_run(folder: Path) -> bool:
    from pdenet.training.checkpoint import MODEL_FILE

    return (folder / MODEL_FILE).is_file()


def _is_ours(file: Path) -> bool:
    """Whether training wrote a .safetensors file: then its metadata tells the network."""
    return safetensors_metadata(file).get("format", "").startswith("pdenet")


def _missing(path: str) -> InputError:
    from pdenet.files import missing_path

    module, colon, factory = path.partition(":")
    if colon and factory.isidentifier() and all(p.isidentifier() for p in module.split(".")):
        return InputError(
            "a run folder, a .safetensors or an .npz file",
            f"the factory '{path}'",
            "save the weights of the model with safetensors.torch.save_file and pass that file",
        )
    return missing_path("a run folder, a .safetensors or an .npz file", path)


def _read_run(path: str, layer: str | None, *, first: bool = False) -> Source:
    """All operators of a trained network, or of its beginning, at the sizes they meet in it."""
    from pdenet.networks import per_step
    from pdenet.operators.base import StencilOperator
    from pdenet.training.checkpoint import load_first, load_run

    run = load_first(Path(path).parent) if first else load_run(path)
    network = per_step(run.network)  # weights that are functions of time, at the steps
    sizes = _input_sizes(network, run.images.image_shape)
    layers = [
        Layer(name, _in_numpy(module.coupling()), module.boundary, _nearest(sizes, name))
        for name, module in network.named_modules()
        if isinstance(module, StencilOperator)
    ]
    warnings: list[str] = []
    if first:
        seed = run.config.training.seed
        warnings.append(f"{path}: initial weights drawn again from seed {seed} of the run")
    config = run.config.network
    fields = _time_steps(network, sizes, warnings)
    if layer is not None:
        names = [item.name for item in layers]
        layers = [item for item in layers if _belongs(item.name, layer)]
        fields = [i for i in fields if _belongs(i.name, layer) or _belongs(layer, i.name)]
        if not layers:
            raise unknown_name("layer", layer, names)
    return Source(path, layers, fields, config.method, config.step_size, warnings)


def _belongs(name: str, part: str) -> bool:
    """Whether a module is the named part of the network or lies in it."""
    return name == part or name.startswith(f"{part}.")


def _time_steps(
    network: Any, sizes: dict[str, tuple[int, int]], warnings: list[str]
) -> list[Layer]:
    """The operators K of the steps y' = -K^T sigma(S K y + b), as (L S)^(1/2) K."""
    from analysis.stacked import Stacked
    from pdenet.layers.terms import DiffusionReactionTerm, ParabolicTerm

    fields = []
    for name, step in network.time_steps():
        term = step.term
        if isinstance(term, ParabolicTerm):
            parts = [(term.operator, term.normalization)]
        elif isinstance(term, DiffusionReactionTerm):
            parts = [(term.diffusion_operator, term.diffusion_normalization)]
            if term.reaction == "dissipative":
                parts.append((term.reaction_operator, term.reaction_normalization))
            else:
                warnings.append(f"{name}: the plain reaction is left out, the diffusion counts")
        else:
            continue
        scaled = [_folded(name, *part, term.slope_bound, warnings) for part in parts]
        coupling = scaled[0] if len(scaled) == 1 else Stacked(parts=tuple(scaled))
        fields.append(Layer(name, coupling, parts[0][0].boundary, _nearest(sizes, name)))
    return fields


def _folded(
    name: str, operator: Any, normalization: Any, slope_bound: float, warnings: list[str]
) -> Coupling:
    """(L S)^(1/2) K with the scale S of the normalisation at inference and the slope bound L."""
    import numpy as np

    from pdenet.layers.normalization import inference_affine

    scale, _ = inference_affine(normalization, operator.out_channels)
    gains = scale.detach().double().cpu().numpy()
    negative = np.flatnonzero(gains < 0)
    if negative.size:
        warnings.append(
            f"{name}: negative gains of the normalisation in channels "
            f"{', '.join(map(str, negative[:5]))}{', ...' if negative.size > 5 else ''} are "
            "anti-diffusive and counted as positive; pdenet inspect judges them"
        )
    return _in_numpy(operator.coupling()).scale_rows(np.sqrt(slope_bound * np.abs(gains)))


def _in_numpy(coupling: Any) -> Coupling:
    """A coupling with float64 NumPy weights in place of live tensors."""
    from dataclasses import fields, replace

    from torch import Tensor

    values = {item.name: getattr(coupling, item.name) for item in fields(coupling)}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    arrays = {name: t.detach().double().cpu().numpy() for name, t in tensors.items()}
    converted: Coupling = replace(coupling, **arrays)
    return converted


def _input_sizes(network: Any, image_shape: tuple[int, int, int]) -> dict[str, tuple[int, int]]:
    """Height and width that every module is called with, from one pass of an empty image."""
    import torch

    sizes: dict[str, tuple[int, int]] = {}

    def remember(name: str) -> Any:
        def hook(module: Any, inputs: tuple[Any, ...]) -> None:
            if inputs and getattr(inputs[0], "ndim", 0) == 4:
                sizes.setdefault(name, (int(inputs[0].shape[-2]), int(inputs[0].shape[-1])))

        return hook

    handles = [m.register_forward_pre_hook(remember(n)) for n, m in network.named_modules()]
    try:
        height, width, channels = image_shape
        with torch.no_grad():
            network(torch.zeros(1, channels, height, width))
    finally:
        for handle in handles:
            handle.remove()
    return sizes


def _nearest(sizes: dict[str, tuple[int, int]], name: str) -> tuple[int, int] | None:
    """Size of a module or of the nearest module that holds it."""
    while name not in sizes and name:
        name = name.rpartition(".")[0]
    return sizes.get(name)


def _read_weights(
    path: str,
    arrays: dict[str, np.ndarray],
    layer: str | None,
    overrides: dict[str, dict[str, int]],
) -> Source:
    """Every 4-D array as a convolution, or the one named; without metadata dense, of stride 1."""
    weights = {
        name: array
        for name, array in arrays.items()
        if array.ndim == 4 or (name == layer and array.ndim in (3, 5))
    }
    if not weights:
        others = [name for name, array in arrays.items() if array.ndim in (3, 5)]
        remedy = f"name an array of 3 or 5 axes, as --layer {others[0]}" if others else None
        got = f"none of {len(arrays)} arrays"
        raise InputError(f"4-D weights in {path}", got, remedy or "check SOURCE")
    for option, values in overrides.items():
        for name in values:
            if name not in weights:
                raise unknown_name(f"layer for {option}", name, weights)
    names = list(weights) if layer is None else [layer]
    if layer is not None and layer not in weights:
        raise unknown_name("layer", layer, weights)
    groups, strides, dilations = (overrides[option] for option in ARRAY_OPTIONS)
    layers = []
    for name in names:
        steps = strides.get(name, 1), dilations.get(name, 1)
        layers.append(Layer(name, _as_coupling(name, weights[name], groups.get(name), *steps)))
    kind = "every 4-D array" if weights[names[0]].ndim == 4 else "the array named"
    assumption = (
        f"weights without metadata: {kind} is read as a dense stride-1 convolution unless "
        "--groups NAME=G or --stride NAME=S say otherwise; the boundary is taken as periodic"
    )
    return Source(path, layers, layers, warnings=[assumption])


def _as_coupling(
    name: str, weight: np.ndarray, groups: int | None, stride: int, dilation: int
) -> Coupling:
    """One array as an operator in the tightest structure it has."""
    import numpy as np

    from analysis.couplings import Depthwise, Full, Grouped, Pointwise

    shape = weight.shape
    if weight.dtype.kind not in "iuf" or 0 in shape:
        expected = f"a {weight.ndim}-D array of real numbers for layer {name}"
        got = f"type {weight.dtype}, shape {shape}"
        raise InputError(expected, got, "use --layer NAME")
    weight = weight.astype(np.float64)
    if not np.isfinite(weight).all():
        raise InputError(f"finite weights in layer {name}", "nan or inf", "use other weights")
    if groups is None and shape[1] == 1 and shape[0] > 1 and max(shape[2:]) > 1:
        raise InputError(
            f"--groups {name}=G for layer {name} of shape {shape}",
            "nothing",
            f"pass --groups {name}={shape[0]} if it is depthwise, {name}=1 if it is not",
        )
    try:
        if groups is not None and groups > 1:
            if groups == shape[0] and shape[1] == 1:
                return Depthwise(weight[:, 0], stride=stride, dilation=dilation)
            return Grouped(weight, groups, stride=stride, dilation=dilation)
        if max(shape[2:]) == 1:
            matrix = weight.reshape(shape[:2])
            return Pointwise(matrix, spatial_axes=weight.ndim - 2, stride=stride, dilation=dilation)
        return Full(weight, stride=stride, dilation=dilation)
    except InputError as error:
        raise InputError(f"{error.expected} (layer {name})", error.got, error.remedy) from None
