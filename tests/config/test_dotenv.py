from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.config.dotenv import parse_env, quoted, set_in

FILE = """\
# a comment
export A=1
B="x\\$y\\!\\n${A}\\"" # behind
C='$A "q" \\n'
D = plain # comment
E=a#b
F=
G=$A-${A}-$NOPE-\\$A

H="two
lines"
not an assignment
I: colon
J="unterminated
K=5
A=2"""


def test_every_form() -> None:
    """Quotes, comments, export and references; what is no assignment is left out."""
    read = parse_env(FILE)
    assert dict(read.values) == {
        "A": "2",
        "B": 'x$y!\n1"',
        "C": '$A "q" \\n',
        "D": "plain",
        "E": "a#b",
        "F": "",
        "G": "1-1-$NOPE-$A",
        "H": "two\nlines",
        "I": "colon",
        "K": "5",
    }
    assert read.bad_lines == (12, 14)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("123", "123"),
        ("-5", "-5"),
        ("007", '"007"'),
        ("4f0c", '"4f0c"'),
        ("", '""'),
        ('a\\b"c$d`e!f\ng', '"a\\\\b\\"c\\$d\\`e\\!f\\ng"'),
    ],
)
def test_values_are_written_as_the_go_client_writes_them(
    value: str, written: str
) -> None:
    """Integers bare, everything else in double quotes with five escapes."""
    assert quoted(value) == written


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30))
def test_what_is_written_is_read(value: str) -> None:
    """No value changes on its way through the file."""
    text = set_in("# kept\nOTHER=1\n", "NAME", value)
    assert parse_env(text).values == {"OTHER": "1", "NAME": value}


def test_other_lines_stay() -> None:
    """CLI section 6: comments, order and other variables survive an edit."""
    text = set_in(FILE, "H", "one")
    assert text == FILE.replace('H="two\nlines"', 'H="one"') + "\n"
    assert set_in(FILE, "H", None) == FILE.replace('H="two\nlines"\n', "") + "\n"
    assert set_in(FILE, "NOPE", None) == FILE + "\n"


def test_a_variable_that_stands_twice_is_set_once() -> None:
    """The first place is kept, later ones go."""
    assert set_in("A=1\nB=2\nA=3\n", "A", "9") == "A=9\nB=2\n"


def test_a_new_variable_comes_last() -> None:
    """Also where the file lacks its last newline."""
    assert set_in("A=1", "B", "x") == 'A=1\nB="x"\n'
    assert set_in("", "B", "x") == 'B="x"\n'


def test_windows_line_ends() -> None:
    """They are no part of a value."""
    assert parse_env("A=1\r\nB='x'\r\n").values == {"A": "1", "B": "x"}


def test_a_value_is_not_shown() -> None:
    """The text form of an assignment hides the value."""
    assert "hunter2" not in repr(parse_env("A=hunter2"))


@given(st.text(max_size=60))
def test_any_text_is_read(text: str) -> None:
    """No text makes the reader fail, and an edit leaves the variable as it was set."""
    parse_env(text)
    if parse_env(text).bad_lines == () and '"' not in text and "'" not in text:
        assert parse_env(set_in(text, "ZZ", "v")).values.get("ZZ") == "v"
