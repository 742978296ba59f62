"""Both forms of the proxy keep the contract."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import pytest_twisted
from attrs import define

from haloy.proxy.interface import Proxy
from haloy.proxy.routes import Upstream
from tests.contracts.proxy import ProxyContract
from tests.proxy.apps import OK
from tests.proxy.conftest import SplitStarter, Starter
from tests.proxy.support import (
    Backend,
    Peer,
    answering,
    backend,
    connect,
    get,
    upstream_of,
)


@define
class Served:
    proxy: Proxy
    port: int

    def get(self, host: str, target: str = "/") -> tuple[int, bytes]:
        peer = connect(self.port)
        peer.send(get(host, target))
        status, _, body = peer.response()
        peer.close()
        return status, body


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


class TestSplit(Upstreams):
    """L{haloy.proxy.control.client.RemoteProxy}, a supervisor and two workers."""

    @pytest_twisted.async_fixture
    async def form(self, start_split: SplitStarter) -> Served:
        split = await start_split()
        return Served(split.proxy, split.http)
