"""Talking to a daemon's API by bytes: on loopback, and by its domain over TLS."""

from __future__ import annotations

import http.client
import json
import select
import socket
import ssl
from contextlib import suppress
from typing import Any

from attrs import define, field
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Request,
    TextMessage,
)

from tests.integration.site import Server
from tests.support.haloyd import TOKEN

API = "api.example.test"
LIMIT_S = 60
HEAD = f"Host: {API}\r\nAuthorization: Bearer {TOKEN}\r\n"


def plain(site: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.daemon.api_port), LIMIT_S)


def secure(site: Server) -> ssl.SSLSocket:
    """Connect as a client far away does: by the API's domain, through the proxy."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    raw = socket.create_connection(("127.0.0.1", site.daemon.https_port), LIMIT_S)
    return context.wrap_socket(raw, server_hostname=API)


def read_head(connection: socket.socket) -> tuple[str, bytes]:
    """Return an answer's head, and what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        assert piece, data
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode(), rest


def read_all(connection: socket.socket, data: bytes = b"") -> bytes:
    while piece := connection.recv(65536):
        data += piece
    return data


def ask(
    site: Server, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes]:
    """Ask over TLS, by the domain."""
    connection = http.client.HTTPConnection(API)
    connection.sock = secure(site)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    sent["Authorization"] = f"Bearer {TOKEN}"
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@define(eq=False)
class Terminal:
    """A client of an interactive command, at the other end of a WebSocket."""

    connection: socket.socket
    machine: WSConnection = field(factory=lambda: WSConnection(ConnectionType.CLIENT))
    told: list[dict[str, Any]] = field(factory=list)
    output: bytearray = field(factory=bytearray)
    ended: bool = False
    _text: str = ""
    _first: bool = True

    def start(self, *command: str, app: str = "shop", **options: Any) -> None:
        """Begin a command, and wait until it runs."""
        token = [(b"Authorization", f"Bearer {TOKEN}".encode())]
        self.send(Request(host=API, target=f"/v1/exec/{app}", extra_headers=token))
        while self.machine.connection is None:
            self._take(self.connection.recv(65536))
        self.say(type="start", command=[*command], **options)
        self.until("started")

    def send(self, event: Event) -> None:
        self.connection.sendall(self.machine.send(event))

    def say(self, **message: Any) -> None:
        self.send(TextMessage(data=json.dumps(message)))

    def until(self, kind: str) -> dict[str, Any]:
        """Read to a message of the server's."""
        while True:
            for one in self.told:
                if one["type"] == kind:
                    return one
            data = self.connection.recv(65536)
            assert data, (self.told, len(self.output))
            self._take(data)

    def pump(self, data: bytes) -> None:
        """Send input and its end, and read output at the same time."""
        pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)]
        waiting = b"".join(self.machine.send(BytesMessage(data=one)) for one in pieces)
        waiting += self.machine.send(TextMessage(data='{"type": "end"}'))
        view = memoryview(waiting)
        self.connection.setblocking(False)
        while not self.ended:
            select.select(
                [self.connection], [self.connection] if view else [], [], LIMIT_S
            )
            with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                if view:
                    view = view[self.connection.send(view[:262144]) :]
            with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                while piece := self.connection.recv(262144):
                    self._take(piece)
                assert self.ended, (self.told, len(self.output))
        self.connection.settimeout(LIMIT_S)

    def _take(self, data: bytes) -> None:
        self.machine.receive_data(data)
        for one in self.machine.events():
            if isinstance(one, TextMessage):
                self._text += one.data
                if one.message_finished:
                    self.told.append(json.loads(self._text))
                    self._text = ""
            elif isinstance(one, BytesMessage):
                self.output += one.data[1:] if self._first else one.data
                self._first = one.message_finished
            elif isinstance(one, CloseConnection):
                self.ended = True
