"""The outgoing half of an HTTP/2 connection: frames that wait, and the windows.

What is written collects until the owner takes it, once a turn of the reactor, so
the answers to many requests share one record of TLS and one system call.
"""

from __future__ import annotations

from typing import Final

from haloy.proxy.http2 import budget, frames
from haloy.proxy.http2.budget import Budget
from haloy.proxy.http2.frames import beginning
from haloy.proxy.http2.hpack import TABLE_EMPTY
from haloy.proxy.http2.stream_state import Stream, content_bytes

# Each time that a window was used up it becomes twice as large, up to this.
STREAM_WINDOW_BYTES: Final = 262144
CONNECTION_WINDOW_BYTES: Final = 1048576
# When all connections of the process hold more than this, windows grow no more.
PROCESS_HIGH_BYTES: Final = 67108864
# More than this, and who holds much of it begins nothing. They never hold more than the
# limit: before they could, who has stalled longest is cut (L{shedding}).
PROCESS_FULL_BYTES: Final = PROCESS_HIGH_BYTES * 3 // 2
PROCESS_LIMIT_BYTES: Final = PROCESS_HIGH_BYTES * 2
# What streams of one client may have grown, all together: bodies that nobody takes
# are held to 64 KiB for each of the others.
_GROWN_LIMIT_BYTES: Final = CONNECTION_WINDOW_BYTES // 2

# How many streams that we have reset are remembered: their peer may not know yet.
_RESET_LIMIT: Final = 512

# At hand for what is done for every answer.
_pack = frames.HEADER.pack
_HEADER_BYTES: Final = frames.HEADER_BYTES
_FRAME_BYTES: Final = frames.FRAME_BYTES
_DATA: Final = frames.DATA
_HEADERS: Final = frames.HEADERS
_END_HEADERS: Final = frames.END_HEADERS
_END_STREAM: Final = frames.END_STREAM
_LAST_HEADERS: Final = frames.END_HEADERS | frames.END_STREAM
_EARNED_BY_BYTE: Final = budget.EARNED_BY_BYTE
_BURST: Final = budget.BURST
_EARNED_BY_WHOLE: Final = budget.EARNED_BY_STREAM + budget.EARNED_BY_DATA


class Sender:
    """What both halves share, and everything that writes.

    @ivar streams: those in use, by number.
    @ivar queued_bytes: written and not taken.
    @ivar held_bytes: came of bodies and were not taken.
    @ivar may_grow: windows may become larger, and a body that nobody takes does not
        hold up the others; false when memory is short.
    """

    def __init__(self, *, client: bool, now_s: float) -> None:
        self.client = client
        self.now_s = now_s
        self.budget = Budget(now_s)
        self.streams: dict[int, Stream] = {}
        self.queued_bytes = 0
        self.send_window = frames.DEFAULT_WINDOW
        self.receive_window = frames.DEFAULT_WINDOW
        self.held_bytes = 0
        self.may_grow = True
        self._window_bytes = frames.DEFAULT_WINDOW
        self._owed_bytes = 0
        self._grown_bytes = 0
        self._peer_window = frames.DEFAULT_WINDOW
        self._out: list[bytes | memoryview] = []
        # How the frames of the last whole message began, and for which sizes.
        self._head_size = self._body_size = self._last_size = 0
        self._head_begins = self._body_begins = self._last_begins = b""
        self._table_emptied = False
        self._reset: dict[int, None] = {}

    def take(self) -> bytes:
        """Return everything that was written since the last call."""
        out = self._out
        if not out:
            return b""
        self._out = []
        self.queued_bytes = 0
        return b"".join(out)

    def write(self, frame: bytes) -> None:
        """Write whole frames."""
        self._out.append(frame)
        self.queued_bytes += len(frame)

    # Streams.

    def headers(self, stream: Stream, block: bytes, *, end: bool) -> None:
        """Send a header block; C{end}: nothing comes after it."""
        if self._table_emptied:
            self._table_emptied = False
            block = TABLE_EMPTY + block
        self.write(frames.headers(stream.id, block, end=end))
        if end:
            self._sent_all(stream)

    def fits(self, size: int) -> bool:
        """Whether the peer takes C{size} bytes on a stream that begins now."""
        return size <= self._peer_window and size <= self.send_window

    def room(self, stream: Stream) -> int:
        """Return how many bytes of a body the peer takes right now; may be below 0."""
        return min(stream.send_window, self.send_window)

    def data(self, stream: Stream, payload: bytes | memoryview, *, end: bool) -> None:
        """Send C{payload}, which fits into L{room}."""
        size = len(payload)
        stream.send_window -= size
        self.send_window -= size
        self.queued_bytes += size + frames.HEADER_BYTES
        self.budget.tokens += size * budget.EARNED_BY_BYTE
        if size <= _FRAME_BYTES:
            self._out += (
                _pack(size << 8, _END_STREAM if end else 0, stream.id),
                payload,
            )
        else:
            self._write_frames(stream.id, memoryview(payload), end=end)
        if stream.send_window > 0:
            # The peer did not make it small.
            self.budget.earn(budget.EARNED_BY_DATA)
        if end:
            self._sent_all(stream)

    def carried(self, stream: Stream, size: int) -> None:
        """Note C{size} bytes of a body that go past this machine, framed already."""
        stream.send_window -= size
        self.send_window -= size
        self.budget.earn(budget.EARNED_BY_DATA + size * budget.EARNED_BY_BYTE)

    def _write_frames(self, stream_id: int, payload: memoryview, *, end: bool) -> None:
        """Write more than one frame takes; all but the first header is counted here."""
        out = self._out
        last = len(payload) - _FRAME_BYTES
        for start in range(0, len(payload), _FRAME_BYTES):
            piece = payload[start : start + _FRAME_BYTES]
            flags = _END_STREAM if end and start >= last else 0
            out.append(_pack(len(piece) << 8, flags, stream_id))
            out.append(piece)
        self.queued_bytes += (len(payload) - 1) // _FRAME_BYTES * _HEADER_BYTES

    def whole(
        self,
        stream: Stream,
        block: bytes,
        payload: bytes | memoryview,
        trailers: bytes = b"",
    ) -> bool:
        """Send a whole message, with a block of trailers if there is one.

        False: it does not fit the windows, and nothing is sent.
        """
        size = len(payload)
        head_size = len(block)
        last_size = len(trailers)
        if (
            size >= stream.send_window
            or size > self.send_window
            or head_size > _FRAME_BYTES
            or last_size > _FRAME_BYTES
            or self._table_emptied
        ):
            return False
        stream.send_window -= size
        self.send_window -= size
        # First what most messages are: two frames, or three.
        if not 0 < size <= _FRAME_BYTES:
            self._write_whole(stream.id, block, payload, trailers)
        else:
            if (
                size != self._body_size
                or head_size != self._head_size
                or last_size != self._last_size
            ):
                self._begin_otherwise(head_size, size, last_size)
            number = stream.number
            if last_size:
                self._out += (
                    self._head_begins,
                    number,
                    block,
                    self._body_begins,
                    number,
                    payload,
                    self._last_begins,
                    number,
                    trailers,
                )
                self.queued_bytes += head_size + size + last_size + 3 * _HEADER_BYTES
            else:
                begins = self._body_begins
                self._out += (self._head_begins, number, block, begins, number, payload)
                self.queued_bytes += head_size + size + 2 * _HEADER_BYTES
        stream.sending = False
        if not stream.receiving:
            self._forget(stream)
        # As L{Budget.earn}, which is asked of every answer.
        purse = self.budget
        tokens = purse.tokens + _EARNED_BY_WHOLE + size * _EARNED_BY_BYTE
        purse.tokens = tokens if tokens < _BURST else _BURST
        return True

    def _begin_otherwise(self, head_size: int, size: int, last_size: int) -> None:
        """Note how frames of these sizes begin; trailers of 0 are none."""
        self._head_size = head_size
        self._body_size = size
        self._last_size = last_size
        self._head_begins = beginning(head_size, _HEADERS, _END_HEADERS)
        self._body_begins = beginning(size, _DATA, 0 if last_size else _END_STREAM)
        self._last_begins = beginning(last_size, _HEADERS, _LAST_HEADERS)

    def _write_whole(
        self,
        stream_id: int,
        block: bytes,
        payload: bytes | memoryview,
        trailers: bytes,
    ) -> None:
        """Write a message with no body, or one of several frames."""
        end = not trailers
        self.write(frames.headers(stream_id, block, end=end and not payload))
        if payload:
            self.queued_bytes += len(payload) + _HEADER_BYTES
            self._write_frames(stream_id, memoryview(payload), end=end)
        if trailers:
            self.write(frames.headers(stream_id, trailers, end=True))

    def _sent_all(self, stream: Stream) -> None:
        stream.sending = False
        if not stream.receiving:
            self._forget(stream)
        self.budget.earn(budget.EARNED_BY_STREAM)

    def reset(self, stream: Stream, code: int) -> None:
        """End a stream that has not ended; nothing of it is heard of any more."""
        if self.streams.get(stream.id) is stream:
            self._forget(stream)
            self._remember(stream.id)
            self.write(frames.rst_stream(stream.id, code))

    def _remember(self, stream_id: int) -> None:
        self._reset[stream_id] = None
        if len(self._reset) > _RESET_LIMIT:
            del self._reset[next(iter(self._reset))]

    def _forget(self, stream: Stream) -> None:
        self._forget_untaken(stream)
        # What nobody took is thrown away: the connection's window gets it back.
        if stream.inbox:
            self.handed_on(stream, content_bytes(stream))
            stream.inbox = []

    def _forget_untaken(self, stream: Stream) -> None:
        """Forget a stream whose inbox somebody still takes."""
        del self.streams[stream.id]
        stream.receiving = stream.sending = False
        self._grown_bytes -= stream.grown_bytes

    # Windows.

    def credit(self, stream: Stream, size: int) -> None:
        """Let the peer send C{size} bytes more: the other side took as many."""
        self.handed_on(stream, size)
        self.allow(stream, size)

    def allow(self, stream: Stream, size: int) -> None:
        """Give C{size} bytes of the stream's window back, and not the connection's."""
        if not stream.receiving:
            return
        stream.owed_bytes += size
        if stream.owed_bytes * 2 >= stream.window_bytes:
            more = self._growth(stream)
            increment = stream.owed_bytes + more
            stream.receive_window += increment
            stream.owed_bytes = 0
            self.write(frames.window_update(stream.id, increment))

    def credit_all(self, stream: Stream, size: int) -> None:
        """Take note that the other side took all of a body that has ended."""
        stream.inbox = []
        self.handed_on(stream, size)

    def put_back(self, stream: Stream, body: bytes) -> None:
        """Let C{body}, which came as part of a whole answer, be taken in pieces."""
        size = len(body)
        stream.inbox = [body]
        stream.advanced_bytes += size
        self.held_bytes += size

    def handed_on(self, stream: Stream, size: int) -> None:
        """Hold C{size} bytes no longer.

        The connection's window gets back what it did not get when they came.
        """
        self.held_bytes -= size
        advanced = stream.advanced_bytes
        if size <= advanced:
            stream.advanced_bytes = advanced - size
        else:
            stream.advanced_bytes = 0
            self._credit_connection(size - advanced)

    def _growth(self, stream: Stream) -> int:
        more = min(stream.window_bytes, STREAM_WINDOW_BYTES - stream.window_bytes)
        if not self.may_grow or not more:
            return 0
        if not self.client and self._grown_bytes + more > _GROWN_LIMIT_BYTES:
            return 0
        self._grown_bytes += more
        stream.grown_bytes += more
        stream.window_bytes += more
        return more

    def _credit_connection(self, size: int) -> None:
        self._owed_bytes += size
        if self._owed_bytes * 2 < self._window_bytes:
            return
        more = 0
        if self.may_grow:
            more = min(self._window_bytes, CONNECTION_WINDOW_BYTES - self._window_bytes)
            self._window_bytes += more
        self.budget.earn(budget.EARNED_BY_BYTE * self._owed_bytes)
        increment = self._owed_bytes + more
        self.receive_window += increment
        self._owed_bytes = 0
        self.write(frames.window_update(0, increment))
