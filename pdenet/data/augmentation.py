"""Random crops and mirror images of a batch, in one gather on the device of the batch."""

from __future__ import annotations

import torch

from analysis.errors import InputError


def augment(
    images: torch.Tensor, *, crop: int = 0, flip: bool = False, generator: torch.Generator
) -> torch.Tensor:
    """A batch whose images are moved by up to `crop` pixels and mirrored by chance.

    The same as a random crop, of the size of the image, from the image with `crop` zeros around
    it. Applied to pixels as bytes the zeros are black, the background of written digits.

    Args:
        images: (B, C, H, W) of any type.
        crop: pixels by which an image may be moved in either direction; 0 for none.
        flip: whether each image is mirrored left to right with probability one half.
        generator: source of chance; on the CPU it gives the same images on every device.

    Returns:
        Images of the same shape and type; `images` itself where there is nothing to do.

    Raises:
        InputError: for a crop that could move an image out of sight.
    """
    check_crop(crop, images.shape[-2:])
    if not crop and not flip:
        return images
    offsets, mirrored = draw(len(images), crop=crop, flip=flip, generator=generator)
    return move(images, offsets, mirrored)


def draw(
    count: int, *, crop: int, flip: bool, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Offsets (count, 2) int64 down and to the right, and whether to mirror (count,) bool."""
    where = generator.device
    offsets = torch.zeros(count, 2, dtype=torch.int64, device=where)
    mirrored = torch.zeros(count, dtype=torch.bool, device=where)
    if crop:
        offsets = torch.randint(-crop, crop + 1, (count, 2), generator=generator, device=where)
    if flip:
        mirrored = torch.rand(count, generator=generator, device=where) < 0.5
    return offsets, mirrored


def move(images: torch.Tensor, offsets: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """Images (B, C, H, W) mirrored left to right where asked and moved; zero where uncovered.

    >>> image = torch.tensor([[[[1, 2, 3]]]])
    >>> move(image, torch.tensor([[0, 1]]), torch.tensor([False])).tolist()
    [[[[0, 1, 2]]]]
    >>> move(image, torch.tensor([[0, 1]]), torch.tensor([True])).tolist()
    [[[[0, 3, 2]]]]
    """
    height, width = images.shape[-2:]
    device = images.device
    offsets, mirrored = offsets.to(device), mirrored.to(device)
    rows = torch.arange(height, device=device) - offsets[:, :1]
    columns = torch.arange(width, device=device) - offsets[:, 1:]
    inside_rows = (rows >= 0) & (rows < height)
    inside_columns = (columns >= 0) & (columns < width)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    # One flat index per pixel keeps the gather in the layout (B, C, H, W).
    flat = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    index = flat.flatten(1)[:, None, :].expand(-1, images.shape[1], -1)
    moved = images.flatten(2).gather(2, index).view(images.shape)
    inside = inside_rows[:, :, None] & inside_columns[:, None, :]
    return moved * inside[:, None].to(images.dtype)


def check_crop(crop: int, size: tuple[int, ...]) -> None:
    """Raise InputError unless some of an image of this size stays in sight."""
    most = min(size) - 1
    if isinstance(crop, bool) or not isinstance(crop, int) or not 0 <= crop <= most:
        remedy = "a crop moves the image by so many pixels: choose fewer, or 0 for none"
        raise InputError(f"a crop from 0 to {most}", repr(crop), remedy)
