"""Lines that messages show."""

from __future__ import annotations

import pytest

from haloy.config.excerpt import shown_line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("port: abc  \n", "port: abc"),
        ("\tport: 1", "\tport: 1"),
        ("value: s3cret", "value: ***"),
        ("  - {name: A, value: s3cret}", "  - {name: A, value: ***"),
        ('  "token" = "s3cret"', '  "token" = ***'),
        ("evaluate: it", "evaluate: it"),
        ("x" * 500, "x" * 120),
    ],
)
def test_what_is_shown(line: str, shown: str) -> None:
    """No literal that may be a secret, and no more than a line of a terminal or two."""
    assert shown_line(line) == shown
