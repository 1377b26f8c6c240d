"""One network trained twice: spectra of its steps without and with the constraint.

The picture of the README: `pdenet demo`, its first figure.

    python paper_figures/trained_twice.py      writes trained_twice.png beside it
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from pdenet.files import write_atomic
from pdenet.inspection.demo import run_demo, story

HERE = Path(__file__).parent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        demo = run_demo(Path(folder) / "demo")
        write_atomic(HERE / "trained_twice.png", Path(demo.figures[0]).read_bytes())
        print("\n".join(story(demo)))


if __name__ == "__main__":
    main()
