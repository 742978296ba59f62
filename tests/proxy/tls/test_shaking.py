"""Handshakes by the hundred: a little in each turn, address by address."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from haloy.proxy.http2.turn import Turn
from haloy.proxy.tls.shaking import TURN_S, HandshakeQueue
from tests.proxy.conftest import Starter
from tests.proxy.http2.clients import H2Client, until
from tests.proxy.support import Peer, connect, get, in_thread, tls_on

# Exact in binary.
COST_S = 2.0**-11
AT_ONCE = ceil(TURN_S / COST_S)
MANY = 300


@define(eq=False)
class Shaker:
    """A handshake of so much work."""

    clock: Clock
    order: list[str]
    peer: str
    gone: bool = False
    fails: bool = False
    reading: bool = field(default=True, init=False)

    def shake(self) -> None:
        assert self.reading
        self.clock.advance(COST_S)
        self.order.append(self.peer)
        if self.fails:
            raise ValueError

    def pause(self) -> None:
        assert self.reading
        self.reading = False

    def resume(self) -> None:
        self.reading = True

    def drop(self) -> None:
        self.gone = True


class Turns:
    """What the lean reactor says of its turns."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def at_turn_end(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def queue(self, clock: Clock) -> HandshakeQueue:
        reactor: Any = self
        return HandshakeQueue(Turn(reactor), clock.seconds)

    def end(self) -> None:
        """End a turn."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()


def test_a_turn_has_only_so_many() -> None:
    """Then it is others' turn; all of them come to theirs."""
    turns, clock = Turns(), Clock()
    queue = turns.queue(clock)
    order: list[str] = []
    for _ in range(MANY):
        queue.go_on(Shaker(clock, order, "192.0.2.1"))
    assert len(order) == AT_ONCE
    counts = []
    while len(order) < MANY:
        before = len(order)
        turns.end()
        counts.append(len(order) - before)
    assert set(counts) == {AT_ONCE}
    turns.end()
    assert not turns.calls


def test_one_of_another_address_does_not_wait_for_all() -> None:
    """It is the next but one."""
    turns, clock = Turns(), Clock()
    queue = turns.queue(clock)
    order: list[str] = []
    for _ in range(MANY):
        queue.go_on(Shaker(clock, order, "192.0.2.1"))
    queue.go_on(Shaker(clock, order, "192.0.2.2"))
    before = len(order)
    turns.end()
    assert "192.0.2.2" in order[before : before + 2]
    while turns.calls:
        turns.end()
    assert len(order) == MANY + 1


def test_one_that_fails_or_has_gone_holds_up_nobody(
    logged_failures: list[Failure],
) -> None:
    """The failure is logged, and that connection dropped."""
    turns, clock = Turns(), Clock()
    queue = turns.queue(clock)
    order: list[str] = []
    first = [Shaker(clock, order, "192.0.2.1") for _ in range(AT_ONCE)]
    bad = Shaker(clock, order, "192.0.2.1", fails=True)
    left = Shaker(clock, order, "192.0.2.1")
    last = Shaker(clock, order, "192.0.2.1")
    for one in (*first, bad, left, last):
        queue.go_on(one)
    left.gone = True
    turns.end()
    (told,) = logged_failures
    logged_failures.clear()
    assert told.check(ValueError)
    assert bad.gone
    assert last.reading
    assert len(order) == len(first) + 2


def greeting() -> bytes:
    """Return a ClientHello."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="a.example.com")
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def answered(peers: list[Peer]) -> int:
    """Return how many handshakes have been gone on with."""
    poll = select.poll()
    for peer in peers:
        poll.register(peer.socket, select.POLLIN)
    return len(poll.poll(0))


async def test_hundreds_at_once_hold_up_nobody(start_http2: Starter) -> None:
    """An answer, and a new client's from elsewhere, before most of them.

    Counted in handshakes, as their cost is that of the machine.
    """
    running = start_http2()
    known = await in_thread(lambda: H2Client(running.https))
    assert (await in_thread(known.get)).status == 404
    hello = greeting()
    crowd = [connect(running.https) for _ in range(MANY)]
    await until(lambda: len(running.proxy._switch.clients) == MANY + 1)

    def new() -> tuple[int, int]:
        plain = socket.create_connection(
            ("127.0.0.1", running.https), 20, ("127.0.0.2", 0)
        )
        peer = tls_on(plain)
        peer.send(get())
        return peer.response()[0], answered(crowd)

    # All of this is there before the reactor looks again.
    for peer in crowd:
        peer.send(hello)
    stream = known.ask()
    status, before = await in_thread(
        lambda: (known.answer(stream).status, answered(crowd))
    )
    assert (status, before < MANY // 3) == (404, True)
    status, before = await in_thread(new)
    assert status == 404
    print(f"a new client behind {before} of {MANY}")
    await until(lambda: answered(crowd) == MANY)
