"""Pictures of methods hold exact limits: edges, sectors, intervals over stages, bands of waves."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.clouds import Pairs
from analysis.contractivity import circle_contractivity_radius
from analysis.errors import InputError
from analysis.methods import METHODS, method
from analysis.model_problems import LinearProblem
from analysis.multistep import ImexMultistep
from analysis.plots import (
    GRADE_COLOURS,
    make_figure,
    plot_imex_region,
    plot_method_region,
    plot_order_star,
    plot_regions,
    plot_spectra_over_region,
    plot_stage_limits,
    plot_turing_band,
    stage_limits,
)
from analysis.plots.imex import worst_excess
from analysis.plots.orders import error_term, star_excess
from analysis.plots.planes import single
from analysis.plots.style import INK
from analysis.reaction_diffusion import brusselator, schnakenberg
from analysis.stability_of import Paired, imex_limits, stability_of
from analysis.tableau import ButcherTableau, ImexTableau

VIOLATED = GRADE_COLOURS["violated"].lower()
SINGLE = [name for name in METHODS if not isinstance(stability_of(name), Paired)]
ADDITIVE = [name for name in METHODS if name not in SINGLE]


def one_panel() -> Axes:
    return make_figure(1)[1][0]


def render(ax: Axes) -> None:
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()


def edges(ax: Axes, level: float) -> list[ContourSet]:
    """Contour lines at one level, in the order in which they were drawn."""
    found = [c for c in ax.collections if isinstance(c, ContourSet) and not c.filled]
    return [c for c in found if list(c.levels) == [level]]


def crossings(edge: ContourSet, imaginary: bool = False) -> np.ndarray:
    """Where an edge crosses the real axis (or the imaginary one), ascending."""
    found = []
    for path in edge.get_paths():
        starts = np.flatnonzero(path.codes == path.MOVETO)[1:]
        for line in np.split(np.asarray(path.vertices), starts):
            along, across = (line[:, 1], line[:, 0]) if imaginary else (line[:, 0], line[:, 1])
            for k in np.flatnonzero(np.sign(across[:-1]) * np.sign(across[1:]) <= 0):
                share = across[k] / (across[k] - across[k + 1]) if across[k] else 0.0
                found.append(along[k] + share * (along[k + 1] - along[k]))
    return np.sort(np.array(found))


def legend_words(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def width(ax: Axes) -> float:
    left, right = ax.get_xlim()
    return right - left


# Regions


@pytest.mark.parametrize(
    "name", ["rk4", "dopri5", "ab3", "am3", "rkc1:stages=12,damping=0", "rkc2:stages=200"]
)
def test_the_edge_crosses_the_real_axis_at_the_real_interval(name: str) -> None:
    ax = plot_method_region(name, one_panel())
    interval = single(name)[1].real_interval
    assert crossings(edges(ax, 1)[0])[0] == pytest.approx(-interval, abs=1e-3 * width(ax))
    left, right = ax.get_xlim()
    assert left < -interval and right > 0
    render(ax)


@pytest.mark.parametrize("name", ["bdf2", "bdf4", "backward-euler", "radau-iia2"])
def test_of_a_region_that_reaches_infinity_the_unstable_rest_is_in_the_window(name: str) -> None:
    ax = plot_method_region(name, one_panel())
    function = single(name)[1]
    (left, right), (_, top) = ax.get_xlim(), ax.get_ylim()
    border = np.linspace(-top, top, 101) * 1j + right
    assert (np.abs(function(border)) < 1).all()
    far = crossings(edges(ax, 1)[0])[-1]
    assert abs(function(0.99 * far)) > 1 > abs(function(1.01 * far))
    assert left < -0.2 * far
    heights = np.concatenate([path.vertices[:, 1] for path in edges(ax, 1)[0].get_paths()])
    assert 0.7 * top < heights.max() < 0.98 * top


@pytest.mark.parametrize("name", ["verlet", "ruth3", "leapfrog"])
def test_a_region_without_interior_is_a_line_of_the_imaginary_interval(name: str) -> None:
    ax = plot_method_region(name, one_panel())
    (line,) = [line for line in ax.lines if line.get_linewidth() > 3]
    end = single(name)[1].imaginary_interval
    assert list(line.get_xdata()) == [0, 0] and list(line.get_ydata()) == [-end, end]
    assert f"|y| < {end:.3g}" in ax.get_title("left")
    assert not edges(ax, 1)
    render(ax)


@pytest.mark.parametrize("name", SINGLE)
def test_every_method_of_one_eigenvalue_has_a_region_and_holds_spectra(name: str) -> None:
    ax = plot_method_region(name, one_panel())
    assert single(name)[0] in ax.get_title("left")
    drawn = plot_spectra_over_region(name, {"a": [-0.3, -40.0]}, one_panel())
    assert single(name)[0] in drawn.get_title("left")


@pytest.mark.parametrize("name", ["rk4", "gauss2", "bdf3", "am2", "verlet", "rkc1:stages=40"])
def test_regions_of_every_kind_hold_complex_spectra(name: str) -> None:
    ax = plot_spectra_over_region(name, {"a": [-1 + 1j, 2.0, 0.1j]}, one_panel())
    assert legend_words(ax)[0].startswith("a: ")
    render(ax)


def test_two_hundred_stages_are_drawn_in_seconds_in_a_window_of_their_own() -> None:
    start = time.perf_counter()
    ax = plot_method_region("rkl2:stages=200", one_panel())
    cloud = {"a": [-20000.0 + 1j, -21000.0], "b": [-1.0]}
    drawn = plot_spectra_over_region("rkl2:stages=200", cloud, one_panel())
    assert time.perf_counter() - start < 10
    assert ax.get_aspect() == "auto" and ax.get_ylim()[1] < 0.05 * width(ax)
    assert ax.get_ylabel() == "Im z (stretched)"
    assert legend_words(drawn)[0] == "a: 1 of 2 beyond"  # its real interval is 20099


def test_the_axis_is_linear_as_far_as_an_unstable_set_on_its_right() -> None:
    ax = plot_spectra_over_region("bdf2", {"a": [-1 + 0.5j]}, one_panel())
    assert ax.get_xscale() == ax.get_yscale() == "linear"


def test_roots_and_not_the_function_decide_for_multistep_methods() -> None:
    cloud = {"a": [-0.99, -1.01, -0.5 + 0.1j]}
    ax = plot_spectra_over_region("ab2", cloud, one_panel())
    assert legend_words(ax) == ["a: 1 of 3 beyond"]
    beyond = [line for line in ax.lines if line.get_marker() == "x"]
    assert list(beyond[0].get_xdata()) == [-1.01] and to_hex(beyond[0].get_color()) == VIOLATED
    ax = plot_spectra_over_region("verlet", {"a": [1.99j, -2.01j]}, one_panel())
    assert legend_words(ax) == ["a: 1 of 2 beyond"]
    rows = plot_spectra_over_region("leapfrog", {"a": [0.0, -0.1]}, one_panel())
    assert "no real" in rows.get_title("left")


def test_methods_of_files_and_whole_tables_are_drawn_with_short_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('kind = "multistep"\nalpha = [0, -1, 1]\nbeta = ["-1/2", "3/2", 0]\n')
    ax = plot_method_region(str(file), one_panel())
    assert ax.get_title("left").startswith("mine:")
    assert crossings(edges(ax, 1)[0])[0] == pytest.approx(-1, abs=1e-3)
    kept = plot_spectra_over_region(method(str(file)), {"a": [-2.0]}, one_panel())
    assert kept.get_title("left").startswith("mine:")
    table = "table:A=0 0 0 0;1/2 0 0 0;0 1/2 0 0;0 0 1 0,b=1/6 1/3 1/3 1/6"
    ax = plot_method_region(table, one_panel())
    name, _, _ = ax.get_title("left").partition("\n")
    assert name.startswith("table:A=0 0 0 0;") and name.endswith("…:") and len(name) < 32


def test_methods_of_pairs_have_no_region_of_one_eigenvalue() -> None:
    for draw in (
        plot_method_region,
        plot_order_star,
        lambda name, ax: plot_spectra_over_region(name, {}, ax),
        lambda name, ax: plot_regions([name], ax),
    ):
        with pytest.raises(InputError, match="one eigenvalue for its region, got 'ars222'"):
            draw("ars222", one_panel())


# Several regions


def test_edges_of_several_methods_end_at_their_intervals_scaled_or_not() -> None:
    names = ["euler", "rk4", "ab2", "rkc1:stages=3"]
    for per_stage, scales in ((False, [1, 1, 1, 1]), (True, [1, 4, 1, 3])):
        ax = plot_regions(names, one_panel(), per_stage=per_stage)
        for name, scale, edge in zip(names, scales, edges(ax, 1), strict=True):
            exact = -single(name)[1].real_interval / scale
            assert crossings(edge)[0] == pytest.approx(exact, abs=1e-3 * width(ax))
        assert [word.partition(",")[0] for word in legend_words(ax)[:3]] == names[:3]
    assert legend_words(ax)[1] == "rk4, work 4"
    render(ax)


def test_long_and_short_regions_share_a_logarithmic_axis() -> None:
    ax = plot_regions(["rk4", "rkc1:stages=30", "bdf2", "verlet"], one_panel())
    assert ax.get_xscale() == "symlog"
    assert crossings(edges(ax, 1)[1])[0] == pytest.approx(-1740, rel=0.01)
    assert legend_words(ax)[2:] == ["bdf2 (outside)", "verlet (a line)"]
    render(ax)


def test_no_methods_and_more_than_can_be_told_apart_are_refused() -> None:
    for names in ([], ["rk4"] * 17):
        with pytest.raises(InputError, match="1 to 16 methods"):
            plot_regions(names, one_panel())


# Order stars


@pytest.mark.parametrize("kind", [1, 2])
@pytest.mark.parametrize(
    "name", ["euler", "rk4", "dopri5", "rkc2:stages=6", "gauss3", "radau-iia3", "sdirk2"]
)
def test_a_star_has_one_sector_more_than_its_order(name: str, kind: int) -> None:
    function = single(name)[1]
    excess = star_excess(function, kind)
    order, _ = error_term(function)
    assert order == method(name).order
    for radius in (1e-5, 0.1):
        circle = radius * np.exp(2j * np.pi * (np.arange(2000) + 0.5) / 2000)
        signs = np.sign(excess(circle))
        assert np.count_nonzero(signs != np.roll(signs, 1)) == 2 * (order + 1)
    ax = plot_order_star(name, one_panel(), kind=kind)
    assert f"order {order}, {order + 1} sectors" in ax.get_title("left")
    assert edges(ax, 0)
    render(ax)


def test_a_star_is_that_of_the_function_beyond_the_origin() -> None:
    excess = star_excess(single("backward-euler")[1])
    z = np.array([-1.0, 0.5 + 1j, 3.0])
    assert excess(z) == pytest.approx(np.log(np.abs(np.exp(-z) / (1 - z))))
    second = star_excess(single("backward-euler")[1], 2)
    assert second(z) == pytest.approx((1 / (1 - z) - np.exp(z)).real)


def test_stars_of_other_kinds_and_of_multistep_methods_are_refused() -> None:
    with pytest.raises(InputError, match="1 or 2"):
        plot_order_star("rk4", one_panel(), kind=3)
    with pytest.raises(InputError, match="Runge-Kutta"):
        plot_order_star("bdf2", one_panel())


# Implicit-explicit methods


@pytest.mark.parametrize("angle", [0.0, 1.3])
@pytest.mark.parametrize("name", ["ars111", "ars222", "ars443", "sbdf2", "sbdf4", "cnab"])
def test_the_edge_for_every_implicit_eigenvalue_crosses_at_the_limits(
    name: str, angle: float
) -> None:
    ax = plot_imex_region(name, one_panel(), angles=[angle])
    limits = imex_limits(name, angle)
    edge = edges(ax, 0)[0]
    if limits.real:
        # A wide wedge leaves a cusp there that is thinner than a sample.
        close = 0.006 if angle else 0.001
        assert crossings(edge)[0] == pytest.approx(-limits.real, abs=close * width(ax))
    if limits.imaginary:
        inside = worst_excess(stability_of(name), 0.98j * np.array([limits.imaginary]), angle)
        outside = worst_excess(stability_of(name), 1.02j * np.array([limits.imaginary]), angle)
        assert inside[0] <= 1e-9 < outside[0]


@pytest.mark.parametrize("name", ["sbdf3", "cnab", "ars443"])
def test_the_worst_excess_has_the_sign_of_the_largest_root_or_factor(name: str) -> None:
    R = stability_of(name)
    assert isinstance(R, Paired)
    rng = np.random.default_rng(1)
    z = rng.uniform(-1.5, 0.2, 300) + 1j * rng.uniform(0, 1.5, 300)
    w = np.append(0.0, -(10.0 ** np.linspace(-3, 4, 800)))
    worst = np.abs(R(z[:, None], w[None, :])).max(axis=1) - 1
    clear = np.abs(worst) > 1e-3
    assert clear.sum() > 200
    assert np.array_equal(worst_excess(R, z)[clear] > 0, worst[clear] > 0)


def test_infinite_implicit_eigenvalues_are_among_the_worst() -> None:
    theta = ImexMultistep("theta", [-1, 1], [1, 0], ["11/20", "9/20"])
    implicit = ButcherTableau("implicit", [[0, 0], ["11/20", "9/20"]], ["11/20", "9/20"])
    pair = ImexTableau("pair", ButcherTableau("euler", [[0, 0], [1, 0]], [1, 0]), implicit)
    for R in (stability_of(theta), stability_of(pair)):
        assert isinstance(R, Paired)
        assert worst_excess(R, np.array([-0.5 + 0j])) == pytest.approx(11 / 9 - 1, rel=1e-12)


def test_regions_of_wider_wedges_lie_within_and_the_explicit_part_around() -> None:
    z = np.linspace(-1.2, 0.2, 30) + 1j * np.linspace(0, 0.8, 20)[:, None]
    R = stability_of("sbdf4")
    assert isinstance(R, Paired)
    stable = [worst_excess(R, z, angle) <= 0 for angle in (0.0, 0.5, 1.0)]
    assert (stable[1] <= stable[0]).all() and (stable[2] <= stable[1]).all()
    assert stable[0].sum() > stable[1].sum() > stable[2].sum() > 0
    ax = plot_imex_region("sbdf4", one_panel())
    words = [
        "every w ≤ 0",
        "every |arg(−w)| ≤ 30°",
        "every |arg(−w)| ≤ 60°",
        "explicit part, w = 0",
    ]
    assert legend_words(ax) == words
    assert len(edges(ax, 0)) == 3 and len(edges(ax, 1)) == 1


def test_each_pair_is_marked_by_its_own_verdict() -> None:
    both = LinearProblem((32,), velocity=1.5, reaction=-0.2).split_spectrum()
    pairs = Pairs(both[:, 0], both[:, 1])
    ax = plot_imex_region("sbdf2", one_panel(), pairs=pairs, step_size=0.9)
    R = stability_of("sbdf2")
    assert isinstance(R, Paired)
    grows = np.abs(R(0.9 * both[:, 0], 0.9 * both[:, 1])) > 1 + 1e-6
    assert 0 < grows.sum() < len(grows)
    for marker, colour, chosen in ((".", INK, ~grows), ("x", VIOLATED, grows)):
        (line,) = [line for line in ax.lines if line.get_marker() == marker]
        drawn = np.asarray(line.get_xdata()) + 1j * np.asarray(line.get_ydata())
        assert np.sort_complex(drawn) == pytest.approx(np.sort_complex(0.9 * both[chosen, 0]))
        assert to_hex(line.get_color()) == colour.lower()
    assert f"{grows.sum()} pairs (z, w) unstable" in legend_words(ax)
    # Some unstable pairs lie outside the region, and so do some whose own w keeps them stable.
    outside = worst_excess(R, 0.9 * both[:, 0]) > 0
    assert (grows <= outside).all() and (outside & ~grows).any()
    render(ax)


@pytest.mark.parametrize("name", ADDITIVE)
def test_every_method_of_pairs_has_a_region_drawn_in_seconds(name: str) -> None:
    start = time.perf_counter()
    ax = plot_imex_region(name, one_panel(), pairs=Pairs([-0.1, 3j], [-1.0, -500.0]))
    assert time.perf_counter() - start < 10  # 2 s alone
    assert ax.get_title("left").startswith(name)
    render(ax)


def test_what_has_no_region_of_pairs_is_refused() -> None:
    with pytest.raises(InputError, match="an explicit and an implicit part, got 'rk4'"):
        plot_imex_region("rk4", one_panel())
    with pytest.raises(InputError, match="one angle"):
        plot_imex_region("ars222", one_panel(), angles=[])
    with pytest.raises(InputError, match="below pi / 2"):
        plot_imex_region("ars222", one_panel(), angles=[1.6])
    with pytest.raises(InputError, match="positive step size"):
        plot_imex_region("ars222", one_panel(), pairs=Pairs([-1.0], [-1.0]), step_size=0.0)
    with pytest.raises(InputError, match="finite eigenvalues"):
        plot_imex_region("ars222", one_panel(), pairs=Pairs([np.nan], [-1.0]))


# Limits over stages


@pytest.mark.parametrize("per_stage", [False, True])
def test_curves_over_stages_hold_the_exact_limits(per_stage: bool) -> None:
    families = ["rkc1", "rkc2", "rkl1", "rkl2:damping=0"]
    ax = plot_stage_limits(families, one_panel(), stages=40, per_stage=per_stage)
    curves = [line for line in ax.lines if line.get_linewidth() > 2]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    for family, line in zip(families, curves, strict=True):
        s, drawn = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        assert s[-1] == 40
        base, _, rest = family.partition(":")
        for k in (3, 8, len(s) - 1):
            name = f"{base}:stages={s[k]}" + (f",{rest}" if rest else "")
            exact = stability_of(name).real_interval  # type: ignore[union-attr]
            assert drawn[k] * (s[k] if per_stage else 1) == pytest.approx(exact, rel=1e-9)
    (dots,) = [line for line in ax.lines if "rkc1: 2 r_cc" in str(line.get_label())]
    s, drawn = np.asarray(dots.get_xdata()), np.asarray(dots.get_ydata())
    radius = circle_contractivity_radius(method("rkc1:stages=10").tableau)  # type: ignore[union-attr]
    exact = 2 * radius / (10 if per_stage else 1)
    assert drawn[list(s).index(10)] == pytest.approx(exact)
    assert (drawn * (s if per_stage else 1) <= 2 * s).all()
    assert "   rkc2: 2 r_cc = 0" in legend_words(ax)
    render(ax)


def test_formulas_are_those_of_the_families() -> None:
    for family, tolerance in (("rkc1:damping=0", 1e-12), ("rkc2", 0.02), ("rkl1", 1e-12)):
        limits = stage_limits(family, 40)
        ax = plot_stage_limits([family], one_panel(), stages=40)
        thin = next(line for line in ax.lines if line.get_linewidth() < 1)
        drawn = np.interp(40, np.asarray(thin.get_xdata()), np.asarray(thin.get_ydata()))
        assert drawn == pytest.approx(limits.real[-1], rel=tolerance)
    even = stage_limits("rkl2", 40).real[::2]
    s = np.arange(2, 41, 2)
    assert even == pytest.approx((s**2 + s - 2) / 2)


def test_other_families_and_numbers_of_stages_are_refused() -> None:
    with pytest.raises(InputError, match="stabilised family: rkc1"):
        plot_stage_limits(["rk4"], one_panel())
    with pytest.raises(InputError, match="at least one"):
        plot_stage_limits([], one_panel())
    for stages in (2, 1001):
        with pytest.raises(InputError, match="stages"):
            stage_limits("rkc2", stages)


# The Turing band


def test_the_band_is_shaded_between_the_roots_of_the_determinant() -> None:
    model = schnakenberg()
    spacing = 1.5
    points = np.array([0.0, 0.5, 1.0]), np.array([-0.1, 0.3, -0.2])
    ax = plot_turing_band(model, one_panel(), spacing=spacing, simulated=points)
    (box,) = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    ends = np.array([box.get_x(), box.get_x() + box.get_width()])
    determinants = [np.linalg.det(model.jacobian - k**2 * np.diag([1.0, 30.0])) for k in ends]
    assert determinants == pytest.approx([0, 0], abs=1e-9)
    lines = {str(line.get_label()): line for line in ax.lines}
    for label, square in (
        ("closed form, |k|²", lambda k: k**2),
        ("on a grid, dx = 1.5", lambda k: 4 / spacing**2 * np.sin(k * spacing / 2) ** 2),
    ):
        k, rate = (np.asarray(part) for part in lines[label].get_data())
        for i in (0, 200, 700):
            J = model.jacobian - square(k[i]) * np.diag(model.diffusivities)
            assert rate[i] == pytest.approx(np.linalg.eigvals(J).real.max())
    assert np.array_equal(lines["simulated"].get_ydata(), points[1])
    assert "0.215 < |k| < 0.849" in ax.get_title("left")
    render(ax)


def test_models_without_a_band_and_broken_points() -> None:
    ax = plot_turing_band(schnakenberg(diffusivities=(1.0, 2.0)), one_panel())
    assert "no wave grows" in ax.get_title("left") and not ax.patches
    with pytest.raises(InputError, match="decays without diffusion"):
        plot_turing_band(brusselator(1.0, 3.0), one_panel())
    with pytest.raises(InputError, match="positive mesh width"):
        plot_turing_band(schnakenberg(), one_panel(), spacing=0.0)
    for broken in (([1.0], [1.0, 2.0]), ([1.0], [math.nan])):
        given = np.array(broken[0]), np.array(broken[1])
        with pytest.raises(InputError, match="as many wave numbers as rates"):
            plot_turing_band(schnakenberg(), one_panel(), simulated=given)
