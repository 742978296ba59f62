"""Connections of one client are counted, and limited."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from haloy.proxy.crowd import CONNECTIONS_LIMIT, Crowd
from haloy.proxy.forwarded import parse_networks
from tests.proxy.apps import SHORT_OK
from tests.proxy.conftest import Running, Starter
from tests.proxy.http2.clients import H2Client, RawClient, tls_peer, until
from tests.proxy.support import Peer, answering, backend, connect, get, in_thread


def test_so_many_and_no_more() -> None:
    """Who leaves makes room; others are not touched by it."""
    crowd = Crowd(2)
    assert crowd.enter("192.0.2.1", ())
    assert crowd.enter("192.0.2.1", ())
    assert not crowd.enter("192.0.2.1", ())
    assert crowd.enter("192.0.2.2", ())
    crowd.leave("192.0.2.1")
    assert crowd.enter("192.0.2.1", ())
    assert not crowd.enter("192.0.2.1", ())


def test_a_network_of_ipv6_is_one_client() -> None:
    """A /64, that is; the next one is another's."""
    crowd = Crowd(2)
    assert crowd.enter("2001:db8::1", ())
    assert crowd.enter("2001:db8::ffff:0:0:1", ())
    assert not crowd.enter("2001:db8:0:0:7::1", ())
    assert crowd.enter("2001:db8:0:1::1", ())


def test_proxies_that_are_trusted_speak_for_many() -> None:
    """They have no limit, and are counted all the same: trust may end."""
    crowd = Crowd(1)
    trusted = parse_networks(("10.0.0.0/8",))
    assert all(crowd.enter("10.1.2.3", trusted) for _ in range(5))
    assert not crowd.enter("10.1.2.3", ())
    for _ in range(5):
        crowd.leave("10.1.2.3")
    assert not crowd.counts


def test_there_may_be_no_limit() -> None:
    """Which 0 says; usually there is one."""
    crowd = Crowd(0)
    assert all(crowd.enter("192.0.2.1", ()) for _ in range(5000))
    assert Crowd().limit == CONNECTIONS_LIMIT > 0


@given(st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"])))
def test_nothing_is_left_of_who_has_left(peers: list[str]) -> None:
    """Whatever the order."""
    crowd = Crowd(3)
    inside = [peer for peer in peers if crowd.enter(peer, ())]
    assert sum(crowd.counts.values()) == len(inside)
    for peer in reversed(inside):
        crowd.leave(peer)
    assert not crowd.counts


def counted(running: Running) -> dict[str, int]:
    return running.proxy._switch.crowd.counts


def is_closed(peer: Peer) -> bool:
    try:
        return peer.recv() == b""
    except ConnectionError:
        return True


async def test_all_kinds_of_connections_count(start_http2: Starter) -> None:
    """HTTP/1.1, idle, in the handshake, HTTP/2: together they have the limit.

    One more is closed before anything is said; when one has left there is room again.
    """
    running = start_http2(connections_per_client=5)

    def refused() -> None:
        assert is_closed(connect(running.http))
        assert is_closed(connect(running.https))

    def fill() -> list[Peer]:
        old = tls_peer(running.https, protocols=("http/1.1",))
        old.send(get())
        assert old.response()[2] == b"ok"
        new = H2Client(running.https)
        assert new.get().body == b"ok"
        plain = connect(running.http)
        shaking = connect(running.https)
        shaking.send(b"\x16\x03\x01")
        return [old, new.peer, plain, shaking, RawClient(running.https).peer]

    with backend(answering(SHORT_OK)) as app:
        await running.serve(app)
        inside = await in_thread(fill)
        assert counted(running) == {"127.0.0.1": 5}
        await in_thread(refused)
        elsewhere = await in_thread(connect, running.http, "127.0.0.2")
        await until(lambda: counted(running) == {"127.0.0.1": 5, "127.0.0.2": 1})
        elsewhere.close()
        for peer in inside:
            peer.close()
            await until(lambda: sum(counted(running).values()) < 5)
            found = await in_thread(lambda: H2Client(running.https))
            assert (await in_thread(found.get)).body == b"ok"
            found.close()
        await until(lambda: not counted(running))


async def test_it_is_told_once_a_minute(start_proxy: Starter) -> None:
    """With the address, and where it can be changed."""
    now = [1000.0]
    running = start_proxy(connections_per_client=1, clock=lambda: now[0])
    told: list[LogEvent] = []

    def note(event: LogEvent) -> None:
        if "connections_per_client" in (event.get("log_format") or ""):
            told.append(event)

    observer = cast(ILogObserver, note)
    globalLogPublisher.addObserver(observer)
    try:
        first = await in_thread(connect, running.http)
        await until(lambda: bool(counted(running)))
        for _ in range(3):
            assert await in_thread(lambda: is_closed(connect(running.http)))
        assert [event["peer"] for event in told] == ["127.0.0.1"]
        now[0] += 61.0
        # Its time for a head is over.
        await until(lambda: not counted(running))
        second = await in_thread(connect, running.http)
        await until(lambda: bool(counted(running)))
        assert await in_thread(lambda: is_closed(connect(running.http)))
        assert len(told) == 2
        first.close()
        second.close()
    finally:
        globalLogPublisher.removeObserver(observer)


async def test_a_handshake_that_cannot_begin_counts_no_more(
    start_http2: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer was gone before we came to it."""
    running = start_http2()

    class Broken:
        @staticmethod
        def wrap_socket(*_: object, **__: object) -> None:
            raise OSError("gone")

    monkeypatch.setattr(running.proxy._contexts, "context", Broken)
    assert await in_thread(lambda: is_closed(connect(running.https)))
    assert not counted(running)
