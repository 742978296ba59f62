"""What apps answer, as their client: heads, trailers, and all of it at once.

Below L{haloy.proxy.http2.engine}, which takes frames out of what was read.
"""

from __future__ import annotations

from typing import Final

from haloy.proxy.http2 import budget, frames
from haloy.proxy.http2.control import ANSWER, INTERIM, RESPONSE, Control
from haloy.proxy.http2.decoder import Decoder
from haloy.proxy.http2.hpack import Field
from haloy.proxy.http2.stream_state import Stream

HEAD_LIMIT_BYTES: Final = 65536

# At hand for what is done for every answer.
_HEADER_BYTES: Final = frames.HEADER_BYTES
_FRAME_BYTES: Final = frames.FRAME_BYTES
_END_HEADERS: Final = frames.END_HEADERS
# Kind and flags of the frames of a whole answer behind its head.
_DATA_OF: Final = bytes((frames.DATA, 0))
_TRAILERS_OF: Final = bytes((frames.HEADERS, frames.END_HEADERS | frames.END_STREAM))


class Answers(Control):
    """The answers on one connection."""

    def __init__(self, *, client: bool, now_s: float) -> None:
        super().__init__(client=client, now_s=now_s)
        self._decoder = Decoder(HEAD_LIMIT_BYTES)
        # A head and trailers of an app that were found fine; repeated, they are the
        # same lists.
        self._fine_head: list[Field] | None = None
        self._fine: list[Field] | None = None
        # Their blocks in the last whole answer, by one version of the table.
        self._fine_head_block = b""
        self._fine_block = b""
        self._fine_version = -1

    def _response(self, stream: Stream, fields: list[Field], end: bool) -> None:
        name, status = fields[0] if fields else (b"", b"")
        if name != b":status" or len(status) != 3 or not status.isdigit():
            self._abort(stream, frames.PROTOCOL_ERROR)
        elif status[:1] != b"1":
            self._fine_head = fields
            self._fine_version = -1
            stream.answered = True
            self._events.append((RESPONSE, stream, fields))
            if end:
                self._received_all(stream, [])
        elif end:
            self._abort(stream, frames.PROTOCOL_ERROR)
        else:
            self._spend(budget.USELESS)
            self._events.append((INTERIM, stream, fields))

    def _trailers(self, stream: Stream, fields: list[Field]) -> None:
        wrong = fields is not self._fine and any(
            name[:1] == b":" or name != name.lower() for name, _ in fields
        )
        if wrong or stream.left_bytes > 0:
            self._abort(stream, frames.PROTOCOL_ERROR)
            return
        if self.client:
            self._fine = fields
            self._fine_version = -1
        self._received_all(stream, fields)

    def _take_whole(
        self, stream_id: int, flags: int, block: bytes, data: bytes, position: int
    ) -> int:
        """Take a whole answer like the one before it: a head, a body, trailers.

        Its head is C{block}; the rest is at C{position} of C{data}. Return where it
        ends, or 0: it is something else, and nothing is done.
        """
        stream = self.streams.get(stream_id)
        if (
            stream is None
            or not stream.at_once
            or stream.answered
            or stream.sending
            or flags != _END_HEADERS
        ):
            return 0
        number = stream.number
        end = end_of(data, position, _DATA_OF + number)
        size = end - position - _HEADER_BYTES
        if (
            size <= 0
            or size > _FRAME_BYTES
            or size > stream.receive_window
            or size > self.receive_window
        ):
            return 0
        body = data[position + _HEADER_BYTES : end]
        position = end + _HEADER_BYTES
        end = end_of(data, end, _TRAILERS_OF + number)
        if not end:
            # Before the slice: compiled, one that ends before it begins is an error.
            return 0
        last_block = data[position:end]
        if (
            self._fine_version != self._decoder.version
            or block != self._fine_head_block
            or last_block != self._fine_block
        ) and not self._found_fine(block, last_block):
            return 0
        if size < budget.SMALL_DATA_BYTES:
            self._spend(stream.small_price)
        self.receive_window -= size
        self._credit_connection(size)
        stream.answered = True
        answer = (self._fine_head, body, self._fine)
        self._events.append((ANSWER, stream, answer))
        self._forget_untaken(stream)
        return end

    def _found_fine(self, block: bytes, last_block: bytes) -> bool:
        """Tell whether these are blocks of the head and of the trailers found fine."""
        decoder = self._decoder
        fields = decoder.known(block)
        trailers = decoder.known(last_block)
        if (
            fields is None
            or trailers is None
            or fields is not self._fine_head
            or trailers is not self._fine
        ):
            return False
        self._fine_head_block = block
        self._fine_block = last_block
        self._fine_version = decoder.version
        return True


def end_of(data: bytes, position: int, expected: bytes) -> int:
    """Return where the frame at C{position} ends.

    0: it is not there, not whole, or not what is C{expected}: its kind, its flags and
    the number of its stream, as they are written.
    """
    start = position + _HEADER_BYTES
    if start > len(data) or data[position + 3 : start] != expected:
        return 0
    size = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
    end = start + size
    return end if end <= len(data) else 0
