"""Seconds from the command to the verdict on 512 x 512 problems, the start of the program included.

Whole processes: the commands of `pdenet stability` beside a script that builds the sparse matrix of
the same problem and asks ARPACK for the eigenvalue that limits an explicit step, and beside the
bare start of Python with NumPy, which no command can go below. `ratio` is the time of the peer over
that of the command, `start_ratio` the time of the command over that of the bare start.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _common import Rows, interleaved, main

ROOT = Path(__file__).resolve().parents[1]

COMMANDS = {
    "diffusion-reaction, rk4": "--method rk4 --reaction -0.5",
    "the same, 20 Chebyshev stages": "--method rkc2:stages=20 --reaction -0.5",
    "with advection, rk4": "--method rk4 --reaction -0.5 --velocity 1,0.5",
    "with advection, ars222": "--method ars222 --reaction -0.5 --velocity 1,0.5",
    "with advection, sbdf2": "--method sbdf2 --reaction -0.5 --velocity 1,0.5",
    "advice to time 10": "--reaction -0.5 --advise 10",
}
ARPACK = """
import numpy as np, scipy.sparse as sp, scipy.sparse.linalg as sla
n = {points}
d = sp.diags_array([np.ones(n - 1), -2 * np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1]).tolil()
d[0, n - 1] = d[n - 1, 0] = 1
one = sp.eye_array(n)
A = (sp.kron(d, one) + sp.kron(one, d) - 0.5 * sp.eye_array(n * n)).tocsr()
print(2.785293563405282 / abs(sla.eigsh(A, k=1, which="LM", tol=1e-6)[0][0]))
"""
PEER, START = "sparse matrix and ARPACK", "python with NumPy"


def rows(*, quick: bool = False, progress: Callable[[str], Any] = lambda text: None) -> Rows:
    """One row a command: seconds, times faster than the peer, times the bare start."""
    points, repeats = (64, 1) if quick else (512, 7)
    work = {
        PEER: _process("-c", ARPACK.format(points=points)),
        START: _process("-c", "import numpy"),
    }
    for name, options in COMMANDS.items():
        words = f"stability --laplacian {points} --dimension 2 {options}".split()
        work[name] = _process("-m", "pdenet", *words)
    progress(f"{repeats} rounds of {len(work)} processes")
    seconds = interleaved(work, repeats, warm=1)
    return [
        {
            "command": name,
            "points": points * points,
            "seconds": taken,
            "ratio": seconds[PEER] / taken,
            "start_ratio": taken / seconds[START],
        }
        for name, taken in seconds.items()
    ]


def _process(*words: str) -> Callable[[], None]:
    """A run of this interpreter as a process of its own, its output thrown away."""

    def run() -> None:
        subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=ROOT)

    return run


if __name__ == "__main__":
    main("stability", rows)
