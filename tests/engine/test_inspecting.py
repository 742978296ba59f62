"""Inspects over a real socket: many by one connection, and what goes wrong."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import BaseServer, TCPServer, UnixStreamServer
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from haloy.engine.inspecting import Inspecting
from haloy.errors import EngineError, EngineUnavailable, NotFound
from tests.engine.test_values import INSPECT

#: What the functions need of Docker's client.
CLIENT: Any = SimpleNamespace(api_version="1.41")


class Docker(BaseHTTPRequestHandler):
    """Knows a container of every name but C{gone}; C{broken} ends in the middle."""

    protocol_version = "HTTP/1.1"
    connections = 0

    def setup(self) -> None:
        super().setup()
        type(self).connections += 1

    def do_GET(self) -> None:
        name = self.path.removeprefix("/v1.41/containers/").removesuffix("/json")
        if name == "broken":
            self.close_connection = True
            return
        status = {"gone": 404, "odd": 500}.get(name, 200)
        found = {"message": "so it is"} if status != 200 else {**INSPECT, "Id": name}
        text = json.dumps(found).encode().ljust(200)
        self.send_response(status)
        # As Docker answers: in chunks.
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (text[:100], text[100:], b""):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def address_string(self) -> str:
        return "here"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    Docker.connections = 0
    with serving(UnixStreamServer(str(tmp_path / "d.sock"), Docker)):
        yield f"unix://{tmp_path}/d.sock"


def test_many_by_one_connection(host: str) -> None:
    """Those that are gone are left out, the others come in order."""
    found = Inspecting(host).all_of(["a", "gone", "b", "c"])(CLIENT)
    assert [one.id for one in found] == ["a", "b", "c"]
    assert Docker.connections == 1


def test_one(host: str) -> None:
    """By its name too, whatever signs are in it."""
    assert Inspecting(host).one("a b")(CLIENT).id == "a%20b"
    with pytest.raises(NotFound, match="so it is"):
        Inspecting(host).one("gone")(CLIENT)


def test_what_goes_wrong(host: str) -> None:
    """Docker's own words, or that it is away; never half of the containers."""
    with pytest.raises(EngineError, match="so it is"):
        Inspecting(host).all_of(["a", "odd"])(CLIENT)
    with pytest.raises(EngineUnavailable, match="unreachable"):
        Inspecting(host).all_of(["a", "broken", "b"])(CLIENT)
    with pytest.raises(EngineUnavailable, match="unreachable"):
        Inspecting(host + "x").one("a")(CLIENT)


def test_silence() -> None:
    """A Docker that takes connections and says nothing is given up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = Inspecting(f"tcp://127.0.0.1:{silent.getsockname()[1]}", 0.1)
        with pytest.raises(EngineUnavailable, match=r"within 0\.1 s"):
            there.one("a")(CLIENT)


def test_tcp() -> None:
    """C{DOCKER_HOST} may be a host and a port."""
    server = TCPServer(("127.0.0.1", 0), Docker)
    with serving(server):
        there = Inspecting(f"tcp://127.0.0.1:{server.server_address[1]}")
        assert there.one("a")(CLIENT).id == "a"
