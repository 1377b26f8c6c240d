"""A data set by name or path: images and labels of a training and a test part.

Every source gives the same kind of `ImageData` in an order that depends on the names of the
images alone: neither on the file system, nor on how the files are packed. Within a class the
names are put in the order of a seeded hash, and the classes take turns, so that the first n
images of either part are a balanced choice whatever n, and a smaller choice is the beginning of
a larger one. The order of the test part knows no seed: runs of different seeds are judged on the
same images.
"""

from __future__ import annotations

import difflib
import hashlib
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.errors import InputError
from pdenet.data.decoding import Progress, read_images
from pdenet.data.members import (
    SPLITS,
    Container,
    Folder,
    Member,
    is_archive,
    open_container,
)
from pdenet.files import missing_path

NAMES = ("digits",)
"""Data sets that need no files."""

_LAYOUT = "images as train/<class>/* and test/<class>/*, in folders or archives"


@dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled images in two parts.

    Attributes:
        name: what the data set is called.
        classes: names of the classes, in the order of the labels (sorted as text).
        train_images, test_images: pixels (N, H, W, C) uint8; C is 1 or 3.
        train_labels, test_labels: class of every image (N,) int64.
        mean, std: of every channel over the training part, in units where white is 1, float64;
            the standard deviation of a channel that never varies is given as 1.
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    mean: np.ndarray
    std: np.ndarray


def load_data(
    source: str | os.PathLike[str],
    *,
    train_images: int | None = None,
    test_images: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> ImageData:
    """Load a data set.

    Args:
        source: ``digits`` (real handwritten digits, 8x8, that scikit-learn carries), or a path:
            a folder with ``train/<class>/*`` and ``test/<class>/*``, a folder with archives
            ``train*`` and ``test*`` of such files (tar, plain or compressed, or zip; several a
            part), or one archive that holds both.
        train_images, test_images: how many images of a part to load, balanced over the classes;
            None for all.
        seed: chooses and orders the training images.
        progress: called as ``progress(done, total, text)``.

    Raises:
        InputError: for a source that is missing or has another layout, a damaged archive or
            image, images of different sizes or modes, fewer than two classes, classes that
            differ between the parts, or more images asked for than there are.

    >>> data = load_data("digits", train_images=100)
    >>> data.train_images.shape, len(data.classes), len(data.test_labels)
    ((100, 8, 8, 1), 10, 355)
    """
    seed = _at_least(0, "seed", seed)
    counts = {"train": train_images, "test": test_images}
    for split, count in counts.items():
        if count is not None:
            counts[split] = _at_least(1, f"{split}_images", count)
    progress = progress or (lambda done, total, text: None)
    if isinstance(source, str) and source in NAMES:
        return _digits(counts, seed)
    path = _existing(source)
    listed = _list(list(_containers(path)), progress)
    _check_parts(listed, path)
    classes = tuple(sorted({member.class_name for _, member in listed["train"]}))
    chosen = {
        split: _choose(listed[split], classes, counts[split], seed if split == "train" else 0)
        for split in SPLITS
    }
    both = [*chosen["train"], *chosen["test"]]
    pixels, _ = read_images(both, None, progress)
    labels = np.array([classes.index(member.class_name) for _, member in both], np.int64)
    return _image_data(_name(path), classes, pixels, labels, len(chosen["train"]))


def _at_least(least: int, name: str, value: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise InputError(f"{name} of at least {least}", repr(value), "give a whole number")
    return number


def _existing(source: str | os.PathLike[str]) -> Path:
    path = Path(source)
    if str(source).startswith("~/"):
        path = path.expanduser()
    kind = f"a data set ({', '.join(NAMES)}, or a path)"
    try:
        exists = path.exists()
    except (OSError, ValueError) as error:
        raise InputError(kind, f"{path}: {error}", "check the path") from error
    if exists:
        return path
    near = difflib.get_close_matches(str(source).lower(), NAMES, n=1, cutoff=0.5)
    if near:
        raise InputError(kind, f"'{source}'", f"did you mean {near[0]}?")
    raise missing_path(kind, path)


def _containers(path: Path) -> Iterator[Container]:
    """Where the images of a data set lie.

    Raises:
        InputError: for a path that is neither an archive nor a folder with both parts.
    """
    if not path.is_dir():
        if not is_archive(path):
            raise InputError(_LAYOUT, f"the file {path}", "name a folder or a tar or zip archive")
        yield open_container(path)
        return
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise InputError("a readable folder", error, "check its permissions") from error
    archives = [p for p in entries if is_archive(p) and p.is_file() and not p.name.startswith(".")]
    parts: dict[str, list[Container]] = {}
    for split in SPLITS:
        if (path / split).is_dir():
            parts[split] = [Folder(path / split, split)]
        else:
            own = [archive for archive in archives if archive.name.lower().startswith(split)]
            parts[split] = [open_container(archive, split) for archive in own]
    if not any(parts.values()) and len(archives) == 1:
        yield open_container(archives[0])
        return
    for split, found in parts.items():
        if not found:
            names = ", ".join(entry.name for entry in entries[:5]) or "nothing"
            remedy = f"add a folder {split}/ or an archive {split}.tar.gz"
            raise InputError(f"{_LAYOUT}, in {path}", f"no {split} among: {names}", remedy)
        yield from found


Entry = tuple[Container, Member]


def _list(containers: Sequence[Container], progress: Progress) -> dict[str, list[Entry]]:
    """Every image of a data set by its part.

    Raises:
        InputError: for two members of one name in one archive.
    """
    listed: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    for container in containers:
        progress(0, 0, f"listing {container.path.name}")
        seen: set[Member] = set()
        for member in container.members():
            if member in seen:
                remedy = "pack the archive again"
                raise InputError("one image of each name", f"two: {member.origin}", remedy)
            seen.add(member)
            listed[member.split].append((container, member))
    return listed


def _check_parts(listed: dict[str, list[Entry]], path: Path) -> None:
    classes = {}
    for split, entries in listed.items():
        classes[split] = {member.class_name for _, member in entries}
        if not entries:
            remedy = f"add images, or name the folder that holds {split}/ or its archives"
            raise InputError(f"images below {split}/<class>/ in {path}", "none", remedy)
    if len(classes["train"]) < 2:
        (only,) = classes["train"]
        remedy = "a network is trained to tell classes apart: add a folder for another"
        raise InputError(f"at least two classes in {path}", f"one, '{only}'", remedy)
    if classes["train"] != classes["test"]:
        name = min(classes["train"] ^ classes["test"])
        there, lacking = SPLITS if name in classes["train"] else SPLITS[::-1]
        raise InputError(
            f"the same classes in train and test of {path}",
            f"'{name}' in {there} alone",
            f"add it to {lacking} or remove it",
        )


def _choose(
    entries: Iterable[Entry], classes: Sequence[str], count: int | None, seed: int
) -> list[Entry]:
    """The first `count` images when the classes take turns, each in the order of a seeded hash.

    A hash of the name, not a random generator: an image added or a library changed moves no other.
    """

    def order(entry: Entry) -> tuple[bytes, str, str]:
        container, member = entry
        text = f"{seed}/{member.class_name}/{member.name}"
        digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return digest, member.name, container.path.name

    rows: dict[str, list[Entry]] = {name: [] for name in classes}
    for entry in sorted(entries, key=order):
        rows[entry[1].class_name].append(entry)
    turns = [(turn, i) for i, name in enumerate(classes) for turn in range(len(rows[name]))]
    ordered = [rows[classes[i]][turn] for turn, i in sorted(turns)]
    if count is not None and not len(classes) <= count <= len(ordered):
        split = ordered[0][1].split
        remedy = f"choose a number in between, or leave {split}_images out for all"
        expected = f"{split}_images from {len(classes)} (one a class) to {len(ordered)} (all)"
        raise InputError(expected, count, remedy)
    return ordered[:count]


def _image_data(
    name: str, classes: tuple[str, ...], pixels: np.ndarray, labels: np.ndarray, cut: int
) -> ImageData:
    """The data set whose first `cut` images are the training part."""
    mean, std = _statistics(pixels[:cut])
    return ImageData(
        name, classes, pixels[:cut], labels[:cut], pixels[cut:], labels[cut:], mean, std
    )


def _statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every channel, from exact counts of the 256 levels."""
    channels = images.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    rows = max(1, 2**22 // images[0].size)  # counting widens every byte to eight
    for start in range(0, len(images), rows):
        part = images[start : start + rows]
        for c in range(channels):
            counts[c] += np.bincount(part[..., c].ravel(), minlength=256)
    levels = np.arange(256) / 255
    weights = counts / counts.sum(axis=1, keepdims=True)
    mean = weights @ levels
    std = np.sqrt((weights * (levels - mean[:, None]) ** 2).sum(axis=1))
    return mean, np.where(np.count_nonzero(counts, axis=1) > 1, std, 1.0)


def _digits(counts: dict[str, int | None], seed: int) -> ImageData:
    """The 1797 digits of scikit-learn; every fifth image of a class is for testing.

    Their values k = 0..16 become round(255 k / 16) (8 becomes 128), which loses nothing.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    targets = np.asarray(bunch.target, np.int64)
    classes = tuple(map(str, range(10)))
    nowhere = Folder(Path("digits"), "")
    listed: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    turn = dict.fromkeys(range(10), 0)
    for index, label in enumerate(targets.tolist()):
        split = "test" if turn[label] % 5 == 4 else "train"
        turn[label] += 1
        member = Member(split, classes[label], f"{index:04d}", "digits", index, None)
        listed[split].append((nowhere, member))
    train = _choose(listed["train"], classes, counts["train"], seed)
    test = _choose(listed["test"], classes, counts["test"], 0)
    chosen = [member.position for _, member in (*train, *test)]
    return _image_data("digits", classes, pixels[chosen], targets[chosen], len(train))


def _name(path: Path) -> str:
    """The name of a folder, or of an archive without its endings."""
    name = path.resolve().name
    return name.split(".")[0] if path.is_file() and "." in name.strip(".") else name
