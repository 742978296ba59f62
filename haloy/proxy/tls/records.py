"""What TLS on a descriptor needs beside the C{ssl} module's own calls."""

from __future__ import annotations

import os
import socket
import ssl


def hold_packets(tls: ssl.SSLSocket, hold: bool) -> None:
    """Have the kernel send full packets only; with false, all that it has.

    Each record is a write of its own, and would be a packet of its own, which wakes
    the peer.
    """
    tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, hold)


def send_records(tls: ssl.SSLSocket, data: bytes | bytearray | memoryview) -> int:
    """Send C{data}, more than a record, and return how much the kernel has taken.

    The packets are held together until the last record is there.
    """
    hold_packets(tls, True)
    try:
        return tls.send(data)
    finally:
        hold_packets(tls, False)


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
