"""Where the image files of a data set lie: folders and archives, listed and read in memory.

A container lists its `Member`s, the files of the form ``train/<class>/...`` or
``test/<class>/...`` at any depth, and reads the chosen ones in the order in which they lie.
Nothing is ever extracted to the disk, and a member that points out of its archive is refused.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from analysis.errors import InputError

SPLITS = ("train", "test")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")

_NOT_IMAGES = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})  # file managers leave them
_MOST_BYTES = 2**29  # of one file: beyond every image that Pillow would read


@dataclass(frozen=True)
class Member:
    """One image file.

    Attributes:
        split: ``train`` or ``test``.
        class_name: folder below the split.
        name: path below the class folder.
        origin: what an error calls it.
        position: its place in the container; reading goes by it.
        handle: what the container reads it by.
    """

    split: str
    class_name: str
    name: str
    origin: str = field(compare=False)
    position: int = field(compare=False)
    handle: Any = field(compare=False, repr=False)


class Container(Protocol):
    """A folder or an archive of image files."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    def members(self) -> list[Member]:
        """All image files in it, by name only."""

    def read(self, members: Iterable[Member]) -> Iterator[tuple[Member, bytes]]:
        """The chosen files and their bytes, in the order in which they lie."""


def open_container(path: Path, split: str | None = None) -> Container:
    """The archive at `path`; members that name no split themselves belong to `split`."""
    return Zip(path, split) if path.name.lower().endswith(".zip") else Tar(path, split)


def is_archive(path: Path) -> bool:
    """Whether the name of a file is that of an archive."""
    return path.name.lower().endswith(ARCHIVES)


def place(name: str, default: str | None, archive: object) -> tuple[str, str, str] | None:
    """Split, class and name below the class of an archive's member; None for other files.

    Raises:
        InputError: for an absolute path or one with ``..``.

    >>> place("./cifar/train/cat/1.png", None, "a.tar")
    ('train', 'cat', '1.png')
    >>> place("cat/1.png", "test", "test.zip")
    ('test', 'cat', '1.png')
    >>> place("train/README.md", None, "a.tar") is None
    True
    """
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or (parts and parts[0].endswith(":")):
        raise InputError(
            f"members with plain relative paths in {archive}", repr(name), "pack the archive again"
        )
    if any(_hidden(part) for part in parts):
        return None
    split = next((part for part in parts[:-1] if part in SPLITS), None)
    if split:
        parts = parts[parts.index(split) + 1 :]
    elif default:
        split, parts = default, parts[-2:]
    if split is None or len(parts) < 2:
        return None
    return split, _class_name(parts[0], archive), "/".join(parts[1:])


@dataclass(frozen=True)
class Folder:
    """The folder of one split, with a folder for every class."""

    path: Path
    split: str

    def members(self) -> list[Member]:
        """All files below the class folders, in the order of their names."""
        found: list[Member] = []
        for folder, names in self._walk():
            below = folder.relative_to(self.path).parts
            for name in names if below else ():
                file = folder / name
                _class_name(below[0], self.path)
                inner = "/".join((*below[1:], name))
                found.append(Member(self.split, below[0], inner, str(file), len(found), file))
        return found

    def read(self, members: Iterable[Member]) -> Iterator[tuple[Member, bytes]]:
        """The chosen files and their bytes, in the order of their names."""
        for member in sorted(members, key=lambda member: member.position):
            with _input_errors("a readable image file", member.origin):
                if not member.handle.is_file():  # a pipe would wait for ever
                    raise OSError("not a regular file")
                _check_size(member.origin, member.handle.stat().st_size)
                data = member.handle.read_bytes()
            yield member, data

    def _walk(self) -> Iterator[tuple[Path, list[str]]]:
        def refuse(error: OSError) -> None:
            raise InputError("a readable folder", error, "check its permissions") from error

        seen = set()  # links to folders are followed, but not round in circles
        for folder, folders, files in os.walk(self.path, onerror=refuse, followlinks=True):
            real = os.path.realpath(folder)
            folders[:] = [] if real in seen else sorted(f for f in folders if not _hidden(f))
            if real not in seen:
                yield Path(folder), sorted(f for f in files if not _hidden(f))
            seen.add(real)


@dataclass(frozen=True)
class Tar:
    """A tar archive, plain or compressed."""

    path: Path
    split: str | None = None

    def members(self) -> list[Member]:
        """All image files in it; the archive is read through to its end mark."""
        found: list[Member] = []
        with self._open() as archive:
            for info in archive:
                spot = None if info.isdir() else place(info.name, self.split, self.path)
                if spot is None:
                    continue
                origin = f"{info.name} in {self.path}"
                if not info.isreg():
                    remedy = "pack the files themselves (tar --dereference --hard-dereference)"
                    raise InputError("an image file", f"a link or device: {origin}", remedy)
                _check_size(origin, info.size)
                found.append(Member(*spot, origin, info.offset_data, info))
            _check_end(archive)
        return found

    def read(self, members: Iterable[Member]) -> Iterator[tuple[Member, bytes]]:
        """The chosen files and their bytes, in the order in which they lie."""
        with self._open() as archive:
            for member in sorted(members, key=lambda member: member.position):
                file = archive.extractfile(member.handle)
                data = file.read() if file else b""
                yield member, data

    @contextmanager
    def _open(self) -> Iterator[tarfile.TarFile]:
        with _input_errors("a readable tar archive", self.path), tarfile.open(self.path) as archive:
            yield archive


@dataclass(frozen=True)
class Zip:
    """A zip archive."""

    path: Path
    split: str | None = None

    def members(self) -> list[Member]:
        """All image files in it."""
        found: list[Member] = []
        with self._open() as archive:
            for info in archive.infolist():
                name = info.filename.replace("\\", "/")  # as some Windows programs write it
                spot = None if info.is_dir() else place(name, self.split, self.path)
                if spot is not None:
                    origin = f"{name} in {self.path}"
                    _check_size(origin, info.file_size)
                    found.append(Member(*spot, origin, info.header_offset, info))
        return found

    def read(self, members: Iterable[Member]) -> Iterator[tuple[Member, bytes]]:
        """The chosen files and their bytes, in the order in which they lie."""
        with self._open() as archive:
            for member in sorted(members, key=lambda member: member.position):
                yield member, archive.read(member.handle)

    @contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        with _input_errors("a readable zip archive", self.path), zipfile.ZipFile(self.path) as file:
            yield file


@contextmanager
def _input_errors(expected: str, path: object) -> Iterator[None]:
    """Turn what a reader raises on bad bytes into one sentence.

    The readers of the standard library promise no closed list: besides their own errors, bad
    bytes have them raise EOFError, zlib.error, LZMAError, RuntimeError, struct.error and others.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
        raise InputError(expected, f"{path}: {reason}", "fetch or pack it again") from error


def _check_end(archive: tarfile.TarFile) -> None:
    """Raise unless the archive ends as tar archives do: tarfile itself is content with a part.

    It takes the first block that is no header for the end, so a truncated or damaged archive
    would silently lose images. Reading on to the end has compressed files check their sums.
    """
    stream: Any = archive.fileobj
    stream.seek(archive.offset)
    if any(block := stream.read(512)) or len(block) < 512:
        raise tarfile.ReadError("it breaks off or is damaged: there is no end mark")
    while stream.read(2**20):
        pass


def _check_size(origin: str, size: int) -> None:
    if size > _MOST_BYTES:
        remedy = "store smaller images"
        raise InputError(f"an image file below {_MOST_BYTES} bytes", f"{size}: {origin}", remedy)


def _class_name(name: str, where: object) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"class names in UTF-8 in {where}", ascii(name), "rename it") from error
    return name


def _hidden(part: str) -> bool:
    return part.startswith(".") or part in _NOT_IMAGES
