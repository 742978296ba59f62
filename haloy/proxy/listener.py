"""Listening sockets: opening them, accepting, and what to do when nothing is left.

When no descriptor is left the listener pauses and tries again a little later: a
socket that stays readable and cannot be accepted would keep the reactor busy.
"""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Callable, Sequence
from typing import Final, cast

from twisted.internet.interfaces import IDelayedCall, IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from haloy.errors import Conflict, InvalidValue
from haloy.proxy.accepting import accept
from haloy.proxy.descriptor import Reactor
from haloy.proxy.forwarded import plain_address
from haloy.proxy.keepalive import notice_death, notice_loss

ACCEPT_BATCH: Final = 64
PAUSE_S: Final = 0.25
# So often nobody is looked for behind a connection, after one that came alone: asking
# costs as much as taking one. In a crowd so many turns more pass.
ALONE_TIMES: Final = 3
# How long another worker has to be first: some times what one needs to wake up.
GIVE_WAY_S: Final = 0.001
BACKLOG: Final = 4096

# Descriptors that clients never get: the API, files, Docker, upstreams.
RESERVE: Final = 64
_DESCRIPTORS_WANTED: Final = 262144

_NONE_LEFT: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

Listen = str | Sequence[socket.socket]


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of C{HOST:PORT}, C{[V6]:PORT} or C{:PORT}.

    An empty host is all addresses, IPv4 and IPv6.

    @raise InvalidValue: it is none of these.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise InvalidValue(f"{text!r} is not HOST:PORT", field="listen")
    return host.removeprefix("[").removesuffix("]"), int(port)


def open_sockets(listen: Listen) -> list[socket.socket]:
    """Return non-blocking listening sockets for C{listen}; none for C{""}.

    Sockets that are given are taken as they are, bound already.

    @raise InvalidValue: the address is malformed.
    @raise OSError: it cannot be bound.
    """
    if not isinstance(listen, str):
        for one in listen:
            one.setblocking(False)
            one.listen(BACKLOG)
        return list(listen)
    if not listen:
        return []
    host, port = parse_listen(listen)
    if host:
        return [_bind(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port)]
    try:
        return [_bind(socket.AF_INET6, "::", port, both=True)]
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return [_bind(socket.AF_INET, "0.0.0.0", port)]  # noqa: S104 - a public server


def _bind(
    family: socket.AddressFamily, host: str, port: int, *, both: bool = False
) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as problem:
        listening.close()
        if problem.errno in (errno.EADDRINUSE, errno.EACCES):
            raise _refused(host, port, problem) from problem
        raise
    return listening


def _refused(host: str, port: int, problem: OSError) -> Conflict:
    place = f"port {port} of {host}"
    if problem.errno == errno.EACCES:
        return Conflict(
            f"{place} may not be listened on: ports below 1024 need root or "
            "CAP_NET_BIND_SERVICE"
        )
    return Conflict(
        f"{place} is in use; find out by what with `ss -ltnp 'sport = :{port}'`, and "
        "stop that or choose another in haloyd.yaml under proxy:"
    )


@implementer(IReadWriteDescriptor)
class Listener:
    """Accepts from one socket and hands on what comes.

    C{take} gets the accepted non-blocking socket and the peer's IP literal.
    C{may_take} says whether there is room for one more; C{at_once} is how many are
    taken at a time. C{has_enough} says that another worker is to take what waits: it
    has a moment for that, and what it leaves is taken then.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        listening: socket.socket,
        take: Callable[[socket.socket, str], None],
        may_take: Callable[[], bool],
        at_once: int = ACCEPT_BATCH,
        has_enough: Callable[[], bool] = lambda: False,
    ) -> None:
        self._reactor = reactor
        self._socket = listening
        self._take = take
        self._may_take = may_take
        self._at_once = at_once
        self._has_enough = has_enough
        self._turn: IDelayedCall | None = None
        self._alone = 0
        self._stopped = False
        self._paused = False
        self._pauses = 0

    def start(self) -> None:
        """Begin to accept."""
        # What is accepted has them from here (Linux): six calls less for each.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        notice_death(self._socket)
        notice_loss(self._socket)
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Accept no more and close the socket."""
        self._stopped = True
        self._reactor.removeReader(self)
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._socket.close()

    @property
    def port(self) -> int:
        """The port that the socket is really bound to."""
        return int(self._socket.getsockname()[1])

    def fileno(self) -> int:
        """Return the descriptor's number, -1 when it is closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Return the name in the log."""
        return "proxy"

    def connectionLost(self, reason: Failure) -> None:
        """Do nothing: a listening socket has no connection."""

    def drop(self) -> None:
        """Do nothing: a fault in one turn is no reason to accept no more."""

    def doWrite(self) -> None:
        """Do nothing: a listening socket is not written to."""

    def doRead(self) -> None:
        """Accept what waits, or let another worker do it."""
        if self._has_enough():
            self._reactor.removeReader(self)
            turn = self._reactor.callLater(GIVE_WAY_S, self._take_turn)
            self._turn = cast(IDelayedCall, turn)
        else:
            self._accept()

    def _take_turn(self) -> None:
        self._turn = None
        self._reactor.addReader(self)
        self._accept()

    def _accept(self) -> None:
        """Accept a batch of what waits."""
        most = self._at_once
        if self._alone:
            self._alone -= 1
            most = 1
        for taken in range(most):
            if not self._may_take():
                self._pause("the limit of connections is reached")
                return
            try:
                connection, address = accept(self._socket)
            except OSError as error:
                if error.errno in _NONE_LEFT:
                    self._pause(str(error))
                elif taken == 1:
                    self._alone = ALONE_TIMES
                return
            try:
                self._take(connection, plain_address(address[0]))
            except Exception:
                # One client is lost; a reactor would watch the socket no more.
                self._log.failure("a connection could not be taken")
                connection.close()

    def _pause(self, reason: str) -> None:
        self._paused = True
        self._reactor.removeReader(self)
        if not self._pauses % round(1 / PAUSE_S):
            self._log.error("accepting pauses: {reason}", reason=reason)
        self._pauses += 1

    def tick(self) -> None:
        """Try again after a pause; called every L{PAUSE_S}."""
        if self._stopped:
            return
        if self._paused:
            self._paused = False
            self._reactor.addReader(self)
        else:
            self._pauses = 0


def room_for_connections() -> int:
    """Return how many clients may be connected: a client can need two descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < min(hard, _DESCRIPTORS_WANTED):
        soft = min(hard, _DESCRIPTORS_WANTED)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(16, (soft - RESERVE) // 2)
