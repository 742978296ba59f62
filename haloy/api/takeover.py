"""Taking a request's connection away from twisted.web: it is no HTTP any more."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure


def take_connection(request: Any, protocol: Protocol, answer: bytes) -> bytes:
    """Let C{protocol} have the connection of C{request}, after C{answer}.

    Nothing is read until somebody calls C{resumeProducing} of its transport.

    @return: what the client sent behind its request; nobody has read it.
    """
    channel = request.channel
    transport = channel.transport
    channel.setTimeout(None)
    transport.unregisterProducer()
    early = b"".join(channel._dataBuffer)
    channel.transport = None
    transport.protocol = protocol
    protocol.makeConnection(transport)
    transport.write(answer)
    return early


async def leave_http(request: Any, reactor: Any) -> None:
    """End twisted.web's part of a connection that was taken; does not return.

    Klein cancels what is under way for a request whose connection is lost, so this
    is the last that a route does.
    """
    reactor.callLater(0, request.connectionLost, Failure(ConnectionDone()))
    await Deferred()
