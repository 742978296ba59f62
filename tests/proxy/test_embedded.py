"""The whole data path on real sockets: the ordinary cases."""

from __future__ import annotations

from tests.proxy.conftest import Starter
from tests.proxy.support import (
    answering,
    backend,
    connect,
    connect_tls,
    echoing,
    get,
    in_thread,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def test_get(start_proxy: Starter) -> None:
    """A request reaches the app and its answer comes back."""
    running = start_proxy()
    with backend(answering(OK)) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect(running.http)
            peer.send(get())
            first = peer.response()
            peer.send(get())
            assert peer.response() == first
            return first[2]

        assert await in_thread(client) == b"hello"
    assert one.connections == 1
    assert [record.status for record in running.records] == [200, 200]


async def test_tls(start_proxy: Starter) -> None:
    """The same over TLS."""
    running = start_proxy(plain=False)
    with backend(echoing) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect_tls(running.https)
            peer.send(get(Connection="close"))
            return peer.response()[2]

        assert b"X-Forwarded-Proto: https\r\n" in await in_thread(client)
