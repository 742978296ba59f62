"""One request and its response as a state machine: bytes in, bytes and a state out.

Knows both framings at once, so it decides what neither side can decide alone:
where the response ends, whether the two connections may be used again, whether
the request may be sent a second time. Knows no sockets, routes or clocks.

The driver feeds L{Exchange.take_request} and L{Exchange.take_response}, passes on
what they return, and reads the attributes afterwards.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

from haloy.proxy.body import (
    CHUNKED,
    CLOSE,
    LAST_CHUNK,
    LENGTH,
    NO_BODY,
    BadBody,
    Body,
    ChunkedBody,
    CloseBody,
    LengthBody,
    chunk,
)
from haloy.proxy.fields import BadHead, passable_trailers
from haloy.proxy.head import HeadReader, RequestHead
from haloy.proxy.response_head import (
    LAST_LINE,
    ResponseHead,
    framing_of,
    parse_response,
    render_response,
)

# States of the response. Plain integers: they are compared for every segment.
AWAITED: Final = 0
STREAMING: Final = 1
COMPLETE: Final = 2
UPGRADED: Final = 3

IDEMPOTENT_METHODS: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))

# Stands where no body is under way; it is never fed.
_NO_MORE: Final = LengthBody(0)

# Interim answers before the final one; more is a broken upstream.
INTERIM_LIMIT: Final = 32

#: What a field of an answer takes to be read and written, in bytes of small chunks.
FIELD_EFFORT: Final = 32
#: An answer that takes more than this in one read, some 0.3 ms, has its replica read
#: in turn with others.
EFFORT_LIMIT: Final = 2048


class TooLarge(Exception):
    """The body of the request is longer than its app allows: 413."""


class BrokenResponse(Exception):
    """The upstream went away or wrong inside its answer: the client must see a cut."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Exchange:
    """One request and its response.

    @ivar request_done: the request has ended; C{surplus} came behind it.
    @ivar response: L{AWAITED}, L{STREAMING}, L{COMPLETE} or L{UPGRADED}.
    @ivar status: of the final answer, 0 before it came.
    @ivar heard: a byte of an answer has come.
    @ivar keep_client: after the answer the client's connection can go on.
    @ivar keep_upstream: after the answer the upstream's connection can go on.
    @ivar effort: how much of what came last was heads and framing: bytes, and a field
        counts L{FIELD_EFFORT}.
    @ivar cut_by_reset: the client sees the end of the body by the end of the
        connection, so a cut needs a reset to be seen.
    """

    __slots__ = (
        "_extra",
        "_interim",
        "_max_body_bytes",
        "_reader",
        "_replaced",
        "_request_body",
        "_response_body",
        "_upgrade",
        "_writes_chunks",
        "closing",
        "cut_by_reset",
        "effort",
        "heard",
        "interim_seen",
        "keep_client",
        "keep_upstream",
        "request",
        "request_bytes",
        "request_done",
        "response",
        "response_bytes",
        "status",
        "surplus",
    )

    def __init__(
        self,
        request: RequestHead,
        *,
        upgrade: bytes = b"",
        extra: bytes = b"",
        replaced: frozenset[bytes] = frozenset(),
        max_body_bytes: int | None = None,
        closing: bool = False,
    ) -> None:
        """Begin with the head of the request.

        @param upgrade: the protocol that the upstream is asked for, usually none.
        @param extra: field lines with their ends, added to the final answer.
        @param replaced: names in lower case of the fields that C{extra} replaces.
        @param closing: the client's connection is to end after the answer.
        @raise TooLarge: Content-Length says more than C{max_body_bytes}.
        """
        self.request = request
        self.closing = closing
        self._upgrade = upgrade
        self._extra = extra
        self._replaced = replaced
        self._max_body_bytes = max_body_bytes
        self._request_body: LengthBody | ChunkedBody | None = None
        self.request_done = True
        self.surplus = b""
        self.request_bytes = 0
        if request.framing == CHUNKED:
            self._request_body = ChunkedBody()
            self.request_done = False
        elif request.length_bytes:
            if max_body_bytes is not None and request.length_bytes > max_body_bytes:
                raise TooLarge
            self._request_body = LengthBody(request.length_bytes)
            self.request_done = False
        self.response: int = AWAITED
        self.status = 0
        self.heard = False
        self.interim_seen = False
        self.keep_client = False
        self.keep_upstream = False
        self.cut_by_reset = False
        self.response_bytes = 0
        self.effort = 0
        self._interim = 0
        self._reader: HeadReader | None = None
        self._response_body: Body = _NO_MORE
        self._writes_chunks = False

    def take_request(self, data: bytes) -> bytes:
        """Return what of the request's body goes to the upstream now.

        @raise BadBody: the framing is wrong: 400.
        @raise TooLarge: the body passes the limit: 413.
        """
        body = self._request_body
        if body is None:
            self.surplus += data
            return b""
        payload = body.take(data)
        self.request_bytes += len(payload)
        if (
            self._max_body_bytes is not None
            and self.request_bytes > self._max_body_bytes
        ):
            raise TooLarge
        if body.done:
            self.request_done = True
            self.surplus = body.rest
            self._request_body = None
        if self.request.framing == LENGTH:
            return payload
        if payload:
            payload = chunk(payload)
        return payload + LAST_CHUNK if body.done else payload

    def skip_request(self, size_bytes: int) -> None:
        """Count C{size_bytes} of a body with a length that went past this machine."""
        body = self._request_body
        if not isinstance(body, LengthBody):
            raise BadBody("not a body with a length")
        body.left -= size_bytes
        self.request_bytes += size_bytes
        if not body.left:
            self.request_done = True
            self._request_body = None

    @property
    def request_left(self) -> int:
        """Bytes still to come of a request body with a length, else 0."""
        body = self._request_body
        return body.left if isinstance(body, LengthBody) else 0

    def take_response(self, data: bytes) -> bytes:
        """Return what goes to the client now.

        @raise BadHead: the answer is wrong before its final head: 502.
        @raise BrokenResponse: it is wrong inside its body.
        """
        self.effort = 0
        if self.response == STREAMING:
            return self._take_body(data)
        self.heard = True
        if self.response == UPGRADED:
            return data
        passed = b""
        while self.response == AWAITED:
            block, data = self._next_block(data)
            if block is None:
                return passed
            head = parse_response(block)
            self.effort += FIELD_EFFORT * len(head.fields)
            if head.status == 101:
                switched = self._switch(head)
                self.response_bytes = len(data)
                return passed + switched + data
            if head.status < 200:
                passed += self._pass_interim(head)
            else:
                passed += self._begin(head, len(data))
        if self.response == COMPLETE:
            if len(data) == self.response_bytes:
                return passed + data
            self.keep_upstream = False
            return passed
        return passed + self._take_body(data) if data else passed

    def skip_response(self, size_bytes: int) -> None:
        """Count C{size_bytes} of a body with a length that went past this machine."""
        body = self._response_body
        if not isinstance(body, LengthBody):
            raise BrokenResponse("not a body with a length")
        body.left -= size_bytes
        self.response_bytes += size_bytes
        if not body.left:
            self._complete()

    @property
    def response_left(self) -> int:
        """Bytes still to come of a response body with a length, else 0."""
        body = self._response_body
        return body.left if isinstance(body, LengthBody) else 0

    def end_response(self) -> bytes:
        """Take the end of the upstream's connection; return what ends the body.

        @raise BadHead: there was no answer: 502.
        @raise BrokenResponse: the body is not complete.
        """
        if self.response == AWAITED:
            raise BadHead(502, "connection closed before an answer")
        if not isinstance(self._response_body, CloseBody):
            raise BrokenResponse("connection closed inside the answer")
        self._complete()
        return LAST_CHUNK if self._writes_chunks else b""

    def may_retry(self, *, reused: bool) -> bool:
        """Tell whether the request may go out again on a new connection.

        Only after a pooled connection turned out dead without a byte of an answer,
        only if a second arrival does no harm (RFC 9110 section 9.2.2), and only if
        there is no body that has been streamed away.
        """
        return (
            reused
            and not self.heard
            and self.request.method in IDEMPOTENT_METHODS
            and self.request_done
            and not self.request_bytes
        )

    def _next_block(self, data: bytes) -> tuple[bytes | None, bytes]:
        reader = self._reader
        if reader is None:
            end = data.find(b"\r\n\r\n")
            if 0 < end < 16384:
                return data[:end], data[end + 4 :]
            if not data:
                return None, b""
            reader = self._reader = HeadReader(of_requests=False)
        block = reader.take(data)
        if block is None:
            return None, b""
        self._reader = None
        return block, reader.rest

    def _switch(self, head: ResponseHead) -> bytes:
        if not self._upgrade or head.upgrade != self._upgrade:
            raise BadHead(502, "101 that nobody asked for")
        self.status = 101
        self.response = UPGRADED
        lines = [b"HTTP/1.1 101 " + head.reason, *head.fields]
        lines.append(b"Connection: Upgrade\r\nUpgrade: " + self._upgrade)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _pass_interim(self, head: ResponseHead) -> bytes:
        self._interim += 1
        if self._interim > INTERIM_LIMIT:
            raise BadHead(502, "too many interim answers")
        self.interim_seen = True
        if head.status not in (100, 103) or self.request.http10:
            return b""
        lines = [b"HTTP/1.1 %d %b" % (head.status, head.reason), *head.fields]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _begin(self, head: ResponseHead, size_bytes: int) -> bytes:
        """Take the final head: settle the framing on both sides and write it.

        C{size_bytes} came behind it.
        """
        request = self.request
        self.status = head.status
        self.keep_upstream = not head.close
        framing = framing_of(head, request.method)
        keep = not (request.close or self.closing) and self.request_done
        steering = b""
        if framing in (CHUNKED, CLOSE):
            if request.http10:
                keep = False
                self.cut_by_reset = True
            else:
                self._writes_chunks = True
                steering = b"Transfer-Encoding: chunked\r\n"
        self.keep_client = keep
        if not keep:
            steering += LAST_LINE
        elif request.http10:
            steering += b"Connection: keep-alive\r\n"
        self._frame(framing, head.length_bytes, size_bytes)
        return render_response(head, self._replaced, steering + self._extra)

    def _frame(self, framing: int, length_bytes: int, size_bytes: int) -> None:
        if framing == NO_BODY:
            self.response = COMPLETE
            return
        if framing == LENGTH and length_bytes == size_bytes:
            # All of it is here already: the common case of small answers.
            self.response_bytes = size_bytes
            self.response = COMPLETE
            return
        self.response = STREAMING
        if framing == LENGTH:
            self._response_body = LengthBody(length_bytes)
        elif framing == CHUNKED:
            self._response_body = ChunkedBody()
        else:
            self._response_body = CloseBody()
            self.keep_upstream = False

    def _take_body(self, data: bytes) -> bytes:
        body = self._response_body
        try:
            payload = body.take(data)
        except BadBody as error:
            raise BrokenResponse(str(error)) from error
        self.response_bytes += len(payload)
        if isinstance(body, ChunkedBody):
            self.effort += len(data) - len(payload)
        if self._writes_chunks and payload:
            payload = chunk(payload)
        if body.done:
            if body.rest:
                self.keep_upstream = False
            if self._writes_chunks:
                payload += self._last_chunk(body)
            self._complete()
        return payload

    def _last_chunk(self, body: Body) -> bytes:
        trailers: list[bytes] = []
        if isinstance(body, ChunkedBody) and body.trailers:
            trailers = passable_trailers(body.trailers)
        if not trailers:
            return LAST_CHUNK
        return b"0\r\n" + b"\r\n".join(trailers) + b"\r\n\r\n"

    def _complete(self) -> None:
        self.response = COMPLETE
        self._response_body = _NO_MORE
