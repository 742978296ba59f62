"""Raw TCP to a container, on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from zope.interface import implementer

from haloy.api import tunnel as tunnel_module
from haloy.api.service import ApiListener
from haloy.engine.interface import ContainerSpec
from haloy.model.labels import PORT
from tests.api.test_server import hello, replica
from tests.fakes.database import MemoryDatabase
from tests.fakes.deployments import FakeDeployments
from tests.fakes.engine import FakeEngine
from tests.support.api import TOKEN, make_api


@implementer(IHalfCloseableProtocol)
class Echo(Protocol):
    """Answers in upper case; says goodbye when the other half is closed."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data.upper())  # type: ignore[union-attr]  # connected

    def readConnectionLost(self) -> None:
        self.transport.write(b"bye")  # type: ignore[union-attr]  # connected
        self.transport.loseConnection()  # type: ignore[union-attr]  # connected

    def writeConnectionLost(self) -> None:
        """Go on."""


class Raw(Protocol):
    """The client's side."""

    def __init__(self) -> None:
        self.seen = b""
        self.gone: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.seen += data

    def connectionLost(self, reason: Any = None) -> None:
        self.gone.callback(self.seen)


@define(eq=False)
class Scene:
    reactor: Any
    folder: Path
    deployments: FakeDeployments = field(factory=FakeDeployments)
    engine: FakeEngine = field(factory=FakeEngine)
    database: MemoryDatabase = field(factory=MemoryDatabase)
    listener: Any = None
    app: Any = None

    async def start(self) -> None:
        self.app = self.reactor.listenTCP(
            0, Factory.forProtocol(Echo), interface="127.0.0.1"
        )
        self.engine.have_image("hello:1")
        labels = {PORT: str(self.app.getHost().port)}
        spec = ContainerSpec("hello-1", "hello:1", labels=labels, network="host")
        container = await self.engine.create(spec)
        await self.engine.start(container)
        self.deployments.known["hello"] = hello(
            evolve(replica(1), container_id=container)
        )
        api = make_api(
            self.reactor, self.folder, self.deployments, self.engine, self.database
        )
        self.listener = ApiListener(
            self.reactor, api.resource(), "127.0.0.1:0", self.folder / "s", api.gate
        )
        await self.listener.start()

    async def ask(self, query: str = "", rest: bytes = b"") -> Raw:
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.listener.port)
        peer: Raw = await connectProtocol(endpoint, Raw())
        head = (
            f"POST /v1/tunnel/hello{query} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {TOKEN}\r\nConnection: Upgrade\r\n"
            "Upgrade: tcp\r\n\r\n"
        )
        peer.transport.write(head.encode() + rest)  # type: ignore[union-attr]  # connected
        return peer

    async def until(self, peer: Raw, wanted: bytes) -> None:
        while wanted not in peer.seen:
            await deferLater(self.reactor, 0.01)


@pytest_twisted.async_yield_fixture
async def scene(reactor: Any, tmp_path: Path) -> AsyncIterator[Scene]:
    found = Scene(reactor, tmp_path)
    await found.start()
    yield found
    await found.listener.stop()
    await found.app.stopListening()
    found.database.close()
    await deferLater(reactor, 0.01)


async def test_bytes_both_ways_and_half_close(scene: Scene) -> None:
    """101 as captured, then bytes; each end may close its half."""
    peer = await scene.ask()
    await scene.until(peer, b"\r\n\r\n")
    assert peer.seen == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tcp\r\n"
        b"Connection: Upgrade\r\n\r\n"
    )
    peer.transport.write(b"hello")  # type: ignore[union-attr]  # connected
    await scene.until(peer, b"HELLO")
    peer.transport.loseWriteConnection()  # type: ignore[union-attr]  # connected
    assert (await peer.gone).endswith(b"HELLObye")


async def test_client_that_breaks_off_lets_the_app_go(scene: Scene) -> None:
    """Also when the app was too slow to take it all: it gets the rest, and the end."""
    ends: list[Any] = []

    class Slow(Protocol):
        def connectionMade(self) -> None:
            transport: Any = self.transport
            transport.pauseProducing()
            ends.append(self)

        def connectionLost(self, reason: Any = None) -> None:
            ends.append("gone")

    scene.app.factory.protocol = Slow
    peer = await scene.ask()
    await scene.until(peer, b"\r\n\r\n")
    peer.transport.write(bytes(16 << 20))  # type: ignore[union-attr]  # connected
    await deferLater(scene.reactor, 0.5)
    peer.transport.abortConnection()  # type: ignore[union-attr]  # connected
    await peer.gone
    for _ in range(3):  # the tunnel hears of it when it writes: it does not read
        ends[0].transport.write(b"x")
        await deferLater(scene.reactor, 0.05)
    ends[0].transport.resumeProducing()
    while ends[-1] != "gone":
        await deferLater(scene.reactor, 0.01)


async def test_bytes_behind_the_request_are_not_lost(scene: Scene) -> None:
    """A client that does not wait for the 101."""
    peer = await scene.ask(rest=b"early")
    await scene.until(peer, b"EARLY")
    peer.transport.abortConnection()  # type: ignore[union-attr]  # connected
    await peer.gone


async def test_tunnels_are_counted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A10: so many at a time, and one that ends makes room."""
    monkeypatch.setattr(tunnel_module, "TUNNELS_LIMIT", 1)
    first = await scene.ask()
    await scene.until(first, b"101")
    second = await scene.ask()
    await scene.until(second, b"429")
    first.transport.abortConnection()  # type: ignore[union-attr]  # connected
    await first.gone
    await deferLater(scene.reactor, 0.05)
    third = await scene.ask()
    await scene.until(third, b"101")
    for peer in (second, third):
        peer.transport.abortConnection()  # type: ignore[union-attr]  # connected
        await peer.gone


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("?port=127.0.0.1:22", b"400", b"is not a port"),
        ("?port=0", b"400", b"is not a port"),
        ("?port=1", b"502", b"does not listen on 1"),
        ("?container=fff", b"400", b"containerId"),
    ],
)
async def test_refusals(scene: Scene, query: str, status: bytes, words: bytes) -> None:
    """A10, A20: the port is a number, and the text has no address."""
    peer = await scene.ask(query)
    await scene.until(peer, words)
    assert peer.seen.startswith(b"HTTP/1.1 " + status)
    peer.transport.abortConnection()  # type: ignore[union-attr]  # connected
    await peer.gone


async def test_container_without_an_address(scene: Scene) -> None:
    """404, not a hang."""
    for container in await scene.engine.containers({PORT: None}):
        await scene.engine.remove(container.id)
    peer = await scene.ask()
    await scene.until(peer, b"404")
    peer.transport.abortConnection()  # type: ignore[union-attr]  # connected
    await peer.gone
