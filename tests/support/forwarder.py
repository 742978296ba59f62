"""A way to Docker that can be counted, stopped and cut, while Docker itself is well."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, field

from tests.support.carrier import Carrier

#: What begins a request: docker's client sends a head in a piece of its own.
_REQUEST = re.compile(rb"(GET|HEAD|POST|PUT|DELETE) (?:/v[\d.]+)?(/\S*) HTTP/1\.1\r\n")

#: Told of each call before it goes on (False) and when its answer has begun (True).
#: Says whether those bytes go on; else the connection is cut.
Watch = Callable[[str, bool], bool]


@define(eq=False)
class Forwarder(Carrier):
    """Leads from a UNIX socket of its own to another one.

    @ivar watch: asked about each call, in the thread that carries it. A call is its
        method and path, without version and query.
    """

    to: Path
    watch: Watch = field(default=lambda _call, _answered: True)
    _folder: Path = field(init=False)
    _passing: threading.Event = field(factory=threading.Event, init=False)

    @property
    def host(self) -> str:
        """What C{DOCKER_HOST} has to be to go this way."""
        return f"unix://{self._folder}/docker.sock"

    def start(self) -> None:
        # Short: a UNIX socket's path has room for 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="haloyt-"))
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(f"{self._folder}/docker.sock")
        listening.listen(128)
        self._passing.set()
        self.listen(listening)

    def hang(self) -> None:
        """Take connections, and let no byte through either way."""
        self._passing.clear()

    def go_on(self) -> None:
        """Let through what has waited, and what comes."""
        self._passing.set()

    def stop(self) -> None:
        self.watch = lambda _call, _answered: True
        self.go_on()
        super().stop()
        shutil.rmtree(self._folder)

    def reach(self) -> socket.socket:
        far = socket.socket(socket.AF_UNIX)
        far.connect(str(self.to))
        return far

    def carry(self, near: socket.socket, far: socket.socket) -> None:
        asked: list[str] = []
        self.run(self._carry, near, far, asked, False)
        self.run(self._carry, far, near, asked, True)

    def _carry(
        self, source: socket.socket, to: socket.socket, asked: list[str], back: bool
    ) -> None:
        """Carry one direction to its end.

        @param asked: the calls on this connection whose answers have not begun.
        """
        with suppress(OSError):
            while piece := source.recv(65536):
                if not (self._answer(asked) if back else self._request(piece, asked)):
                    break
                self._passing.wait()
                to.sendall(piece)
            to.shutdown(socket.SHUT_WR)
            if not back and asked:
                return  # half closed: the answer comes still
        for one in (source, to):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _request(self, piece: bytes, asked: list[str]) -> bool:
        found = _REQUEST.match(piece)
        if found is None:
            return True
        call = f"{found[1].decode()} {found[2].decode().partition('?')[0]}"
        asked.append(call)
        return self.watch(call, False)

    def _answer(self, asked: list[str]) -> bool:
        return not asked or self.watch(asked.pop(0), True)


@contextmanager
def forwarder(host: str) -> Iterator[Forwarder]:
    """Give a way to the Docker at C{host}, a C{unix://} address."""
    made = Forwarder(Path(host.removeprefix("unix://")))
    made.start()
    try:
        yield made
    finally:
        made.stop()
