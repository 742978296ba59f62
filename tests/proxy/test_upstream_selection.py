"""Which replica takes a request when one of them does not."""

from __future__ import annotations

import threading
import time

from haloy.model.app import ProxyOptions
from haloy.proxy.interface import UpstreamFailure
from tests.proxy.apps import OK, POST, Recorder
from tests.proxy.conftest import Starter
from tests.proxy.support import (
    Backend,
    Peer,
    answering,
    backend,
    connect,
    get,
    in_thread,
)


def refusing() -> Backend:
    """Return a backend that is gone: its port refuses connections."""
    one = Backend(answering(OK))
    one.close()
    return one


async def test_the_next_replica_serves(start_proxy: Starter) -> None:
    """A refused dial costs no request, a POST either, and is reported."""
    running = start_proxy()
    failures: list[UpstreamFailure] = []
    running.proxy.on_upstream_failure(failures.append)
    dead = refusing()
    with backend(Recorder()) as one:
        await running.serve(dead, one)

        def client() -> list[int]:
            peer = connect(running.http)
            answers = []
            for _ in range(10):
                peer.send(POST + b"Content-Length: 3\r\n\r\nabc")
                answers.append(peer.response()[0])
            return answers

        assert await in_thread(client) == [200] * 10
    # Ejected after the first refusal: it is not asked again for a second.
    assert len(failures) == 1
    assert failures[0].key == f"replica-{id(dead)}"
    assert failures[0].reason


async def test_nobody_answers(start_proxy: Starter) -> None:
    """All replicas refuse: 502. No replica at all: 503 with a time."""
    running = start_proxy()
    await running.serve(refusing(), refusing())

    def client() -> tuple[int, dict[str, str], bytes]:
        peer = connect(running.http)
        peer.send(get())
        return peer.response()

    assert (await in_thread(client))[0] == 502
    await running.serve()
    status, fields, _ = await in_thread(client)
    assert (status, fields["retry-after"]) == (503, "5")


async def test_more_requests_than_connections(start_proxy: Starter) -> None:
    """Requests beyond the cap wait for their turn and are all answered."""
    running = start_proxy()
    busy: list[int] = []
    peak = [0]
    lock = threading.Lock()

    def script(peer: Peer) -> None:
        while peer.head():
            with lock:
                busy.append(1)
                peak[0] = max(peak[0], len(busy))
            time.sleep(0.01)  # noqa: TID251 - a thread of its own
            with lock:
                busy.pop()
            peer.send(OK)

    with backend(script) as one:
        await running.serve(one, options=ProxyOptions(max_connections=3))

        def client() -> list[int]:
            peers = [connect(running.http) for _ in range(20)]
            for peer in peers:
                peer.send(get())
            return [peer.response()[0] for peer in peers]

        assert await in_thread(client) == [200] * 20
        assert peak[0] <= 3
        assert one.connections <= 3


async def test_waiting_requests_follow_the_table(start_proxy: Starter) -> None:
    """A request that waits for a replica that goes is served by the new one."""
    running = start_proxy()
    stuck = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        stuck.wait(20)
        peer.send(OK)

    with backend(script) as old, backend(Recorder()) as new:
        await running.serve(old, options=ProxyOptions(max_connections=1))

        def start() -> list[Peer]:
            peers = [connect(running.http) for _ in range(4)]
            for peer in peers:
                peer.send(get())
                time.sleep(0.02)  # noqa: TID251 - a thread of its own
            return peers

        peers = await in_thread(start)
        await running.serve(new, generation=2)

        def rest() -> list[int]:
            answers = [peer.response()[0] for peer in peers[1:]]
            stuck.set()
            return [*answers, peers[0].response()[0]]

        assert await in_thread(rest) == [200] * 4
