"""Both forms of the proxy keep the contract."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import pytest_twisted
from attrs import define

from haloy.model.certificate import Certificate, Secret
from haloy.model.names import DomainName
from haloy.proxy.interface import Proxy
from haloy.proxy.routes import Upstream
from haloy.proxy.tls.contexts import SniContexts
from haloy.proxy.tls.policy import offered
from tests.contracts.proxy import ProxyContract, Unending
from tests.proxy.apps import OK, SWITCH, UPGRADE
from tests.proxy.conftest import SplitStarter, Starter
from tests.proxy.http2.clients import tls_peer
from tests.proxy.support import (
    Backend,
    Peer,
    answering,
    backend,
    connect,
    get,
    make_certificate,
    upstream_of,
)

ELSEWHERE = "192.0.2.7"


@define
class Served:
    proxy: Proxy
    port: int

    def get(self, host: str, target: str = "/") -> tuple[int, bytes]:
        peer = connect(self.port)
        peer.send(get(host, target, X_Forwarded_For=ELSEWHERE))
        status, _, body = peer.response()
        peer.close()
        return status, body

    def shown(self, name: str, protocol: str = "http/1.1") -> bytes | None:
        try:
            peer = tls_peer(self.port, name, (protocol,))
        except OSError:
            return None
        assert isinstance(peer.socket, ssl.SSLSocket)
        found = peer.socket.getpeercert(binary_form=True)
        peer.close()
        return found


class Upstreams(ProxyContract):
    """The contract with upstreams in threads of this process."""

    @pytest.fixture
    def upstream(self) -> Iterator[Upstream]:
        with backend(answering(OK)) as one:
            yield upstream_of(one)

    @pytest.fixture
    def slow(self) -> Iterator[tuple[Upstream, Callable[[], None]]]:
        go = threading.Event()

        def script(peer: Peer) -> None:
            peer.head()
            go.wait(20)
            peer.send(OK)

        with backend(script) as one:
            yield upstream_of(one), go.set

    @pytest.fixture
    def echoing(self) -> Iterator[Upstream]:
        def script(peer: Peer) -> None:
            while head := peer.head():
                told = b"yes" if f"For: {ELSEWHERE},".encode() in head else b"no"
                size = f"HTTP/1.1 200 OK\r\nContent-Length: {len(told)}\r\n\r\n"
                peer.send(size.encode() + told)

        with backend(script) as one:
            yield upstream_of(one)

    @pytest.fixture
    def unending(self, form: Served) -> Iterator[Unending]:
        def script(peer: Peer) -> None:
            while head := peer.head():
                if b"Upgrade: websocket" in head:
                    peer.send(SWITCH)
                while peer.recv():
                    pass

        def begin() -> Peer:
            peer = connect(form.port)
            peer.send(get())
            return peer

        def upgrade() -> Peer:
            peer = connect(form.port)
            peer.send(UPGRADE)
            assert peer.head().startswith(b"HTTP/1.1 101 ")
            return peer

        with backend(script) as one:
            yield Unending(upstream_of(one), begin, upgrade)

    @pytest.fixture
    def certificates(self) -> tuple[Certificate, Certificate]:
        now = datetime.now(UTC)

        def made(text: str) -> Certificate:
            name = DomainName(text)
            chain, key = make_certificate(name)
            return Certificate(name, frozenset({name}), chain, Secret(key), now, now)

        return made("app.example.com"), made("other.example.com")

    @pytest.fixture
    def dead(self) -> Upstream:
        one = Backend(answering(OK))
        one.close()
        return upstream_of(one)


class TestEmbedded(Upstreams):
    """L{haloy.proxy.embedded.EmbeddedProxy}."""

    @pytest.fixture
    def form(self, start_proxy: Starter) -> Served:
        running = start_proxy()
        return Served(running.proxy, running.http)

    @pytest.fixture
    def secure(self, start_proxy: Starter) -> Served:
        running = start_proxy(plain=False, contexts=SniContexts(offered(http2=True)))
        return Served(running.proxy, running.https)


class TestSplit(Upstreams):
    """L{haloy.proxy.control.client.RemoteProxy}, a supervisor and two workers."""

    @pytest_twisted.async_fixture
    async def form(self, start_split: SplitStarter) -> Served:
        split = await start_split()
        return Served(split.proxy, split.http)

    @pytest_twisted.async_fixture
    async def secure(self, start_split: SplitStarter) -> Served:
        split = await start_split(plain=False)
        return Served(split.proxy, split.https)
