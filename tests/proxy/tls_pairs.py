"""Both ends of a connection over TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

from tests.proxy.support import OneContext


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
