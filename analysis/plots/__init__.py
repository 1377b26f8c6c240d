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
from analysis.plots.layers import plot_margins, plot_symbol_norm
from analysis.plots.nonnormal import plot_nonnormal, plot_transient
from analysis.plots.regions import (
    plot_method_region,
    plot_spectra_over_region,
    plot_stability_region,
)
from analysis.plots.style import GRADE_COLOURS, rows_height, tidy

__all__ = [
    "GRADE_COLOURS",
    "curves_png",
    "figure_bytes",
    "file_bytes",
    "make_figure",
    "panels_bytes",
    "plot_before_after",
    "plot_curves",
    "plot_margins",
    "plot_method_region",
    "plot_nonnormal",
    "plot_singular_values",
    "plot_spectra_over_region",
    "plot_stability_region",
    "plot_symbol_norm",
    "plot_transient",
    "png",
    "rows_height",
    "tidy",
]
