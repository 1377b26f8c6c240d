"""The training loop: one function to call, one class to read.

    train(config, data, out)  ->  TrainingResult, and a run folder

Everything random is drawn from (seed, epoch): the same seed on the same machine with the same
number of threads gives the same weights, and a resumed run those of an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from analysis.errors import InputError
from pdenet.networks import PDENet
from pdenet.training.checkpoint import State, changed_key, initial_network, load_state
from pdenet.training.config import RunConfig, fit_to_data
from pdenet.training.constraints import NotFinite, check_constraint
from pdenet.training.device import (
    choose_device,
    enough_threads,
    keep_large_buffers,
    reproducible_numerics,
)
from pdenet.training.level import Diverged, TrainingLevel
from pdenet.training.multilevel import level_of_epoch, refined, run_of_level, sizes_of_levels
from pdenet.training.optimization import learning_rate
from pdenet.training.records import RunFolder

if TYPE_CHECKING:
    from pdenet.data.sources import ImageData


@dataclass(frozen=True)
class Progress:
    """Where a run stands, passed to the progress callback after every step.

    Attributes:
        epoch, epochs: the current epoch (from 1) and their number, over all levels.
        step, steps: the current step of the epoch (from 1) and their number.
        learning_rate: of this step.
        loss, accuracy: means over the epoch so far, on training images.
        test_accuracy: set in one more call at the end of every epoch, otherwise None.
        level, levels: the current level (from 1, the coarsest) and their number.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    learning_rate: float
    loss: float
    accuracy: float
    test_accuracy: float | None = None
    level: int = 1
    levels: int = 1


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    Attributes:
        run: the run folder.
        status: ``completed``, ``diverged`` or ``interrupted``.
        message: one sentence on the status.
        epochs: epochs completed; the checkpoint is the network after them.
        train_loss, test_accuracy: after these epochs; None where there are none.
        weights: number of trained weights, of the level reached.
        multiply_adds: of one image of that level through its network.
        seconds: of all epochs, those before a resumption included.
    """

    run: Path
    status: str
    message: str
    epochs: int
    train_loss: float | None
    test_accuracy: float | None
    weights: int
    multiply_adds: int
    seconds: float


def train(
    config: RunConfig,
    data: ImageData,
    out: str | Path,
    *,
    resume: bool = False,
    progress: ProgressCallback | None = None,
) -> TrainingResult:
    """Train a network and leave a run folder; a stopped run is a result, not an exception.

    Args:
        config: of network and training.
        data: images as ``pdenet.data`` loads them.
        out: the run folder; new or empty unless ``resume``.
        resume: continue the run in ``out`` after its last completed epoch, exactly.
        progress: called after every step and every epoch.

    Returns:
        The result; with status ``diverged`` or ``interrupted`` the folder holds the state after
        the last completed epoch.

    Raises:
        InputError: before any work, where the configuration cannot be carried out or ``out``
            cannot be used.
    """
    _check(config, data)
    device = choose_device(config.training.device)
    state = _previous_state(Path(out), config, resume)
    if device.type == "cpu":
        keep_large_buffers()
    with reproducible_numerics():
        run = _Run(config, data, Path(out), device, state)
        status, message = run.train(progress, new=state is None)
    return run.result(status, message)


class _Run:
    """A training over all its levels: the level that is trained, and the records."""

    def __init__(
        self,
        config: RunConfig,
        data: ImageData,
        out: Path,
        device: torch.device,
        state: State | None,
    ) -> None:
        self.config, self.data, self.device = config, data, device
        self.rows: list[dict[str, float | None]] = list(state.rows) if state else []
        index = level_of_epoch(config, max(self.completed, 1))
        network = initial_network(run_of_level(config, index, self.side))
        self.level = TrainingLevel(config, index, data, device, network, state)
        self.folder = RunFolder(out, config)

    @property
    def side(self) -> int:
        """Rows of the finest images."""
        return int(self.data.train_images.shape[1])

    @property
    def completed(self) -> int:
        """Epochs completed."""
        return len(self.rows)

    def train(self, progress: ProgressCallback | None, *, new: bool) -> tuple[str, str]:
        """All epochs that are left; the status of the run and a sentence about it."""
        epochs = self.config.training.total_epochs
        try:
            if new:
                self.save()
            while self.completed < epochs:
                self.train_epoch(progress)
                self.save()
        except (Diverged, NotFinite) as error:
            return "diverged", f"{error}; the network after epoch {self.completed} is kept"
        except KeyboardInterrupt:
            where = f"resume from the state after epoch {self.completed}"
            return "interrupted", f"interrupted; {where}"
        finally:
            self.folder.close()
        return "completed", f"trained for {epochs} epoch{'s' if epochs > 1 else ''}"

    def train_epoch(self, progress: ProgressCallback | None) -> None:
        """One pass over the training images, then an evaluation; appends a row of metrics."""
        started = time.perf_counter()
        while self.level.index < level_of_epoch(self.config, self.completed + 1):
            self._refine()
        level, report = self.level, progress or (lambda at: None)
        with enough_threads(level.multiply_adds * self.config.training.batch_size):
            at = self._train_images(report)
            value = level.projection.certify() if level.projection else None
            test_loss, test_accuracy = level.evaluate()
        level.check_finite(at.epoch, test_loss)
        self.rows.append(
            {
                "epoch": at.epoch,
                "level": at.level,
                "learning_rate": at.learning_rate,
                "train_loss": at.loss,
                "train_accuracy": at.accuracy,
                "test_loss": test_loss,
                "test_accuracy": test_accuracy,
                "seconds": time.perf_counter() - started,
                "nonexpansive_value": value,
            }
        )
        report(replace(at, test_accuracy=test_accuracy))

    def _refine(self) -> None:
        """Go on to the next level, with the network of this one on its mesh."""
        level = self.level
        network = refined(level.network, self.config, level.index, self.side)
        self.level = TrainingLevel(self.config, level.index + 1, self.data, self.device, network)

    def _train_images(self, report: ProgressCallback) -> Progress:
        """All optimiser steps of an epoch; what was reported after the last of them."""
        level, training, epoch = self.level, self.config.training, self.completed + 1
        steps, levels = len(level.batches), len(training.levels) + 1
        first = level.config.training.total_epochs - level.epochs + 1
        level.batches.generator.manual_seed(epoch_seed(training.seed, epoch))
        level.network.train()
        loss_sum, correct, seen = 0.0, 0, 0
        for step, (images, labels) in enumerate(level.batches, start=1):
            taken = (epoch - first) * steps + step - 1
            rate = learning_rate(taken, level.epochs * steps, training.learning_rate)
            loss, hits = level.step(images, labels, rate)
            if not math.isfinite(loss):
                raise Diverged(
                    f"the loss became {loss} in epoch {epoch}, step {step}, at learning rate "
                    f"{rate:.3g}: train with a lower learning rate"
                )
            seen, correct = seen + len(labels), correct + hits
            loss_sum += loss * len(labels)
            shown = (epoch, training.total_epochs, step, steps, rate, loss_sum / seen)
            at = Progress(*shown, correct / seen, level=level.index + 1, levels=levels)
            report(at)
        return at

    def save(self) -> None:
        """Write model, metrics, curves and the resumable state."""
        level = self.level
        self.folder.save(level.network, level.optimizer, self.rows, level.config, level.images)

    def result(self, status: str, message: str) -> TrainingResult:
        """The result of the epochs completed."""
        last = self.rows[-1] if self.rows else {}
        return TrainingResult(
            run=self.folder.path,
            status=status,
            message=message,
            epochs=self.completed,
            train_loss=last.get("train_loss"),
            test_accuracy=last.get("test_accuracy"),
            weights=self.level.network.weights,
            multiply_adds=self.level.multiply_adds,
            seconds=sum(row["seconds"] or 0.0 for row in self.rows),
        )


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of the random numbers of one epoch, a function of seed and epoch alone."""
    digest = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def _check(config: RunConfig, data: ImageData) -> None:
    """Refuse what cannot be trained, before any work is done."""
    wanted, got = fit_to_data(config, data).network, config.network
    if wanted != got:
        raise InputError(
            f"a network for {wanted.in_channels} channels and {wanted.classes} classes "
            f"(those of {data.name})",
            f"one for {got.in_channels} channels and {got.classes} classes",
            "leave in_channels and classes to the data",
        )
    with torch.device("meta"):  # shapes alone, no memory and no random numbers
        smallest = PDENet(config.network).smallest_side
    for run, (height, width) in sizes_of_levels(config, data):
        if min(height, width) < smallest:
            raise InputError(
                f"images of at least {smallest} pixels a side for {len(got.widths)} widths",
                f"{height}x{width}",
                "use fewer widths or larger images",
            )
        check_constraint(run, (height, width))


def _previous_state(out: Path, config: RunConfig, resume: bool) -> State | None:
    """State to resume from, or None for a new run in a new or empty folder."""
    if not resume:
        if out.is_dir() and not any(out.iterdir()):
            return None
        if out.exists():
            raise InputError(
                "a new or empty run folder", f"{out}", "choose another --out or pass --resume"
            )
        return None
    state = load_state(out)
    key = changed_key(state.config, config)
    if key:
        raise InputError(
            "the configuration of the run that is resumed",
            f"another value of {key}",
            "resume with the run's own config.toml or start a new run",
        )
    return state
