"""What an error may say of the server's inside."""

from __future__ import annotations

import pytest

from haloy.api.answers import told
from haloy.errors import EngineError, HaloyError, InvalidValue, NotFound


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (EngineError("open /var/lib/docker/x:\nno such file"), "open …: no such file"),
        (NotFound("dial tcp 10.0.0.3:80: refused"), "dial tcp …: refused"),
        (
            InvalidValue("'/a/b' is no path", field="volumes"),
            "volumes: '/a/b' is no path",
        ),
    ],
)
def test_what_is_told(problem: HaloyError, said: str) -> None:
    """One line; Docker's words without places (A20), the asker's own as they are."""
    assert told(problem) == said
