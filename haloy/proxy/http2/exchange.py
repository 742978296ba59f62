"""An exchange whose client speaks HTTP/2: bodies as they are, heads as HPACK blocks.

The upstream's side is that of L{haloy.proxy.exchange}; only what the client gets is
written otherwise.
"""

from __future__ import annotations

from typing import Final

from haloy.proxy.body import CHUNKED, LENGTH, ChunkedBody
from haloy.proxy.exchange import (
    AWAITED,
    COMPLETE,
    INTERIM_LIMIT,
    Exchange,
    TooLarge,
)
from haloy.proxy.fields import BadHead, field_name, passable_trailers
from haloy.proxy.head import RequestHead
from haloy.proxy.http2.head import trailer_lines
from haloy.proxy.http2.hpack import Field, encode_field, number
from haloy.proxy.http2.stream_state import Piece
from haloy.proxy.response_head import ResponseHead, framing_of

_KNOWN_LIMIT: Final = 4096
_KNOWN_BYTES: Final = 256

# Lines of heads met before, as they are sent. Nothing private is kept.
_known: dict[bytes, bytes] = {}

_LENGTH_NAME: Final = number(28, 0x0F, 0)


class KnownAnswer:
    """A head of an answer that was met before.

    @ivar block: what is sent for it.
    """

    __slots__ = ("block", "head", "length_bytes", "status")

    def __init__(self, head: ResponseHead, block: bytes) -> None:
        self.head = head
        self.block = block
        self.status = head.status
        self.length_bytes = head.length_bytes

    def whole(self, size_bytes: int) -> bool:
        """Tell whether C{size_bytes} are all of the body of an answer to GET.

        And whether there is one, and the upstream's connection can go on.
        """
        return (
            size_bytes == self.length_bytes
            and size_bytes > 0
            and self.status not in (204, 304)
            and not self.head.close
        )


# Whole heads of answers met before, with our own lines: as they came, and their
# block. An app's small answers repeat them within the second that Date tells.
_HEADS_LIMIT: Final = 512
_HEAD_BYTES: Final = 2048
_heads: dict[tuple[bytes, bytes], KnownAnswer] = {}


def known_answer(extra: bytes, data: bytes, end: int) -> KnownAnswer | None:
    """Return what is known of the head that ends at C{end} of C{data}.

    C{extra} are the lines that we add.
    """
    if not 0 < end <= _HEAD_BYTES:
        return None
    return _heads.get((extra, data[:end]))


def encode_line(line: bytes) -> bytes:
    """Return a field line of HTTP/1.1 as HPACK."""
    found = _known.get(line)
    if found is None:
        name, _, value = line.partition(b":")
        name = name.lower()
        found = encode_field(name, value.strip(b" \t"))
        if len(line) <= _KNOWN_BYTES and name != b"set-cookie":
            if len(_known) >= _KNOWN_LIMIT:
                _known.clear()
            _known[line] = found
    return found


def encode_lines(lines: list[bytes]) -> bytes:
    """Return field lines of HTTP/1.1 as HPACK."""
    return b"".join([encode_line(line) for line in lines])


class StreamExchange(Exchange):
    """One request of HTTP/2 and its response.

    @ivar heads: blocks that go out before what L{take_response} returned: interim
        ones, then the final one.
    @ivar trailers: the block that ends the answer, empty for none.
    """

    __slots__ = ("_key", "heads", "trailers")

    def __init__(
        self,
        request: RequestHead,
        *,
        extra: bytes = b"",
        replaced: frozenset[bytes] = frozenset(),
        max_body_bytes: int | None = None,
    ) -> None:
        """Begin with the head of the request; see L{Exchange}.

        @raise TooLarge: Content-Length says more than C{max_body_bytes}.
        """
        super().__init__(
            request, extra=extra, replaced=replaced, max_body_bytes=max_body_bytes
        )
        self.heads: list[bytes] = []
        self.trailers = b""
        self._key: tuple[bytes, bytes] | None = None

    def take_request(self, data: bytes) -> bytes:
        """As L{take_pieces}, of one and in one."""
        return b"".join(self.take_pieces([data], len(data)))

    def take_pieces(self, pieces: list[Piece], size_bytes: int) -> list[Piece]:
        """Return C{pieces} of payload, never empty, as the upstream gets them.

        @raise TooLarge: the body passes the limit: 413.
        """
        self.request_bytes += size_bytes
        if (
            self._max_body_bytes is not None
            and self.request_bytes > self._max_body_bytes
        ):
            raise TooLarge
        if self.request.framing == LENGTH:
            # The end of the stream, which says nothing new, may come later.
            self.request_done = self.request_bytes == self.request.length_bytes
            return pieces
        return [b"%x\r\n" % size_bytes, *pieces, b"\r\n"]

    def end_request(self, trailers: list[Field]) -> bytes:
        """Return what ends the body at the upstream."""
        self.request_done = True
        if self.request.framing != CHUNKED:
            return b""
        lines = passable_trailers(trailer_lines(trailers))
        return b"0\r\n" + b"".join([line + b"\r\n" for line in lines]) + b"\r\n"

    def take_response(self, data: bytes) -> bytes:
        """As L{Exchange.take_response}; a head met before is not taken apart again."""
        if self.response != AWAITED or self._reader is not None:
            return super().take_response(data)
        end = data.find(b"\r\n\r\n")
        known = known_answer(self._extra, data, end)
        if known is None:
            if 0 < end <= _HEAD_BYTES:
                self._key = (self._extra, data[:end])
            return super().take_response(data)
        self.heard = True
        rest = data[end + 4 :]
        self._start(known.head, known.block, len(rest))
        if self.response != COMPLETE:
            return self._take_body(rest) if rest else b""
        if len(rest) == self.response_bytes:
            return rest
        self.keep_upstream = False
        return b""

    def _pass_interim(self, head: ResponseHead) -> bytes:
        # What the key stands for was no final head.
        self._key = None
        self._interim += 1
        if self._interim > INTERIM_LIMIT:
            raise BadHead(502, "too many interim answers")
        self.interim_seen = True
        if head.status in (100, 103):
            status = encode_field(b":status", b"%d" % head.status)
            self.heads.append(status + encode_lines(head.fields))
        return b""

    def _begin(self, head: ResponseHead, size_bytes: int) -> bytes:
        status = head.status
        fields = head.fields
        if self._replaced:
            fields = [line for line in fields if field_name(line) not in self._replaced]
        block = encode_field(b":status", b"%d" % status) + encode_lines(fields)
        if head.length_bytes >= 0 and status != 204:
            text = b"%d" % head.length_bytes
            block += _LENGTH_NAME + number(len(text), 0x7F, 0) + text
        if self._extra:
            block += encode_lines(self._extra.split(b"\r\n")[:-1])
        key, self._key = self._key, None
        if key is not None and b"set-cookie:" not in key[1].lower():
            if len(_heads) >= _HEADS_LIMIT:
                _heads.clear()
            _heads[key] = KnownAnswer(head, block)
        self._start(head, block, size_bytes)
        return b""

    def _start(self, head: ResponseHead, block: bytes, size_bytes: int) -> None:
        """Begin the answer with C{head}, whose block C{block} is."""
        self.status = head.status
        self.keep_upstream = not head.close
        self.heads.append(block)
        framing = framing_of(head, self.request.method)
        self._frame(framing, head.length_bytes, size_bytes)

    def _take_body(self, data: bytes) -> bytes:
        body = self._response_body
        payload = super()._take_body(data)
        if isinstance(body, ChunkedBody) and body.trailers and body.done:
            self.trailers = encode_lines(passable_trailers(body.trailers))
        return payload
