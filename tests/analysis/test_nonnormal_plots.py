"""Pictures of non-normal operators show the results they were given, at the scale of the step."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from scipy.sparse.linalg import aslinearoperator

from analysis.errors import InputError
from analysis.kreiss import kreiss_lower_bound
from analysis.nonnormal import numerical_range
from analysis.plots import GRADE_COLOURS, figure_bytes, make_figure, plot_nonnormal, plot_transient
from analysis.plots.nonnormal import RANGE_COLOUR
from analysis.pseudospectra import Pseudospectra, normal_pseudospectra, pseudospectra
from analysis.transients import exponential_growth, product_growth, transient_growth

J = np.array([[-1.0, 100.0], [0.0, -2.0]])
GRCAR = np.eye(12, k=1) - 1.2 * np.eye(12) - 0.5 * np.eye(12, k=-1)
VIOLATED = GRADE_COLOURS["violated"].lower()


def one_panel() -> Axes:
    return make_figure(1)[1][0]


def render(ax: Axes) -> None:
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()


def words(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def drawn(ax: Axes, colour: str) -> np.ndarray:
    """Complex points of all lines of a colour."""
    lines = [line for line in ax.lines if to_hex(line.get_color()) == colour.lower()]
    return np.concatenate([line.get_xdata() + 1j * line.get_ydata() for line in lines])


def contours(ax: Axes) -> list[ContourSet]:
    """Contour lines of pseudospectra; the fill and edge of the region are the first two."""
    return [c for c in ax.collections if isinstance(c, ContourSet)][2:]


def test_the_range_and_the_eigenvalues_are_drawn_at_the_scale_of_the_step() -> None:
    found = numerical_range(GRCAR, angles=32)
    ax = plot_nonnormal("euler", found, 0.5, one_panel())
    edge = drawn(ax, RANGE_COLOUR)
    assert edge[:-1] == pytest.approx(0.5 * found.points) and edge[-1] == edge[0]
    dots = np.concatenate(
        [line.get_xdata() + 1j * line.get_ydata() for line in ax.lines if line.get_marker() == "."]
    )
    assert np.sort_complex(dots) == pytest.approx(np.sort_complex(0.5 * np.linalg.eigvals(GRCAR)))
    assert not contours(ax)
    assert words(ax)[-1] == "numerical range of hA"
    assert "euler" in ax.get_title(loc="left")
    render(ax)


def test_contours_are_level_sets_of_the_scaled_operator() -> None:
    h = 0.5
    window = (-6.0, 2.0, -3.0, 3.0)
    ax = plot_nonnormal(
        "rk4", numerical_range(GRCAR), h, one_panel(), contours=pseudospectra(GRCAR, window)
    )
    (lines,) = contours(ax)
    assert [f"log₁₀ ε = {v:.0f}".replace("-", "\N{MINUS SIGN}") for v in lines.levels[::-1]] == [
        word for word in words(ax) if word.startswith("log")
    ]
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        z = path.vertices[::7] @ np.array([1, 1j])
        values = np.linalg.svd(z[:, None, None] * np.eye(12) - h * GRCAR, compute_uv=False)[:, -1]
        assert np.log10(values) == pytest.approx(np.full(len(z), level), abs=0.1)
    render(ax)


def test_an_operator_is_computed_in_the_window_drawn() -> None:
    ax = plot_nonnormal("euler", GRCAR, 0.5, one_panel())
    (lines,) = contours(ax)
    vertices = np.concatenate([path.vertices for path in lines.get_paths()])
    assert vertices[:, 0].min() >= ax.get_xlim()[0] and vertices[:, 0].max() <= ax.get_xlim()[1]
    assert {-1, 0} <= set(lines.levels.tolist())
    large = aslinearoperator(np.diag(np.linspace(-1.5, -0.1, 80)) + 0.5 * np.eye(80, k=1))
    ax = plot_nonnormal("euler", large, 1.0, one_panel(), title="layer 3")
    assert not any("eigenvalue" in word for word in words(ax))
    assert ax.get_title(loc="left").startswith("layer 3")
    render(ax)


def test_a_function_gives_the_contours_in_the_window_drawn() -> None:
    windows: list[tuple[float, float, float, float]] = []

    def found(window: tuple[float, float, float, float]) -> Pseudospectra:
        windows.append(window)
        return normal_pseudospectra(np.array([-1.0, -3.0]), window, points=90)

    h = 0.5
    ax = plot_nonnormal(
        "euler", numerical_range(np.diag([-1.0, -3.0])), h, one_panel(), contours=found
    )
    (window,) = windows
    assert window == pytest.approx(np.array([*ax.get_xlim(), *ax.get_ylim()]) / h)
    (lines,) = contours(ax)
    # Discs of radius epsilon; those smaller than a square of three points are not drawn.
    assert lines.levels.tolist() == [-1.0, 0.0]
    z = lines.get_paths()[0].vertices @ np.array([1, 1j])
    distance = np.minimum(abs(z + 0.5), abs(z + 1.5))
    assert distance == pytest.approx(np.full(len(z), 0.1), abs=0.01)


def test_contours_of_single_points_are_left_out() -> None:
    window = (-4.0, 1.0, -2.0, 2.0)
    rough = normal_pseudospectra(np.array([-1.0, -3.0]), window, points=6)
    ax = plot_nonnormal("euler", numerical_range(np.eye(2)), 0.1, one_panel(), contours=rough)
    assert [c.levels.tolist() for c in contours(ax)] in ([], [[0.0]])


def test_a_range_that_reaches_far_leaves_the_region_readable_and_is_said() -> None:
    ax = plot_nonnormal("euler", J, 0.5, one_panel())
    left, right = ax.get_xlim()
    assert 2 / (right - left) > 0.1
    assert any("reaches 25.8" in word for word in words(ax))
    render(ax)


def test_eigenvalues_beyond_have_the_colour_of_violated() -> None:
    ax = plot_nonnormal("euler", numerical_range(np.diag([-0.5, -3.0])), 1.0, one_panel())
    assert drawn(ax, VIOLATED).tolist() == [-3.0]


def test_contours_of_the_zero_operator_and_of_an_implicit_method() -> None:
    for method in ("backward-euler", "midpoint"):
        ax = plot_nonnormal(method, np.zeros((2, 2)), 1.0, one_panel())
        assert method in ax.get_title(loc="left")
        render(ax)


def test_what_cannot_be_drawn_is_refused() -> None:
    for step in (0.0, -1.0, np.nan):
        with pytest.raises(InputError, match="positive step size"):
            plot_nonnormal("euler", J, step, one_panel())
    with pytest.raises(InputError, match="euler"):
        plot_nonnormal("eulre", J, 1.0, one_panel())


def test_norms_over_steps_with_the_kreiss_bound_as_a_line() -> None:
    G = np.eye(2) + 0.5 * J
    result, bound = transient_growth(G, 20), kreiss_lower_bound(G)
    ax = plot_transient(result, one_panel(), kreiss=bound)
    curve, level = ax.lines[0], ax.lines[-1]
    assert np.array_equal(curve.get_ydata(), result.norms)
    assert set(level.get_ydata()) == {bound.value}
    assert ax.get_yscale() == "log" and ax.get_xlabel() == "steps n"
    assert words(ax) == ["norm", f"Kreiss constant ≥ {bound.value:.3g}"]
    assert "50 at n = 1" in ax.get_title(loc="left")
    render(ax)


def test_flat_growing_and_vanishing_norms_are_drawn() -> None:
    flat = plot_transient(product_growth([np.eye(2)] * 3), one_panel())
    assert flat.get_yscale() == "linear" and flat.get_ylim() == (0, 1.2)
    infinite = plot_transient(transient_growth([[1e200]], 3), one_panel())
    assert np.isnan(infinite.lines[0].get_ydata()).sum() == 2
    nilpotent = transient_growth(np.eye(3, k=1), 4)
    growing = kreiss_lower_bound(np.diag([2.0]))
    for ax in (infinite, plot_transient(nilpotent, one_panel(), kreiss=growing)):
        assert len(words(ax)) == 1
        render(ax)
    time = plot_transient(exponential_growth(J, np.linspace(0, 4, 9)), one_panel(), title="mine")
    assert plot_transient(transient_growth(J, 2), one_panel(), ylabel="‖Gⁿ‖").get_ylabel() == "‖Gⁿ‖"
    assert time.get_xlabel() == "time t" and time.get_title(loc="left") == "mine"
    operator = aslinearoperator(np.eye(70))
    assert words(plot_transient(transient_growth(operator, 2), one_panel())) == [
        "norm (from below)"
    ]


def test_files_are_the_same_every_time() -> None:
    def draw(ax: Axes) -> Axes:
        return plot_nonnormal("euler", J, 0.5, ax)

    assert figure_bytes(draw) == figure_bytes(draw)
