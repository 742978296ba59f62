"""A Go daemon as it was captured: its bytes, for requests like the captured ones."""

from __future__ import annotations

import json
import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field

FOLDER = Path(__file__).parents[1] / "api" / "golden"
_LOGS = re.compile(r"/v1/deploy/[^/]+/logs")


def captured(file: str) -> list[dict[str, Any]]:
    """Return the exchanges of C{exchanges} or C{edges}."""
    found: list[dict[str, Any]] = json.loads((FOLDER / f"{file}.json").read_text())
    return found


def call(exchange: Mapping[str, Any]) -> tuple[str, str]:
    """Return method and path of a request; whose log it is does not matter."""
    method, target, _ = exchange["request"]["line"].split(" ")
    path = urlsplit(target).path
    return method, "/v1/deploy/ID/logs" if _LOGS.fullmatch(path) else path


def raw(response: Mapping[str, Any]) -> bytes:
    """Return the bytes of an answer."""
    head = "\r\n".join([response["line"], *response["headers"], "", ""])
    return f"{head}{response['body']}".encode()


@define(eq=False)
class GoDaemon:
    """Answers as captured; what was asked is kept.

    @ivar answers: by method and path; a test may put another one in.
    @ivar after: what is said from the second time on.
    """

    answers: dict[tuple[str, str], Mapping[str, Any]]
    asked: list[tuple[str, str, bytes]] = field(factory=list)
    port: int = 0
    after: dict[tuple[str, str], Mapping[str, Any]] = field(factory=dict)

    def answer(self, method: str, target: str, body: bytes) -> bytes:
        path = urlsplit(target).path
        path = "/v1/deploy/ID/logs" if _LOGS.fullmatch(path) else path
        self.asked.append((method, target, body))
        found = self.answers.get((method, path), edge("GET", "/v1/nope"))
        if (method, path) in self.after:
            self.answers[method, path] = self.after.pop((method, path))
        return raw(found)

    def bodies(self, method: str, path: str) -> list[Any]:
        """Return the JSON that was sent to C{path}."""
        return [
            json.loads(body)
            for asked, target, body in self.asked
            if (asked, urlsplit(target).path) == (method, path)
        ]


def edge(method: str, path: str, status: int = 0) -> Mapping[str, Any]:
    """Return a captured answer of C{edges}, of this status if one is given."""
    for one in captured("edges"):
        response: Mapping[str, Any] = one["response"]
        if call(one) == (method, path) and (
            not status or response["line"].split(" ")[1] == str(status)
        ):
            return response
    raise AssertionError(f"{method} {path} was not captured")


@contextmanager
def go_daemon(
    tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[GoDaemon]:
    """Give a daemon on loopback that says what was captured, by TLS if wanted."""
    known = {call(one): one["response"] for one in captured("exchanges")}
    daemon = GoDaemon({**known})

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline().decode().split()
            if not line:
                return
            length, chunked, upgrade = 0, False, False
            while header := self.rfile.readline().decode().strip().lower():
                name, _, value = header.partition(":")
                length = int(value) if name == "content-length" else length
                chunked |= name == "transfer-encoding" and "chunked" in value
                upgrade |= name == "upgrade" and value.strip() == "tcp"
            body = _chunks(self.rfile) if chunked else self.rfile.read(length)
            self.wfile.write(daemon.answer(line[0], line[1], body))
            if upgrade:  # what is in the tunnel comes back
                while data := self.connection.recv(4096):
                    self.connection.sendall(data)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def get_request(self) -> tuple[socket.socket, Any]:
            connection, address = super().get_request()
            if tls is not None:
                connection = tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            return connection, address

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Leave out who does not trust us, or leaves early."""

    with Server((host, 0), Handler) as server:
        daemon.port = int(server.server_address[1])
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        try:
            yield daemon
        finally:
            server.shutdown()
            serving.join()


def _chunks(stream: Any) -> bytes:
    """Return a chunked body."""
    body = b""
    while size := int(stream.readline().split(b";")[0], 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body
