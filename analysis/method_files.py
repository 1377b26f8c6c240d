"""Methods that a user writes: TOML files, and whole Runge-Kutta tables as one line of text.

A file names the kind and gives the coefficients as whole numbers or text ("1/3", "1-sqrt(2)/2"):

    kind = "runge-kutta"            # or imex, multistep, splitting
    name = "ralston"                # left out: the name of the file
    A = [[0, 0], ["2/3", 0]]        # one list a stage
    b = ["1/4", "3/4"]

    imex: A, b, A_implicit, b_implicit        splitting: flows = [["explicit", 1], ["implicit", 1]]
    multistep: alpha, beta, and beta_implicit of implicit-explicit methods (oldest step first)
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from analysis.errors import InputError, unknown_name
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.splitting import SplittingMethod
from analysis.tableau import INLINE, ButcherTableau, ImexTableau

FileMethod = ButcherTableau | ImexTableau | MultistepMethod | ImexMultistep | SplittingMethod
_LARGEST_FILE = 1_000_000  # bytes; a table of 100 stages takes a hundredth


def read_method(path: str | os.PathLike[str]) -> FileMethod:
    """The method of a TOML file.

    Raises InputError, each time with the file named, for a file that cannot be read, malformed
    TOML (with its line), an unknown kind, missing and unknown keys, and tables that cannot be.
    """
    origin = f"'{os.fspath(path)}'"
    content = _content(path, origin)
    kind = content.pop("kind", None)
    name = content.pop("name", Path(path).stem)
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"name as text in {origin}", repr(name), 'write name = "my-method"')
    if not isinstance(kind, str) or kind not in _READERS:
        known = ", ".join(_READERS)
        raise InputError(
            f"kind in {origin}: one of {known}",
            "none" if kind is None else repr(kind),
            'write kind = "runge-kutta" for a table A, b',
        )
    needed, optional, build = _READERS[kind]
    for key in content:
        if key not in (*needed, *optional):
            raise unknown_name(f"key of kind {kind} in {origin}", key, (*needed, *optional))
    for key in needed:
        if key not in content:
            raise InputError(f"the key {key} of kind {kind} in {origin}", "none", "add it")
    try:
        return build(name, {key: _entries(key, value) for key, value in content.items()})
    except InputError as error:
        raise InputError(f"{error.expected} in {origin}", error.got, error.remedy) from error


def _content(path: str | os.PathLike[str], origin: str) -> dict[str, Any]:
    """The keys of the file."""
    remedy = "give the path of a TOML file with kind, A and b"
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST_FILE + 1)
        if len(data) > _LARGEST_FILE:
            raise InputError(f"a file of at most {_LARGEST_FILE} bytes", origin, remedy)
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"TOML in {origin}", error or "arrays too deep", "correct it") from error
    except UnicodeDecodeError as error:
        raise InputError(f"a text file in UTF-8 at {origin}", "other bytes", remedy) from error
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"a method file at {origin}", reason, remedy) from error


def _entries(key: str, value: object) -> Any:
    """The value of a key: a list of numbers, or of lists of such."""
    if not isinstance(value, list) or not value:
        raise InputError(f"{key} as a list", repr(value), f'write {key} = [0, "1/2"]')
    if all(isinstance(item, list) for item in value):
        return value
    for item in value:
        if isinstance(item, list):
            raise InputError(f"{key} as one list", "numbers beside lists", "separate them")
    return value


def _runge_kutta(name: str, keys: Mapping[str, Any]) -> ButcherTableau:
    return ButcherTableau(name, _rows("A", keys), _numbers("b", keys))


def _imex(name: str, keys: Mapping[str, Any]) -> ImexTableau:
    explicit = ButcherTableau(f"{name}, explicit part", _rows("A", keys), _numbers("b", keys))
    implicit = ButcherTableau(
        f"{name}, implicit part", _rows("A_implicit", keys), _numbers("b_implicit", keys)
    )
    return ImexTableau(name, explicit, implicit)


def _multistep(name: str, keys: Mapping[str, Any]) -> MultistepMethod | ImexMultistep:
    alpha, beta = _numbers("alpha", keys), _numbers("beta", keys)
    if "beta_implicit" in keys:
        return ImexMultistep(name, alpha, beta, _numbers("beta_implicit", keys))
    return MultistepMethod(name, alpha, beta)


def _splitting(name: str, keys: Mapping[str, Any]) -> SplittingMethod:
    flows = _rows("flows", keys)
    for flow in flows:
        if len(flow) != 2 or not isinstance(flow[0], str):
            raise InputError(
                "flows as pairs of a part and a fraction", repr(flow), 'write ["drift", "1/2"]'
            )
    return SplittingMethod(name, [(part, fraction) for part, fraction in flows])


def _rows(key: str, keys: Mapping[str, Any]) -> list[list[Any]]:
    if not isinstance(keys[key][0], list):
        raise InputError(f"{key} as a list of lists", repr(keys[key]), f"write {key} = [[0]], say")
    return keys[key]


def _numbers(key: str, keys: Mapping[str, Any]) -> list[Any]:
    if isinstance(keys[key][0], list):
        raise InputError(f"{key} as a list of numbers", repr(keys[key]), f"write {key} = [1], say")
    return keys[key]


_READERS: dict[
    str, tuple[tuple[str, ...], tuple[str, ...], Callable[[str, Mapping[str, Any]], FileMethod]]
] = {
    "runge-kutta": (("A", "b"), (), _runge_kutta),
    "imex": (("A", "b", "A_implicit", "b_implicit"), (), _imex),
    "multistep": (("alpha", "beta"), ("beta_implicit",), _multistep),
    "splitting": (("flows",), (), _splitting),
}


def inline_table(text: str) -> ButcherTableau:
    """The table written as `A=0 0;1/2 0,b=0 1`: rows by semicolons, entries by blanks.

    Its name is the text in its shortest form, with `table:` in front.

    >>> inline_table("A = 0 0; 2/3 0, b = 1/4 3/4").name
    'table:A=0 0;2/3 0,b=1/4 3/4'
    """
    left, comma, right = text.partition(",")
    (key, equals, rows), (key_b, equals_b, weights) = left.partition("="), right.partition("=")
    if not (comma and equals and equals_b) or (key.strip(), key_b.strip()) != ("A", "b"):
        raise InputError(
            "a table as A=0 0;1/2 0,b=0 1 after table:",
            f"'{text}'",
            "write the rows of A with semicolons between them, then the weights b",
        )
    A = [row.split() for row in rows.split(";")]
    table = ButcherTableau(INLINE, A, weights.split())
    return ButcherTableau(table.inline_name, table.A, table.b)
