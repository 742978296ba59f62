"""Connections to the API that bring no proper request, by real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent

from haloy.api import channel as channel_module
from haloy.api.heads import HEAD_LIMIT_BYTES
from haloy.api.service import ApiListener
from haloy.errors import Conflict, EngineError, EngineUnavailable, HaloyError, NotFound
from tests.api.test_server import exchange
from tests.fakes.database import MemoryDatabase
from tests.fakes.deployments import FakeDeployments
from tests.fakes.engine import FakeEngine
from tests.support.api import TOKEN, make_api

HOST = b"Host: localhost\r\n"
POST = b"POST /v1/images/prune HTTP/1.1\r\n" + HOST
GET = b"GET /v1/version HTTP/1.1\r\n" + HOST
AUTH = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"


@frozen
class Answer:
    """All that a connection said until it was closed in order."""

    status: int
    headers: dict[str, str]
    body: str


def read_answer(connection: socket.socket) -> Answer:
    """Read to the end. @raise ConnectionResetError: it was no orderly end."""
    data = bytearray()
    while piece := connection.recv(65536):
        data += piece
    head, _, body = bytes(data).decode().partition("\r\n\r\n")
    line, *fields = head.split("\r\n")
    return Answer(
        int(line.split(" ")[1]), dict(one.split(": ", 1) for one in fields), body
    )


@frozen
class Api:
    """The API on a port."""

    listener: ApiListener
    deployments: FakeDeployments

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.listener.port), timeout=30)

    async def say(self, request: bytes) -> Answer:
        """Send C{request}, and read all that comes until the connection ends."""

        def talk() -> Answer:
            with self.connect() as connection:
                connection.sendall(request)
                return read_answer(connection)

        found: Answer = await deferToThread(talk)
        return found


@pytest_twisted.async_yield_fixture
async def api(reactor: Any, tmp_path: Path) -> AsyncIterator[Api]:
    deployments, database = FakeDeployments(), MemoryDatabase()
    made = make_api(reactor, tmp_path, deployments, FakeEngine(), database)
    listener = ApiListener(
        reactor, made.resource(), "127.0.0.1:0", tmp_path / "api.sock", made.gate
    )
    await listener.start()
    yield Api(listener, deployments)
    await listener.stop()
    database.close()
    await deferLater(reactor, 0.01)


def is_refusal(answer: Answer, status: int, code: str, words: str) -> None:
    """Check that an answer has the form of all errors, and nothing behind it."""
    assert (answer.status, answer.headers["X-Haloy-Error"]) == (status, code)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Connection"] == "close"
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    assert words in answer.body
    assert answer.body.count("\n") == 1


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET  /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/3.0\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
        GET + b"no colon\r\n\r\n",
        GET + b"no colon\r\nA: b\r\n\r\n",
        GET + b"A b: c\r\n\r\n",
        GET + b"A: b\0c\r\n\r\n",
        GET + b"A: b\r\n folded\r\n\r\n",
        POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nGET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_request(api: Api, request_: bytes) -> None:
    """One answer in our form, then an orderly end."""
    is_refusal(await api.say(request_), 400, "malformed", "not well-formed")


@pytest.mark.parametrize(
    ("fields", "status", "code", "words"),
    [
        (b"Transfer-Encoding: gzip\r\n", 501, "unsupported", "Transfer-Encoding: "),
        (b"Content-Length: 1x\r\n", 400, "invalid", "Content-Length: is no"),
        (b"Content-Length: 1\r\n" * 2, 400, "invalid", "Content-Length: is given"),
        (AUTH * 2, 400, "invalid", "Authorization: is given twice"),
        (b"X-Layer-Digest: a\r\n" * 2, 400, "invalid", "X-Layer-Digest: is given"),
        (b"x-layer-digest: a\r\n" * 2, 400, "invalid", "X-Layer-Digest: is given"),
        (b"Last-Event-ID: 1\r\n" * 2, 400, "invalid", "Last-Event-ID: is given"),
        (b"Content-Type: a/b\r\n" * 2, 400, "invalid", "Content-Type: is given"),
        (b"A: b\r\n" * 501, 431, "head-too-large", "500 fields"),
    ],
)
async def test_fields_that_are_refused(
    api: Api, fields: bytes, status: int, code: str, words: str
) -> None:
    """The field is named."""
    is_refusal(await api.say(POST + fields + b"\r\n"), status, code, words)


@pytest.mark.parametrize("begin", [b"GET /", GET + b"A: ", GET + b"A: b\r\nB: "])
@pytest.mark.parametrize("size", [HEAD_LIMIT_BYTES, 8 * HEAD_LIMIT_BYTES])
async def test_head_that_is_too_large(api: Api, begin: bytes, size: int) -> None:
    """431, which arrives though the client sends on until it is done."""
    is_refusal(await api.say(begin + b"x" * size), 431, "head-too-large", "1 MiB")


async def test_large_head_is_served(api: Api) -> None:
    """Half of what is allowed, and nearly as many fields."""
    fields = b"A: b\r\n" * 490 + b"B: " + b"x" * (HEAD_LIMIT_BYTES // 2) + b"\r\n"
    answer = await api.say(GET + AUTH + fields + b"Connection: close\r\n\r\n")
    assert answer.status == 200


@pytest.mark.parametrize("begin", [b"G", GET, GET + b"Connection: keep-alive\r\n\r\nG"])
async def test_head_that_drips(
    api: Api, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    """408 after the limit, however steadily it comes; the second one as the first."""
    monkeypatch.setattr(channel_module, "HEAD_LIMIT_S", 0.5)

    def drip() -> bytes:
        data = bytearray()
        with api.connect() as connection:
            connection.sendall(begin)
            connection.settimeout(0.05)
            for _ in range(600):
                try:
                    piece = connection.recv(65536)
                except TimeoutError:
                    connection.sendall(b"x")
                    continue
                if not piece:
                    break
                data += piece
        return bytes(data)

    seen = await deferToThread(drip)
    *_, last = seen.split(b"HTTP/1.1 ")
    assert last.startswith(b"408 ")
    assert b"X-Haloy-Error: too-slow\r\n" in last
    assert last.endswith(b"\r\n\r\nthe head comes too slowly\n")


async def test_limit_of_a_head_is_its_own(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole head and an idle connection are under no such limit."""
    monkeypatch.setattr(channel_module, "HEAD_LIMIT_S", 0.3)

    def talk() -> Answer:
        with api.connect() as connection:
            connection.sendall(GET + AUTH + b"\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
            while not connection.recv(65536).endswith(b"}\n"):
                pass
            connection.settimeout(1)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(30)
            connection.sendall(GET + AUTH + b"Connection: close\r\n\r\n")
            return read_answer(connection)

    assert (await deferToThread(talk)).status == 200


async def test_body_that_never_comes(api: Api) -> None:
    """408, not a silent end."""
    limit_s = 0.3
    api.listener._ports[0].factory.timeOut = limit_s  # type: ignore[attr-defined]  # a site's
    answer = await api.say(POST + AUTH + b"Content-Length: 9\r\n\r\n")
    is_refusal(answer, 408, "too-slow", "the body comes too slowly")


async def test_idle_connection_ends_in_silence(api: Api) -> None:
    """Nothing for the log: each client that keeps its connection comes to that."""
    limit_s = 0.3
    api.listener._ports[0].factory.timeOut = limit_s  # type: ignore[attr-defined]  # a site's

    def talk() -> bytes:
        with api.connect() as connection:
            connection.sendall(GET + AUTH + b"\r\n")
            said = b""
            while piece := connection.recv(65536):
                said += piece
            return said

    with capturedLogs() as logged:
        assert (await deferToThread(talk)).startswith(b"HTTP/1.1 200 ")
    assert [formatEvent(event) for event in logged] == []


async def test_refused_body_is_not_asked_for(api: Api) -> None:
    """Nothing is behind the answer, not even "100 Continue"."""
    fields = b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
    is_refusal(await api.say(POST + AUTH + fields), 413, "too-large", "too large")


@pytest.mark.parametrize(
    ("line", "status", "location"),
    [
        (b"GET //v1/version?a=b", 307, "/v1/version?a=b"),
        (b"GET /v1/../v1/version", 307, "/v1/version"),
        (b"POST /v1//deploy", 307, "/v1/deploy"),
        (b"HEAD /./health", 307, "/health"),
        (b"GET http://localhost//health", 307, "/health"),
        (b"GET http://localhost/v1/version", 200, None),
        (b"GET http://evil.example.com/v1/version", 421, None),
        (b"GET /v1/%2e%2e/v1/version", 404, None),
        (b"OPTIONS *", 404, None),
    ],
)
async def test_paths(api: Api, line: bytes, status: int, location: str | None) -> None:
    """Un-clean ones lead to the clean one; a URL is as good as a path."""
    answer = await api.say(
        line + b" HTTP/1.1\r\n" + HOST + AUTH + b"Connection: close\r\n\r\n"
    )
    assert (answer.status, answer.headers.get("Location")) == (status, location)
    assert "Server" not in answer.headers
    if not line.startswith(b"HEAD"):
        assert int(answer.headers["Content-Length"]) == len(answer.body)


@pytest.mark.parametrize("kind", [NotFound, Conflict, EngineError, EngineUnavailable])
async def test_what_docker_says_has_no_places(api: Api, kind: type[HaloyError]) -> None:
    """A20: whatever class its status makes of it."""
    api.deployments.refuse = kind(
        "open /var/lib/docker/x: dial tcp 172.17.0.3:80: no such thing"
    )
    body = exchange("POST /v1/deploy")["request"]["body"].encode()
    answer = await api.say(
        b"POST /v1/deploy HTTP/1.1\r\n" + HOST + AUTH + b"Connection: close\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    assert answer.headers["X-Haloy-Error"] == kind.code
    assert answer.body == "open …: dial tcp …: no such thing\n"
