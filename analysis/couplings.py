"""The six couplings of channels as data (theory §2), after arXiv 1805.07821.

Each class holds its weights, knows how many there are and gives its symbol in the tightest
structure; the common part is in ``analysis.coupling``.
"""

from __future__ import annotations

from analysis.block_couplings import Circulant, Full, Grouped, circulant_index
from analysis.coupling import Coupling
from analysis.diagonal_couplings import Depthwise, Lean, Pointwise

__all__ = [
    "COUPLINGS",
    "Circulant",
    "Depthwise",
    "Full",
    "Grouped",
    "Lean",
    "Pointwise",
    "circulant_index",
]

COUPLINGS: dict[str, type[Coupling]] = {
    kind.name: kind for kind in (Full, Depthwise, Pointwise, Lean, Circulant, Grouped)
}
"""The couplings of theory §2 by name."""
