"""Training from coarse to fine: few steps on small images first, then more of both (theory §5).

A run with levels is a run of every level in turn. The network of a level is refined in time and
space for the next one, which goes on training it; the last level is the network and the images of
the configuration. What a level is told is a configuration of its own (``run_of_level``), so that a
network of a coarse level can be kept and read like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from analysis.errors import InputError
from pdenet.networks import PDENet
from pdenet.refinement import refine_in_space, with_steps
from pdenet.training.config import RunConfig

if TYPE_CHECKING:
    from pdenet.data.sources import ImageData


def level_of_epoch(config: RunConfig, epoch: int) -> int:
    """Index of the level that trains an epoch (from 1); 0 is the coarsest.

    >>> from pdenet.training.config import Level, TrainingConfig
    >>> training = TrainingConfig(epochs=2, levels=(Level(side=4, steps=1, epochs=3),))
    >>> [level_of_epoch(RunConfig(training=training), epoch) for epoch in range(1, 6)]
    [0, 0, 0, 1, 1]
    """
    for index, level in enumerate(config.training.levels):
        epoch -= level.epochs
        if epoch <= 0:
            return index
    return len(config.training.levels)


def run_of_level(config: RunConfig, index: int, side: int) -> RunConfig:
    """The run that ends with a level: its network, its epochs, and the coarser levels before it.

    The time that the steps of a block cover together is the same on all levels, so is the share of
    an image that a crop moves it by.

    Args:
        config: of the whole run.
        index: of the level; that behind the last one of ``levels`` is the run itself.
        side: rows of the images of the whole run.
    """
    levels = config.training.levels
    if index == len(levels):
        return config
    level, network = levels[index], config.network
    step_size = network.step_size * network.steps / level.steps
    crop = config.training.crop * level.side // side
    training = replace(config.training, levels=levels[:index], epochs=level.epochs, crop=crop)
    return RunConfig(replace(network, steps=level.steps, step_size=step_size), training)


def images_of_level(config: RunConfig, index: int, data: ImageData) -> ImageData:
    """The images of a level: means over squares of pixels, rounded to the nearest byte.

    Mean and standard deviation stay those of the finest images: a pixel of one value is the same
    number on every level.

    Raises:
        InputError: for sides that are no whole share of the images'.
    """
    factor = _factor(config, index, data)
    if factor == 1:
        return data
    return replace(
        data,
        train_images=_averaged(data.train_images, factor),
        test_images=_averaged(data.test_images, factor),
    )


def refined(network: PDENet, config: RunConfig, index: int, side: int) -> PDENet:
    """The network of a level for the next one.

    Args:
        network: of the level.
        config: of the whole run.
        index: of the level.
        side: rows of the images of the whole run.
    """
    sides = [*(level.side for level in config.training.levels), side]
    steps = run_of_level(config, index + 1, side).network.steps
    factor, keep = sides[index + 1] / sides[index], config.training.transfer
    return refine_in_space(with_steps(network, steps), factor, keep=keep)


def sizes_of_levels(
    config: RunConfig, data: ImageData
) -> Iterator[tuple[RunConfig, tuple[int, int]]]:
    """The run of every level with the height and width of its images, coarse to fine.

    Raises:
        InputError: for sides that are no whole share of the images'.
    """
    height, width = data.train_images.shape[1:3]
    for index in range(len(config.training.levels) + 1):
        factor = _factor(config, index, data)
        yield run_of_level(config, index, height), (height // factor, width // factor)


def _factor(config: RunConfig, index: int, data: ImageData) -> int:
    """Pixels an axis of the images that make up one of a level."""
    levels = config.training.levels
    height, width = data.train_images.shape[1:3]
    side = levels[index].side if index < len(levels) else height
    if height % side or width % (height // side):
        whole = [s for s in range(1, height + 1) if not height % s and not width % (height // s)]
        raise InputError(
            f"levels with a whole share of the {height}x{width} pixels of {data.name}",
            f"images of {side} rows",
            f"choose sides among {', '.join(map(str, whole))}",
        )
    return int(height // side)


def _averaged(images: np.ndarray, factor: int) -> np.ndarray:
    """Means over ``factor x factor`` pixels of images ``(N, H, W, C)`` uint8, rounded half up."""
    n, height, width, channels = images.shape
    squares = images.reshape(n, height // factor, factor, width // factor, factor, channels)
    total = squares.sum(axis=(2, 4), dtype=np.int64)
    return ((2 * total + factor**2) // (2 * factor**2)).astype(np.uint8)
