"""The client's side of an interactive command."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from wsproto.connection import Connection, ConnectionType
from wsproto.utilities import generate_accept_token

from haloy.api.terminal import (
    MESSAGE_LIMIT_BYTES,
    STOPPED_CODE,
    STREAMS,
    EndOfInput,
    Exited,
    Refused,
    Resize,
    Start,
    Started,
    decode_told,
    encode_asked,
)
from haloy.api.transport import Transport
from haloy.api.websocket import WebSocket
from haloy.errors import HaloyError, InvalidValue, ServerUnreachable

INPUT_BYTES = 64 * 1024
#: A message has at most this many bytes: output and the byte before it.
_LIMIT = MESSAGE_LIMIT_BYTES + 1


@define(eq=False)
class TerminalClient:
    """One command of one client; give input once it has C{started}.

    @ivar _output: called with C{stdout} or C{stderr} and bytes.
    @ivar started: fires when the command runs.
    """

    _socket: WebSocket
    _output: Callable[[str, bytes], None]
    started: Deferred[None] = field(factory=Deferred, init=False)
    _end: Exited | HaloyError | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Listen to the server."""
        self._socket.on_message = self._take

    async def write(self, data: bytes) -> None:
        """Send input when there is room."""
        for at in range(0, len(data), INPUT_BYTES):
            await self._socket.send(data[at : at + INPUT_BYTES])

    def end_input(self) -> None:
        """Say that no more input comes."""
        self._socket.write(encode_asked(EndOfInput()))

    def resize(self, columns: int, rows: int) -> None:
        """Say how large the terminal is now."""
        self._socket.write(encode_asked(Resize(columns, rows)))

    def hold(self) -> None:
        """Take no more output for now; the command waits."""
        self._socket.listen(False)

    def go_on(self) -> None:
        """Take output again."""
        self._socket.listen(True)

    def close(self) -> None:
        """Leave; the command is killed."""
        self._socket.close()

    async def result(self) -> int:
        """Return the exit code when the command has ended.

        Cancelling leaves. @raise HaloyError: it could not be run.
        """
        try:
            await self._socket.gone
        finally:
            self._socket.close()
        if isinstance(self._end, Exited):
            return self._end.code
        if self._end is not None:
            raise self._end
        raise ServerUnreachable(
            "the connection broke off; the command is killed on the server, "
            "unless haloyd itself was killed there"
        )

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            name = STREAMS.get(message[0] if message else 0)
            if name is not None:
                self._output(name, message[1:])
            return
        try:
            told = decode_told(message)
        except InvalidValue:
            return  # a newer server's
        if isinstance(told, Started):
            self._begin()
        elif isinstance(told, Exited):
            self._end = told
        elif isinstance(told, Refused):
            stopped = told.code == STOPPED_CODE
            self._end = (ServerUnreachable if stopped else HaloyError)(told.reason)

    def _begin(self) -> None:
        if not self.started.called:
            self.started.callback(None)


async def open_terminal(
    reactor: Any,
    transport: Transport,
    path: str,
    start: Start,
    output: Callable[[str, bytes], None],
) -> TerminalClient:
    """Return a terminal whose command is being started.

    @raise HaloyError: the server refuses, in its words.
    """
    key = base64.b64encode(secrets.token_bytes(16))
    fields = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key.decode(),
    }
    socket = WebSocket(reactor, Connection(ConnectionType.CLIENT), _LIMIT)
    terminal = TerminalClient(socket, output)
    head = await transport.upgrade("GET", path, fields, socket)
    if generate_accept_token(key) not in head:
        terminal.close()
        raise ServerUnreachable("the server does not answer as a WebSocket")
    socket.write(encode_asked(start))
    return terminal
