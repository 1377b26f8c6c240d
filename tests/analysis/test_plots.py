"""Pictures show what they were given, count what lies beyond, and leave the process as it was."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib._pylab_helpers import Gcf
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.certificates import certified_norm
from analysis.couplings import Depthwise, Full, Lean
from analysis.errors import InputError
from analysis.methods import tableau
from analysis.plots import (
    GRADE_COLOURS,
    curves_png,
    figure_bytes,
    make_figure,
    panels_bytes,
    plot_before_after,
    plot_curves,
    plot_margins,
    plot_singular_values,
    plot_spectra_over_region,
    plot_stability_region,
    plot_symbol_norm,
)
from analysis.plots.style import AFTER_COLOUR, BEFORE_COLOUR, INK
from analysis.stability import stability_function
from analysis.stencils import laplacian

VIOLATED = GRADE_COLOURS["violated"].lower()


def one_panel() -> Axes:
    return make_figure(1)[1][0]


def drawn_points(ax: Axes, marker: str) -> dict[str, np.ndarray]:
    """Sorted complex points of all lines with a marker, by their colour."""
    found: dict[str, list[np.ndarray]] = {}
    for line in ax.lines:
        if line.get_marker() == marker:
            points = np.asarray(line.get_xdata()) + 1j * np.asarray(line.get_ydata())
            found.setdefault(to_hex(line.get_color()), []).append(points)
    return {colour: np.sort_complex(np.concatenate(p)) for colour, p in found.items()}


def words(ax: Axes) -> str:
    texts = [text.get_text() for text in ax.texts]
    legend = ax.get_legend()
    if legend is not None:
        texts += [text.get_text() for text in legend.get_texts()]
    return "\n".join([*texts, ax.get_title("left")])


def render(ax: Axes) -> None:
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()


def layer(**changes: Any) -> dict[str, Any]:
    base = {
        "name": "blocks.0.steps.0",
        "grade": "proved",
        "step_size": 1.0,
        "limit": 2.0,
        "growth_certified": 1.0,
        "measured_growth": 0.97,
    }
    return base | changes


# Spectra over the stability region


def test_real_spectra_become_rows_with_the_values_beyond_in_the_colour_of_violated() -> None:
    clouds = {"a": np.array([0.0, -1.0, -2.0]), "b": np.array([-0.5, -2.5, -70.0])}
    ax = plot_spectra_over_region("euler", clouds, one_panel())
    points = drawn_points(ax, "|")
    beyond = points.pop(VIOLATED)
    assert np.array_equal(beyond, [-70 + 1j, -2.5 + 1j])
    (inside,) = points.values()
    assert np.array_equal(inside, np.sort_complex([0, -1, -2, -0.5 + 1j]))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert "2 of 3 beyond, to \N{MINUS SIGN}70" in words(ax)
    assert "all inside, to \N{MINUS SIGN}2" in words(ax)
    left, right = ax.get_xlim()
    assert left <= -70 and right >= 0
    render(ax)


@pytest.mark.parametrize("reach", [3.0, 70.0, 3e5])
def test_the_region_keeps_a_readable_share_of_an_axis_that_reaches_far(reach: float) -> None:
    ax = plot_spectra_over_region("euler", {"a": [-reach, -1.0]}, one_panel())
    render(ax)
    place = ax.transAxes.inverted().transform(
        ax.transData.transform([(-2, 0), (0, 0), (-reach, 0)])
    )
    assert place[1, 0] - place[0, 0] > 0.12
    assert 0 <= place[2, 0] < place[0, 0]


def test_values_within_rounding_of_the_edge_and_of_zero_are_not_counted() -> None:
    values = np.array([1e-16, -2.0 - 2e-16, -1.0 + 1e-16j])
    ax = plot_spectra_over_region("euler", {"a": values}, one_panel())
    assert "all inside" in words(ax)


def test_complex_spectra_are_drawn_in_the_plane() -> None:
    clouds = {"a": np.array([-1 + 0.5j, -1 - 0.5j]), "b": np.array([3j, -30.0, -0.1])}
    ax = plot_spectra_over_region("euler", clouds, one_panel())
    inside = np.concatenate(list(drawn_points(ax, ".").values()))
    assert set(inside) == {-1 + 0.5j, -1 - 0.5j, -0.1}
    assert np.array_equal(drawn_points(ax, "x")[VIOLATED], [-30, 3j])
    assert "a: all inside" in words(ax) and "b: 2 of 3 beyond" in words(ax)
    render(ax)


@pytest.mark.parametrize(
    ("clouds", "text"),
    [({}, "no spectra"), ({"a": []}, "no values"), ({"a": [np.nan, -1.0]}, "1 not finite")],
)
def test_empty_and_broken_spectra_are_said_in_words(clouds: dict[str, Any], text: str) -> None:
    ax = plot_spectra_over_region("rk4", clouds, one_panel())
    assert text in words(ax)
    render(ax)


@pytest.mark.parametrize("method", ["midpoint", "rkc1:stages=5,damping=0", "backward-euler"])
def test_regions_of_every_shape_can_hold_spectra(method: str) -> None:
    for cloud in ([-0.3, -40.0], [-1 + 1j, 2.0]):
        ax = plot_spectra_over_region(method, {"a": cloud}, one_panel())
        render(ax)
        assert method in ax.get_title(loc="left")


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InputError, match="euler"):
        plot_spectra_over_region("eulre", {}, one_panel())


def test_points_of_a_stability_region_are_coloured_by_their_side() -> None:
    function = stability_function(tableau("euler"))
    ax = plot_stability_region(function, one_panel(), title="euler", points=np.array([-1.0, -3.0]))
    points = drawn_points(ax, ".")
    assert np.array_equal(points.pop(VIOLATED), [-3.0])
    assert np.array_equal(np.concatenate(list(points.values())), [-1.0])


# Margins


def test_bars_end_at_step_over_limit_in_the_colour_of_their_grade() -> None:
    layers = [layer(), layer(name="b", grade="violated", step_size=3.0, measured_growth=4.25)]
    ax = plot_margins(layers, one_panel())
    ends = [(bar.get_x() + bar.get_width(), to_hex(bar.get_facecolor())) for bar in ax.patches[1:]]
    assert ends == [
        (pytest.approx(0.5), GRADE_COLOURS["proved"].lower()),
        (pytest.approx(1.5), VIOLATED),
    ]
    assert ax.get_xscale() == "log"
    assert 1.0 in [line.get_xdata()[0] for line in ax.lines]
    assert "0.97  (≤ 1)" in words(ax) and "4.25" in words(ax)
    assert "proved (1)" in words(ax) and "violated (1)" in words(ax)
    render(ax)


def test_layers_without_a_limit_have_no_bar_and_a_limit_of_zero_is_said() -> None:
    nothing = {"step_size": None, "limit": None, "growth_certified": None}
    layers = [
        layer(grade="measured", **nothing),
        layer(grade="violated", limit=0.0, measured_growth=None),
        layer(limit=np.inf),
    ]
    ax = plot_margins(layers, one_panel())
    assert len(ax.patches) == 2  # the shaded side and the limit of zero
    assert all(t in words(ax) for t in ("no limit to keep", "no step is small enough", "any step"))
    render(ax)


def test_margins_of_no_layers_and_of_unknown_grades() -> None:
    assert "no layers" in words(plot_margins([], one_panel()))
    with pytest.raises(InputError, match="proved"):
        plot_margins([layer(grade="proven")], one_panel())


# Norm of a symbol


def test_the_surface_is_the_norm_of_the_symbol_with_its_maximum_marked() -> None:
    ax = plot_symbol_norm(Depthwise(laplacian(2)[None]), one_panel(), points=8)
    drawn = np.asarray(ax.images[0].get_array())
    axis = 2 * np.pi * (np.arange(8) - 4) / 8
    exact = 4 * np.sin(axis[:, None] / 2) ** 2 + 4 * np.sin(axis[None, :] / 2) ** 2
    assert drawn == pytest.approx(exact, abs=1e-13)
    assert drawn_points(ax, "o")[to_hex("white")] == pytest.approx([-1 - 1j] * 2)
    assert "largest 8" in words(ax)
    render(ax)


def test_the_axes_of_the_surface_follow_the_axes_of_the_stencil() -> None:
    stencil = np.zeros((1, 3, 3))
    stencil[0, :, 1] = [-1, 1, 0]  # a difference along the first axis, drawn upwards
    drawn = np.asarray(plot_symbol_norm(Depthwise(stencil), one_panel(), 8).images[0].get_array())
    assert np.ptp(drawn, axis=1) == pytest.approx(np.zeros(8), abs=1e-14)
    assert drawn[0, 0] == pytest.approx(2) and drawn[4, 0] == pytest.approx(0)


def test_a_limit_is_a_contour_and_one_axis_is_a_curve() -> None:
    rng = np.random.default_rng(0)
    stencils = rng.normal(size=(3, 3, 3))
    stencils[:, 1, 1] = 0
    lean = Lean(rng.normal(size=(3, 3)), stencils)
    ax = plot_symbol_norm(lean, one_panel(), 16, limit=5.0)
    assert "line at 5" in words(ax) and len(ax.collections) == 1
    curve = plot_symbol_norm(Full(rng.normal(size=(2, 2, 3))), one_panel(), 16, limit=1.0)
    assert len(curve.lines[0].get_xdata()) == 16
    render(ax)
    render(curve)


def test_the_maximiser_of_a_certificate_is_marked_on_a_given_scale() -> None:
    rng = np.random.default_rng(1)
    full = Full(rng.normal(size=(2, 2, 3, 3)))
    found = certified_norm(full, relative_width=1e-4)
    ax = plot_symbol_norm(full, one_panel(), 16, certificate=found, top=20.0, title="layer")
    (image,) = ax.images
    assert image.get_clim() == (0.0, 20.0)
    points = drawn_points(ax, "o")[to_hex("white")]
    for point in points:
        assert -1 <= point.real < 1 and -1 <= point.imag < 1
        w = np.pi * np.array([[point.imag, point.real]])
        assert full.symbol_at(w).norms()[0] == pytest.approx(found.lower, rel=1e-9)
    assert words(ax).splitlines()[-2:] == ["layer", f"‖K̂(ω)‖: largest {found.lower:.4g}"]
    line = Full(rng.normal(size=(2, 2, 3)))
    found = certified_norm(line, relative_width=1e-4)
    ax = plot_symbol_norm(line, one_panel(), 16, certificate=found, top=30.0)
    (mark,) = drawn_points(ax, "o")[INK.lower()]
    assert mark.imag == found.lower and ax.get_ylim() == (0, 31.5)
    render(ax)


def test_operators_that_no_plane_holds_are_refused() -> None:
    with pytest.raises(InputError, match="1 or 2 axes"):
        plot_symbol_norm(Depthwise(np.ones((1, 3, 3, 3))), one_panel())
    with pytest.raises(InputError, match="2 points"):
        plot_symbol_norm(Depthwise(np.ones((1, 3, 3))), one_panel(), 1)


# Curves, and figures as files


def test_curves_show_the_columns_of_the_metrics() -> None:
    metrics = {
        "epoch": [1, 2],
        "train_loss": [1.0, 0.5],
        "test_loss": [1.1, 0.7],
        "train_accuracy": [0.5, 0.75],
        "test_accuracy": [0.4, 0.625],
    }
    loss, accuracy = plot_curves(metrics, make_figure(2)[1])
    assert [list(line.get_ydata()) for line in loss.lines] == [[1.0, 0.5], [1.1, 0.7]]
    assert [list(line.get_ydata()) for line in accuracy.lines] == [[50.0, 75.0], [40.0, 62.5]]
    assert curves_png({key: [] for key in metrics}).startswith(b"\x89PNG")


def test_curves_mark_where_a_level_ends() -> None:
    rows = np.ones(4)
    names = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
    metrics = {"epoch": [1, 2, 3, 4], "level": [1, 1, 2, 2], **dict.fromkeys(names, rows)}
    for ax in plot_curves(metrics, make_figure(2)[1]):
        assert [list(line.get_xdata()) for line in ax.lines[2:]] == [[2.5, 2.5]]
        assert [text.get_text().strip() for text in ax.texts] == ["level 2"]


def test_singular_values_descend_over_their_share() -> None:
    ax = plot_singular_values({"a": np.array([1.0, 3.0])}, one_panel(), limit=2.0, label="limit")
    assert list(ax.lines[0].get_ydata()) == [3.0, 1.0]
    assert list(ax.lines[1].get_ydata()) == [2.0, 2.0]


def test_before_is_grey_below_after_in_colour() -> None:
    before, after = np.array([1.0, 3.0]), np.array([2.0, 4.0, 1.0])
    look = {"limit": 2.5, "label": "limit", "title": "layer"}
    ax = plot_before_after(before, after, one_panel(), **look)
    lines = {line.get_label(): (to_hex(line.get_color()), line) for line in ax.lines}
    assert list(lines) == ["before", "after", "limit"]
    assert lines["before"][0] == BEFORE_COLOUR.lower() and lines["after"][0] == AFTER_COLOUR.lower()
    assert list(lines["before"][1].get_ydata()) == [3.0, 1.0]
    assert list(lines["after"][1].get_ydata()) == [4.0, 2.0, 1.0]
    assert list(lines["after"][1].get_xdata()) == pytest.approx([100 / 6, 50, 500 / 6])
    assert set(lines["limit"][1].get_ydata()) == {2.5}
    assert words(ax).splitlines() == ["before", "after", "limit", "layer"]
    render(ax)


@pytest.mark.parametrize(
    ("kind", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?x")]
)
def test_files_are_of_their_kind_and_the_same_every_time(kind: str, start: bytes) -> None:
    def draw(ax: Axes) -> Axes:
        return plot_margins([layer()], ax)

    first = figure_bytes(draw, kind, width=6, height=3)
    assert first.startswith(start)
    assert first == figure_bytes(draw, kind, width=6, height=3)


def test_panels_and_unknown_kinds() -> None:
    figure, axes = make_figure(3, heights=[1.0, 2.0])
    assert len(axes) == 3 and tuple(figure.get_size_inches()) == (9.0, 3.0)
    with pytest.raises(InputError, match="png"):
        panels_bytes([lambda ax: ax], "pgn")


def test_drawing_changes_no_setting_and_opens_no_window() -> None:
    before = dict(matplotlib.rcParams)
    panels_bytes(
        [
            lambda ax: plot_spectra_over_region("euler", {"a": [-1.0, -9.0]}, ax),
            lambda ax: plot_margins([layer()], ax),
            lambda ax: plot_symbol_norm(Depthwise(laplacian(2)[None]), ax, 8),
        ],
        height=3,
    )
    assert dict(matplotlib.rcParams) == before
    assert not Gcf.figs
