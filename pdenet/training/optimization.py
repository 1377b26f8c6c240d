"""The optimiser of a run and the learning rate of every step."""

from __future__ import annotations

import math

import torch

from pdenet.training.config import TrainingConfig

WARM_UP = 0.05
"""Share of the steps over which the learning rate rises linearly from zero."""


def build_optimizer(network: torch.nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimiser of a configuration; normalisations and biases (vectors) do not decay."""
    kernels = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999))
    return torch.optim.SGD(
        groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.momentum > 0
    )


def learning_rate(step: int, total: int, peak: float) -> float:
    """Rate of a step (from 0): a linear rise over the first 5 % of all steps, then a cosine."""
    warm = max(1, round(WARM_UP * total))
    if step < warm:
        return peak * (step + 1) / warm
    return 0.5 * peak * (1 + math.cos(math.pi * (step - warm + 1) / (total - warm + 1)))
