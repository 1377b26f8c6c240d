"""The images a network is measured on: its own test images, others, or seeded noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from analysis.errors import InputError
from pdenet.data.sources import ImageData, load_data
from pdenet.training.checkpoint import LoadedRun

PROBES = 16
"""Images whose features start the search for growth."""


@dataclass(frozen=True, eq=False)
class Probe:
    """Images for measurements.

    Attributes:
        images: normalised test images ``(N, C, H, W)``, float32.
        labels: their classes, None for noise.
        data: the whole data set, None for noise.
        description: what they are, for the reports.
        warnings: sentences where they are not what one would want.
    """

    images: Tensor
    labels: Tensor | None
    data: ImageData | None
    description: str
    warnings: tuple[str, ...] = ()

    @property
    def sample(self) -> Tensor:
        """A few of the images in float64, the starting points of the search."""
        return self.images[:PROBES].double()

    @property
    def labelled(self) -> tuple[Tensor, Tensor] | None:
        """Images and labels where there are labels."""
        return None if self.labels is None else (self.images, self.labels)


def load_probe(run: LoadedRun, data: str | None, size: tuple[int, int] | None) -> Probe:
    """Images for a run: those named, else those of its training, else noise with a warning.

    Args:
        run: the network and what it knows of its images.
        data: name or path given by the user, None for that of the training.
        size: height and width to resample to, None for that of the images.

    Raises:
        InputError: for data named by the user that cannot be used.
    """
    training = run.config.training
    source = data or training.data
    try:
        # The training part decides nothing here but mean and std, which the run has: load it as
        # the training did, since a remedy may be tried on it.
        limits = (training.train_images, training.test_images)
        loaded = load_data(
            source, train_images=limits[0], test_images=limits[1], seed=training.seed
        )
        _check_fits(run, loaded)
    except InputError as error:
        if data is not None:
            raise
        return _noise(run, size, str(error))
    images = torch.from_numpy(np.ascontiguousarray(loaded.test_images)).permute(0, 3, 1, 2)
    normalised = _normalise(images, run)
    text = f"{len(images)} test images of {loaded.name}"
    if size is not None and size != tuple(normalised.shape[-2:]):
        normalised = functional.interpolate(normalised, size=size, mode="bilinear", antialias=True)
        text += f", resampled to {size[0]}x{size[1]}"
    labels = torch.from_numpy(loaded.test_labels).long()
    return Probe(normalised, labels, loaded, text)


def _check_fits(run: LoadedRun, data: ImageData) -> None:
    channels, wanted = data.test_images.shape[-1], run.config.network.in_channels
    if channels != wanted or tuple(data.classes) != tuple(run.images.classes):
        raise InputError(
            f"images of {wanted} channels and the {len(run.images.classes)} classes of the run",
            f"{channels} channels and {len(data.classes)} classes in {data.name}",
            "pass the data the network was trained on",
        )


def _normalise(images: Tensor, run: LoadedRun) -> Tensor:
    """``(x / 255 - mean) / std`` with the statistics of the run, float32."""
    mean, std = (
        torch.tensor(row, dtype=torch.float32)[:, None, None]
        for row in (run.images.mean, run.images.std)
    )
    return (images.float() / 255 - mean) / std


def _noise(run: LoadedRun, size: tuple[int, int] | None, reason: str) -> Probe:
    height, width, channels = run.images.image_shape
    height, width = size or (height, width)
    generator = torch.Generator().manual_seed(run.config.training.seed)
    images = torch.randn(PROBES, channels, height, width, generator=generator)
    warning = f"measured on seeded noise, the data of the run cannot be used ({reason})"
    return Probe(images, None, None, "seeded noise", (warning,))
