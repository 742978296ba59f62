"""Signs of life of a WebSocket, and its end, by the clock."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, TextMessage

from haloy.api.websocket import (
    CLOSE_LIMIT_S,
    PING_S,
    QUIET_ROUNDS,
    STALLED_ROUNDS,
    TAKE_LIMIT_S,
    Incoming,
    WebSocket,
)


@define(eq=False)
class Scene:
    """A server's socket, and the peer at the other end."""

    clock: Clock = field(factory=Clock)
    transport: Any = field(factory=StringTransport)
    peer: Connection = field(factory=lambda: Connection(ConnectionType.CLIENT))
    socket: WebSocket = field(init=False)

    def __attrs_post_init__(self) -> None:
        machine = Connection(ConnectionType.SERVER)
        self.socket = WebSocket(self.clock, machine, 1000)
        self.socket.makeConnection(self.transport)

    def rounds(self, number: int) -> None:
        """Let time pass as it does for who is not busy."""
        for _ in range(number):
            self.clock.advance(PING_S)

    def heard(self) -> list[Any]:
        """Return what the peer has been sent since the last time."""
        self.peer.receive_data(self.transport.value())
        self.transport.clear()
        return list(self.peer.events())

    def says(self, event: Any) -> None:
        self.socket.dataReceived(self.peer.send(event))

    @property
    def cut(self) -> bool:
        return bool(self.transport.disconnected)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_quiet_peer_is_asked_and_cut(scene: Scene) -> None:
    """Three questions without an answer are the end; one answer is enough."""
    scene.rounds(QUIET_ROUNDS)
    (*asked,) = scene.heard()
    assert len(asked) == QUIET_ROUNDS
    assert all(isinstance(one, Ping) for one in asked)
    scene.says(TextMessage(data="here"))
    scene.rounds(QUIET_ROUNDS)
    assert not scene.cut
    scene.rounds(1)
    assert scene.cut


def test_who_was_busy_himself_cuts_nobody(scene: Scene) -> None:
    """Ten minutes in a blocking write (a pager) are no silence of the peer."""
    scene.clock.advance(600)
    scene.clock.advance(PING_S)
    assert not scene.cut


def test_slow_reader_has_ten_minutes(scene: Scene) -> None:
    """While it takes nothing it is not asked, and any progress counts."""
    scene.socket.pauseProducing()
    scene.rounds(STALLED_ROUNDS)
    assert (scene.heard(), scene.cut) == ([], False)
    scene.socket.resumeProducing()
    scene.socket.pauseProducing()
    scene.rounds(STALLED_ROUNDS)
    assert not scene.cut
    scene.rounds(1)
    assert scene.cut


def test_who_does_not_listen_hears_no_silence(scene: Scene) -> None:
    """A peer whose input waits is not cut, but asked: a dead one shows itself."""
    incoming = Incoming(scene.socket)
    incoming.pauseProducing()
    assert scene.transport.producerState == "paused"
    scene.rounds(100)
    assert (len(scene.heard()), scene.cut) == (100, False)
    incoming.resumeProducing()
    assert scene.transport.producerState == "producing"
    scene.rounds(QUIET_ROUNDS + 1)
    assert scene.cut


def test_end_of_who_took_input_lets_the_peer_speak(scene: Scene) -> None:
    """Its goodbye is behind what it has sent."""
    incoming = Incoming(scene.socket)
    incoming.pauseProducing()
    incoming.stopProducing()
    assert scene.transport.producerState == "producing"


@pytest.mark.parametrize("limit_s", [CLOSE_LIMIT_S, TAKE_LIMIT_S])
def test_goodbye_is_waited_for(scene: Scene, limit_s: float) -> None:
    """As long as it is said, and not for ever."""
    scene.socket.close(limit_s=limit_s)
    (goodbye,) = scene.heard()
    assert isinstance(goodbye, CloseConnection)
    scene.clock.advance(limit_s - 0.1)
    assert not scene.cut
    scene.clock.advance(0.2)
    assert scene.cut
