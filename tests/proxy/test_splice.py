"""A pipe between two sockets."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from haloy.proxy import splice
from haloy.proxy.listener import RESERVE
from haloy.proxy.splice import Pipe, take_pipe


@pytest.fixture(autouse=True)
def no_spare_pipes() -> Iterator[None]:
    """Close the spare pipes of a test."""
    yield
    while splice._spare:
        splice._spare.pop().close()


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, theirs


def test_bytes_go_through() -> None:
    """What goes in comes out, at most as much as was asked for."""
    source, feeder = pair()
    sink, reader = pair()
    pipe = take_pipe()
    with source, feeder, sink, reader:
        feeder.sendall(b"hello world")
        assert pipe.fill(source.fileno(), 5) == 5
        assert pipe.inside == 5
        assert pipe.drain(sink.fileno()) == 5
        assert reader.recv(100) == b"hello"
        assert pipe.fill(source.fileno(), 100) == 6
        feeder.close()
        assert pipe.fill(source.fileno(), 100) == 0
        pipe.drain(sink.fileno())
        pipe.release()


def test_nothing_has_come() -> None:
    """An empty socket is said to be one."""
    source, feeder = pair()
    pipe = take_pipe()
    with source, feeder, pytest.raises(BlockingIOError):
        pipe.fill(source.fileno(), 100)
    pipe.release()


def test_a_full_sink() -> None:
    """What a socket does not take stays inside."""
    source, feeder = pair()
    sink, reader = pair()
    pipe = take_pipe()
    with source, feeder, sink, reader:
        with suppress(BlockingIOError):
            while True:
                sink.send(b"x" * 65536)
        feeder.sendall(b"y" * 1000)
        pipe.fill(source.fileno(), 1000)
        assert pipe.drain(sink.fileno()) == 0
        assert pipe.inside == 1000
        reader.close()
        with pytest.raises(OSError, match="pipe"):
            pipe.drain(sink.fileno())
    pipe.close()


def test_only_empty_pipes_are_used_again() -> None:
    """One with something inside is closed."""
    pipe = take_pipe()
    pipe.release()
    assert take_pipe() is pipe
    pipe.inside = 1
    pipe.release()
    assert pipe not in splice._spare


def test_spare_pipes_are_few() -> None:
    """The others are closed."""
    pipes = [take_pipe() for _ in range(40)]
    for pipe in pipes:
        pipe.release()
    assert len(splice._spare) == splice._SPARE_LIMIT


def refuse_large_ones(monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
    """Have pipes of C{size_bytes}, as where a user may not choose."""

    def refuse(fileno: int, command: int, size: int = 0) -> int:
        if command == fcntl.F_GETPIPE_SZ:
            return size_bytes
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(fcntl, "fcntl", refuse)


def test_where_large_pipes_are_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size that the system gives is used."""
    refuse_large_ones(monkeypatch, 65536)
    source, feeder = pair()
    pipe = Pipe()
    with source, feeder:
        feeder.sendall(b"hello")
        assert pipe.fill(source.fileno(), 5) == 5
    pipe.close()


def test_a_pipe_that_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives two pages copying is cheaper: there is no pipe."""
    refuse_large_ones(monkeypatch, 8192)
    opened: list[int] = []
    pipe2 = os.pipe2

    def remembering(flags: int) -> tuple[int, int]:
        opened.extend(pipe2(flags))
        return opened[0], opened[1]

    monkeypatch.setattr(os, "pipe2", remembering)
    with pytest.raises(PermissionError):
        take_pipe()
    for fileno in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fileno)


def test_what_is_inside_can_be_had() -> None:
    """All of it, and the pipe is empty then."""
    source, feeder = pair()
    pipe = take_pipe()
    with source, feeder:
        feeder.sendall(b"hello ")
        pipe.fill(source.fileno(), 100)
        feeder.sendall(b"world")
        pipe.fill(source.fileno(), 100)
        assert pipe.take() == b"hello world"
    assert (pipe.inside, pipe.take()) == (0, b"")
    pipe.release()


def test_the_last_descriptors_are_for_others() -> None:
    """A pipe is something to do without: connections and the API come first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(one.name) for one in Path("/proc/self/fd").iterdir()}
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(used) + RESERVE, hard))
        # As far as all below the highest number are in use.
        taken = [os.dup(0) for _ in range(max(used) - len(used) + 2)]
        with pytest.raises(OSError, match="Too many open files"):
            take_pipe()
        for one in taken:
            os.close(one)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {int(one.name) for one in Path("/proc/self/fd").iterdir()} == used
