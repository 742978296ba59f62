"""Requests under twisted.web with limits on what they may send.

twisted.web spools a body before the handler runs; ours stops listening to one that
is larger than it may be and answers 413 (A7). Bodies that are archives or layers go
to a file of the data directory as they arrive, and only for callers who may send
them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any, Protocol, cast
from urllib.parse import unquote_to_bytes

from twisted.web.http import Request as BaseRequest
from twisted.web.server import Request, Site

from haloy.api.answers import no_route, retry_after, status_of, text_answer
from haloy.api.channel import ApiChannel
from haloy.api.heads import BODY_TOO_SLOW, Refusal, clean_path
from haloy.api.hosts import check_host
from haloy.api.spool import Spool, TooLarge
from haloy.errors import HaloyError, InsufficientStorage, InvalidValue, TooMany

#: What one JSON body may have; lists of layers and their image may be longer.
JSON_LIMIT_BYTES = 4 << 20
LAYERS_LIMIT_BYTES = 32 << 20
#: No number of ours is longer; Python would name a setting of its own at 4300.
DIGITS_LIMIT = 40

#: A body must move: nothing for so long ends the connection.
IDLE_LIMIT_S = 60
#: And so many bytes have to come in that time, unless it ends.
PACE_BYTES = 16 << 10

_STREAMED = ("application/octet-stream", "multipart/form-data")
#: Whatever type it says it has (C{spec/api.md} 1.5).
_LAYER = b"/v1/images/layers"


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
    served: Collection[str] = ()
    spool: Spool | None = None
    _received = 0
    _refused = False
    _pace: Any = None
    _limit = 0

    def process(self) -> None:
        """Answer; a path must be text, and a clean one (C{spec/api.md} 1.1)."""
        self._forget_pace()
        try:
            unquote_to_bytes(self.path).decode()
        except UnicodeDecodeError:
            self._refuse(InvalidValue("is not UTF-8", field="path"))
            return
        clean = clean_path(self.path)
        if self.path == b"*":
            self._end(no_route(self))
        elif clean == self.path:
            super().process()
        else:
            # With the same method, query and body.
            _, mark, query = self.uri.partition(b"?")
            self.setHeader(b"Location", clean + mark + query)
            self._end(text_answer(self, 307, "Temporary Redirect"))

    def _end(self, body: bytes) -> None:
        self.write(body)
        self.finish()

    def render(self, resrc: Any) -> None:
        """Answer, without telling what we are made of."""
        self.responseHeaders.removeHeader(b"server")
        super().render(resrc)

    def gotLength(self, length: int | None) -> None:
        """Decide where the body goes, or refuse it by its host or length."""
        if self._is_misdirected():
            super().gotLength(0)
            return
        kind = (self.getHeader("Content-Type") or "").partition(";")[0].strip().lower()
        channel: Any = self.channel
        path = channel._path
        layers = path.startswith(_LAYER + b"/")
        self._limit = LAYERS_LIMIT_BYTES if layers else JSON_LIMIT_BYTES
        if length != 0:
            self._pace = channel.callLater(IDLE_LIMIT_S, self._check_pace, 0)
        is_file = kind in _STREAMED or path == _LAYER
        if is_file and self.gate is not None:
            self._open_spool(self.gate, length)
            if self.spool is not None or self._refused:
                return
        if length is not None and length > self._limit:
            self._refuse_size()
            length = 0
        super().gotLength(length)

    def _is_misdirected(self) -> bool:
        """Refuse a host name that is none of ours; the proxy has looked already."""
        if getattr(self.getClientAddress(), "host", None) is None:
            return False
        try:
            check_host(self.requestHeaders.getRawHeaders(b"host", []), self.served)
        except HaloyError as problem:
            self._refuse(problem)
            return True
        return False

    def _open_spool(self, gate: Gate, length: int | None) -> None:
        try:
            self.spool = gate.open(self, length)
        except HaloyError as problem:
            self._refuse(problem)
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
        if self.spool is None and self._received > self._limit:
            self._refuse_size()
            return
        try:
            super().handleContentChunk(data)
        except TooLarge:
            self._refuse_size()
        except InsufficientStorage as problem:
            self._refuse(problem)

    def connectionLost(self, reason: Any) -> None:
        """Leave nothing behind of a body that was cut (E12)."""
        self._close()
        self._forget_pace()
        super().connectionLost(reason)

    def _forget_pace(self) -> None:
        if self._pace is not None and self._pace.active():
            self._pace.cancel()

    def _check_pace(self, before: int) -> None:
        """Refuse a body that trickles (A7)."""
        if self._received - before < PACE_BYTES:
            self._answer(BODY_TOO_SLOW)
        else:
            channel: Any = self.channel
            self._pace = channel.callLater(
                IDLE_LIMIT_S, self._check_pace, self._received
            )

    def _close(self) -> None:
        if self.spool is not None:
            self.spool.close()

    def _refuse(self, problem: HaloyError) -> None:
        retry = retry_after(problem) if isinstance(problem, TooMany) else ""
        self._answer(Refusal(status_of(problem), str(problem), problem.code, retry))

    def _refuse_size(self) -> None:
        self._answer(Refusal(413, "the body is too large", "too-large"))

    def _answer(self, why: Refusal) -> None:
        """Answer at once; what is left of the body is for nobody."""
        self._refused = True
        self._close()
        channel: Any = self.channel
        channel.refuse(why)


class QuietSite(Site):
    """A site without twisted.web's own access log: actions are logged as such."""

    noisy = False
    protocol: Any = ApiChannel
    displayTracebacks = False  # noqa: N815  (Twisted's name)

    def log(self, request: BaseRequest) -> None:
        """Write nothing."""


def make_site(
    resource: Any,
    reactor: Any,
    gate: Gate | None = None,
    served: Collection[str] = (),
) -> Site:
    """Return the site that serves C{resource}; large bodies go through C{gate}.

    @param served: host names besides loopback's, in lower case.
    """
    site = QuietSite(resource, timeout=IDLE_LIMIT_S, reactor=reactor)

    class Gated(LimitedRequest):
        pass

    Gated.gate = gate
    Gated.served = served
    site.requestFactory = Gated
    return site


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else cast(float, _no_number(text))


def _integer(text: str) -> int:
    if len(text) > DIGITS_LIMIT:
        raise ValueError("a number has too many digits")
    return int(text)


_DECODER = json.JSONDecoder(
    parse_constant=_no_number, parse_float=_finite, parse_int=_integer
)


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
    except UnicodeError:
        raise InvalidValue("is not UTF-8", field="body") from None
    except RecursionError:
        raise InvalidValue("is nested too deeply", field="body") from None
    except ValueError as problem:
        raise InvalidValue(f"is not JSON: {problem}", field="body") from None
    return value
