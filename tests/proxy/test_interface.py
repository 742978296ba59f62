"""The embedded proxy keeps the contract."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from attrs import define

from haloy.proxy.interface import Proxy
from haloy.proxy.routes import Upstream
from tests.contracts.proxy import ProxyContract
from tests.proxy.conftest import Starter
from tests.proxy.support import (
    Backend,
    Peer,
    answering,
    backend,
    connect,
    get,
    upstream_of,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@define
class Embedded:
    proxy: Proxy
    port: int

    def get(self, host: str, target: str = "/") -> tuple[int, bytes]:
        peer = connect(self.port)
        peer.send(get(host, target))
        status, _, body = peer.response()
        peer.close()
        return status, body


class TestEmbedded(ProxyContract):
    """L{haloy.proxy.embedded.EmbeddedProxy}."""

    @pytest.fixture
    def form(self, start_proxy: Starter) -> Embedded:
        running = start_proxy()
        return Embedded(running.proxy, running.http)

    @pytest.fixture
    def upstream(self) -> Iterator[Upstream]:
        with backend(answering(OK)) as one:
            yield upstream_of(one)

    @pytest.fixture
    def slow(self) -> Iterator[tuple[Upstream, Callable[[], None]]]:
        go = threading.Event()

        def script(peer: Peer) -> None:
            peer.head()
            go.wait(5)
            peer.send(OK)

        with backend(script) as one:
            yield upstream_of(one), go.set

    @pytest.fixture
    def dead(self) -> Upstream:
        one = Backend(answering(OK))
        one.close()
        return upstream_of(one)
