"""How C{config.section} reads values."""

from __future__ import annotations

from typing import Any

import pytest

from haloy.config.document import parse_document
from haloy.config.section import (
    Section,
    as_boolean,
    as_endpoint,
    as_https,
    as_text,
    as_texts,
    between_s,
    one_of,
    whole,
)
from haloy.errors import ConfigError, InvalidValue


def section(text: str) -> Section:
    document = parse_document(text, "a.yaml", "yaml")
    return Section(document, (), document.value)


def test_error_has_path_line_and_the_whole_key() -> None:
    """Also inside of a mapping."""
    inner = section("one:\n  two: 3\n").section("one")
    with pytest.raises(ConfigError, match=r"a\.yaml:2: one\.two: must be text"):
        inner.get("two", "", as_text)


def test_absent_and_null_are_the_default() -> None:
    """C{enabled: null} is what C{init} of the Go daemon writes."""
    found = section("one: null\n")
    assert found.get("one", "x", as_text) == "x"
    assert found.get("two", "y", as_text) == "y"
    assert found.section("one").values == {}


def test_what_is_no_mapping_is_refused() -> None:
    """With its own key."""
    with pytest.raises(ConfigError, match="one: must be a mapping"):
        section("one: [1]\n").section("one")


def test_unknown_key_is_refused_with_what_is_known() -> None:
    """The nearest one, or all."""
    with pytest.raises(ConfigError, match="did you mean 'listen'"):
        section("lisen: 1\n").only("listen", "domain")
    with pytest.raises(ConfigError, match="known: listen, domain"):
        section("zzz: 1\n").only("listen", "domain")


@pytest.mark.parametrize(
    ("read", "good", "bad"),
    [
        (as_text, "a", 1),
        (as_texts, ["a"], "a"),
        (as_texts, [], [1]),
        (as_boolean, True, 1),
        (whole(1, 5), 5, 6),
        (whole(0, 1), 1, True),
        (whole(0, 1), 0, 0.5),
        (one_of("a", "b"), "b", "c"),
        (as_endpoint, "[::]:80", "::1:80"),
        (as_endpoint, ":80", "80"),
        (as_endpoint, "a:65535", "a:65536"),
        (as_https, "https://a", "http://a"),
    ],
)
def test_values(read: Any, good: object, bad: object) -> None:
    """What is read is what was written; anything else is an error."""
    found = read(good, "key")
    assert (list(found) if isinstance(found, tuple) else found) == good
    with pytest.raises(InvalidValue):
        read(bad, "key")


def test_durations_are_seconds() -> None:
    """Within their bounds."""
    assert between_s(1, 100)("1m30s", "key") == 90.0
    with pytest.raises(InvalidValue):
        between_s(1, 100)("2m", "key")
