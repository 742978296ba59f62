from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from haloy.config.client_edit import drop_server, put_server

FILE = """\
# my servers
servers:
    # production
    a.example.com:
        token_env: A  # do not share
    b.example.com:
        token_env: B

other: kept
"""


def test_a_server_is_added_at_the_end_of_the_list() -> None:
    """Comments and other keys stay where they are."""
    assert put_server(FILE, "c.example.com", {"token_env": "C"}) == FILE.replace(
        "        token_env: B\n",
        "        token_env: B\n    c.example.com:\n        token_env: C\n",
    )


def test_a_server_is_taken_out() -> None:
    """Its lines go, no others."""
    assert drop_server(FILE, "b.example.com") == FILE.replace(
        "    b.example.com:\n        token_env: B\n", ""
    )
    assert drop_server(FILE, "nope") == FILE


def test_the_last_server_leaves_an_empty_list() -> None:
    """And another can be added to it."""
    text = drop_server("servers:\n    a:\n        token_env: A\n", "a")
    assert text == "servers:\n"
    assert put_server(text, "b", {"token_env": "B"}) == (
        "servers:\n    b:\n        token_env: B\n"
    )


@pytest.mark.parametrize(
    "text",
    ["", "# nothing yet\n", "other: 1\n", "other: 1", "servers:\n", "servers: {}"],
)
def test_the_first_server(text: str) -> None:
    """Whatever was there before."""
    added = put_server(text, "a:8443", {"token_env": "A", "ca_file": "/x.pem"})
    assert yaml.safe_load(added)["servers"] == {
        "a:8443": {"token_env": "A", "ca_file": "/x.pem"}
    }
    assert ("other" in text) == ("other" in added)


def test_a_list_in_braces_keeps_its_values() -> None:
    """Such a file is written anew."""
    text = "servers: {a: {token_env: A}, b: {token_env: B}}\nother: 1\n"
    assert yaml.safe_load(put_server(text, "c", {"token_env": "C"})) == {
        "servers": {
            "a": {"token_env": "A"},
            "b": {"token_env": "B"},
            "c": {"token_env": "C"},
        },
        "other": 1,
    }
    assert yaml.safe_load(drop_server(text, "a"))["servers"] == {
        "b": {"token_env": "B"}
    }
    assert drop_server(text, "nope") == text


NAMES = st.from_regex(r"\A[a-z]{1,6}(\.[a-z]{1,3})?(:[1-9]{1,3})?\Z")


@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=8))
def test_edits_do_what_they_say(edits: list[tuple[str, bool]]) -> None:
    """After any order of adding and removing the file says what was meant."""
    text = "# top\n"
    meant: dict[str, dict[str, str]] = {}
    for name, put in edits:
        entry = {"token_env": f"T_{len(meant)}"}
        if put:
            text = put_server(text, name, entry)
            meant[name] = entry
        else:
            text = drop_server(text, name)
            meant.pop(name, None)
        value = yaml.safe_load(text) or {}
        assert (value.get("servers") or {}) == meant
    assert text.startswith("# top\n")
