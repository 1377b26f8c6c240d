"""Data sets load the same however they are packed; what is damaged or odd is named."""

from __future__ import annotations

import io
import os
import random
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from analysis.errors import InputError
from pdenet.data.decoding import known_formats
from pdenet.data.members import place
from pdenet.data.sources import ImageData, load_data

Files = dict[str, bytes]
EXAMPLES = 50  # of damaged files, each


def encode(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def picture(text: str, size: int = 4, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(list(text.encode()))
    shape = (size, size, channels) if channels == 3 else (size, size)
    return rng.integers(0, 256, shape, dtype=np.uint8)


def small_set(
    classes: Iterable[str] = ("cat", "dog", "emu"), train: int = 4, test: int = 2, channels: int = 3
) -> Files:
    return {
        name: encode(picture(name, channels=channels))
        for split, count in (("train", train), ("test", test))
        for class_name in classes
        for name in (f"{split}/{class_name}/{i}.png" for i in range(count))
    }


def write_folder(root: Path, files: Files) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def tar_bytes(files: Files, mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def zip_bytes(files: Files) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def part(files: Files, start: str) -> Files:
    return {name: data for name, data in files.items() if name.startswith(start)}


def shards(root: Path, files: Files) -> Path:
    train = list(part(files, "train").items())
    (root / "train-0.tar.gz").write_bytes(tar_bytes(dict(train[::2])))
    (root / "train-1.zip").write_bytes(zip_bytes(dict(train[1::2])))
    (root / "test.tar").write_bytes(tar_bytes(part(files, "test"), "w"))
    (root / "README.md").write_text("what this is")
    return root


def bare_zips(root: Path, files: Files) -> Path:
    for split in ("train", "test"):
        bare = {n.removeprefix(f"{split}/"): d for n, d in part(files, split).items()}
        (root / f"{split}.zip").write_bytes(zip_bytes(bare))
    return root


def one(name: str, pack: Callable[[Files], bytes]) -> Callable[[Path, Files], Path]:
    def write(root: Path, files: Files) -> Path:
        (root / name).write_bytes(pack(files))
        return root / name

    return write


LAYOUTS = {
    "folder": write_folder,
    "shards": shards,
    "tar": one("a.tar", lambda files: tar_bytes(files, "w")),
    "tar.gz": one("a.tar.gz", tar_bytes),
    "tgz": one("a.TGZ", tar_bytes),
    "tar.bz2": one("a.tar.bz2", lambda files: tar_bytes(files, "w:bz2")),
    "tar.xz": one("a.tar.xz", lambda files: tar_bytes(files, "w:xz")),
    "zip": one("a.zip", zip_bytes),
    "archive in a folder": lambda root, files: one("a.zip", zip_bytes)(root, files).parent,
    "below a folder": one(
        "a.tar", lambda files: tar_bytes({f"./x/{n}": d for n, d in files.items()})
    ),
    "folder and archive": lambda root, files: (
        one("test.zip", zip_bytes)(
            write_folder(root, part(files, "train")), part(files, "test")
        ).parent
    ),
    "split in the archive's name only": bare_zips,
}


def same(a: ImageData, b: ImageData) -> bool:
    names = ("train_images", "train_labels", "test_images", "test_labels", "mean", "std")
    return a.classes == b.classes and all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in names
    )


# What is loaded


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_data(tmp_path, layout):
    files = small_set()
    data = load_data(LAYOUTS[layout](tmp_path, files), seed=3)
    assert data.classes == ("cat", "dog", "emu")
    assert data.train_images.shape == (12, 4, 4, 3)
    assert data.train_images.dtype == np.uint8
    assert data.test_labels.dtype == np.int64
    for split in ("train", "test"):
        images, labels = getattr(data, f"{split}_images"), getattr(data, f"{split}_labels")
        found = {
            (i.tobytes(), data.classes[label]) for i, label in zip(images, labels, strict=True)
        }
        names = part(files, split)
        assert found == {(picture(name).tobytes(), name.split("/")[1]) for name in names}
    reference = tmp_path / "reference"
    assert same(data, load_data(write_folder(reference, files), seed=3))


@given(st.randoms(use_true_random=False), st.integers(0, 9))
@settings(max_examples=15)
def test_the_order_depends_on_names_alone(random_source, seed):
    files = small_set()
    shuffled = list(files.items())
    random_source.shuffle(shuffled)
    with tempfile.TemporaryDirectory() as folder:
        packed, spread = Path(folder, "a.tar"), Path(folder, "b")
        packed.write_bytes(tar_bytes(dict(shuffled), "w"))
        expected = load_data(write_folder(spread, files), seed=seed)
        assert same(load_data(packed, seed=seed), expected)
        ours = load_data(packed, seed=seed, train_images=7)
    assert np.array_equal(ours.train_images, expected.train_images[:7])


def test_a_choice_is_balanced_seeded_and_the_beginning_of_a_larger_one(tmp_path):
    path = write_folder(tmp_path, small_set(train=20, test=5))
    whole = load_data(path)
    for count in (3, 4, 30, 31, 60):
        chosen = load_data(path, train_images=count, test_images=4)
        assert np.array_equal(chosen.train_images, whole.train_images[:count])
        counts = np.bincount(chosen.train_labels)
        assert counts.sum() == count
        assert counts.max() - counts.min() <= 1
        assert np.array_equal(chosen.test_images, whole.test_images[:4])
    other = load_data(path, seed=1)
    assert not np.array_equal(other.train_images[:30], whole.train_images[:30])
    assert np.array_equal(other.test_images, whole.test_images)


def test_uneven_classes_give_what_they_have(tmp_path):
    files = small_set(("a", "b"), train=2) | {
        f"train/b/more{i}.png": encode(picture(f"{i}")) for i in range(6)
    }
    data = load_data(write_folder(tmp_path, files), train_images=7)
    assert np.bincount(data.train_labels).tolist() == [2, 5]


def test_only_the_chosen_images_are_decoded(tmp_path):
    files = small_set(("a", "b"), train=30)
    whole = load_data(write_folder(tmp_path, files))
    late = {i.tobytes() for i in whole.train_images[10:]}
    for name in part(files, "train"):
        if picture(name).tobytes() in late:
            (tmp_path / name).write_bytes(b"broken")
    assert len(load_data(tmp_path, train_images=10).train_labels) == 10
    with pytest.raises(InputError, match="cannot be decoded"):
        load_data(tmp_path)


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_std_are_those_of_the_training_part(tmp_path, channels):
    data = load_data(write_folder(tmp_path, small_set(train=50, channels=channels)))
    values = data.train_images.astype(np.float64) / 255
    assert data.mean.shape == data.std.shape == (channels,)
    np.testing.assert_allclose(data.mean, values.mean((0, 1, 2)), rtol=1e-13)
    np.testing.assert_allclose(data.std, values.std((0, 1, 2)), rtol=1e-13)


def test_a_channel_that_never_varies_has_std_one(tmp_path):
    pixels = picture("x")
    pixels[..., 2] = 7
    files = dict.fromkeys(small_set(), encode(pixels))
    data = load_data(write_folder(tmp_path, files))
    assert data.std[2] == 1
    assert data.mean[2] == pytest.approx(7 / 255)


def test_digits_are_split_once_and_for_all():
    from sklearn.datasets import load_digits

    data, other = load_data("digits"), load_data("digits", seed=5)
    assert data.name == "digits"
    assert data.train_images.shape == (1442, 8, 8, 1)
    assert data.test_images.shape == (355, 8, 8, 1)
    assert np.array_equal(data.test_images, other.test_images)
    shares = np.bincount(data.test_labels) / np.bincount(load_digits().target)
    assert np.abs(shares - 0.2).max() < 0.005
    assert set(np.unique(data.train_images)) <= {*range(0, 256)}
    levels = np.rint(data.train_images / 255 * 16)
    assert np.array_equal(np.rint(levels * 255 / 16), data.train_images)
    ours = sorted(i.tobytes() for i in np.concatenate([data.train_images, data.test_images]))
    theirs = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    assert ours == sorted(i.tobytes() for i in theirs)


def test_the_first_images_of_digits_are_balanced():
    data = load_data("digits", train_images=100, test_images=50)
    assert np.bincount(data.train_labels).tolist() == [10] * 10
    assert np.bincount(data.test_labels).tolist() == [5] * 10


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP"])
def test_lossless_formats_are_exact(tmp_path, kind):
    if kind not in known_formats():
        pytest.skip(f"this build of Pillow reads no {kind}")
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = picture("x") // 64 * 64  # few colours, as a GIF holds
    data = dict.fromkeys(small_set(), encode(pixels, kind, **options))
    loaded = load_data(write_folder(tmp_path, data))
    assert np.array_equal(loaded.train_images[0], pixels)


def test_palettes_and_opaque_alpha_are_plain_colours(tmp_path):
    pixels = picture("x") // 64 * 64
    plain = Image.fromarray(pixels)
    stream = io.BytesIO()
    plain.convert("RGBA").save(stream, "PNG")
    files = small_set()
    files["train/cat/0.png"] = stream.getvalue()
    stream = io.BytesIO()
    plain.quantize(64).save(stream, "PNG")
    files["train/cat/1.png"] = stream.getvalue()
    found = [i.tobytes() for i in load_data(write_folder(tmp_path, files)).train_images]
    assert found.count(pixels.tobytes()) == 2


def test_leftovers_of_file_managers_are_skipped(tmp_path):
    odd = ("train/.DS_Store", "train/cat/._0.png", "train/cat/Thumbs.db", "train/.hidden/x.png")
    odd += ("__MACOSX/train/cat/._0.png", "README.md", "train/labels.csv")
    files = small_set()
    plain = load_data(write_folder(tmp_path / "plain", files))
    files |= dict.fromkeys(odd, b"not an image")
    assert same(load_data(write_folder(tmp_path / "odd", files)), plain)
    (tmp_path / "a.zip").write_bytes(zip_bytes(files))
    assert same(load_data(tmp_path / "a.zip"), plain)


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    write_folder(tmp_path / "real", small_set())
    (tmp_path / "view" / "train").mkdir(parents=True)
    for name in ("cat", "dog", "emu"):
        (tmp_path / "view" / "train" / name).symlink_to(tmp_path / "real" / "train" / name)
    (tmp_path / "view" / "test").symlink_to(tmp_path / "real" / "test")
    (tmp_path / "real" / "train" / "cat" / "loop").symlink_to(tmp_path / "view" / "train" / "cat")
    assert len(load_data(tmp_path / "view").train_labels) == 12


def test_progress_is_told(tmp_path):
    seen = []
    load_data(shards(tmp_path, small_set()), progress=lambda *report: seen.append(report))
    assert any(text == "listing train-1.zip" for *_, text in seen)
    assert seen[-1] == (18, 18, "decoding images")
    done = [report[0] for report in seen]
    assert done == sorted(done)


def test_names_of_data_sets(tmp_path, monkeypatch):
    path = write_folder(tmp_path / "my.set", small_set())
    assert load_data(path).name == "my.set"
    (tmp_path / "birds.tar.gz").write_bytes(tar_bytes(small_set()))
    assert load_data(str(tmp_path / "birds.tar.gz")).name == "birds"
    monkeypatch.chdir(path)
    assert load_data(".").name == "my.set"


# What is refused


def refusal(path: Path | str, **options) -> str:
    with pytest.raises(InputError) as caught:
        load_data(path, **options)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


def test_unknown_names_and_missing_paths(tmp_path, monkeypatch):
    assert refusal("digit").endswith("got 'digit'; did you mean digits?")
    assert "a data set (digits, or a path)" in refusal("imagenet")
    (tmp_path / "cifar10").mkdir()
    assert f"did you mean {tmp_path / 'cifar10'}?" in refusal(tmp_path / "cifar")
    monkeypatch.chdir(tmp_path)
    assert "did you mean cifar10?" in refusal("cifra10")
    assert "a data set" in refusal("null\0character")
    (tmp_path / "x.txt").write_text("")
    assert "name a folder or a tar or zip archive" in refusal("x.txt")


@pytest.mark.parametrize("count", [0, -1, 2, 13, 2.5, True, "7"])
def test_impossible_numbers_of_images(tmp_path, count):
    assert "train_images" in refusal(write_folder(tmp_path, small_set()), train_images=count)


def test_a_negative_seed():
    assert "seed of at least 0, got -1" in refusal("digits", seed=-1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: part(files, "train/cat") | part(files, "test/cat"), "one, 'cat'"),
        (lambda files: files | {"train/fox/1.png": b""}, "'fox' in train alone; add it to test"),
        (lambda files: files | {"test/fox/1.png": b""}, "'fox' in test alone; add it to train"),
        (lambda files: part(files, "train") | {"test/x.txt": b""}, "images below test/<class>/"),
        (lambda files: files | {"train/cat/0.png": b"x"}, "train/cat/0.png"),
        (
            lambda files: files | {"train/dog/1.png": files["train/dog/1.png"][:-30]},
            "train/dog/1.png",
        ),
        (
            lambda files: files | {"test/emu/1.png": encode(picture("x", size=5))},
            "one size and mode, 4x4 RGB as .*, got 5x5 RGB: .*test/emu/1.png",
        ),
        (
            lambda files: files | {"test/emu/1.png": encode(picture("x", channels=1))},
            "got 4x4 grey: .*test/emu/1.png",
        ),
        (
            lambda files: files | {"train/emu/1.png": encode(np.full((4, 4), 9, np.uint16))},
            "8 bits a channel, .*: .*train/emu/1.png",
        ),
        (
            lambda files: files | {"train/emu/1.png": encode(np.full((4, 4, 4), 9, np.uint8))},
            "an opaque image, got transparency: .*train/emu/1.png",
        ),
        (
            lambda files: files | {"train/emu/1.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n"},
            "train/emu/1.eps",
        ),
    ],
)
@pytest.mark.parametrize("layout", ["folder", "shards", "zip"])
def test_odd_data_is_named(tmp_path, layout, change, message):
    text = refusal(LAYOUTS[layout](tmp_path, change(small_set())))
    assert re.search(message, text), text


def test_folders_without_the_layout(tmp_path):
    assert "no train among: nothing" in refusal(tmp_path)
    write_folder(tmp_path, part(small_set(), "train"))
    assert "no test among: train; add a folder test/" in refusal(tmp_path)
    (tmp_path / "train.tar").write_bytes(tar_bytes(part(small_set(), "train"), "w"))
    assert "images below test/<class>/" in refusal(tmp_path / "train.tar")


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    path = write_folder(tmp_path, small_set())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12)
    assert "at most 12 pixels" in refusal(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    assert "decompression bomb" in refusal(path)


def test_more_than_the_memory_holds(tmp_path, monkeypatch):
    def refuse(*_):
        raise MemoryError

    path = write_folder(tmp_path, small_set())
    monkeypatch.setattr(np, "empty", refuse)
    assert "fit into memory, got 18 of 4x4 RGB" in refusal(path)


@pytest.mark.parametrize("name", ["/train/cat/x.png", "../train/cat/x.png", "train/../../x/y.png"])
@pytest.mark.parametrize("layout", ["tar", "zip", "shards"])
def test_members_that_point_outside_are_refused(tmp_path, layout, name):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = LAYOUTS[layout](inside, small_set() | {name: b"evil"})
    before = sorted(tmp_path.rglob("*"))
    if layout != "shards" or name.startswith("train"):
        assert "plain relative paths" in refusal(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_written(tmp_path):
    path = shards(tmp_path, small_set())
    before = sorted(tmp_path.rglob("*"))
    load_data(path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_archives_are_refused(tmp_path, kind):
    stream = io.BytesIO(tar_bytes(small_set(), "w"))
    with tarfile.open(fileobj=stream, mode="a") as archive:
        info = tarfile.TarInfo("train/cat/link.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    (tmp_path / "a.tar").write_bytes(stream.getvalue())
    assert "a link or device: train/cat/link.png" in refusal(tmp_path / "a.tar")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_a_pipe_in_a_folder_does_not_wait_for_ever(tmp_path):
    path = write_folder(tmp_path, small_set())
    os.mkfifo(path / "train" / "cat" / "pipe.png")
    assert "not a regular file" in refusal(path)


def test_two_members_of_one_name_are_refused(tmp_path):
    stream = io.BytesIO(tar_bytes(small_set(), "w"))
    with tarfile.open(fileobj=stream, mode="a") as archive:
        archive.addfile(tarfile.TarInfo("train/cat/0.png"))
    (tmp_path / "a.tar").write_bytes(stream.getvalue())
    assert "two: train/cat/0.png" in refusal(tmp_path / "a.tar")


def test_an_archive_cut_between_two_members_is_noticed(tmp_path):
    files = small_set()
    whole = tar_bytes(files, "w")
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        last = archive.getmembers()[-1].offset
    (tmp_path / "a.tar").write_bytes(whole[:last])
    assert "breaks off" in refusal(tmp_path / "a.tar")


PACKED = {
    suffix: pack(small_set(("a", "b"), train=2, test=1))
    for suffix, pack in {
        ".tar": lambda files: tar_bytes(files, "w"),
        ".tar.gz": tar_bytes,
        ".tar.bz2": lambda files: tar_bytes(files, "w:bz2"),
        ".tar.xz": lambda files: tar_bytes(files, "w:xz"),
        ".zip": zip_bytes,
    }.items()
}


def load_bytes(suffix: str, data: bytes) -> ImageData:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a{suffix}")
        path.write_bytes(data)
        return load_data(path)


@pytest.mark.parametrize("suffix", PACKED)
@given(data=st.binary(max_size=2000))
@settings(max_examples=EXAMPLES)
def test_random_bytes_are_no_archive(suffix, data):
    with pytest.raises(InputError):
        load_bytes(suffix, data)


@pytest.mark.parametrize("suffix", PACKED)
@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=EXAMPLES)
def test_truncated_archives_are_refused(suffix, share):
    whole = PACKED[suffix]
    end = len(whole.rstrip(b"\0")) if suffix == ".tar" else len(whole)  # the rest is padding
    with pytest.raises(InputError):
        load_bytes(suffix, whole[: int(share * end)])


@pytest.mark.parametrize("suffix", PACKED)
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
@settings(max_examples=EXAMPLES)
def test_damaged_archives_load_or_are_refused(suffix, place, value):
    damaged = bytearray(PACKED[suffix])
    damaged[int(place * len(damaged))] = value
    with suppress(InputError):
        assert len(load_bytes(suffix, bytes(damaged)).classes) == 2


@pytest.mark.parametrize("kind", known_formats())
@given(place=st.floats(0, 1, exclude_max=True), value=st.binary(max_size=4), cut=st.booleans())
@settings(max_examples=EXAMPLES)
def test_damaged_images_load_or_are_refused(kind, place, value, cut):
    if kind == "MPO":
        whole = encode(picture("x", size=8), "JPEG")
    else:
        whole = encode(picture("x", size=8), kind)
    at = int(place * len(whole))
    damaged = whole[:at] + value + (b"" if cut else whole[at + len(value) :])
    files = dict.fromkeys(small_set(("a", "b"), train=1, test=1), damaged)
    with suppress(InputError):
        assert load_bytes(".tar", tar_bytes(files, "w")).train_images.shape[0] == 2


@given(st.binary(max_size=300))
@settings(max_examples=EXAMPLES)
def test_random_bytes_are_no_image(data):
    files = small_set(("a", "b"), train=1, test=1) | {"train/a/0.png": data}
    with pytest.raises(InputError):
        load_bytes(".tar", tar_bytes(files, "w"))


@given(st.text(), st.sampled_from([None, "train"]))
def test_any_member_name_has_a_place_or_none_or_is_refused(name, default):
    with suppress(InputError):
        spot = place(name, default, "a.tar")
        assert spot is None or (spot[0] in ("train", "test") and spot[1] and spot[2])


def test_the_order_of_creation_does_not_matter(tmp_path):
    files = list(small_set().items())
    random.Random(0).shuffle(files)
    a = load_data(write_folder(tmp_path / "a", dict(files)))
    b = load_data(write_folder(tmp_path / "b", dict(reversed(files))))
    assert same(a, b)
