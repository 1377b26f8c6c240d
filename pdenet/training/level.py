"""A network in training on one level: its images, its optimiser, its constraint (theory §5)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from pdenet.data.batches import Batches
from pdenet.layers.time_weights import time_smoothness
from pdenet.networks import PDENet
from pdenet.training.checkpoint import ImageFacts, State, restore
from pdenet.training.config import RunConfig
from pdenet.training.constraints import Projection
from pdenet.training.device import memory_format
from pdenet.training.multilevel import images_of_level, run_of_level
from pdenet.training.optimization import build_optimizer

if TYPE_CHECKING:
    from pdenet.data.sources import ImageData

EVALUATION_BATCH = 500


class Diverged(Exception):
    """The loss or the weights are no longer finite."""


class TrainingLevel:
    """Everything that training a network on one level needs.

    Args:
        config: of the whole run.
        index: of the level, 0 the coarsest; the last one is the run's network on all pixels.
        data: images of the whole run.
        device: where the level is trained.
        network: of the level; moved to the device.
        state: from which the level goes on, or None to begin with the network as it is.

    Attributes:
        config: the run that ends with this level.
        index, network: as given.
        images: classes, shape and statistics of its images.
        batches, test_batches: of its images.
        optimizer: of its weights.
        projection: that keeps its steps inside their limits, or None for a free run.

    Raises:
        InputError: where the images cannot be averaged or cropped so.
        NotFinite: where weights of a constrained network are not finite.
    """

    def __init__(
        self,
        config: RunConfig,
        index: int,
        data: ImageData,
        device: torch.device,
        network: PDENet,
        state: State | None = None,
    ) -> None:
        side, own = len(data.train_images[0]), images_of_level(config, index, data)
        self.index, self.config = index, run_of_level(config, index, side)
        self.images = ImageFacts.of(own)
        self.batches, self.test_batches = make_batches(self.config, own, device)
        layout = memory_format(device, self.config.network.coupling)
        self.network = network.to(device)
        self.network.to(memory_format=layout)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.network, self.config.training)
        if state is not None:
            restore(state, self.network, self.optimizer)
        constrained = self.config.training.constraint == "nonexpansive"
        self.projection = Projection(self.network) if constrained else None

    @property
    def epochs(self) -> int:
        """Passes over the training images on this level."""
        return self.config.training.epochs

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one image through the network."""
        height, width, _ = self.images.image_shape
        return self.network.multiply_adds(height, width)

    def step(self, images: torch.Tensor, labels: torch.Tensor, rate: float) -> tuple[float, int]:
        """One optimiser step on a batch; its loss and its number of correct images."""
        config = self.config.training
        scores = self.network(images)
        loss = functional.cross_entropy(scores, labels, label_smoothing=config.label_smoothing)
        if config.time_smoothness:
            loss = loss + config.time_smoothness * time_smoothness(self.network)
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

    def check_finite(self, epoch: int, test_loss: float) -> None:
        """Refuse to keep weights or statistics that are not finite."""
        tensors = self.network.state_dict().values()
        if not all(bool(torch.isfinite(t).all()) for t in tensors) or not math.isfinite(test_loss):
            raise Diverged(
                f"weights or test loss were no longer finite at the end of epoch {epoch}: train "
                "with a lower learning rate"
            )


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
