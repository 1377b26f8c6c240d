"""Files written whole or not at all, and one sentence for files that cannot be had.

Scripts, resumed runs and other readers never meet half a file: the bytes go to a temporary file
in the same folder, reach the disk, and only then take the name. A failure leaves what was there
before, and nothing else.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from analysis.errors import InputError

_MOST_NAMES = 2000  # names looked at for a suggestion: a folder may hold millions


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to `path`, whole or not at all; missing folders are made.

    Raises:
        InputError: where the file cannot be written; nothing is left behind.
    """
    if isinstance(data, str):
        try:
            data = data.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"text in Unicode for {path}", error, "rename what it names"
            ) from error
    with open_atomic(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def open_atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path in the folder of `path` to write to; it becomes `path` when the block ends well.

    For writers that want a path (arrays, pictures, tensors). It ends as `path` does, so that
    writers which choose the format by the ending, or add a missing one, do as they should. A
    symbolic link is followed; a pipe or device is written directly.

    Raises:
        InputError: where the file cannot be written; nothing is left behind.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise InputError("a file to write", f"the folder {path}", "add a file name")
    if target.exists() and not target.is_file():
        yield target
        return
    temporary = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
    made: list[Path] = []
    try:
        made = _make_parents(target)
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
        _flush(target.parent)
    except BaseException as error:  # an interrupt, too, leaves nothing behind
        _clear(temporary, made)
        if isinstance(error, OSError):
            remedy = "check the folder, its permissions and the free space"
            reason = error.strerror or str(error)
            raise InputError(f"a place to write {path}", reason, remedy) from error
        raise


def missing_path(kind: str, path: str | os.PathLike[str]) -> InputError:
    """Error for a path that is not there, naming what is there that resembles it."""
    path = Path(path)
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    depth = len(folder.parts) if path.is_absolute() or folder != Path(".") else 0
    wanted = path.parts[depth] if len(path.parts) > depth else path.name
    names: list[str] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        names = sorted(entry.name for entry, _ in zip(entries, range(_MOST_NAMES), strict=False))
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    if near:
        remedy = f"did you mean {' or '.join(str(folder / name) for name in near)}?"
    else:
        remedy = f"the folder {folder} holds nothing of that name"
    return InputError(f"{kind}", f"no such file or folder: {path}", remedy)


def read_file(kind: str, path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: for a path that is missing (near names are offered), a folder, or unreadable.
    """
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing_path(kind, path) from error
    except IsADirectoryError as error:
        raise InputError(kind, f"the folder {path}", "name a file in it") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise InputError(kind, f"{path}: {error}", "check the path and its permissions") from error


def _make_parents(target: Path) -> list[Path]:
    """Make the missing folders above `target`; those made, innermost first."""
    missing = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    return missing


def _clear(temporary: Path, made: list[Path]) -> None:
    with contextlib.suppress(OSError):
        temporary.unlink()
    for folder in made:
        with contextlib.suppress(OSError):  # another writer may use it by now
            folder.rmdir()


def _flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def jsonable(value: Any) -> Any:
    """A value as JSON holds it: infinities are "inf" and "-inf", not-a-number is null.

    >>> jsonable({"limit": float("inf"), "eigenvalue": 1 - 2j, "size": (2, 3)})
    {'limit': 'inf', 'eigenvalue': [1.0, -2.0], 'size': [2, 3]}
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # NumPy arrays and scalars, torch tensors
        return jsonable(value.tolist())
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, complex):
        return [jsonable(value.real), jsonable(value.imag)]
    if isinstance(value, float):
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return None if math.isnan(value) else value
    return value if isinstance(value, int) else str(value)
