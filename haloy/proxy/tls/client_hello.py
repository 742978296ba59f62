"""The ClientHello: what a client asks for before anything is negotiated.

Reads bytes that are still in the socket (C{MSG_PEEK}), RFC 8446 sections 4.1.2 and
5.1, RFC 6066 section 3, RFC 7301 section 3.1. Knows nothing of certificates, and
checks no more than it reads: the handshake itself is the TLS library's.
"""

from __future__ import annotations

import struct
from typing import Final

from attrs import frozen

#: A hello that needs more bytes than this is left to the TLS library.
LIMIT_BYTES: Final = 16384
#: So is one in more records: each may come alone, and all are read again each time.
LIMIT_RECORDS: Final = 16

_RECORD_HEADER: Final = 5
_MESSAGE_HEADER: Final = 4
_EXTENSION_HEADER: Final = 4
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_MAJOR_VERSION: Final = 3
_RANDOM: Final = 34  # the version before it included
_SERVER_NAME: Final = 0
_PROTOCOLS: Final = 16


@frozen
class Hello:
    """A whole ClientHello.

    C{server_name} is what was asked for, as sent, C{b""} without one; C{protocols}
    are those offered by ALPN, in the client's order, as far as they were looked for.
    """

    server_name: bytes
    protocols: tuple[bytes, ...]


@frozen
class NeedMore:
    """It looks like one; C{size_bytes} must be there, counted from the first byte."""

    size_bytes: int


@frozen
class NotTls:
    """These bytes do not begin a ClientHello that is read here."""


#: Of a record: kind, major version, size; of the message in it: kind, size in 24 bits.
_headers = struct.Struct(">BBxHBBH").unpack_from
_HEADERS: Final = _RECORD_HEADER + _MESSAGE_HEADER

#: Kind and size of an extension.
_extension = struct.Struct(">HH").unpack_from


class _Malformed(Exception):
    """A length points past its vector."""


def read_hello(data: bytes, *, protocols: bool = True) -> Hello | NeedMore | NotTls:
    """Return what C{data}, the first bytes of a connection, says. Never raises.

    @param protocols: look for them, too; else it ends at the name, which mostly
        comes early.
    """
    if len(data) > _HEADERS:
        kind, major, size, begins, high, low = _headers(data)
        end = _RECORD_HEADER + size
        if (
            (kind, major, begins) == (_HANDSHAKE, _MAJOR_VERSION, _CLIENT_HELLO)
            and _MESSAGE_HEADER + (high << 16 | low) == size
            and len(data) >= end
        ):
            return _parsed(data[_HEADERS:end], protocols)
    return _read_records(data, protocols)


def _read_records(data: bytes, protocols: bool) -> Hello | NeedMore | NotTls:
    """Read one that is not all there, or not just one record."""
    message = b""
    start = 0
    for _ in range(LIMIT_RECORDS):
        end = start + _RECORD_HEADER
        header = data[start:end]
        if header[:1] and header[0] != _HANDSHAKE:
            return NotTls()
        if header[1:2] and header[1] != _MAJOR_VERSION:
            return NotTls()
        if len(header) < _RECORD_HEADER:
            return _more(end)
        size = int.from_bytes(header[3:])
        if not size:
            return NotTls()
        message += data[end : end + size]
        if message and message[0] != _CLIENT_HELLO:
            return NotTls()
        whole = _MESSAGE_HEADER + int.from_bytes(message[1:_MESSAGE_HEADER])
        if len(message) >= _MESSAGE_HEADER and len(message) >= whole:
            return _parsed(message[_MESSAGE_HEADER:whole], protocols)
        if end + size > len(data):
            return _more(end + size)
        start = end + size
    return NotTls()


def _more(size: int) -> NeedMore | NotTls:
    return NeedMore(size) if size <= LIMIT_BYTES else NotTls()


def _parsed(body: bytes, asks_protocols: bool) -> Hello | NotTls:
    try:
        return _hello(body, asks_protocols)
    except _Malformed:
        return NotTls()


def _hello(body: bytes, asks_protocols: bool) -> Hello:
    """Return what stands in C{body}; by position, as every handshake comes here.

    No extension comes twice: OpenSSL refuses such a hello.

    @raise _Malformed: a length points past its vector.
    """
    position = _RANDOM
    for width in (1, 2, 1):  # session id, cipher suites, compression methods
        position += width + int.from_bytes(body[position : position + width])
    if position > len(body):
        raise _Malformed
    name = b""
    protocols: tuple[bytes, ...] = ()
    if position == len(body):
        return Hello(name, protocols)  # no extensions at all
    start = position + 2
    end = start + int.from_bytes(body[position:start])
    if end > len(body):
        raise _Malformed
    while start < end:
        content = start + _EXTENSION_HEADER
        if content > end:
            raise _Malformed
        kind, size = _extension(body, start)
        start = content + size
        if start > end:
            raise _Malformed
        if kind == _SERVER_NAME:
            name = _server_name(body[content:start])
            if not asks_protocols:
                break
        elif kind == _PROTOCOLS:
            protocols = _protocols(body[content:start])
    return Hello(name, protocols)


def _server_name(content: bytes) -> bytes:
    names, _ = _vector(content, 2)
    if names[:1] != b"\0":  # host_name is the only kind there is
        return b""
    name, _ = _vector(names[1:], 2)
    return name


def _protocols(content: bytes) -> tuple[bytes, ...]:
    offered, _ = _vector(content, 2)
    found = []
    while offered:
        one, offered = _vector(offered, 1)
        found.append(one)
    return tuple(found)


def _vector(data: bytes, width: int) -> tuple[bytes, bytes]:
    """Return the vector whose length stands in C{width} bytes, and what follows.

    @raise _Malformed: there is less than that.
    """
    end = width + int.from_bytes(data[:width])
    if len(data) < width or len(data) < end:
        raise _Malformed
    return data[width:end], data[end:]
