"""As much of Docker's HTTP API as `haloyd init` and `haloyd verify` ask for.

For commands that run in a process of their own, where C{tests.fakes.engine} cannot
reach; the network C{haloy} of this machine's Docker is left alone.
"""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from attrs import define, field


@define(eq=False)
class DockerApi:
    """The socket, as C{DOCKER_HOST}, and the networks that were made through it."""

    socket: Path
    networks: list[str] = field(factory=list)

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"


@contextmanager
def docker_api(folder: Path, *networks: str) -> Iterator[DockerApi]:
    """Answer on a unix socket in C{folder} until the block ends."""
    api = DockerApi(folder / "docker.sock", list(networks))
    with _Server(str(api.socket), _handler(api)) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield api
        finally:
            server.shutdown()
            serving.join()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def _handler(api: DockerApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.endswith("/_ping"):
                self._answer(200, "OK")
            elif path.endswith("/version"):
                self._answer(200, {"ApiVersion": "1.41", "Version": "20.10.24"})
            elif path.endswith("/info"):
                about = {"ServerVersion": "20.10.24", "OSType": "linux"}
                self._answer(200, {**about, "Architecture": "x86_64"})
            elif path.endswith("/containers/json"):
                self._answer(200, [])
            elif path.endswith("/networks"):
                self._answer(200, [{"Name": name} for name in api.networks])
            else:
                self._answer(404, {"message": f"no {path} here"})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            api.networks.append(asked["Name"])
            self._answer(201, {"Id": "1"})

        def _answer(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
