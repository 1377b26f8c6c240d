"""Every error a user can cause as one line: expected, got, remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from analysis.errors import InputError

NUMBERS = {"float": "a number", "int": "a whole number"}


def sentence(error: BaseException) -> str | None:
    """The line for an error of the input, of the arguments or of the machine; None for a defect."""
    if isinstance(error, InputError):
        return str(error)
    if hasattr(error, "format_message"):
        # typer's own exceptions, wherever this version of it keeps their classes.
        return str(_usage(error))
    if isinstance(error, OSError):
        return str(_system(error))
    if isinstance(error, MemoryError):
        return str(InputError("a problem that fits into memory", "more", "reduce its size"))
    return None


def _usage(error: Any) -> InputError:
    """An error of the arguments, as typer found it, in our three parts."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "pdenet"
    remedy = f"see {command} --help"
    kind = type(error).__name__
    parameter = getattr(error, "param", None)
    if kind == "NoSuchOption":
        known = [name for item in context.command.params for name in item.opts] if context else []
        remedy = did_you_mean(error.option_name, [*known, "--help"]) or remedy
        return InputError(f"an option of {command}", f"'{error.option_name}'", remedy)
    if kind == "MissingParameter" and parameter is not None:
        return InputError(_named(parameter), "nothing", remedy)
    if kind == "BadParameter" and parameter is not None:
        expected = f"{NUMBERS.get(_type_name(parameter), 'a valid value')} for {_named(parameter)}"
        return InputError(expected, _given(error), remedy)
    if kind == "BadOptionUsage":
        name = error.option_name
        return InputError(f"a value for {name}", "none", f"write {name} VALUE")
    extra = re.search(r"extra argument(?:s|\(s\))? \((.*)\)$", error.format_message(), re.DOTALL)
    if extra:
        return InputError(f"no further argument of {command}", f"'{extra.group(1)}'", remedy)
    return InputError(f"arguments of {command}", error.format_message(), remedy)


def _given(error: Any) -> str:
    """The word that a parameter could not take."""
    details = getattr(error.__cause__, "errors", None)  # pydantic, in newer versions of typer
    if details is not None:
        return repr(details()[0].get("input"))
    quoted = re.search(r"'(.*?)'", error.message, re.DOTALL)
    return quoted.group(0) if quoted else str(error.message)


def _named(parameter: Any) -> str:
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name.upper())


def _type_name(parameter: Any) -> str:
    """Name of the Python type behind a parameter: `float`, `int`, ..."""
    descriptor = getattr(parameter, "type_descriptor", None)
    if descriptor is not None:
        return getattr(descriptor.annotation, "__name__", "")
    name = getattr(getattr(parameter, "type", None), "name", "")
    return {"integer": "int"}.get(name, name)


def _system(error: OSError) -> InputError:
    """A full disk, a missing permission and their kind."""
    where = f" {error.filename}" if error.filename is not None else ""
    reason = error.strerror or str(error) or type(error).__name__
    return InputError(
        f"to be able to read or write{where}",
        f"'{reason}'",
        "check the path, its permissions and the space on its disk",
    )


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A question naming the nearest known name, None where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else None
