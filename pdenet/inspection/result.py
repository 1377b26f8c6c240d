"""What an inspection found out, as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdenet.inspection.growth import Growth
from pdenet.inspection.prescription import Remedy
from pdenet.inspection.variation import time_variation
from pdenet.inspection.verdict import Verdict, count_grades, first_offender
from pdenet.training.checkpoint import LoadedRun


@dataclass(frozen=True, eq=False)
class Inspection:
    """What was found out about a trained network.

    Attributes:
        run: the network as read.
        out: folder of report, figures and counter-pairs.
        verdicts: one a layer, in order.
        measured: growth of the whole network, images to scores.
        lipschitz: certified Lipschitz constant of the whole network.
        test_accuracy: on the images, None on noise.
        remedies: the prescription.
        measured_on: what was measured on.
        counter_pairs: file of each layer that has one.
        warnings: sentences about the inspection as a whole.
    """

    run: LoadedRun
    out: Path
    verdicts: Sequence[Verdict]
    measured: Growth
    lipschitz: float
    test_accuracy: float | None
    remedies: Sequence[Remedy]
    measured_on: str
    counter_pairs: dict[str, str]
    figures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def contradicted(self) -> bool:
        """Whether the claim of a layer, or the certified constant, is contradicted."""
        return any(v.contradicted for v in self.verdicts) or self.beyond_certificate

    @property
    def beyond_certificate(self) -> bool:
        """Whether the network grew more than the product of certified constants allows."""
        slack = self.measured.allowance * (1 + self.lipschitz)
        return self.measured.value > self.lipschitz + slack

    @property
    def grades(self) -> dict[str, int]:
        """How many time steps have each grade."""
        return count_grades(self.verdicts)

    @property
    def worst_step_growth(self) -> float:
        """Largest measured growth of a time step."""
        steps = [v.growth.value for v in self.verdicts if v.layer.kind == "step"]
        return max(steps, default=math.nan)

    def to_json(self) -> dict[str, Any]:
        """The keys of the command-line contract."""
        layers = [
            v.to_json(self.measured_on, self.counter_pairs.get(v.layer.name)) for v in self.verdicts
        ]
        network = {
            "lipschitz_certified": self.lipschitz,
            "measured_growth": self.measured.value,
            "measured_random": self.measured.random,
            "test_accuracy": self.test_accuracy,
            "grades": self.grades,
            "first_offending_layer": first_offender(self.verdicts),
            "time_variation": time_variation(self.verdicts),
            "prescription": [remedy.to_json() for remedy in self.remedies],
        }
        found: dict[str, Any] = {
            "run": str(self.run.path),
            "layers": layers,
            "network": network,
            "report": str(self.out / "report.html"),
            "figures": list(self.figures),
            "warnings": list(self.warnings),
        }
        return found
