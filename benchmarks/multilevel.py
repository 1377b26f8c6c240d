"""Test accuracy over seconds: training from coarse to fine beside training on the fine level alone.

    OMP_NUM_THREADS=1 python benchmarks/multilevel.py DATA      writes results/multilevel.json

DATA is a folder of images as `pdenet train --data` reads it, CIFAR-10 for the kept result. A lean
residual network is trained for every seed: on all pixels alone, and on halved images with half of
the steps first, both for a long and a short schedule; for the first seed also with the other
transfers of stencils from level to level. All seeds share the images. Seconds count from the call
of `train`, with everything that it does: refinement, evaluation, records. Processor seconds are
those of this process on one thread; wall clock seconds contain what else the machine did. With
--add, what was measured before stays.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from _common import RESULTS, Rows, machine, threads, write_results

from pdenet.data.sources import ImageData, load_data
from pdenet.networks import NetworkConfig
from pdenet.training.config import Level, RunConfig, TrainingConfig, fit_to_data
from pdenet.training.loop import Progress, train

FILE = RESULTS / "multilevel.json"
NETWORK = NetworkConfig(widths=(16, 32, 64), steps=4, block="residual", coupling="lean")
TRAINING = TrainingConfig(train_images=10_000, test_images=5_000, crop=4, flip=True, device="cpu")
FINE, SHORT = "fine", "fine, short"
MULTILEVEL, BRIEF = "multilevel", "multilevel, short"
OTHERS = {keep: f"{BRIEF}, {keep}" for keep in ("averages", "operator")}
"""What stencils keep from the coarse level to the fine one in place of their numbers."""


def schedules(side: int) -> dict[str, TrainingConfig]:
    """The trainings beside one another, by name, for images of so many rows."""
    coarse = Level(side=side // 2, steps=NETWORK.steps // 2, epochs=12)
    brief = replace(TRAINING, epochs=3, levels=(replace(coarse, epochs=8),))
    return {
        FINE: replace(TRAINING, epochs=8),
        SHORT: replace(TRAINING, epochs=4),
        MULTILEVEL: replace(TRAINING, epochs=4, levels=(coarse,)),
        BRIEF: brief,
        **{name: replace(brief, transfer=keep) for keep, name in OTHERS.items()},
    }


def rows(
    data: ImageData,
    seeds: int = 2,
    *,
    network: NetworkConfig = NETWORK,
    trainings: dict[str, TrainingConfig] | None = None,
    progress: Callable[[str], Any] = lambda text: None,
    keep: Callable[[Rows], Any] = lambda rows: None,
) -> Rows:
    """One row for every epoch of every schedule and seed; `keep` sees what there is by then."""
    trainings = trainings or schedules(data.train_images.shape[1])
    found: Rows = []
    for seed in range(seeds):
        for name, training in trainings.items():
            if seed and name in OTHERS.values():
                continue
            config = RunConfig(network, replace(training, seed=seed))
            own = {"schedule": name, "seed": seed}
            epochs = _train(fit_to_data(config, data), data)
            found += [own | row for row in epochs]
            last = epochs[-1]
            progress(
                f"seed {seed}, {name}: {100 * last['test_accuracy']:.2f} % after "
                f"{last['cpu_seconds']:.0f} s of processor, {last['wall_seconds']:.0f} s"
            )
            keep(found)
    return found


def _train(config: RunConfig, data: ImageData) -> Rows:
    """Accuracy and seconds after every epoch."""
    found: Rows = []

    def note(at: Progress) -> None:
        if at.test_accuracy is not None:
            found.append(
                {
                    "epoch": at.epoch,
                    "level": at.level,
                    "train_loss": at.loss,
                    "test_accuracy": at.test_accuracy,
                    "cpu_seconds": time.process_time() - cpu,
                    "wall_seconds": time.perf_counter() - wall,
                }
            )

    with tempfile.TemporaryDirectory() as folder, threads(1):
        cpu, wall = time.process_time(), time.perf_counter()
        result = train(config, data, folder, progress=note)
    if result.status != "completed":
        raise RuntimeError(result.message)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", help="folder of images; without it nothing is measured")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--schedules", nargs="+", help="some of the schedules, by name")
    parser.add_argument("--add", action="store_true", help="to the rows that are kept already")
    arguments = parser.parse_args()
    if arguments.data is None:
        print("  multilevel: name a folder of CIFAR-10 as DATA; the kept result stays as it is")
        return
    loaded = {"train_images": TRAINING.train_images, "test_images": TRAINING.test_images}
    data = load_data(arguments.data, **loaded)
    facts = {"load_before": machine()["load"], "network": asdict(NETWORK), "data": data.name}
    facts |= {"train_images": len(data.train_labels), "test_images": len(data.test_labels)}

    known = schedules(data.train_images.shape[1])
    chosen = {name: known[name] for name in arguments.schedules or known}

    def keep(found: Rows) -> None:
        new = {(row["schedule"], row["seed"]) for row in found}
        before = _kept() if arguments.add else []
        others = [row for row in before if (row["schedule"], row["seed"]) not in new]
        with threads(1):  # as the rows were measured
            write_results(FILE, facts | {"rows": others + found})

    report = {"progress": lambda text: print(f"  {text}", flush=True), "keep": keep}
    rows(data, arguments.seeds, trainings=chosen, **report)


def _kept() -> Rows:
    return list(json.loads(FILE.read_text())["rows"]) if FILE.exists() else []


if __name__ == "__main__":
    main()
