"""How client connections begin and end."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from haloy.proxy.downstream import Downstream
from haloy.proxy.tls.bulk import CARRIED_BYTES, CARRIED_LEAST_BYTES
from haloy.proxy.tls.contexts import SniContexts
from tests.proxy.apps import OK
from tests.proxy.both_ways import stage
from tests.proxy.conftest import Starter
from tests.proxy.support import (
    OneContext,
    Peer,
    answering,
    backend,
    connect,
    connect_tls,
    get,
    in_thread,
)
from tests.proxy.tls.test_contexts import certificate
from tests.proxy.tls_pairs import tls_pair


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_an_answer_survives_bytes_that_nobody_reads(
    start_proxy: Starter, tls: bool
) -> None:
    """A refusal reaches a client that goes on sending (RFC 9112 section 9.6)."""
    running = start_proxy(plain=not tls)
    with backend(answering(OK)) as one:
        await running.serve(one)

        def client() -> int:
            peer = connect_tls(running.https) if tls else connect(running.http)
            peer.send(b"nonsense\r\n\r\n" + b"x" * 200_000)
            threading.Event().wait(0.05)
            status = peer.response()[0]
            peer.close()
            return status

        assert await in_thread(client) == 400
    assert running.proxy.stats().connections <= 1


async def test_a_client_that_never_stops_sending(start_proxy: Starter) -> None:
    """Lingering has an end: a megabyte, or two seconds."""
    running = start_proxy()
    await running.serve()

    def client() -> bool:
        peer = connect(running.http)
        peer.send(b"nonsense\r\n\r\n")
        try:
            for _ in range(10_000):
                peer.socket.sendall(b"x" * 65536)
        except OSError:
            return True
        return False

    assert await in_thread(client)


async def test_lingering_has_a_limit_of_time(start_proxy: Starter) -> None:
    """A client that neither sends nor closes is dropped."""
    now = [1000.0]
    running = start_proxy(clock=lambda: now[0])
    await running.serve()

    def client() -> Peer:
        peer = connect(running.http)
        peer.send(b"nonsense\r\n\r\n")
        peer.rest()
        return peer

    peer = await in_thread(client)
    assert running.proxy.stats().connections == 1
    now[0] += 3
    await in_thread(lambda: [connect(running.http), threading.Event().wait(0.4)])
    assert running.proxy.stats().connections == 1
    peer.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_the_last_answer_ends_the_connection_at_once(
    start_proxy: Starter, tls: bool
) -> None:
    """Nothing lingers when everything has been said, and TLS is told."""
    running = start_proxy(plain=not tls)
    with backend(answering(OK)) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect_tls(running.https) if tls else connect(running.http)
            if tls:
                # A ragged end is an error then: close_notify has to come.
                peer.socket.__dict__["suppress_ragged_eofs"] = False
            peer.send(get(Connection="close"))
            return peer.rest()

        assert (await in_thread(client)).endswith(b"hello")
        assert running.proxy.stats().connections == 0


async def test_a_handshake_in_pieces(start_proxy: Starter) -> None:
    """A handshake may come in any number of segments."""
    running = start_proxy(plain=False)
    with backend(answering(OK)) as one:
        await running.serve(one)

        def client() -> bytes:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            session = context.wrap_bio(
                incoming, outgoing, server_hostname="app.example.com"
            )
            peer = connect(running.https)
            peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def exchange() -> None:
                for byte in outgoing.read():
                    peer.send(bytes([byte]))

            while True:
                try:
                    session.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    exchange()
                    incoming.write(peer.recv())
            session.write(get())
            exchange()
            while True:
                try:
                    return session.read(1000)
                except ssl.SSLWantReadError:
                    incoming.write(peer.recv())

        assert (await in_thread(client)).startswith(b"HTTP/1.1 200 ")


async def test_a_reset_inside_the_handshake(start_proxy: Starter) -> None:
    """It is one connection less and nothing else."""
    running = start_proxy(plain=False)

    def client() -> None:
        peer = connect(running.https)
        peer.send(b"\x16\x03\x01\x02")
        peer.reset()
        fine = connect_tls(running.https)
        fine.send(get("unknown.example.com"))
        assert fine.response()[0] == 404
        fine.close()

    await in_thread(client)


async def test_an_answer_that_waits_for_the_client(start_proxy: Starter) -> None:
    """Pipelined requests of a client that does not read wait until it does."""
    running = start_proxy()
    body = b"z" * 300_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with backend(answering(answer)) as one:
        await running.serve(one)

        def client() -> list[int]:
            peer = Peer(socket.socket())
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            peer.socket.connect(("127.0.0.1", running.http))
            peer.send(get() * 20)
            threading.Event().wait(0.2)
            return [len(peer.response()[2]) for _ in range(20)]

        assert await in_thread(client) == [len(body)] * 20


@contextmanager
def over_tls(folder: Path) -> Iterator[tuple[Downstream, ssl.SSLSocket]]:
    """Give a client's connection whose handshake is over, and the client's end."""
    with stage(fast_paths=False) as one, tls_pair(folder) as (served, peer):
        assert one.switch.admits(served, "192.0.2.1")
        client = Downstream(one.switch, served, "192.0.2.1", secure=True)
        client.tls = served
        yield client, peer


def test_a_large_body_is_carried_in_large_pieces(tmp_path: Path) -> None:
    """All that has come is sent at once, up to a limit, in order and without a rest."""
    body = os.urandom(300_000)
    source, app = socket.socketpair()
    with (
        over_tls(tmp_path) as (client, peer),
        source,
        app,
        futures.ThreadPoolExecutor(2) as pool,
    ):
        app.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        source.setblocking(False)

        def read(size: int) -> bytes:
            got = b""
            while len(got) < size:
                got += peer.recv(1 << 20)
            return got

        app.sendall(body)
        assert client.carry(source, 100_000) == 100_000
        assert not client.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
        assert client.carry(source, 1 << 30) == 200_000
        assert pool.submit(read, len(body)).result(10) == body
        with pytest.raises(BlockingIOError):
            client.carry(source, 1 << 30)

        whole = len(body) * 60
        reading = pool.submit(read, whole)
        sending = pool.submit(app.sendall, body * 60)
        carried = 0
        while carried < whole:
            try:
                size = client.carry(source, 1 << 30)
            except BlockingIOError:
                continue
            carried += size
            assert 0 <= size <= CARRIED_BYTES
            if client.unsent is not None:
                client.doWrite()
        while client.unsent is not None:
            client.doWrite()
        sending.result(10)
        assert reading.result(10) == body * 60
        client.drop()


def test_a_client_that_stalls_is_read_little_for(tmp_path: Path) -> None:
    """No more waits here than one small piece, however much its kernel has taken."""
    source, app = socket.socketpair()
    with over_tls(tmp_path) as (client, _), source, app:
        app.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 21)
        app.setblocking(False)
        sizes = []
        while client.unsent is None:
            with suppress(BlockingIOError):
                app.send(bytes(1 << 20))
            sizes.append(client.carry(source, 1 << 30))
        assert len(client.unsent) <= CARRIED_LEAST_BYTES
        assert max(sizes) > CARRIED_LEAST_BYTES
        assert client.carry(source, 1 << 30) == 0
        client.drop()


def test_a_request_behind_the_handshake_is_taken_with_it(tmp_path: Path) -> None:
    """It costs no turn of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    visitor = context.wrap_bio(incoming, outgoing, server_hostname="app.example.com")
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with stage(fast_paths=False) as one, theirs:
        tls = OneContext(tmp_path).context.wrap_socket(
            ours, server_side=True, do_handshake_on_connect=False
        )
        assert one.switch.admits(tls, "192.0.2.1")
        client = Downstream(one.switch, tls, "192.0.2.1", secure=True)
        client.start_tls(tls)
        with pytest.raises(ssl.SSLWantReadError):
            visitor.do_handshake()
        theirs.sendall(outgoing.read())
        client.doRead()
        incoming.write(theirs.recv(1 << 16))
        visitor.do_handshake()
        visitor.write(get())
        theirs.sendall(outgoing.read())
        client.doRead()
        assert client.driver is not None
        client.drop()


async def test_a_client_over_tls_that_only_half_closes(start_proxy: Starter) -> None:
    """The end of its connection is no fault: the answer reaches it."""
    contexts = SniContexts()
    contexts.replace((certificate("app.example.com"),))
    running = start_proxy(plain=False, contexts=contexts)
    told = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        told.wait(20)
        peer.send(OK)

    with backend(script) as one:
        await running.serve(one)

        def client() -> int:
            peer = connect_tls(running.https)
            peer.send(get())
            # SSLSocket.shutdown() would forget its session.
            socket.socket.shutdown(peer.socket, socket.SHUT_WR)
            threading.Event().wait(0.1)
            told.set()
            return peer.response()[0]

        assert await in_thread(client) == 200
