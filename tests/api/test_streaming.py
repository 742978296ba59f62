"""Readers of streams that take nothing, on real sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from haloy.api import streaming
from haloy.engine.interface import Output, Stream
from tests.api.test_client import Scene, entry
from tests.api.test_server import ID
from tests.support.api import TOKEN

#: More than the buffers of both kernels ends hold for one connection.
PIECES, PIECE = 4000, "x" * 4000


@pytest_twisted.async_yield_fixture
async def scene(reactor: Any, tmp_path: Path) -> AsyncIterator[Scene]:
    found = Scene(reactor)
    await found.start(tmp_path / "api.sock")
    yield found
    await found.hang_up()
    await found.listener.stop()
    found.database.close()
    await deferLater(reactor, 0.01)


def connect(scene: Scene, path: str, seen: int = 0) -> socket.socket:
    """Ask for a stream, and read nothing of it."""
    connection = socket.socket()
    # Small, so that little is enough to fill it.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", scene.listener.port))
    last = f"Last-Event-ID: {seen}\r\n" if seen else ""
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{last}"
        f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
    )
    return connection


def drain(connection: socket.socket, until: bytes = b"") -> bytes:
    """Read to the end, or to C{until}."""
    data = bytearray()
    with connection:
        try:
            while piece := connection.recv(1 << 20):
                data += piece
                if until and until in data[-len(piece) - len(until) :]:
                    break
        except ConnectionResetError:
            pass
    return bytes(data)


def numbers(data: bytes) -> list[int]:
    """Return the numbers of the events that came whole."""
    whole = data.rpartition(b"\n\n")[0]
    return [int(one[4:]) for one in whole.split(b"\n") if one.startswith(b"id: ")]


async def until(scene: Scene, reached: Callable[[], bool]) -> None:
    for _ in range(1500):
        if reached():
            return
        await deferLater(scene.reactor, 0.01)
    raise AssertionError("never reached")


async def test_stuck_reader_is_cut_and_may_come_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loses its connection, costs two buffers, and misses nothing."""
    monkeypatch.setattr(streaming, "STALL_LIMIT_S", 0.3)
    told: list[int] = []
    entries = [entry(one, PIECE) for one in range(1, PIECES + 1)]
    entries[-1] = evolve(entries[-1], complete=True)

    async def follow(_: str, consume: Any, after: int = 0) -> None:
        for one in entries:
            if one.seq > after:
                told.append(one.seq)
                await consume(one)

    monkeypatch.setattr(type(scene.deployments), "follow", staticmethod(follow))
    path = f"/v1/deploy/{ID}/logs"
    connection = connect(scene, path)
    streams = scene.api._streams
    await until(scene, lambda: streams._open == 1)
    await until(scene, lambda: streams._open == 0)
    assert len(told) < PIECES, "what is not read is not asked for"
    first = numbers(await deferToThread(drain, connection))
    assert first == list(range(1, len(first) + 1))
    told.clear()
    again = connect(scene, path, first[-1] if first else 0)
    rest = await deferToThread(drain, again, b"isDeploymentComplete")
    assert first + numbers(rest) == list(range(1, PIECES + 1))
    assert json.loads(rest.split(b"data: ")[-1].split(b"\n")[0])["message"] == PIECE


async def test_all_who_write_wait(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several containers' lines to one stuck reader cost no more than one's."""
    monkeypatch.setattr(streaming, "STALL_LIMIT_S", 0.5)
    await scene.running()
    written = 0

    async def logs(
        name: str, tail: int, follow: bool, consume: Any, since_s: float
    ) -> None:
        nonlocal written
        for _ in range(PIECES):
            await consume(Output(Stream.OUT, PIECE.encode() + b"\n"))
            written += 1

    monkeypatch.setattr(type(scene.engine), "logs", staticmethod(logs))
    status = scene.deployments.known["hello"]
    (one,) = status.replicas
    both = (one, evolve(one, container_id="f" * 64))
    scene.deployments.known["hello"] = evolve(status, replicas=both)
    connection = connect(scene, "/v1/logs/hello?allContainers=true")
    streams = scene.api._streams
    await until(scene, lambda: streams._open == 1)
    await until(scene, lambda: streams._open == 0)
    assert written < PIECES
    connection.close()
