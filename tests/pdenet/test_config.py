"""Configurations survive the way to TOML and back; what does not fit is named."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import InputError
from pdenet.config import (
    from_mapping,
    from_toml,
    read_config,
    to_mapping,
    to_toml,
    with_overrides,
)


@dataclass(frozen=True)
class Network:
    widths: tuple[int, ...] = (16, 32)
    step_size: float = 1.0
    head_width: int | None = None
    pooling: Literal["average", "max"] = "average"

    def __post_init__(self) -> None:
        if self.step_size <= 0:
            raise InputError("a positive step_size", self.step_size, "write step_size = 0.5")


@dataclass(frozen=True)
class Training:
    data: str = "digits"
    epochs: int = 30
    flip: bool = False
    crop: tuple[int, float] = (1, 0.5)


@dataclass(frozen=True)
class Run:
    network: Network = Network()
    training: Training = Training()
    note: str | None = None


@dataclass(frozen=True)
class Needy:
    name: str
    parts: tuple[Training, ...] = ()
    spare: Network | None = None


floats = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
networks = st.builds(
    Network,
    widths=st.lists(st.integers()).map(tuple),
    step_size=floats.filter(lambda x: x > 0),
    head_width=st.none() | st.integers(),
    pooling=st.sampled_from(["average", "max"]),
)
trainings = st.builds(
    Training,
    data=texts,
    epochs=st.integers(),
    flip=st.booleans(),
    crop=st.tuples(st.integers(), floats),
)
needy = st.builds(
    Needy, name=texts, parts=st.lists(trainings).map(tuple), spare=st.none() | networks
)


@given(st.builds(Run, network=networks, training=trainings, note=st.none() | texts) | needy)
def test_round_trip_is_exact(config):
    again = from_toml(type(config), to_toml(config))
    assert again == config
    assert to_toml(again) == to_toml(config)
    assert repr(again) == repr(config)  # 1 and 1.0, 0.0 and -0.0 are equal but not the same
    assert from_mapping(type(config), to_mapping(config)) == config


@given(st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_any_text_gives_a_configuration_or_an_input_error(text):
    with contextlib.suppress(InputError):
        assert isinstance(from_toml(Run, text), Run)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


@settings(max_examples=50)  # they are slow to make
@given(
    st.dictionaries(
        st.sampled_from(["network", "training", "note", "epochs"]) | st.text(),
        st.dictionaries(st.sampled_from(["widths", "flip", "crop", "pooling", "data"]), values)
        | values,
    )
)
def test_any_mapping_gives_a_configuration_or_an_input_error(mapping):
    try:
        config = from_mapping(Run, mapping)
    except InputError:
        return
    assert from_toml(Run, to_toml(config)) == config


@given(st.binary())
def test_any_file_gives_a_configuration_or_an_input_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        assert isinstance(read_config(Run, path), Run)


def test_none_is_left_out_and_defaults_fill_in():
    assert "head_width" not in to_toml(Run())
    assert from_toml(Run, "") == Run()
    assert from_toml(Run, "[network]\nhead_width = 7").network == Network(head_width=7)


def test_integers_serve_as_numbers_and_become_floats():
    size = from_toml(Run, "[network]\nstep_size = 2").network.step_size
    assert isinstance(size, float)
    assert "step_size = 2.0" in to_toml(Run(network=Network(step_size=2)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nepoch = 3", r"a key of \[training\] .*'epoch'; did you mean 'epochs' in"),
        ("epochs = 3", r"a key of the top level .*'epochs'; 'epochs' belongs to \[training\]"),
        ("epoch = 3", r"did you mean 'epochs' in \[training\]\?"),
        ("[network]\nzzz = 3", r"'zzz'; remove it"),
        ("[training]\nepochs = true", "an integer for training.epochs in f.toml, got true"),
        ("[training]\nepochs = 3.0", "an integer for training.epochs in f.toml, got 3.0"),
        ("[training]\nepochs = '3'", "an integer for training.epochs in f.toml, got '3'"),
        ("[training]\nflip = 1", "true or false for training.flip in f.toml, got 1"),
        ("[training]\ndata = 1", "text for training.data in f.toml, got 1"),
        ("[network]\nstep_size = nan", "a finite number for network.step_size in f.toml, got nan"),
        ("[network]\nstep_size = -inf", "a finite number for network.step_size"),
        (f"[network]\nstep_size = 1{'0' * 400}", "a finite number for network.step_size"),
        (f"[network]\nstep_size = 1{'0' * 5000}", "valid TOML in f.toml"),
        ("[network]\nstep_size = true", "a finite number for network.step_size"),
        ("[network]\nstep_size = -1", r"a positive step_size, got -1\.0 in f.toml; write"),
        ("[network]\nwidths = 3", "an array for network.widths in f.toml, got 3"),
        ("[network]\nwidths = [1, 2.5]", r"an integer for network.widths\[1\] in f.toml, got 2.5"),
        ("[training]\ncrop = [1]", "an array of 2 values for training.crop"),
        ("[network]\npooling = 'mean'", "one of 'average', 'max' for network.pooling"),
        ("network = 3", r"a table \[network\] in f.toml, got 3"),
        ("a = 1\n[network\n", r"valid TOML in f.toml, got .*\(at line 2, column 9\)"),
        ("note = 'x'\nnote = 'y'", "valid TOML in f.toml, got .*line 2"),
        ("a = " + "[" * 5000, "TOML in f.toml"),
    ],
)
def test_errors_name_file_key_and_remedy(text, message):
    with pytest.raises(InputError, match=message) as caught:
        from_toml(Run, text, "f.toml")
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


def test_a_missing_key_is_named():
    with pytest.raises(InputError, match=r"a key name in f.toml, got none; add name = "):
        from_toml(Needy, "", "f.toml")


def test_files_name_themselves_and_the_line(tmp_path):
    good, bad, latin = tmp_path / "run.toml", tmp_path / "bad.toml", tmp_path / "latin.toml"
    good.write_bytes(b"\xef\xbb\xbfnote = 'saved on Windows'\r\n")
    bad.write_text("note = 'x'\n\n= 3\n")
    latin.write_bytes(b"note = 'x'\n# caf\xe9\n")
    assert read_config(Run, good) == Run(note="saved on Windows")
    with pytest.raises(InputError, match=r"bad.toml, got .*line 3"):
        read_config(Run, bad)
    with pytest.raises(
        InputError, match=r"UTF-8 text in .*latin.toml, got the byte 0xe9 at line 2"
    ):
        read_config(Run, latin)
    with pytest.raises(InputError, match=r"did you mean .*run.toml"):
        read_config(Run, tmp_path / "rnu.toml")


def test_writing_refuses_what_could_not_be_read_back():
    for config in (
        Run(training=Training(epochs=2.5)),
        Run(network=Network(step_size=math.inf)),
        Run(note="\udcff"),
        Run(training=Training(epochs=True)),
    ):
        with pytest.raises(InputError):
            to_toml(config)

    @dataclass(frozen=True)
    class Odd:
        limit: int | None = 5

    assert from_mapping(Odd, to_mapping(Odd())) == Odd()
    with pytest.raises(TypeError, match=r"Odd\.limit"):
        to_mapping(Odd(limit=None))


def test_overrides_set_nested_values_together():
    run = with_overrides(Run(), {"training.epochs": 3, "network.widths": [8], "note": "x"})
    assert run == Run(Network(widths=(8,)), Training(epochs=3), "x")
    assert with_overrides(run, {}) == run
    assert with_overrides(run, {"note": None}).note is None
    both = with_overrides(Run(), {"network": Network(widths=(1,)), "network.step_size": 2})
    assert both.network == Network(widths=(1,), step_size=2.0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training.epoch": 3}, r"'epoch'; did you mean 'epochs' in \[training\]"),
        ({"epochs": 3}, r"'epochs' belongs to \[training\]"),
        ({"training.epochs": "3"}, "an integer for training.epochs in the overrides, got '3'"),
        ({"training.epochs.more": 3}, r"a key of \[training\]"),
        ({"note.more": 3}, "a key of the top level"),
        ({"network.step_size": -1}, "a positive step_size"),
    ],
)
def test_bad_overrides_are_named(overrides, message):
    with pytest.raises(InputError, match=message):
        with_overrides(Run(), overrides)
