"""An app that does all that a proxy must not break; runs in a container of tests.

Only the standard library; ends C{END_S} seconds after SIGTERM, at once unless that is
set. Its version is C{VERSION}.
"""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import threading
import time
from io import BufferedReader

VERSION = os.environ.get("VERSION", "none")
END_S = float(os.environ.get("END_S", "0"))
SLOW_S = 0.7
DOWNLOAD_BYTES = 8 << 20
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def main() -> None:
    """Serve on 8080 until SIGTERM; what is under way then is not waited for."""
    signal.signal(signal.SIGTERM, end)
    listener = socket.create_server(("", 8080), backlog=256)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def end(*_: object) -> None:
    """End, as slowly as wanted."""
    time.sleep(END_S)
    os._exit(0)


def serve(connection: socket.socket) -> None:
    """Answer the requests of one connection."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = connection.makefile("rb")
    try:
        while answer(connection, stream):
            pass
    except OSError:
        pass
    finally:
        connection.close()


def answer(connection: socket.socket, stream: BufferedReader) -> bool:
    """Answer one request; return whether another may follow."""
    first = stream.readline()
    if not first:
        return False
    path = first.split()[1].decode()
    headers: dict[str, str] = {}
    while (line := stream.readline().strip()) != b"":
        key, _, value = line.partition(b":")
        headers[key.decode().lower()] = value.strip().decode()
    if "sec-websocket-key" in headers:
        echo(connection, stream, headers["sec-websocket-key"])
        return False
    body = stream.read(int(headers.get("content-length", "0")))
    if path == "/slow":
        time.sleep(SLOW_S)
    sent = VERSION.encode()
    if path == "/download":
        sent = b"x" * DOWNLOAD_BYTES
    if path == "/upload":
        sent = str(len(body)).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(sent)}\r\nX-Version: {VERSION}\r\n"
    connection.sendall(head.encode() + b"\r\n" + sent)
    return True


def echo(connection: socket.socket, stream: BufferedReader, key: str) -> None:
    """Send every message of a WebSocket back, without what frames could be besides."""
    accept = base64.b64encode(hashlib.sha1(key.encode() + MAGIC).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    while True:
        head = stream.read(6)
        if len(head) < 6:
            return
        masked = stream.read(head[1] & 127)
        text = bytes(one ^ head[2 + at % 4] for at, one in enumerate(masked))
        connection.sendall(bytes([0x81, len(text)]) + text)


if __name__ == "__main__":
    main()
