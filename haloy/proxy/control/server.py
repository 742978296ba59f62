"""The control socket: who may connect, and in which version.

One haloyd at a time: a second one is refused while the first is connected.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from haloy.errors import ConfigError
from haloy.proxy.control.link import Link, ProxyRefused
from haloy.proxy.control.protocol import (
    PROTOCOL,
    Hello,
    Message,
    Packed,
    Welcome,
)
from haloy.proxy.control.release import RELEASE, version_problem
from haloy.proxy.privileges import may_control, peer_of

MODE = 0o660
BACKLOG = 16


def open_control(path: Path, group: int | None) -> socket.socket:
    """Return the listening socket at C{path}: 0660, of C{group} if there is one.

    @raise ConfigError: it cannot be made, or another proxy listens there.
    """
    if _in_use(path):
        raise ConfigError(f"another haloy-proxy listens on {path}")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(MODE)
        listening.listen(BACKLOG)
    except OSError as problem:
        listening.close()
        raise ConfigError(f"cannot listen on {path}: {problem.strerror}") from problem
    finally:
        os.umask(before)
    return listening


def _in_use(path: Path) -> bool:
    """Tell whether somebody listens there, also if they take nothing at present."""
    with socket.socket(
        socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    ) as one:
        try:
            one.connect(str(path))
        except BlockingIOError:  # EAGAIN: as many wait as may (unix(7))
            return True
        except OSError:
            return False
        return True


@implementer(IReadDescriptor)
class _Door:
    """Accepts from the control socket.

    Twisted's own port would set the mode of the file anew.
    """

    def __init__(
        self, listening: socket.socket, take: Callable[[socket.socket], None]
    ) -> None:
        self._listening = listening
        self._take = take

    def fileno(self) -> int:
        """Return the descriptor's number."""
        return self._listening.fileno()

    def logPrefix(self) -> str:
        """Return the name in the log."""
        return "control"

    def doRead(self) -> None:
        """Take one connection."""
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return
        connection.setblocking(False)
        with connection:
            self._take(connection)

    def connectionLost(self, reason: Failure) -> None:
        """Close."""
        self._listening.close()


class ControlServer:
    """Takes connections on the control socket and hands on what is said.

    C{answer} is called with every question of the haloyd that is connected, as a
    message and as it came, C{joined} when one is, C{left} when it is gone.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        listening: socket.socket,
        group: int | None,
        answer: Callable[[Message, Packed], Awaitable[Message]],
        joined: Callable[[], int],
        left: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._door = _Door(listening, self._take)
        self._group = group
        self._answer_it = answer
        self._joined = joined
        self._left = left
        self._links: set[Link] = set()
        self._haloyd: Link | None = None

    def start(self) -> None:
        """Take connections."""
        self._reactor.addReader(self._door)

    def stop(self) -> None:
        """Take no more, and end those that stand."""
        self._reactor.removeReader(self._door)
        self._door.connectionLost(Failure(ConnectionDone()))
        for link in tuple(self._links):
            link.abort()

    def tell(self, message: Message) -> None:
        """Send news to haloyd, if one is connected."""
        if self._haloyd is not None:
            self._haloyd.tell(message)

    def _take(self, connection: socket.socket) -> None:
        self._reactor.adoptStreamConnection(
            connection.fileno(), socket.AF_UNIX, Factory.forProtocol(self._link)
        )

    def _link(self) -> Link:
        return Link(
            self._reactor,
            self._answer,
            _ignore,
            self._ended,
            self._begun,
            at_once=True,
        )

    def _begun(self, link: Link) -> None:
        transport: Any = link.transport
        peer = peer_of(transport.getHandle())
        if not may_control(peer, os.geteuid(), self._group):
            self._log.warn(
                "process {pid} of user {uid} may not control the proxy",
                pid=peer.pid,
                uid=peer.uid,
            )
            link.abort()
            return
        self._links.add(link)

    def _ended(self, link: Link) -> None:
        self._links.discard(link)
        if link is self._haloyd:
            self._haloyd = None
            self._log.info("haloyd is away: what is served stays")
            self._left()

    async def _answer(self, link: Link, message: Message, came: Packed) -> Message:
        if link is self._haloyd:
            return await self._answer_it(message, came)
        if not isinstance(message, Hello):
            raise ProxyRefused("the first message must be a greeting")
        problem = version_problem(message)
        if not problem and self._haloyd is not None:
            problem = "another haloyd is connected"
        if problem:
            self._log.error("a haloyd is refused: {problem}", problem=problem)
            raise ProxyRefused(problem)
        self._haloyd = link
        self._log.info("haloyd {release} is connected", release=message.release)
        return Welcome(PROTOCOL, RELEASE, self._joined())


def _ignore(link: Link, message: Message) -> None:
    """Take no news from haloyd: it asks."""
