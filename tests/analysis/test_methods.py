"""Tables: order proved and observed, Chebyshev methods against their recurrence, names, errors."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import InputError
from analysis.exact import Quadratic
from analysis.methods import METHODS, lasting_name, method, register, tableau, unregister
from analysis.splitting import SplittingMethod
from analysis.stabilised import StabilisedMethod
from analysis.tableau import ButcherTableau
from analysis.tables.implicit import IMPLICIT as IMPLICIT_FAMILIES

TABLES = [n for n in METHODS if isinstance(method(n), ButcherTableau | StabilisedMethod)]
IMPLICIT = [
    name for base, family in IMPLICIT_FAMILIES.items() for name in family.descriptions(base)
]


def test_defaults_aliases_and_names():
    assert tableau("rkc1") is tableau("rkc1:stages=10, damping=0.05")
    assert tableau("rkc2").name == "rkc2:stages=10,damping=2/13"
    assert tableau(tableau("rkc2").name) == tableau("rkc2")
    assert tableau(" Euler ") is tableau("forward-euler")
    assert (tableau("ssprk22").A, tableau("ssprk22").b) == (tableau("heun").A, tableau("heun").b)
    assert tableau("theta").A == tableau("crank-nicolson").A
    assert tableau("theta:value=1e-1").b == (Fraction(9, 10), Fraction(1, 10))


@pytest.mark.parametrize("name", TABLES)
def test_every_listed_table_is_consistent_data(name):
    table = tableau(name)
    assert sum(table.b) == 1
    assert table.c == tuple(map(sum, table.A))
    assert all(
        isinstance(a, Fraction | Quadratic) for row in (*table.A, table.b, table.c) for a in row
    )
    assert table.explicit == (name not in IMPLICIT)
    assert table.fsal == (name in ("crank-nicolson", "theta"))
    assert hash(table) == hash(ButcherTableau(table.name, table.A, table.b))


@pytest.mark.parametrize("name", METHODS)
def test_every_listed_method_is_frozen_and_found_again(name):
    found = method(name)
    assert METHODS[name] and "\n" not in METHODS[name]
    assert method(found.name) is found
    assert pickle.loads(pickle.dumps(found)) == found
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.name = ""


def test_dormand_prince_with_its_seventh_stage_is_fsal():
    six = tableau("dopri5")
    A = [*([*row, 0] for row in six.A), [*six.b, 0]]
    seven = ButcherTableau("dopri5 pair", A, [*six.b, 0])
    assert seven.fsal and seven.order == 5 and seven.stages == 7
    assert not six.fsal and six.stages == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 0]], [1]), "square matrix A"),
        (([], []), "square matrix A"),
        (([[0], [0]], [1]), "square matrix A"),
        (([[0.5]], [1]), "exact table entries"),
        (([[True]], [1]), "exact table entries"),
        ((["half"], [1]), "a number for a table entry"),
        (([["1/0"]], [1]), "a number for a table entry"),
        (([[0]], ["1/2"]), "weights b that sum to 1, got the sum 1/2"),
        (([[0]], [1], [1]), "row sums"),
    ],
)
def test_a_table_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        ButcherTableau("bad", *arguments)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("eulr", "did you mean 'euler'"),
        ("", "expected a method out of"),
        ("rk4:stages=4", "'rk4' without parameters"),
        ("rkc1:stage=4", "did you mean 'stages'"),
        ("rkc1:stages", "write 'rkc1:stages=10'"),
        ("rkc1:stages=4,stages=5", "again"),
        ("rkc1:stages=four", "a number for 'stages'"),
        ("rkc1:stages=2.5", "a whole number from 1 to"),
        ("rkc1:stages=0", "a whole number from 1 to"),
        ("rkc2:stages=1", "a whole number from 2 to"),
        ("rkc1:stages=1000000", "a whole number from 1 to"),
        ("rkc1:damping=-0.1", "from 0 to"),
        ("rkc1:damping=nan", "a number for 'damping'"),
        ("rkc1:damping=1/0", "a number for 'damping'"),
        ("rkc1:damping=1e999999999", "a number for 'damping'"),
        ("rkc1:damping=", "a number for 'damping'"),
        ("theta:value=1.01", "from 0 to 1"),
        (7, "expected the name of a method"),
    ],
)
def test_a_bad_name_is_refused_in_one_line(name, message):
    with pytest.raises(InputError, match=message) as caught:
        tableau(name)
    assert "\n" not in str(caught.value)


def test_numbered_members_and_their_long_names():
    assert method("ab:steps=2") is method("ab2") is method(" AB2 ")
    assert method("bdf") is method("bdf2")
    assert method("gauss:stages=3").name == "gauss3"
    assert tableau("radau-iia2") is method("radau-iia:stages=2")
    assert method("am:steps=12").name == "am12"  # not listed, and there
    assert "am12" not in METHODS and "am" not in METHODS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bdf7", "'steps' of 'bdf' a whole number from 1 to 6, got 7"),
        ("ab0", "from 1 to 12, got 0"),
        ("gauss4", "'stages' of 'gauss' a whole number from 1 to 3"),
        ("ab2:steps=3", "'ab2' without parameters"),
        ("ssprk25", "a method out of"),
        ("abc2", "a method out of"),
        ("ab2222222", "a method out of"),
        ("bdf_2", "did you mean 'bdf2'"),
        ("verlt", "did you mean 'verlet'"),
        ("imex-eulr", "did you mean 'imex-euler'"),
        ("theta:value=sqrt(2)/2", "a rational number from 0 to 1, got sqrt"),
    ],
)
def test_names_of_other_kinds_are_refused_in_one_line(name, message):
    with pytest.raises(InputError, match=message) as caught:
        method(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bdf3", "a linear multistep method"),
        ("sbdf2", "an implicit-explicit multistep method"),
        ("imex-euler", "an additive Runge-Kutta pair"),
        ("stormer-verlet", "a splitting method"),
    ],
)
def test_what_has_no_table_says_what_it_is(name, words):
    with pytest.raises(InputError, match=f"a Runge-Kutta method, got '.*', {words}; choose one"):
        tableau(name)


@pytest.fixture
def registered():
    """A method of one's own, forgotten after the test."""
    added = ButcherTableau("ralston", [[0, 0], ["2/3", 0]], ["1/4", "3/4"])
    register(added, "Ralston's method,\n of least error")
    yield added
    unregister("ralston")


def test_a_registered_method_is_found_and_listed(registered):
    assert method("Ralston") is tableau("ralston") is registered
    assert METHODS["ralston"] == "Ralston's method, of least error"
    assert lasting_name(registered) == "table:A=0 0;2/3 0,b=1/4 3/4"
    again = ButcherTableau("ralston", [[0, 0], ["3/4", 0]], ["1/3", "2/3"])
    register(again)
    assert method("ralston") is again  # a cell of a notebook is run twice
    with pytest.raises(InputError, match="'ralston' without parameters"):
        method("ralston:x=1")
    with pytest.raises(InputError, match="did you mean 'ralston'"):
        method("ralstn")


def test_other_kinds_are_registered_too():
    added = SplittingMethod("swapped", [("implicit", 1), ("explicit", 1)])
    register(added)
    try:
        assert method("swapped").order == 1
        with pytest.raises(InputError, match="a Runge-Kutta table, got 'swapped', a splitting"):
            lasting_name(added)
    finally:
        unregister("swapped")
    assert "swapped" not in METHODS
    with pytest.raises(InputError, match="a method out of"):
        method("swapped")


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (ButcherTableau("heun", [[0]], [1]), "a name that is free, got 'heun'"),
        (ButcherTableau("imex-euler", [[0]], [1]), "a name that is free, got 'imex-euler'"),
        (ButcherTableau("bdf3", [[0]], [1]), "a name that is free, got 'bdf3'"),
        (ButcherTableau("rkc1", [[0]], [1]), "a name that is free, got 'rkc1'"),
        (ButcherTableau("table", [[0]], [1]), "a name of small letters"),
        (ButcherTableau("My method", [[0]], [1]), "a name of small letters"),
        (ButcherTableau("a:b", [[0]], [1]), "a name of small letters"),
        (ButcherTableau("mine.toml", [[0]], [1]), "a name of small letters"),
        ("heun", "a method: one of ButcherTableau, ImexMultistep.*got str"),
    ],
)
def test_what_cannot_be_registered(added, message):
    before = dict(METHODS)
    with pytest.raises(InputError, match=message):
        register(added)
    assert before == METHODS
    with pytest.raises(InputError, match="a method added by register"):
        unregister("heun")


@pytest.mark.parametrize("name", METHODS)
def test_names_that_last(name):
    found = method(name)
    assert lasting_name(found) == found.name
    assert method(lasting_name(found)) == found


def test_a_table_under_the_name_of_another_lasts_as_a_table():
    other = ButcherTableau("heun", [[0, 0], ["1/2", 0]], [0, 1])
    assert lasting_name(other) == "table:A=0 0;1/2 0,b=0 1"
    odd = ButcherTableau("rkc1: my own", [[0, 0], ["1/2", 0]], [0, 1])
    assert lasting_name(odd) == other.inline_name
    renamed = StabilisedMethod("mine", "rkc1", 4, Fraction(1, 20))
    assert lasting_name(renamed) == "rkc1:stages=4,damping=1/20"


@given(
    st.one_of(
        st.text(max_size=30),
        st.builds(
            "{}:{}={}".format,
            st.sampled_from(["rkc1", "rkl2", "theta", "euler", "bdf", "ab2", "gauss", "table"]),
            st.sampled_from(["stages", "damping", "value", "steps", "A", "x", ""]),
            st.text("0123456789./e+-, =;bA", max_size=8).filter(lambda t: len(t) < 3 or "e" in t),
        ),
    )
)
def test_any_text_gives_a_method_or_an_input_error(text):
    with contextlib.suppress(InputError):
        assert method(text).order >= 1
