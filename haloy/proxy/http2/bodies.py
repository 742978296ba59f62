"""Bodies that come: DATA, what it may be, and what it costs the windows.

Below L{haloy.proxy.http2.engine}, which takes frames out of what was read. What a
client sends may be lent (L{haloy.proxy.tls.intake}): then pieces of bodies are views of
a buffer that others will use, and are copied only if nobody takes them at once. Clients
send large bodies a frame of each in turn: what is plain about them is done in one step
for all frames of a read.
"""

from __future__ import annotations

from typing import Final

from haloy.proxy.http2 import budget, frames
from haloy.proxy.http2.answers import Answers
from haloy.proxy.http2.control import BODY, CALL, REQUEST
from haloy.proxy.http2.frames import Broken
from haloy.proxy.http2.stream_state import Piece, Stream, content

# At hand for what is done for every frame.
_unpack = frames.HEADER.unpack_from
_HEADER_BYTES: Final = frames.HEADER_BYTES
_FRAME_BYTES: Final = frames.FRAME_BYTES
_SMALL_BYTES: Final = budget.SMALL_DATA_BYTES
_DATA: Final = frames.DATA
_FULL_DATA: Final = _FRAME_BYTES << 8 | _DATA
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

    def _take_bodies(self, data: memoryview, position: int) -> int:
        """Take the frames of bodies that follow each other, of whatever streams.

        Only plain ones, which end nothing and are not small, and as far as windows
        and lengths have room for them: of all else L{_data} knows what it means.
        Return where they end.
        """
        grows = self.may_grow
        room = self.receive_window
        end = len(data)
        stream = self._all
        inbox = stream.inbox
        current = -1
        # As in L{Engine._parse}.
        head: int
        flags: int
        stream_id: int
        while end - position >= _HEADER_BYTES:
            head, flags, stream_id = _unpack(data, position)
            size = head >> 8
            start = position + _HEADER_BYTES
            after = start + size
            if flags or after > end or size > room:
                break
            if head != _FULL_DATA and (
                head & 0xFF != _DATA or not _SMALL_BYTES <= size < _FRAME_BYTES
            ):
                break
            if stream_id != current:
                found = self.streams.get(stream_id)
                if found is None or not found.receiving:
                    break
                current = stream_id
                stream = found
                inbox = stream.inbox
                self._lent[stream] = None
            if size > stream.receive_window:
                break
            left = stream.left_bytes
            if left >= 0:
                if size > left:
                    break
                stream.left_bytes = left - size
            stream.receive_window -= size
            room -= size
            if grows:
                stream.advanced_bytes += size
            if not inbox:
                self._events.append((BODY, stream, None))
            inbox.append(data[start:after])
            position = after
        taken = self.receive_window - room
        if taken:
            # As L{_hold} does, but once for all.
            self.receive_window = room
            self.held_bytes += taken
            if grows:
                self._credit_connection(taken)
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
