"""A connection that Docker has given up for input and output, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from haloy.engine.http import EngineHttp, Hijacked
from haloy.errors import EngineUnavailable

#: More than a socket holds: it waits on our side.
MUCH = 4 << 20
OUTPUT = b"x" * (96 << 10)


class Engine(Protocol):
    """Agrees to whatever is asked, writes its output, and then reads nothing."""

    def __init__(self, made: Deferred[Engine]) -> None:
        self.made = made

    def dataReceived(self, data: bytes) -> None:
        self.socket.pauseProducing()
        self.socket.write(b"HTTP/1.1 101 UPGRADED\r\n\r\n" + OUTPUT)
        self.made.callback(self)

    @property
    def socket(self) -> Any:
        return self.transport


async def hijacked(reactor: Any, folder: Path) -> tuple[Hijacked, Engine, Any]:
    path, made = str(folder / "docker.sock"), Deferred[Engine]()
    port = reactor.listenUNIX(path, Factory.forProtocol(lambda: Engine(made)))
    http = EngineHttp(reactor, f"unix://{path}", "1.41")
    connection = await http.hijack("/exec/1/start", {})
    return connection, await made, port


async def read_all(connection: Hijacked) -> bytes:
    found = b""
    while piece := await connection.read():
        found += piece
    return found


async def test_output_lost_with_the_connection(reactor: Any, tmp_path: Path) -> None:
    """Closed on input and on output that nobody has read: not the output's end."""
    connection, engine, port = await hijacked(reactor, tmp_path)
    connection.write(b"y" * MUCH)
    while engine.socket in reactor.getWriters():
        await deferLater(reactor, 0.001)
    engine.socket.abortConnection()
    while connection._transport().connected:
        await deferLater(reactor, 0.001)
    with pytest.raises(EngineUnavailable, match="mid-stream"):
        await read_all(connection)
    await port.stopListening()


async def test_closed_connection_takes_nothing(reactor: Any, tmp_path: Path) -> None:
    """Input and its end come late for a command that has ended: no harm."""
    connection, engine, port = await hijacked(reactor, tmp_path)
    engine.socket.loseConnection()
    assert await read_all(connection) == OUTPUT
    connection.close()
    await deferLater(reactor, 0)
    connection.write(b"late")
    connection.end_input()
    await port.stopListening()
