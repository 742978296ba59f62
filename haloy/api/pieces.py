"""The body of an answer, as its pieces arrive."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from haloy.errors import ServerUnreachable


@define(eq=False, slots=False)
class Pieces(Protocol):
    """A response's body as a queue; reading stops while nobody takes."""

    _pieces: list[bytes] = field(factory=list, init=False)
    _end: Failure | None = field(default=None, init=False)
    _wanted: Deferred[None] | None = field(default=None, init=False)

    def dataReceived(self, data: bytes) -> None:
        """Keep a piece."""
        self._pieces.append(data)
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Remember the end."""
        self._end = reason
        self._wake()

    async def read(self) -> bytes:
        """Return the next piece, C{b""} at the end. @raise ServerUnreachable: cut."""
        while not self._pieces:
            if self._end is not None:
                if self._end.check(ResponseDone, PotentialDataLoss):
                    return b""
                raise ServerUnreachable("the connection broke off")
            self._wanted = Deferred()
            await self._wanted
        return self._pieces.pop(0)

    def close(self) -> None:
        """Want nothing more."""
        transport: Any = self.transport
        if self._end is None and transport is not None:
            transport.loseConnection()

    def _wake(self) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None and not wanted.called:
            wanted.callback(None)


async def whole(response: Any) -> bytes:
    """Return all of a response's body. @raise ServerUnreachable: it broke off."""
    body = Pieces()
    response.deliverBody(body)
    pieces = []
    while piece := await body.read():
        pieces.append(piece)
    return b"".join(pieces)
