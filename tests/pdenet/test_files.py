"""Files are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from analysis.errors import InputError
from pdenet.files import missing_path, open_atomic, read_file, write_atomic


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def write_half(path: Path, failure: type[BaseException], beside: str | None = None) -> None:
    with open_atomic(path) as temporary:
        temporary.write_text("half")
        if beside:
            (temporary.parent / beside).write_text("")
        raise failure


def test_writes_text_and_bytes_and_makes_parents(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "text.txt", "größe\n")
    write_atomic(str(tmp_path / "data.bin"), b"\x00\xff")
    assert (tmp_path / "a/b/text.txt").read_bytes() == "größe\n".encode()
    assert (tmp_path / "data.bin").read_bytes() == b"\x00\xff"
    assert names(tmp_path) == {"a", "a/b", "a/b/text.txt", "data.bin"}


def test_replaces_what_was_there(tmp_path):
    path = tmp_path / "x.txt"
    write_atomic(path, "long old text")
    write_atomic(path, "new")
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="permission bits of POSIX")
def test_permissions_are_those_of_an_ordinary_new_file(tmp_path):
    (tmp_path / "ordinary").write_text("")
    write_atomic(tmp_path / "ours", "")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "ours")}
    assert len(modes) == 1


def test_writers_that_want_a_path_see_its_ending(tmp_path):
    with open_atomic(tmp_path / "deep" / "values.npz") as temporary:
        assert temporary.suffix == ".npz"
        assert temporary.parent == tmp_path / "deep"
        np.savez(temporary, x=np.arange(3))
        assert not (tmp_path / "deep" / "values.npz").exists()
    assert np.load(tmp_path / "deep" / "values.npz")["x"].tolist() == [0, 1, 2]
    assert names(tmp_path / "deep") == {"values.npz"}


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path, failure):
    write_atomic(tmp_path / "kept.txt", "old")
    for path in (tmp_path / "kept.txt", tmp_path / "new" / "folder" / "x.txt"):
        with pytest.raises(failure):
            write_half(path, failure)
    assert (tmp_path / "kept.txt").read_text() == "old"
    assert names(tmp_path) == {"kept.txt"}


def test_failure_in_the_last_moment_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match="No space left on device"):
        write_atomic(tmp_path / "new" / "x.txt", "text")
    assert names(tmp_path) == set()


def test_folders_of_others_stay(tmp_path):
    with pytest.raises(RuntimeError):
        write_half(tmp_path / "new" / "x.txt", RuntimeError, beside="theirs")
    assert names(tmp_path) == {"new", "new/theirs"}


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"expected a file to write, got the folder .*; add"):
        write_atomic(tmp_path, "x")
    with pytest.raises(InputError, match=r"a place to write .*x\.txt, got .*; check the folder"):
        write_atomic(tmp_path / "file" / "x.txt", "x")
    with pytest.raises(InputError, match="Unicode"):
        write_atomic(tmp_path / "y", "\udcff")
    assert names(tmp_path) == {"file"}


def test_a_writer_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(InputError, match="a place to write"), open_atomic(tmp_path / "x"):
        pass
    assert names(tmp_path) == set()


@pytest.mark.skipif(os.name == "nt", reason="links and devices of POSIX")
def test_links_are_followed_and_devices_written_directly(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    write_atomic(os.devnull, "gone")


def test_missing_paths_name_near_ones(tmp_path):
    (tmp_path / "digits-run").mkdir()
    with pytest.raises(InputError, match=r"no such file.*did you mean .*digits-run\?"):
        read_file("a run", tmp_path / "digit-run" / "config.toml")
    assert "holds nothing of that name" in str(missing_path("a run", tmp_path / "zzzz"))
    with pytest.raises(InputError, match="the folder"):
        read_file("a run", tmp_path)
    with pytest.raises(InputError, match="a run"):
        read_file("a run", "null\0character")


def test_missing_relative_paths_name_near_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("network.toml").write_text("")
    assert "did you mean network.toml?" in str(missing_path("a file", "netwrok.toml"))
