"""Requests under twisted.web with a limit on what they may send.

twisted.web spools a body before the handler runs; this request stops listening to
one that is larger than its route allows and answers 413 (A7).
"""

from __future__ import annotations

import json
from typing import Any

from twisted.web.http import Request as BaseRequest
from twisted.web.server import Request, Site

from haloy.errors import InvalidValue

JSON_LIMIT_BYTES = 32 << 20

#: A body must move: nothing for so long ends the connection.
IDLE_LIMIT_S = 60


class LimitedRequest(Request):
    """A request whose body may have L{JSON_LIMIT_BYTES}."""

    _received = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:
        """Refuse a body that says it is too large."""
        if length is not None and length > JSON_LIMIT_BYTES:
            self._refuse()
            length = 0
        super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece, unless the body has become too large."""
        self._received += len(data)
        if self._received > JSON_LIMIT_BYTES:
            self._refuse()
        elif not self._refused:
            super().handleContentChunk(data)

    def _refuse(self) -> None:
        if not self._refused:
            self._refused = True
            channel: Any = self.channel
            channel.transport.write(
                b"HTTP/1.1 413 Request Entity Too Large\r\n"
                b"Content-Type: text/plain; charset=utf-8\r\n"
                b"X-Haloy-Error: too-large\r\nConnection: close\r\n"
                b"Content-Length: 23\r\n\r\nthe body is too large.\n"
            )
            channel.transport.loseConnection()


class QuietSite(Site):
    """A site without twisted.web's own access log: actions are logged as such."""

    noisy = False
    displayTracebacks = False  # noqa: N815  (Twisted's name)

    def log(self, request: BaseRequest) -> None:
        """Write nothing."""


def make_site(resource: Any, reactor: Any) -> Site:
    """Return the site that serves C{resource}; no page of it shows a traceback."""
    site = QuietSite(resource, timeout=IDLE_LIMIT_S, reactor=reactor)
    site.requestFactory = LimitedRequest
    return site


def read_json(request: Any) -> object:
    """Return the first JSON value of the body (C{spec/api.md} 1.5).

    @raise InvalidValue: there is none.
    """
    content: Any = request.content
    content.seek(0)
    raw = content.read()
    if not raw.strip():
        raise InvalidValue("is empty", field="body")
    try:
        text = raw.decode("utf-8").lstrip()
        value, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError) as problem:
        raise InvalidValue(f"is not JSON: {problem}", field="body") from None
    return value
