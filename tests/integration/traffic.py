"""Everything that people do to an app at once, and what came of it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field

from tests.integration.http2 import Http2
from tests.integration.site import Client, Server
from tests.support import busy_app
from tests.support.dockerd import PrivateDocker

UPLOAD_BYTES = 1 << 20
#: What the client of HTTP/2 asks for, and how much it sends.
HTTP2_KINDS = (("/version", 0), ("/version", 100), ("/slow", 0), ("/upload", 50_000))
#: Eight clients with so long between two requests of each: about 50 a second.
PAUSE_S = 0.12

IMAGE = """FROM scratch
COPY busy_app.py /busy_app.py
ENV VERSION={version}
CMD ["{python}", "/busy_app.py"]
"""


def build_busy(docker: PrivateDocker, folder: Path) -> None:
    """Build C{busy:one} and C{busy:two}, which L{mounts} make complete."""
    context = folder / "busy"
    context.mkdir()
    source = Path(busy_app.__file__).read_text()
    (context / "busy_app.py").write_text(source)
    for version in ("one", "two"):
        text = IMAGE.format(version=version, python=sys._base_executable)  # type: ignore[attr-defined]
        (context / "Dockerfile").write_text(text)
        docker.docker("build", "-q", "-t", f"busy:{version}", str(context))


def mounts() -> list[str]:
    """Return the volumes that bring this machine's Python into a container."""
    places = {"/usr", "/lib", "/lib64", sys.base_prefix}
    outer = [
        one
        for one in sorted(places)
        if Path(one).exists() and not (one != "/usr" and one.startswith("/usr/"))
    ]
    return [f"{one}:{one}:ro" for one in outer]


@define(eq=False)
class Traffic:
    """Eight clients, one of HTTP/2, and a WebSocket.

    @ivar failures: every request that was not answered as it should have been.
    @ivar seen: the versions that each kept connection saw, in order.
    @ivar times_s: how long the quick requests took.
    """

    server: Server
    name: str
    failures: list[str] = field(factory=list)
    seen: dict[int, list[str]] = field(factory=dict)
    times_s: list[float] = field(factory=list)
    count: int = 0
    messages: int = 0
    by_http2: int = 0
    _stop: threading.Event = field(factory=threading.Event)
    _threads: list[threading.Thread] = field(factory=list)

    def start(self, websocket: bool) -> None:
        sent = b"x" * UPLOAD_BYTES
        kinds: list[tuple[str, str, bytes | None, bool]] = [
            ("GET", "/version", None, True),
            ("GET", "/version", None, True),
            ("GET", "/version", None, False),
            ("POST", "/version", b"x" * 100, True),
            ("POST", "/version", b"x" * 100, False),
            ("GET", "/slow", None, True),
            ("GET", "/download", None, False),
            ("POST", "/upload", sent, True),
        ]
        doing: list[Callable[[], None]] = [
            lambda number=number, kind=kind: self._client(number, *kind)  # type: ignore[misc]
            for number, kind in enumerate(kinds)
        ]
        doing.append(self._http2)
        if websocket:
            doing.append(self._websocket)
        for one in doing:
            thread = threading.Thread(target=one)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def percentile(self, part: float) -> float:
        ordered = sorted(self.times_s)
        return ordered[int(part * (len(ordered) - 1))]

    @property
    def flips(self) -> int:
        """How often the version changed on the connection that saw most changes."""
        return max(
            sum(one != other for one, other in itertools.pairwise(seen))
            for seen in self.seen.values()
        )

    def _client(
        self, number: int, method: str, path: str, sent: bytes | None, kept: bool
    ) -> None:
        client: Client | None = None
        seen = self.seen.setdefault(number, [])
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                client = client or Client(self.name, self.server.daemon.https_port, 90)
                client.request(method, path, body=sent)
                answer = client.getresponse()
                text = answer.read()
                problem = _problem(path, answer.status, text)
                seen.append(answer.headers.get("X-Version", ""))
                if not kept:
                    client.close()
                    client = None
            except (OSError, http.client.HTTPException) as trouble:
                problem, client = repr(trouble), None
            self.count += 1
            if path == "/version":
                self.times_s.append(time.monotonic() - began)
            if problem:
                self.failures.append(f"{method} {path} (kept: {kept}): {problem}")
            self._stop.wait(PAUSE_S)
        if client is not None:
            client.close()

    def _http2(self) -> None:
        client: Http2 | None = None
        kinds = itertools.cycle(HTTP2_KINDS)
        while not self._stop.wait(PAUSE_S):
            path, sent = next(kinds)
            try:
                client = client or Http2(self.name, self.server.daemon.https_port)
                status, text = client.ask(path, b"x" * sent)
                problem = "" if status == 200 else f"{status} {text[:80]!r}"
                if client.leaving:
                    client.close()
                    client = None
            except OSError as trouble:
                problem, client = repr(trouble), None
            self.by_http2 += 1
            if problem:
                self.failures.append(f"HTTP/2 {path}: {problem}")
        if client is not None:
            client.close()

    def _websocket(self) -> None:
        try:
            with contextlib.closing(WebSocket(self.server, self.name)) as tunnel:
                while not self._stop.wait(PAUSE_S):
                    tunnel.echo(f"message {self.messages}")
                    self.messages += 1
        except (OSError, AssertionError) as trouble:
            self.failures.append(f"WebSocket: {trouble!r}")


class WebSocket:
    """A WebSocket to a C{busy_app}, which sends every message back."""

    def __init__(self, server: Server, name: str) -> None:
        self._client = Client(name, server.daemon.https_port, 10)
        self._client.connect()
        key = base64.b64encode(os.urandom(16)).decode()
        self._client.sock.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {name}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self._stream = self._client.sock.makefile("rb")
        head = self._stream.readline()
        assert b" 101 " in head, head
        while self._stream.readline().strip():
            pass

    def echo(self, message: str) -> None:
        """Send a short message; it comes back, or this raises."""
        text = message.encode()
        self._client.sock.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)
        got = self._stream.read(2 + len(text))
        assert got[2:] == text, f"{got!r}, not {text!r}"

    def until_ended(self) -> None:
        """Return when the other side has ended it."""
        assert self._stream.read() == b""

    def close(self) -> None:
        self._stream.close()
        self._client.close()


def _problem(path: str, status: int, text: bytes) -> str:
    """Return what is wrong with an answer, C{""}: nothing."""
    if status != 200:
        return f"{status} {text[:80]!r}"
    wanted = {
        "/download": [b"x" * busy_app.DOWNLOAD_BYTES],
        "/upload": [str(UPLOAD_BYTES).encode()],
    }.get(path, [b"one", b"two"])
    return "" if text in wanted else f"another answer: {text[:80]!r} ({len(text)})"


@contextmanager
def traffic(server: Server, name: str, websocket: bool = True) -> Iterator[Traffic]:
    """Ask C{name} in every way until the block ends."""
    made = Traffic(server, name)
    made.start(websocket)
    try:
        yield made
    finally:
        made.stop()
