"""Where the API listens: loopback, and a unix socket for the proxy."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet import tcp, unix
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from haloy.api.body import Gate, make_site
from haloy.config.client_file import split_server
from haloy.errors import Conflict
from haloy.socket_file import SocketFile, make_way


class _FilePort(unix.Port):
    """A port that leaves its file to L{SocketFile}: it may be gone, or another's."""

    def connectionLost(self, reason: Failure) -> None:
        """Close."""
        tcp.Port.connectionLost(self, reason)


@define(eq=False)
class ApiListener:
    """Serves one resource in both places."""

    _reactor: Any
    _resource: Any
    _listen: str
    _socket: Path
    _gate: Gate | None = None
    _mode: int = 0o600
    _domain: str = ""
    _ports: list[IListeningPort] = field(factory=list, init=False)
    _site: Any = field(default=None, init=False)
    _file: SocketFile | None = field(default=None, init=False)
    _file_port: _FilePort | None = field(default=None, init=False)

    @property
    def port(self) -> int:
        """The loopback port that is bound."""
        host: Any = self._ports[0].getHost()
        return int(host.port)

    async def start(self) -> None:
        """Listen.

        @raise Conflict: the port is in use, or the unix socket cannot be made.
        """
        host, port = split_server(self._listen)
        served = {host.lower(), self._domain.lower()} - {""}
        site = make_site(self._resource, self._reactor, self._gate, served)
        kind = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
        endpoint = kind(self._reactor, port or 0, interface=host or "127.0.0.1")
        try:
            self._ports.append(await endpoint.listen(site))
        except CannotListenError as problem:
            raise Conflict(
                f"{self._listen} cannot be listened on ({problem.socketError}); stop "
                "what uses it, or choose another in haloyd.yaml under api: listen:"
            ) from problem
        self._site = site
        self._file = SocketFile(self._socket, self._listen_for_the_proxy)
        self._file.watch(self._reactor)

    def _listen_for_the_proxy(self) -> None:
        """Listen on the unix socket, anew if need be. @raise Conflict: we cannot."""
        port = _FilePort(
            os.fsencode(self._socket),
            self._site,
            mode=self._mode,
            reactor=self._reactor,
        )
        try:
            make_way(self._socket)
            port.startListening()
        except (OSError, CannotListenError) as problem:
            raise Conflict(
                f"{self._socket} cannot be listened on ({problem}): see to its folder"
            ) from problem
        if self._mode & 0o070:
            # For a proxy of another user: the folder says of which group it is.
            with suppress(PermissionError):
                os.chown(self._socket, -1, self._socket.parent.stat().st_gid)
        former, self._file_port = self._file_port, port
        if former is not None:
            former.stopListening()

    async def stop(self) -> None:
        """Listen no more."""
        if self._file is not None:
            self._file.remove()
        if self._file_port is not None:
            self._ports.append(self._file_port)
            self._file_port = None
        while self._ports:
            stopped: Any = self._ports.pop().stopListening()
            if stopped is not None:
                await stopped
