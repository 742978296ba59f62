"""A running proxy for tests with real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field

from haloy.proxy.access_log import AccessRecord
from haloy.proxy.embedded import EmbeddedProxy, Settings
from haloy.proxy.routes import RouteTable, Upstream
from tests.proxy.support import Backend, OneContext, Peer, table_of


@define(eq=False)
class Running:
    """A proxy with its ports and what it logged."""

    proxy: EmbeddedProxy
    records: list[AccessRecord] = field(factory=list)

    @property
    def http(self) -> int:
        return self.proxy.http_port

    @property
    def https(self) -> int:
        return self.proxy.https_port

    async def serve(
        self,
        *backends: Backend | Upstream,
        table: RouteTable | None = None,
        **rest: Any,
    ) -> None:
        await self.proxy.replace_table(table or table_of(*backends, **rest))


@pytest.fixture(autouse=True)
def no_open_peers() -> Iterator[None]:
    """Close the sockets of raw peers."""
    yield
    Peer.close_all()


Starter = Callable[..., Running]


@pytest_twisted.async_yield_fixture
async def start_proxy(tmp_path: Path) -> AsyncIterator[Starter]:
    """Start proxies; C{plain=True} for one that serves apps without TLS."""
    from twisted.internet import reactor  # noqa: PLC0415, TID251 - once installed

    started: list[EmbeddedProxy] = []
    context = OneContext(tmp_path)

    def start(
        *,
        plain: bool = True,
        clock: Any = None,
        contexts: Any = None,
        **settings: Any,
    ) -> Running:
        records: list[AccessRecord] = []
        chosen = Settings(
            http=settings.pop("http", "127.0.0.1:0"),
            https="" if plain else "127.0.0.1:0",
            stop_s=settings.pop("stop_s", 0.5),
            **settings,
        )
        extra = {} if clock is None else {"clock": clock}
        proxy = EmbeddedProxy(
            reactor, chosen, contexts or context, records.append, **extra
        )
        proxy.startService()
        started.append(proxy)
        return Running(proxy, records)

    yield start
    for proxy in started:
        if proxy.running:
            await proxy.stopService()
