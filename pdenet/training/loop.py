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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from analysis.errors import InputError
from pdenet.data.batches import Batches
from pdenet.networks import PDENet
from pdenet.training.checkpoint import (
    ImageFacts,
    State,
    changed_key,
    initial_network,
    load_state,
    restore,
)
from pdenet.training.config import RunConfig, fit_to_data
from pdenet.training.constraints import NotFinite, Projection, check_constraint
from pdenet.training.device import (
    choose_device,
    enough_threads,
    keep_large_buffers,
    memory_format,
    reproducible_numerics,
)
from pdenet.training.optimization import build_optimizer, learning_rate
from pdenet.training.records import RunFolder

if TYPE_CHECKING:
    from pdenet.data.sources import ImageData

EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Progress:
    """Where a run stands, passed to the progress callback after every step.

    Attributes:
        epoch, epochs: the current epoch (from 1) and their number.
        step, steps: the current step of the epoch (from 1) and their number.
        learning_rate: of this step.
        loss, accuracy: means over the epoch so far, on training images.
        test_accuracy: set in one more call at the end of every epoch, otherwise None.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    learning_rate: float
    loss: float
    accuracy: float
    test_accuracy: float | None = None


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
        weights: number of trained weights.
        multiply_adds: of one image through the network.
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
        with enough_threads(run.multiply_adds * config.training.batch_size):
            status, message = run.train(progress, new=state is None)
    return run.result(status, message)


class _Diverged(Exception):
    """The loss or the weights are no longer finite."""


class _Run:
    """A network in training: its data, optimiser, constraint and records."""

    def __init__(
        self,
        config: RunConfig,
        data: ImageData,
        out: Path,
        device: torch.device,
        state: State | None,
    ) -> None:
        self.config, self.device = config, device
        self.facts = ImageFacts.of(data)
        self.batches, self.test_batches = make_batches(config, data, device)
        network = initial_network(config)
        layout = memory_format(device, config.network.coupling)
        self.network = network.to(device)
        self.network.to(memory_format=layout)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.network, config.training)
        if state is not None:
            restore(state, self.network, self.optimizer)
        constrained = config.training.constraint == "nonexpansive"
        self.projection = Projection(self.network) if constrained else None
        self.rows: list[dict[str, float | None]] = list(state.rows) if state else []
        self.folder = RunFolder(out, config, self.facts)

    @property
    def completed(self) -> int:
        """Epochs completed."""
        return len(self.rows)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one image through the network."""
        height, width, _ = self.facts.image_shape
        return self.network.multiply_adds(height, width)

    def train(self, progress: ProgressCallback | None, *, new: bool) -> tuple[str, str]:
        """All epochs that are left; the status of the run and a sentence about it."""
        epochs = self.config.training.epochs
        try:
            if new:
                self.save()
            while self.completed < epochs:
                self.train_epoch(progress)
                self.save()
        except (_Diverged, NotFinite) as error:
            return "diverged", f"{error}; the network after epoch {self.completed} is kept"
        except KeyboardInterrupt:
            where = f"resume from the state after epoch {self.completed}"
            return "interrupted", f"interrupted; {where}"
        finally:
            self.folder.close()
        return "completed", f"trained for {epochs} epoch{'s' if epochs > 1 else ''}"

    def train_epoch(self, progress: ProgressCallback | None) -> None:
        """One pass over the training images, then an evaluation; appends a row of metrics."""
        config, epoch, started = self.config.training, self.completed + 1, time.perf_counter()
        steps = len(self.batches)
        self.batches.generator.manual_seed(epoch_seed(config.seed, epoch))
        self.network.train()
        loss_sum, correct, seen, rate = 0.0, 0, 0, 0.0
        for step, (images, labels) in enumerate(self.batches):
            taken = (epoch - 1) * steps + step
            rate = learning_rate(taken, config.epochs * steps, config.learning_rate)
            loss, hits = self._step(images, labels, rate)
            if not math.isfinite(loss):
                raise _Diverged(
                    f"the loss became {loss} in epoch {epoch}, step {step + 1}, at learning rate "
                    f"{rate:.3g}: train with a lower learning rate"
                )
            seen, correct = seen + len(labels), correct + hits
            loss_sum += loss * len(labels)
            if progress:
                shown = (epoch, config.epochs, step + 1, steps, rate)
                progress(Progress(*shown, loss_sum / seen, correct / seen))
        value = self.projection.certify() if self.projection else None
        test_loss, test_accuracy = self.evaluate()
        self._check_finite(epoch, test_loss)
        self.rows.append(
            {
                "epoch": epoch,
                "learning_rate": rate,
                "train_loss": loss_sum / seen,
                "train_accuracy": correct / seen,
                "test_loss": test_loss,
                "test_accuracy": test_accuracy,
                "seconds": time.perf_counter() - started,
                "nonexpansive_value": value,
            }
        )
        if progress:
            shown = (epoch, config.epochs, steps, steps, rate)
            progress(Progress(*shown, loss_sum / seen, correct / seen, test_accuracy))

    def _step(self, images: torch.Tensor, labels: torch.Tensor, rate: float) -> tuple[float, int]:
        """One optimiser step on a batch; its loss and its number of correct images."""
        scores = self.network(images)
        smoothing = self.config.training.label_smoothing
        loss = functional.cross_entropy(scores, labels, label_smoothing=smoothing)
        value = loss.item()
        if math.isfinite(value):
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            if self.projection:
                self.projection.project()
        return value, int((scores.argmax(1) == labels).sum())

    @torch.no_grad()
    def evaluate(self) -> tuple[float, float]:
        """Mean loss and accuracy on the test images, with the statistics of inference."""
        self.network.eval()
        loss, correct, seen = 0.0, 0, 0
        for images, labels in self.test_batches:
            scores = self.network(images)
            loss += functional.cross_entropy(scores, labels, reduction="sum").item()
            correct += int((scores.argmax(1) == labels).sum())
            seen += len(labels)
        return loss / seen, correct / seen

    def _check_finite(self, epoch: int, test_loss: float) -> None:
        """Refuse to keep weights or statistics that are not finite."""
        tensors = self.network.state_dict().values()
        if not all(bool(torch.isfinite(t).all()) for t in tensors) or not math.isfinite(test_loss):
            raise _Diverged(
                f"weights or test loss were no longer finite at the end of epoch {epoch}: train "
                "with a lower learning rate"
            )

    def save(self) -> None:
        """Write model, metrics, curves and the resumable state."""
        self.folder.save(self.network, self.optimizer, self.rows)

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
            weights=sum(p.numel() for p in self.network.parameters()),
            multiply_adds=self.multiply_adds,
            seconds=sum(row["seconds"] or 0.0 for row in self.rows),
        )


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of the random numbers of one epoch, a function of seed and epoch alone."""
    digest = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def make_batches(
    config: RunConfig, data: ImageData, device: torch.device
) -> tuple[Batches, Batches]:
    """Training batches, shuffled and augmented, and test batches, as they are."""
    common: dict[str, Any] = {
        "mean": data.mean,
        "std": data.std,
        "device": device,
        "channels_last": memory_format(device, config.network.coupling) is torch.channels_last,
    }
    training = config.training
    moved: dict[str, Any] = {"shuffle": True, "crop": training.crop, "flip": training.flip}
    moved["generator"] = torch.Generator()
    size = training.batch_size
    train_batches = Batches(data.train_images, data.train_labels, size, **moved, **common)
    return train_batches, Batches(data.test_images, data.test_labels, EVALUATION_BATCH, **common)


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
    height, width = data.train_images.shape[1:3]
    if min(height, width) < smallest:
        raise InputError(
            f"images of at least {smallest} pixels a side for {len(got.widths)} widths",
            f"{height}x{width}",
            "use fewer widths or larger images",
        )
    check_constraint(config, (height, width))


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
