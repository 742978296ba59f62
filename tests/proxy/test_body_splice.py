"""Large bodies between plain sockets, which go past the machine inside the kernel."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from haloy.proxy import splice
from tests.proxy.apps import OK, POST
from tests.proxy.conftest import Starter
from tests.proxy.support import Peer, backend, connect, get, in_thread

SIZE = 20_000_000
BODY = os.urandom(1_000_000) * 20
DIGEST = hashlib.sha256(BODY).hexdigest()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE


def close_spare_pipes() -> None:
    while splice._spare:
        splice._spare.pop().close()


@pytest.fixture(autouse=True)
def pipes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Count the pipes that are opened; close the spare ones."""
    close_spare_pipes()
    opened: list[int] = []
    pipe2 = os.pipe2

    def counting(flags: int) -> tuple[int, int]:
        opened.append(flags)
        return pipe2(flags)

    monkeypatch.setattr(os, "pipe2", counting)
    yield opened
    close_spare_pipes()


def download(peer: Peer) -> None:
    while peer.head():
        peer.send(HEAD + BODY)


async def test_downloads(start_proxy: Starter, pipes: list[int]) -> None:
    """Every byte arrives, and both connections go on; one pipe serves them all."""
    running = start_proxy()
    with backend(download) as one:
        await running.serve(one)

        def client() -> list[str]:
            peer = connect(running.http)
            digests = []
            for _ in range(3):
                peer.send(get())
                digests.append(hashlib.sha256(peer.response()[2]).hexdigest())
            return digests

        assert await in_thread(client) == [DIGEST] * 3
    assert one.connections == 1
    assert len(pipes) == 1
    assert [record.bytes_out for record in running.records] == [SIZE] * 3


async def test_a_slow_reader(start_proxy: Starter, pipes: list[int]) -> None:
    """A client with a small window gets every byte."""
    running = start_proxy()
    with backend(download) as one:
        await running.serve(one)

        def client() -> str:
            peer = Peer(socket.socket())
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            peer.socket.connect(("127.0.0.1", running.http))
            peer.send(get())
            digest = hashlib.sha256()
            peer.head()
            left = SIZE
            while left:
                piece = peer.recv(65536)
                assert piece
                digest.update(piece)
                left -= len(piece)
            return digest.hexdigest()

        assert await in_thread(client) == DIGEST
    assert pipes


async def test_uploads(start_proxy: Starter, pipes: list[int]) -> None:
    """The same upwards; what is pipelined behind the body is the next request."""
    running = start_proxy()
    digests: list[str] = []

    def script(peer: Peer) -> None:
        while head := peer.head():
            if head.startswith(b"POST"):
                digests.append(hashlib.sha256(peer.exactly(SIZE)).hexdigest())
            peer.send(OK)

    with backend(script) as one:
        await running.serve(one)

        def client() -> list[int]:
            peer = connect(running.http)
            upload = POST + b"Content-Length: %d\r\n\r\n" % SIZE + BODY + get()
            sender = threading.Thread(target=peer.send, args=(upload * 2,))
            sender.start()
            statuses = [peer.response()[0] for _ in range(4)]
            sender.join(20)
            return statuses

        assert await in_thread(client) == [200] * 4
    assert digests == [DIGEST] * 2
    assert pipes


async def test_a_download_that_breaks_off(
    start_proxy: Starter, pipes: list[int]
) -> None:
    """The client sees the cut."""
    running = start_proxy()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(HEAD + BODY[: SIZE // 2])

    with backend(script) as one:
        await running.serve(one)

        def client() -> int:
            peer = connect(running.http)
            peer.send(get())
            peer.head()
            return len(peer.rest())

        assert await in_thread(client) == SIZE // 2
    assert running.records[0].outcome == "cut"
    assert pipes


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_client_that_leaves(
    start_proxy: Starter, pipes: list[int], direction: str
) -> None:
    """Its upstream is let go in the middle of the body."""
    running = start_proxy()
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        try:
            if direction == "down":
                peer.send(HEAD + BODY)
            else:
                peer.rest()
        finally:
            ended.set()

    with backend(script) as one:
        await running.serve(one)

        def client() -> None:
            peer = connect(running.http)
            if direction == "down":
                peer.send(get())
                peer.exactly(1_000_000)
            else:
                peer.send(POST + b"Content-Length: %d\r\n\r\n" % SIZE)
                peer.send(BODY[:1_000_000])
            peer.reset()
            assert ended.wait(20)

        await in_thread(client)
    assert running.records[0].outcome == "gone"


async def test_an_early_answer(start_proxy: Starter, pipes: list[int]) -> None:
    """It is delivered in the middle of a large upload."""
    running = start_proxy()

    def script(peer: Peer) -> None:
        peer.head()
        peer.exactly(3_000_000)
        peer.send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")

    with backend(script) as one:
        await running.serve(one)

        def client() -> tuple[int, dict[str, str], bytes]:
            peer = connect(running.http)
            peer.send(POST + b"Content-Length: %d\r\n\r\n" % SIZE)
            return peer.answer_to_upload(BODY)

        status, fields, body = await in_thread(client)
    assert (status, fields["connection"], body) == (413, "close", b"no")
    assert pipes


async def test_an_urgent_byte(
    start_proxy: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in a large body is got past by reading, not asked for again and again."""
    running = start_proxy()
    asked: list[int] = []
    splice_ = os.splice

    def counting(source: int, sink: int, size: int, *, flags: int) -> int:
        asked.append(size)
        return splice_(source, sink, size, flags=flags)

    def script(peer: Peer) -> None:
        peer.head()
        peer.exactly(2_000_000)
        peer.send(OK)

    monkeypatch.setattr(os, "splice", counting)
    with backend(script) as one:
        await running.serve(one)

        def client() -> tuple[int, int]:
            peer = connect(running.http)
            peer.send(POST + b"Content-Length: 2000000\r\n\r\n" + BODY[:1_000_000])
            threading.Event().wait(0.3)
            before = len(asked)
            peer.socket.send(b"!", socket.MSG_OOB)
            threading.Event().wait(0.3)
            during = len(asked) - before
            peer.send(BODY[:1_000_000])
            return during, peer.response()[0]

        during, status = await in_thread(client)
    assert (during < 10, status) == (True, 200)


def refuse(flags: int) -> tuple[int, int]:
    raise OSError(24, "too many open files")


async def test_without_pipes(
    start_proxy: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no pipe can be opened the bytes are copied."""
    running = start_proxy()

    def script(peer: Peer) -> None:
        peer.head()
        got = peer.exactly(SIZE)
        peer.send(HEAD + got)

    monkeypatch.setattr(os, "pipe2", refuse)
    with backend(script) as one:
        await running.serve(one)

        def client() -> str:
            peer = connect(running.http)
            peer.send(POST + b"Content-Length: %d\r\n\r\n" % SIZE + BODY)
            return hashlib.sha256(peer.response()[2]).hexdigest()

        assert await in_thread(client) == DIGEST
