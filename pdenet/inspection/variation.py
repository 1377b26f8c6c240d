"""How much the operators of a block change from step to step (theory §4.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.backend import to_numpy
from analysis.certificates import certified_norm
from analysis.coupling import Coupling
from analysis.couplings import Full
from pdenet.inspection.verdict import Verdict


def time_variation(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """The largest ``||K_(j+1) - K_j|| / max(||K_j||, ||K_(j+1)||)`` of the steps of every block.

    ``K`` is the scaled operator of a monotone field, the norms are certified for all image sizes.
    Limits of frozen coefficients hold for products where this is 0 (shared weights) and say less
    the larger it is; 2 is a change of sign. Blocks of one step, and of other fields, are left out.
    """
    blocks: dict[str, list[Coupling]] = {}
    for verdict in verdicts:
        block, steps, _ = verdict.layer.name.rpartition(".steps.")
        scaled = verdict.theory.scaled
        if steps and scaled is not None:
            blocks.setdefault(block, []).append(scaled)
    return {name: _largest_change(found) for name, found in blocks.items() if len(found) > 1}


def _largest_change(couplings: Sequence[Coupling]) -> float:
    weights = [np.asarray(to_numpy(c.dense_weight()), dtype=float) for c in couplings]
    norms = [certified_norm(coupling).upper for coupling in couplings]
    changes = []
    for j in range(len(weights) - 1):
        change = certified_norm(Full(weights[j + 1] - weights[j])).upper
        size = max(norms[j], norms[j + 1])
        changes.append(change / size if size else 0.0)
    return max(changes)
