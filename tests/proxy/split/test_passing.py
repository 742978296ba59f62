"""Tables that pass the supervisor unread: who refuses one, and what comes of it."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from twisted.internet.task import deferLater

from haloy.model.app import Address
from haloy.proxy.control.changes import UnreadTable
from haloy.proxy.control.link import ProxyRefused
from haloy.proxy.control.protocol import TablePart, packed
from haloy.proxy.routes import RouteTable, Upstream
from haloy.proxy.split.passing import Passing
from haloy.proxy.split.sockets import Sockets
from haloy.proxy.split.worker_pool import WorkerPool
from tests.proxy.apps import OK
from tests.proxy.conftest import SplitStarter
from tests.proxy.support import (
    answering,
    ask,
    backend,
    in_thread,
    table_of,
)

#: What a release that knows other routes might send.
STRANGE: Any = Upstream("key", Address("127.0.0.1", 1))


async def test_a_refused_table_leaves_no_trace(
    start_split: SplitStarter, reactor: Any
) -> None:
    """It is not acknowledged, not kept, and not told to a worker that comes later."""
    split = await start_split()
    with backend(answering(OK)) as one, backend(answering(OK)) as other:
        good = table_of(one)
        await split.proxy.replace_table(good)
        bad = RouteTable(2, {**good.exact, "bad.example.com": STRANGE})
        with pytest.raises(ProxyRefused, match=r"the route of bad\.example\.com"):
            await split.proxy.replace_table(bad)
        before = split.supervisor.pids
        os.kill(before[0], signal.SIGKILL)
        while len(split.supervisor.pids) < 2 or before[0] in split.supervisor.pids:
            await deferLater(reactor, 0.02)
        os.kill(before[1], signal.SIGKILL)
        while len(split.supervisor.pids) < 2 or before[1] in split.supervisor.pids:
            await deferLater(reactor, 0.02)
        assert await in_thread(ask, split.http) == (200, b"hello")
        await split.proxy.replace_table(table_of(other, generation=3))
        assert split.proxy.stats().generation == 3
        assert await in_thread(ask, split.http) == (200, b"hello")
        await split.proxy.stopService()
        await split.supervisor.stopService()
        kept = (split.plan.state / "table.json").read_text()
        assert '"generation":3' in kept
        assert "bad.example.com" not in kept


async def test_without_a_worker_it_is_read_all_the_same(reactor: Any) -> None:
    """There is an answer to a table while no worker lives: a good one is taken."""
    pool = WorkerPool(reactor, Sockets(), 0, lambda: (), lambda _: None)
    passing = Passing()
    passing.begin(UnreadTable())
    first = passing.table
    part = TablePart(1, exact={"a.example.com": b'{"is":"Unheard"}'}, last=True)
    with pytest.raises(ValueError, match=r"the route of a\.example\.com"):
        await passing.take(part, packed(part), pool)
    assert passing.table is first
    good = TablePart(1, last=True)
    assert await passing.take(good, packed(good), pool)
    assert passing.table == UnreadTable(1)
    await pool.stop(1.0)
