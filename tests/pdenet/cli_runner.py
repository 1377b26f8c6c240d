"""Running the command line inside the test process: quick, and the debugger reaches it."""

from __future__ import annotations

import contextlib
import io
import json
import re
from dataclasses import dataclass
from typing import Any

from pdenet.cli import main

ENVELOPE = {"schema", "version", "command", "warnings"}
ERROR = re.compile(r"pdenet: error: expected .+, got .+; .+\n")


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as the one JSON document that it must be."""

        def refuse(constant: str) -> None:
            raise ValueError(f"{constant} is not JSON")

        document = json.loads(self.out, parse_constant=refuse)
        assert document.keys() >= ENVELOPE
        return document


def run(*words: object) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(word) for word in words])
    return Done(status, out.getvalue(), err.getvalue())


def refused(*words: object) -> str:
    """Run a command that must end with exit 2 and exactly one line; returns that line."""
    done = run(*words)
    assert done.status == 2, done
    assert done.out == "", done
    assert ERROR.fullmatch(done.err), done.err
    return done.err
