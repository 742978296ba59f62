from __future__ import annotations

import pytest

from haloy.config.document import parse_document
from haloy.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> x\n", (2, 1), "conflict"),
        ("a:\tb\n", (1, 3), "a space, not a tab"),
        ('a: "b\nc: d\n', (1, 4), "begins here is never closed"),
        ("a: b\nc: [ {d: e}\n", (2, 4), "begins here is never closed"),
        ("a: b\nc: [\n\n", (2, 1), "a [ or { is never closed"),
        ("a: b\n---\nc: d\n", (2, 1), "a second document"),
        ('a: !!python/name:os.system ""\n', (1, 4), "a tag ('tag:yaml.org,2002:python"),
        ("a: b\0c\n", (1, 0), "U+0000"),
    ],
)
def test_mistakes_are_named(text: str, place: tuple[int, int], said: str) -> None:
    """What is wrong is told as people know it, at the place where it begins."""
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "f.yaml", "yaml")
    assert said in caught.value.reason
    assert (caught.value.line, caught.value.column) == place


def test_less_than_signs_in_a_value_are_no_conflict() -> None:
    """Only what is no YAML is looked through for git's marks."""
    text = "a: |\n  x\n  <<<<<<< HEAD\n"
    assert parse_document(text, "f", "yaml").value == {"a": "x\n<<<<<<< HEAD\n"}
