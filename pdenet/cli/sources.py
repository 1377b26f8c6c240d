"""SOURCE of `spectrum` and `stability`: a run, or a file of 4-D weights, as named operators."""

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

DEFAULT_SIZE = (32, 32)


@dataclass(frozen=True, eq=False)
class Layer:
    """One convolution operator of a source.

    Attributes:
        name: as the source calls it.
        coupling: the operator as the analysis knows it.
        boundary: boundary condition, a name of `analysis.grid.BOUNDARIES`.
        size: height and width of its input; None where the source does not say.
    """

    name: str
    coupling: Coupling
    boundary: str = "periodic"
    size: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the dense weights, (c_out, c_in, k, k)."""
        return (self.coupling.channels_out, self.coupling.channels_in, *self.coupling.kernel_shape)

    def grid(self, size: tuple[int, int] | None = None, boundary: str | None = None) -> Grid:
        """The grid of the layer, with another size or boundary where they are given."""
        from analysis.grid import Grid

        return Grid(size or self.size or DEFAULT_SIZE, boundary=boundary or self.boundary)

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
) -> Source:
    """The operators of a run folder, of its `.safetensors` file, or of a file of 4-D weights.

    Args:
        path: the source.
        layer: keep this layer only.
        groups, strides: of arrays in a file of weights, by name.

    Raises:
        InputError: where there is no such source, or it cannot be read as operators.
    """
    overrides = {"--groups": groups or {}, "--stride": strides or {}}
    try:
        place = Path(path)
        folder, exists = place.is_dir(), place.exists()
    except (OSError, ValueError) as error:  # a name too long, a null character
        raise InputError("a run, a .safetensors or an .npz file", error, "check SOURCE") from None
    if not exists:
        raise _missing(path)
    if folder or (place.suffix == ".safetensors" and _is_ours(place)):
        given = [option for option, values in overrides.items() if values]
        if given:
            raise InputError(
                f"a file of weights beside {given[0]}", f"the run {path}", f"leave out {given[0]}"
            )
        return _read_run(path, layer)
    if place.suffix == ".safetensors":
        return _read_weights(path, read_safetensors(place)[0], layer, overrides)
    if place.suffix == ".npz":
        return _read_weights(path, read_npz(place), layer, overrides)
    raise InputError(
        "a run folder, a .safetensors or an .npz file", f"'{path}'", "pass one of these as SOURCE"
    )


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


def _read_run(path: str, layer: str | None) -> Source:
    """All operators of a trained network, at the sizes they meet in it."""
    from pdenet.operators.base import StencilOperator
    from pdenet.training.checkpoint import load_run

    run = load_run(path)
    sizes = _input_sizes(run.network, run.images.image_shape)
    layers = [
        Layer(name, _in_numpy(module.coupling()), module.boundary, _nearest(sizes, name))
        for name, module in run.network.named_modules()
        if isinstance(module, StencilOperator)
    ]
    warnings: list[str] = []
    config = run.config.network
    fields = _time_steps(run.network, sizes, warnings)
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
    """Every 4-D array as a convolution; without metadata it is dense and of stride 1."""
    weights = {name: array for name, array in arrays.items() if array.ndim == 4}
    if not weights:
        raise InputError(f"4-D weights in {path}", f"none of {len(arrays)} arrays", "check SOURCE")
    for option, values in overrides.items():
        for name in values:
            if name not in weights:
                raise unknown_name(f"layer for {option}", name, weights)
    names = list(weights) if layer is None else [layer]
    if layer is not None and layer not in weights:
        raise unknown_name("layer", layer, weights)
    groups, strides = overrides["--groups"], overrides["--stride"]
    layers = [
        Layer(name, _as_coupling(name, weights[name], groups.get(name), strides.get(name, 1)))
        for name in names
    ]
    assumption = (
        "weights without metadata: every 4-D array is read as a dense stride-1 convolution unless "
        "--groups NAME=G or --stride NAME=S say otherwise; the boundary is taken as periodic"
    )
    return Source(path, layers, layers, warnings=[assumption])


def _as_coupling(name: str, weight: np.ndarray, groups: int | None, stride: int) -> Coupling:
    """One array as an operator in the tightest structure it has."""
    import numpy as np

    from analysis.couplings import Depthwise, Full, Grouped, Pointwise

    shape = weight.shape
    if weight.dtype.kind not in "iuf" or 0 in shape:
        got = f"type {weight.dtype}, shape {shape}"
        raise InputError(f"a 4-D array of real numbers for layer {name}", got, "use --layer NAME")
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
                return Depthwise(weight[:, 0], stride=stride)
            return Grouped(weight, groups, stride=stride)
        if shape[2:] == (1, 1):
            return Pointwise(weight[:, :, 0, 0], stride=stride)
        return Full(weight, stride=stride)
    except InputError as error:
        raise InputError(f"{error.expected} (layer {name})", error.got, error.remedy) from None
