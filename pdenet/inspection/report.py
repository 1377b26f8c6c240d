"""The inspection of a trained network: verdicts, remedies, figures and a page."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from analysis.errors import InputError, unknown_name
from pdenet.files import jsonable, write_atomic
from pdenet.inspection.figures import draw_figures
from pdenet.inspection.growth import measure_growth
from pdenet.inspection.images import PROBES, Probe, load_probe
from pdenet.inspection.page import write_page
from pdenet.inspection.prescription import (
    Remedy,
    accuracy,
    constrainable,
    constraint_remedy,
    needs_remedy,
    shrink_remedies,
    stepper_remedies,
    try_constraint,
)
from pdenet.inspection.reader import double_inference, layer_map, read_layers
from pdenet.inspection.result import Inspection
from pdenet.inspection.verdict import (
    Verdict,
    judge,
    lipschitz_certified,
)
from pdenet.networks import PDENet
from pdenet.training.checkpoint import LoadedRun, load_run
from pdenet.training.device import enough_threads

Say = Callable[[str], None]

TRY = ("auto", "always", "never")
PATIENCE = 120.0
"""Seconds of training up to which the remedy 'train with the constraint' is tried by default."""


def inspect_run(
    source: str | Path,
    *,
    data: str | None = None,
    size: tuple[int, int] | None = None,
    out: str | Path | None = None,
    try_prescription: str = "auto",
    tried: Remedy | None = None,
    progress: Say | None = None,
) -> Inspection:
    """Inspect a trained network and write report, figures and counter-pairs.

    Args:
        source: a run folder or its ``.safetensors`` file.
        data: images to measure on; by default those of the training, else seeded noise.
        size: height and width to resample the images to.
        out: folder of the report; by default ``inspection`` in the run folder.
        try_prescription: ``always`` trains the network again under the constraint, ``auto`` where
            the run itself took no longer than two minutes, ``never`` only names the remedy.
        tried: the remedy 'train with the constraint' where it was tried already.
        progress: told in words what is being done.

    Raises:
        InputError: for a source, data or a size that cannot be used.
    """
    if try_prescription not in TRY:
        raise unknown_name("way to try a prescription", try_prescription, TRY)
    say = progress or (lambda text: None)
    run = load_run(source)
    _check_finite(run)
    folder = _folder(run, out)
    if folder.exists() and not folder.is_dir():
        raise InputError("a folder for the report", f"the file {folder}", "choose another --out")
    say("reading images")
    probe = load_probe(run, data, size)
    height, width = probe.images.shape[-2:]
    with enough_threads(run.network.multiply_adds(height, width) * PROBES):
        return _inspect(run, probe, folder, try_prescription, tried, say)


def _check_finite(run: LoadedRun) -> None:
    """Refuse a diverged network: no theorem speaks of it."""
    for name, value in run.network.state_dict().items():
        if not torch.isfinite(value).all():
            raise InputError(
                f"finite weights in {run.path}",
                f"nan or inf in {name}",
                "use a checkpoint before the divergence, or train with a lower learning rate",
            )


def _inspect(
    run: LoadedRun, probe: Probe, folder: Path, mode: str, tried: Remedy | None, say: Say
) -> Inspection:
    network = double_inference(run.network)
    verdicts = []
    layers = read_layers(network, probe.sample)
    for number, layer in enumerate(layers, start=1):
        say(f"layer {number} of {len(layers)}: {layer.name}")
        verdicts.append(judge(layer))
    say("the network as a whole")
    with torch.no_grad():
        measured = measure_growth(network, probe.sample)
    before = None if probe.labelled is None else accuracy(run.network, *probe.labelled)
    remedies = _prescribe(run, verdicts, probe, before, folder, mode, tried, say)
    say("writing report and figures")
    pairs = _write_pairs(folder, verdicts)
    found = Inspection(
        run=run,
        out=folder,
        verdicts=verdicts,
        measured=measured,
        lipschitz=lipschitz_certified(verdicts),
        test_accuracy=before,
        remedies=remedies,
        measured_on=probe.description,
        counter_pairs=pairs,
        figures=tuple(draw_figures(folder, verdicts)),
        warnings=probe.warnings,
    )
    if found.beyond_certificate:
        found = replace(found, warnings=(*found.warnings, _defect(found)))
    write_page(found)
    text = json.dumps(jsonable(found.to_json()), indent=2, allow_nan=False)
    write_atomic(folder / "inspection.json", text)
    return found


def _defect(found: Inspection) -> str:
    return (
        f"the measured growth of the network, {found.measured.value:.12g}, exceeds its certified "
        f"constant {found.lipschitz:.12g}: a defect of theory or program, please report it"
    )


def _folder(run: LoadedRun, out: str | Path | None) -> Path:
    if out is not None:
        return Path(out)
    if run.path.name == "model.safetensors":
        return run.path.parent / "inspection"
    return run.path.with_suffix(".inspection")


def _prescribe(
    run: LoadedRun,
    verdicts: Sequence[Verdict],
    probe: Probe,
    before: float | None,
    folder: Path,
    mode: str,
    tried: Remedy | None,
    say: Say,
) -> list[Remedy]:
    """What helps the steps without a proof, tried as far as data and patience allow."""
    offenders = needs_remedy(verdicts)
    if not offenders:
        return []
    say("trying smaller steps with the trained weights")
    shrinking = shrink_remedies(run.network, offenders, probe.labelled, before)
    say("trying other steppers with the trained weights")
    shrinking += stepper_remedies(run.network, offenders, probe.labelled, before)
    if tried is not None:
        return [tried, *shrinking]
    test, data = probe.labelled, probe.data
    patient = mode == "always" or (mode == "auto" and _seconds(run) <= PATIENCE)
    if not constrainable(run.config, run.images.image_shape[:2]):
        return shrinking
    if test is None or data is None or not patient:
        return [constraint_remedy(run.config, accuracy_before=before), *shrinking]
    say("training again with the constraint")
    return [try_constraint(run.config, data, test, folder, before), *shrinking]


def _seconds(run: LoadedRun) -> float:
    """Seconds that training took, by the metrics beside the model; infinite where unknown."""
    try:
        text = (run.path.parent / "metrics.csv").read_text()
        return float(np.genfromtxt(io.StringIO(text), delimiter=",", names=True)["seconds"].sum())
    except (OSError, ValueError, IndexError):
        return math.inf


def _write_pairs(folder: Path, verdicts: Sequence[Verdict]) -> dict[str, str]:
    """One ``.npz`` a contradicted layer: the two inputs, their images and the growth."""
    files = {}
    for verdict in verdicts:
        path = folder / "counter_pairs" / f"{verdict.layer.name}.npz"
        if not verdict.contradicted:
            path.unlink(missing_ok=True)  # of an earlier inspection: it would speak against this
            continue
        growth = verdict.growth
        with torch.no_grad():
            first, second = verdict.pair
            images = verdict.layer.apply(torch.stack([first, second]))
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            first=first.numpy(),
            second=second.numpy(),
            first_image=images[0].numpy(),
            second_image=images[1].numpy(),
            growth=np.array(growth.value),
        )
        write_atomic(path, buffer.getvalue())
        files[verdict.layer.name] = str(path)
    return files


def pair_growth(network: PDENet, layer_name: str, file: str | Path) -> float:
    """Growth of a counter-pair on file, computed anew from the two inputs alone.

    Args:
        network: the network the pair is about.
        layer_name: name of the layer.
        file: the ``.npz`` of the pair.
    """
    with np.load(file, allow_pickle=False) as pair:
        first, second = (torch.from_numpy(pair[name])[None] for name in ("first", "second"))
    mapping = layer_map(double_inference(network), layer_name)
    with torch.no_grad():
        moved = torch.linalg.vector_norm(mapping(first) - mapping(second))
    return float(moved / torch.linalg.vector_norm(first - second))
