"""What connections share: targets by table, retired replicas, parked requests."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from itertools import count, pairwise
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from haloy.model.app import Address, Balance, ProxyOptions
from haloy.model.names import AppName, DomainName
from haloy.proxy.descriptor import Reactor
from haloy.proxy.interface import DrainLimits, Leftover
from haloy.proxy.routes import AppRoute, RouteTable, Upstream, apps_of
from haloy.proxy.switch import Switch
from haloy.proxy.timer_wheel import TimerWheel
from tests.proxy.conftest import Running, Starter
from tests.proxy.support import (
    Backend,
    Peer,
    answering,
    backend,
    connect,
    get,
    in_thread,
    table_of,
    upstream_of,
)


def naming(name: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name)


def ask(running: Running, count: int, host: str = "app.example.com") -> list[bytes]:
    peer = connect(running.http)
    bodies = []
    for _ in range(count):
        peer.send(get(host))
        bodies.append(peer.response()[2])
    peer.close()
    return bodies


async def test_a_connection_follows_the_table(start_proxy: Starter) -> None:
    """The next request on a standing connection goes by the newest table."""
    running = start_proxy()
    with backend(answering(naming(b"a"))) as a, backend(answering(naming(b"b"))) as b:
        await running.serve(a)

        def begin() -> Peer:
            peer = connect(running.http)
            peer.send(get())
            assert peer.response()[2] == b"a"
            return peer

        peer = await in_thread(begin)
        await running.serve(b, generation=2)

        def go_on() -> bytes:
            peer.send(get())
            return peer.response()[2]

        assert await in_thread(go_on) == b"b"


def rows_of(count: int, moved: int) -> RouteTable:
    """Return a table of C{count} apps, of which the first C{moved} are elsewhere."""

    def route(number: int) -> AppRoute:
        key = f"{number}-{moved}" if number < moved else f"{number}"
        one = Upstream(key, Address("127.0.0.1", 1))
        return AppRoute(AppName(f"a{number}"), DomainName(f"a{number}.example"), (one,))

    return RouteTable(moved, {f"a{n}.example": route(n) for n in range(count)})


def bare_switch() -> Switch:
    return Switch(
        cast(Reactor, None),
        TimerWheel(lambda: 100.0),
        networks=(),
        sink=None,
        id_prefix="",
        server_name=lambda tls: None,
        take_over=lambda connection: None,
    )


def test_a_table_takes_its_place_in_small_steps() -> None:
    """At each step all that the table of that moment leads to is there."""
    switch = bare_switch()
    before, after = rows_of(300, 0), rows_of(300, 200)
    switch.replace_table(before)
    served, there = [], [len(switch.pools)]
    for _ in switch.replacing(after):
        table = switch.table
        served.append(table)
        there.append(len(switch.pools))
        for key in apps_of(table):
            assert not switch.pools[key].retired
    assert switch.pools.keys() == apps_of(after).keys()
    assert {id(table) for table in served} == {id(before), id(after)}
    assert served == sorted(served, key=lambda table: table.generation)
    assert max(abs(a - b) for a, b in pairwise([*there, len(switch.pools)])) <= 8


def test_a_change_of_one_route_is_few_steps_in_any_table() -> None:
    """What is as before is only looked at, many at once."""
    switch = bare_switch()
    table = rows_of(5000, 0)
    switch.replace_table(table)
    one = rows_of(1, 1).exact
    assert sum(1 for _ in switch.replacing(RouteTable(1, {**table.exact, **one}))) < 60


async def test_requests_come_between_the_steps(start_proxy: Starter) -> None:
    """A large table does not keep others waiting, and the next one waits for it."""
    from twisted.internet import reactor  # noqa: PLC0415, TID251 - once installed

    clock = count(1000.0, 0.0001)  # so each look at the time takes 0.1 ms
    running = start_proxy(clock=lambda: next(clock))
    await running.serve(table=rows_of(1000, 0))
    turns: list[int] = []
    going = LoopingCall(lambda: turns.append(running.proxy.stats().generation))
    going.clock = reactor
    going.start(0)
    both = [
        Deferred.fromCoroutine(running.serve(table=table))
        for table in (rows_of(1000, 1000), rows_of(1000, 500))
    ]
    await both[0]
    assert running.proxy.stats().generation == 1000
    assert len(turns) > 50
    await both[1]
    going.stop()
    assert running.proxy.stats().generation == 500
    assert [*dict.fromkeys(turns)] == [0, 1000, 500]


async def test_turns(start_proxy: Starter) -> None:
    """Replicas take turns, and go on doing so when tables come and go (P12)."""
    running = start_proxy()
    with backend(answering(naming(b"a"))) as a, backend(answering(naming(b"b"))) as b:
        seen: Counter[bytes] = Counter()
        for generation in range(10):
            await running.serve(a, b, generation=generation)
            seen.update(await in_thread(ask, running, 3))
        assert seen == {b"a": 15, b"b": 15}


async def test_the_least_busy_replica(start_proxy: Starter) -> None:
    """Who asks for it: while one replica has a long request the other serves."""
    running = start_proxy()
    held = threading.Event()
    over = threading.Event()

    def named(name: bytes) -> Callable[[Peer], None]:
        def script(peer: Peer) -> None:
            while head := peer.head():
                if b"/long" in head:
                    held.set()
                    over.wait(20)
                peer.send(naming(name))

        return script

    with backend(named(b"a")) as a, backend(named(b"b")) as b:
        options = ProxyOptions(balance=Balance.LEAST_OUTSTANDING)
        await running.serve(a, b, options=options)

        def client() -> tuple[bytes, list[bytes]]:
            long = connect(running.http)
            long.send(get(target="/long"))
            assert held.wait(20)
            others = ask(running, 10)
            over.set()
            return long.response()[2], others

        long, others = await in_thread(client)
    assert others == [b"b" if long == b"a" else b"a"] * 10


async def test_a_newcomer_starts_slowly(start_proxy: Starter) -> None:
    """A replica that joins serves at once, but not its whole share."""
    now = [1000.0]
    running = start_proxy(clock=lambda: now[0])
    with backend(answering(naming(b"a"))) as a, backend(answering(naming(b"b"))) as b:
        await running.serve(a)
        await running.serve(a, b, generation=2)
        early = Counter(await in_thread(ask, running, 40))
        now[0] += 60
        await in_thread(threading.Event().wait, 0.4)
        late = Counter(await in_thread(ask, running, 40))
    assert 0 < early[b"b"] < 15
    assert late[b"b"] == 20


async def test_a_replica_with_a_new_address(start_proxy: Starter) -> None:
    """The same container at another address is found there."""
    running = start_proxy()
    with backend(answering(naming(b"a"))) as a, backend(answering(naming(b"b"))) as b:
        await running.serve(Upstream("one", a.address))
        assert await in_thread(ask, running, 1) == [b"a"]
        await running.serve(Upstream("one", b.address), generation=2)
        assert await in_thread(ask, running, 1) == [b"b"]


async def test_a_replica_that_comes_back(start_proxy: Starter) -> None:
    """After a failed deploy the old replica serves again while it still drains."""
    running = start_proxy()
    go = threading.Event()

    def script(peer: Peer) -> None:
        while head := peer.head():
            if b"/slow" in head:
                go.wait(20)
            peer.send(naming(b"a"))

    with backend(script) as a, backend(answering(naming(b"b"))) as b:
        await running.serve(a)

        def begin() -> Peer:
            peer = connect(running.http)
            peer.send(get(target="/slow"))
            while not running.proxy.stats().requests_active:
                threading.Event().wait(0.01)
            return peer

        peer = await in_thread(begin)
        await running.serve(b, generation=2)
        assert await in_thread(ask, running, 1) == [b"b"]
        await running.serve(a, generation=3)
        assert await in_thread(ask, running, 1) == [b"a"]
        go.set()
        assert (await in_thread(peer.response))[2] == b"a"
        left = await running.proxy.drain(upstream_of(a).key, DrainLimits(5, 5))
        assert left == Leftover(0, 0)


async def test_a_body_that_still_arrives_counts_for_a_drain(
    start_proxy: Starter,
) -> None:
    """An upload is an exchange until its last byte and answer."""
    running = start_proxy()

    def script(peer: Peer) -> None:
        peer.head()
        peer.exactly(6)
        peer.send(naming(b"a"))

    with backend(script) as a:
        await running.serve(a)

        def begin() -> Peer:
            peer = connect(running.http)
            peer.send(
                b"POST / HTTP/1.1\r\nHost: app.example.com\r\n"
                b"Content-Length: 6\r\n\r\nabc"
            )
            while not running.proxy.stats().requests_active:
                threading.Event().wait(0.01)
            return peer

        peer = await in_thread(begin)
        await running.serve(generation=2)
        key = upstream_of(a).key
        assert await running.proxy.drain(key, DrainLimits(0.1, 5)) == Leftover(1, 0)

        def end() -> bytes:
            peer.send(b"def")
            return peer.response()[2]

        assert await in_thread(end) == b"a"
        assert await running.proxy.drain(key, DrainLimits(5, 5)) == Leftover(0, 0)


async def test_an_app_that_goes_while_a_request_waits(start_proxy: Starter) -> None:
    """A parked request of an app that is no longer in the table gets 503."""
    running = start_proxy()
    await running.serve()
    await running.proxy.park(AppName("app"), 30)

    def begin() -> Peer:
        peer = connect(running.http)
        peer.send(get())
        while not running.proxy.stats().requests_total:
            threading.Event().wait(0.01)
        return peer

    peer = await in_thread(begin)
    await running.serve(table=RouteTable(2))
    await running.proxy.unpark(AppName("app"))
    assert (await in_thread(peer.response))[0] == 503


async def test_a_parked_client_that_leaves(start_proxy: Starter) -> None:
    """It is not held on to."""
    running = start_proxy()
    await running.serve()
    await running.proxy.park(AppName("app"), 30)

    def client() -> None:
        peer = connect(running.http)
        peer.send(get())
        while not running.proxy.stats().requests_total:
            threading.Event().wait(0.01)
        peer.reset()
        while running.proxy.stats().connections:
            threading.Event().wait(0.01)

    await in_thread(client)
    await running.proxy.unpark(AppName("app"))
    assert running.records[0].outcome == "gone"


async def test_apps_do_not_share_a_fate(start_proxy: Starter) -> None:
    """One app with a dead replica costs another one nothing."""
    running = start_proxy()
    gone = Backend(answering(naming(b"x")))
    gone.close()
    with backend(answering(naming(b"a"))) as a:
        first = table_of(a)
        other = table_of(gone, domain="dead.example.com")
        exact = {**first.exact, **other.exact}
        await running.serve(table=RouteTable(1, exact))
        assert len(await in_thread(ask, running, 2, "dead.example.com")) == 2
        assert await in_thread(ask, running, 2) == [b"a", b"a"]


async def test_wildcards_are_served(start_proxy: Starter) -> None:
    """One label under the domain, with limits of their own."""
    running = start_proxy()
    with backend(answering(naming(b"a"))) as a:
        await running.serve(
            a, domain="*.example.com", options=ProxyOptions(max_connections=1)
        )
        assert await in_thread(ask, running, 1, "x.example.com") == [b"a"]
        bodies = await in_thread(ask, running, 1, "a.b.example.com")
        assert b"<h1>404</h1>" in bodies[0]
        assert isinstance(a.address, Address)
