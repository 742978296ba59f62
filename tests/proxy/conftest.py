"""A running proxy for tests with real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.task import deferLater

from haloy.proxy.access_log import AccessRecord, record_of
from haloy.proxy.control.client import RemoteProxy
from haloy.proxy.embedded import EmbeddedProxy
from haloy.proxy.routes import RouteTable, Upstream
from haloy.proxy.settings import Settings
from haloy.proxy.split.supervisor import Plan, Supervisor
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
            https=settings.pop("https", "" if plain else "127.0.0.1:0"),
            stop_s=settings.pop("stop_s", 0.5),
            **settings,
        )
        extra = {} if clock is None else {"clock": clock}
        proxy = EmbeddedProxy(
            reactor,
            chosen,
            contexts or context,
            lambda visit: records.append(record_of(visit)),
            **extra,
        )
        proxy.startService()
        started.append(proxy)
        return Running(proxy, records)

    yield start
    for proxy in started:
        if proxy.running:
            await proxy.stopService()


@pytest.fixture
def start_http2(start_proxy: Starter, tmp_path: Path) -> Starter:
    """Return what starts proxies with TLS and HTTP/2."""
    contexts = OneContext(tmp_path, ("h2", "http/1.1"))

    def start(**rest: Any) -> Running:
        # Clients of tests do not answer the goodbye.
        rest.setdefault("stop_s", 0.05)
        return start_proxy(plain=False, contexts=contexts, **rest)

    return start


@define(eq=False)
class Split:
    """A supervisor in this process with real workers, and haloyd's side of it."""

    supervisor: Supervisor
    proxy: RemoteProxy
    plan: Plan
    records: list[AccessRecord] = field(factory=list)

    @property
    def http(self) -> int:
        return self.supervisor.http_port

    @property
    def https(self) -> int:
        return self.supervisor.https_port


SplitStarter = Callable[..., Awaitable[Split]]


@pytest_twisted.async_yield_fixture
async def start_split(tmp_path: Path) -> AsyncIterator[SplitStarter]:
    """Start supervisors with workers; C{plain=False} for one with TLS too."""
    from twisted.internet import reactor  # noqa: PLC0415, TID251 - once installed

    started: list[Any] = []

    async def start(
        *,
        plain: bool = True,
        connect: bool = True,
        settings: Any = None,
        followed: Callable[[], bool] = lambda: False,
        **chosen: Any,
    ) -> Split:
        plan = Plan(
            **{
                "workers": 2,
                "control": tmp_path / "proxy.sock",
                "state": tmp_path / "state",
                "http": "127.0.0.1:0",
                "https": "" if plain else "127.0.0.1:0",
                "stop_s": 0.5,
                **chosen,
            }
        )
        supervisor = Supervisor(reactor, plan, lambda: datetime.now(UTC))
        records: list[AccessRecord] = []
        proxy = RemoteProxy(
            reactor,
            str(plan.control),
            settings or {},
            lambda visit: records.append(record_of(visit)),
            followed,
        )
        supervisor.startService()
        if connect:
            proxy.startService()
        started.extend((supervisor, proxy))
        while len(supervisor.pids) < plan.workers:
            await deferLater(reactor, 0.02)
        return Split(supervisor, proxy, plan, records)

    yield start
    for one in reversed(started):
        if one.running:
            await one.stopService()
