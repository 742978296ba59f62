"""One WebSocket connection, either side, on a connection that was HTTP.

wsproto decides, this moves bytes: messages are whole and bounded, a peer that is
silent is asked for a sign of life and cut when it gives none, and what is written
waits for room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from wsproto.connection import Connection
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError
from zope.interface import implementer

PING_S = 15.0
#: After so many rounds without a sign of life nobody is there.
QUIET_ROUNDS = 6
#: As long as the peer has to take what is on its way to it: it may be slow.
STALLED_ROUNDS = 40
CLOSE_LIMIT_S = 5.0
#: How long a peer may take for what was sent before the goodbye.
TAKE_LIMIT_S = 600.0


@implementer(IPushProducer, IHalfCloseableProtocol)
@define(eq=False, slots=False)
class WebSocket(Protocol):
    """Gives messages to C{on_message}, C{str} or C{bytes}; C{gone} fires at the end.

    @ivar _limit_bytes: a larger message closes the connection (code 1009).
    """

    _reactor: Any
    _machine: Connection
    _limit_bytes: int
    on_message: Callable[[str | bytes], None] = lambda _: None
    gone: Deferred[None] = field(factory=Deferred, init=False)
    open: bool = field(default=False, init=False)
    _parts: list[Any] = field(factory=list, init=False)
    _size: int = field(default=0, init=False)
    _room: Deferred[None] | None = field(default=None, init=False)
    _quiet: int = field(default=0, init=False)
    _deaf: bool = field(default=False, init=False)
    _alive: LoopingCall | None = field(default=None, init=False)

    def connectionMade(self) -> None:
        """Begin to listen for signs of life."""
        self.open = True
        transport: Any = self.transport
        transport.registerProducer(self, True)
        self._alive = LoopingCall(self._ping)
        self._alive.clock = self._reactor
        self._alive.start(PING_S, now=False)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes; what breaks the protocol closes the connection."""
        self._quiet = 0
        try:
            self._machine.receive_data(data)
            for one in self._machine.events():
                self._take(one)
        except RemoteProtocolError as problem:
            self.close(1002, str(problem)[:100])

    def _take(self, one: Event) -> None:
        if isinstance(one, Message):
            self._take_part(one)
        elif isinstance(one, Ping):
            if self.open:  # behind a goodbye there are no answers any more
                self._send(one.response())
        elif isinstance(one, CloseConnection):
            self._send(one.response())
            self._hang_up()

    def _take_part(self, one: Message[Any]) -> None:
        self._size += len(one.data)
        if self._size > self._limit_bytes:
            self.close(1009, "the message is too large")
            return
        self._parts.append(one.data)
        if one.message_finished and self.open:
            parts, self._parts, self._size = self._parts, [], 0
            empty: Any = "" if isinstance(one, TextMessage) else b""
            self.on_message(empty.join(parts))

    # --- sending -----------------------------------------------------------------

    async def send(self, message: str | bytes) -> None:
        """Send a message when there is room."""
        if self._room is not None:
            await self._room
        self.write(message)

    def write(self, message: str | bytes) -> None:
        """Send a message now; nothing when the connection is closed."""
        if self.open:
            if isinstance(message, str):
                self._send(TextMessage(data=message))
            else:
                self._send(BytesMessage(data=message))

    def close(
        self, code: int = 1000, reason: str = "", limit_s: float = CLOSE_LIMIT_S
    ) -> None:
        """Say goodbye, and wait for an answer before the connection is cut."""
        if not self.open:
            return
        self._send(CloseConnection(code=code, reason=reason))
        self.open = False
        self._parts, self._size = [], 0
        timer = self._reactor.callLater(limit_s, self._abort)
        self.gone.addBoth(lambda _: timer.cancel() if timer.active() else None)

    def _send(self, one: Event) -> None:
        transport: Any = self.transport
        try:
            transport.write(self._machine.send(one))
        except LocalProtocolError:
            self._hang_up()  # it is closed already

    def _hang_up(self) -> None:
        self.open = False
        transport: Any = self.transport
        transport.unregisterProducer()
        transport.loseConnection()

    def _abort(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()

    def _ping(self) -> None:
        """Count rounds, not seconds: who did not listen has heard nothing."""
        self._quiet += 0 if self._deaf else 1
        free = self.open and self._room is None
        if self._quiet > (QUIET_ROUNDS if free else STALLED_ROUNDS):
            self._abort()
        elif free:
            self._send(Ping())

    # --- the connection -------------------------------------------------------------

    def listen(self, wanted: bool) -> None:
        """Read from the peer or let it wait."""
        self._deaf, self._quiet = not wanted, 0
        transport: Any = self.transport
        if wanted:
            transport.resumeProducing()
        else:
            transport.pauseProducing()

    def pauseProducing(self) -> None:
        """Wait: the peer takes nothing for now."""
        if self._room is None:
            self._room = Deferred()

    def resumeProducing(self) -> None:
        """Go on."""
        self._quiet = 0
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def stopProducing(self) -> None:
        """Wait for nothing: the connection is gone."""
        self.resumeProducing()

    def readConnectionLost(self) -> None:
        """Hang up: a WebSocket has no half that goes on."""
        self._hang_up()

    def writeConnectionLost(self) -> None:
        """Go on reading until the peer is gone too."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell that it is over."""
        self.open = False
        if self._alive is not None and self._alive.running:
            self._alive.stop()
        self.resumeProducing()
        if not self.gone.called:
            self.gone.callback(None)


@implementer(IPushProducer)
@define(eq=False)
class Incoming:
    """What the peer of a WebSocket sends, for who cannot take it all at once."""

    _socket: WebSocket

    def pauseProducing(self) -> None:
        """Let the peer wait."""
        self._socket.listen(False)

    def resumeProducing(self) -> None:
        """Go on."""
        self._socket.listen(True)

    def stopProducing(self) -> None:
        """Go on: the goodbye is still to be heard."""
        self._socket.listen(True)
