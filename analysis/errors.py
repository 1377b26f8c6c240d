"""The one error a user's input can raise: what was expected, what came, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


class InputError(ValueError):
    """Input that cannot be used; the message is one line with expected, got and remedy.

    >>> print(InputError("a positive step size", "-1", "pass --step 0.5"))
    expected a positive step size, got -1; pass --step 0.5
    """

    def __init__(self, expected: object, got: object, remedy: object) -> None:
        self.expected, self.got, self.remedy = map(_one_line, (expected, got, remedy))
        super().__init__(f"expected {self.expected}, got {self.got}; {self.remedy}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        # BaseException pickles with its one-line message as the only argument; worker
        # processes need the three parts.
        return type(self), (self.expected, self.got, self.remedy)


def unknown_name(kind: str, name: object, known: Iterable[str]) -> InputError:
    """Error for a name that is not in a table, naming the nearest one that is.

    >>> print(unknown_name("coupling", "leen", ["full", "lean"]))
    expected a coupling out of full, lean, got 'leen'; did you mean 'lean'?
    """
    names = list(known)
    near = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.5)
    remedy = f"did you mean '{near[0]}'?" if near else f"choose one of the {len(names)} names"
    article = "an" if kind[0] in "aeiou" else "a"
    return InputError(f"{article} {kind} out of {', '.join(names)}", f"'{name}'", remedy)
