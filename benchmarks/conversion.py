"""What a conversion costs in accuracy, and what two epochs of training bring back.

A plain convolutional network of torch is trained on the digits, converted to each coupling
wherever `pdenet.convert` gains, and trained on, from three starts: the nearest weights, the nearest
scaled to the norm of the old ones, and fresh ones (the whole network drawn again: the control).
In between the statistics of the batch normalisation are measured again in one pass without a
gradient: the projection shrinks the outputs of a layer, and the old statistics know nothing of it.
Medians over seeds; accuracies are shares of the 355 test images.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from _common import Rows, main
from torch import nn
from torch.nn import functional

from pdenet.conversion.convert import convert
from pdenet.data.batches import Batches
from pdenet.data.sources import ImageData, load_data
from pdenet.operators.base import StencilOperator
from pdenet.operators.conv import OPERATORS

TUNING = 2
"""Epochs after the conversion."""

STARTS = ("nearest", "equal norm", "fresh")


def rows(*, quick: bool = False, progress: Callable[[str], Any] = lambda text: None) -> Rows:
    """One row a coupling and start: weights, multiply-adds an image, accuracies along the way."""
    seeds, epochs, width = (1, 1, 8) if quick else (5, 10, 32)
    data = load_data("digits", train_images=200 if quick else None)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed in range(seeds):
        torch.manual_seed(seed)
        model = network(width)
        train(model, data, epochs, seed, rate=0.1)
        for name in OPERATORS:
            progress(f"seed {seed}: {name}")
            for start in STARTS:
                found.setdefault((name, start), []).append(one(model, name, start, data, seed))
    return [_median(*case, runs) for case, runs in found.items()]


def network(width: int) -> nn.Sequential:
    """Five 3x3 convolutions with batch normalisation, one pooling, one linear classifier."""

    def block(channels: int, width: int) -> list[nn.Module]:
        conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(width), nn.ReLU()]

    wide = 2 * width
    early = [*block(1, width), *block(width, width), *block(width, width)]
    late = [*block(width, wide), *block(wide, wide)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 10)]
    return nn.Sequential(*early, nn.MaxPool2d(2), *late, *head)


def one(model: nn.Module, coupling: str, start: str, data: ImageData, seed: int) -> dict[str, Any]:
    """Convert a trained model and follow its accuracy."""
    side = data.train_images.shape[1]
    example = torch.zeros(1, 1, side, side)
    found = convert(model, coupling, keep_norm=start == "equal norm", example=example)
    if start == "fresh":
        torch.manual_seed(seed)
        for module in found.model.modules():
            if isinstance(module, StencilOperator | nn.Conv2d | nn.Linear | nn.BatchNorm2d):
                module.reset_parameters()
    result: dict[str, Any] = {
        "weights": found.weights,
        "weight_ratio": found.weights_before / found.weights,
        "multiply_adds": found.multiply_adds,
        "error": max((layer.projection_error or 0.0 for layer in found.converted), default=0.0),
        "accuracy_before": accuracy(model, data),
        "accuracy_converted": accuracy(found.model, data),
    }
    measure_again(found.model, data)
    result["accuracy_measured_again"] = accuracy(found.model, data)
    train(found.model, data, TUNING, seed, rate=0.05)
    result["accuracy_tuned"] = accuracy(found.model, data)
    return result


def train(model: nn.Module, data: ImageData, epochs: int, seed: int, *, rate: float) -> None:
    """SGD with momentum, the rate falling to zero along a cosine."""
    batches = _batches(data, shuffle=True, seed=seed)
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=5e-4)
    steps = epochs * len(batches)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for _ in range(epochs):
        for images, labels in batches:
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def measure_again(model: nn.Module, data: ImageData) -> None:
    """Means and variances of the batch normalisations, averaged over one pass."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    model.train()
    for images, _ in _batches(data, shuffle=True, seed=0):
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@torch.no_grad()
def accuracy(model: nn.Module, data: ImageData) -> float:
    """Share of the test images whose class is found."""
    model.eval()
    batches = Batches(data.test_images, data.test_labels, 512, mean=data.mean, std=data.std)
    right = sum(int((model(x).argmax(1) == y).sum()) for x, y in batches)
    return right / len(data.test_labels)


def _batches(data: ImageData, *, shuffle: bool, seed: int) -> Batches:
    generator = torch.Generator().manual_seed(seed)
    options = {"mean": data.mean, "std": data.std, "generator": generator}
    return Batches(data.train_images, data.train_labels, 64, shuffle=shuffle, **options)


def _median(coupling: str, start: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians of all runs, and the range of what was reached."""
    row: dict[str, Any] = {"coupling": coupling, "start": start}
    row |= {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    tuned = [run["accuracy_tuned"] for run in runs]
    return row | {"tuned_least": min(tuned), "tuned_most": max(tuned), "seeds": len(runs)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main("conversion", rows)
