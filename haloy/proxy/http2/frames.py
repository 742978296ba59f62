"""HTTP/2 frames (RFC 9113 sections 4, 6): their numbers, and how ours are written."""

from __future__ import annotations

from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Length and type are read as one number: length << 8 | type.
HEADER: Final = Struct(">IBI")
HEADER_BYTES: Final = 9
NUMBER: Final = Struct(">I")
SETTING: Final = Struct(">HI")

# We never allow more than the least that everybody must take, nor send more.
FRAME_BYTES: Final = 16384

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 1
ACK: Final = 1
END_HEADERS: Final = 4
PADDED: Final = 8
WITH_PRIORITY: Final = 32

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
SETTINGS_TIMEOUT: Final = 4
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
CONNECT_ERROR: Final = 10
ENHANCE_YOUR_CALM: Final = 11

LAST_STREAM: Final = 0x7FFFFFFF
WINDOW_LIMIT: Final = 0x7FFFFFFF
DEFAULT_WINDOW: Final = 65535

SETTINGS_ACK: Final = b"\0\0\0\4\1\0\0\0\0"


class Broken(Exception):
    """The connection cannot go on; C{code} is what GOAWAY says."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


# How frames begin, by size, kind and flags: an app's answers repeat them.
_BEGINNINGS_LIMIT: Final = 4096
_beginnings: dict[int, bytes] = {}


def beginning(size: int, kind: int, flags: int) -> bytes:
    """Return the header of a frame up to the number of its stream."""
    key = size << 16 | kind << 8 | flags
    found = _beginnings.get(key)
    if found is None:
        found = key.to_bytes(5, "big")
        if len(_beginnings) >= _BEGINNINGS_LIMIT:
            _beginnings.clear()
        _beginnings[key] = found
    return found


def settings(*pairs: tuple[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    body = b"".join([SETTING.pack(*pair) for pair in pairs])
    return HEADER.pack(len(body) << 8 | SETTINGS, 0, 0) + body


def window_update(stream_id: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame; C{increment} is 1 or more."""
    return HEADER.pack(4 << 8 | WINDOW_UPDATE, 0, stream_id) + NUMBER.pack(increment)


def rst_stream(stream_id: int, code: int) -> bytes:
    """Return a RST_STREAM frame."""
    return HEADER.pack(4 << 8 | RST_STREAM, 0, stream_id) + NUMBER.pack(code)


def ping(body: bytes, flags: int = 0) -> bytes:
    """Return a PING frame with its 8 octets."""
    return HEADER.pack(8 << 8 | PING, flags, 0) + body


def goaway(last: int, code: int, reason: str = "") -> bytes:
    """Return a GOAWAY frame: streams after C{last} were not looked at."""
    body = NUMBER.pack(last) + NUMBER.pack(code) + reason.encode("ascii", "replace")
    return HEADER.pack(len(body) << 8 | GOAWAY, 0, 0) + body


def headers(stream_id: int, block: bytes, *, end: bool) -> bytes:
    """Return HEADERS with as many CONTINUATIONs as C{block} needs."""
    size = len(block)
    if size <= FRAME_BYTES:
        flags = END_HEADERS | END_STREAM if end else END_HEADERS
        return HEADER.pack(size << 8 | HEADERS, flags, stream_id) + block
    frames = [
        HEADER.pack(FRAME_BYTES << 8 | HEADERS, END_STREAM if end else 0, stream_id),
        block[:FRAME_BYTES],
    ]
    for start in range(FRAME_BYTES, size, FRAME_BYTES):
        piece = block[start : start + FRAME_BYTES]
        flags = END_HEADERS if start + FRAME_BYTES >= size else 0
        frames.append(HEADER.pack(len(piece) << 8 | CONTINUATION, flags, stream_id))
        frames.append(piece)
    return b"".join(frames)


def padded_end(body: bytes | memoryview) -> int:
    """Return where the padding of a frame begins; what it pads is behind octet 0.

    @raise Broken: there is more padding than body.
    """
    if not body or body[0] >= len(body):
        raise Broken(PROTOCOL_ERROR, "padding longer than its frame")
    return len(body) - body[0]


def without_padding(flags: int, body: bytes) -> bytes:
    """Return the body of a HEADERS frame without its padding.

    @raise Broken: there is more padding than body.
    """
    return body[1 : padded_end(body)] if flags & PADDED else body
