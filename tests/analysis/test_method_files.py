"""Methods from files and from one line of text: what they give, and what is refused."""

from __future__ import annotations

import pytest

from analysis.errors import InputError
from analysis.exact import root
from analysis.method_files import inline_table, read_method
from analysis.methods import lasting_name, method, tableau
from analysis.multistep import ImexMultistep, MultistepMethod
from analysis.splitting import SplittingMethod
from analysis.tableau import ButcherTableau, ImexTableau

RALSTON = """
kind = "runge-kutta"
A = [[0, 0], ["2/3", 0]]
b = ["1/4", "3/4"]
"""


def file(folder, text, name="mine.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_table(tmp_path):
    path = file(tmp_path, RALSTON, "ralston.toml")
    found = read_method(path)
    assert found == ButcherTableau("ralston", [[0, 0], ["2/3", 0]], ["1/4", "3/4"])
    assert found.order == 2
    assert method(path) == tableau(path) == found
    assert method(f"  {path} ") == found
    assert lasting_name(found) == found.inline_name == "table:A=0 0;2/3 0,b=1/4 3/4"
    again = tableau(found.inline_name)
    assert (again.A, again.b, again.name) == (found.A, found.b, found.inline_name)


def test_the_other_kinds(tmp_path):
    pair = read_method(
        file(
            tmp_path,
            """
            kind = "imex"
            name = "euler twice"
            A = [[0, 0], [1, 0]]
            b = [1, 0]
            A_implicit = [[0, 0], [0, 1]]
            b_implicit = [0, 1]
            """,
        )
    )
    known = method("ars111")
    assert isinstance(pair, ImexTableau)
    assert (pair.name, pair.order) == ("euler twice", 1)
    assert (pair.explicit.A, pair.explicit.b) == (known.explicit.A, known.explicit.b)
    assert (pair.implicit.A, pair.implicit.b) == (known.implicit.A, known.implicit.b)

    text = 'kind = "multistep"\nalpha = ["1/2", -2, "3/2"]\nbeta = [-1, 2, 0]\n'
    found = read_method(
        file(tmp_path, 'kind = "multistep"\nalpha = [0, -1, 1]\nbeta = ["-1/2", "3/2", 0]')
    )
    assert isinstance(found, MultistepMethod)
    assert (found.alpha, found.beta) == (method("ab2").alpha, method("ab2").beta)
    found = read_method(file(tmp_path, text + "beta_implicit = [0, 0, 1]"))
    assert isinstance(found, ImexMultistep)
    assert found.beta_implicit == method("sbdf2").beta_implicit

    flows = 'kind = "splitting"\nflows = [["kick", "1/2"], ["drift", 1], ["kick", "1/2"]]'
    found = read_method(file(tmp_path, flows))
    assert isinstance(found, SplittingMethod)
    assert found.flows == method("verlet").flows


def test_roots_in_files_and_lines(tmp_path):
    text = """
    kind = "runge-kutta"
    A = [["1-sqrt(2)/2", 0], ["sqrt(2)/2", "1-sqrt(2)/2"]]
    b = ["sqrt(2)/2", "1-sqrt(2)/2"]
    """
    found = read_method(file(tmp_path, text))
    assert (found.A, found.b) == (tableau("sdirk2").A, tableau("sdirk2").b)
    assert found.b[0] == root(2) / 2
    again = method(found.inline_name)
    assert (again.A, again.order) == (found.A, 2)


@pytest.mark.parametrize("name", ["rk4", "gauss3", "radau-iia3", "tsit5", "rkc1:stages=5"])
def test_every_table_is_found_again_by_its_line(name):
    table = tableau(name)
    again = inline_table(table.inline_name.partition(":")[2])
    assert (again.A, again.b) == (table.A, table.b)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A = [[0]]\nb = 1 2", r"TOML in '.*mine.toml', got .*line 2"),
        (RALSTON + "b = [1]\n", r"TOML in .*line 5"),
        ("A = [[0]", "TOML in .*end of document"),
        (RALSTON.replace("runge-kutta", "runge"), "kind in .* one of runge-kutta.*got 'runge'"),
        ("A = [[0]]\nb = [1]", "kind in .*got none; write kind"),
        ('kind = 3', "kind in .*got 3"),
        ('kind = "runge-kutta"\nb = [1]', "the key A of kind runge-kutta in .*got none; add it"),
        (RALSTON + "c = [0, 1]", "key of kind runge-kutta.*got 'c'"),
        (RALSTON + "B = [0, 1]", "did you mean 'b'"),
        (RALSTON + 'name = ""', "name as text"),
        (RALSTON.replace('"1/4"', "0.25"), r"exact table entries.*in '.*mine.toml', got 0.25"),
        (RALSTON.replace('"1/4"', '"x"'), "a number for a table entry in .*got 'x'"),
        (RALSTON.replace('"1/4"', '"1/3"'), "weights b that sum to 1 in .*got the sum 13/12"),
        (RALSTON.replace("[0, 0], ", ""), "a square matrix A"),
        ('kind = "runge-kutta"\nA = [0]\nb = [1]', "A as a list of lists"),
        ('kind = "runge-kutta"\nA = [[0]]\nb = [[1]]', "b as a list of numbers"),
        ('kind = "runge-kutta"\nA = [[0], 1]\nb = [1]', "A as one list.*numbers beside lists"),
        ('kind = "runge-kutta"\nA = []\nb = [1]', r"A as a list in .*got \[\]"),
        ('kind = "runge-kutta"\nA = 1\nb = [1]', "A as a list in .*got 1"),
        ('kind = "multistep"\nalpha = [1, 1]\nbeta = [0, 1]', "a consistent method"),
        ('kind = "splitting"\nflows = [["drift"]]', "flows as pairs"),
        ('kind = "splitting"\nflows = [["drift", 1], ["push", 1]]', "flows of explicit"),
        (
            'kind = "imex"\nA = [[0]]\nb = [1]\nA_implicit = [[1]]\nb_implicit = [1]',
            "equal abscissae",
        ),
        ("a = " + "[" * 5000, "TOML in"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        method(file(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"a method file at .*none.toml', got No such file"):
        method(str(tmp_path / "none.toml"))
    with pytest.raises(InputError, match="a method file at"):
        method("\0.toml")
    with pytest.raises(InputError, match="a method file at"):
        method("x" * 5000 + ".toml")
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    with pytest.raises(InputError, match="a method file at"):
        method(str(folder))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="a text file in UTF-8"):
        method(str(tmp_path / "bytes.toml"))
    (tmp_path / "long.toml").write_text("#" * 1_000_001)
    with pytest.raises(InputError, match="at most 1000000 bytes"):
        method(str(tmp_path / "long.toml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a table as A=0 0"),
        ("A=0", "a table as A=0 0"),
        ("b=1,A=0", "a table as A=0 0"),
        ("A=0,c=1", "a table as A=0 0"),
        ("A=0 0;1,b=0 1", "a square matrix A"),
        ("A=0,b=", "a square matrix A"),
        ("A=0,b=1/2", "sum to 1"),
        ("A=x,b=1", "a number for a table entry"),
        ("A=0,b=1,damping=2", "a number for a table entry"),
    ],
)
def test_bad_lines_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        method(f"table:{text}")
