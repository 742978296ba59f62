"""Server-sent events as both clients read them (C{spec/api.md} 1.7, 4.4). Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field

#: The Go client aborts a stream at 64 KiB a line.
LINE_LIMIT_BYTES = 60 * 1024

KEEPALIVE = b": keepalive\n\n"
KEEPALIVE_S = 30.0


def event(data: Mapping[str, Any], identifier: int | None = None) -> bytes:
    """Return one event; texts are cut, newest part kept, until the line is short."""
    limit = LINE_LIMIT_BYTES
    line = _dump(data)
    while len(line) > LINE_LIMIT_BYTES:
        limit //= 2
        line = _dump(_cut(data, limit))
    head = b"" if identifier is None else b"id: %d\n" % identifier
    return head + b"data: " + line + b"\n\n"


def _dump(data: object) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(
        errors="replace"
    )


def _cut(data: Any, limit: int) -> Any:
    if isinstance(data, str):
        return data[-limit:]
    if isinstance(data, Mapping):
        return {key: _cut(one, limit) for key, one in data.items()}
    return data


@define(eq=False)
class EventReader:
    """Reads a stream of events from bytes; lines may be of any length.

    Only C{data: } and C{id: } lines count; comments are C{None}, a sign of life.
    """

    _rest: bytes = field(default=b"", init=False)
    last_id: str = field(default="", init=False)

    def feed(self, data: bytes) -> Iterator[dict[str, Any] | None]:
        """Return what C{data} completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r")
            if text.startswith(b":"):
                yield None
            elif text.startswith(b"id: "):
                self.last_id = text[4:].decode(errors="replace")
            elif text.startswith(b"data: "):
                try:
                    found = json.loads(text[6:])
                except ValueError:
                    continue
                if isinstance(found, dict):
                    yield found
