# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Is my step size safe?
#
# A residual layer $y \mapsto y + h f(y)$ is one forward Euler step of $y' = f(y)$. Too long a step
# makes differences between inputs grow from layer to layer, and the growth hides in directions that
# random tests miss. This page finds the longest safe step, first for the heat equation, then for a
# layer, then for a trained network.

# %%
import tempfile
from pathlib import Path

import numpy as np
import torch
from IPython.display import Image

from analysis.certificates import certified_norm
from analysis.dynamics import parabolic_limits
from analysis.methods import tableau
from analysis.model_problems import heat_spectrum
from analysis.plots import (
    GRADE_COLOURS,
    make_figure,
    plot_margins,
    plot_spectra_over_region,
    plot_symbol_norm,
    png,
    rows_height,
    tidy,
)
from analysis.steps import largest_stable_step
from pdenet.data.sources import load_data
from pdenet.inspection.figures import cloud, margin_rows
from pdenet.inspection.growth import pair_ratios
from pdenet.inspection.report import inspect_run
from pdenet.inspection.verdict import step_verdicts
from pdenet.integrators.explicit import rk_step
from pdenet.layers.terms import ParabolicTerm
from pdenet.networks import NetworkConfig
from pdenet.operators.conv import make_operator
from pdenet.training.config import RunConfig, TrainingConfig
from pdenet.training.loop import train

torch.set_num_threads(1)  # networks this small are no faster on more
SAFE, UNSAFE = GRADE_COLOURS["proved"], GRADE_COLOURS["violated"]


def show(figure):
    return Image(png(figure), width=900)


# %% [markdown]
# ## 1. The heat equation, where everything is known
#
# $y' = y_{xx}$ on 64 points of spacing one. Forward Euler multiplies each wave by $1 + h\lambda$;
# every eigenvalue $\lambda$ is known, and the longest step keeps the fastest wave at
# $|1 + h\lambda| \le 1$.

# %%
spectrum = heat_spectrum(64)
limit = largest_stable_step("euler", spectrum)
print(f"largest stable step {limit.step_size}, set by the eigenvalue {limit.limiting_eigenvalue}")
print(limit.statement)

# %% [markdown]
# The limit is sharp: one percent less and everything decays, one percent more and a sawtooth grows
# out of perturbations of one part in a thousand.


# %%
def heat(step_size, steps=400):
    """States of the heat equation after each step, from a bump with a little noise."""
    x = np.arange(64)
    y = np.exp(-(((x - 32) / 8) ** 2)) + 1e-3 * np.random.default_rng(0).standard_normal(64)
    states = [y]
    for _ in range(steps):
        y = y + step_size * (np.roll(y, 1) - 2 * y + np.roll(y, -1))
        states.append(y)
    return np.array(states)


figure, (shape, size) = make_figure(2, dpi=110)
for factor, colour in ((0.99, SAFE), (1.01, UNSAFE)):
    states = heat(factor * limit.step_size)
    shape.plot(states[-1], color=colour, lw=1.6, label=f"{factor} of the limit")
    size.plot(np.linalg.norm(states, axis=1), color=colour, lw=2)
shape.plot(states[0], color="0.6", label="start", zorder=0)
tidy(shape, title="y after 400 steps", xlabel="x")
tidy(size, title="‖y‖", xlabel="step", grid="y").set_ylim(bottom=0)
shape.legend(frameon=False)
show(figure)

# %% [markdown]
# ## 2. A layer is such an equation
#
# The parabolic layer $y' = -K^\top \sigma(K y + b)$ is a heat equation that is learned:
# $K = \nabla$ would be the one above. Its Jacobian $-K^\top \mathrm{diag}(\sigma') K$ has
# eigenvalues in $[-\|K\|^2, 0]$, whatever the input, so one number decides: the norm of the
# convolution $K$. It is the maximum of its symbol $\hat K(\omega)$ over all frequencies.

# %%
torch.manual_seed(4)
operator = make_operator("lean", 8, 8, bias=False, padding_mode="circular").double()
with torch.no_grad():
    for weights in operator.parameters():
        weights *= 1.3  # training makes weights larger than they begin
coupling = operator.coupling()
norm = certified_norm(coupling, relative_width=1e-3)
print(f"||K|| lies in [{norm.lower:.4f}, {norm.upper:.4f}], proved for every image size")

# %%
figure, axes = make_figure(1, width=5.6, height=4.4, dpi=110)
plot_symbol_norm(coupling, axes[0], limit=np.sqrt(2))
Image(png(figure), width=560)

# %% [markdown]
# The line is $\|\hat K(\omega)\|^2 = 2$: waves inside it are beyond the limit of a step $h = 1$.
#
# There are two limits. *Linear*: no wave grows while the coefficients stay the same.
# *Non-expansive*: no two inputs ever move apart, although every layer and every input has other
# coefficients. Only the second one is safe for a network, and some methods have none.

# %%
print(f"{'method':10} {'linear':>10} {'non-expansive':>15}")
for method in ("euler", "heun", "rk4", "midpoint"):
    limits = parabolic_limits(method, norm.upper**2)
    print(f"{method:10} {limits.linear:10.4f} {limits.nonexpansive:15.4f}")

# %% [markdown]
# ## 3. What happens beyond the limit
#
# Take pairs of inputs through one step and compare their distances. One pair differs by the leading
# singular vector of $K$, the others at random.

# %%
term = ParabolicTerm(operator, torch.nn.Identity(), "tanh")
safe_step = parabolic_limits("euler", norm.upper**2).nonexpansive
leading = torch.randn(1, 8, 32, 32, dtype=torch.float64)
with torch.no_grad():
    for _ in range(300):  # power iteration on K^T K
        leading = operator.adjoint(operator.linear(leading))
        leading = leading / leading.norm()
others = torch.randn(20, 8, 32, 32, dtype=torch.float64)


def growth(step_size, differences):
    """Distances after one Euler step over distances before it, one a pair."""
    differences = 1e-3 * differences / differences.flatten(1).norm(dim=1)[:, None, None, None]
    with torch.no_grad():
        return pair_ratios(
            lambda y: rk_step(tableau("euler"), term, y, step_size), differences, -differences
        )[0].numpy()


factors = np.linspace(0.5, 1.5, 41)
figure, axes = make_figure(1, height=3.4, dpi=110)
axes[0].plot(factors, [growth(f * safe_step, leading)[0] for f in factors], color=UNSAFE, lw=2)
axes[0].plot(factors, [growth(f * safe_step, others).max() for f in factors], color="0.4", lw=2)
axes[0].axvline(1, color="0.6", lw=1)
axes[0].axhline(1, color="0.6", lw=1)
axes[0].text(1.2, 1.55, "pair along the leading\nsingular vector", color=UNSAFE, ha="right")
axes[0].text(1.48, 0.55, "worst of 20 random pairs", color="0.4", ha="right")
tidy(axes[0], title="Growth of a distance in one Euler step", xlabel="step size / certified limit")
show(figure)

# %%
for factor in (0.99, 1.0, 1.01):
    print(f"{factor:.2f} of the limit: distance times {growth(factor * safe_step, leading)[0]:.4f}")

# %% [markdown]
# The random pairs notice nothing. The leading pair crosses one where the theory says, up to the
# width of the certificate. That pair is a *counter-pair*: two inputs whose distance grows, kept as
# evidence.

# %% [markdown]
# ## 4. Training inside the limit
#
# The same small network on the 8 x 8 digits, trained freely and with the constraint, which rescales
# $K$ after each step of the optimiser so that $h \|S^{1/2}K\|^2 \le 2$ ($S$: the gains of batch
# normalisation).

# %%
network = NetworkConfig(widths=(8, 16), steps=2, coupling="lean", step_size=1.0)
data = load_data("digits")
found = {}
for constraint in ("none", "nonexpansive"):
    run = RunConfig(network, TrainingConfig(epochs=15, crop=0, constraint=constraint, device="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        train(run, data, Path(folder) / "run")
        found[constraint] = inspect_run(Path(folder) / "run", try_prescription="never")
for constraint, report in found.items():
    grades = ", ".join(f"{count} {grade}" for grade, count in report.grades.items() if count)
    print(
        f"constraint {constraint:13} accuracy {100 * report.test_accuracy:.1f} %, steps: {grades}"
    )

# %%
clouds, margins = {}, []
for kind, report in (("free", found["none"]), ("constrained", found["nonexpansive"])):
    rows = margin_rows(report.verdicts)
    steps = step_verdicts(report.verdicts)
    for row, verdict in zip(rows, steps, strict=True):
        name = f"{kind}, {row['name']}"
        clouds[name] = cloud(verdict)
        margins.append(row | {"name": name})
figure, axes = make_figure(1, height=rows_height(len(clouds)), dpi=110)
plot_spectra_over_region("euler", clouds, axes[0])
show(figure)

# %% [markdown]
# Every mark is an eigenvalue of a layer with all units active, times the step size. Beyond the blue
# region a step overshoots: the wave changes its sign and comes back larger.

# %%
figure, axes = make_figure(1, height=rows_height(len(margins)), dpi=110)
plot_margins(margins, axes[0])
show(figure)

# %% [markdown]
# ## The verdict
#
# *Violated* means that a pair of inputs was found whose distance grows; *proved* means that none
# exists. A network that violates its limits can be accurate: the verdict speaks of robustness and
# of how deep the network may become, not of its score on these images. The proof costs accuracy:
# little for networks trained inside the limit, much where the step of trained weights is merely
# shrunk (`pdenet demo` shows both).
#
# For a network of your own: `pdenet inspect RUN`.
