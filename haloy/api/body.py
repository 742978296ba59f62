"""Requests under twisted.web with limits on what they may send.

twisted.web spools a body before the handler runs; ours stops listening to one that
is larger than it may be and answers 413 (A7). Bodies that are archives or layers go
to a file of the data directory as they arrive, and only for callers who may send
them.
"""

from __future__ import annotations

import json
import math
from typing import Any, Protocol, cast
from urllib.parse import unquote_to_bytes

from twisted.web.http import Request as BaseRequest
from twisted.web.server import Request, Site

from haloy.api.spool import Spool, TooLarge
from haloy.errors import HaloyError, InsufficientStorage, InvalidValue

JSON_LIMIT_BYTES = 32 << 20

#: A body must move: nothing for so long ends the connection.
IDLE_LIMIT_S = 60

_STREAMED = ("application/octet-stream", "multipart/form-data")


class Gate(Protocol):
    """Says whether a caller may send a large body, before it is sent."""

    def open(self, request: Any, length: int | None) -> Spool | None:
        """Return where the body goes, C{None} for nobody we know.

        @raise HaloyError: there is no room.
        """


class LimitedRequest(Request):
    """A request whose body has a limit."""

    # Forms are never parsed: nothing of ours sends one, and it would be in memory.
    _parsePOSTFormSubmission = False  # noqa: N815  (Twisted's name)
    gate: Gate | None = None
    spool: Spool | None = None
    _received = 0
    _refused = False

    def process(self) -> None:
        """Answer, but to a path that is no text (C{spec/api.md} 1.1)."""
        try:
            unquote_to_bytes(self.path).decode()
        except UnicodeDecodeError:
            self._refuse(400, "path: is not UTF-8", "invalid")
        else:
            super().process()

    def render(self, resrc: Any) -> None:
        """Answer, without telling what we are made of."""
        self.responseHeaders.removeHeader(b"server")
        super().render(resrc)

    def gotLength(self, length: int | None) -> None:
        """Decide where the body goes, or refuse it by its length."""
        kind = (self.getHeader("Content-Type") or "").partition(";")[0].strip().lower()
        if kind in _STREAMED and self.gate is not None:
            self._open_spool(self.gate, length)
            if self.spool is not None or self._refused:
                return
        if length is not None and length > JSON_LIMIT_BYTES:
            self._refuse(413, "the body is too large", "too-large")
            length = 0
        super().gotLength(length)

    def _open_spool(self, gate: Gate, length: int | None) -> None:
        try:
            self.spool = gate.open(self, length)
        except HaloyError as problem:
            status = 507 if isinstance(problem, InsufficientStorage) else 429
            self._refuse(status, str(problem), problem.code)
            super().gotLength(0)
            return
        if self.spool is not None:
            self.content: Any = self.spool
            self.notifyFinish().addBoth(lambda _: self._close())

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece, unless the body has been refused or has become too large."""
        if self._refused:
            return
        self._received += len(data)
        if self.spool is None and self._received > JSON_LIMIT_BYTES:
            self._refuse(413, "the body is too large", "too-large")
            return
        try:
            super().handleContentChunk(data)
        except TooLarge:
            self._refuse(413, "the body is too large", "too-large")
        except InsufficientStorage as problem:
            self._refuse(507, str(problem), problem.code)

    def connectionLost(self, reason: Any) -> None:
        """Leave nothing behind of a body that was cut (E12)."""
        self._close()
        super().connectionLost(reason)

    def _close(self) -> None:
        if self.spool is not None:
            self.spool.close()

    def _refuse(self, status: int, text: str, code: str) -> None:
        """Answer at once and hang up: the rest of the body is not wanted."""
        self._refused = True
        self._close()
        body = f"{text}\n".encode()
        channel: Any = self.channel
        channel.transport.write(
            b"HTTP/1.1 %d Refused\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"X-Haloy-Error: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
            % (status, code.encode(), len(body), body)
        )
        channel.transport.loseConnection()


class QuietSite(Site):
    """A site without twisted.web's own access log: actions are logged as such."""

    noisy = False
    displayTracebacks = False  # noqa: N815  (Twisted's name)

    def log(self, request: BaseRequest) -> None:
        """Write nothing."""


def make_site(resource: Any, reactor: Any, gate: Gate | None = None) -> Site:
    """Return the site that serves C{resource}; large bodies go through C{gate}."""
    site = QuietSite(resource, timeout=IDLE_LIMIT_S, reactor=reactor)

    class Gated(LimitedRequest):
        pass

    Gated.gate = gate
    site.requestFactory = Gated
    return site


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else cast(float, _no_number(text))


_DECODER = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite)


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
        value, _ = _DECODER.raw_decode(text)
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode()  # half a character is none
    except (ValueError, RecursionError) as problem:
        raise InvalidValue(f"is not JSON: {problem}", field="body") from None
    return value
