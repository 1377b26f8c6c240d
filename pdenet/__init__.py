"""Neural networks read as partial differential equations: train, inspect, judge the step size.

`pdenet` stands on the package `analysis`, which is installed beside it. Import the defining
module; this face holds the version and `convert`, and refuses to start on a foreign `analysis`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_ON_DEMAND = {"convert": "pdenet.conversion.convert"}
"""Names of this face that need torch, and the modules that define them."""


def __getattr__(name: str) -> Any:
    """`pdenet.convert`, imported when it is asked for: importing the package alone is quick."""
    if name not in _ON_DEMAND:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_ON_DEMAND[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_ON_DEMAND]


def _location(name: str) -> Path | None:
    """File (or, for a namespace package, folder) that `import name` gives; None without one."""
    loaded = sys.modules.get(name)
    spec = loaded.__spec__ if loaded else importlib.util.find_spec(name)
    file = (loaded and getattr(loaded, "__file__", None)) or (spec and spec.origin)
    if file:
        return Path(file)
    folders = list((spec and spec.submodule_search_locations) or [])
    return Path(folders[0]) if folders else None


def _check_ground() -> None:
    """Raise ImportError where `analysis` is not the package that belongs to this `pdenet`.

    The name is common: a script `analysis.py` in the current folder would otherwise surface as
    a missing attribute somewhere deep inside.
    """
    ours = Path(__file__).resolve().parent.with_name("analysis")
    found = _location("analysis")
    if found and found.stem == "__init__" and found.resolve().parent == ours:
        return
    got = str(found) if found else "none at all"
    remedy = (
        "rename it or take its folder off the import path (the current folder, PYTHONPATH)"
        if found
        else "install pdenet again"
    )
    raise ImportError(f"expected pdenet's own package 'analysis' in {ours}, got {got}; {remedy}")


_check_ground()
