"""Records of TLS on a real connection."""

from __future__ import annotations

import socket
import ssl
import sys
from concurrent import futures
from pathlib import Path

from haloy.proxy.records import send_records
from tests.proxy.support import OneContext

RECORD = b"r" * 16384


def segments(connection: socket.socket) -> int:
    """Return how many were sent: C{tcpi_segs_out} of C{linux/tcp.h}."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 140)
    return int.from_bytes(info[136:140], sys.byteorder)


def test_records_are_sent_together(tmp_path: Path) -> None:
    """Seven records of TLS are no seven packets, and nothing of them is held back."""
    context = OneContext(tmp_path).context
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
    rounds = 10
    with served, client:
        client.settimeout(10)
        served.setblocking(False)
        before = segments(served)
        for _ in range(rounds):
            assert send_records(served, 7 * RECORD) == 7 * len(RECORD)
            assert not served.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
            left = 7 * len(RECORD)
            while left:
                left -= len(client.recv(left))
        assert segments(served) - before < 4 * rounds
