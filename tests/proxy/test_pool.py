"""The connections to one upstream."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from attrs import define, field

from haloy.model.app import Address
from haloy.proxy.http2.reading import ReadQueue
from haloy.proxy.http2.turn import Turn
from haloy.proxy.pool import (
    FRESH_S,
    HASTY_S,
    IDLE_LIMIT,
    IDLE_TIMEOUT_S,
    QUEUE_LIMIT,
    TURNS_S,
    Pool,
)
from haloy.proxy.timer_wheel import TimerWheel
from haloy.proxy.upstream import UpstreamConnection
from tests.proxy.test_descriptor import FakeReactor


@define(eq=False)
class Waiting:
    pool: Pool
    sought: int = 0
    takes: bool = True

    def seek(self) -> None:
        self.sought += 1
        if self.takes:
            self.pool.began()


@define(eq=False)
class Maker:
    pool: Pool = field(factory=lambda: Pool("one", Address("127.0.0.1", 1), 2))
    made: list[UpstreamConnection] = field(factory=list)
    apps: list[socket.socket] = field(factory=list)

    def connection(self) -> UpstreamConnection:
        one = UpstreamConnection(FakeReactor(), TimerWheel(lambda: 0.0), self.pool)
        one.socket.close()
        one.socket, app = socket.socketpair()
        one.socket.setblocking(False)
        self.apps.append(app)
        one.connected = True
        self.made.append(one)
        return one


@pytest.fixture
def maker() -> Iterator[Maker]:
    maker = Maker()
    yield maker
    for one in maker.made:
        one.drop()
    for app in maker.apps:
        app.close()


def test_the_newest_is_used_first(maker: Maker) -> None:
    """So that the others can grow old."""
    first, second = maker.connection(), maker.connection()
    maker.pool.keep(first, 10)
    maker.pool.keep(second, 11)
    assert maker.pool.take_idle(11, fresh=False) is second
    assert maker.pool.take_idle(11, fresh=False) is first
    assert maker.pool.take_idle(11, fresh=False) is None


def test_careful_requests_want_a_fresh_one(maker: Maker) -> None:
    """One that was idle for longer stays for others."""
    maker.pool.keep(maker.connection(), 10)
    assert maker.pool.take_idle(10 + FRESH_S + 0.1, fresh=True) is None
    assert maker.pool.take_idle(10 + FRESH_S, fresh=True) is not None


def test_careful_requests_want_one_that_is_open(maker: Maker) -> None:
    """One that the app has closed is not used, though the reactor has not said so."""
    maker.pool.keep(maker.connection(), 10)
    maker.apps[0].close()
    assert maker.pool.take_idle(10, fresh=True) is None
    assert maker.made[0].gone


def test_careful_requests_avoid_an_app_that_closes_early(maker: Maker) -> None:
    """For a while they get none of its connections; others do."""
    now_s = 10.0
    for _ in range(2):
        maker.pool.keep(maker.connection(), now_s)
    maker.pool.forget(maker.made[0], now_s + FRESH_S)
    assert maker.pool.take_idle(now_s, fresh=True) is None
    kept = maker.pool.take_idle(now_s, fresh=False)
    assert kept is maker.made[1]
    later_s = now_s + FRESH_S + HASTY_S
    maker.pool.keep(kept, later_s)
    assert maker.pool.take_idle(later_s, fresh=True) is kept


def test_who_closes_late_is_as_usual(maker: Maker) -> None:
    """An app may end what has been idle for long."""
    for _ in range(2):
        maker.pool.keep(maker.connection(), 10)
    maker.pool.forget(maker.made[0], 10 + FRESH_S + 0.1)
    assert maker.pool.take_idle(10, fresh=True) is maker.made[1]


def test_idle_ones_are_bounded(maker: Maker) -> None:
    """The oldest goes when there are too many."""
    for _ in range(IDLE_LIMIT + 1):
        maker.pool.keep(maker.connection(), 10)
    assert len(maker.pool.idle) == IDLE_LIMIT
    assert maker.made[0].gone


def test_idle_ones_grow_old(maker: Maker) -> None:
    """They are closed after their time."""
    old, young = maker.connection(), maker.connection()
    maker.pool.keep(old, 10)
    maker.pool.keep(young, 60)
    maker.pool.age(11 + IDLE_TIMEOUT_S)
    assert (old.gone, young.gone) == (True, False)


def test_an_idle_one_that_dies_is_forgotten(maker: Maker) -> None:
    """It is not handed out; one in use is none of the pool's business."""
    one, busy = maker.connection(), maker.connection()
    maker.pool.keep(one, 10)
    one.drop()
    busy.drop()
    assert maker.pool.idle == []


def test_a_new_address(maker: Maker) -> None:
    """Connections to the old one are closed; the same address changes nothing."""
    one = maker.connection()
    maker.pool.keep(one, 10)
    maker.pool.move(Address("127.0.0.1", 1))
    assert not one.gone
    maker.pool.move(Address("127.0.0.2", 1))
    assert one.fileno() == -1


def test_a_retired_pool_keeps_nothing(maker: Maker) -> None:
    """Its connections close, and who waits for it looks elsewhere."""
    idle, busy = maker.connection(), maker.connection()
    maker.pool.keep(idle, 10)
    waiting = Waiting(maker.pool, takes=False)
    assert maker.pool.enqueue(waiting)
    maker.pool.retire()
    assert (idle.gone, waiting.sought) == (True, 1)
    maker.pool.keep(busy, 10)
    assert busy.gone
    maker.pool.readmit()
    again = maker.connection()
    maker.pool.keep(again, 10)
    assert not again.gone


def test_who_waits_is_served_in_order(maker: Maker) -> None:
    """As many try as there is room for."""
    pool = maker.pool
    pool.began()
    pool.began()
    assert pool.full
    waiting = [Waiting(pool) for _ in range(3)]
    for one in waiting:
        assert pool.enqueue(one)
    pool.finished()
    assert [one.sought for one in waiting] == [1, 0, 0]
    pool.tunnelled()
    pool.tunnel_finished()
    assert [one.sought for one in waiting] == [1, 1, 0]


def test_the_queue_is_bounded(maker: Maker) -> None:
    """More are turned away."""
    waiting = [Waiting(maker.pool) for _ in range(QUEUE_LIMIT + 1)]
    assert [maker.pool.enqueue(one) for one in waiting] == [True] * QUEUE_LIMIT + [
        False
    ]


def test_who_drains_is_told(maker: Maker) -> None:
    """At every end, also when an exchange becomes a tunnel."""
    pool = maker.pool
    seen: list[tuple[int, int]] = []
    pool.on_quiet.append(lambda: seen.append((pool.outstanding, pool.tunnels)))
    pool.began()
    pool.began()
    pool.tunnelled()
    pool.finished()
    pool.tunnel_finished()
    assert seen == [(1, 1), (0, 1), (0, 0)]


def test_failures_eject_for_longer_and_longer(maker: Maker) -> None:
    """A success makes up for them."""
    pool = maker.pool
    pool.answered()
    pool.failed(10)
    assert pool.ejected_until == 11
    pool.failed(11)
    assert pool.ejected_until == 13
    pool.answered()
    assert pool.ejected_until == 0
    pool.failed(20)
    assert pool.ejected_until == 21


def test_sockets_fit_the_address() -> None:
    """IPv6 literals get IPv6 sockets."""
    pool = Pool("six", Address("::1", 1), 1)
    one = UpstreamConnection(FakeReactor(), TimerWheel(lambda: 0.0), pool)
    assert one.socket.family == socket.AF_INET6
    one.discard()


def test_who_takes_turns_does_so_for_a_while() -> None:
    """Until its answers have taken little time to read for a minute."""
    pool = Maker().pool
    reading = ReadQueue(Turn(FakeReactor()))
    pool.take_turns(reading, 1000.0)
    pool.take_turns(reading, 1010.0)
    pool.age(1010.0 + TURNS_S)
    assert pool.turns is reading
    pool.age(1011.0 + TURNS_S)
    now: object = pool.turns
    assert now is None
