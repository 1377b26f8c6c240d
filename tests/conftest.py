"""Settings of all tests; nothing here may need torch, for tests/analysis runs without it."""

from __future__ import annotations

import importlib.util

from hypothesis import HealthCheck, settings

# The same examples on every machine and no verdict that hangs on its speed. To search further:
# pytest --hypothesis-profile=search
settings.register_profile(
    "reproducible",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("reproducible")

if importlib.util.find_spec("torch"):
    import torch

    # Tests run one process per core: more threads in each would only wait for one another.
    torch.set_num_threads(1)
