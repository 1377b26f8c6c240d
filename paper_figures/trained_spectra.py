"""Spectra of trained diffusion-reaction blocks over the stability region of their time stepper.

Trains four small networks on the embedded digits (depthwise diffusion, circular padding) and draws,
for every time step, h times the eigenvalues of the frozen symbol (theory §4.10c)

    J^(w) = -D^(w)^* S D^(w) + J_R,      J_R = S_W W  (plain)  or  -W^T S_W W  (dissipative)

at all frequencies of the image. S and S_W hold the gains of the normalisation at inference times
the share of test images and pixels in which a unit is active: the Jacobian of the step averaged
over images and pixels, which is a convolution.

    python paper_figures/trained_spectra.py      writes trained_spectra.png, .pdf and .txt beside it
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from analysis.frozen import frozen_symbol_eigenvalues, growing_frequencies
from analysis.grid import Grid
from analysis.plots import file_bytes, make_figure, plot_spectra_over_region, rows_height
from analysis.plots.style import TITLE
from pdenet.data.batches import Batches
from pdenet.data.sources import ImageData, load_data
from pdenet.files import write_atomic
from pdenet.layers.normalization import inference_affine
from pdenet.layers.terms import DiffusionReactionTerm
from pdenet.layers.time_step import TimeStep
from pdenet.networks import NetworkConfig
from pdenet.training.checkpoint import load_run
from pdenet.training.config import RunConfig, TrainingConfig
from pdenet.training.loop import train

HERE = Path(__file__).parent
EPOCHS, SEED = 10, 0


@dataclass(frozen=True)
class Example:
    """A network of the figure: how it steps, how it reacts, how it is trained."""

    method: str
    step_size: float
    reaction: str
    constraint: str

    @property
    def field(self) -> str:
        """Method, step size and right-hand side, as a title says them."""
        return f"{self.method}, h = {self.step_size:g}, {self.reaction} reaction"

    @property
    def training(self) -> str:
        """How it is trained, in a word."""
        return {"none": "free", "nonexpansive": "constrained"}[self.constraint]

    @property
    def config(self) -> RunConfig:
        """The run of the network."""
        network = NetworkConfig(
            block="diffusion-reaction",
            coupling="depthwise",
            padding_mode="circular",
            widths=(12, 24),
            steps=2,
            method=self.method,
            step_size=self.step_size,
            reaction=self.reaction,
        )
        training = TrainingConfig(
            epochs=EPOCHS, crop=0, seed=SEED, device="cpu", constraint=self.constraint
        )
        return RunConfig(network, training)


EXAMPLES = (
    Example("euler", 1.0, "plain", "none"),
    Example("rk4", 0.25, "plain", "none"),
    Example("euler", 1.0, "dissipative", "none"),
    Example("euler", 1.0, "dissipative", "nonexpansive"),
)


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network: spectra times step size by time step, and how well it does."""

    example: Example
    clouds: dict[str, np.ndarray]
    test_accuracy: float

    @property
    def growing(self) -> dict[str, tuple[int, int]]:
        """By time step: frequencies that grow, and how many there are."""
        counts = {}
        for name, values in self.clouds.items():
            index = np.arange(len(values))[:, None]
            counts[name] = (len(growing_frequencies(values, index)), len(values))
        return counts


def trained(example: Example, data: ImageData) -> Trained:
    """Train a network and take its frozen spectra at the test images."""
    with tempfile.TemporaryDirectory() as folder:
        result = train(example.config, data, Path(folder) / "run")
        if result.status != "completed":
            raise RuntimeError(result.message)
        network = load_run(Path(folder) / "run").network
    images, labels = data.test_images, data.test_labels
    batches = Batches(images, labels, len(labels), mean=data.mean, std=data.std)
    seen = [Activity(step) for _, step in network.time_steps()]
    with torch.no_grad():
        network(next(iter(batches))[0])
    steps = zip(network.time_steps(), seen, strict=True)
    clouds = {spoken(name): frozen_cloud(activity) for (name, _), activity in steps}
    return Trained(example, clouds, float(result.test_accuracy or 0.0))


def spoken(name: str) -> str:
    """``blocks.0.steps.1`` as a reader counts: ``block 1 step 2``."""
    _, block, _, step = name.split(".")
    return f"block {int(block) + 1} step {int(step) + 1}"


class Activity:
    """Watches a time step: share of the images and pixels in which each of its units is active."""

    def __init__(self, step: TimeStep) -> None:
        assert isinstance(step.term, DiffusionReactionTerm)
        self.step, self.term = step, step.term
        self.shares: dict[str, list[torch.Tensor]] = {"diffusion": [], "reaction": []}
        self.image_size = (0, 0)
        for part, values in self.shares.items():
            norm = getattr(self.term, f"{part}_normalization")
            norm.register_forward_hook(lambda _, __, z, values=values: self.watch(values, z))

    def watch(self, values: list[torch.Tensor], z: torch.Tensor) -> None:
        """Keep the shares of positive units of one evaluation."""
        self.image_size = (z.shape[-2], z.shape[-1])
        values.append((z > 0).double().mean(dim=(0, 2, 3)))

    def slopes(self, part: str) -> np.ndarray:
        """Gain of the normalisation times mean slope of ReLU, over all stages, ``(c,)``."""
        share = torch.stack(self.shares[part]).mean(dim=0)
        scale, _ = inference_affine(getattr(self.term, f"{part}_normalization"), len(share))
        return (scale.double() * share).detach().numpy()


def frozen_cloud(activity: Activity) -> np.ndarray:
    """Step size times the eigenvalues of the mean Jacobian of a time step."""
    term = activity.term
    W = term.reaction_operator.coupling().double().dense_weight().numpy()[:, :, 0, 0]
    s = activity.slopes("reaction")
    J = -W.T @ (s[:, None] * W) if term.reaction == "dissipative" else s[:, None] * W
    values = frozen_symbol_eigenvalues(
        term.diffusion_operator.coupling().double(),
        activity.slopes("diffusion"),
        J,
        Grid(activity.image_size).frequencies(),
    )
    return activity.step.step_size * values


def draw(networks: list[Trained]) -> Figure:
    """A plane for every plain reaction, then one row a step for the dissipative ones."""
    plain = [network for network in networks if network.example.reaction == "plain"]
    others = [network for network in networks if network.example.reaction == "dissipative"]
    rows = {
        f"{network.example.training}, {name}": values
        for network in others
        for name, values in network.clouds.items()
    }
    heights = [3.2] * len(plain) + [rows_height(len(rows))]
    figure, axes = make_figure(len(heights), columns=1, heights=heights)
    for network, ax in zip(plain, axes, strict=False):
        plot_spectra_over_region(network.example.method, network.clouds, ax)
        title = f"{network.example.field}: test accuracy {100 * network.test_accuracy:.1f} %"
        ax.set_title(title, loc="left", fontsize=TITLE)
    plot_spectra_over_region(others[0].example.method, rows, axes[-1])
    accuracies = " and ".join(
        f"{100 * network.test_accuracy:.1f} % ({network.example.training})" for network in others
    )
    title = f"{others[0].example.field}: test accuracy {accuracies}"
    axes[-1].set_title(title, loc="left", fontsize=TITLE)
    return figure


def caption(networks: list[Trained]) -> str:
    """What the figure shows and what it assumes."""
    lines = [
        "Step size times eigenvalues of trained diffusion-reaction steps over the stability region",
        "of their time stepper (blue where |R| <= 1, darker damps more; vermilion: |R| > 1).",
        "",
        "Field: y' = -D^T relu(N(D y)) + R(y), depthwise 3x3 diffusion D, circular padding, batch",
        "normalisation N; R(y) = relu(N(W y)) (plain) or -W^T relu(N(W y)) (dissipative).",
        "Eigenvalues: of -D^(w)^* S D^(w) + J_R at all frequencies of the image, S and J_R with",
        "the gains of N at inference times the share of test images and pixels in which a unit is",
        "active (mean over the stages of the method). This is the Jacobian averaged over images",
        "and pixels; it is necessary for stability with frozen coefficients, not sufficient for",
        "bounded products of steps. To the left of the region the step is too long for the",
        "diffusion; to the right of zero the reaction itself grows, whatever the step size.",
        "The constraint bounds the case of all units active, so that its averaged spectra keep a",
        "distance from the edge.",
        "",
        f"Training: embedded 8x8 digits, {EPOCHS} epochs, seed {SEED}; widths 12 and 24, two steps",
        "a block. Growing: frequencies with an eigenvalue of positive real part, of all.",
        "",
    ]
    for network in networks:
        example = network.example
        lines.append(f"{example.field}, {example.training}: {network.test_accuracy:.4f}")
        for name, (growing, total) in network.growing.items():
            lines.append(f"    {name}: {growing} of {total} frequencies growing")
    return "\n".join(lines) + "\n"


def main() -> None:
    torch.set_num_threads(1)  # operators this small only wait for one another on several
    data = load_data("digits")
    networks = [trained(example, data) for example in EXAMPLES]
    figure = draw(networks)
    for kind in ("png", "pdf"):
        write_atomic(HERE / f"trained_spectra.{kind}", file_bytes(figure, kind))
    write_atomic(HERE / "trained_spectra.txt", caption(networks))


if __name__ == "__main__":
    main()
