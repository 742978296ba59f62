"""What workers do on the lean reactor and on Twisted's own: the same."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from haloy.model.app import Protocol, ProxyOptions
from haloy.proxy.http2 import frames
from haloy.proxy.split.worker_pool import LEAN, STOCK
from tests.proxy.apps import OK, SWITCH, UPGRADE
from tests.proxy.conftest import Split, SplitStarter
from tests.proxy.http2.clients import H2Client, RawClient
from tests.proxy.http2.support import block, frame
from tests.proxy.split.test_supervisor import certificate
from tests.proxy.split.test_worker_pool import until
from tests.proxy.support import (
    Peer,
    backend,
    connect,
    connect_tls,
    get,
    in_thread,
    table_of,
)


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "tls"])
@pytest.mark.parametrize("chosen", [LEAN, STOCK], ids=["lean", "stock"])
async def test_either_reactor(
    start_split: SplitStarter, chosen: str, plain: bool
) -> None:
    """Workers serve on both: a kept connection and a WebSocket, plain and by TLS."""
    split: Split = await start_split(plain=plain, reactor=chosen)
    await split.proxy.replace_certificates((certificate(),))

    def client() -> None:
        peer = connect(split.http) if plain else connect_tls(split.https)
        for _ in range(3):
            peer.send(get())
            assert peer.response()[::2] == (200, b"hello")
        peer.send(UPGRADE)
        assert peer.head().startswith(b"HTTP/1.1 101 ")
        for size in (4, 200_000):
            message = os.urandom(size)
            peer.send(message)
            assert peer.exactly(size) == message
        peer.close()

    with backend(greeting_then_echo) as one:
        await split.proxy.replace_table(table_of(one))
        await in_thread(client)


@pytest.mark.parametrize("chosen", [LEAN, STOCK], ids=["lean", "stock"])
async def test_http2_on_either_reactor(
    start_split: SplitStarter, reactor: Any, chosen: str
) -> None:
    """Many streams, bodies beyond every window both ways, apps of both versions.

    Then a reload: the connection is told to leave, what runs on it is answered.
    """
    split: Split = await start_split(plain=False, reactor=chosen, workers=1)
    await split.proxy.replace_certificates((certificate(),))

    def client() -> None:
        one = H2Client(split.https)
        for stream in [one.ask() for _ in range(20)]:
            found = one.answer(stream)
            assert (found.status, found.body) == (200, b"hello")
        found = one.get("/large", method="POST", body=LARGE)
        assert (found.status, found.body) == (200, LARGE)

    asked, go_on = threading.Event(), threading.Event()
    with (
        backend(answering_http1(asked, go_on)) as app,
        backend(speaking_http2) as other,
    ):
        await split.proxy.replace_table(table_of(app))
        await in_thread(client)
        kept = await in_thread(lambda: RawClient(split.https))
        kept.send(kept.get(1, "/slow"))
        assert await in_thread(asked.wait, 60)
        await split.proxy.replace_table(
            table_of(other, generation=2, options=ProxyOptions(protocol=Protocol.H2C))
        )
        found = await in_thread(lambda: H2Client(split.https).get())
        assert (found.status, found.body) == (200, b"by HTTP/2")
        split.supervisor.reload()
        assert await in_thread(last_answer, kept, go_on) == b"hello"
        await until(reactor, lambda: len(split.supervisor.members) == 1)
        found = await in_thread(lambda: H2Client(split.https).get())
        assert (found.status, found.body) == (200, b"by HTTP/2")


def last_answer(client: RawClient, go_on: threading.Event) -> bytes:
    """Let the app answer when the client is told to leave; return what came."""
    body = b""
    while (one := client.frame()) is not None:
        if one.kind == frames.PING and not one.flags & frames.ACK:
            client.send(frame(frames.PING, frames.ACK, 0, one.body))
        elif one.kind == frames.GOAWAY:
            assert client.goaway == 0
            go_on.set()
        elif one.kind == frames.DATA:
            assert go_on.is_set()
            body += one.body
    return body


LARGE = os.urandom(1000) * 2000


def answering_http1(
    asked: threading.Event, go_on: threading.Event
) -> Callable[[Peer], None]:
    """Answer a GET with a greeting and a POST with what it brought.

    C{asked}: a slow answer was asked for; C{go_on}: it may be given.
    """

    def script(peer: Peer) -> None:
        while head := peer.head():
            if head.startswith(b"POST"):
                body = chunked(peer)
                size = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                peer.send(size.encode() + body)
                continue
            if b"/slow" in head:
                asked.set()
                go_on.wait(60)
            peer.send(OK)

    return script


def chunked(peer: Peer) -> bytes:
    """Return a body that came in chunks (RFC 9112 section 7.1)."""
    body = b""
    while size := int(peer.until(b"\r\n"), 16):
        body += peer.exactly(size)
        peer.exactly(2)
    peer.exactly(2)
    return body


def speaking_http2(peer: Peer) -> None:
    """Answer every request, by HTTP/2."""
    assert peer.exactly(24) == frames.PREFACE
    peer.send(frame(frames.SETTINGS))
    while len(start := peer.exactly(9)) == 9:
        length, _, stream = frames.HEADER.unpack(start)
        peer.exactly(length >> 8)
        if length & 0xFF == frames.HEADERS:
            head = block(((":status", "200"),))
            peer.send(frame(frames.HEADERS, frames.END_HEADERS, stream, head))
            peer.send(frame(frames.DATA, frames.END_STREAM, stream, b"by HTTP/2"))


def greeting_then_echo(peer: Peer) -> None:
    """Answer requests; send everything back after one to switch protocols."""
    while head := peer.head():
        if b"Upgrade: websocket" in head:
            peer.send(SWITCH)
            while data := peer.recv():
                peer.send(data)
            return
        peer.send(OK)
