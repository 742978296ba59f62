"""Bodies that come: DATA, what it may be, and what it costs the windows.

Below L{haloy.proxy.http2.engine}, which takes frames out of what was read. What a
client sends may be lent (L{haloy.proxy.tls.intake}): then pieces of bodies are views of
a buffer that others will use, and are copied only if nobody takes them at once. Of a
large body the full frames that follow each other are taken in one step.
"""

from __future__ import annotations

from typing import Final

from haloy.proxy.http2 import budget, frames
from haloy.proxy.http2.answers import Answers
from haloy.proxy.http2.control import BODY, CALL, REQUEST
from haloy.proxy.http2.frames import Broken
from haloy.proxy.http2.stream_state import Piece, Stream, content

_FULL_BYTES: Final = frames.HEADER_BYTES + frames.FRAME_BYTES
_FULL_DATA: Final = frames.FRAME_BYTES << 8 | frames.DATA

# At hand for what is done for every frame.
_unpack = frames.HEADER.unpack_from
_HEADER_BYTES: Final = frames.HEADER_BYTES
_FRAME_BYTES: Final = frames.FRAME_BYTES
_END_STREAM: Final = frames.END_STREAM
_PADDED: Final = frames.PADDED


class Bodies(Answers):
    """The bodies on one connection."""

    def __init__(self, *, client: bool, now_s: float) -> None:
        super().__init__(client=client, now_s=now_s)
        # Those with pieces in the buffer that is lent.
        self._lent: dict[Stream, None] = {}

    def take_body(self, stream: Stream) -> bytes:
        """Return what came of the body; the caller gives credit for it later."""
        data = content(stream)
        stream.inbox = []
        return data

    def take_pieces(self, stream: Stream) -> list[Piece]:
        """As L{take_body}, in pieces that are good until the caller returns."""
        pieces = stream.inbox
        stream.inbox = []
        return pieces

    def chats(self, stream: Stream) -> None:
        """Learn that small pieces are the business of C{stream}.

        Those that came with its head as well, which was not known then.
        """
        if stream.small_price != budget.SMALL_DATA:
            return
        stream.small_price = budget.SMALL_DATA_CHATTY
        pieces = stream.inbox
        if len(pieces) > 1:
            least, most = budget.MESSAGE_BYTES, budget.SMALL_DATA_BYTES
            small = len([True for piece in pieces if least <= len(piece) < most])
            self.budget.earn(small * (budget.SMALL_DATA - budget.SMALL_DATA_CHATTY))

    def keep_lent(self) -> None:
        """Copy what nobody has taken out of the buffer that was lent to us."""
        lent = self._lent
        if lent:
            for stream in lent:
                if stream.inbox:
                    stream.inbox = [bytes(piece) for piece in stream.inbox]
            lent.clear()

    def _data(self, stream_id: int, flags: int, body: Piece) -> None:
        if not stream_id:
            raise Broken(frames.PROTOCOL_ERROR, "DATA on stream 0")
        counted = len(body)
        self.receive_window -= counted
        if self.receive_window < 0:
            raise Broken(frames.FLOW_CONTROL_ERROR, "the connection's window")
        stream = self.streams.get(stream_id)
        if stream is None or not stream.receiving:
            self._late_data(stream_id, stream, counted)
            return
        stream.receive_window -= counted
        if stream.receive_window < 0:
            self._credit_connection(counted)
            self._abort(stream, frames.FLOW_CONTROL_ERROR)
            return
        if self.client and not stream.answered:
            # A body without a head (section 8.1).
            self._credit_connection(counted)
            self._abort(stream, frames.PROTOCOL_ERROR)
            return
        if flags & _PADDED:
            body = body[1 : frames.padded_end(body)]
        size = len(body)
        end = flags & _END_STREAM != 0
        if size < budget.SMALL_DATA_BYTES and not end:
            chatty = size >= budget.MESSAGE_BYTES
            self._spend(stream.small_price if chatty else tiny_price(stream, size))
        if stream.left_bytes >= 0:
            stream.left_bytes -= size
            if stream.left_bytes < 0 or (end and stream.left_bytes):
                self._credit_connection(counted)
                self._abort(stream, frames.PROTOCOL_ERROR)
                return
        self._hold(stream, counted)
        if counted != size:
            self.credit(stream, counted - size)
        inbox = stream.inbox
        whole = end and size > 0 and not inbox and self._all_at_once(stream)
        if size:
            if not (whole or inbox):
                self._events.append((BODY, stream, None))
            inbox.append(body)
            if isinstance(body, memoryview):
                self._lent[stream] = None
        if whole:
            stream.receiving = False
        elif end:
            self._received_all(stream, [])

    def _all_at_once(self, stream: Stream) -> bool:
        """Let the event of the head tell of the body and of the end as well.

        False: it came in another read.
        """
        events = self._events
        if stream.begun < len(events):
            kind, of, fields = events[stream.begun]
            if of is stream and kind == REQUEST:
                events[stream.begun] = (CALL, stream, fields)
                return True
        return False

    def _more_data(self, stream_id: int, data: memoryview, position: int) -> int:
        """Take the full frames that go on with the body of the one before them.

        Only what the windows and the length have room for: of all else L{_data} knows
        what it means. Return where they end.
        """
        stream = self.streams.get(stream_id)
        if stream is None or not stream.receiving or not stream.inbox:
            return position
        room = min(self.receive_window, stream.receive_window)
        if stream.left_bytes >= 0:
            room = min(room, stream.left_bytes)
        most = min(room // _FRAME_BYTES, (len(data) - position) // _FULL_BYTES)
        full = (_FULL_DATA, 0, stream_id)
        take = stream.inbox.append
        start = position
        last = position + most * _FULL_BYTES
        while position < last and _unpack(data, position) == full:
            end = position + _FULL_BYTES
            take(data[position + _HEADER_BYTES : end])
            position = end
        if position > start:
            size = (position - start) // _FULL_BYTES * _FRAME_BYTES
            self.receive_window -= size
            stream.receive_window -= size
            if stream.left_bytes >= 0:
                stream.left_bytes -= size
            self._lent[stream] = None
            self._hold(stream, size)
        return position

    def _hold(self, stream: Stream, size: int) -> None:
        """Count what came of a body, until somebody has taken it."""
        self.held_bytes += size
        if self.client or self.may_grow:
            # A stream that nobody takes must not hold up the others.
            stream.advanced_bytes += size
            self._credit_connection(size)

    def _late_data(self, stream_id: int, stream: Stream | None, size: int) -> None:
        if self._idle(stream_id):
            raise Broken(frames.PROTOCOL_ERROR, "DATA on an idle stream")
        self._credit_connection(size)
        if stream is not None:
            self._abort(stream, frames.STREAM_CLOSED)
        elif self.client or stream_id in self._reset:
            self._spend(budget.LATE)
        else:
            raise Broken(frames.STREAM_CLOSED, "DATA on a closed stream")


def tiny_price(stream: Stream, size: int) -> float:
    """Return what a piece of C{size} bytes costs, fewer than any message has.

    What an app says was asked for, in whatever pieces.
    """
    if not size:
        return budget.EMPTY_DATA
    return budget.SMALL_DATA if stream.small_price else 0.0
