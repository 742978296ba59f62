"""Much at once in tunnels: moved inside the kernel, and exact all the same."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from attrs import define

from haloy.model.app import ProxyOptions
from haloy.proxy import splice
from haloy.proxy.interface import DrainLimits, Leftover
from tests.proxy.conftest import Running, SplitStarter, Starter
from tests.proxy.support import (
    Peer,
    backend,
    connect,
    connect_tls,
    in_thread,
    table_of,
    upstream_of,
)
from tests.proxy.test_tunnel import ASK, SWITCH, echo

SIZE = 5_000_000
UP = os.urandom(1_000_000) * 5
DOWN = os.urandom(1_000_000) * 5


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def close_spare_pipes() -> None:
    while splice._spare:
        splice._spare.pop().close()


def pipes_of(pid: int | str = "self") -> set[str]:
    """Return the pipes of which a process has an end."""
    found = set()
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(os.readlink(one))
    return {name for name in found if name.startswith("pipe:")}


@define
class Moves:
    """Calls of splice; C{refuse} may answer one with an error."""

    count: int = 0
    refuse: Callable[[int], int] = lambda _: 0

    def splice(self, source: int, sink: int, size: int, *, flags: int) -> int:
        self.count += 1
        code = self.refuse(source)
        if code:
            raise OSError(code, os.strerror(code))
        return SPLICE(source, sink, size, flags=flags)


SPLICE = os.splice
PIPE2 = os.pipe2


@pytest.fixture(autouse=True)
def moves(monkeypatch: pytest.MonkeyPatch) -> Iterator[Moves]:
    """Count what the kernel is asked to move; no pipe is left but the spare ones."""
    close_spare_pipes()
    opened: set[str] = set()

    def pipe2(flags: int) -> tuple[int, int]:
        ends = PIPE2(flags)
        opened.add(os.readlink(f"/proc/self/fd/{ends[0]}"))
        return ends

    counted = Moves()
    monkeypatch.setattr(os, "splice", counted.splice)
    monkeypatch.setattr(os, "pipe2", pipe2)
    yield counted
    assert len(pipes_of() & opened) == len(splice._spare)
    close_spare_pipes()


def accept(peer: Peer) -> None:
    peer.head()
    peer.send(SWITCH)


def open_tunnel(running: Running, *, buffer: int = 0, tls: bool = False) -> Peer:
    """Return a client's end; C{buffer}: the size of what its kernel keeps for it."""
    if tls:
        peer = connect_tls(running.https)
    else:
        peer = Peer(socket.socket())
        if buffer:
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        peer.socket.connect(("127.0.0.1", running.http))
    peer.send(ASK)
    assert peer.head().startswith(b"HTTP/1.1 101 ")
    return peer


def both_ways(peer: Peer, data: bytes) -> str:
    """Send C{data} and the end, reading meanwhile; return what came, as a digest."""

    def send() -> None:
        peer.send(data)
        peer.half_close()

    sender = threading.Thread(target=send)
    sender.start()
    got = digest(peer.rest())
    sender.join(10)
    return got


def keep_little(running: Running) -> None:
    """Have the proxy's kernel keep little for a client that does not read."""
    for listener in running.proxy._plain:
        listener._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)


def send_until_stuck(peer: Peer) -> int:
    """Send until nobody takes more for a while; return how much went."""
    peer.socket.settimeout(0.5)
    sent = 0
    try:
        while True:
            sent += peer.socket.send(DOWN[:65536])
    except TimeoutError:
        peer.socket.settimeout(20)
        return sent


def open_until_stuck(running: Running, over: threading.Event) -> Peer:
    """Return a client of a tunnel whose app has sent all that anybody takes."""
    peer = open_tunnel(running, buffer=16384)
    # Now the kernel moves what comes.
    peer.exactly(2_000_000)
    assert over.wait(20)
    return peer


async def test_both_ways_at_once(start_proxy: Starter, moves: Moves) -> None:
    """Each end comes behind the last byte, and all is counted."""
    running = start_proxy()
    heard: list[str] = []
    over = threading.Event()

    def script(peer: Peer) -> None:
        accept(peer)
        heard.append(both_ways(peer, DOWN))
        over.set()

    with backend(script) as one:
        await running.serve(one)

        def client() -> str:
            got = both_ways(open_tunnel(running), UP)
            assert over.wait(20)  # the app may have something to read yet
            return got

        assert await in_thread(client) == digest(DOWN)
    assert heard == [digest(UP)]
    assert moves.count > 4
    record = running.records[0]
    assert (record.status, record.outcome) == (101, "done")
    assert (record.bytes_in, record.bytes_out) == (SIZE, SIZE)


async def test_one_way_ends_long_before_the_other(
    start_proxy: Starter, moves: Moves
) -> None:
    """What the app sends after the client's end is moved, too."""
    running = start_proxy()

    def script(peer: Peer) -> None:
        accept(peer)
        assert digest(peer.rest()) == digest(UP)
        peer.send(DOWN)

    with backend(script) as one:
        await running.serve(one)

        def client() -> str:
            peer = open_tunnel(running)
            peer.send(UP)
            peer.half_close()
            return digest(peer.rest())

        assert await in_thread(client) == digest(DOWN)
    assert moves.count > 4


async def test_small_messages_are_copied(start_proxy: Starter, moves: Moves) -> None:
    """That is the cheaper way; after bulk they are copied again."""
    running = start_proxy()
    with backend(echo) as one:
        await running.serve(one)

        def talk(peer: Peer) -> None:
            for _ in range(100):
                peer.send(b"m" * 1024)
                assert peer.exactly(1024) == b"m" * 1024

        def client() -> tuple[int, int]:
            peer = open_tunnel(running)
            talk(peer)
            at_first = moves.count
            sender = threading.Thread(target=peer.send, args=(UP,))
            sender.start()
            assert digest(peer.exactly(SIZE)) == digest(UP)
            sender.join(10)
            in_bulk = moves.count
            assert in_bulk > at_first
            talk(peer)
            peer.close()
            return at_first, moves.count - in_bulk

        at_first, later = await in_thread(client)
    assert at_first == 0
    # Both ways have to notice: four moves into a pipe, four out of it.
    assert later <= 16


async def test_tls_is_copied(start_proxy: Starter, moves: Moves) -> None:
    """The kernel knows no TLS."""
    running = start_proxy(plain=False)
    with backend(echo) as one:
        await running.serve(one)

        def client() -> str:
            peer = open_tunnel(running, tls=True)
            got: list[bytes] = []
            # One thread at a time on one connection of TLS.
            for start in range(0, 3_000_000, 60_000):
                peer.send(UP[start : start + 60_000])
                got.append(peer.exactly(60_000))
            peer.close()
            return digest(b"".join(got))

        assert await in_thread(client) == digest(UP[:3_000_000])
    assert moves.count == 0


async def test_a_slow_reader(start_proxy: Starter, moves: Moves) -> None:
    """The app is held back by it, and it gets every byte, then the end."""
    running = start_proxy()
    sent: list[int] = []

    def script(peer: Peer) -> None:
        accept(peer)
        sent.append(send_until_stuck(peer))
        peer.send(b"last")

    keep_little(running)
    with backend(script) as one:
        await running.serve(one)

        def client() -> int:
            peer = open_tunnel(running, buffer=262144)
            while not sent:
                threading.Event().wait(0.01)
            return len(peer.rest())

        assert await in_thread(client) == sent[0] + 4
    assert moves.count > 4
    # Nearly all of it is in the buffers of the two connections.
    assert sent[0] < 40_000_000


@pytest.mark.parametrize("end", ["silence", "cut"])
async def test_what_waits_in_a_pipe_is_delivered(
    start_proxy: Starter, moves: Moves, end: str
) -> None:
    """A tunnel that is cut loses nothing that was taken from the app."""
    now = [1000.0]
    running = start_proxy(clock=lambda: now[0])
    over = threading.Event()

    def script(peer: Peer) -> None:
        accept(peer)
        send_until_stuck(peer)
        over.set()
        assert peer.is_closed()

    keep_little(running)
    with backend(script) as one:
        await running.serve(one, options=ProxyOptions(tunnel_idle_s=100))

        def finish(peer: Peer) -> int:
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_000_000)
            return 2_000_000 + len(peer.rest())

        peer = await in_thread(open_until_stuck, running, over)
        (tunnel,) = running.proxy._switch.tunnels
        assert tunnel._down.waits
        if end == "silence":
            now[0] += 101
        else:
            tunnel.cut()
        assert await in_thread(finish, peer) == tunnel.bytes_out
    assert running.records[0].outcome == "cut"
    assert running.records[0].bytes_out == tunnel.bytes_out


async def test_waiting_is_silence_and_reading_is_none(
    start_proxy: Starter, moves: Moves
) -> None:
    """A reader that takes a little now and then is not cut by the idle limit."""
    now = [1000.0]
    running = start_proxy(clock=lambda: now[0])
    over = threading.Event()

    def script(peer: Peer) -> None:
        accept(peer)
        send_until_stuck(peer)
        over.set()
        peer.recv()

    keep_little(running)
    with backend(script) as one:
        await running.serve(one, options=ProxyOptions(tunnel_idle_s=100))

        def take(peer: Peer) -> int:
            # More than the buffers beside the pipe hold: some of it has to be drained.
            return len(peer.exactly(200_000))

        peer = await in_thread(open_until_stuck, running, over)
        (tunnel,) = running.proxy._switch.tunnels
        # Twice what is taken was in the pipe already: nothing has come but that.
        silent = 0
        while silent < 2:
            before = tunnel.bytes_out
            now[0] += 60
            assert await in_thread(take, peer) == 200_000
            silent = silent + 1 if tunnel.bytes_out == before else 0
        assert running.proxy.stats().tunnels_active == 1
        await in_thread(peer.close)


@pytest.mark.parametrize("who", ["client", "app"])
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_reset_in_the_middle(
    start_proxy: Starter, moves: Moves, who: str, direction: str
) -> None:
    """The other side learns of it, and nothing is left: no tunnel, no pipe."""
    running = start_proxy()
    ended = threading.Event()
    received = threading.Event()

    def go_on(peer: Peer, *, sends: bool, resets: bool) -> None:
        """Send or read some megabytes; then reset, or wait for the end."""
        if sends:
            peer.send(UP[:3_000_000])
            assert received.wait(10)
        else:
            peer.exactly(2_000_000)
            received.set()
        if resets:
            peer.reset()
            return
        with suppress(ConnectionError):
            while sends:
                peer.send(UP)
            peer.rest()

    def script(peer: Peer) -> None:
        accept(peer)
        go_on(peer, sends=direction == "down", resets=who == "app")
        ended.set()

    with backend(script) as one:
        await running.serve(one)
        key = upstream_of(one).key

        def client() -> None:
            peer = open_tunnel(running)
            go_on(peer, sends=direction == "up", resets=who == "client")
            assert ended.wait(10)

        await in_thread(client)
        left = await running.proxy.drain(key, DrainLimits(5.0, 5.0))
    assert left == Leftover(0, 0)
    assert running.proxy.stats().tunnels_active == 0
    assert moves.count > 4
    assert running.records[0].outcome == "cut"


def no_pipe(flags: int) -> tuple[int, int]:
    raise OSError(errno.EMFILE, "too many open files")


async def test_without_descriptors(
    start_proxy: Starter, moves: Moves, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no pipe can be opened the bytes are copied."""
    running = start_proxy()
    monkeypatch.setattr(os, "pipe2", no_pipe)
    with backend(echo) as one:
        await running.serve(one)

        def client() -> str:
            return both_ways(open_tunnel(running), UP)

        assert await in_thread(client) == digest(UP)
    assert moves.count == 0


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EPERM])
@pytest.mark.parametrize("step", ["into the pipe", "out of it"])
async def test_where_the_kernel_refuses(
    start_proxy: Starter, moves: Moves, code: int, step: str
) -> None:
    """It is asked once for each direction; then bytes are copied, none lost."""
    running = start_proxy()

    def refuse(source: int) -> int:
        out = os.readlink(f"/proc/self/fd/{source}").startswith("pipe:")
        return code if out == (step == "out of it") else 0

    moves.refuse = refuse
    with backend(echo) as one:
        await running.serve(one)

        def client() -> str:
            return both_ways(open_tunnel(running), UP)

        assert await in_thread(client) == digest(UP)
    assert 1 <= moves.count <= 4


async def test_an_urgent_byte(start_proxy: Starter, moves: Moves) -> None:
    """It is got past by reading; the kernel is not asked for it for ever."""
    running = start_proxy()
    heard: list[int] = []

    def script(peer: Peer) -> None:
        accept(peer)
        heard.append(len(peer.rest()))

    with backend(script) as one:
        await running.serve(one)

        def client() -> int:
            peer = open_tunnel(running)
            peer.send(UP)
            threading.Event().wait(0.3)
            before = moves.count
            peer.socket.send(b"!", socket.MSG_OOB)
            threading.Event().wait(0.3)
            asked = moves.count - before
            peer.send(UP)
            peer.half_close()
            peer.rest()
            return asked

        assert await in_thread(client) <= 10
    assert heard == [2 * SIZE]


async def test_a_worker(start_split: SplitStarter) -> None:
    """The same on the worker's own reactor; afterwards it has its spare pipes only."""
    split = await start_split(workers=1)
    (pid,) = split.supervisor.pids
    with backend(echo) as one:
        await split.proxy.replace_table(table_of(one))
        before = pipes_of(pid)

        def client() -> str:
            peer = connect(split.http)
            peer.send(ASK)
            peer.head()
            return both_ways(peer, UP)

        assert await in_thread(client) == digest(UP)
        left = await split.proxy.drain(upstream_of(one).key, DrainLimits(5.0, 5.0))
    assert left == Leftover(0, 0)
    # One for each direction, as both may be full at once.
    assert 1 <= len(pipes_of(pid) - before) <= 2
