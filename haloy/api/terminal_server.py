"""Interactive commands: a WebSocket on one side, a session of the engine on the other.

The command ends when its client leaves; its output waits while the client does not
take it, its input while the command does not.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import h11
from attrs import define, field
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection
from wsproto.events import AcceptConnection
from wsproto.utilities import ProtocolError

from haloy.api.answers import told
from haloy.api.asked import choose_containers
from haloy.api.execution import STOPPED
from haloy.api.gatekeeper import Lease
from haloy.api.takeover import leave_http, take_connection
from haloy.api.terminal import (
    MESSAGE_LIMIT_BYTES,
    STOPPED_CODE,
    Asked,
    EndOfInput,
    Exited,
    Refused,
    Resize,
    Start,
    Started,
    decode_asked,
    encode_told,
)
from haloy.api.websocket import TAKE_LIMIT_S, Incoming, WebSocket
from haloy.engine.interface import Engine, Output, Session, Stream, TerminalSize
from haloy.errors import HaloyError, InvalidValue, TooMany
from haloy.tasks import Tasks

TERMINALS_LIMIT = 64
START_LIMIT_S = 30.0
_HANDSHAKE = frozenset({b"connection", b"upgrade"})
_PREFIX = {Stream.OUT: b"\x01", Stream.ERR: b"\x02"}

#: Given a command, writes down that it is begun.
Audited = Callable[[tuple[str, ...]], AbstractAsyncContextManager[None]]

_log = Logger()


@define(eq=False)
class Terminal:
    """One client at one command."""

    _engine: Engine
    _reactor: Any
    _running: list[str]
    _socket: WebSocket
    _audited: Audited
    _session: Session | None = field(default=None, init=False)
    _input_ended: bool = field(default=False, init=False)
    _begun: Deferred[Start] = field(factory=Deferred, init=False)
    _tasks: Tasks = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Listen to the client."""
        self._tasks = Tasks(_log)
        self._socket.on_message = self._take

    async def serve(self) -> None:
        """Run what the client asks for, to its end or the client's."""
        work = Deferred.fromCoroutine(self._work())
        self._socket.gone.addBoth(lambda _: work.cancel())
        try:
            await work
        except CancelledError:  # by a client that is gone, who hears nothing, or by us
            self._end(Refused(STOPPED_CODE, STOPPED))
        except defer.TimeoutError:
            self._end(Refused("invalid", "no start came"))
        except HaloyError as problem:
            self._end(Refused(problem.code, told(problem)))
        except Exception:  # nobody above could answer any more
            self._end_by_mistake()
        finally:
            self._tasks.cancel()

    async def _work(self) -> None:
        self._begun.addTimeout(START_LIMIT_S, self._reactor)
        start = await self._begun
        async with self._audited(start.command):
            (chosen,) = choose_containers(
                self._running, start.container, everything=False
            )
            size = TerminalSize(start.columns, start.rows) if start.tty else None
            self._session = await self._engine.session(chosen, start.command, size)
        self._session.paused_by(Incoming(self._socket))
        self._socket.write(encode_told(Started(chosen)))
        code = await self._session.run(self._output)
        self._socket.write(encode_told(Exited(code)))
        self._socket.close(limit_s=TAKE_LIMIT_S)

    async def _output(self, output: Output) -> None:
        data = output.data
        for at in range(0, len(data), MESSAGE_LIMIT_BYTES // 2):
            piece = data[at : at + MESSAGE_LIMIT_BYTES // 2]
            await self._socket.send(_PREFIX[output.stream] + piece)

    def _end(self, why: Refused, code: int = 1011) -> None:
        self._socket.write(encode_told(why))
        self._socket.close(code)

    def _end_by_mistake(self) -> None:
        _log.failure("a terminal failed")
        self._end(Refused("bug", "haloyd made a mistake; its log says more"))

    def _take(self, message: str | bytes) -> None:
        try:
            if isinstance(message, bytes):
                self._input(message)
            else:
                self._asked(decode_asked(message))
        except HaloyError as problem:
            self._end(Refused(problem.code, told(problem)), 1008)
        except Exception:  # Twisted would cut the connection without a word
            self._end_by_mistake()

    def _input(self, data: bytes) -> None:
        if self._session is None:
            raise InvalidValue("input comes after started", field="message")
        if self._input_ended:
            raise InvalidValue("input comes before its end", field="message")
        self._session.write(data)

    def _asked(self, message: Asked) -> None:
        session = self._session
        if isinstance(message, Start):
            if self._begun.called:
                raise InvalidValue("a command was started already", field="type")
            self._begun.callback(message)
        elif session is None:
            raise InvalidValue("the first message is start", field="type")
        elif not isinstance(message, EndOfInput):
            self._tasks.start("resizing a terminal", _resize(session, message))
        elif not self._input_ended:
            self._input_ended = True
            session.end_input()


async def _resize(session: Session, message: Resize) -> None:
    try:
        await session.resize(TerminalSize(message.columns, message.rows))
    except HaloyError as problem:  # the command has just ended
        _log.debug("{problem}", problem=str(problem))


@define(eq=False)
class Terminals:
    """Opens terminals, so many at a time."""

    _engine: Engine
    _reactor: Any
    _open: int = field(default=0, init=False)
    _serving: Tasks = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Serve nobody yet."""
        self._serving = Tasks(_log)

    async def stop(self) -> None:
        """End all commands; return when they are killed."""
        await self._serving.stop()

    async def open(
        self, request: Any, running: list[str], lease: Lease, audited: Audited
    ) -> None:
        """Serve a terminal on the connection of C{request}, which is a WebSocket then.

        @param running: the containers it may be for.
        @param audited: writes down that a command was begun.
        @raise InvalidValue: it is no WebSocket request.
        """
        if self._open >= TERMINALS_LIMIT:
            raise TooMany("too many terminals are open", retry_after_s=5)
        connection, answer = _accepted(request)
        socket = WebSocket(self._reactor, connection, MESSAGE_LIMIT_BYTES)
        terminal = Terminal(self._engine, self._reactor, running, socket, audited)
        self._open += 1
        forget = lease(lambda: socket.close(1008, "the token is not valid any more"))
        try:
            early = take_connection(request, socket, answer)
            serving = self._serving.start("a terminal", terminal.serve())
            if early:
                socket.dataReceived(early)
            transport: Any = socket.transport
            transport.resumeProducing()
            await serving
            await socket.gone
        finally:
            self._open -= 1
            forget()
        await leave_http(request, self._reactor)


def _accepted(request: Any) -> tuple[Connection, bytes]:
    """Return the machine of a WebSocket, and the bytes that open it."""
    machine = WSConnection(ConnectionType.SERVER)
    headers = [
        (name, value)
        for name, values in request.requestHeaders.getAllRawHeaders()
        for value in values
        if name.lower() in _HANDSHAKE or name.lower().startswith(b"sec-websocket-")
    ]
    try:
        machine.initiate_upgrade_connection([(b"Host", b"haloyd"), *headers], b"/")
        for _ in machine.events():
            pass
        answer = machine.send(AcceptConnection())
    except (ProtocolError, h11.ProtocolError):
        raise InvalidValue("needs a WebSocket connection", field="Upgrade") from None
    if machine.connection is None:
        raise InvalidValue("needs a WebSocket connection", field="Upgrade")
    return machine.connection, answer
