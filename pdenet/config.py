"""Frozen dataclasses as TOML and back, exactly; what does not fit is refused by name.

The dataclass is the only description of a configuration: its fields are the keys, its nested
dataclasses the tables, tuples the arrays, and a field that is None is left out. Values go
through unchanged (floats with all their digits), so ``from_toml(cls, to_toml(c)) == c``.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import reprlib
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar, Union

import tomli_w

from analysis.errors import InputError
from pdenet.files import read_file

T = TypeVar("T")

_WORDS = {bool: "true or false", int: "an integer", float: "a finite number", str: "text"}


def to_toml(obj: Any) -> str:
    """TOML text of a dataclass; fields that are None are left out.

    Raises:
        InputError: for a value that does not fit the type of its field.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Sgd:
    ...     rate: float = 0.1
    ...     widths: tuple[int, ...] = (16, 32)
    >>> print(to_toml(Sgd(rate=1)), end="")
    rate = 1.0
    widths = [
        16,
        32,
    ]
    """
    return tomli_w.dumps(to_mapping(obj))


def from_toml(cls: type[T], text: str, origin: str = "the configuration") -> T:
    """The dataclass written in TOML `text`; `origin` (a file name) is named in errors.

    Raises:
        InputError: for malformed TOML (with its line), an unknown or missing key, a wrong type.
    """
    try:
        mapping = tomllib.loads(text)
    except RecursionError as error:
        raise InputError(f"TOML in {origin}", "too many nested brackets", "close them") from error
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        last = text.count("\n") + 1
        reason = str(error).replace("at end of document", f"at line {last}, the end")
        raise InputError(f"valid TOML in {origin}", reason, "correct it there") from error
    return from_mapping(cls, mapping, origin)


def read_config(cls: type[T], path: str | os.PathLike[str]) -> T:
    """The dataclass written in a TOML file.

    Raises:
        InputError: as `from_toml`, and for a file that is missing, unreadable or not UTF-8.
    """
    data = read_file("a TOML file", path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        got = f"the byte 0x{data[error.start]:02x} at line {line}"
        raise InputError(f"UTF-8 text in {path}", got, "save it as UTF-8") from error
    return from_toml(cls, text, str(path))


def to_mapping(obj: Any) -> dict[str, Any]:
    """Nested dictionary of a dataclass: tuples become lists, None is left out.

    Raises:
        InputError: for a value that does not fit the type of its field.
        TypeError: for None in a field with another default, which a file cannot say.
    """
    mapping = {}
    for field, hint in _fields(type(obj)):
        value = getattr(obj, field.name)
        if value is not None:
            converted = _convert(hint, value, field.name, type(obj).__name__)
            mapping[field.name] = _plain(converted)
        elif _default(field) is not None:
            raise TypeError(
                f"{type(obj).__name__}.{field.name}: an optional field defaults to None"
            )
    return mapping


def from_mapping(cls: type[T], mapping: Mapping[str, Any], origin: str = "the configuration") -> T:
    """The dataclass of a nested dictionary; keys left out take the defaults of the fields.

    Raises:
        InputError: for an unknown or missing key, a wrong type, or a value the class refuses.
    """
    return typing.cast(T, _table(cls, mapping, origin, "", cls))


def with_overrides(obj: T, overrides: Mapping[str, Any]) -> T:
    """A copy with other values under dotted keys, all of a table set at once.

    Raises:
        InputError: for an unknown key, a wrong type, or a value the class refuses.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Training:
    ...     epochs: int = 30
    >>> with_overrides(Training(), {"epochs": 3})
    Training(epochs=3)
    """
    return typing.cast(T, _overridden(obj, overrides, "", type(obj)))


def _overridden(obj: Any, overrides: Mapping[str, Any], table: str, root: type) -> Any:
    fields = {field.name: hint for field, hint in _fields(type(obj))}
    origin = "the overrides"
    changes: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for key, value in overrides.items():
        name, _, rest = key.partition(".")
        if name not in fields or (rest and not dataclasses.is_dataclass(getattr(obj, name))):
            raise _unknown_key(key if name in fields else name, origin, table, type(obj), root)
        if rest:
            inner.setdefault(name, {})[rest] = value
        else:
            changes[name] = _convert(fields[name], value, _dotted(table, name), origin)
    for name, parts in inner.items():
        before = changes.get(name, getattr(obj, name))
        changes[name] = _overridden(before, parts, _dotted(table, name), root)
    return dataclasses.replace(obj, **changes)


def _table(cls: type, mapping: Any, origin: str, table: str, root: type) -> Any:
    """The dataclass `cls` of one table of the file whose outermost dataclass is `root`."""
    if not isinstance(mapping, Mapping):
        raise InputError(
            f"a table [{table}] in {origin}", _short(mapping), f"write its keys below [{table}]"
        )
    fields = _fields(cls)
    known = {field.name for field, _ in fields}
    for key in mapping:
        if key not in known:
            raise _unknown_key(key, origin, table, cls, root)
    values = {}
    for field, hint in fields:
        if field.name in mapping:
            key, value = _dotted(table, field.name), mapping[field.name]
            inner = _dataclass_of(hint)
            if inner is not None and not isinstance(value, inner):
                values[field.name] = _table(inner, value, origin, key, root)
            else:
                values[field.name] = _convert(hint, value, key, origin)
        elif _required(field):
            where = f"a key {_dotted(table, field.name)} in {origin}"
            raise InputError(where, "none", f"add {field.name} = ...")
    try:
        return cls(**values)
    except InputError as error:  # the class refuses the value: say where it stands
        raise InputError(error.expected, f"{error.got} in {origin}", error.remedy) from error


def _convert(hint: Any, value: Any, key: str, origin: str) -> Any:
    """`value` as the type `hint`, without loss; `key` and `origin` are for the message."""
    kind, arguments = typing.get_origin(hint), typing.get_args(hint)
    if kind in (Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return None if value is None else _convert(inner, value, key, origin)
    if kind is Literal:
        if any(type(value) is type(choice) and value == choice for choice in arguments):
            return value
        raise InputError(
            f"one of {', '.join(map(repr, arguments))} for {key} in {origin}",
            _short(value),
            "choose one",
        )
    if kind is tuple:
        return _convert_tuple(arguments, value, key, origin)
    inner_class = _dataclass_of(hint)
    if inner_class is not None:
        known = isinstance(value, inner_class)
        return value if known else _table(inner_class, value, origin, key, inner_class)
    return _convert_scalar(hint, value, key, origin)


def _convert_tuple(hints: tuple[Any, ...], value: Any, key: str, origin: str) -> tuple[Any, ...]:
    endless = len(hints) == 2 and hints[1] is Ellipsis
    if not isinstance(value, list | tuple) or not (endless or len(value) == len(hints)):
        length = "" if endless else f" of {len(hints)} values"
        raise InputError(
            f"an array{length} for {key} in {origin}", _short(value), "write it as [a, b]"
        )
    each = [hints[0]] * len(value) if endless else hints
    return tuple(
        _convert(hint, item, f"{key}[{index}]", origin)
        for index, (hint, item) in enumerate(zip(each, value, strict=True))
    )


def _convert_scalar(hint: Any, value: Any, key: str, origin: str) -> Any:
    if hint not in _WORDS:
        raise TypeError(f"{origin}, {key}: a field of type {hint} has no form in TOML")
    good = isinstance(value, hint)
    if hint is int:
        good = good and not isinstance(value, bool)
    elif hint is float:
        good = isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
    elif hint is str:
        good = good and _is_unicode(value)
    if not good:
        raise InputError(
            f"{_WORDS[hint]} for {key} in {origin}", _short(value), "correct the value"
        )
    return hint(value)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return to_mapping(value) if dataclasses.is_dataclass(value) else value


def _fields(cls: type) -> tuple[tuple[dataclasses.Field[Any], Any], ...]:
    """Fields of a dataclass that its constructor takes, with their resolved types."""
    hints = typing.get_type_hints(cls)
    return tuple((field, hints[field.name]) for field in dataclasses.fields(cls) if field.init)


def _dataclass_of(hint: Any) -> type | None:
    """The dataclass a field holds, optional or not; None for other types."""
    choices = (hint, *typing.get_args(hint)) if typing.get_origin(hint) is not tuple else (hint,)
    for choice in choices:
        if isinstance(choice, type) and dataclasses.is_dataclass(choice):
            return choice
    return None


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _keys(cls: type, table: str = "") -> Iterator[tuple[str, str]]:
    """(key, table) of every field below a dataclass."""
    for field, hint in _fields(cls):
        yield field.name, table
        inner = _dataclass_of(hint)
        if inner is not None:
            yield from _keys(inner, _dotted(table, field.name))


def _unknown_key(key: str, origin: str, table: str, cls: type, root: type) -> InputError:
    """Error that names the nearest known key and its table; one of the same table is preferred."""
    here = [field.name for field, _ in _fields(cls)]
    keys = list(_keys(root))
    homes = [home for name, home in keys if name == key and home != table]
    near = difflib.get_close_matches(key, here, n=1) or difflib.get_close_matches(
        key, [name for name, _ in keys], n=1
    )
    place = f"[{table}]" if table else "the top level"
    if homes:
        remedy = f"'{key}' belongs to {f'[{homes[0]}]' if homes[0] else 'the top level'}"
    elif near:
        home = table if near[0] in here else next(h for name, h in keys if name == near[0])
        remedy = f"did you mean '{near[0]}' in {f'[{home}]' if home else 'the top level'}?"
    else:
        remedy = "remove it"
    return InputError(f"a key of {place} ({', '.join(here)}) in {origin}", _short(key), remedy)


def _dotted(table: str, name: str) -> str:
    return f"{table}.{name}" if table else name


def _short(value: Any) -> str:
    """`value` in TOML's words and in at most one short line."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    return reprlib.repr(value)
