"""What helps a network whose steps are beyond their limits, tried on its own data.

The remedies, all carried out: shrinking the step of the trained weights to its limit, which buys
the proof with accuracy; other steppers through the same time, sub-steps with a proof or a
stabilised method without one; and training again under the constraint, which keeps the accuracy.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from analysis.adviser import Plan
from analysis.contractivity import circle_contractivity_radius
from analysis.errors import InputError
from analysis.methods import method
from pdenet.data.sources import ImageData
from pdenet.inspection.crosscheck import FROZEN, NON_EXPANSIVE, theory_of
from pdenet.inspection.reader import double_inference, read_layers
from pdenet.inspection.steppers import chosen_plans, with_plans
from pdenet.inspection.verdict import Verdict, step_verdicts
from pdenet.layers.time_step import TimeStep, table_of
from pdenet.networks import PDENet, per_step
from pdenet.training.checkpoint import ImageFacts, load_run, load_state
from pdenet.training.config import RunConfig
from pdenet.training.constraints import check_constraint
from pdenet.training.loop import train

MARGIN = 1e-5
"""Distance kept from a limit, as in training."""
FALLBACK_METHOD = "heun"
"""For methods without a non-expansive step."""

HOW_TRIED = (
    "Other steps were tried in all these layers together, with the weights as they are: train on. "
    "Training with the constraint starts anew."
)
"""What the accuracies of remedies mean."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Remedy:
    """One line of a prescription.

    Attributes:
        layer: the layer it is about, or ``network``.
        action: what to do.
        value: the new value.
        predicted_growth: of one step afterwards, by the theorem; None where none bounds it.
        accuracy_before, accuracy_after: on the test images, None where it was not tried.
        proved: steps proved afterwards and their number, None where it was not tried.
        run: run folder of the network that was trained for it.
    """

    layer: str
    action: str
    value: float | str
    predicted_growth: float | None
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    proved: tuple[int, int] | None = None
    run: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The keys of the command-line contract, and what was found when it was tried."""
        return {
            "layer": self.layer,
            "action": self.action,
            "value": self.value,
            "predicted_growth": self.predicted_growth,
            "tried": self.accuracy_after is not None,
            "accuracy_before": self.accuracy_before,
            "accuracy_after": self.accuracy_after,
            "proved_steps": None if self.proved is None else self.proved[0],
            "steps": None if self.proved is None else self.proved[1],
            "run": self.run,
        }


@torch.no_grad()
def accuracy(network: PDENet, images: Tensor, labels: Tensor, batch: int = 250) -> float:
    """Share of images that a network classifies right, in its own precision."""
    kind = network.classifier.weight.dtype
    hits = 0
    for start in range(0, len(images), batch):
        scores = network(images[start : start + batch].to(kind))
        hits += int((scores.argmax(1) == labels[start : start + batch]).sum())
    return hits / len(images)


def needs_remedy(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Steps whose claim has a limit and no proof."""
    return [
        verdict
        for verdict in step_verdicts(verdicts)
        if verdict.theory.claim in (NON_EXPANSIVE, FROZEN)
        and verdict.grade in ("measured", "violated")
    ]


def shrunk(network: PDENet, offenders: Sequence[Verdict]) -> PDENet | None:
    """The same weights with every offending step shrunk to its limit; None where there is none."""
    limits = {v.layer.name: v.theory.limit for v in offenders}
    if any(limit is None or limit == 0 for limit in limits.values()):
        return None
    copied = per_step(copy.deepcopy(network))
    for name, module in copied.named_modules():
        limit = limits.get(name)
        if limit is not None and isinstance(module, TimeStep):
            module.step_size = limit * (1 - MARGIN)
    return copied


def shrink_remedies(
    network: PDENet,
    offenders: Sequence[Verdict],
    test: tuple[Tensor, Tensor] | None,
    before: float | None,
) -> list[Remedy]:
    """One remedy a step; the accuracy is that of all steps shrunk together."""
    smaller = shrunk(network, offenders)
    if smaller is None:
        return []
    after = None if test is None else accuracy(smaller, *test)
    return [
        Remedy(
            layer=v.layer.name,
            action="reduce the step size of the trained weights",
            value=(v.theory.limit or 0.0) * (1 - MARGIN),
            # A frozen limit is about modes: distances can grow inside it.
            predicted_growth=1.0 if v.theory.claim == NON_EXPANSIVE else None,
            accuracy_before=before,
            accuracy_after=after,
        )
        for v in offenders
    ]


STEPPERS = {
    "non-expansive": "take sub-steps with the trained weights",
    "linear": "take a stabilised method: no frozen mode grows, no proof",
}
"""Actions of the remedies that replace the stepper, by what the adviser is asked for."""


def stepper_remedies(
    network: PDENet,
    offenders: Sequence[Verdict],
    test: tuple[Tensor, Tensor] | None,
    before: float | None,
) -> list[Remedy]:
    """Sub-steps that are proved, and a stabilised method where it costs less, one remedy a step."""
    remedies: list[Remedy] = []
    proved: dict[str, Plan] = {}
    for claim, action in STEPPERS.items():
        chosen = chosen_plans(offenders, claim)
        if chosen is None or chosen.keys() & {n for n, p in proved.items() if p == chosen[n]}:
            continue
        if claim == "linear" and all(
            plan.applications >= proved[name].applications for name, plan in chosen.items()
        ):
            continue
        after = None if test is None else accuracy(with_plans(network, chosen), *test)
        remedies += [
            Remedy(
                layer=name,
                action=action,
                value=_in_words(plan),
                predicted_growth=1.0 if claim == "non-expansive" else None,
                accuracy_before=before,
                accuracy_after=after,
            )
            for name, plan in chosen.items()
        ]
        proved = chosen if claim == "non-expansive" else proved
    return remedies


def _in_words(plan: Plan) -> str:
    return plan.method if plan.steps == 1 else f"{plan.steps} x {plan.method}"


def constrained_config(config: RunConfig) -> RunConfig:
    """The same run under the constraint, with another method where its own has no limit."""
    network = config.network
    table = table_of(method(network.method))
    if table is not None and circle_contractivity_radius(table) == 0:
        network = replace(network, method=FALLBACK_METHOD)
    return replace(
        config, network=network, training=replace(config.training, constraint="nonexpansive")
    )


def constraint_remedy(config: RunConfig, *, run: str | None = None, **found: Any) -> Remedy:
    """The remedy 'train with the constraint', with what was found where it was tried."""
    constrained = constrained_config(config)
    action = "train with the constraint"
    if constrained.network.method != config.network.method:
        action += f" and the method {constrained.network.method}"
    return Remedy("network", action, "nonexpansive", 1.0, run=run, **found)


def constrainable(config: RunConfig, image_size: tuple[int, int]) -> bool:
    """Whether a run can be trained under the constraint at all."""
    try:
        check_constraint(constrained_config(config), image_size)
    except InputError:
        return False
    return True


def try_constraint(
    config: RunConfig,
    data: ImageData,
    test: tuple[Tensor, Tensor],
    folder: Path,
    before: float | None,
) -> Remedy:
    """Train the same network under the constraint and look at it.

    Args:
        config: of the run that is inspected.
        data: the images it was trained on.
        test: normalised test images and labels.
        folder: where the run folder ``constrained`` is made. One that holds this very run already
            is taken as it is; others stay, and the new one has a number.
        before: accuracy of the network as it is.
    """
    wanted = constrained_config(config)
    out, finished = _run_folder(folder, wanted, data)
    status = "completed" if finished else train(wanted, data, out).status
    if status == "interrupted":
        raise KeyboardInterrupt
    network = load_run(out).network
    layers = read_layers(double_inference(network), test[0][:1].double())
    steps = [theory_of(layer) for layer in layers if layer.kind == "step"]
    proved = sum(theory.proved for theory in steps)
    after = accuracy(network, *test) if status == "completed" else math.nan
    return constraint_remedy(
        config,
        run=str(out),
        accuracy_before=before,
        accuracy_after=after,
        proved=(proved, len(steps)),
    )


def _run_folder(folder: Path, wanted: RunConfig, data: ImageData) -> tuple[Path, bool]:
    """The first folder that is free or holds the run wanted, and whether it holds it."""
    for number in itertools.count(1):
        out = folder / ("constrained" if number == 1 else f"constrained-{number}")
        if not out.exists():
            return out, False
        if _holds(out, wanted, data):
            return out, True
    raise AssertionError("numbers do not end")


def _holds(out: Path, wanted: RunConfig, data: ImageData) -> bool:
    """Whether a folder holds a completed run of a configuration on these images."""
    try:
        images, state = load_run(out).images, load_state(out)
    except InputError:
        return False
    completed = state.epoch == wanted.training.total_epochs
    return completed and state.config == wanted and images == ImageFacts.of(data)


@dataclass(frozen=True)
class Advice:
    """Remedies with the same action, as one line for people.

    Attributes:
        action: what to do.
        where: the layer, or how many layers.
        value: the new value, or its range.
        first: one of the remedies; all share what was found when they were tried together.
    """

    action: str
    where: str
    value: str
    first: dict[str, Any]


def advice(prescription: Sequence[dict[str, Any]]) -> list[Advice]:
    """The prescription of an inspection's JSON with one line an action."""
    lines = []
    for action in dict.fromkeys(remedy["action"] for remedy in prescription):
        same = [remedy for remedy in prescription if remedy["action"] == action]
        numbers = [remedy["value"] for remedy in same if isinstance(remedy["value"], float)]
        words = sorted({str(remedy["value"]) for remedy in same}, key=_leading_number)
        value = " to ".join(dict.fromkeys((words[0], words[-1])))
        value = value if not numbers else f"{min(numbers):.3g}"
        where = same[0]["layer"] if len(same) == 1 else f"{len(same)} layers"
        if len(numbers) > 1:
            value += f" to {max(numbers):.3g}"
        lines.append(Advice(action, where, value, same[0]))
    return lines


def _leading_number(text: str) -> tuple[int, str]:
    """The first whole number in a text, to sort what differs in it alone."""
    found = re.search(r"\d+(?= x)|(?<=stages=)\d+", text)
    return (int(found[0]) if found else 0), text
