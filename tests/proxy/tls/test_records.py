"""Records of TLS on a real connection."""

from __future__ import annotations

import socket
import ssl
import sys
from contextlib import suppress
from pathlib import Path

from haloy.proxy.http2.multiplexed import write_out
from haloy.proxy.tls.records import room_bytes, send_records
from tests.proxy.tls_pairs import tls_pair

RECORD = b"r" * 16384


def segments(connection: socket.socket) -> int:
    """Return how many were sent: C{tcpi_segs_out} of C{linux/tcp.h}."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 140)
    return int.from_bytes(info[136:140], sys.byteorder)


def test_records_are_sent_together(tmp_path: Path) -> None:
    """Seven records of TLS are no seven packets, and nothing of them is held back."""
    rounds = 10
    with tls_pair(tmp_path) as (served, client):
        before = segments(served)
        for _ in range(rounds):
            assert send_records(served, 7 * RECORD) == 7 * len(RECORD)
            assert not served.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
            left = 7 * len(RECORD)
            while left:
                left -= len(client.recv(left))
        assert segments(served) - before < 4 * rounds


def test_what_a_slow_client_takes_is_seen(tmp_path: Path) -> None:
    """Much is written in pieces: the kernel being full does not hide what went."""
    data = bytes(range(256)) * (1 << 15)  # 8 MiB, more than kernels hold
    with tls_pair(tmp_path) as (served, client):
        done = write_out(served, data)
        assert 0 < done < len(data)
        # What the client's side has taken by itself makes room, once or twice.
        full = False
        while not full:
            try:
                done += write_out(served, data[done:])
            except ssl.SSLWantWriteError:
                full = True
            assert done < len(data)
        came = b""
        while len(came) < len(data):
            came += client.recv(1 << 16)
            with suppress(ssl.SSLWantWriteError):
                done += write_out(served, data[done:])
    assert came == data


def test_room(tmp_path: Path) -> None:
    """What is said to have room has it, until there is none; a closed socket has none.

    So what is sent goes to the kernel as a whole.
    """
    with tls_pair(tmp_path) as (served, _):
        total = 0
        while size := room_bytes(served):
            size = min(size, 1 << 19)
            assert served.send(bytes(size)) == size
            total += size
        assert total > 1 << 16
    assert room_bytes(served) == 0
