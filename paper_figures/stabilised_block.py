"""A stabilised method on a trained block: two limits, and what is measured between them (§4.2).

    python paper_figures/stabilised_block.py      writes stabilised_block.png and .txt beside it

A parabolic network is trained on the digits; the step with the largest curvature Lambda is taken
with five Chebyshev stages (damping 0.05) at many step sizes, beside five Euler sub-steps, which
cost the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import nn

from analysis.adviser import plans
from analysis.clouds import RealInterval
from analysis.dynamics import parabolic_limits
from analysis.plots import figure_bytes, tidy
from analysis.stability_of import stability_of
from pdenet.data.sources import load_data
from pdenet.files import write_atomic
from pdenet.inspection.crosscheck import Theory, theory_of
from pdenet.inspection.growth import measure_growth
from pdenet.inspection.images import load_probe
from pdenet.inspection.reader import Layer, double_inference, read_layers
from pdenet.inspection.steppers import SubSteps
from pdenet.layers.time_step import TimeStep
from pdenet.networks import NetworkConfig
from pdenet.training.checkpoint import load_run
from pdenet.training.config import RunConfig, TrainingConfig
from pdenet.training.loop import train

HERE = Path(__file__).parent
METHOD = "rkc1:stages=5,damping=1/20"
STAGES = 5
SHARES = np.geomspace(0.5, 60, 25)
"""h Lambda of the steps that are measured."""


def trained_layer() -> tuple[Layer, Theory]:
    """The step with the largest curvature of a network trained on the digits."""
    config = RunConfig(
        NetworkConfig(block="parabolic", coupling="lean"), TrainingConfig(epochs=12, device="cpu")
    )
    data = load_data("digits")
    with tempfile.TemporaryDirectory() as folder:
        train(config, data, Path(folder) / "run")
        run = load_run(Path(folder) / "run")
        probe = load_probe(run, None, None)
    network = double_inference(run.network)
    layers = [layer for layer in read_layers(network, probe.sample) if layer.kind == "step"]
    found = [(layer, theory_of(layer)) for layer in layers]
    return max(found, key=lambda pair: pair[1].curvature or 0.0)


def measured(step: nn.Module, layer: Layer, theory: Theory) -> float:
    """The largest growth of a distance that the search finds for a step."""
    return measure_growth(
        step, layer.features, directions=theory.directions, points=theory.points
    ).value


def curves(layer: Layer, theory: Theory) -> dict[str, np.ndarray]:
    """Growth of one step over h Lambda: frozen modes, and pairs of inputs for both steppers."""
    step, curvature = layer.module, theory.curvature
    assert isinstance(step, TimeStep) and curvature is not None
    R, values = stability_of(METHOD), -np.linspace(0, 1, 4001)
    of_step: Callable[[float], TimeStep] = lambda share: TimeStep(  # noqa: E731
        step.term, METHOD, share / curvature
    )
    of_euler: Callable[[float], TimeStep] = lambda share: SubSteps(  # noqa: E731
        TimeStep(step.term, "euler", share / curvature), "euler", STAGES
    )
    return {
        "frozen": np.array([np.abs(R(share * values)).max() for share in SHARES]),
        "chebyshev": np.array([measured(of_step(s), layer, theory) for s in SHARES]),
        "euler": np.array([measured(of_euler(s), layer, theory) for s in SHARES]),
    }


def main() -> None:
    layer, theory = trained_layer()
    found = curves(layer, theory)
    curvature = float(theory.curvature or 0.0)
    limits = parabolic_limits(METHOD, curvature)
    linear, nonexpansive = limits.linear * curvature, limits.nonexpansive * curvature

    def draw(ax):
        ax.axvspan(nonexpansive, linear, color="#f2e6d8", label="between both limits of Chebyshev")
        ax.axvline(
            2 * STAGES, color="#888888", linewidth=1, linestyle=":", label="limit of the sub-steps"
        )
        ax.plot(
            SHARES, found["frozen"], color="#1f77b4", label="five Chebyshev stages, frozen modes"
        )
        ax.plot(
            SHARES,
            found["chebyshev"],
            "o-",
            ms=3,
            color="#d95f02",
            label="the same, measured pairs",
        )
        ax.plot(
            SHARES,
            found["euler"],
            "s-",
            ms=3,
            color="#1b9e77",
            label="five Euler sub-steps, measured",
        )
        ax.axhline(1, color="#444444", linewidth=0.8)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_ylim(0.7, 30)
        tidy(
            ax,
            title="One step of a trained parabolic block (digits)",
            xlabel="h Λ",
            ylabel="growth of one step",
        )
        ax.legend(frameon=False, fontsize=8, loc="upper left")
        return ax

    write_atomic(HERE / "stabilised_block.png", figure_bytes(draw, "png"))
    proved = plans(RealInterval(-curvature, 0), time=1.0, claim="non-expansive")
    best = next(plan for plan in proved if not plan.solves)
    between = (nonexpansive < SHARES) & (linear > SHARES)
    lines = [
        f"{layer.name} of a parabolic lean network on the digits, Lambda = {curvature:.4g}",
        f"{METHOD}: linear limit {linear:.4f} / Lambda, non-expansive {nonexpansive:.4f} / Lambda",
        f"frozen growth at 0.99 of the linear limit: "
        f"{np.abs(stability_of(METHOD)(-0.99 * linear * np.linspace(0, 1, 40001))).max():.6f}",
        f"measured growth below the non-expansive limit: at most "
        f"{found['chebyshev'][nonexpansive >= SHARES].max():.6f}",
        f"measured growth between the limits: {found['chebyshev'][between].min():.4f} to "
        f"{found['chebyshev'][between].max():.4f}",
        f"five Euler sub-steps up to h Lambda = 10: at most "
        f"{found['euler'][SHARES <= 2 * STAGES].max():.6f}",
        f"the adviser, for h = 1 and a proof: {best.steps} steps of {best.method}",
        "h Lambda   frozen  measured  sub-steps",
    ]
    rows = zip(SHARES, found["frozen"], found["chebyshev"], found["euler"], strict=True)
    lines += [f"{s:8.3f} {a:8.4f} {b:9.4f} {c:10.4f}" for s, a, b, c in rows]
    write_atomic(HERE / "stabilised_block.txt", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
