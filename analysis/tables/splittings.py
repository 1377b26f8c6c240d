"""Splitting methods: two parts of a field in turn, and symplectic ones for second-order systems.

Source: Hairer, Lubich & Wanner, Geometric Numerical Integration, sections I.1.4 and II.5.
"""

from __future__ import annotations

from analysis.families import Family
from analysis.splitting import Part, SplittingMethod

# Ruth, IEEE Trans. Nucl. Sci. 30 (1983) 2669-2671, kicks and drifts in the order they act.
_RUTH3: tuple[tuple[Part, str], ...] = (
    ("kick", "7/24"),
    ("drift", "2/3"),
    ("kick", "3/4"),
    ("drift", "-2/3"),
    ("kick", "-1/24"),
    ("drift", "1"),
)

SPLITTINGS: dict[str, Family] = {
    "lie": Family(
        lambda name: SplittingMethod(name, [("explicit", 1), ("implicit", 1)]),
        "the flow of the explicit part, then that of the implicit part, order 1",
    ),
    "strang": Family(
        lambda name: SplittingMethod(
            name, [("explicit", "1/2"), ("implicit", 1), ("explicit", "1/2")]
        ),
        "half the explicit part, the implicit part, the other half, order 2",
    ),
    "symplectic-euler": Family(
        lambda name: SplittingMethod(name, [("kick", 1), ("drift", 1)]),
        "v+ = v + h F(y), y+ = y + h v+ for y'' = F(y), order 1",
    ),
    "verlet": Family(
        lambda name: SplittingMethod(name, [("kick", "1/2"), ("drift", 1), ("kick", "1/2")]),
        "Stormer-Verlet for y'' = F(y): half a kick, a drift, half a kick, order 2",
    ),
    "ruth3": Family(
        lambda name: SplittingMethod(name, _RUTH3),
        "symplectic method of three kicks and drifts for y'' = F(y), order 3 (Ruth 1983)",
    ),
}
