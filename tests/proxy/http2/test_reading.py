"""Who is read when much comes: fairly, and never for long."""

from __future__ import annotations

import threading
from typing import Any

from attrs import define
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from haloy.proxy.http2.downstream import Http2Downstream
from haloy.proxy.http2.reading import FEW, TURN_S, ReadQueue
from haloy.proxy.http2.turn import Turn
from tests.proxy.apps import SHORT_OK
from tests.proxy.conftest import Starter
from tests.proxy.http2.clients import H2Client, RawClient, until
from tests.proxy.support import answering, backend, in_thread
from tests.proxy.tls.test_shaking import Turns

HEAVY_S = TURN_S * 0.75
MUCH_BYTES = 200_000
LITTLE_BYTES = 100


@define(eq=False)
class Connection:
    """One that takes C{cost_s} to read, and has more to say after that."""

    world: World
    name: str
    cost_s: float = HEAVY_S
    size: int = MUCH_BYTES
    peer: str = "192.0.2.1"
    paid_s: float = 0.0
    waits_to_read: bool = False
    fails: bool = False
    gone: bool = False

    def readable(self) -> None:
        """As the reactor says it, in each turn again."""
        if not self.world.queue.full:
            self.read_waiting()
        elif not self.waits_to_read:
            self.world.queue.wait(self, self.size)

    def read_waiting(self) -> None:
        began_s = self.world.clock.seconds()
        self.world.clock.advance(self.cost_s)
        self.world.order.append(self.name)
        if self.fails:
            raise ValueError
        self.world.queue.did(began_s, 1)

    def drop(self) -> None:
        self.gone = True


class World:
    """A queue, its time and its turns, and who was read."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.turns = Turns()
        reactor: Any = self.turns
        self.queue = ReadQueue(Turn(reactor), self.clock.seconds)
        self.order: list[str] = []

    def flood(self, count: int, **rest: Any) -> list[Connection]:
        """Have so many connections say much in one turn."""
        crowd = [Connection(self, f"{n} of {count}", **rest) for n in range(count)]
        for one in crowd:
            one.readable()
        return crowd

    def turn(self, crowd: list[Connection]) -> float:
        """End a turn and begin one, all being readable; return how long it took."""
        began_s = self.clock.seconds()
        self.turns.end()
        for one in crowd:
            one.readable()
        return self.clock.seconds() - began_s

    def light(self, crowd: list[Connection], **rest: Any) -> list[str]:
        """Let one come that asks for little; return who was read before it."""
        self.order.clear()
        one = Connection(self, "light", cost_s=0.0, size=LITTLE_BYTES, **rest)
        one.readable()
        while "light" not in self.order:
            self.turn(crowd)
        return self.order[: self.order.index("light")]


def test_a_turn_ends_soon_however_many_there_are() -> None:
    """Its time, as much for those that wait, and one of each more."""
    world = World()
    crowd = world.flood(100)
    assert len(world.order) == 2
    longest_s = max(world.turn(crowd) for _ in range(200))
    assert longest_s <= 2 * TURN_S + 2 * HEAVY_S


def test_all_have_their_turn() -> None:
    """Those that ask for much are read in turn, as often each."""
    world = World()
    crowd = world.flood(100)
    while len(world.order) < 1000:
        world.turn(crowd)
    counts = [world.order.count(one.name) for one in crowd]
    assert max(counts) - min(counts) <= 2


def test_other_clients_come_next() -> None:
    """One read of the flood may be before them, as clients take turns."""
    world = World()
    crowd = world.flood(100)
    assert len(world.light(crowd, peer="192.0.2.2")) <= 1


def test_a_little_of_another_client_comes_next() -> None:
    """However many clients have much to say, at once and at any time later."""
    world = World()
    crowd = [
        Connection(world, f"{n}", peer=f"192.0.2.{n % 50 + 1}") for n in range(100)
    ]
    for one in crowd:
        one.readable()
    assert world.light(crowd, peer="198.51.100.1") == []
    for _ in range(70):
        world.turn(crowd)
        assert len(world.light(crowd, peer="198.51.100.1")) <= 1


def test_clients_have_the_same_share() -> None:
    """Whoever has ninety-nine connections is not served more than who has one."""
    world = World()
    crowd = world.flood(99)
    alone = Connection(world, "alone", peer="192.0.2.2")
    while len(world.order) < 1000:
        world.turn([*crowd, alone])
    assert 450 <= world.order.count("alone") <= 550


def test_who_comes_later_may_be_first_in_its_client_s_line() -> None:
    """A client that waits for much is served as soon as it asks for little as well."""
    world = World()
    world.queue.full = True
    for n in range(20):
        Connection(world, "much", peer=f"192.0.2.{n + 2}").readable()
    Connection(world, "own", peer="198.51.100.1").readable()
    assert world.light([], peer="198.51.100.1") == []


def test_a_little_of_the_same_client_comes_next() -> None:
    """As soon as they have come, and at any time later.

    None of them has been read before: nobody knows yet that they are heavy.
    """
    world = World()
    crowd = world.flood(100)
    assert world.light(crowd) == []
    for _ in range(70):
        world.turn(crowd)
        assert len(world.light(crowd)) <= 1


def test_much_waits_no_longer_for_those_that_ask_for_little() -> None:
    """Many that ask for little again and again take their share, and not all."""
    world = World()
    crowd = world.flood(100, cost_s=TURN_S / 10, size=LITTLE_BYTES)
    heavy = Connection(world, "heavy")
    while len(world.order) < 5000:
        world.turn([*crowd, heavy])
    # One of 101, and as much for each read that nobody knows what it costs.
    assert 2 <= world.order.count("heavy") <= 5000 * TURN_S / 10 / HEAVY_S / 101


def test_what_was_long_ago_counts_no_more() -> None:
    """Who was served a hundred times is as good as new a moment later."""
    world = World()
    old, other = world.flood(2)
    for _ in range(100):
        world.turn([old, other])
    world.turns.end()
    world.clock.advance(2 * HEAVY_S)
    world.queue.full = True
    old.readable()
    world.flood(10)
    world.order.clear()
    world.turns.end()
    assert world.order[0] == old.name


@define(eq=False)
class Dozing(Connection):
    """One that gets no core for a while when it is read."""

    def read_waiting(self) -> None:
        self.world.order.append(self.name)
        threading.Event().wait(0.1)


@define(eq=False)
class Rousing(Connection):
    """One that has another one say more when it is read, once."""

    other: Connection | None = None

    def read_waiting(self) -> None:
        self.world.order.append(self.name)
        if self.other is not None:
            self.world.queue.wait(self.other, LITTLE_BYTES)


def test_nobody_owes_what_others_had_of_the_core() -> None:
    """Who is read while another process has the core is not put back for that."""
    world = World()
    reactor: Any = world.turns
    world.queue = ReadQueue(Turn(reactor))
    light = Dozing(world, "light")
    world.queue.wait(light, LITTLE_BYTES)
    world.queue.wait(Rousing(world, "next", other=light), MUCH_BYTES)
    for n in range(10):
        world.queue.wait(Rousing(world, f"{n}"), MUCH_BYTES)
    while world.turns.calls:
        world.turns.end()
    assert world.order[:3] == ["light", "next", "light"]
    assert len(world.order) == 13


def test_little_is_not_counted() -> None:
    """Few events in few bytes are read at once; many are counted one by one."""
    world = World()
    one = Connection(world, "one", cost_s=0.0)
    for _ in range(10_000):
        one.readable()
        world.queue.did(0.0, FEW)
    assert not one.waits_to_read
    assert not world.turns.calls
    for _ in range(10):
        world.queue.did(0.0, 128)
    assert world.queue.full
    world.turns.end()
    one.readable()
    assert not one.waits_to_read


def test_one_that_waits_is_there_once() -> None:
    """However often it is readable meanwhile."""
    world = World()
    world.flood(3)
    one = Connection(world, "one")
    for _ in range(3):
        one.readable()
    while world.turns.calls:
        world.turns.end()
    assert world.order.count("one") == 1


def test_one_that_fails_holds_up_nobody(logged_failures: list[Failure]) -> None:
    """It is dropped; the next ones are read."""
    world = World()
    world.flood(2)
    bad = Connection(world, "bad", cost_s=0.0, fails=True)
    last = Connection(world, "last", cost_s=0.0)
    bad.readable()
    last.readable()
    world.turns.end()
    assert bad.gone
    assert world.order[-1] == "last"
    assert len(logged_failures) == 1
    logged_failures.clear()


async def test_connections_wait_and_are_read(start_http2: Starter) -> None:
    """With a turn that is full nothing is lost; who has gone meanwhile is forgotten."""
    running = start_http2()
    with backend(answering(SHORT_OK)) as app:
        await running.serve(app)
        client, leaving = await in_thread(
            lambda: (H2Client(running.https), RawClient(running.https))
        )
        switch = running.proxy._switch
        reading = switch.reading
        served = [one for one in switch.clients if isinstance(one, Http2Downstream)]
        await until(lambda: all(one.engine.greeted for one in served))
        for one in served:
            reading.wait(one, 0)
            assert one.waits_to_read
        leaving.peer.close()
        assert (await in_thread(client.get)).status == 200
        began = switch.requests_total
        reading.full = True
        assert (await in_thread(client.get)).status == 200
        assert switch.requests_total > began
        await until(lambda: len(switch.clients) == 1)
    assert not reading.full
    assert not reading._lines


async def test_one_that_is_paused_is_not_read_when_its_turn_comes(
    start_http2: Starter,
) -> None:
    """Who does not read is not heard, whatever queue it was in."""
    running = start_http2()
    with backend(answering(SHORT_OK)) as app:
        await running.serve(app)
        client = await in_thread(lambda: H2Client(running.https))
        (served,) = running.proxy._switch.clients
        assert isinstance(served, Http2Downstream)
        await until(lambda: served.engine.greeted)
        served.pause()
        await in_thread(client.ask)
        served.switch.reading.wait(served, 0)
        await until(lambda: not served.waits_to_read)
        assert not served.engine.requests
        served.resume()
        assert (await in_thread(lambda: client.answer(1))).status == 200
