"""Measure what idle and stalled connections cost our proxy.

usage: python -m bench.idle [COUNT]

Prints KiB of resident memory for each idle keep-alive connection (plain, TLS), for
each idle WebSocket, and for each client that asked for 10 MiB and does not read;
and how long a new request takes beside them.
"""

from __future__ import annotations

import itertools
import resource
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

from bench.compare import HOST, Stage, Target, client_context

#: One client may not have as many connections as are measured: these take turns.
SOURCES = itertools.cycle(f"127.0.0.{number}" for number in range(1, 101))


def dial(target: Target, tls: bool, host: str, request: bytes) -> socket.socket:
    connection: socket.socket = socket.create_connection(
        ("127.0.0.1", target.https if tls else target.http),
        source_address=(next(SOURCES), 0),
    )
    if tls:
        connection = client_context().wrap_socket(connection, server_hostname=host)
    connection.sendall(request)
    return connection


def answer_s(target: Target) -> float:
    begun = time.monotonic()
    request = f"GET /1k HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
    with dial(target, False, HOST, request) as connection:
        while connection.recv(65536):
            pass
    return time.monotonic() - begun


def measure(target: Target, count: int) -> None:
    get = f"GET /1k HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    large = f"GET /10m HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: ws.example.com\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\n\r\n"
    )
    for name, tls, host, request, reads, number in (
        ("idle keep-alive", False, HOST, get, True, count),
        ("idle keep-alive, TLS", True, HOST, get, True, count),
        ("idle WebSocket", False, "ws.example.com", upgrade, True, count // 5),
        ("stalled reader", False, HOST, large, False, count // 10),
        ("stalled reader, TLS", True, HOST, large, False, count // 10),
    ):
        answer_s(target)
        before = target.pss_mib()
        connections = []
        for _ in range(number):
            connection = dial(target, tls, host, request)
            if reads:
                connection.recv(65536)
            connections.append(connection)
        time.sleep(0.5)  # noqa: TID251 - a script, no reactor
        each = (target.pss_mib() - before) * 1024 / number
        took = max(answer_s(target) for _ in range(5))
        print(
            f"{name:22} {number:6} connections {each:8.2f} KiB each,"
            f" a new GET {took * 1000:.1f} ms",
            flush=True,
        )
        for connection in connections:
            connection.close()
        time.sleep(0.5)  # noqa: TID251 - a script, no reactor


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder = Path(tempfile.mkdtemp(prefix="haloy-bench-"))
    folder.chmod(0o755)
    stage = None
    try:
        stage = Stage(folder, stock=False)
        measure(stage.targets[1], count)
    finally:
        if stage is not None:
            stage.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
