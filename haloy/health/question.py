"""One request on a socket of its own, from the connect to the status of the answer.

Every replica is asked every few seconds for ever, so this is no client of a library
but the few calls that it takes: connect, send, receive, close. The request is sent
right behind the connect: to a container on this machine the connection stands by then,
and there is nothing to wait for but the answer.
"""

from __future__ import annotations

import os
import socket
import struct
from errno import EINPROGRESS
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from haloy.health.answer import NO_ANSWER, StatusReader
from haloy.model.app import Address

_READ_BYTES: Final = 4096
_KIND: Final = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
#: A close that ends the connection at once, whatever the app is still sending.
_AT_ONCE: Final = struct.pack("ii", 1, 0)


class NotConnected(Exception):
    """No connection stands; the text says why, for a person."""


class Question:
    """Asks an app; a descriptor on the reactor until that is settled.

    @ivar status: fires with the status, or with what L{haloy.health.answer} has for
        none, and never before L{ask} has returned. Fails with L{NotConnected}, or with
        C{TimeoutError} where a connection stands and no answer comes.
    """

    __slots__ = (
        "_connected",
        "_reactor",
        "_reader",
        "_socket",
        "_timer",
        "_unsent",
        "status",
    )

    def __init__(self, reactor: Any, request: bytes) -> None:
        self._reactor = reactor
        self._unsent = request
        self._reader = StatusReader()
        self._socket: socket.socket | None = None
        self._connected = False
        self._timer: Any = None
        self.status: Deferred[int] = Deferred(lambda _: self._close())

    def ask(self, address: Address, timeout_s: float) -> None:
        """Connect and send; C{timeout_s} is for all of it."""
        try:
            self._connect(address)
        except OSError as problem:
            # Later: who asks hundreds of apps would be called back in between.
            self._timer = self._reactor.callLater(0, self._fail, problem)
        else:
            self._timer = self._reactor.callLater(timeout_s, self._late)

    def _connect(self, address: Address) -> None:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._socket = socket.socket(family, _KIND)
        code = self._socket.connect_ex((address.host, address.port))
        if code not in (0, EINPROGRESS):
            raise OSError(code, os.strerror(code))
        try:
            self._send(self._socket)
        except BlockingIOError:
            self._reactor.addWriter(self)

    def _send(self, connection: socket.socket) -> None:
        self._unsent = self._unsent[connection.send(self._unsent) :]
        self._connected = True
        if self._unsent:
            self._reactor.addWriter(self)
            return
        self._reactor.removeWriter(self)
        self._reactor.addReader(self)

    # --- what the reactor calls -------------------------------------------------

    def fileno(self) -> int:
        """Return the descriptor's number, -1 when it is closed."""
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        """Return the name in the log."""
        return "health"

    def doWrite(self) -> None:
        """Send: the connection stands, or will never."""
        if self._socket is None:
            return
        try:
            self._send(self._socket)
        except BlockingIOError:
            return
        except OSError as problem:
            self._fail(problem)

    def doRead(self) -> None:
        """Look for the status in what has come."""
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as problem:
            self._fail(problem)
            return
        status = self._reader.feed(data) if data else NO_ANSWER
        if status is not None:
            self._close()
            self.status.callback(status)

    def connectionLost(self, reason: Failure) -> None:
        """Take the reactor's word that the socket is dead; it knows why."""
        if self._socket is not None:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._fail(OSError(code, os.strerror(code)))

    # --- ends -------------------------------------------------------------------

    def _late(self) -> None:
        self._close()
        late = TimeoutError() if self._connected else NotConnected("timed out")
        self.status.errback(late)

    def _fail(self, problem: OSError) -> None:
        self._close()
        if self._connected:
            self.status.callback(NO_ANSWER)
        else:
            self.status.errback(NotConnected(problem.strerror))

    def _close(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        connection = self._socket
        if connection is not None:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self._socket = None
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            connection.close()
