from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.config.document import parse_document
from haloy.errors import ConfigError


def _yaml(text: str) -> Any:
    return parse_document(text, "f.yaml", "yaml").value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("1.10", 1.1),
        (".5", 0.5),
        ("5e3", 5000.0),
        ("1.2.3", "1.2.3"),
        ("~", None),
        ("null", None),
        ("nullx", "nullx"),
        ("true", True),
        ("True", True),
        ("'true'", "true"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    """The core schema (YAML 1.2 section 10.3): no yes/no, base 60, octal or dates."""
    assert _yaml(f"a: {text}") == {"a": value}


def test_anchors_and_merge_keys() -> None:
    """Anchors and merge keys work, also where a deeper one is merged again."""
    text = "x-base:\n  deep: &b {<<: &a {q: 1, r: 2}, q: 3}\nc: {<<: *b, s: 4}\nd: *a\n"
    assert _yaml(text) == {
        "x-base": {"deep": {"q": 3, "r": 2}},
        "c": {"q": 3, "r": 2, "s": 4},
        "d": {"q": 1, "r": 2},
    }


def test_what_a_merge_key_gives() -> None:
    """A key of its own wins, then that of the mapping named first."""
    text = "a: &a {name: 1, port: 1}\nb: &b {name: 2, path: 2}\n"
    assert _yaml(f"{text}c: {{<<: [*b, *a], path: 3}}")["c"] == {
        "name": 2,
        "port": 1,
        "path": 3,
    }
    with pytest.raises(ConfigError, match="<< takes a mapping or a list of them"):
        _yaml(f"{text}c: {{<<: [*a, 3]}}")


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("\ta: 1", 1, "spaces, not tabs"),
        ("a:\n\tb: 1", 2, "spaces, not tabs"),
        ("name x\nb: 2", 2, "colon missing in the line above"),
        ("b: 2\nname\n", 2, "colon missing"),
        ("a: b: c", 1, "quotes"),
        ("a: @x", 1, "quotes"),
        ("a: %x", 1, "quotes"),
        ("a:\n  b: 1\n   c: 2", 3, "indentation"),
        ("a:\n  - b\n - c", 3, "same column"),
    ],
)
def test_yaml_mistakes_are_shown_with_a_hint(text: str, line: int, hint: str) -> None:
    """A syntax error has its line, the lines around it and what is likely meant."""
    with pytest.raises(ConfigError) as caught:
        _yaml(text)
    assert caught.value.line == line
    assert hint in caught.value.reason
    shown = text.splitlines()[line - 1]
    assert f"> {line:4} | {shown}" in caught.value.reason


@pytest.mark.parametrize(
    "text",
    ["a: 1\nb: 2\na: 3", "x:\n  a: 1\n  a: 2", "a: {b: 1, b: 2}", "[{a: 1, a: 2}]"],
)
def test_a_key_that_stands_twice_is_refused(text: str) -> None:
    """The last one does not silently win."""
    with pytest.raises(ConfigError, match="twice") as caught:
        _yaml(text)
    assert caught.value.line


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [id]",
        "a: !custom x",
        "? [a]\n: 1",
        "a: &a [*a]",
        "a: *nope",
        "[" * 3000,
        "a: \x00",
        "a: 1\n---\nb: 2",
        "x: " + "9" * 5000,
        "a: 'x",
        'a: !!int "x"',
        'a: !!float "x"',
        'a: !!bool "x"',
        'a: !!timestamp "x"',
        'a: !!binary "x"',
    ],
)
def test_hostile_yaml_is_an_error(text: str) -> None:
    """No tag makes an object, and no nesting or number overwhelms the reader."""
    with pytest.raises(ConfigError):
        _yaml(text)


@pytest.mark.parametrize("kind", ["json", "toml"])
@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000 + "]" * 5000])
def test_hostile_json_and_toml(kind: str, value: str) -> None:
    """Python's limits are not the reader's matter."""
    text = f'{{"a": {value}}}' if kind == "json" else f"a = {value}"
    with pytest.raises(ConfigError, match=r"too many digits|too deeply"):
        parse_document(text, "f", kind)


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_what_is_shown_around_a_mistake_has_no_secrets(kind: str) -> None:
    """Nor a line without an end: CI keeps its logs."""
    row = '"password": "s3cret",'
    text = f"{{{row}\n{'x' * 9000} ]"
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "f", kind)
    assert "s3cret" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_alias_bombs_are_refused() -> None:
    """Aliases count each time they are used (reliability section 5)."""
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(ConfigError, match="50000"):
        _yaml("\n".join(rows))


@pytest.mark.parametrize("kind", ["yaml", "json", "toml"])
def test_a_file_over_a_mebibyte_is_refused(kind: str) -> None:
    """Whatever the format."""
    with pytest.raises(ConfigError, match="1 MiB"):
        parse_document("#" * (1 << 20) + "#", "f", kind)


def test_lines_of_keys() -> None:
    """Every key and list entry knows its line; what is unknown falls back."""
    document = parse_document("a: 1\n# c\nb:\n  - x: 1\n  - y: 2\n", "f", "yaml")
    assert document.line(("a",)) == 1
    assert document.line(("b", 1, "y")) == 5
    assert document.line(("b", 1, "nope")) == 5
    assert document.line(("nope",)) == 1
    assert parse_document("", "f", "yaml").line(("a",)) == 0


def test_lines_of_json_keys() -> None:
    """JSON has lines too, also when it is indented with tabs."""
    document = parse_document('{\n\t"a": 1,\n\t"b": [\n\t\t{"c": 2}]}', "f", "json")
    assert document.value == {"a": 1, "b": [{"c": 2}]}
    assert document.line(("b", 0, "c")) == 4


def test_lines_of_toml_keys() -> None:
    """TOML has lines for tables, arrays of tables and keys."""
    text = 'a = 1\n[b]\nc = 2\n[[d]]\ne = 1\n[[d]]\ne = 2\n[t."x.y"]\nz = 1\n'
    document = parse_document(text, "f", "toml")
    assert document.line(("b", "c")) == 3
    assert document.line(("d", 1, "e")) == 7
    assert document.line(("d", 0)) == 4
    commented = parse_document("# c\n\na = 1\n", "f", "toml")
    assert commented.line(("a",)) == 3


def test_json_that_yaml_cannot_read_has_no_lines() -> None:
    """DEL stands in JSON texts and in no YAML; the lines are a help, not a must."""
    document = parse_document('{"a": "\x7f", "b": 1}', "f", "json")
    assert document.value == {"a": "\x7f", "b": 1}
    assert document.line(("b",)) == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"a": 1,}', 1),
        ('{\n"a": 1\n"b": 2}', 3),
        ('{"a": 1,\n"a": 2}', 1),
        ("nope", 1),
        ("[" * 5000, 0),
        ('{"a": ' + "9" * 5000 + "}", 0),
    ],
)
def test_broken_json(text: str, line: int) -> None:
    """A JSON error has its line where there is one."""
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "f.json", "json")
    assert caught.value.line == line


@pytest.mark.parametrize("text", ["a = 1\na = 2", "a", "a = ", "[a\n", "a = 1\n[a]\n"])
def test_broken_toml(text: str) -> None:
    """A TOML error is told with the file."""
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "f.toml", "toml")
    assert caught.value.path == "f.toml"


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_an_empty_document_is_nothing(kind: str) -> None:
    """Comments and blank lines are no value."""
    assert parse_document(" \n", "f", kind).value is None


@given(st.text(max_size=60), st.sampled_from(["yaml", "json", "toml"]))
def test_any_text_is_a_document_or_an_error(text: str, kind: str) -> None:
    """No text makes the readers fail in another way."""
    path = ""
    try:
        parse_document(text, "f", kind)
    except ConfigError as problem:
        path = problem.path
    assert path in ("", "f")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=6),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_json_is_read_as_json(value: object) -> None:
    """What is valid JSON reads as what it says."""
    assert parse_document(json.dumps(value), "f", "json").value == value
