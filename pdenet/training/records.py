"""The run folder: configuration, model, metrics, curves, TensorBoard events, resumable state."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pdenet.config import to_toml
from pdenet.files import write_atomic
from pdenet.networks import PDENet
from pdenet.training.checkpoint import MODEL_FILE, ImageFacts, save_model, save_state
from pdenet.training.config import RunConfig

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

COLUMNS = (
    "epoch",
    "level",
    "learning_rate",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "seconds",
    "nonexpansive_value",
)
"""Columns of metrics.csv: levels count from 1, the coarsest; losses are means of cross-entropy,
accuracies shares in [0, 1], seconds those of the epoch; the last is the largest certified
h L ||S^{1/2} K||^2 (theory §4.1) over the steps of a constrained run, empty for a free one."""

Row = dict[str, float | None]

SECONDS_BETWEEN_PICTURES = 15.0


class RunFolder:
    """Writes the records of a run; every file whole or not at all."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path, self.config = path, config
        self._events: SummaryWriter | None = None
        self._drawn = time.monotonic()

    def save(
        self,
        network: PDENet,
        optimizer: torch.optim.Optimizer,
        rows: list[Row],
        level: RunConfig,
        images: ImageFacts,
    ) -> None:
        """Write everything after an epoch; the resumable state last, so that it is never ahead.

        Args:
            network: of the level that is trained.
            optimizer: of its weights.
            rows: of all epochs completed.
            level: the run that ends with this level, which the model is read by.
            images: of this level.
        """
        if not rows:
            write_atomic(self.path / "config.toml", to_toml(self.config))
        accuracy = rows[-1]["test_accuracy"] if rows else None
        facts = {"epoch": len(rows), "test_accuracy": accuracy}
        save_model(self.path / MODEL_FILE, network, level, images, **facts)
        if rows:
            write_atomic(self.path / "metrics.csv", metrics_csv(rows))
            self._write_events(rows[-1])
            self._draw(rows)
        save_state(self.path, network, optimizer, self.config, rows)

    def close(self) -> None:
        """Close the event file."""
        if self._events:
            self._events.close()

    def _draw(self, rows: list[Row]) -> None:
        """Draw the curves, during the run at most every 15 s: a picture costs a third of one."""
        finished = len(rows) == self.config.training.total_epochs
        if finished or len(rows) == 1 or self._age() > SECONDS_BETWEEN_PICTURES:
            from analysis.plots import curves_png  # matplotlib, only when a picture is drawn

            columns = {name: [row.get(name) or 0.0 for row in rows] for name in COLUMNS[:-1]}
            write_atomic(self.path / "curves.png", curves_png(columns))
            self._drawn = time.monotonic()

    def _age(self) -> float:
        return time.monotonic() - self._drawn

    def _write_events(self, row: Row) -> None:
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(self.path), purge_step=int(row["epoch"] or 0))
        for name in COLUMNS[1:]:
            if row[name] is not None:
                self._events.add_scalar(name, row[name], int(row["epoch"] or 0))
        self._events.flush()


def metrics_csv(rows: list[Row]) -> str:
    """Rows of metrics as CSV, numbers with all their digits, unknown ones empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
