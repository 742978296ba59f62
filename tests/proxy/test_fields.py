"""Fields: what is remembered of them, and which may follow a body."""

from __future__ import annotations

import pytest

from haloy.proxy.fields import (
    _LEARNED_LIMIT,
    _LINES_LIMIT,
    DROP,
    IN_REQUESTS,
    IN_RESPONSES,
    KEEP,
    PRIVATE,
    Actions,
    is_token,
    passable_trailers,
    without,
)


@pytest.mark.parametrize(
    ("name", "action"),
    [
        (b"X-Anything", KEEP),
        (b"Cookie", PRIVATE),
        (b"Keep-Alive", DROP),
        (b"X_Forwarded_For", DROP),
        (b"X-Forwarded-Whatever", DROP),
        (b"no token", -1),
        (b"", -1),
    ],
)
def test_actions(name: bytes, action: int) -> None:
    """Each name has its action; what is no token has none."""
    assert IN_REQUESTS.learn(name) == action
    assert IN_REQUESTS.by_name.get(name, -1) == action


def test_answers_may_name_what_requests_must_not() -> None:
    """Forging is a matter of requests."""
    assert IN_RESPONSES.learn(b"X-Forwarded-For") == KEEP


def test_memory_has_limits() -> None:
    """Names beyond the limit are not remembered; lines make room for newer ones."""
    actions = Actions({})
    for number in range(_LEARNED_LIMIT + 10):
        assert actions.learn(b"X-%d" % number) == KEEP
    assert len(actions.by_name) == _LEARNED_LIMIT
    for number in range(_LINES_LIMIT + 10):
        actions.keep_in_mind(b"X: %d" % number)
    assert len(actions.kept) == 10
    actions.keep_in_mind(b"X: " + b"y" * 200)
    assert len(actions.kept) == 10


def test_tokens() -> None:
    """A token has no space, no colon and at least one character."""
    assert is_token(b"X-A")
    assert not is_token(b"X A")
    assert not is_token(b"")


def test_what_connection_names_goes() -> None:
    """Unless the field is protected."""
    lines = [b"X-A: 1", b"Host: a", b"x-b: 2"]
    assert without(lines, [b"x-a", b"host", b""]) == [b"Host: a", b"x-b: 2"]
    assert without(lines, [b"close"]) is lines


def test_trailers() -> None:
    """Fields that steer something, and what is no field, are left out."""
    lines = [
        b"X-Sum: 1",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Set-Cookie: a=b",
        b"no colon",
        b"X : y",
        b": y",
        b"X-Nul: a\0",
        b"X-Last:2",
    ]
    assert passable_trailers(lines) == [b"X-Sum: 1", b"X-Last:2"]
