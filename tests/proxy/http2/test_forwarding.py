"""Requests of HTTP/2 on their way: the pace of their bodies, by a clock of the test."""

from __future__ import annotations

from haloy.proxy.body import BODY_PROGRESS_BYTES
from tests.proxy.conftest import Starter
from tests.proxy.http2.clients import RawClient
from tests.proxy.http2.support import POST, frame, head
from tests.proxy.support import backend, in_thread
from tests.proxy.test_times import Clock, Taking, passes


async def test_an_upload_that_dribbles_is_ended(start_http2: Starter) -> None:
    """408 after half a minute, however often something comes; others go on."""
    clock = Clock()
    running = start_http2(clock=clock)
    taking = Taking(1_000_000)

    def client() -> None:
        one = RawClient(running.https)
        one.send(head(1, POST, end=False), head(3, POST, end=False))
        for count in range(1, 4):
            one.send(frame(0, 0, 1, bytes(70)), frame(0, 0, 3, bytes(15_000)))
            taking.has(count * 15_070)
            passes(running, clock, 9)
        passes(running, clock, 9)
        assert one.status(1) == "408"
        one.send(frame(0, 0, 3, bytes(15_000)))
        taking.has(3 * 15_070 + 15_000)

    assert 2 * 15_000 < BODY_PROGRESS_BYTES < 3 * 15_000
    with backend(taking) as app:
        await running.serve(app)
        await in_thread(client)


async def test_a_slow_upload_is_taken(start_http2: Starter) -> None:
    """At a bit more than 1 KiB/s, for minutes."""
    clock = Clock()
    running = start_http2(clock=clock)
    piece = bytes(15_500)
    taking = Taking(12 * len(piece))

    def client() -> str:
        one = RawClient(running.https)
        length = ("content-length", str(taking.size))
        one.send(head(1, (*POST, length), end=False))
        for count in range(1, 13):
            one.send(frame(0, count == 12, 1, piece))
            taking.has(count * len(piece))
            passes(running, clock, 14)
        return one.status(1)

    with backend(taking) as app:
        await running.serve(app)
        assert await in_thread(client) == "200"
