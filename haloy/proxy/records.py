"""What TLS on a descriptor needs beside the C{ssl} module's own calls."""

from __future__ import annotations

import os
import socket
import ssl


def send_records(tls: ssl.SSLSocket, data: bytes | bytearray | memoryview) -> int:
    """Send C{data}, more than a record, and return how much the kernel has taken.

    Each record is a write of its own, and would be a packet of its own, which wakes
    the peer: the kernel holds them together until the last is there.
    """
    tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    try:
        return tls.send(data)
    finally:
        tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


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
