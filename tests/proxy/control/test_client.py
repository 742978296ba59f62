"""haloyd's side: what is wanted reaches whatever proxy is there, or comes."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import getConnectError
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent

from haloy.model.certificate import Challenge, ChallengeKind
from haloy.model.names import AppName, DomainName
from haloy.proxy.control.client import RemoteProxy
from haloy.proxy.control.dial import ProxyUnavailable, reason_of
from haloy.proxy.interface import DrainLimits
from haloy.proxy.routes import RouteTable
from tests.proxy.apps import OK
from tests.proxy.conftest import SplitStarter
from tests.proxy.support import (
    answering,
    ask,
    backend,
    in_thread,
    table_of,
)

CHALLENGE = Challenge(ChallengeKind.HTTP_01, DomainName("x.example"), "tok", "tok.p")


async def test_no_proxy_is_told_and_waited_for(tmp_path: Path, reactor: Any) -> None:
    """Each order waits up to its limit, then fails with the reason."""
    proxy = RemoteProxy(reactor, str(tmp_path / "none.sock"), {}, limit_s=0.3)
    assert "not connected yet" in proxy.trouble
    proxy.startService()
    with pytest.raises(ProxyUnavailable, match="nobody listens there"):
        await proxy.replace_table(RouteTable(1))
    with pytest.raises(ProxyUnavailable, match="nobody listens there"):
        await proxy.drain("key", DrainLimits(1, 1))
    with pytest.raises(ProxyUnavailable, match="nobody listens there"):
        await proxy.programs()
    assert proxy.stats().generation == 0
    await proxy.stopService()


@contextmanager
def nothing(path: Path) -> Iterator[None]:
    yield


@contextmanager
def of_a_crash(path: Path) -> Iterator[None]:
    """Leave a socket whose process has ended."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    yield


@contextmanager
def hanging(path: Path) -> Iterator[None]:
    """Take connections, and say nothing."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        one.listen()
        yield


@contextmanager
def full(path: Path) -> Iterator[None]:
    """Let as many wait already as may."""
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as waiting:
        one.bind(str(path))
        one.listen(0)
        waiting.connect(str(path))
        yield


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (nothing, "there is no such file: start haloy-proxy, with the --control"),
        (of_a_crash, "nobody listens there: start haloy-proxy"),
        (hanging, "it does not answer; if that lasts, restart haloy-proxy"),
        (full, "nobody listens there: start haloy-proxy"),
    ],
)
async def test_what_is_wrong_with_the_socket(
    tmp_path: Path,
    reactor: Any,
    monkeypatch: pytest.MonkeyPatch,
    place: Callable[[Path], AbstractContextManager[None]],
    reason: str,
) -> None:
    """It is told what to do, and once: with the path."""
    monkeypatch.setattr("haloy.proxy.control.dial.GREETING_LIMIT_S", 0.2)
    path = tmp_path / "proxy.sock"
    proxy = RemoteProxy(reactor, str(path), {})
    with place(path), capturedLogs() as events:
        proxy.startService()
        while reason not in proxy.trouble:
            await deferLater(reactor, 0.02)
        await proxy.stopService()
    told = [formatEvent(event) for event in events]
    assert [f"haloy-proxy at {path}: " in one for one in told] == [True], told
    assert reason in told[0]


def test_a_socket_that_is_for_others() -> None:
    """As the kernel refuses who is not in its group: connect(2), C{EACCES}."""
    refused = getConnectError((errno.EACCES, "Permission denied"))
    assert "has to be in the group of that file" in reason_of(refused)


async def test_who_waits_is_told_of_the_end(tmp_path: Path, reactor: Any) -> None:
    """Haloyd can stop while orders wait for a proxy."""
    proxy = RemoteProxy(reactor, str(tmp_path / "none.sock"), {})
    proxy.startService()
    problems: list[Exception] = []

    async def order() -> None:
        try:
            await proxy.unpark(AppName("app"))
        except ProxyUnavailable as problem:
            problems.append(problem)

    waiting = Deferred.fromCoroutine(order())
    await proxy.stopService()
    await waiting
    assert [str(one) for one in problems] == ["haloyd stops"]


async def test_a_proxy_that_comes_later_gets_everything(
    start_split: SplitStarter, tmp_path: Path, reactor: Any
) -> None:
    """Table, challenge and parked apps, as if it had been there."""
    early = RemoteProxy(reactor, str(tmp_path / "proxy.sock"), {}, limit_s=30.0)
    early.startService()
    await deferLater(reactor, 0.1)

    with backend(answering(OK)) as one:
        orders = [
            Deferred.fromCoroutine(early.present(CHALLENGE)),
            Deferred.fromCoroutine(early.park(AppName("other"), 60.0)),
            Deferred.fromCoroutine(early.replace_certificates(())),
            Deferred.fromCoroutine(early.replace_table(table_of(one))),
        ]
        split = await start_split(connect=False)
        await gatherResults(orders)
        assert await in_thread(ask, split.http) == (200, b"hello")
        while early.stats().parked != ("other",):
            await deferLater(reactor, 0.02)
        await early.stopService()


async def test_a_proxy_that_is_restarted_gets_everything(
    start_split: SplitStarter, tmp_path: Path, reactor: Any
) -> None:
    """Also when it has lost what it kept; orders meanwhile wait for it."""
    split = await start_split()
    with backend(answering(OK)) as one, backend(answering(OK)) as other:
        await split.proxy.replace_table(table_of(one))
        await split.supervisor.stopService()
        while not split.proxy.trouble:
            await deferLater(reactor, 0.02)
        lose(tmp_path / "state")

        order = Deferred.fromCoroutine(
            split.proxy.replace_table(table_of(other, generation=2))
        )
        again = await start_split(connect=False)
        await order
        assert split.proxy.stats().generation == 2
        assert await in_thread(ask, again.http) == (200, b"hello")
        assert (one.connections, other.connections) == (0, 1)


def lose(state: Path) -> None:
    for path in state.glob("*.json"):
        path.unlink()
