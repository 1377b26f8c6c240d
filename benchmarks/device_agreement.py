"""Whether a CUDA device computes what the CPU computes: first steps, certificates, accuracies.

First step: loss and gradients of one batch of digits for every coupling and block, TF32 off. The
error of a loss is relative. The error of a gradient is taken tensor by tensor in the norm,

    ||g - g_ref|| / max(||g_ref||, ||G_ref|| / sqrt(P)),       P tensors that make up G,

so that a tensor counts with at least the root mean square of all: one that nearly cancels (a shift
that the next batch normalisation removes) carries the rounding errors of the large ones. float32
and bfloat16 are compared with float32 on the CPU, with tanh, because a ReLU whose argument rounding
has moved across zero changes a gradient by far more than rounding; ReLU is compared in float64.

Certificates: `certified_norm` of the same weights as NumPy array and as tensor on both devices,
relative difference of either end. Accuracies: networks trained from the same seeds on both devices;
the means may differ by the range over the seeds on the CPU.

Without a CUDA device nothing is compared (exit 0). A disagreement is exit 1.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import RESULTS, Rows, write_results
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from analysis.certificates import certified_norm
from analysis.coupling import Coupling
from analysis.couplings import Circulant, Depthwise, Full, Grouped, Lean, Pointwise
from analysis.stacked import Stacked
from pdenet.data.batches import Batches
from pdenet.data.sources import ImageData, load_data
from pdenet.networks import NetworkConfig, PDENet
from pdenet.operators.conv import OPERATORS
from pdenet.training.config import CONSTRAINTS, RunConfig, TrainingConfig, fit_to_data
from pdenet.training.device import reproducible_numerics
from pdenet.training.loop import train

LIMITS = {"float64": 1e-11, "float32": 1e-5, "bfloat16": 5e-2}
"""Largest error of a loss and of a gradient by the precision of the second device.

That of bfloat16 is 13 of its rounding errors: gradients pass as many lean layers.
"""
CERTIFICATE_LIMIT = 1e-12
"""Largest relative difference of either end of a certified norm."""

Say = Callable[[str], Any]

BLOCKS: dict[str, dict[str, str]] = {
    "parabolic": {"block": "parabolic"},
    "residual": {"block": "residual"},
    "diffusion-reaction": {"block": "diffusion-reaction"},
    "diffusion-reaction implicit": {
        "block": "diffusion-reaction",
        "diffusion": "linear",
        "method": "ars111",
        "padding_mode": "circular",
    },
}


@dataclass(frozen=True, eq=False)
class FirstStep:
    """Loss and gradients of one batch, gradients in float64 on the CPU."""

    loss: float
    gradients: dict[str, torch.Tensor]


def first_step(
    config: NetworkConfig, batch: tuple[torch.Tensor, torch.Tensor], device: str, precision: str
) -> FirstStep:
    """Forward and backward of a new network on a device, the same weights for every device.

    Args:
        config: of the network.
        batch: images ``(B, C, H, W)`` and labels.
        device: where it is computed.
        precision: a key of ``LIMITS``; ``bfloat16`` is float32 under autocast.
    """
    kind = torch.float64 if precision == "float64" else torch.float32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = PDENet(config)
    network = network.to(device, kind)
    images, labels = batch[0].to(device, kind), batch[1].to(device)
    half = torch.autocast(
        torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bfloat16"
    )
    with reproducible_numerics():
        with half:
            loss = functional.cross_entropy(network(images), labels)
        loss.backward()
    gradients = {
        name: parameter.grad.double().cpu()
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    return FirstStep(loss.item(), gradients)


def gradient_errors(reference: FirstStep, other: FirstStep) -> dict[str, float]:
    """Error of every gradient tensor, as defined on top of this file; infinite where not finite."""
    if reference.gradients.keys() != other.gradients.keys():
        return {"another set of gradients": math.inf}
    norms = {name: float(g.norm()) for name, g in reference.gradients.items()}
    least = math.sqrt(statistics.fmean(norm**2 for norm in norms.values()))
    errors = {}
    for name, gradient in reference.gradients.items():
        distance = float((other.gradients[name] - gradient).norm())
        errors[name] = distance / max(norms[name], least) if distance else 0.0
    return {name: e if math.isfinite(e) else math.inf for name, e in errors.items()}


def compare_first_steps(reference: FirstStep, other: FirstStep, limit: float) -> dict[str, Any]:
    """Errors of the loss and of the worst gradient, and whether both are within a limit."""
    errors = gradient_errors(reference, other)
    worst = max(errors, key=lambda name: errors[name])
    loss = abs(other.loss - reference.loss) / abs(reference.loss)
    loss = loss if math.isfinite(loss) else math.inf
    return {
        "loss_error": loss,
        "gradient_error": errors[worst],
        "worst_gradient": worst,
        "limit": limit,
        "agree": max(loss, errors[worst]) <= limit,
    }


def first_steps(
    reference: str, other: str, data: ImageData, couplings: Iterable[str] = tuple(OPERATORS)
) -> Rows:
    """One row a coupling, block and precision."""
    batches = Batches(data.train_images, data.train_labels, 64, mean=data.mean, std=data.std)
    batch = next(iter(batches))
    rows: Rows = []
    for coupling in couplings:
        for block, options in BLOCKS.items():
            for precision, limit in LIMITS.items():
                activation = "relu" if precision == "float64" else "tanh"
                config = NetworkConfig(
                    coupling=coupling, step_size=0.1, activation=activation, **options
                )
                exact = "float64" if precision == "float64" else "float32"
                compared = compare_first_steps(
                    first_step(config, batch, reference, exact),
                    first_step(config, batch, other, precision),
                    limit,
                )
                case = {"coupling": coupling, "block": block, "precision": precision}
                rows.append(case | {"activation": activation} | compared)
    return rows


def certificate_cases(seed: int) -> dict[str, tuple[Callable[[Any], Coupling], Any]]:
    """For each coupling, what makes it of arrays and the arrays: NumPy, float64 or float32."""
    rng = np.random.default_rng([seed, 1])
    normal, c = rng.standard_normal, 8
    around = normal((c, 3, 3))
    around[:, 1, 1] = 0
    cases: dict[str, tuple[Callable[[Any], Coupling], Any]] = {
        "full": (lambda a: Full(*a), [normal((c, c, 3, 3))]),
        "full strided": (lambda a: Full(*a, stride=2), [normal((c, c, 3, 3))]),
        "depthwise": (lambda a: Depthwise(*a), [normal((c, 3, 3))]),
        "pointwise": (lambda a: Pointwise(*a), [normal((c, c))]),
        "lean": (lambda a: Lean(*a), [normal((c, c)), around]),
        "circulant": (lambda a: Circulant(*a), [normal((c, 3, 3))]),
        "grouped": (lambda a: Grouped(*a, groups=4), [normal((c, 2, 3, 3))]),
        "stacked": (
            lambda a: Stacked((Depthwise(a[0]), Pointwise(a[1]))),
            [normal((c, 3, 3)), normal((c, c))],
        ),
    }
    single = {
        f"{name} float32": (make, [a.astype(np.float32) for a in arrays])
        for name, (make, arrays) in cases.items()
    }
    return cases | single


def certificate_ends(coupling: Coupling, scaling: Any) -> list[float]:
    """Both ends of the certified norm, without and with a scaling of the rows."""
    plain, scaled = certified_norm(coupling), certified_norm(coupling, row_scaling=scaling)
    return [plain.lower, plain.upper, scaled.lower, scaled.upper]


def compare_certificates(reference: str, other: str, seed: int = 0) -> Rows:
    """One row a coupling: largest relative difference among NumPy and the two devices."""
    rows: Rows = []
    for name, (make, arrays) in certificate_cases(seed).items():
        coupling = make(arrays)
        scaling = np.random.default_rng([seed, 2]).uniform(0, 2, coupling.channels_out)
        ends = [certificate_ends(coupling, scaling)]
        for device in (reference, other):
            tensors = [torch.from_numpy(a).to(device) for a in arrays]
            on_device = torch.from_numpy(scaling).to(device)
            ends.append(certificate_ends(make(tensors), on_device))
        error = largest_difference(ends)
        agree = error <= CERTIFICATE_LIMIT
        rows.append({"operator": name, "error": error, "limit": CERTIFICATE_LIMIT, "agree": agree})
    return rows


def largest_difference(values: Sequence[Sequence[float]]) -> float:
    """Largest relative difference of a row from the first, entry by entry."""
    table = np.asarray(values, dtype=float)
    errors = np.abs(table[1:] - table[0]) / np.abs(table[0])
    return float(np.nan_to_num(errors, nan=np.inf).max())


def accuracies(
    device: str, constraint: str, seeds: Sequence[int], data: ImageData, **options: Any
) -> list[float]:
    """Accuracy on the test images after training on a device, one a seed; nan where it stopped."""
    found = []
    for seed in seeds:
        training = TrainingConfig(device=device, constraint=constraint, seed=seed, **options)
        config = fit_to_data(RunConfig(NetworkConfig(), training), data)
        with tempfile.TemporaryDirectory() as folder:
            result = train(config, data, Path(folder) / "run")
        finished = result.status == "completed" and result.test_accuracy is not None
        found.append(float(result.test_accuracy or 0.0) if finished else math.nan)
    return found


def compare_accuracies(
    reference: Sequence[float], other: Sequence[float], test_images: int
) -> dict[str, Any]:
    """Difference of the means beside the range of the reference, at least two test images.

    The range of the reference alone: a device that is right at times has a wide one.
    """
    spread = max(max(reference) - min(reference), 2 / test_images)
    difference = abs(statistics.fmean(other) - statistics.fmean(reference))
    return {
        "reference": list(reference),
        "other": list(other),
        "difference": difference,
        "limit": spread,
        "agree": difference <= spread,  # nan agrees with nothing
    }


def compare(reference: str, other: str, *, seed: int, seeds: int, say: Say) -> dict[str, Rows]:
    """All comparisons of two devices."""
    data = load_data("digits")
    say("first steps: every coupling, block and precision")
    found = {"first_steps": first_steps(reference, other, data)}
    say("certificates")
    found["certificates"] = compare_certificates(reference, other, seed)
    found["accuracies"] = []
    for constraint in CONSTRAINTS:
        say(f"accuracies: {seeds} seeds on both devices, constraint {constraint}")
        trained = [
            accuracies(device, constraint, range(seed, seed + seeds), data)
            for device in (reference, other)
        ]
        row = compare_accuracies(*trained, test_images=len(data.test_images))
        found["accuracies"].append({"constraint": constraint, **row})
    return found


def disagreements(found: dict[str, Rows]) -> list[str]:
    """One line a row that does not agree."""
    lines = []
    for kind, rows in found.items():
        for row in rows:
            if not row["agree"]:
                told = ", ".join(f"{k} {_text(v)}" for k, v in row.items() if k != "agree")
                lines.append(f"{kind}: {told}")
    return lines


def show(found: dict[str, Rows], console: Console) -> None:
    """One table a comparison."""
    for kind, rows in found.items():
        table = Table(title=kind.replace("_", " "), box=None, title_justify="left")
        for key in rows[0]:
            table.add_column(key.replace("_", " "), overflow="fold")
        for row in rows:
            table.add_row(*(_text(value) for value in row.values()))
        console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, list):
        return " ".join(f"{item:.4f}" for item in value)
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def main(words: Sequence[str] | None = None) -> int:
    """Compare CUDA with the CPU and keep what was found; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="of weights and of the first training")
    parser.add_argument("--seeds", type=int, default=5, help="trainings on each device")
    options = parser.parse_args(words)
    if not torch.cuda.is_available():
        print("no CUDA device: nothing compared")
        return 0
    console = Console()
    found = compare(
        "cpu", "cuda", seed=options.seed, seeds=max(2, options.seeds), say=console.print
    )
    show(found, console)
    failed = disagreements(found)
    numbers = {"seed": options.seed, "agree": not failed, "disagreements": failed}
    write_results(RESULTS / "device_agreement.json", numbers | found)
    for line in failed:
        console.print(line, highlight=False, markup=False)
    console.print("CPU and CUDA disagree." if failed else "CPU and CUDA agree.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
