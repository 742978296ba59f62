"""Processes of a split proxy that are killed, each at every moment that it has.

For haloyd that is any byte of what it sends, for a worker what it does for others; the
supervisor's are in C{tests/test_proxy_kills.py}.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater

from haloy.model.certificate import Challenge, ChallengeKind
from haloy.model.names import AppName, DomainName
from haloy.proxy.control.changes import certificate_parts, table_parts
from haloy.proxy.control.protocol import (
    AccessLog,
    Configure,
    Drain,
    Follow,
    Meaning,
    Message,
    Park,
    Present,
    Unpark,
    Withdraw,
    pack,
)
from haloy.proxy.interface import AccessSettings, DrainLimits
from tests.proxy.apps import OK
from tests.proxy.conftest import Split, SplitStarter
from tests.proxy.split.talk import Talk, certificates, greeted, many
from tests.proxy.support import (
    answering,
    backend,
    connect,
    connect_tls,
    get,
    in_thread,
)
from tests.support import dying

#: In what six workers can start, one after the other, on a machine that is busy.
STARTS_LIMIT_S = 100.0
HOST = "app0.example.com"
CHALLENGE = Challenge(ChallengeKind.HTTP_01, DomainName(HOST), "tok", "tok.thumb")
_WORKER = "haloy.proxy.split.worker:Worker"
_PROXY = "haloy.proxy.embedded:EmbeddedProxy"
#: While it starts; one is started for each, by the death of the one before.
AT_ITS_START = (
    "haloy.proxy.split.worker:run:before",
    f"{_WORKER}._greet:before",
    f"{_WORKER}._greet:after",
    f"{_WORKER}._configure:after",
    f"{_WORKER}._serve:before",
    f"{_WORKER}._serve:after",
)
#: While it does what the other word names.
AT_WORK = (
    (f"{_WORKER}._heard:before", "table"),
    (f"{_PROXY}.replace_table:before", "table"),
    (f"{_PROXY}.replace_table:after", "table"),
    (f"{_PROXY}.replace_certificates:after", "certificates"),
    (f"{_WORKER}._write_to:before", "log"),
    (f"{_WORKER}._write_to:after", "log"),
    (f"{_PROXY}.present:after", "challenge"),
    (f"{_PROXY}.drain:before", "drain"),
)
#: While others take its place, or it takes theirs.
IN_A_RELOAD = (
    f"{_WORKER}._serve:before",
    f"{_WORKER}._retire:before",
    f"{_WORKER}._leave:before",
)


@pytest.fixture
def moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dying.Moments:
    """Have processes that are started die at the moments that are chosen."""
    chosen = [*AT_ITS_START, *(one for one, _ in AT_WORK), *IN_A_RELOAD]
    return dying.prepare(tmp_path / "dying", chosen, monkeypatch)


def status(port: int) -> int:
    peer = connect(port)
    peer.socket.settimeout(STARTS_LIMIT_S)
    peer.send(get(HOST))
    found = peer.response()[0]
    peer.close()
    return found


def status_tls(port: int) -> int:
    peer = connect_tls(port, HOST)
    peer.send(get(HOST))
    found = peer.response()[0]
    peer.close()
    return found


def children() -> set[int]:
    """Return the processes that this one has started and that live."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return {int(pid) for pid in listed.split()}


async def until(reactor: Any, condition: Callable[[], bool]) -> None:
    """Wait; the test's own limit ends it."""
    while not condition():
        await deferLater(reactor, 0.01)


async def whole_again(split: Split, reactor: Any) -> None:
    """Wait until one worker serves, and no other process is there; look at it."""
    await until(
        reactor,
        lambda: len(split.supervisor.pids) == 1 and len(split.supervisor.members) == 1,
    )
    assert await in_thread(status, split.http) == 301
    assert await in_thread(status_tls, split.https) == 200


async def test_a_worker_that_starts(
    start_split: SplitStarter,
    reactor: Any,
    monkeypatch: pytest.MonkeyPatch,
    moments: dying.Moments,
) -> None:
    """The next one is started each time, and who waits is served by the first that can.

    Six die one after the other; a request that came after the first is answered.
    """
    monkeypatch.setattr("haloy.proxy.split.worker_pool.LONGEST_WAIT_S", 0.05)
    split = await start_split(workers=1)
    with backend(answering(OK)) as one:
        await split.proxy.replace_table(many(one, 1))
        before = children()
        for moment in AT_ITS_START:
            moments.arm(moment)
        os.kill(split.supervisor.pids[0], 9)
        assert await in_thread(status, split.http) == 200
        await until(reactor, lambda: not moments.armed)
        await until(reactor, lambda: len(split.supervisor.pids) == 1)
        assert len(children()) == len(before)


async def test_a_worker_at_work(
    start_split: SplitStarter, reactor: Any, moments: dying.Moments, tmp_path: Path
) -> None:
    """What haloyd asked for is done by the next worker; it hears of no failure."""
    split = await start_split(workers=1, plain=False)
    generation = 1
    with (
        backend(answering(OK)) as one,
        backend(answering(OK)) as other,
        (tmp_path / "access.log").open("ab") as file,
    ):

        async def table() -> None:
            nonlocal generation
            generation += 1
            app = (other, one)[generation % 2]
            await split.proxy.replace_table(many(app, generation))

        async def log() -> None:
            split.proxy.log_requests(AccessLog(AccessSettings("json"), file.fileno()))

        work: dict[str, Callable[[], Awaitable[object]]] = {
            "table": table,
            "certificates": lambda: split.proxy.replace_certificates(certificates()),
            "log": log,
            "challenge": lambda: split.proxy.present(CHALLENGE),
            "drain": lambda: split.proxy.drain("key", DrainLimits(0.0, 0.0)),
        }
        await split.proxy.replace_table(many(one, 1))
        await split.proxy.replace_certificates(certificates())
        for moment, what in AT_WORK:
            moments.arm(moment)
            await work[what]()
            await until(reactor, lambda: not moments.armed)
            await whole_again(split, reactor)
        assert split.proxy.stats().generation == generation


async def test_a_worker_in_a_reload(
    start_split: SplitStarter, reactor: Any, moments: dying.Moments
) -> None:
    """Old or new: one generation serves when it is over, and nobody else is there."""
    split = await start_split(workers=1, plain=False)
    with backend(answering(OK)) as one:
        await split.proxy.replace_table(many(one, 1))
        await split.proxy.replace_certificates(certificates())
        for moment in IN_A_RELOAD:
            moments.arm(moment)
            split.supervisor.reload()
            await until(reactor, lambda: not moments.armed)
            await whole_again(split, reactor)
        assert children() == set(split.supervisor.pids)


def said_by_haloyd(table: Any) -> list[Message]:
    """Return all that it says, in the order of its start, with things of later."""
    return [
        Configure({}),
        Present(CHALLENGE),
        Park(AppName("app1"), 5.0),
        *certificate_parts(None, certificates()),
        *table_parts(None, table),
        AccessLog(AccessSettings("json"), 0),
        Follow(access_log=True),
        Drain("key", DrainLimits(0.0, 0.0)),
        Unpark(AppName("app1")),
        Withdraw(CHALLENGE),
        AccessLog(AccessSettings("json"), 0),
    ]


def frames(messages: list[Message]) -> list[tuple[bytes, bool]]:
    """Return the bytes of each, and whether a file goes with it."""
    found = []
    for number, one in enumerate(messages, 2):
        frame = pack(Meaning.QUESTION, number, one)
        frame = len(frame).to_bytes(4, "big") + frame
        found.append((frame, isinstance(one, AccessLog)))
    return found


def say(talk: Talk, said: list[tuple[bytes, bool]], size: int, file: int) -> None:
    """Send so many bytes."""
    for frame, with_file in said:
        part = frame[: max(0, size)]
        size -= len(part)
        if with_file and part:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))
            talk.socket.sendmsg([part[:1]], [rights])
            part = part[1:]
        talk.socket.sendall(part)


def cut(path: Path, said: list[tuple[bytes, bool]], size: int, file: int) -> None:
    """Be a haloyd that ends when it has sent so many bytes."""
    talk = greeted(path)
    say(talk, said, size, file)
    talk.close()


async def test_haloyd_at_any_byte(
    start_split: SplitStarter, reactor: Any, tmp_path: Path
) -> None:
    """What was served stays, nothing is served by halves, no file stays open."""
    split = await start_split(workers=1, plain=False)
    await split.proxy.stopService()
    path = split.plan.control
    (worker,) = split.supervisor.pids

    def descriptors() -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in (os.getpid(), worker))

    with (
        backend(answering(OK)) as one,
        (tmp_path / "access.log").open("ab") as file,
    ):
        said = frames(said_by_haloyd(many(one, 1)))
        ends, size = [], 0
        for frame, _ in said:
            ends += [size, size + 1, size + 4, size + len(frame) // 2]
            size += len(frame)
        ends += [size - 1, size]
        talk = await in_thread(greeted, path)
        await in_thread(say, talk, said, size, file.fileno())
        talk.number += len(said)
        await in_thread(talk.answer)
        talk.close()
        before = descriptors()
        for end in ends:
            await in_thread(cut, path, said, end, file.fileno())
            assert await in_thread(status_tls, split.https) == 200
        assert split.supervisor.pids == (worker,)
        await until(reactor, lambda: descriptors() <= before)
        talk = await in_thread(greeted, path)
        talk.send(*table_parts(None, many(one, 2)))
        await in_thread(talk.answer)
        assert await in_thread(status_tls, split.https) == 200
        talk.close()
