"""The control socket: who may connect, and in which version.

One haloyd at a time: a second one is refused while the first is connected.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.protocol import Factory
from twisted.logger import Logger

from haloy.proxy.control.door import Door
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


class ControlServer:
    """Takes connections on the control socket and hands on what is said.

    C{answer} is called with every question of the haloyd that is connected, C{heard}
    with its news, both as a message and as it came; C{joined} when one is, C{left} when
    it is gone.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        door: Door,
        group: int | None,
        answer: Callable[[Message, Packed], Awaitable[Message]],
        heard: Callable[[Message, Packed], None],
        joined: Callable[[], int],
        left: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._door = door
        self._group = group
        self._answer_it = answer
        self._heard_it = heard
        self._joined = joined
        self._left = left
        self._links: set[Link] = set()
        self._haloyd: Link | None = None

    def start(self) -> None:
        """Take connections."""
        self._door.open(self._reactor, self._take)

    def stop(self) -> None:
        """Take no more, and end those that stand."""
        self._door.close()
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
            self._heard,
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

    def _heard(self, link: Link, message: Message, came: Packed) -> None:
        if link is self._haloyd:
            self._heard_it(message, came)

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
