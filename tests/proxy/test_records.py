"""Records of TLS on a real connection."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from haloy.proxy.http2.multiplexed import write_out
from haloy.proxy.records import send_records
from tests.proxy.support import OneContext

RECORD = b"r" * 16384


def segments(connection: socket.socket) -> int:
    """Return how many were sent: C{tcpi_segs_out} of C{linux/tcp.h}."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 140)
    return int.from_bytes(info[136:140], sys.byteorder)


@contextmanager
def tls_pair(folder: Path) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """Yield the server's end, which does not block, and the client's."""
    context = OneContext(folder).context
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    with socket.create_server(("127.0.0.1", 0)) as listening:
        plain = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with futures.ThreadPoolExecutor(1) as pool:
        shaking = pool.submit(trusting.wrap_socket, plain)
        served = context.wrap_socket(accepted, server_side=True)
        client = shaking.result(10)
    with served, client:
        client.settimeout(10)
        served.setblocking(False)
        yield served, client


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
        with pytest.raises(ssl.SSLWantWriteError):
            write_out(served, data[done:])
        came = b""
        while len(came) < len(data):
            came += client.recv(1 << 16)
            with suppress(ssl.SSLWantWriteError):
                done += write_out(served, data[done:])
    assert came == data
