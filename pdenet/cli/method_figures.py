"""Pictures of `pdenet method`: regions of one or many methods, order stars, limits by stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

PLOTS = ("region", "star", "imex", "stages")
"""What `--plot` may name."""

_WIDE = 9.0  # inches: a legend stands beside the axes


def check_plot(plot: str | None, per_stage: bool, names: Sequence[str], saved: bool) -> None:
    """Refuse options that would have no effect, before any work is done."""
    if plot is not None and plot not in PLOTS:
        raise unknown_name("picture", plot, PLOTS)
    if not saved:
        given = "--plot" if plot is not None else "--per-stage" if per_stage else None
        if given is not None:
            raise InputError(f"--save FIGURE beside {given}", "none", "pass --save figure.png")
    if len(names) > 1 and plot in ("star", "imex"):
        raise InputError(
            f"the name of one method for --plot {plot}", f"{len(names)} names", "name one method"
        )
    if per_stage and plot != "stages" and (len(names) < 2 or plot not in (None, "region")):
        raise InputError(
            "several methods, or --plot stages, for --per-stage", "one", "leave out --per-stage"
        )


def method_picture(
    names: Sequence[str], kind: str, *, plot: str | None = None, per_stage: bool = False
) -> bytes:
    """The bytes of a picture of one or more methods.

    Args:
        names: of methods.
        kind: of the file, `png`, `pdf` or `svg`.
        plot: one of PLOTS; by default `imex` for a method with an explicit and an implicit part,
            else `region`, of several methods their edges in one plane.
        per_stage: divide by the work of a step.

    Raises InputError for methods that the picture is not for.
    """
    from analysis import plots
    from analysis.methods import method
    from analysis.stability_of import Paired, stability_of

    if plot is None and len(names) == 1:
        plot = "imex" if isinstance(stability_of(method(names[0])), Paired) else "region"
    if plot == "star":
        return plots.figure_bytes(
            lambda ax: plots.plot_order_star(names[0], ax), kind, width=5.2, height=5.4
        )
    if plot == "imex":
        return plots.figure_bytes(
            lambda ax: plots.plot_imex_region(names[0], ax), kind, width=_WIDE
        )
    if plot == "stages":
        return plots.figure_bytes(
            lambda ax: plots.plot_stage_limits(names, ax, per_stage=per_stage), kind, width=_WIDE
        )
    if len(names) == 1:
        return plots.figure_bytes(lambda ax: plots.plot_method_region(names[0], ax), kind)
    return plots.figure_bytes(
        lambda ax: plots.plot_regions(names, ax, per_stage=per_stage), kind, width=_WIDE
    )
