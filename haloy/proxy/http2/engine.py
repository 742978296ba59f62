"""An HTTP/2 connection without its socket: bytes in, events and bytes out (RFC 9113).

The same machine serves clients and speaks to h2c upstreams. It checks what the
protocol asks of frames and streams, decodes heads, keeps the windows and counts
what is cheap to send; what the fields of a request mean is L{haloy.proxy.http2.head}.
A whole read becomes events before any is acted on, so a request that is taken back
in the same segment reaches nobody.
"""

from __future__ import annotations

from typing import Final

from haloy.proxy.http2 import budget, frames
from haloy.proxy.http2.answers import HEAD_LIMIT_BYTES
from haloy.proxy.http2.bodies import Bodies
from haloy.proxy.http2.control import (
    ENDED_REQUEST,
    FAILED,
    REQUEST,
    RESET,
    Event,
    check_dependency,
)
from haloy.proxy.http2.decoder import BadBlock, HeaderList, ListTooLong
from haloy.proxy.http2.frames import Broken
from haloy.proxy.http2.hpack import Field
from haloy.proxy.http2.stream_state import WINDOW_BYTES, Stream

STREAMS_LIMIT: Final = 128
REQUESTS_LIMIT: Final = 100_000
_CONTINUATIONS_LIMIT: Final = 16

# At hand for what is done for every request.
_unpack = frames.HEADER.unpack_from
_DATA: Final = frames.DATA
_HEADERS: Final = frames.HEADERS
_END_HEADERS: Final = frames.END_HEADERS
_END_STREAM: Final = frames.END_STREAM
_FRAME_BYTES: Final = frames.FRAME_BYTES


class Engine(Bodies):
    """One connection.

    @ivar greeted: the peer's first SETTINGS have come.
    @ivar requests: how many streams there were.
    """

    def __init__(
        self,
        *,
        client: bool,
        now_s: float,
        requests_limit: int = REQUESTS_LIMIT,
    ) -> None:
        super().__init__(client=client, now_s=now_s)
        self.greeted = False
        self.requests = 0
        self._requests_limit = requests_limit
        self._held = b""
        self._prefaced = client
        # The stream whose header block is not complete, its flags and what there is.
        self._block_of = 0
        self._block_flags = 0
        self._block: list[bytes] = []
        self._block_bytes = 0
        if client:
            self.write(
                frames.PREFACE
                + frames.settings(
                    (frames.ENABLE_PUSH, 0), (frames.INITIAL_WINDOW_SIZE, WINDOW_BYTES)
                )
            )
        else:
            self.write(
                frames.settings(
                    (frames.MAX_CONCURRENT_STREAMS, STREAMS_LIMIT),
                    (frames.INITIAL_WINDOW_SIZE, WINDOW_BYTES),
                    (frames.MAX_HEADER_LIST_SIZE, HEAD_LIMIT_BYTES),
                )
            )

    @property
    def inside_block(self) -> bool:
        """Whether a header block has begun and is not complete."""
        return self._block_of != 0

    def receive(self, data: bytes | memoryview, now_s: float) -> list[Event]:
        """Return what happens by C{data}.

        Of a read that ends in a failure no request is begun, nor goes on: of what a
        client did there only the resets count, as nobody else tells of those.

        A view is only lent: bodies are left in it, until L{keep_lent}. What was held
        back has to be in it already (L{take_held}).
        """
        self.now_s = now_s
        if self.failed:
            return []
        events = self._events = []
        try:
            if isinstance(data, memoryview):
                self._parse_lent(data)
            else:
                self._parse(data)
        except Broken as error:
            failure = self.fail(error.code, error.reason)
        except BadBlock as bad:  # a name of its own: compiled, one name has one type
            failure = self.fail(frames.COMPRESSION_ERROR, str(bad))
        else:
            return events
        if self.client:
            return events + failure
        return [one for one in events if one[0] == RESET] + failure

    def fail(self, code: int, reason: str) -> list[Event]:
        """End the connection with GOAWAY."""
        self.failed = True
        self._held = b""
        self.write(frames.goaway(self._last, code, reason))
        return [(FAILED, self._all, reason)]

    def open(self, block: bytes, *, end: bool) -> Stream:
        """Begin a stream with a request (client)."""
        stream = self._asking()
        self.headers(stream, block, end=end)
        return stream

    def ask(self, block: bytes, body: bytes) -> Stream:
        """Begin a stream with a whole request that L{fits} (client).

        An answer that comes whole in one read is one event, C{ANSWER}.
        """
        stream = self._asking()
        stream.at_once = True
        if not self.whole(stream, block, body):
            self.headers(stream, block, end=False)
            self.data(stream, body, end=True)
        return stream

    def _asking(self) -> Stream:
        stream = self.streams[self._next] = Stream(self._next, self._peer_window)
        # What the app sends was asked for, and comes as fast as the client takes it.
        stream.small_price = 0.0
        self._next += 2
        self.requests += 1
        return stream

    def take_held(self) -> bytes:
        """Return the beginning of a frame; it has to come again, before the rest."""
        held = self._held
        self._held = b""
        return held

    # Frames.

    def _parse(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
            self._held = b""
        position = 0
        if not self._prefaced:
            start = data[:24]
            if not frames.PREFACE.startswith(start):
                raise Broken(frames.PROTOCOL_ERROR, "no HTTP/2 preface")
            if len(start) < 24:
                self._held = data
                return
            self._prefaced = True
            position = 24
        end = len(data)
        # Said what they are: compiled, they are numbers of C.
        head: int
        flags: int
        stream_id: int
        while end - position >= 9:
            head, flags, stream_id = _unpack(data, position)
            size = head >> 8
            if size > frames.FRAME_BYTES:
                raise Broken(frames.FRAME_SIZE_ERROR, "frame too large")
            start_of_body = position + 9
            if start_of_body + size > end:
                break
            position = start_of_body + size
            stream_id &= 0x7FFFFFFF
            body = data[start_of_body:position]
            kind = head & 0xFF
            # First most of what comes, without asking for what is seldom.
            if kind > _HEADERS or self._block_of or not self.greeted:
                self._frame(kind, flags, stream_id, body)
            elif kind == _DATA:
                self._data(stream_id, flags, body)
            elif flags & ~_END_STREAM != _END_HEADERS or not stream_id:
                self._headers(stream_id, flags, body)
            elif stream_id > self._highest and stream_id & 1 and not self.client:
                self._request(stream_id, body, end=flags != _END_HEADERS)
            elif whole := self._take_whole(stream_id, flags, body, data, position):
                position = whole
            else:
                self._complete_block(stream_id, flags, body)
        if position < end:
            self._held = data[position:]

    def _parse_lent(self, data: memoryview) -> None:
        """As L{_parse}, of what a client sends: bodies mostly, which are not copied."""
        if not self._prefaced:
            self._parse(bytes(data))
            return
        position = 0
        end = len(data)
        # As in L{_parse}.
        head: int
        flags: int
        stream_id: int
        while end - position >= 9:
            head, flags, stream_id = _unpack(data, position)
            kind = head & 0xFF
            plain = self.greeted and not self._block_of
            if not flags and kind == _DATA and plain:
                bodies = self._take_bodies(data, position)
                if bodies > position:
                    position = bodies
                    continue
            size = head >> 8
            if size > _FRAME_BYTES:
                raise Broken(frames.FRAME_SIZE_ERROR, "frame too large")
            start_of_body = position + 9
            if start_of_body + size > end:
                break
            position = start_of_body + size
            stream_id &= 0x7FFFFFFF
            body = data[start_of_body:position]
            if kind > _HEADERS or not plain:
                self._frame(kind, flags, stream_id, bytes(body))
            elif kind == _DATA:
                self._data(stream_id, flags, body)
            else:
                self._headers(stream_id, flags, bytes(body))
        self._held = bytes(data[position:])

    def _frame(self, kind: int, flags: int, stream_id: int, body: bytes) -> None:
        """Take a frame that is neither DATA nor HEADERS, or comes too early."""
        if self._block_of and (
            kind != frames.CONTINUATION or stream_id != self._block_of
        ):
            raise Broken(frames.PROTOCOL_ERROR, "a header block is not complete")
        if not self.greeted:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise Broken(frames.PROTOCOL_ERROR, "SETTINGS must come first")
            self.greeted = True
        if kind == frames.WINDOW_UPDATE:
            self._window_update(stream_id, body)
        elif kind == frames.RST_STREAM:
            self._rst_stream(stream_id, body)
        elif kind == frames.CONTINUATION:
            self._continuation(flags, body)
        elif kind == frames.PRIORITY:
            self._priority(stream_id, body)
        elif kind == frames.PUSH_PROMISE:
            raise Broken(frames.PROTOCOL_ERROR, "PUSH_PROMISE")
        elif kind > frames.CONTINUATION:
            self._spend(budget.USELESS)
        else:
            self._of_connection(kind, flags, stream_id, body)

    def _headers(self, stream_id: int, flags: int, body: bytes) -> None:
        body = frames.without_padding(flags, body)
        if flags & frames.WITH_PRIORITY:
            if len(body) < 5:
                raise Broken(frames.FRAME_SIZE_ERROR, "HEADERS too short")
            check_dependency(stream_id, body)
            body = body[5:]
        if not stream_id:
            raise Broken(frames.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & frames.END_HEADERS:
            self._complete_block(stream_id, flags, body)
            return
        self._block_of = stream_id
        self._block_flags = flags
        self._block = [body]
        self._block_bytes = len(body)

    def _continuation(self, flags: int, body: bytes) -> None:
        if not self._block_of:
            raise Broken(frames.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._block.append(body)
        self._block_bytes += len(body)
        if (
            self._block_bytes > HEAD_LIMIT_BYTES
            or len(self._block) > _CONTINUATIONS_LIMIT
        ):
            raise Broken(frames.ENHANCE_YOUR_CALM, "header block too long")
        if flags & frames.END_HEADERS:
            stream_id, block = self._block_of, b"".join(self._block)
            self._block_of = 0
            self._block = []
            self._complete_block(stream_id, self._block_flags, block)

    def _complete_block(self, stream_id: int, flags: int, block: bytes) -> None:
        stream = self.streams.get(stream_id)
        end = bool(flags & frames.END_STREAM)
        if stream is None:
            if stream_id > self._highest and stream_id & 1 and not self.client:
                self._request(stream_id, block, end=end)
            else:
                self._block_without_stream(stream_id, block)
            return
        fields: list[Field] | None = None
        try:
            fields = self._decoder.decode(block)
        except ListTooLong:
            self._spend(budget.LONG_LIST)
        if not stream.receiving and not self.client:
            raise Broken(frames.STREAM_CLOSED, "HEADERS after the end")
        if not stream.receiving:
            self._abort(stream, frames.STREAM_CLOSED)
        elif fields is None and (self.client or end):
            self._abort(stream, frames.ENHANCE_YOUR_CALM)
        elif self.client and not stream.answered:
            self._response(stream, fields or [], end)
        elif not end or fields is None:
            self._abort(stream, frames.PROTOCOL_ERROR)
        else:
            self._trailers(stream, fields)

    def _request(self, stream_id: int, block: bytes, *, end: bool) -> None:
        """Take the head of a request: a stream that the client opens."""
        fields: HeaderList | None = None
        try:
            fields = self._decoder.decode_request(block)
        except ListTooLong:
            self._spend(budget.LONG_LIST)
        self._highest = stream_id
        if self.leaving:
            # Above the number in GOAWAY: the client sends it elsewhere.
            self._remember(stream_id)
            self._spend(budget.USELESS)
            return
        self._last = stream_id
        streams = self.streams
        if len(streams) >= STREAMS_LIMIT:
            self._remember(stream_id)
            self.write(frames.rst_stream(stream_id, frames.REFUSED_STREAM))
            self._spend(budget.REFUSED)
            return
        stream = streams[stream_id] = Stream(stream_id, self._peer_window)
        self.requests += 1
        if end:
            stream.receiving = False
            self._events.append((ENDED_REQUEST, stream, fields))
        else:
            stream.begun = len(self._events)
            self._events.append((REQUEST, stream, fields))
        if self.requests >= self._requests_limit:
            self.shut_down(now=True)

    def _block_without_stream(self, stream_id: int, block: bytes) -> None:
        """Take a head that opens nothing; its block has to be decoded all the same."""
        try:
            self._decoder.decode(block)
        except ListTooLong:
            self._spend(budget.LONG_LIST)
        if self._idle(stream_id):
            raise Broken(frames.PROTOCOL_ERROR, "HEADERS on an idle stream")
        if self.client:
            # Many calls may have been given up while the app did not look.
            self._spend(budget.LATE)
        elif stream_id in self._reset:
            self._spend(budget.USELESS)
        else:
            raise Broken(frames.STREAM_CLOSED, "HEADERS on a closed stream")
