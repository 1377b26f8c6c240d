"""What a training run is told: the network and how it is trained, as frozen data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from analysis.errors import InputError, unknown_name
from pdenet.networks import NetworkConfig
from pdenet.refinement import KEEPS

if TYPE_CHECKING:
    from pdenet.data.sources import ImageData

OPTIMIZERS = ("sgd", "adamw")
CONSTRAINTS = ("none", "nonexpansive")
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Level:
    """A coarser level that is trained before the network itself.

    Attributes:
        side: rows of its images, means over squares of pixels of the data.
        steps: time steps a block, over the same time as in the network itself.
        epochs: passes over the training images.

    Raises:
        InputError: for a value that is not a positive integer.
    """

    side: int
    steps: int
    epochs: int

    def __post_init__(self) -> None:
        for key in ("side", "steps", "epochs"):
            value = getattr(self, key)
            _require(_is_integer(value, 1), f"{key} of a level", "a positive integer", value)


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained.

    Attributes:
        data: name or path of the images, as ``pdenet.data`` reads it.
        train_images, test_images: how many images of each split to use; None for all.
        epochs: passes over the training images, those of the levels before not counted.
        levels: coarser levels trained first, each a beginning for the next
            (``pdenet.training.multilevel``).
        transfer: what stencils keep from level to level, one of ``pdenet.refinement.KEEPS``.
        batch_size: images a step; the images left over at the end of an epoch form a smaller batch
            (a single one joins the batch before it).
        optimizer: ``sgd`` (Nesterov momentum) or ``adamw``.
        learning_rate: peak of the schedule: linear warm-up, then a cosine to zero, on every level.
        momentum: of ``sgd``; the first beta of ``adamw``.
        weight_decay: of kernels and matrices; normalisations and biases have none.
        label_smoothing: share of the target spread evenly over all classes.
        crop: pixels of zero padding from which a random crop is taken; 0 for none.
        flip: mirror half of the images left to right.
        seed: of initial weights, order and augmentation.
        device: ``auto`` takes CUDA where there is one, otherwise the CPU.
        constraint: ``none``, or ``nonexpansive`` to keep every step inside its limit (theory §4).
        time_smoothness: factor of the penalty on weights that change from step to step
            (``pdenet.layers.time_weights.time_smoothness``); 0 for none.

    Raises:
        InputError: for a value out of range.
    """

    data: str = "digits"
    train_images: int | None = None
    test_images: int | None = None
    epochs: int = 20
    batch_size: int = 64
    optimizer: str = "sgd"
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    crop: int = 1
    flip: bool = False
    seed: int = 0
    device: str = "auto"
    constraint: str = "none"
    time_smoothness: float = 0.0
    levels: tuple[Level, ...] = ()
    transfer: str = "stencil"

    def __post_init__(self) -> None:
        _require_name("optimizer", self.optimizer, OPTIMIZERS)
        _require_name("constraint", self.constraint, CONSTRAINTS)
        _require_name("device", self.device, DEVICES)
        _require_name("transfer", self.transfer, KEEPS)
        for key in ("train_images", "test_images", "epochs", "batch_size"):
            value = getattr(self, key)
            optional = value is None and key.endswith("_images")
            _require(optional or _is_integer(value, 1), key, "a positive integer", value)
        for key in ("crop", "seed"):
            value = getattr(self, key)
            _require(_is_integer(value, 0), key, "a non-negative integer", value)
        _require(self.seed < 2**63, "seed", "an integer below 2^63", self.seed)
        rate = self.learning_rate
        _require(_is_number(rate) and rate > 0, "learning_rate", "a positive number", rate)
        for key in ("weight_decay", "time_smoothness"):
            value = getattr(self, key)
            _require(_is_number(value) and value >= 0, key, "a number >= 0", value)
        for key in ("momentum", "label_smoothing"):
            value = getattr(self, key)
            _require(_is_number(value) and 0 <= value < 1, key, "a number in [0, 1)", value)
        _require(isinstance(self.flip, bool), "flip", "true or false", self.flip)
        _require(isinstance(self.data, str) and bool(self.data), "data", "a name", self.data)
        object.__setattr__(self, "levels", tuple(self.levels))
        for level in self.levels:
            _require(isinstance(level, Level), "levels", "Level(side, steps, epochs)", level)

    @property
    def total_epochs(self) -> int:
        """Passes over the training images on all levels."""
        return self.epochs + sum(level.epochs for level in self.levels)


@dataclass(frozen=True)
class RunConfig:
    """Everything that defines a run: two tables of one TOML file.

    Raises:
        InputError: for levels that are no refinement of those before them.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        sides = [level.side for level in self.training.levels]
        steps = [*(level.steps for level in self.training.levels), self.network.steps]
        for name, values in (("sides", sides), ("steps", steps)):
            if values != sorted(values):
                raise InputError(
                    f"{name} of --levels that grow towards those of the network",
                    ", ".join(map(str, values)),
                    "order the levels from coarse to fine",
                )


def fit_to_data(config: RunConfig, data: ImageData) -> RunConfig:
    """The same run with the channels and classes of the images."""
    channels = int(data.train_images.shape[-1])
    network = replace(config.network, in_channels=channels, classes=len(data.classes))
    return replace(config, network=network)


def _is_integer(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)  # type: ignore[arg-type]


def _require(condition: bool, key: str, expected: str, got: object) -> None:
    if not condition:
        raise InputError(f"{expected} as {key}", repr(got), f"correct {key}")


def _require_name(key: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise unknown_name(key, value, known)
