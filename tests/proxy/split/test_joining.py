"""Workers that come while something is on its way, or while others are replaced."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs, formatEvent

from haloy.proxy.control.changes import certificate_parts, table_parts
from haloy.proxy.control.protocol import (
    Done,
)
from tests.proxy.apps import OK
from tests.proxy.conftest import Split, SplitStarter
from tests.proxy.split.talk import APPS, CERTIFICATES, certificates, greeted, many
from tests.proxy.support import (
    answering,
    backend,
    connect,
    connect_tls,
    get,
    in_thread,
)


def statuses(port: int, first: int = 0, count: int = APPS) -> set[int]:
    """Return what the apps' domains are answered with."""
    found = set()
    for number in range(first, first + count):
        peer = connect(port)
        peer.send(get(f"app{number}.example.com"))
        found.add(peer.response()[0])
        peer.socket.close()
    return found


async def test_a_worker_that_comes_within_a_table(
    start_split: SplitStarter, reactor: Any
) -> None:
    """It serves all of the table, not what came after it alone."""
    split = await start_split(connect=False, workers=1)
    with backend(answering(OK)) as one:
        *first, last = table_parts(None, many(one, 1))
        assert len(first) >= 2
        talk = await in_thread(greeted, split.plan.control)
        talk.send(first[0])
        await replaced(split, reactor)
        talk.send(*first[1:], last)
        assert await in_thread(talk.answer) == Done()
        assert await in_thread(statuses, split.http) == {200}
        talk.close()


def handshakes(port: int) -> int:
    """Return for how many names there is a certificate."""
    found = 0
    for number in range(CERTIFICATES):
        try:
            connect_tls(port, f"app{number}.example.com").socket.close()
        except OSError:
            continue
        found += 1
    return found


async def test_a_worker_that_comes_within_certificates(
    start_split: SplitStarter, reactor: Any
) -> None:
    """It serves all of them."""
    split = await start_split(connect=False, workers=1, plain=False)
    *first, last = certificate_parts(None, certificates())
    assert len(first) >= 2
    talk = await in_thread(greeted, split.plan.control)
    talk.send(first[0])
    assert await in_thread(talk.answer) == Done()
    await replaced(split, reactor)
    talk.send(*first[1:], last)
    assert await in_thread(talk.answer) == Done()
    assert await in_thread(handshakes, split.https) == CERTIFICATES
    talk.close()


async def test_a_table_that_was_not_finished(start_split: SplitStarter) -> None:
    """What a haloyd that is gone has begun is no part of the next one's table."""
    split = await start_split(connect=False, workers=1)
    with backend(answering(OK)) as one:
        talk = await in_thread(greeted, split.plan.control)
        talk.send(table_parts(None, many(one, 1))[0])
        talk.close()
        talk = await in_thread(greeted, split.plan.control)
        talk.send(*table_parts(None, many(one, 1, first=APPS)))
        assert await in_thread(talk.answer) == Done()
        assert await in_thread(statuses, split.http) == {404}
        assert await in_thread(statuses, split.http, APPS) == {200}
        talk.close()


async def test_settings_that_come_before_workers_serve(
    start_split: SplitStarter, reactor: Any
) -> None:
    """Workers that start when they come have others: they are replaced, too."""
    with capturedLogs() as events:
        split = await start_split(settings={"connections_per_client": 7})
        while not any("were replaced" in formatEvent(event) for event in events):
            await deferLater(reactor, 0.02)
        while len(split.supervisor.members) > 2:
            await deferLater(reactor, 0.02)
    assert not [one for one in events if one["log_level"] >= LogLevel.error]
    assert len(split.supervisor.pids) == 2


async def replaced(split: Split, reactor: Any) -> None:
    """Replace the one worker, and wait until the new one serves alone."""
    (before,) = split.supervisor.pids
    split.supervisor.reload()
    while split.supervisor.pids in ((), (before,)) or len(split.supervisor.members) > 1:
        await deferLater(reactor, 0.02)
