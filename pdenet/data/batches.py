"""Images in normalised batches: shuffled, cropped and mirrored on the device, exactly repeatable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from analysis.errors import InputError


class Batches:
    """Batches of a labelled set of images; every ``iter()`` is one epoch.

    Pixels stay on the device as bytes and become ``(x / 255 - mean) / std`` a batch at a time.
    A random crop moves an image by up to `crop` pixels in either direction; what it uncovers is
    zero after normalisation, which is the mean colour. All random numbers of an epoch are drawn
    when it begins, on the CPU: an epoch is the same on every device and however far the one
    before was followed, and ``generator.get_state()`` between two epochs is all that an exact
    continuation needs.

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
        mean_row, std_row = (torch.tensor(np.asarray(row, np.float64)) for row in (mean, std))
        _check_images(images, labels, mean_row, std_row)
        _check_sizes(images, batch_size, crop)
        generator = generator or torch.Generator().manual_seed(0)
        if generator.device.type != "cpu":
            raise InputError("a generator on the CPU", generator.device, "use torch.Generator()")
        self.images = _on_device(images, device)
        self.labels = _on_device(labels, device).to(torch.int64)
        self.batch_size, self.shuffle, self.crop, self.flip = batch_size, shuffle, crop, flip
        self.generator = generator
        self.device = self.images.device
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._scale = (1 / (255 * std_row)).to(self.device, torch.float32)
        self._shift = (-mean_row / std_row).to(self.device, torch.float32)

    def __len__(self) -> int:
        """Number of batches of an epoch."""
        return len(self._bounds()) - 1

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Draw an epoch and return its batches: (B, C, H, W) float32 and labels (B,) int64."""
        count = len(self.images)
        order = torch.arange(count)
        offsets, mirrored = torch.zeros(count, 2, dtype=torch.int64), torch.zeros(count) > 0
        if self.shuffle:
            order = torch.randperm(count, generator=self.generator)
        if self.crop:
            span = (-self.crop, self.crop + 1)
            offsets = torch.randint(*span, (count, 2), generator=self.generator)
        if self.flip:
            mirrored = torch.rand(count, generator=self.generator) < 0.5
        return self._epoch(*(draw.to(self.device) for draw in (order, offsets, mirrored)))

    def _epoch(
        self, order: torch.Tensor, offsets: torch.Tensor, mirrored: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        bounds = self._bounds()
        for start, stop in zip(bounds, bounds[1:], strict=False):
            index = order[start:stop]
            if self.crop or self.flip:
                batch = self._moved(index, offsets[start:stop], mirrored[start:stop])
            else:
                batch = self._normalised(self.images[index])
            batch = batch.permute(0, 3, 1, 2).contiguous(memory_format=self._layout)
            yield batch, self.labels[index]

    def _bounds(self) -> list[int]:
        """Where the batches begin and end in the order of an epoch."""
        count, size = len(self.images), self.batch_size
        bounds = [*range(0, count, size), count]
        if self.shuffle and size > 1 and len(bounds) > 2 and count % size == 1:
            del bounds[-2]
        return bounds

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.to(torch.float32) * self._scale + self._shift

    def _moved(
        self, index: torch.Tensor, offsets: torch.Tensor, mirrored: torch.Tensor
    ) -> torch.Tensor:
        """Normalised images (B, H, W, C), each moved by its offset and mirrored or not."""
        height, width = self.images.shape[1:3]
        rows = torch.arange(height, device=self.device) + offsets[:, :1]
        columns = torch.arange(width, device=self.device) + offsets[:, 1:]
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
            :, None, :
        ]
        pixels = self.images[
            index[:, None, None],
            rows.clamp(0, height - 1)[:, :, None],
            columns.clamp(0, width - 1)[:, None, :],
        ]
        return self._normalised(pixels) * inside[..., None]


def _on_device(values: torch.Tensor | np.ndarray, device: torch.device | str) -> torch.Tensor:
    """A tensor on the device; an array is copied, for torch shares no read-only memory."""
    tensor = values if isinstance(values, torch.Tensor) else torch.tensor(values)
    return tensor.to(device)


def _check_images(
    images: torch.Tensor | np.ndarray,
    labels: torch.Tensor | np.ndarray,
    mean: torch.Tensor,
    std: torch.Tensor,
) -> None:
    kind = str(images.dtype).removeprefix("torch.")
    if kind != "uint8" or images.ndim != 4 or 0 in images.shape:
        got = f"{kind} of shape {tuple(images.shape)}"
        raise InputError("images (N, H, W, C) of uint8", got, "pass the images of load_data")
    if tuple(labels.shape) != (len(images),):
        got = f"shape {tuple(labels.shape)}"
        raise InputError(
            f"{len(images)} labels, one an image", got, "pass images and labels of one part"
        )
    channels = (images.shape[-1],)
    if mean.shape != channels or std.shape != channels or not bool((std > 0).all()):
        got = f"mean {mean.tolist()} and std {std.tolist()}"
        remedy = "pass the statistics of load_data, and images as (N, H, W, C)"
        raise InputError(f"a mean and a positive std for {channels[0]} channels", got, remedy)


def _check_sizes(images: torch.Tensor | np.ndarray, batch_size: int, crop: int) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError("a batch_size of at least 1", repr(batch_size), "pass batch_size 64")
    most = min(images.shape[1:3]) - 1
    if isinstance(crop, bool) or not isinstance(crop, int) or not 0 <= crop <= most:
        remedy = "a crop moves the image by so many pixels: choose fewer, or 0 for none"
        raise InputError(f"a crop from 0 to {most}", repr(crop), remedy)
