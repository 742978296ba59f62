"""Talking to a daemon's API by bytes: on loopback, and by its domain over TLS."""

from __future__ import annotations

import http.client
import socket
import ssl

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
