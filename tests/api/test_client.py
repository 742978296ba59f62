"""The client against the real API on real sockets, and what breaks in between."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve, field
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource

from haloy.api.agent import client_agent, client_endpoints
from haloy.api.client import ApiClient
from haloy.api.sections import section_of
from haloy.api.service import ApiListener
from haloy.api.transport import Transport
from haloy.config.client_file import base_url
from haloy.daemon.logs import LogRecord, ServerLog
from haloy.deploy.interface import LogEntry
from haloy.engine.interface import ContainerSpec
from haloy.errors import (
    ConfigError,
    Conflict,
    Forbidden,
    HaloyError,
    InvalidValue,
    NotFound,
    PolicyRefused,
    ServerUnreachable,
    TooMany,
    Unauthorized,
)
from tests.api.test_deployments import detail
from tests.api.test_server import ID, hello, replica
from tests.fakes.database import MemoryDatabase
from tests.fakes.deployments import FakeDeployments
from tests.fakes.engine import FakeEngine
from tests.support.api import TOKEN, make_api

NOW = datetime(2026, 11, 24, tzinfo=UTC)


class Shout(Protocol):
    """An app that answers in upper case."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data.upper())  # type: ignore[union-attr]  # connected


class Raw(Protocol):
    """What is at a tunnel's end."""

    def __init__(self) -> None:
        self.seen = b""
        self.gone: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.seen += data

    def connectionLost(self, reason: Any = None) -> None:
        self.gone.callback(self.seen)


@define(eq=False)
class Scene:
    """A server of ours, and clients for it."""

    reactor: Any
    deployments: FakeDeployments = field(factory=FakeDeployments)
    engine: FakeEngine = field(factory=FakeEngine)
    database: MemoryDatabase = field(factory=MemoryDatabase)
    log: ServerLog = field(factory=ServerLog)
    listener: Any = None
    ports: list[Any] = field(factory=list)
    asked: list[str] = field(factory=list)
    events: Any = None
    api: Any = None

    async def start(self, path: Path) -> None:
        self.api = api = make_api(
            self.reactor,
            path.parent,
            self.deployments,
            self.engine,
            self.database,
            log=self.log,
        )
        self.events = api._events
        self.listener = ApiListener(
            self.reactor, api.resource(), "127.0.0.1:0", path, api.gate
        )
        await self.listener.start()

    def client(
        self, token: str = TOKEN, port: int = 0, limit_s: float = 5.0
    ) -> ApiClient:
        base_url = f"http://127.0.0.1:{port or self.listener.port}"
        agent = client_agent(self.reactor, "")
        endpoints = client_endpoints(self.reactor, "")
        return ApiClient(
            Transport(self.reactor, agent, base_url, token, limit_s, endpoints)
        )

    async def running(self) -> None:
        """Let the app C{hello} run in one container of the host's network."""
        self.engine.have_image("hello:1")
        spec = ContainerSpec("hello-1", "hello:1", network="host")
        made = await self.engine.create(spec)
        await self.engine.start(made)
        one = evolve(replica(1), container_id=made)
        self.deployments.known["hello"] = hello(one)

    def free_port(self) -> int:
        """Return a port on which nobody listens."""
        port = self.reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        number = int(port.getHost().port)
        port.stopListening()
        return number

    async def hang_up(self) -> None:
        """Cut every connection to the server."""
        for reader in self.reactor.getReaders():
            if type(reader).__name__ == "Server":
                reader.abortConnection()
        await deferLater(self.reactor, 0)

    def scripted(self, *answers: bytes) -> ApiClient:
        """Return a client of a server that gives these answers, one a connection.

        What it was asked for is noted.
        """
        left, asked = list(answers), self.asked

        class Script(Protocol):
            def dataReceived(self, data: bytes) -> None:
                asked.append(data.split()[1].decode())
                self.transport.write(left.pop(0) if len(left) > 1 else left[0])  # type: ignore[union-attr]  # connected
                self.transport.loseConnection()  # type: ignore[union-attr]  # connected

        port = self.reactor.listenTCP(
            0, Factory.forProtocol(Script), interface="127.0.0.1"
        )
        self.ports.append(port)
        return self.client(port=port.getHost().port)


def health_at(path: Path) -> bytes:
    """Return the first line of what the API says at a unix socket."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(str(path))
        peer.sendall(b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        return peer.recv(65536).partition(b"\r\n")[0]


@pytest_twisted.async_yield_fixture
async def scene(reactor: Any, tmp_path: Path) -> AsyncIterator[Scene]:
    found = Scene(reactor)
    await found.start(tmp_path / "api.sock")
    yield found
    await found.listener.stop()
    found.database.close()
    for port in found.ports:
        await port.stopListening()
    await deferLater(reactor, 0.01)


def answer(status: int, body: object = b"", *headers: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} x", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(head).encode() + data


HEALTHY = answer(200, {"status": "ok"})


async def test_a_taken_port_says_what_to_do(scene: Scene, tmp_path: Path) -> None:
    """The text names the address, and the key that holds it."""
    second = ApiListener(
        scene.reactor,
        Resource(),
        f"127.0.0.1:{scene.listener.port}",
        tmp_path / "second.sock",
    )
    with pytest.raises(Conflict, match=f"127.0.0.1:{scene.listener.port} cannot be"):
        await second.start()


async def test_a_socket_file_that_was_removed(scene: Scene, tmp_path: Path) -> None:
    """It is made again, each time; and nobody misses it at the end."""
    path = tmp_path / "api.sock"
    for _ in range(2):
        assert await deferToThread(health_at, path) == b"HTTP/1.0 200 OK"
        path.unlink()
        while not path.exists():
            await deferLater(scene.reactor, 0.02)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()


async def test_calls(scene: Scene) -> None:
    """Every call reaches its route."""
    client = scene.client()
    scene.deployments.known["hello"] = hello(replica(1))
    assert (await client.version())["haloyd"] == "1.2.3"
    assert (await client.status("hello"))["state"] == "running"
    assert [one["appName"] for one in await client.apps()] == ["hello"]
    assert await client.rollback_targets("hello") == []
    await client.stop("hello", remove=True, remove_volumes=True)
    assert scene.deployments.stopped == [("hello", True, True)]
    await client.deploy(
        {
            "deploymentID": ID,
            "targetConfig": {"name": "a", "server": "s", "image": {"repository": "a"}},
        }
    )
    assert [one.id for one in scene.deployments.taken] == [ID]
    with pytest.raises(NotFound):
        await client.rollback(
            {
                "targetDeploymentID": "01aaaaaaaa",
                "newDeploymentID": ID,
                "newTargetConfig": {"name": "a", "server": "s"},
            }
        )


async def test_calls_of_deployments(scene: Scene) -> None:
    """Listed, one with its changes, taken back."""
    client = scene.client()
    scene.deployments.past = [detail(2, "shop", "queued"), detail(1, "blog", "live")]
    assert [one["seq"] for one in await client.deployments()] == [2, 1]
    assert [one["seq"] for one in await client.deployments("blog", 1, 2)] == [1]
    assert (await client.deployment("shop", "01aaaaaa2"))["state"] == "queued"
    await client.cancel("shop", "01aaaaaa2")
    assert scene.deployments.cancelled == [("shop", "01aaaaaa2", "env")]
    with pytest.raises(Conflict):
        await client.cancel("blog", "01aaaaaa1")


async def test_calls_of_tokens(scene: Scene) -> None:
    """Made, used, listed, revoked, and in the trail."""
    client = scene.client()
    until = datetime(2027, 1, 31, tzinfo=UTC)
    token = await client.create_token("ci", ["deploy"], ["shop"], until)
    (listed,) = await client.tokens()
    assert (listed["apps"], listed["expiresAt"]) == (["shop"], "2027-01-31T00:00:00Z")
    with pytest.raises(Forbidden):
        await scene.client(token).tokens()
    await client.revoke_token("ci")
    with pytest.raises(Unauthorized):
        await scene.client(token).version()
    actions = [one["action"] for one in await client.audit()]
    assert actions == ["token.revoke", "token.create"]


async def test_calls_of_registries_and_images(scene: Scene) -> None:
    """Logged in, listed, logged out; old images by name."""
    client = scene.client()
    scene.engine.passwords["ghcr.io"] = "right"
    await client.registry_login("ghcr.io", "bob", "right")
    assert await client.registries() == [{"server": "ghcr.io", "username": "bob"}]
    await client.registry_logout("ghcr.io")
    with pytest.raises(NotFound):
        await client.registry_logout("ghcr.io")
    assert (await client.prune("shop", 2, False))["tags"] == []
    assert (await client.health())["ready"] is True


async def test_exec(scene: Scene) -> None:
    """A result for each container."""
    await scene.running()
    client = scene.client()
    (result,) = await client.exec("hello", ["true"], all_containers=True)
    assert result["exitCode"] == 0
    with pytest.raises(InvalidValue):
        await client.exec("hello", ["true"], container="nobody")


async def test_tunnel(scene: Scene) -> None:
    """The protocol gets the connection; a refusal is an error in the server's words."""
    echo = scene.reactor.listenTCP(0, Factory.forProtocol(Shout), interface="127.0.0.1")
    scene.ports.append(echo)
    await scene.running()
    client, raw = scene.client(), Raw()
    await client.tunnel("hello", raw, str(echo.getHost().port))
    assert raw.transport is not None
    raw.transport.write(b"hello")
    while raw.seen != b"HELLO":
        await deferLater(scene.reactor, 0.01)
    raw.transport.loseConnection()
    await raw.gone
    with pytest.raises(InvalidValue, match="port"):
        await client.tunnel("hello", Raw(), "no-port")
    with pytest.raises(NotFound):
        await client.tunnel("nobody", Raw())
    with pytest.raises(Unauthorized):
        await scene.client("wrong").tunnel("hello", Raw())
    for silent in (b"", b"nonsense\r\n\r\n", b"x" * 20000):
        with pytest.raises(ServerUnreachable):
            await scene.scripted(silent).tunnel("hello", Raw())
    nobody = scene.client(port=scene.free_port())
    with pytest.raises(ServerUnreachable):
        await nobody.tunnel("hello", Raw())


async def test_events_are_taken_up_again(scene: Scene) -> None:
    """A stream that breaks off goes on behind its last event; one app's on wish."""
    await scene.events.tell("health", "shop", "one", "healthy")
    await scene.events.tell("health", "blog", "two", "healthy")
    reading: Any = scene.client().events("shop", 0)
    assert (await anext(reading))["subject"] == "one"
    waiting = ensureDeferred(anext(reading))
    await scene.hang_up()
    await scene.events.tell("certificate", "shop", "three", "valid")
    found = await waiting
    assert (found["subject"], found["seq"]) == ("three", 3)
    await reading.aclose()


async def test_server_log(scene: Scene) -> None:
    """Lines as they come."""
    scene.log.record(LogRecord("INFO", "hello", NOW))
    reading: Any = scene.client().server_logs(access_logs=True)
    assert (await anext(reading))["message"] == "hello"
    await reading.aclose()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidValue),
        (401, Unauthorized),
        (404, NotFound),
        (409, Conflict),
        (418, HaloyError),
    ],
)
async def test_errors_come_back_as_ours(
    scene: Scene, status: int, kind: type[HaloyError]
) -> None:
    """The server's sentence is kept."""
    client = scene.scripted(HEALTHY, answer(status, b"name: is missing\n"))
    with pytest.raises(kind) as caught:
        await client.status("x")
    wanted = "check the token" if status == 401 else "name: is missing"
    assert wanted in str(caught.value)


async def test_wrong_token(scene: Scene) -> None:
    """The next step is named."""
    with pytest.raises(Unauthorized, match="haloy server add"):
        await scene.client(token="wrong").version()


async def test_unreachable(scene: Scene) -> None:
    """Nobody listens: the server is named."""
    port = scene.reactor.listenTCP(0, Factory(), interface="127.0.0.1")
    number = port.getHost().port
    await port.stopListening()
    with pytest.raises(ServerUnreachable, match=f"127.0.0.1:{number}"):
        await scene.client(port=number).version()


async def test_health_is_asked_once(scene: Scene) -> None:
    """CLI section 9, point 27: not before every call."""
    client = scene.scripted(HEALTHY, answer(200, {"haloyd": "1"}))
    await client.version()
    await client.version()
    assert scene.asked == ["/health", "/v1/version", "/v1/version"]


async def test_sick_server(scene: Scene) -> None:
    """A health check that fails is "not available"."""
    with pytest.raises(ServerUnreachable, match=r"answers 500$"):
        await scene.scripted(answer(500)).version()
    with pytest.raises(ServerUnreachable, match="503: haloyd does not run there"):
        await scene.scripted(answer(503)).version()


async def test_server_without_docker(scene: Scene) -> None:
    """It is the server's Docker that is away, and it is looked after there."""
    away = answer(503, b"Docker is unreachable\n", "X-Haloy-Error: engine-unavailable")
    with pytest.raises(HaloyError, match=r"; on http.*: systemctl status docker"):
        await scene.scripted(HEALTHY, away).version()


async def test_busy_server_is_asked_again(scene: Scene) -> None:
    """CLI section 9, point 27: 429 is waited out."""
    busy = answer(429, b"too many", "Retry-After: 0")
    client = scene.scripted(HEALTHY, busy, answer(200, {"haloyd": "1"}))
    assert (await client.version())["haloyd"] == "1"
    with pytest.raises(TooMany):
        await scene.scripted(HEALTHY, busy).version()


async def test_a_wait_that_is_too_long_is_told(scene: Scene) -> None:
    """A minute of silence would look like a hang."""
    busy = answer(429, b"too many\n", "Retry-After: 59")
    with pytest.raises(TooMany, match="too many; try again in 59 s"):
        await scene.scripted(HEALTHY, busy).version()


async def test_a_server_by_its_ipv6_address(scene: Scene) -> None:
    """C{[::1]} is this machine as 127.0.0.1 is (C{spec/cli.md} 2.1)."""

    class Script(Protocol):
        def dataReceived(self, data: bytes) -> None:
            hosts.append(data.split(b"Host: ")[1].split(b"\r\n")[0].decode())
            self.transport.write(answer(200, {"haloyd": "1"}))  # type: ignore[union-attr]  # connected
            self.transport.loseConnection()  # type: ignore[union-attr]  # connected

    hosts: list[str] = []
    port = scene.reactor.listenTCP(0, Factory.forProtocol(Script), interface="::1")
    scene.ports.append(port)
    server = f"[::1]:{port.getHost().port}"
    agent = client_agent(scene.reactor, "")
    client = ApiClient(Transport(scene.reactor, agent, base_url(server), TOKEN, 5.0))
    assert (await client.version())["haloyd"] == "1"
    assert hosts == [server, server]


async def test_something_else_answers(scene: Scene) -> None:
    """A web page is not haloyd."""
    with pytest.raises(HaloyError, match="does not answer like haloyd"):
        await scene.scripted(HEALTHY, answer(200, b"<html>")).version()


def entry(seq: int, message: str, complete: bool = False) -> LogEntry:
    return LogEntry("INFO", message, NOW, "hello", ID, seq=seq, complete=complete)


async def messages(events: AsyncIterator[dict[str, Any]]) -> list[str]:
    return [str(one["message"]) async for one in events]


async def test_log_to_its_end(scene: Scene) -> None:
    """The end marker ends it."""
    scene.deployments.logs[ID] = [entry(1, "a"), entry(2, "b", complete=True)]
    assert await messages(scene.client().deployment_log(ID)) == ["a", "b"]


async def test_broken_log_is_taken_up(scene: Scene) -> None:
    """A3: an end without a marker is never taken for success."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    def chunk(data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data)

    first = head + chunk(b'id: 1\ndata: {"message":"a"}\n\n')
    last = b'id: 2\ndata: {"message":"b","isDeploymentComplete":true}\n\n'
    client = scene.scripted(first, head + chunk(last) + b"0\r\n\r\n")
    assert await messages(client.deployment_log(ID)) == ["a", "b"]


#: An answer whose connection ends in the middle of its body.
CUT = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"haloyd": '


async def test_what_only_reads_is_asked_again(scene: Scene) -> None:
    """A connection cut in the middle costs a moment, and twice is enough."""
    fine = answer(200, {"haloyd": "1"})
    client = scene.scripted(HEALTHY, CUT, CUT, fine)
    assert (await client.version())["haloyd"] == "1"
    with pytest.raises(ServerUnreachable):
        await scene.scripted(HEALTHY, CUT, CUT, CUT, fine).version()


async def test_what_changes_something_is_asked_once(scene: Scene) -> None:
    """Nobody knows how far it came."""
    client = scene.scripted(HEALTHY, CUT, answer(202))
    with pytest.raises(ServerUnreachable):
        await client.deploy({})


async def test_who_does_not_answer_is_not_asked_again(scene: Scene) -> None:
    """A time-out is the end, also of what only reads."""
    asked: list[bytes] = []

    class Silent(Protocol):
        def dataReceived(self, data: bytes) -> None:
            asked.append(data)
            if b"/health" in data:
                self.transport.write(HEALTHY)  # type: ignore[union-attr]  # connected

    port = scene.reactor.listenTCP(
        0, Factory.forProtocol(Silent), interface="127.0.0.1"
    )
    scene.ports.append(port)
    client = scene.client(port=port.getHost().port, limit_s=0.3)
    with pytest.raises(ServerUnreachable):
        await client.version()
    assert len(asked) == 2


async def test_upload_that_is_cut(scene: Scene) -> None:
    """It is told, with what went before, and not tried again behind one's back."""
    moved: list[int] = []
    layer = section_of(bytes(8 << 20))
    with pytest.raises(ServerUnreachable):
        await scene.scripted(b"").send_layer("sha256:0", layer, moved.append)
    assert 0 < sum(moved) <= 8 << 20


async def test_log_goes_on_behind_a_restart(scene: Scene) -> None:
    """While haloyd is started its domain answers 503: the log is taken up later."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    first = b'id: 1\ndata: {"message":"a"}\n\n'
    last = b'id: 2\ndata: {"message":"b","isDeploymentComplete":true}\n\n'
    client = scene.scripted(
        head + b"%x\r\n%s\r\n" % (len(first), first),
        answer(503, b"haloyd is away\n"),
        answer(429, b"too many\n"),
        head + b"%x\r\n%s\r\n" % (len(last), last),
    )
    assert await messages(client.deployment_log(ID)) == ["a", "b"]
    with pytest.raises(Forbidden):
        await messages(scene.scripted(answer(403)).deployment_log(ID))


async def test_rules_of_the_server_are_no_matter_of_the_token(scene: Scene) -> None:
    """Both are 403: the word of the answer tells which."""
    for words, kind in (
        (("X-Haloy-Error: policy",), PolicyRefused),
        (("X-Haloy-Error: forbidden",), Forbidden),
        ((), Forbidden),
    ):
        client = scene.scripted(HEALTHY, answer(403, b"not allowed\n", *words))
        with pytest.raises(kind, match="not allowed"):
            await client.status("shop")


async def test_refused_stream(scene: Scene) -> None:
    """A stream that is refused says why."""
    with pytest.raises(NotFound):
        await messages(scene.client().logs("nobody", 5, follow=False))


async def test_reader_that_leaves_ends_the_stream(scene: Scene) -> None:
    """A5: nothing is kept for a reader that has gone."""
    scene.deployments.open_ended = Deferred(lambda _: None)
    scene.deployments.logs[ID] = [entry(1, "a")]
    events = scene.client().deployment_log(ID)
    assert (await anext(events))["message"] == "a"
    await events.aclose()  # type: ignore[attr-defined]  # a generator
    for _ in range(100):
        if scene.deployments.open_ended.called:
            break
        await deferLater(scene.reactor, 0.02)
    assert scene.deployments.open_ended.called


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_bad_authority_file(
    reactor: Any, tmp_path: Path, content: bytes | None
) -> None:
    """The file is named."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        client_agent(reactor, str(path))
