"""Runs on disk: a model that explains itself, and the state from which a run continues exactly.

A run is a folder; ``model.safetensors`` alone is enough to inspect a network: its metadata holds
format, version, configuration (TOML text), seed, classes, image shape and statistics.
``last/state.safetensors`` holds what an exact continuation needs. No file is a pickle, and every
file is written whole or not at all.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from analysis.errors import InputError
from pdenet import __version__
from pdenet.config import from_toml, to_toml
from pdenet.files import write_atomic
from pdenet.networks import PDENet
from pdenet.training.config import RunConfig
from pdenet.training.constraints import Projection
from pdenet.training.multilevel import refined, run_of_level

if TYPE_CHECKING:
    from pdenet.data.sources import ImageData

MODEL_FORMAT = "pdenet/1"
STATE_FORMAT = "pdenet-state/1"
MODEL_FILE = "model.safetensors"
STATE_FILE = "last/state.safetensors"


@dataclass(frozen=True)
class ImageFacts:
    """What a network must know of the images it was trained on.

    Attributes:
        classes: names of the classes, in the order of the labels.
        image_shape: height, width and channels.
        mean, std: of every channel, in the units of ``ImageData``.
    """

    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, data: ImageData) -> ImageFacts:
        """The facts of a loaded data set."""
        height, width, channels = (int(n) for n in data.train_images.shape[1:])
        mean, std = ([float(v) for v in values] for values in (data.mean, data.std))
        return cls(tuple(data.classes), (height, width, channels), tuple(mean), tuple(std))


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """A trained network as read from disk.

    Attributes:
        path: the file that was read.
        config: network and training configuration.
        network: the network in inference mode, float32, on the CPU.
        images: classes, image shape and statistics of the training data.
        metadata: all metadata of the file, as text.
    """

    path: Path
    config: RunConfig
    network: PDENet
    images: ImageFacts
    metadata: dict[str, str]


@dataclass(frozen=True, eq=False)
class State:
    """The resumable state of a run after a whole number of epochs.

    Attributes:
        config: the configuration of the run, all levels included.
        epoch: epochs completed.
        rows: one row of metrics an epoch.
        tensors: weights of the level reached as ``model.NAME``, optimiser state as
            ``optimizer.INDEX.NAME``.
    """

    config: RunConfig
    epoch: int
    rows: list[dict[str, float | None]]
    tensors: dict[str, torch.Tensor]


def save_model(
    path: Path, network: PDENet, config: RunConfig, images: ImageFacts, **facts: object
) -> None:
    """Write a network with everything that is needed to read it again.

    Args:
        path: the file.
        network: on any device.
        config: of the run.
        images: classes, shape and statistics of the data.
        facts: further metadata (``epoch``, ``test_accuracy``), written as JSON.
    """
    metadata = {
        "format": MODEL_FORMAT,
        "version": __version__,
        "config": to_toml(config),
        "seed": str(config.training.seed),
    }
    metadata |= {f.name: json.dumps(getattr(images, f.name)) for f in fields(images)}
    metadata |= {name: json.dumps(value) for name, value in facts.items()}
    write_atomic(path, save(_on_cpu(network.state_dict()), metadata))


def load_run(path: str | Path) -> LoadedRun:
    """Read a run folder or a ``.safetensors`` file that training wrote.

    Raises:
        InputError: where there is no such file, it is corrupt, of another format, or its weights
            do not fit its configuration.
    """
    path = Path(path)
    file = path / MODEL_FILE if path.is_dir() else path
    tensors, metadata = _read(file, MODEL_FORMAT)
    config = _config(file, metadata)
    images = _image_facts(file, metadata, config)
    # On the meta device first: a file that lies about its sizes allocates nothing.
    with torch.device("meta"):
        wanted = PDENet(config.network).state_dict()
    _check_tensors(file, tensors, wanted)
    with torch.random.fork_rng(devices=[]):  # initial weights must not advance the caller's
        network = PDENet(config.network)
    network.load_state_dict(tensors)
    return LoadedRun(file, config, network.eval(), images, metadata)


def initial_network(config: RunConfig) -> PDENet:
    """The network with which a training begins, drawn from its seed, on the CPU.

    A run with levels begins with that of its coarsest one, ``run_of_level(config, 0, side)``.
    """
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers go on as they were
        torch.manual_seed(config.training.seed)
        return PDENet(config.network)


def load_first(path: str | Path) -> LoadedRun:
    """A run before its first epoch: initial weights, inside their limits where constrained.

    Drawn again with this version of torch; where coarser levels came first, drawn on the coarsest
    and refined. Raises InputError as ``load_run``.
    """
    run = load_run(path)
    side = run.images.image_shape[0]
    network = initial_network(run_of_level(run.config, 0, side))
    for index in range(len(run.config.training.levels)):
        network = refined(network, run.config, index, side)
    if run.config.training.constraint == "nonexpansive":
        Projection(network)
    return replace(run, network=network.eval())


def save_state(
    out: Path,
    network: PDENet,
    optimizer: torch.optim.Optimizer,
    config: RunConfig,
    rows: list[dict[str, float | None]],
) -> None:
    """Write the state after an epoch, one file: weights, optimiser, metrics, configuration.

    Order and augmentation of every epoch are drawn from (seed, epoch), and the learning rate is
    a function of the step, so the number of epochs is all there is to keep of them.
    """
    tensors = {f"model.{name}": value for name, value in network.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                tensors[f"optimizer.{index}.{name}"] = value
    metadata = {
        "format": STATE_FORMAT,
        "version": __version__,
        "config": to_toml(config),
        "rows": json.dumps(rows),
    }
    write_atomic(out / STATE_FILE, save(_on_cpu(tensors), metadata))


def load_state(out: Path) -> State:
    """Read the resumable state of a run folder.

    Raises:
        InputError: where there is none or it cannot be used.
    """
    file = out / STATE_FILE
    tensors, metadata = _read(file, STATE_FORMAT)
    config = _config(file, metadata)
    try:
        rows = [dict(row) for row in json.loads(metadata["rows"])]
    except (KeyError, ValueError, TypeError) as error:
        raise _unusable(file, f"metadata without readable {error}") from None
    return State(config, len(rows), rows, tensors)


def restore(state: State, network: PDENet, optimizer: torch.optim.Optimizer) -> None:
    """Put a state back into a network and an optimiser that were built from its configuration.

    Raises:
        InputError: where the tensors do not fit.
    """
    model, moments = _split(state.tensors)
    _check_tensors(Path(STATE_FILE), model, network.state_dict())
    network.load_state_dict(model)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    unpacked: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in moments.items():
        index, _, key = name.partition(".")
        if not index.isdigit() or int(index) >= len(parameters):
            raise _unusable(Path(STATE_FILE), f"optimiser state of an unknown weight {name}")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            # The memory layout of the weight: layouts may select another order of summation.
            value = torch.empty_like(parameter, device="cpu").copy_(value)
        unpacked.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": unpacked})


def changed_key(old: RunConfig, new: RunConfig) -> str | None:
    """First key in which two configurations differ, as ``table.key``; None where they agree."""
    before, after = (tomllib.loads(to_toml(config)) for config in (old, new))
    for table in sorted(before.keys() | after.keys()):
        first, second = before.get(table, {}), after.get(table, {})
        for key in sorted(first.keys() | second.keys()):
            if first.get(key) != second.get(key):
                return f"{table}.{key}"
    return None


def _on_cpu(tensors: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Contiguous copies on the CPU: safetensors knows no other memory layout and no sharing."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }


def _split(
    tensors: dict[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "optimizer": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise _unusable(Path(STATE_FILE), f"an unknown tensor {name}")
        parts[part][rest] = value
    return parts["model"], parts["optimizer"]


def _unusable(file: Path, problem: object) -> InputError:
    return InputError(
        f"a file that pdenet train wrote at {file}", problem, "pass a run folder or train again"
    )


def _read(file: Path, expected_format: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file of the expected format."""
    if not file.is_file():
        raise _unusable(file, "no such file")
    try:
        with safe_open(file, framework="pt", device="cpu") as content:
            metadata = dict(content.metadata() or {})
            found = metadata.get("format", "none")
            if found != expected_format:
                raise _unusable(file, f"format {found} instead of {expected_format}")
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, UnicodeError, RuntimeError) as error:
        raise _unusable(file, f"an unreadable file ({error})") from None
    return tensors, metadata


def _image_facts(file: Path, metadata: dict[str, str], config: RunConfig) -> ImageFacts:
    """Classes, shape and statistics from the metadata, each of the type and length it must have."""
    values: dict[str, Any] = {}
    channels, classes = config.network.in_channels, config.network.classes
    expected = {"classes": (str, classes), "image_shape": (int, 3)}
    expected |= {"mean": (float, channels), "std": (float, channels)}
    for name, (kind, length) in expected.items():
        try:
            value = json.loads(metadata[name])
        except (KeyError, ValueError, RecursionError):
            raise _unusable(file, f"metadata without readable {name}") from None
        good = isinstance(value, list) and len(value) == length
        if not good or any(type(item) is not kind for item in value):
            raise _unusable(file, f"metadata where {name} is not {length} x {kind.__name__}")
        values[name] = tuple(value)
    return ImageFacts(**values)


def _config(file: Path, metadata: dict[str, str]) -> RunConfig:
    if "config" not in metadata:
        raise _unusable(file, "metadata without a configuration")
    return from_toml(RunConfig, metadata["config"], f"the metadata of {file}")


def _check_tensors(
    file: Path, found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]
) -> None:
    """Refuse weights that are not those of the configuration."""
    for name in sorted(found.keys() ^ wanted.keys()):
        problem = "missing" if name in wanted else "unexpected"
        raise _unusable(file, f"weights that do not fit the configuration ({problem}: {name})")
    for name, value in wanted.items():
        got = found[name]
        if got.shape != value.shape or got.dtype != value.dtype:
            raise _unusable(
                file,
                f"{name} of shape {tuple(got.shape)} {got.dtype} instead of "
                f"{tuple(value.shape)} {value.dtype}",
            )
