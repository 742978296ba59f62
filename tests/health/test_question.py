"""How one question ends, on real sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.threads import deferToThread

from haloy.health.answer import NO_ANSWER
from haloy.health.question import NotConnected, Question
from haloy.model.app import Address

GET = b"GET / HTTP/1.1\r\n\r\n"


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as made:
        made.settimeout(10)
        yield made


def at(listening: socket.socket) -> Address:
    return Address(*listening.getsockname())


async def test_what_fails_at_once_is_told_later(
    reactor: Any, listening: socket.socket
) -> None:
    """Who asks hundreds is never called back while it asks."""
    nowhere = at(listening)
    listening.close()
    for address, reason in (
        (nowhere, "Connection refused"),
        (Address("255.255.255.255", 1), "unreachable"),
    ):
        question = Question(reactor, GET)
        question.ask(address, 5)
        assert not question.status.called
        with pytest.raises(NotConnected, match=reason):
            await question.status
        assert question.fileno() == -1


async def test_nobody_accepts(reactor: Any, listening: socket.socket) -> None:
    """An app that takes no connections is told from one that does not answer."""
    filling = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listening.getsockname())
        filling.append(one)
    question = Question(reactor, GET)
    question.ask(at(listening), 0.2)
    with pytest.raises(NotConnected, match="timed out"):
        await question.status
    for one in filling:
        one.close()


async def test_silence(reactor: Any, listening: socket.socket) -> None:
    """A connection that stands (in the kernel) and nobody who answers."""
    question = Question(reactor, GET)
    question.ask(at(listening), 0.2)
    with pytest.raises(TimeoutError):
        await question.status


async def test_reset(reactor: Any, listening: socket.socket) -> None:
    """An app that cuts the connection has not answered."""
    question = Question(reactor, GET)
    question.ask(at(listening), 10)
    accepted, _ = listening.accept()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accepted.close()
    assert await question.status == NO_ANSWER


async def test_a_request_larger_than_what_the_kernel_takes(
    reactor: Any, listening: socket.socket
) -> None:
    """All of it is sent, bit by bit."""
    request = b"x" * (16 << 20)

    def read_all() -> int:
        accepted, _ = listening.accept()
        with accepted:
            size = 0
            while size < len(request):
                size += len(accepted.recv(1 << 20))
            accepted.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        return size

    reading = deferToThread(read_all)
    question = Question(reactor, request)
    question.ask(at(listening), 30)
    assert await question.status == 204
    assert await reading == len(request)


async def test_cancelled(reactor: Any, listening: socket.socket) -> None:
    """Whoever does not want to know any more leaves nothing open."""
    question = Question(reactor, GET)
    question.ask(at(listening), 30)
    question.status.cancel()
    with pytest.raises(CancelledError):
        await question.status
    assert question.fileno() == -1
