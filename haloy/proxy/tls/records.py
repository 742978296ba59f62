"""What TLS on a descriptor needs beside the C{ssl} module's own calls."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any, Final, cast

# asm-generic/socket.h, which the socket module does not have. Of the numbers that it
# gives, two (linux/sock_diag.h): SK_MEMINFO_SNDBUF and SK_MEMINFO_WMEM_QUEUED.
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("=12xI4xI12x")


def room_bytes(connection: socket.socket) -> int:
    """Return how much the kernel surely takes of what is sent now; 0: none is sure."""
    try:
        numbers = connection.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        limit, queued = _MEMINFO.unpack(numbers)
    except (OSError, struct.error):
        # Not every kernel says it: those of sandboxes do not.
        return 0
    # It counts what it needs around the bytes as well.
    room: int = limit - queued
    return max(room, 0) * 7 // 8


def reader_of(tls: ssl.SSLSocket) -> Callable[[int, memoryview], int]:
    """Return what reads a record of C{tls} into a buffer, and returns how much came.

    It is what C{SSLSocket.read} calls inside (docs/decisions/0005), for whoever reads
    many records. An end without close_notify is C{ssl.SSLEOFError}.
    """
    read: Callable[[int, memoryview], int] = cast("Any", tls)._sslobj.read
    return read


def send_records(tls: ssl.SSLSocket, data: bytes | bytearray | memoryview) -> int:
    """Send C{data}, more than a record, and return how much the kernel has taken.

    Each record is a write of its own, and would be a packet of its own, which wakes
    the peer: the packets are held together until the last record is there.
    """
    tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, True)
    try:
        return tls.send(data)
    finally:
        tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, False)


def send_close_notify(tls: ssl.SSLSocket, fileno: int) -> None:
    """Send TLS's close_notify without reading.

    C{SSLSocket.unwrap} reads the peer's answer at once, and application data in
    its place kills the session with it. For the one call the descriptor's number
    is lent to an empty socket pair, which takes the alert and has nothing to read.
    """
    inner, outer = socket.socketpair()
    with inner, outer:
        inner.setblocking(False)
        outer.setblocking(False)
        saved = os.dup(fileno)
        try:
            os.dup2(inner.fileno(), fileno, inheritable=False)
            try:
                tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            finally:
                os.dup2(saved, fileno, inheritable=False)
        finally:
            os.close(saved)
        os.write(fileno, outer.recv(4096))
