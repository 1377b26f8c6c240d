"""The pages a person reads: one self-contained HTML file, made from a template."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis.plots.style import GRADE_COLOURS
from pdenet import __version__
from pdenet.files import write_atomic
from pdenet.inspection.crosscheck import BOUNDED
from pdenet.inspection.figures import short_name
from pdenet.inspection.prescription import HOW_TRIED, advice
from pdenet.inspection.result import Inspection

CAPTIONS = {
    "spectra.png": (
        "Eigenvalues of each step with every unit at full slope, times the step size, over the "
        "stability region of the method. What lies outside is overshoot."
    ),
    "margins.png": "Step size over its non-expansive limit: left of the line the step is proved.",
    "symbol.png": (
        "Norm of the symbol over all frequencies, for the step furthest beyond its limit: the "
        "line is the largest norm that this step size admits."
    ),
}


def number(value: float | None, digits: int = 4) -> str:
    """A number for a table; a dash where there is none.

    >>> number(0.123456), number(None), number(float("inf"))
    ('0.1235', '–', '∞')
    """
    if value is None or math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:.{digits}g}"


def percent(value: float | None) -> str:
    """A share as a percentage.

    >>> percent(0.98765)
    '98.8 %'
    """
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f} %"


def embedded(path: str | Path) -> str:
    """A picture as a data address, so that the page is one file."""
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def render(template: str, **values: Any) -> str:
    """Fill a template of this package."""
    environment = Environment(
        loader=PackageLoader("pdenet.inspection"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "short": short_name}
    common = {"version": __version__, "colours": GRADE_COLOURS}
    return environment.get_template(template).render(**common, **values)


def pictures(files: Sequence[str]) -> list[Mapping[str, str]]:
    """Embedded pictures with their captions."""
    return [
        {"source": embedded(file), "caption": CAPTIONS.get(Path(file).name, "")} for file in files
    ]


def write_page(found: Inspection) -> Path:
    """Write ``report.html`` of an inspection; returns its path."""
    path = found.out / "report.html"
    result = found.to_json()
    text = render(
        "inspection.html",
        found=result,
        layers=result["layers"],
        network=result["network"],
        advice=advice(result["network"]["prescription"]),
        how_tried=HOW_TRIED,
        summary=summary(found),
        pictures=pictures(found.figures),
    )
    write_atomic(path, text)
    return path


def summary(found: Inspection) -> str:
    """The verdict in two or three sentences."""
    grades = found.grades
    steps = sum(grades.values())
    if not steps:
        return "The network has no time steps."
    proved, violated = grades.get("proved", 0), grades.get("violated", 0)
    words = []
    bounded = {v.theory.claim for v in found.verdicts if v.layer.kind == "step"} == {BOUNDED}
    if bounded and violated:
        words.append(
            f"The measured growth of {violated} of {steps} steps exceeds the certified one: a "
            "defect of theory or program, please report it."
        )
    elif bounded:
        words.append(
            f"The {steps} steps make no claim of non-expansion; the measured growth of each stays "
            f"below its certified one (largest {found.worst_step_growth:.4g})."
        )
    elif proved == steps:
        words.append(
            f"All {steps} steps are proved non-expansive: no two inputs drift apart in any of them."
        )
    elif violated:
        words.append(
            f"{violated} of {steps} steps can drive inputs apart, up to "
            f"{found.worst_step_growth:.3g} times in one step, and a pair of inputs is kept that "
            "shows it. That says nothing against the accuracy: it is a matter of robustness, and "
            "of how deep the network could be made."
        )
    else:
        words.append(
            f"{proved} of {steps} steps are proved non-expansive; the others are beyond the "
            "theorem, but no pair of inputs was found that they drive apart."
        )
    words.append(
        f"Certified Lipschitz constant of the network {found.lipschitz:.4g}, measured growth "
        f"{found.measured.value:.4g}."
    )
    return " ".join(words)
