"""Pictures of results: every function takes a result and axes and returns the axes.

The only package that imports matplotlib; it opens no window, keeps no state and leaves the settings
of the process as they are. Bytes of a file come from ``figure_bytes`` (one pair of axes) and
``panels_bytes`` (several).
"""

from analysis.plots.curves import (
    curves_png,
    plot_before_after,
    plot_curves,
    plot_singular_values,
)
from analysis.plots.figures import figure_bytes, file_bytes, make_figure, panels_bytes, png
from analysis.plots.imex import plot_imex_region
from analysis.plots.layers import plot_margins, plot_symbol_norm
from analysis.plots.nonnormal import plot_nonnormal, plot_transient
from analysis.plots.orders import plot_order_star
from analysis.plots.overlays import plot_regions
from analysis.plots.regions import (
    plot_method_region,
    plot_spectra_over_region,
    plot_stability_region,
)
from analysis.plots.stages import plot_stage_limits, stage_limits
from analysis.plots.style import GRADE_COLOURS, rows_height, tidy
from analysis.plots.turing import plot_turing_band

__all__ = [
    "GRADE_COLOURS",
    "curves_png",
    "figure_bytes",
    "file_bytes",
    "make_figure",
    "panels_bytes",
    "plot_before_after",
    "plot_curves",
    "plot_imex_region",
    "plot_margins",
    "plot_method_region",
    "plot_nonnormal",
    "plot_order_star",
    "plot_regions",
    "plot_singular_values",
    "plot_spectra_over_region",
    "plot_stability_region",
    "plot_stage_limits",
    "plot_symbol_norm",
    "plot_transient",
    "plot_turing_band",
    "png",
    "rows_height",
    "stage_limits",
    "tidy",
]
