"""What is said over the WebSocket of an interactive command."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.api.terminal import (
    COMMAND_LIMIT,
    COMMAND_LIMIT_BYTES,
    Asked,
    EndOfInput,
    Exited,
    Refused,
    Resize,
    Start,
    Started,
    Told,
    decode_asked,
    decode_told,
    encode_asked,
    encode_told,
)
from haloy.errors import InvalidValue


@pytest.mark.parametrize(
    "message",
    [
        Start(("sh", "-l"), True, "abc", 100, 40),
        Start(("true",)),
        Resize(1, 1000),
        EndOfInput(),
    ],
)
def test_asked_comes_as_it_was_sent(message: Asked) -> None:
    """Every message of a client."""
    assert decode_asked(encode_asked(message)) == message


@pytest.mark.parametrize(
    "message", [Exited(0), Exited(137), Refused("engine", "why"), Started("abc")]
)
def test_told_comes_as_it_was_sent(message: Told) -> None:
    """Every message of a server."""
    assert decode_told(encode_told(message)) == message


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("", "message"),
        ("[]", "message"),
        ("{" * 100_000, "message"),
        ({}, "type"),
        ({"type": "other"}, "type"),
        ({"type": "end", "x": 1}, "x"),
        ({"type": "resize", "columns": 80}, "rows"),
        ({"type": "resize", "columns": 0, "rows": 1}, "columns"),
        ({"type": "resize", "columns": True, "rows": 1}, "columns"),
        ({"type": "resize", "columns": 1001, "rows": 1}, "columns"),
        ({"type": "resize", "columns": 1, "rows": 1, "x": 1}, "x"),
        ({"type": "start"}, "command"),
        ({"type": "start", "command": []}, "command"),
        ({"type": "start", "command": "ls"}, "command"),
        ({"type": "start", "command": ["a\0"]}, "command"),
        ({"type": "start", "command": ["a"] * (COMMAND_LIMIT + 1)}, "command"),
        ({"type": "start", "command": ["a" * COMMAND_LIMIT_BYTES]}, "command"),
        ({"type": "start", "command": ["\ud800" * 50_000]}, "command"),
        ({"type": "start", "command": ["a"], "tty": 1}, "tty"),
        ({"type": "start", "command": ["a"], "containerId": 1}, "containerId"),
        ({"type": "start", "command": ["a"], "rows": "24"}, "rows"),
        ({"type": "start", "command": ["a"], "user": "root"}, "user"),
    ],
)
def test_odd_messages_name_the_field(message: object, field: str) -> None:
    """Nothing else is taken."""
    text = message if isinstance(message, str) else json.dumps(message)
    with pytest.raises(InvalidValue) as refused:
        decode_asked(text)
    assert refused.value.field == field


@pytest.mark.parametrize("code", ["x", True, None])
def test_odd_answers(code: object) -> None:
    """A server that is none of ours."""
    with pytest.raises(InvalidValue):
        decode_told(json.dumps({"type": "exit", "code": code}))


@given(st.text())
def test_any_text_is_a_message_or_a_refusal(text: str) -> None:
    """Nothing else comes out."""
    for decode in (decode_asked, decode_told):
        try:
            decode(text)
        except InvalidValue:
            continue
