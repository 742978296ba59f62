"""What C{health.answer} takes for a status."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.health.answer import HEAD_LIMIT_BYTES, NOT_HTTP, StatusReader


def status_of(*pieces: bytes) -> int | None:
    """Return what is found in the last piece."""
    reader = StatusReader()
    for piece in pieces[:-1]:
        assert reader.feed(piece) is None
    return reader.feed(pieces[-1])


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((b"HTTP/1.1 200 OK\r\n",), 200),
        ((b"HTTP/1.0 503\n",), 503),
        ((b"HTTP/1.1 2", b"04 \r", b"\n"), 204),
        ((b"HTTP/1.1 103 Early\r\n", b"Link: x\r\n\r\nHTTP/1.1 404 No\r\n"), 404),
        ((b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 301 M\r\n",), 301),
        ((b"HTTP/1.1 099 Odd\r\n",), NOT_HTTP),
        ((b"HTTP/2 200\r\n",), NOT_HTTP),
        ((b"SSH-2.0-x", b"\n"), NOT_HTTP),
        ((b"x" * HEAD_LIMIT_BYTES, b"x"), NOT_HTTP),
        ((b"HTTP/1.1 103 Early\r\n", b"x" * HEAD_LIMIT_BYTES), NOT_HTTP),
    ],
)
def test_statuses(pieces: tuple[bytes, ...], status: int) -> None:
    """The final status counts, in whatever pieces; there is a limit to waiting."""
    assert status_of(*pieces) == status


@given(st.lists(st.binary(max_size=8), max_size=8))
def test_any_bytes(pieces: list[bytes]) -> None:
    """Whatever comes gives a status, none, or a wait for more."""
    reader = StatusReader()
    for piece in pieces:
        found = reader.feed(b"HTTP/1.1 2" + piece)
        assert found is None or found == NOT_HTTP or 200 <= found <= 299
