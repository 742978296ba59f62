"""Workers come, go, hang and are replaced; real processes."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from haloy.proxy.control.release import RELEASE
from haloy.proxy.form import form
from haloy.proxy.interface import Program
from haloy.proxy.split.sockets import Sockets, listening
from haloy.proxy.split.worker_pool import LEAN, STOCK, WorkerPool
from tests.proxy.apps import OK
from tests.proxy.conftest import SplitStarter
from tests.proxy.support import (
    Peer,
    answering,
    backend,
    connect,
    get,
    in_thread,
    table_of,
)
from tests.support.waiting import scheduled_s


async def until(reactor: Any, condition: Any) -> None:
    """Wait; the test's own limit ends it."""
    while not condition():
        await deferLater(reactor, 0.01)


def busy_s(pid: int) -> float:
    """Return how long C{pid} has run, or been ready to run without a core."""
    return sum(scheduled_s(pid))


def pss_kib(pid: int) -> int:
    """Return the memory of C{pid}, with its part of what it shares."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    (kib,) = re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE)
    return int(kib)


def ask(port: int) -> int:
    peer = connect(port)
    peer.send(get())
    status = peer.response()[0]
    peer.close()
    return status


async def test_a_killed_worker_is_replaced(
    start_split: SplitStarter, reactor: Any
) -> None:
    """Nearly at once, by one that serves the present table.

    What counts is the time in which nobody worked on it: how long a new process needs
    to load is the machine's, and coverage's, who watch here.
    """
    split = await start_split()
    with backend(answering(OK)) as one:
        await split.proxy.replace_table(table_of(one))
        before = split.supervisor.pids
        busy = busy_s(os.getpid())
        killed_s = time.monotonic()
        os.kill(before[0], signal.SIGKILL)
        await until(reactor, lambda: before[0] not in split.supervisor.pids)
        await until(reactor, lambda: len(split.supervisor.pids) == 2)
        took_s = time.monotonic() - killed_s
        (new,) = set(split.supervisor.pids) - set(before)
        busy = busy_s(os.getpid()) - busy + busy_s(new)
        assert took_s - busy < 0.5, (took_s, busy)
        assert await in_thread(ask, split.http) == 200
        for pid in set(before) & set(split.supervisor.pids):
            os.kill(pid, signal.SIGKILL)
        await until(reactor, lambda: not set(before) & set(split.supervisor.pids))
        assert await in_thread(ask, split.http) == 200


async def test_a_worker_at_rest(start_split: SplitStarter) -> None:
    """It has 24 to 25 MiB: what it loads is only what serving needs."""
    split = await start_split()
    assert all(pss_kib(pid) < 32 * 1024 for pid in split.supervisor.pids)


async def test_all_killed_at_once(start_split: SplitStarter, reactor: Any) -> None:
    """Nobody is refused: the sockets are the supervisor's, who waits is served."""
    split = await start_split()
    with backend(answering(OK)) as one:
        await split.proxy.replace_table(table_of(one))
        for pid in split.supervisor.pids:
            os.kill(pid, signal.SIGKILL)
        assert await in_thread(ask, split.http) == 200


async def test_a_worker_that_hangs_is_killed(
    start_split: SplitStarter, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing for too long; another takes its place."""
    monkeypatch.setattr("haloy.proxy.split.worker_pool.ROUND_S", 0.8)
    split = await start_split()
    hung = split.supervisor.pids[0]
    os.kill(hung, signal.SIGSTOP)
    await until(
        reactor,
        lambda: hung not in split.supervisor.pids and len(split.supervisor.pids) == 2,
    )


@pytest.mark.parametrize("chosen", [LEAN, STOCK])
async def test_a_reload_replaces_all(
    start_split: SplitStarter, reactor: Any, chosen: str
) -> None:
    """Old workers answer what is open on them as the last, then leave."""
    split = await start_split(reactor=chosen)
    with backend(answering(OK)) as one:
        await split.proxy.replace_table(table_of(one))
        idle = connect(split.http)

        def first() -> int:
            idle.send(get())
            return idle.response()[0]

        assert await in_thread(first) == 200
        before = split.supervisor.pids
        split.supervisor.reload()
        split.supervisor.reload()  # another one while the first runs
        await until(
            reactor,
            lambda: (
                len(split.supervisor.pids) == 2
                and not set(before) & set(split.supervisor.pids)
            ),
        )

        def closes() -> bool:
            idle.send(get())
            status, fields, _ = idle.response()
            assert status == 200
            return fields.get("connection") == "close"

        # A request may be faster than the word that the worker is to leave.
        for _ in range(50):
            if await in_thread(closes):
                break
            await deferLater(reactor, 0.02)
        else:
            pytest.fail("an old worker goes on as if nothing had been said")
        await until(reactor, lambda: len(split.supervisor.members) == 2)
    assert not set(before) & {one.pid for one in split.supervisor.members}


def program(folder: Path, text: str) -> str:
    """Return a program in the place of Python's."""
    made = folder / "python"
    made.write_text(f"#!/bin/sh\n{text}\n")
    made.chmod(0o755)
    return str(made)


async def test_a_reload_that_fails(
    start_split: SplitStarter,
    reactor: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The old workers stay, and those that end meanwhile are replaced all the same."""
    split = await start_split()
    before = split.supervisor.pids
    monkeypatch.setattr(sys, "executable", program(tmp_path, "sleep 0.3; exit 1"))
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    split.supervisor.reload()
    await until(reactor, lambda: not set(before) & set(split.supervisor.pids))
    monkeypatch.undo()
    await until(reactor, lambda: len(split.supervisor.pids) == 2)
    assert await in_thread(ask, split.http) == 404


async def test_one_of_the_new_workers_does_not_start(
    start_split: SplitStarter,
    reactor: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Another one is started in its place, and there are as many as are wanted."""
    split = await start_split()
    before = set(split.supervisor.pids)
    once = f'mkdir {tmp_path}/once && exit 1; exec {sys.executable} "$@"'
    monkeypatch.setattr(sys, "executable", program(tmp_path, once))
    split.supervisor.reload()
    await until(
        reactor,
        lambda: (
            len(split.supervisor.pids) == 2 and not before & set(split.supervisor.pids)
        ),
    )
    assert (tmp_path / "once").exists()


async def test_who_has_ended_is_named(start_split: SplitStarter, reactor: Any) -> None:
    """By the number that its process had."""
    split = await start_split(workers=1)
    (pid,) = split.supervisor.pids
    said: list[str] = []

    def observe(event: LogEvent) -> None:
        said.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]  # a function does
    try:
        os.kill(pid, signal.SIGKILL)
        await until(reactor, lambda: split.supervisor.pids not in ((), (pid,)))
    finally:
        globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]  # as above
    assert any(f"worker {pid} ended" in line for line in said), said


async def test_no_descriptor_is_left_for_a_worker(
    start_split: SplitStarter, reactor: Any
) -> None:
    """One that ended is replaced as soon as one can be had."""
    split = await start_split()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        os.kill(split.supervisor.pids[0], signal.SIGKILL)
        await until(reactor, lambda: len(split.supervisor.pids) == 1)
        await deferLater(reactor, 0.3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await until(reactor, lambda: len(split.supervisor.pids) == 2)


async def test_a_deploy_waits_for_old_workers_too(
    start_split: SplitStarter, reactor: Any
) -> None:
    """A table is acknowledged by workers that drain: they still answer by it.

    It can be seen that there is one.
    """
    split = await start_split()

    def client(peer: Peer) -> int:
        peer.send(get())
        return peer.response()[0]

    with backend(answering(OK)) as one, backend(answering(OK)) as other:
        await split.proxy.replace_table(table_of(one))
        idle = connect(split.http)
        assert await in_thread(client, idle) == 200
        before = split.supervisor.pids
        split.supervisor.reload()
        await until(
            reactor,
            lambda: (
                len(split.supervisor.pids) == 2
                and not set(before) & set(split.supervisor.pids)
            ),
        )
        while len(split.supervisor.members) > 3:  # one has nothing to drain
            await deferLater(reactor, 0.02)
        assert await split.proxy.programs() == (
            Program(RELEASE, form(), 2),
            Program(RELEASE, form(), 1, draining=True),
        )
        await split.proxy.replace_table(table_of(other, generation=2))
        assert await in_thread(client, idle) == 200
        assert (one.connections, other.connections) == (1, 1)


async def test_workers_that_never_start(reactor: Any) -> None:
    """They are tried again, slower and slower, and nothing hangs."""
    sockets = listening("127.0.0.1:0", "", [])
    workers = WorkerPool(reactor, sockets, 1, tuple, lambda _: None, "no.such.reactor")
    started = workers.start()
    await started
    assert workers.serving == ()
    await workers.stop(5.0)
    sockets.close()


def test_nothing_to_hold() -> None:
    """Sockets that are none can be closed."""
    Sockets().close()
