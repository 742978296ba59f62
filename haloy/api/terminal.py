"""What is said over the WebSocket of an interactive command (C{GET /v1/exec/{app}}).

The client's first message is text, C{{"type": "start", "command": […]}}. Then bytes
are input from the client, and output from the server with one byte before it: 1 for
the first stream, 2 for the second. Everything else is text: C{resize} and C{end} (of
the input) from the client, C{started}, C{exit} and C{error} from the server, which
closes the connection after either of these two. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from haloy.errors import InvalidValue

#: The largest message either side takes.
MESSAGE_LIMIT_BYTES = 1 << 20
COMMAND_LIMIT = 1000
#: Docker hangs, and with it all that asks for the container, on a much longer one.
COMMAND_LIMIT_BYTES = 128 << 10
SIZE_LIMIT = 1000
#: C{Refused.code} of a command that ran until haloyd was stopped.
STOPPED_CODE = "stopped"
STREAMS = {1: "stdout", 2: "stderr"}


@frozen
class Start:
    """What to run; C{columns} and C{rows} count only with C{tty}."""

    command: tuple[str, ...]
    tty: bool = False
    container: str = ""
    columns: int = 80
    rows: int = 24


@frozen
class Resize:
    """The client's terminal has another size now."""

    columns: int
    rows: int


@frozen
class EndOfInput:
    """No more input comes."""


Asked = Start | Resize | EndOfInput


def encode_asked(message: Asked) -> str:
    """Return the text of what a client asks."""
    if isinstance(message, EndOfInput):
        return json.dumps({"type": "end"})
    body: dict[str, Any] = {"columns": message.columns, "rows": message.rows}
    if isinstance(message, Resize):
        return json.dumps({"type": "resize", **body})
    start = {"type": "start", "command": list(message.command), "tty": message.tty}
    return json.dumps({**start, **body, "containerId": message.container})


def decode_asked(text: str) -> Asked:
    """Return what a client asks. @raise InvalidValue: names the field."""
    found = _object(text)
    kind = found.get("type")
    if kind == "end":
        _only(found, "type")
        return EndOfInput()
    if kind == "resize":
        _only(found, "type", "columns", "rows")
        return Resize(_size(found, "columns", None), _size(found, "rows", None))
    if kind != "start":
        raise InvalidValue("must be start, resize or end", field="type")
    _only(found, "type", "command", "tty", "containerId", "columns", "rows")
    tty, container = found.get("tty", False), found.get("containerId", "")
    if not isinstance(tty, bool):
        raise InvalidValue("must be true or false", field="tty")
    if not isinstance(container, str):
        raise InvalidValue("must be text", field="containerId")
    return Start(
        check_command(found.get("command")),
        tty,
        container,
        _size(found, "columns", 80),
        _size(found, "rows", 24),
    )


def check_command(found: object) -> tuple[str, ...]:
    """Return the words of a command. @raise InvalidValue: names the field."""
    if not isinstance(found, list) or not found:
        raise InvalidValue("Command is required", field="command")
    if len(found) > COMMAND_LIMIT:
        raise InvalidValue(f"more than {COMMAND_LIMIT} words", field="command")
    if not all(isinstance(word, str) and "\0" not in word for word in found):
        raise InvalidValue("must be a list of texts", field="command")
    size = sum(len(word.encode(errors="surrogatepass")) + 1 for word in found)
    if size > COMMAND_LIMIT_BYTES:
        raise InvalidValue("is longer than 128 KiB", field="command")
    return tuple(found)


@frozen
class Exited:
    """The command has ended."""

    code: int


@frozen
class Refused:
    """There is no command, or not any more; C{code} is that of the error."""

    code: str
    reason: str


@frozen
class Started:
    """The command runs in this container."""

    container: str


Told = Exited | Refused | Started


def encode_told(message: Told) -> str:
    """Return the text of what a server tells."""
    if isinstance(message, Exited):
        return json.dumps({"type": "exit", "code": message.code})
    if isinstance(message, Started):
        return json.dumps({"type": "started", "containerId": message.container})
    return json.dumps({"type": "error", "code": message.code, "reason": message.reason})


def decode_told(text: str) -> Told:
    """Return what a server tells. @raise InvalidValue: it is none of ours."""
    found = _object(text)
    kind, code = found.get("type"), found.get("code")
    if kind == "exit" and isinstance(code, int) and not isinstance(code, bool):
        return Exited(code)
    if kind == "error":
        return Refused(str(code or "error"), str(found.get("reason") or ""))
    if kind == "started":
        return Started(str(found.get("containerId") or ""))
    raise InvalidValue("must be started, exit or error", field="type")


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidValue("must be a JSON object", field="message")
    return found


def _only(found: Mapping[str, Any], *known: str) -> None:
    unknown = sorted(found.keys() - {*known})
    if unknown:
        raise InvalidValue("unknown field", field=unknown[0])


def _size(found: Mapping[str, Any], key: str, default: int | None) -> int:
    value = found.get(key, default)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 1 <= value <= SIZE_LIMIT:
        raise InvalidValue(f"must be 1 to {SIZE_LIMIT}", field=key)
    return int(value)
