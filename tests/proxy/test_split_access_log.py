"""The access log of the split form: workers write it, whatever becomes of haloyd."""

from __future__ import annotations

import json
import os
import re
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater

from haloy.daemon.requests import SharedFile
from haloy.proxy.access_file import AccessFile, OwnFile
from haloy.proxy.access_log import Kinds, visit_of
from haloy.proxy.control.client import RemoteProxy
from haloy.proxy.control.protocol import AccessLog
from haloy.proxy.interface import AccessSettings
from tests.proxy.apps import OK
from tests.proxy.conftest import Split, SplitStarter, Starter
from tests.proxy.support import answering, backend, connect, get, in_thread, table_of
from tests.proxy.test_split_load import asking, reloaded, taking

JSON = AccessSettings("json", redact=frozenset({"query"}))
LIMIT_S = 20.0
#: What differs from one request to the next like it.
OWN = {"time", "request_id", "traceparent", "head_s", "total_s"}


@contextmanager
def shared(
    reactor: Any, proxy: RemoteProxy, path: Path, settings: AccessSettings = JSON
) -> Iterator[SharedFile]:
    """Let the workers write to C{path}."""
    made = SharedFile(reactor, path, settings, proxy.log_requests)
    made.start()
    try:
        yield made
    finally:
        made.close()


async def soon(reactor: Any, true: Callable[[], bool]) -> None:
    """Wait for C{true}, with a limit of its own."""
    until_s = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < until_s
        await deferLater(reactor, 0.05)


async def all_have(reactor: Any, split: Split, path: Path) -> None:
    """Return when every worker has the file, and can do nothing but append to it."""

    def has(pid: int) -> bool:
        with suppress(FileNotFoundError):  # it has just closed one, or is gone
            for one in Path(f"/proc/{pid}/fd").iterdir():
                if one.exists() and one.resolve() == path:
                    info = Path(f"/proc/{pid}/fdinfo/{one.name}").read_text()
                    flags = int(info.split("flags:")[1].split()[0], 8)
                    mode = flags & (os.O_APPEND | os.O_ACCMODE)
                    assert mode == os.O_APPEND | os.O_WRONLY
                    return True
        return False

    await soon(reactor, lambda: all(has(one) for one in split.supervisor.pids))


def lines_in(*paths: Path) -> list[dict[str, Any]]:
    """Return what stands there; a torn line is no JSON and fails."""
    return [
        json.loads(line)
        for path in paths
        if path.exists()
        for line in path.read_text().splitlines()
    ]


def ask(port: int, target: str = "/", host: str = "app.example.com") -> int:
    peer = connect(port)
    peer.send(get(host, target, Connection="close", User_Agent='an "agent"'))
    status = peer.response()[0]
    peer.close()
    return status


def alike(line: str) -> str:
    """Return a line without what differs each time."""
    if not line.startswith("{"):
        return re.sub(r"\[.*?\]", "[]", line)
    return json.dumps({k: v for k, v in json.loads(line).items() if k not in OWN})


async def test_the_same_lines_as_in_one_process(
    start_split: SplitStarter, start_proxy: Starter, reactor: Any, tmp_path: Path
) -> None:
    """For the same requests, in either form of the log."""

    def client(port: int) -> None:
        for target in ("/", "/a?secret=1", "/%22quoted%22"):
            assert ask(port, target) == 200
        assert ask(port, "/?x", "nobody.example.com") == 404

    split, together = await start_split(), start_proxy()
    with backend(answering(OK)) as one:
        await split.proxy.replace_table(table_of(one))
        await together.serve(one)
        for form in ("json", "combined"):
            settings = AccessSettings(form, redact=frozenset({"query"}))
            own, theirs = tmp_path / f"own.{form}", tmp_path / f"shared.{form}"
            with shared(reactor, split.proxy, theirs, settings):
                await all_have(reactor, split, theirs)
                await in_thread(client, split.http)
                await soon(reactor, lambda: theirs.read_bytes().count(b"\n") >= 4)  # noqa: B023 - at once
            together.records.clear()
            await in_thread(client, together.http)
            log, kinds = AccessFile(reactor, OwnFile(own), settings), Kinds()
            for record in together.records:
                log.note(visit_of(record, kinds))
            log.close()
            found, wanted = theirs.read_text(), own.read_text()
            assert len(wanted.splitlines()) == 4
            assert sorted(map(alike, found.splitlines())) == sorted(
                map(alike, wanted.splitlines())
            )
            assert "secret" not in found


@pytest.mark.slow
async def test_renamed_and_reloaded_under_load(
    start_split: SplitStarter, reactor: Any, tmp_path: Path
) -> None:
    """No line is lost, torn or written twice, whoever comes and goes.

    The file is renamed again and again, as by logrotate; workers are replaced;
    haloyd goes away and comes back.
    """
    split = await start_split()
    path = tmp_path / "access.log"
    old = [tmp_path / f"old.{number}" for number in range(6)]
    with backend(taking) as one:
        await split.proxy.replace_table(table_of(one))
        with shared(reactor, split.proxy, path) as log:
            await all_have(reactor, split, path)
            with asking(split) as clients:
                for number, aside in enumerate(old):
                    await deferLater(reactor, 0.2)
                    path.rename(aside)
                    log.reopen()
                    if number % 2:
                        await reloaded(split, reactor)
                await all_have(reactor, split, path)
                await split.proxy.stopService()
                before, asked = len(lines_in(path)), len(clients.taken_s)
                await reloaded(split, reactor)  # new workers have it without haloyd
                await deferLater(reactor, 1.5)
                assert len(lines_in(path)) > before
                assert len(clients.taken_s) > asked
                await in_thread(clients.stop)
            count = len(clients.taken_s)
            await soon(reactor, lambda: len(lines_in(path, *old)) >= count)
    assert clients.failures == []
    lines = lines_in(path, *old)
    assert len({line["request_id"] for line in lines}) == len(lines) == count
    assert sum(1 for aside in old if lines_in(aside)) > 1


async def test_it_has_a_size(
    start_split: SplitStarter, reactor: Any, tmp_path: Path
) -> None:
    """Haloyd makes room; while it is away twice the size is the end, and is told."""
    split = await start_split(workers=1)
    path = tmp_path / "access.log"

    def client() -> None:
        peer = connect(split.http)
        for _ in range(100):
            peer.send(get())
            assert peer.response()[0] == 200
        peer.close()

    with backend(answering(OK)) as one:
        await split.proxy.replace_table(table_of(one))
        # A hundred lines have more than that, and less than twice as much.
        settings = AccessSettings("json", max_bytes=30_000)
        with shared(reactor, split.proxy, path, settings):
            await all_have(reactor, split, path)
            await in_thread(client)
            await soon(reactor, (tmp_path / "access.log.1").exists)
            both = (path, tmp_path / "access.log.1")
            await soon(reactor, lambda: len(lines_in(*both)) == 100)
            await all_have(reactor, split, path)
        for _ in range(4):  # nobody makes room
            await in_thread(client)
            await deferLater(reactor, 1.1)
        lost, until_s = 0, time.monotonic() + LIMIT_S
        while len(lines_in(*both)) + lost < 500 and time.monotonic() < until_s:
            await deferLater(reactor, 0.1)
            lost = (await split.proxy.traffic()).lines_lost
    assert lost > 0
    assert len(lines_in(*both)) + lost == 500
    assert path.stat().st_size < 3 * settings.max_bytes + 128 * 500


async def test_a_disk_that_is_full(
    start_split: SplitStarter, reactor: Any, tmp_path: Path
) -> None:
    """It costs lines, which are counted, and no request; then lines are whole again.

    The kernel's limit for the size of a file does to a worker what a full disk does:
    a write is cut, and the next one fails.
    """
    split = await start_split(workers=1)
    path = tmp_path / "access.log"
    (pid,) = split.supervisor.pids

    def client() -> None:
        for _ in range(20):
            assert ask(split.http) == 200

    def full() -> bool:
        return path.stat().st_size == 1000

    with backend(answering(OK)) as one:
        await split.proxy.replace_table(table_of(one))
        with shared(reactor, split.proxy, path):
            await all_have(reactor, split, path)
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1000, hard))
            await in_thread(client)
            await soon(reactor, full)
            assert (await split.proxy.traffic()).lines_lost > 0
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
            await deferLater(reactor, 1.1)
            await in_thread(client)
            await soon(reactor, lambda: path.read_bytes().count(b"\n") >= 20)
    assert split.supervisor.pids == (pid,)
    broken = 0
    for line in path.read_text().splitlines():
        try:
            json.loads(line)
        except ValueError:
            broken += 1
    assert broken == 1


async def test_served_before_haloyd_is_there(
    start_split: SplitStarter, reactor: Any, tmp_path: Path
) -> None:
    """Requests that could have no line are told as lost, once, if lines are wanted."""
    split = await start_split(connect=False)
    statuses = [await in_thread(ask, split.http) for _ in range(7)]
    assert statuses == [404] * 7
    path = tmp_path / "access.log"
    with shared(reactor, split.proxy, path):
        split.proxy.startService()
        await all_have(reactor, split, path)
        assert await in_thread(ask, split.http) == 404
        await soon(reactor, lambda: len(lines_in(path)) == 1)
        assert (await split.proxy.traffic()).lines_lost == 7
        assert len(lines_in(path)) == 1


async def test_nothing_is_lost_where_nothing_is_wanted(
    start_split: SplitStarter, reactor: Any, tmp_path: Path
) -> None:
    """A haloyd that wants no log is told of no lost lines, now and later."""
    split = await start_split(connect=False)
    assert await in_thread(ask, split.http) == 404
    split.proxy.startService()
    assert (await split.proxy.traffic()).lines_lost == 0
    path = tmp_path / "access.log"
    with shared(reactor, split.proxy, path):
        await all_have(reactor, split, path)
        assert (await split.proxy.traffic()).lines_lost == 0


async def test_nothing_is_written_unless_wanted(
    start_split: SplitStarter, reactor: Any, tmp_path: Path
) -> None:
    """Switched off, workers have the file no more; what could block is refused."""
    split = await start_split()
    path, pipe = tmp_path / "access.log", tmp_path / "pipe"
    with backend(answering(OK)) as one:
        await split.proxy.replace_table(table_of(one))
        with shared(reactor, split.proxy, path) as log:
            await all_have(reactor, split, path)
            log.end()
            await soon(
                reactor,
                lambda: (
                    not any(
                        one.exists() and one.resolve() == path
                        for pid in (*split.supervisor.pids, os.getpid())
                        for one in Path(f"/proc/{pid}/fd").iterdir()
                    )
                ),
            )
        os.mkfifo(pipe)
        descriptor = os.open(pipe, os.O_RDWR)
        try:
            split.proxy.log_requests(AccessLog(JSON, descriptor))
            await deferLater(reactor, 1.0)
            assert await in_thread(ask, split.http) == 200
            await deferLater(reactor, 1.2)
            os.set_blocking(descriptor, False)
            try:
                found = os.read(descriptor, 1)
            except BlockingIOError:
                found = b""
            assert found == b""
            split.proxy.log_requests(AccessLog())
        finally:
            os.close(descriptor)
    assert path.read_bytes() == b""
