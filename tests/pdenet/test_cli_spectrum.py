"""Options of `pdenet spectrum`: pictures, two sources, certificates, arrays of any dimension."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image
from matplotlib.axes import Axes
from scipy.signal import convolve

import analysis.plots
import pdenet.files
from analysis.couplings import Full
from analysis.grid import Grid
from pdenet.cli import spectrum_figures
from tests.pdenet.cli_runner import ENVELOPE, refused, run

SMALL = ["--epochs", 1, "--train-images", 40, "--test-images", 40, "--widths", "4"]


@pytest.fixture(scope="module")
def parabolic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "parabolic"
    done = run("train", *SMALL, "--block", "parabolic", "--coupling", "full", "--out", out)
    assert done.status == 0, done.err
    return out


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "residual"
    assert run("train", *SMALL, "--block", "residual", "--out", out).status == 0
    return out


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    file = tmp_path / "weights.npz"
    np.savez(
        file,
        first=rng.standard_normal((4, 2, 3, 3)) / 3,
        square=rng.standard_normal((3, 3, 3, 3)) / 3,
        mix=rng.standard_normal((3, 3, 1, 1)) / 3,
        line=rng.standard_normal((2, 2, 3)),
        volume=rng.standard_normal((2, 2, 3, 3, 3)),
    )
    return file


@pytest.fixture
def later(tmp_path: Path, weights: Path) -> Path:
    file = tmp_path / "later.npz"
    np.savez(file, **{name: 1.5 * array for name, array in np.load(weights).items()})
    return file


def layers(*words: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run("spectrum", *words, "--json", "-").json["layers"]
    return found


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """All axes that the command fills."""
    filled: list[Axes] = []
    inner = analysis.plots.figures.make_figure

    def remember(*args: Any, **options: Any) -> Any:
        figure, made = inner(*args, **options)
        filled.extend(made)
        return figure, made

    monkeypatch.setattr(analysis.plots.figures, "make_figure", remember)
    return filled


def titles(axes: list[Axes]) -> list[str]:
    return [ax.get_title("left").splitlines()[0] for ax in axes]


# New keys


def test_the_frequency_attains_the_norm_and_the_log_norm_is_that_of_the_dense_matrix(
    weights: Path,
) -> None:
    for layer in layers(weights, "--size", "4x6", "--width", "1e-4"):
        coupling = Full(np.load(weights)[layer["name"]])
        attained = coupling.symbol_at(np.array([layer["frequency"]])).norms()[0]
        assert layer["norm_certified"] / 1.0002 <= attained <= layer["norm_certified"]
        if layer["name"] == "first":
            assert layer["log_norm"] is None
        else:
            dense = coupling.to_dense(Grid((4, 6)))
            exact = np.linalg.eigvalsh((dense + dense.T) / 2)[-1]
            assert layer["log_norm"] == pytest.approx(exact, rel=1e-12)


def test_without_a_transform_there_is_no_log_norm(weights: Path) -> None:
    (zeros,) = layers(weights, "--layer", "square", "--boundary", "zeros", "--size", "5")
    assert zeros["log_norm"] is None and zeros["spectral_radius"] is None
    words = ["--layer", "square", "--stride", "square=2", "--size", "6"]
    (strided,) = layers(weights, *words)
    assert strided["log_norm"] is None and len(strided["frequency"]) == 2


# Certificates, accuracy, dilation, dimensions


def test_the_width_of_the_certificate_is_as_asked(weights: Path) -> None:
    words = [weights, "--layer", "square", "--size", "8"]
    (rough,), (fine,) = layers(*words, "--width", "0.3"), layers(*words, "--width", "1e-6")
    best = Full(np.load(weights)["square"]).symbol_at(np.array([fine["frequency"]])).norms()[0]
    assert fine["norm_certified"] == pytest.approx(best, rel=2e-6)
    assert fine["norm_certified"] < rough["norm_certified"] <= 1.31 * best


def test_the_accuracy_norm_is_rough_for_small_values_only(tmp_path: Path) -> None:
    weight = np.zeros((2, 2, 1, 3))
    weight[:, :, 0, 1] = [[1.0, 1.0], [1.0, 1.0 + 1e-9]]
    weight[0, 0, 0, 0] = 1e-12
    np.savez(tmp_path / "w.npz", w=weight)
    exact = np.linalg.svd(Full(weight).to_dense(Grid((4, 4))), compute_uv=False)
    (values,) = layers(tmp_path / "w.npz", "--size", "4")
    (norm,) = layers(tmp_path / "w.npz", "--size", "4", "--accuracy", "norm")
    assert values["norm"] == pytest.approx(exact[0]) and norm["norm"] == pytest.approx(exact[0])
    assert values["singular_values"]["min"] == pytest.approx(exact[-1], rel=1e-3)
    assert abs(norm["singular_values"]["min"] - exact[-1]) > 1e-10


def test_dilated_taps_stand_apart(weights: Path) -> None:
    words = ["--layer", "square", "--dilation", "square=2", "--size", "6x8"]
    (layer,) = layers(weights, *words)
    weight = np.load(weights)["square"]
    spread = np.zeros((3, 3, 5, 5))
    spread[:, :, ::2, ::2] = weight
    exact = np.linalg.svd(Full(spread).to_dense(Grid((6, 8))), compute_uv=False)
    assert layer["norm"] == pytest.approx(exact[0], rel=1e-12)
    assert layer["singular_values"]["min"] == pytest.approx(exact[-1], rel=1e-9)


@pytest.mark.parametrize(("name", "size"), [("line", (7,)), ("volume", (3, 4, 5))])
def test_stencils_on_one_and_three_axes_are_read_when_named(
    name: str, size: tuple[int, ...], weights: Path
) -> None:
    assert {layer["name"] for layer in layers(weights, "--size", "4")} == {"first", "square", "mix"}
    (layer,) = layers(weights, "--layer", name, "--size", "x".join(map(str, size)))
    assert layer["size"] == list(size) and len(layer["frequency"]) == len(size)
    weight = np.load(weights)[name]
    columns = []
    for unit in np.eye(2 * int(np.prod(size))).reshape(-1, 2, *size):
        # Correlation on an image wrapped round, by another route than the symbol.
        wrapped = np.pad(unit, [(0, 0)] + [(1, 1)] * len(size), mode="wrap")
        flipped = np.flip(weight, tuple(range(2, weight.ndim)))
        image = [sum(convolve(wrapped[i], flipped[o, i], "valid") for i in (0, 1)) for o in (0, 1)]
        columns.append(np.ravel(image))
    exact = np.linalg.svd(np.array(columns), compute_uv=False)
    assert layer["norm"] == pytest.approx(exact[0], rel=1e-10)
    assert layer["singular_values"]["min"] == pytest.approx(exact[-1], rel=1e-8)
    (default,) = layers(weights, "--layer", name)
    assert default["size"] == ([32] if name == "line" else [16] * 3)
    assert layers(weights, "--layer", name, "--size", "4")[0]["size"] == [4] * len(size)


def test_a_file_without_4d_arrays_says_how_to_read_others(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", line=np.ones((1, 1, 3)))
    assert "--layer line" in refused("spectrum", tmp_path / "w.npz")


# Two sources


def test_the_same_source_twice_gives_the_same_records(weights: Path) -> None:
    found = run("spectrum", weights, "--compare", weights, "--size", "4", "--json", "-").json
    assert found.keys() == {"layers", "compare"} | ENVELOPE
    assert found["layers"] == found["compare"]
    assert len(found["warnings"]) == 1


def test_two_sources_are_matched_by_name_and_shape(weights: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(weights))
    other = tmp_path / "other.npz"
    np.savez(other, square=2 * arrays["square"], mix=np.ones((5, 3, 1, 1)), new=arrays["first"])
    alone = layers(weights, "--size", "4")
    done = run("spectrum", weights, "--compare", other, "--size", "4", "--json", "-")
    assert done.json["layers"] == alone
    (record,) = done.json["compare"]
    (before,) = [layer for layer in alone if layer["name"] == "square"]
    assert record["norm"] == pytest.approx(2 * before["norm"])
    said = " ".join(done.json["warnings"])
    assert f"only in {weights}: first" in said and f"only in {other}: new" in said
    assert "of another shape in each source: mix" in said
    table = done.err.splitlines()
    (row,) = [k for k, line in enumerate(table) if line.startswith("square")]
    assert f"{before['norm']:.5g}" in table[row] and f"{record['norm']:.5g}" in table[row + 1]
    (row,) = [k for k, line in enumerate(table) if line.startswith("mix")]
    assert table[row + 1].split()[-4:] == ["-"] * 4
    assert "lower: --compare" in done.err
    np.savez(other, new=arrays["first"])
    assert "the same name and shape" in refused("spectrum", weights, "--compare", other)


@pytest.mark.parametrize("constraint", ["none", "nonexpansive"])
def test_the_first_state_of_a_run_is_where_its_training_began(
    constraint: str, tmp_path: Path
) -> None:
    # A training that diverges at once keeps the network it began with; so large a step size needs
    # the constraint from the beginning.
    words = ["--block", "parabolic", "--constraint", constraint, "--learning-rate", "1e30"]
    words += ["--step-size", "50"]
    assert run("train", *SMALL, *words, "--train-images", 200, "--out", tmp_path / "r").status == 1
    began = layers(tmp_path / "r", "--boundary", "periodic")
    assert layers(tmp_path / "r" / "first", "--boundary", "periodic") == began


def test_a_run_beside_its_first_state(parabolic: Path, tmp_path: Path, axes: list[Axes]) -> None:
    figure = tmp_path / "training.png"
    words = [parabolic / "first", "--compare", parabolic, "--boundary", "periodic"]
    done = run("spectrum", *words, "--save", figure, "--json", "-")
    assert any("seed 0" in warning for warning in done.json["warnings"])
    assert done.json["compare"] == layers(parabolic, "--boundary", "periodic")
    assert done.json["compare"] != done.json["layers"]
    assert titles(axes) == [
        f"{layer['name']} on {'x'.join(map(str, layer['size']))}, periodic"
        for layer in done.json["layers"]
    ]
    for ax, before, after in zip(axes, done.json["layers"], done.json["compare"], strict=True):
        drawn = [max(line.get_ydata()) for line in ax.lines]
        assert drawn == [before["norm"], after["norm"]]
    assert "no such file or folder" in refused("spectrum", parabolic.parent / "none" / "first")


# Pictures


def test_the_plane_has_a_panel_a_layer_and_two_with_one_scale_beside_another_source(
    weights: Path, later: Path, tmp_path: Path, axes: list[Axes]
) -> None:
    words = ["--plot", "plane", "--size", "4", "--save", tmp_path / "plane.png"]
    assert run("spectrum", weights, *words).status == 0
    panels = [ax for ax in axes if ax.images]
    assert titles(panels) == ["first", "square", "mix"]
    axes.clear()
    assert run("spectrum", weights, *words, "--compare", later, "--layer", "square").status == 0
    before, after = [ax for ax in axes if ax.images]
    assert titles([before, after]) == ["square before", "square after"]
    assert before.images[0].get_clim() == after.images[0].get_clim()
    ratio = np.asarray(after.images[0].get_array()) / np.asarray(before.images[0].get_array())
    assert ratio == pytest.approx(np.full((64, 64), 1.5))
    axes.clear()
    assert run("spectrum", weights, "--layer", "line", *words[:2], *words[4:]).status == 0
    assert len(axes) == 1 and not axes[0].images


def marked(ax: Axes) -> np.ndarray:
    """Eigenvalues drawn as dots."""
    dots = [line for line in ax.lines if line.get_marker() == "."]
    return np.concatenate([line.get_xdata() + 1j * line.get_ydata() for line in dots])


def test_the_region_shows_the_layer_itself_or_minus_its_gram_matrix(
    weights: Path, tmp_path: Path, axes: list[Axes]
) -> None:
    h, dense = 0.4, Full(np.load(weights)["square"]).to_dense(Grid((3, 4)))
    words = ["--plot", "region", "--method", "rk4", "--step", h, "--size", "3x4"]
    words += ["--layer", "square", "--save", tmp_path / "region.png"]
    for field, matrix in (("adjoint", -dense.T @ dense), ("plain", dense)):
        axes.clear()
        assert run("spectrum", weights, *words, "--field", field).status == 0
        found, exact = marked(axes[0]), h * np.linalg.eigvals(matrix)
        assert len(found) == len(exact)
        gaps = np.abs(found[:, None] - exact)
        assert max(gaps.min(axis=0).max(), gaps.min(axis=1).max()) < 1e-7
        figure = axes[0].get_figure()
        assert figure is not None
        (title,) = [text.get_text() for text in figure.texts]  # type: ignore[union-attr]
        assert ("−KᵀK y" in title) == (field == "adjoint") and "rk4 at h = 0.4" in title
        support = np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1]
        edges = [line for line in axes[0].lines if len(line.get_xdata()) == 65]
        assert max(edges[0].get_xdata()) == pytest.approx(h * support, abs=1e-9)


def test_more_inputs_than_outputs_add_a_zero(tmp_path: Path, axes: list[Axes]) -> None:
    np.savez(tmp_path / "w.npz", w=np.ones((1, 2, 1, 1)))
    words = ["--plot", "region", "--method", "euler", "--step", 1, "--save", tmp_path / "r.svg"]
    assert run("spectrum", tmp_path / "w.npz", *words).status == 0
    assert set(marked(axes[0]).round(9)) == {-2.0, 0.0}


def test_the_region_of_a_run_shows_the_fields_of_its_steps(
    parabolic: Path, tmp_path: Path, axes: list[Axes]
) -> None:
    words = [parabolic, "--boundary", "periodic", "--method", "euler", "--step", 1]
    words += ["--plot", "region", "--save", tmp_path / "region.pdf"]
    assert run("spectrum", *words).status == 0
    assert [title.partition(" on ")[0] for title in titles(axes)] == [
        f"blocks.0.steps.{k}" for k in range(3)
    ]
    figure = axes[0].get_figure()
    assert figure is not None
    assert "normalisation folded in" in figure.texts[0].get_text()  # type: ignore[union-attr]


def test_growth_is_that_of_powers_of_the_dense_step(
    weights: Path, tmp_path: Path, axes: list[Axes]
) -> None:
    h, dense = 0.3, Full(np.load(weights)["square"]).to_dense(Grid((3, 4)))
    words = ["--plot", "growth", "--method", "heun", "--step", h, "--size", "3x4"]
    done = run("spectrum", weights, *words, "--save", tmp_path / "g.png", "--json", "-")
    assert [title.partition(" ")[0] for title in titles(axes)] == ["square", "mix"]
    assert "not drawn: first" in " ".join(done.json["warnings"])
    step = np.eye(len(dense)) + h * dense + (h * dense) @ (h * dense) / 2
    norms = [np.linalg.norm(np.linalg.matrix_power(step, n), 2) for n in range(51)]
    assert np.asarray(axes[0].lines[0].get_ydata()) == pytest.approx(norms, rel=1e-8)
    assert axes[0].get_ylabel() == "‖Gⁿ‖"


@pytest.mark.parametrize("plot", ["values", "plane", "region", "growth"])
def test_pictures_are_as_wide_as_a_reader_sees_them_and_say_nothing_in_a_pipe(
    plot: str, weights: Path, tmp_path: Path
) -> None:
    figure = tmp_path / "figure.png"
    words = ["--layer", "mix", "--method", "rk4", "--step", 1, "--plot", plot, "--save", figure]
    done = run("spectrum", weights, *words)
    assert done.status == 0 and "drawing" not in done.err and "growth of" not in done.err
    assert image.imread(io.BytesIO(figure.read_bytes())).shape[1] >= 900


JUDGED = ["--method", "rk4", "--step", "0.5"]
SQUARE = ["--layer", "square", "--save", "f.png"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--plot", "plain", "--save", "f.png"], "did you mean 'plane'?"),
        (["--plot", "plane"], "--save FIGURE beside --plot"),
        (["--field", "plain"], "--save FIGURE beside --field"),
        (["--field", "plain", "--save", "f.png"], "leave out --field"),
        (["--field", "plane", "--save", "f.png"], "did you mean 'plain'?"),
        (["--plot", "region", "--save", "f.png"], "--method M and --step H beside --plot region"),
        (["--plot", "growth", "--save", "f.png"], "--method M and --step H beside --plot growth"),
        (["--plot", "growth", "--field", "adjoint", "--save", "f.png", *JUDGED], "--plot region"),
        (
            ["--plot", "growth", "--layer", "first", "--save", "f.png", *JUDGED],
            "square layers of stride 1 for --plot growth of y' = K y, got 2 to 4 channels, "
            "stride 1 in layer first",
        ),
        (
            [
                "--plot",
                "region",
                "--field",
                "plain",
                "--layer",
                "square",
                "--stride",
                "square=2",
                "--save",
                "f.png",
                *JUDGED,
            ],
            "stride 2 in layer square",
        ),
        (
            [
                "--plot",
                "region",
                "--layer",
                "square",
                "--boundary",
                "zeros",
                "--save",
                "f.png",
                *JUDGED,
            ],
            "got boundary zeros of layer square; pass --boundary periodic",
        ),
        (
            ["--layer", "square", "--boundary", "zeros", "--save", "f.png"],
            "a layer whose singular values are known",
        ),
        (
            ["--layer", "square", "--boundary", "zeros", "--values", "f.npz"],
            "a layer whose singular values are known",
        ),
        (["--plot", "plane", "--layer", "volume", "--save", "f.png"], "1 or 2 axes"),
        (["--width", "0"], "a positive number for --width"),
        (["--width", "1e-9"], "a relative width of 1e-08 or more"),
        (["--accuracy", "value"], "did you mean 'values'?"),
        (["--dilation", "first"], "NAME=NUMBER for --dilation"),
        (["--dilation", "nothing=2"], "a layer for --dilation"),
        (["--dilation", "line=2"], "a layer for --dilation"),
        (["--layer", "lin"], "a layer out of first, square, mix"),
        (["--size", "4x4x4"], "one number or 2 for --size"),
        (["--layer", "line", "--size", "4x4"], "one number or 1 for --size"),
        (["--size", "4x4x4x4"], "DxHxW for --size"),
        (["--compare", "nothing.npz"], "no such file or folder: nothing.npz"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    words: list[str], part: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*args: Any, **options: Any) -> None:
        raise AssertionError("work was done")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("analysis.spectra.singular_values", work)
    monkeypatch.setattr("analysis.spectra.norm", work)
    before = sorted(tmp_path.iterdir())
    assert part in refused("spectrum", weights, *words)
    assert sorted(tmp_path.iterdir()) == before


def test_region_and_growth_beside_another_source_are_refused(weights: Path, later: Path) -> None:
    for plot in ("region", "growth"):
        words = ["--compare", later, "--plot", plot, "--save", "f.png", *JUDGED]
        assert "--plot values or plane beside --compare" in refused("spectrum", weights, *words)


def test_runs_without_such_fields_are_refused_with_the_remedy(
    residual: Path, tmp_path: Path, axes: list[Axes]
) -> None:
    words = ["--plot", "region", "--boundary", "periodic", "--save", tmp_path / "f.png", *JUDGED]
    assert "pass --field plain" in refused("spectrum", residual, *words)
    words += ["--field", "plain", "--layer", "blocks.0.steps.0"]
    done = run("spectrum", residual, *words)
    assert done.status == 0 and "of the bare layers" in done.err
    assert all(title.startswith("blocks.0.steps.0.term.") for title in titles(axes))


def test_too_many_panels_name_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, figure = tmp_path / "w.npz", tmp_path / "f.png"
    np.savez(file, **{f"w{k}": np.eye(2)[:, :, None, None] for k in range(19)})
    words = ["spectrum", file, "--save", figure]
    for plot, most in spectrum_figures.PLOTS.items():
        if plot != "values":
            line = refused(*words, "--plot", plot, *JUDGED)
            assert f"at most {most} panels for --plot {plot}, got 19" in line
            assert "pass --layer NAME" in line
    assert "at most 18 panels for --plot values" in refused(*words, "--compare", file)
    assert not figure.exists()
    assert run(*words).status == 0  # all in one pair of axes, as ever
    assert figure.exists()


def test_files_are_written_whole_or_not_at_all(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pole found while drawing: no file of the command appears.
    np.savez(tmp_path / "one.npz", w=np.full((1, 1, 1, 1), 2.0))
    names = ["f.png", "v.npz", "r.json"]
    words: list[Any] = ["--save", tmp_path / names[0], "--values", tmp_path / names[1]]
    words += ["--json", tmp_path / names[2], "--plot", "growth"]
    judged = ["--method", "backward-euler", "--step", "0.5"]
    assert "without a pole" in refused("spectrum", tmp_path / "one.npz", *words, *judged)
    assert not any((tmp_path / name).exists() for name in names)

    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / names[0]).write_bytes(b"as before")
    monkeypatch.setattr(pdenet.files.os, "replace", full)
    done = run("spectrum", weights, "--size", "4", "--save", tmp_path / names[0])
    assert done.status == 2 and (tmp_path / names[0]).read_bytes() == b"as before"


def test_help_has_an_example_of_every_picture() -> None:
    text = " ".join(run("spectrum", "--help").out.split())
    for words in ("--plot plane", "--plot region --field plain", "--plot growth", "--compare runs"):
        assert words in text
