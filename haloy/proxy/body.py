"""Where a body ends: by a length, by chunks, or with the connection.

Decoders take bytes as they come and give the payload; they know nothing of
sockets. Chunked framing is never passed through: it is taken apart here and
written anew by L{chunk}, so a lenient peer cannot read it differently
(RFC 9112 section 7.1).
"""

from __future__ import annotations

import re
from typing import Final

from haloy.proxy.fields import FIELDS_LIMIT

# How a body is framed. Plain integers: they are compared for every segment.
NO_BODY: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
CLOSE: Final = 3

CHUNK_LINE_LIMIT_BYTES: Final = 4096
TRAILERS_LIMIT_BYTES: Final = 16384
#: And so many lines, as in a head.
TRAILERS_LIMIT: Final = FIELDS_LIMIT

# So much of a request's body has to come in each of its app's C{body_timeout}, until
# the app answers: 1 KiB/s by default.
BODY_PROGRESS_BYTES: Final = 30720

LAST_CHUNK: Final = b"0\r\n\r\n"

# chunk-ext of RFC 9112 section 7.1.1: token or quoted-string, no bad white space.
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = (
    rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
)
_CHUNK: Final = (
    rb"([0-9A-Fa-f]{1,15})"
    rb"(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*"
)
_chunk_line = re.compile(_CHUNK + rb"\Z")
_whole_line = re.compile(_CHUNK + rb"\r\n\Z")

_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3
_DONE: Final = 4


class BadBody(Exception):
    """The framing of a body breaks the grammar; the text says where."""


def chunk(payload: bytes) -> bytes:
    """Return C{payload}, which must not be empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


class LengthBody:
    """A body of C{left} bytes.

    C{rest} is what came behind the end in the segment that completed the body.
    """

    __slots__ = ("done", "left", "rest")

    def __init__(self, length_bytes: int) -> None:
        self.left = length_bytes
        self.done = length_bytes == 0
        self.rest = b""

    def take(self, data: bytes) -> bytes:
        """Return the part of C{data} that belongs to the body."""
        size = len(data)
        if size < self.left:
            self.left -= size
            return data
        if size > self.left:
            self.rest = data[self.left :]
            data = data[: self.left]
        self.left = 0
        self.done = True
        return data


class ChunkedBody:
    """A chunked body, taken apart.

    C{trailers} are the trailer lines as they came, without line ends; whoever
    passes them on checks them first. C{rest} is as in L{LengthBody}.
    """

    __slots__ = ("_held", "_left", "_seen", "_state", "done", "rest", "trailers")

    def __init__(self) -> None:
        self._state: int = _SIZE
        self._left = 0
        self._held = b""
        self._seen = 0
        self.done = False
        self.rest = b""
        self.trailers: list[bytes] = []

    def take(self, data: bytes) -> bytes:
        """Return the payload in C{data}.

        @raise BadBody: wrong chunk syntax or a limit is passed.
        """
        if self._held:
            data = self._held + data
            self._held = b""
        pieces: list[bytes] = []
        position = 0
        size = len(data)
        while position < size:
            if self._state == _DATA:
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _DATA_END
                continue
            end = data.find(b"\n", position)
            if end < 0:
                self._hold(data[position:])
                break
            if self._state == _SIZE:
                whole = self._whole_chunk(data, position, end + 1, pieces)
                if whole:
                    position = whole
                    continue
            line = data[position : end + 1]
            position = end + 1
            self._line(line)
            if self._state == _DONE:
                self.done = True
                self.rest = data[position:]
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _whole_chunk(
        self, data: bytes, position: int, start: int, pieces: list[bytes]
    ) -> int:
        """Take a chunk that is there as a whole, in one step; return its end or 0.

        Its line is from C{position} to C{start}. What is not taken, the last chunk and
        what is wrong, is for L{_line}.
        """
        if start - position > CHUNK_LINE_LIMIT_BYTES + 2:
            return 0
        match = _whole_line.match(data, position, start)
        if match is None:
            return 0
        end = start + int(match[1], 16)
        if end == start or data[end : end + 2] != b"\r\n":
            return 0
        pieces.append(data[start:end])
        return end + 2

    def _hold(self, part: bytes) -> None:
        """Keep the part of a line that came; refuse what cannot become right."""
        if self._state == _DATA_END and part != b"\r":
            raise BadBody("data longer than its chunk")
        if b"\r" in part[:-1]:
            raise BadBody("bare CR in chunk framing")
        if len(part) > CHUNK_LINE_LIMIT_BYTES:
            raise BadBody("chunk line too long")
        self._held = part

    def _line(self, line: bytes) -> None:
        """Take one line of framing, its end included."""
        if line[-2:] != b"\r\n" or b"\r" in line[:-2]:
            raise BadBody("bare CR or LF in chunk framing")
        if len(line) > CHUNK_LINE_LIMIT_BYTES + 2:
            raise BadBody("chunk line too long")
        line = line[:-2]
        if self._state == _SIZE:
            match = _chunk_line.match(line)
            if match is None:
                raise BadBody("bad chunk size line")
            self._left = int(match.group(1), 16)
            self._state = _DATA if self._left else _TRAILERS
        elif self._state == _DATA_END:
            if line:
                raise BadBody("data longer than its chunk")
            self._state = _SIZE
        elif line:
            self._seen += len(line)
            if (
                self._seen > TRAILERS_LIMIT_BYTES
                or len(self.trailers) >= TRAILERS_LIMIT
            ):
                raise BadBody("trailers too long")
            self.trailers.append(line)
        else:
            self._state = _DONE


class CloseBody:
    """A body that ends with the connection; L{done} is set from outside."""

    __slots__ = ("done", "rest")

    def __init__(self) -> None:
        self.done = False
        self.rest = b""

    def take(self, data: bytes) -> bytes:
        """Return C{data}: all of it belongs to the body."""
        return data


Body = LengthBody | ChunkedBody | CloseBody
