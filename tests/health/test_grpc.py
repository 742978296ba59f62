"""The messages of grpc.health.v1, held to real servers in C{test_probe}."""

from __future__ import annotations

import pytest

from haloy.health.grpc import question, verdict


def test_questions() -> None:
    """Empty for the whole server; a name of any length."""
    assert question("") == b"\0\0\0\0\0"
    assert question("a.B") == b"\0\0\0\0\x05\x0a\x03a.B"
    long = question("x" * 200)
    assert long == b"\0\0\0\0\xcb\x0a\xc8\x01" + b"x" * 200


@pytest.mark.parametrize(
    ("status", "code", "body", "passed", "reason"),
    [
        (200, b"0", b"\0\0\0\0\2\x08\1", True, "says SERVING"),
        (200, b"0", b"\0\0\0\0\2\x08\2", False, "says NOT_SERVING"),
        (200, b"0", b"\0\0\0\0\0", False, "says UNKNOWN"),
        (200, b"0", b"\0\0\0\0\2\x08\7", False, "nonsense"),
        (200, b"0", b"\0\0\0\0\3\x08\1", False, "nonsense"),
        (200, b"0", b"\0\0\0\0\2\x10\1", False, "nonsense"),
        (200, b"0", b"", False, "nonsense"),
        (200, b"0", b"\1\0\0\0\0", False, "nonsense"),
        (200, b"5", b"", False, "does not know the service"),
        (200, b"12", b"", False, "does not implement"),
        (200, b"14", b"", False, "grpc-status 14"),
        (200, b"", b"", False, "grpc-status missing"),
        (404, b"", b"", False, "HTTP 404"),
    ],
)
def test_answers(
    status: int, code: bytes, body: bytes, passed: bool, reason: str
) -> None:
    """Only SERVING is healthy; all else has its reason."""
    found, said = verdict(status, code, body)
    assert found is passed
    assert reason in said
