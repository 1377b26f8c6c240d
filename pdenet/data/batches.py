"""Images in normalised batches, shuffled, cropped and mirrored on the device, repeatably."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch

from analysis.errors import InputError
from pdenet.data.augmentation import check_crop, draw, move


class Batches:
    """Batches of a labelled set of images; every ``iter()`` is one epoch.

    Pixels stay on the device as bytes and become ``(x / 255 - mean) / std`` a batch at a time.
    What a random crop uncovers is black, as in `augmentation`. All random numbers of an epoch are
    drawn when it begins, on the CPU: an epoch is the same on every device and however far the
    one before was followed, and ``generator.get_state()`` between two epochs is all that an
    exact continuation needs.

    Where images are shuffled, a last batch of a single image joins the one before it: batch
    normalisation needs two. Otherwise it stands alone.

    Args:
        images: pixels (N, H, W, C) uint8, tensor or array.
        labels: class of every image (N,).
        batch_size: images a batch.
        shuffle: whether every epoch has a new order.
        crop: pixels by which an image may be moved; 0 for none.
        flip: whether half of the images, by chance, are mirrored left to right.
        mean, std: of every channel (C,), in units where white is 1.
        generator: source of all chance, on the CPU; None makes one of seed 0.
        device: where the batches are made.
        channels_last: memory layout of the batches, whose shape is (B, C, H, W) either way.

    Raises:
        InputError: for shapes, types or sizes that do not fit.

    >>> images, labels = torch.zeros(5, 8, 8, 1, dtype=torch.uint8), torch.arange(5)
    >>> batches = Batches(images, labels, 2, shuffle=True, mean=[0.5], std=[0.25])
    >>> [tuple(x.shape) for x, _ in batches], len(batches)
    ([(2, 1, 8, 8), (3, 1, 8, 8)], 2)
    """

    def __init__(
        self,
        images: torch.Tensor | np.ndarray,
        labels: torch.Tensor | np.ndarray,
        batch_size: int,
        *,
        shuffle: bool = False,
        crop: int = 0,
        flip: bool = False,
        mean: Sequence[float] | np.ndarray,
        std: Sequence[float] | np.ndarray,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
        channels_last: bool = False,
    ) -> None:
        pixels, classes = torch.as_tensor(images), torch.as_tensor(labels)
        mean_row, std_row = (torch.tensor(np.asarray(row, np.float64)) for row in (mean, std))
        _check_images(pixels, classes, mean_row, std_row)
        check_crop(crop, pixels.shape[1:3])
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise InputError("a batch_size of at least 1", repr(batch_size), "pass batch_size 64")
        generator = generator or torch.Generator().manual_seed(0)
        if generator.device.type != "cpu":
            raise InputError("a generator on the CPU", generator.device, "use torch.Generator()")
        self.images = pixels.permute(0, 3, 1, 2).contiguous().to(device)
        self.labels = classes.to(device, torch.int64)
        self.batch_size, self.shuffle, self.crop, self.flip = batch_size, shuffle, crop, flip
        self.generator = generator
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._mean, self._std = (
            row.to(torch.float32).to(device).view(1, -1, 1, 1) for row in (mean_row, std_row)
        )

    def __len__(self) -> int:
        """Number of batches of an epoch."""
        return len(self._bounds()) - 1

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Draw an epoch and return its batches: (B, C, H, W) float32 and labels (B,) int64."""
        count = len(self.images)
        order = torch.arange(count)
        if self.shuffle:
            order = torch.randperm(count, generator=self.generator)
        moves = draw(count, crop=self.crop, flip=self.flip, generator=self.generator)
        # To the device once an epoch: a copy a batch would make it wait as often.
        return self._epoch(*(drawn.to(self.images.device) for drawn in (order, *moves)))

    def _epoch(
        self, order: torch.Tensor, offsets: torch.Tensor, mirrored: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for start, stop in pairwise(self._bounds()):
            index = order[start:stop]
            pixels = self.images[index]
            if self.crop or self.flip:
                pixels = move(pixels, offsets[start:stop], mirrored[start:stop])
            batch = (pixels.to(torch.float32) / 255 - self._mean) / self._std
            yield batch.contiguous(memory_format=self._layout), self.labels[index]

    def _bounds(self) -> list[int]:
        """Where the batches begin and end in the order of an epoch."""
        count, size = len(self.images), self.batch_size
        bounds = [*range(0, count, size), count]
        if self.shuffle and size > 1 and len(bounds) > 2 and count % size == 1:
            del bounds[-2]
        return bounds


def _check_images(
    images: torch.Tensor, labels: torch.Tensor, mean: torch.Tensor, std: torch.Tensor
) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or 0 in images.shape:
        got = f"{str(images.dtype).removeprefix('torch.')} of shape {tuple(images.shape)}"
        raise InputError("images (N, H, W, C) of uint8", got, "pass the images of load_data")
    if labels.shape != (len(images),):
        remedy = "pass images and labels of one part"
        raise InputError(f"{len(images)} labels", f"shape {tuple(labels.shape)}", remedy)
    channels = (images.shape[-1],)
    if mean.shape != channels or std.shape != channels or not _usable(mean, std):
        got = f"mean {mean.tolist()} and std {std.tolist()}"
        remedy = "pass the statistics of load_data, and images as (N, H, W, C)"
        raise InputError(f"a mean and a positive std for {channels[0]} channels", got, remedy)


def _usable(mean: torch.Tensor, std: torch.Tensor) -> bool:
    return bool(mean.isfinite().all() and std.isfinite().all() and (std > 0).all())
