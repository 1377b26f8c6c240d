"""Tiny training runs shared by the tests of training: a few digits, a few steps."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from pdenet.data.sources import ImageData, load_data
from pdenet.networks import NetworkConfig
from pdenet.training.config import RunConfig, TrainingConfig

NETWORK_KEYS = frozenset(NetworkConfig.__dataclass_fields__)


@cache
def few_digits() -> ImageData:
    """128 training and 64 test digits."""
    return load_data("digits", train_images=128, test_images=64)


def tiny_run(**changes: Any) -> RunConfig:
    """A configuration that trains in a fraction of a second an epoch, with changes by key."""
    network = {"widths": (4, 8), "steps": 2} | {
        key: value for key, value in changes.items() if key in NETWORK_KEYS
    }
    training = {"epochs": 2, "batch_size": 32, "train_images": 128, "test_images": 64} | {
        key: value for key, value in changes.items() if key not in NETWORK_KEYS
    }
    return RunConfig(replace(NetworkConfig(), **network), TrainingConfig(device="cpu", **training))
