"""A socket on the reactor, alone: buffering, pressure, ends."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import cast

import pytest
from attrs import define, field
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from haloy.proxy.descriptor import (
    HIGH_MARK_BYTES,
    LOW_MARK_BYTES,
    Descriptor,
    Watched,
)
from haloy.proxy.timer_wheel import TimerWheel


@define(eq=False)
class FakeReactor:
    """Who is watched for what, and what is to be called."""

    readers: list[object] = field(factory=list)
    writers: list[object] = field(factory=list)
    later: list[object] = field(factory=list)

    def addReader(self, reader: Watched) -> None:  # noqa: N802 - Twisted's
        self.readers.append(reader)

    def removeReader(self, reader: Watched) -> None:  # noqa: N802 - Twisted's
        self.readers.remove(reader)

    def addWriter(self, writer: Watched) -> None:  # noqa: N802 - Twisted's
        self.writers.append(writer)

    def removeWriter(self, writer: Watched) -> None:  # noqa: N802 - Twisted's
        self.writers.remove(writer)

    def callLater(self, delay: float, callable: object, *args: object) -> object:  # noqa: A002, N802 - Twisted's
        self.later.append(callable)
        return None


class Noting(Descriptor):
    """Notes what it is told."""

    def __init__(self, reactor: FakeReactor, connection: socket.socket) -> None:
        super().__init__(reactor, TimerWheel(lambda: 0.0), connection)
        self.told: list[str] = []
        self.data = b""
        self.turns = 0

    def received(self, data: bytes) -> None:
        self.turns += 1
        self.data += data

    def ended(self) -> None:
        self.told.append("ended")
        self.pause()

    def lost(self) -> None:
        self.told.append("lost")

    def flushed(self) -> None:
        self.told.append("flushed")

    def relieved(self) -> None:
        self.told.append("relieved")


class Records(socket.socket):
    """Stands for TLS: each call gives one record, then what is scripted."""

    def __init__(self, script: list[bytes | OSError]) -> None:
        super().__init__(socket.AF_UNIX)  # never connected, so not over
        self.script = script

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        one = self.script.pop(0)
        if isinstance(one, OSError):
            raise one
        return one


@define(eq=False)
class Pair:
    reactor: FakeReactor
    ours: Noting
    theirs: socket.socket

    def read_all(self) -> bytes:
        data = b""
        self.theirs.setblocking(False)
        while True:
            try:
                data += self.theirs.recv(1 << 20)
            except BlockingIOError:
                return data


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    reactor = FakeReactor()
    descriptor = Noting(reactor, ours)
    yield Pair(reactor, descriptor, theirs)
    descriptor.drop()
    theirs.close()


def test_sending_at_once(pair: Pair) -> None:
    """What the kernel takes is not buffered and nobody is watched."""
    pair.ours.send(b"hello")
    pair.ours.send(b"")
    assert pair.theirs.recv(10) == b"hello"
    assert pair.reactor.writers == []


def test_buffering_and_pressure(pair: Pair) -> None:
    """What the kernel refuses waits, in order; who sends is told when it gets less."""
    data = bytes(range(256)) * 8192
    pair.ours.send(data)
    assert pair.ours.unsent is not None
    assert len(pair.ours.unsent) > HIGH_MARK_BYTES
    assert pair.ours.congested
    pair.ours.send(b"end")
    got = b""
    while pair.reactor.writers:
        got += pair.read_all()
        pair.ours.doWrite()
    got += pair.read_all()
    assert got == data + b"end"
    assert pair.ours.told == ["relieved", "flushed"]
    assert LOW_MARK_BYTES < HIGH_MARK_BYTES


@pytest.mark.parametrize("size", [100, 1 << 21])
def test_two_at_once(pair: Pair, size: int) -> None:
    """A head and a body arrive one after the other, wherever the kernel stops."""
    body = bytes(range(256)) * (size // 256) + b"end of it"
    got = b""
    pair.ours.send_all((b"first head", memoryview(body)))
    # The second pair stands behind what waits of the first one.
    pair.ours.send_all((b"second head", memoryview(body)))
    assert pair.ours.congested == (size > HIGH_MARK_BYTES)
    while pair.reactor.writers:
        got += pair.read_all()
        pair.ours.doWrite()
    got += pair.read_all()
    assert got == b"first head" + body + b"second head" + body


@pytest.mark.parametrize("count", [1, 32, 5000])
def test_pieces_at_once(pair: Pair, count: int) -> None:
    """They arrive in order, also more of them than the kernel takes in one call."""
    pieces = [b"%d," % number for number in range(count)]
    pair.ours.send_all(pieces)
    assert pair.read_all() == b"".join(pieces)
    assert pair.ours.unsent is None


def test_two_at_once_to_nobody(pair: Pair) -> None:
    """A failure is told in a later turn, and what comes after it goes nowhere."""
    pair.theirs.close()
    pair.ours.send_all((b"head", memoryview(b"body")))
    assert pair.ours.told == []
    assert pair.ours.broken
    pair.ours.send_all((b"head", memoryview(b"body")))
    assert pair.ours.unsent is None
    (call,) = pair.reactor.later
    assert callable(call)
    call()
    assert pair.ours.told == ["lost"]


def test_reading(pair: Pair) -> None:
    """Bytes are handed on, then the end; a spurious event is nothing."""
    pair.ours.resume()
    pair.ours.resume()
    assert pair.reactor.readers == [pair.ours]
    pair.ours.doRead()
    pair.theirs.sendall(b"hello")
    pair.ours.doRead()
    assert pair.ours.data == b"hello"
    pair.theirs.close()
    pair.ours.doRead()
    assert pair.ours.told == ["ended"]
    assert pair.reactor.readers == []


def test_a_failed_write_never_calls_back_at_once(pair: Pair) -> None:
    """The owner learns of it in a later turn, once."""
    pair.theirs.close()
    pair.ours.send(b"hello")
    assert pair.ours.told == []
    assert pair.ours.broken
    pair.ours.send(b"more")
    assert not pair.ours.half_close()
    (call,) = pair.reactor.later
    assert callable(call)
    call()
    assert pair.ours.told == ["lost"]


def test_a_write_that_fails_later(pair: Pair) -> None:
    """The same for what was buffered."""
    pair.ours.send(b"x" * (1 << 21))
    pair.theirs.close()
    pair.ours.doWrite()
    assert pair.ours.broken
    assert pair.ours.unsent is None
    assert pair.reactor.writers == []


def test_dropping(pair: Pair) -> None:
    """It happens once, however often it is asked for."""
    pair.ours.resume()
    pair.ours.call_when_writable()
    pair.ours.drop()
    pair.ours.drop()
    pair.ours.connectionLost(Failure(ConnectionDone()))
    pair.ours.readConnectionLost(Failure(ConnectionDone()))
    assert pair.ours.told == ["lost"]
    assert pair.ours.fileno() == -1
    assert (pair.reactor.readers, pair.reactor.writers) == ([], [])
    pair.ours.resume()
    pair.ours.send(b"x")
    pair.ours.say_goodbye()
    assert pair.reactor.readers == []
    assert pair.ours.logPrefix() == "proxy"


def test_half_close(pair: Pair) -> None:
    """The peer sees the end, we go on reading; a second time changes nothing."""
    assert pair.ours.half_close()
    assert pair.ours.half_close()
    assert pair.theirs.recv(10) == b""
    pair.theirs.sendall(b"still")
    pair.ours.doRead()
    assert pair.ours.data == b"still"


def test_a_spurious_writable_event(pair: Pair) -> None:
    """Somebody who waits for the kernel is told, with nothing to send."""
    pair.ours.call_when_writable()
    pair.ours.doWrite()
    assert pair.ours.told == ["flushed"]
    assert pair.reactor.writers == []


RECORD = b"r" * 16384


@pytest.mark.parametrize(
    ("script", "size", "told"),
    [
        ([RECORD, RECORD, b"end"], 2 * len(RECORD) + 3, []),
        ([RECORD, RECORD, ssl.SSLWantReadError()], 2 * len(RECORD), []),
        ([RECORD, b""], len(RECORD), ["ended"]),
        ([RECORD, ConnectionResetError()], len(RECORD), ["lost"]),
        ([b"short"], 5, []),
    ],
)
def test_records_of_tls_are_taken_together(
    script: list[bytes | OSError], size: int, told: list[str]
) -> None:
    """A large body has one turn for several; what ends it is told after them."""
    with Records(list(script)) as connection:
        ours = Noting(FakeReactor(), connection)
        ours.tls = cast(ssl.SSLSocket, connection)
        ours.resume()
        ours.doRead()
        assert ours.turns == 1
        assert len(ours.data) == size
        assert ours.told == told
        assert connection.script == []


def test_records_are_taken_in_turns() -> None:
    """One connection does not hold up the others, however much comes."""
    with Records([RECORD] * 20) as connection:
        ours = Noting(FakeReactor(), connection)
        ours.tls = cast(ssl.SSLSocket, connection)
        ours.resume()
        ours.doRead()
        assert len(ours.data) == 8 * len(RECORD)
