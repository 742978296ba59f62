"""The replica's side: one connection to an upstream, in use or idle.

An idle connection stays with the reactor: when the upstream closes it, or says
something that nobody asked for, it is closed before a request can go out on it.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final, Protocol

from mypy_extensions import mypyc_attr
from twisted.python.failure import Failure

from haloy.model.app import Address, UnixAddress
from haloy.proxy.descriptor import (
    BULK_READ_BYTES,
    Descriptor,
    Reactor,
)
from haloy.proxy.http2.reading import come_bytes
from haloy.proxy.keepalive import notice_death, notice_loss
from haloy.proxy.timer_wheel import TimerWheel

if TYPE_CHECKING:
    from haloy.proxy.pool import Pool

# As much is read at a time of an app that takes turns with others.
_FEW_BYTES: Final = 16384


@mypyc_attr(allow_interpreted_subclasses=True)
class User(Protocol):
    """Who uses a connection: the driver of one exchange, or a tunnel."""

    __slots__ = ()

    def upstream_connected(self) -> None:
        """Learn that the connection stands."""

    def upstream_refused(self, reason: str) -> None:
        """Learn that the connection did not come about."""

    def upstream_received(self, data: bytes) -> None:
        """Learn that bytes have come."""

    def upstream_readable(self) -> bool:
        """Take bytes by another way than C{upstream_received}, if there is one."""

    def upstream_ended(self) -> None:
        """Learn that the upstream will send nothing more."""

    def upstream_lost(self) -> None:
        """Learn that the connection broke."""

    def upstream_flushed(self) -> None:
        """Learn that all that was buffered is with the kernel."""

    def upstream_relieved(self) -> None:
        """Learn that the upstream takes bytes again."""


@mypyc_attr(allow_interpreted_subclasses=True)
class UpstreamConnection(Descriptor):
    """One connection to an upstream.

    @ivar user: who uses it, C{None} while it is idle.
    @ivar reused: it has carried an exchange before.
    @ivar bulk: it is inside of a large body with a length.
    @ivar read_bytes: how much is read at once; less where only a beginning is wanted.
    """

    __slots__ = (
        "bulk",
        "connected",
        "idle_since_s",
        "paid_s",
        "pool",
        "read_bytes",
        "reused",
        "user",
        "waits_to_read",
    )

    def __init__(self, reactor: Reactor, wheel: TimerWheel, pool: Pool) -> None:
        """Make a socket for C{pool}'s address.

        @raise OSError: no descriptor is left.
        """
        address = pool.address
        if isinstance(address, UnixAddress):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        super().__init__(reactor, wheel, connection)
        self.pool = pool
        self.user: User | None = None
        self.connected = False
        self.reused = False
        self.bulk = False
        self.read_bytes: int = BULK_READ_BYTES
        self.idle_since_s = 0.0
        # As L{haloy.proxy.http2.reading.Reader} says.
        self.paid_s = 0.0
        self.waits_to_read = False

    @property
    def spliceable(self) -> bool:
        """Whether the kernel may move its bytes: apps are reached plainly."""
        return True

    def open(self) -> str:
        """Begin to connect; return why it failed at once, or C{""}."""
        address = self.pool.address
        where: str | tuple[str, int]
        if isinstance(address, Address):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            notice_death(self.socket)
            where = (address.host, address.port)
        else:
            where = address.path
        try:
            code = self.socket.connect_ex(where)
        except OSError as error:
            code = error.errno or errno.EINVAL
        if code == 0:
            self.connected = True
            self.resume()
        elif code == errno.EINPROGRESS:
            # What is sent meanwhile waits as if the kernel had refused it.
            self.unsent = bytearray()
            self._start_writing()
        else:
            return errno.errorcode.get(code, str(code))
        return ""

    def notice_loss(self) -> None:
        """Give up an app that takes nothing: it is not one body that waits for it."""
        if isinstance(self.pool.address, Address):
            notice_loss(self.socket)

    def give_back(self, now_s: float) -> None:
        """Be idle in the pool after a whole exchange, unless it is broken."""
        self.user = None
        if self.broken:
            self.drop()
            return
        # It may have been paused for a slow client: the pool needs it awake.
        self.resume()
        self.reused = True
        self.pool.keep(self, now_s)

    def has_ended(self) -> bool:
        """Look whether the app has closed it; the reactor tells that a turn later."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    @property
    def peer(self) -> str:
        """The replica: all connections to it take their turn as one client."""
        return self.pool.key

    def doRead(self) -> None:
        """Read what has come, or have it wait for its turn."""
        turns = self.pool.turns
        if turns is None:
            self._read()
        elif not turns.full:
            began_s = turns.clock()
            self._read_few()
            turns.did(began_s, 1)
        elif not self.waits_to_read:
            turns.wait(self, come_bytes(self._fileno))

    def read_waiting(self) -> None:
        """Read some of what has come while others were read."""
        if self._reading and not self.gone:
            self._read_few()

    def _read_few(self) -> None:
        """Read no more than what others can wait for."""
        if self.read_bytes > _FEW_BYTES:
            self.read_bytes = _FEW_BYTES
        self._read()
        if self.read_bytes == _FEW_BYTES:
            self.read_bytes = BULK_READ_BYTES

    def _read(self) -> None:
        user = self.user
        if self.bulk and user is not None and user.upstream_readable():
            return
        try:
            data = self.socket.recv(self.read_bytes)
        except BlockingIOError:
            return
        except OSError:
            self.drop()
            return
        if user is not None and data:
            user.upstream_received(data)
        elif data:
            # Nobody may speak while nobody asked.
            self.drop()
        else:
            self.ended()

    def read_on(self, data: bytes) -> bytes:
        """Return C{data} and what has come behind it; an end shows itself later."""
        try:
            return data + self.socket.recv(BULK_READ_BYTES)
        except BlockingIOError:
            return data
        except OSError:
            self.was_reset = True
            return data

    def doWrite(self) -> None:
        """Take the outcome of the connect, then write what is buffered."""
        if not self.connected:
            code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._refused(errno.errorcode.get(code, str(code)))
                return
            if not self._has_peer():
                # A late event of a descriptor that had this number before.
                return
            self.connected = True
            self.resume()
            if self.user is not None:
                self.user.upstream_connected()
            if self.gone:
                return
        super().doWrite()

    def connectionLost(self, reason: Failure) -> None:
        """Take the reactor's word that the socket is dead, with its reason."""
        if self.connected or self.gone:
            self.drop()
            return
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._refused(errno.errorcode.get(code, str(code)))

    def ended(self) -> None:
        """Tell the user, or leave the pool."""
        if self.user is None or self.was_reset:
            self.drop()
        else:
            self.user.upstream_ended()

    def lost(self) -> None:
        """Tell the user, or leave the pool."""
        user = self.user
        if user is None:
            self.pool.forget(self, self.wheel.now_s)
            return
        self.user = None
        if self.connected:
            user.upstream_lost()
        else:
            user.upstream_refused("connection failed")

    def flushed(self) -> None:
        """Tell the user."""
        if self.user is not None:
            self.user.upstream_flushed()

    def relieved(self) -> None:
        """Tell the user."""
        if self.user is not None:
            self.user.upstream_relieved()

    def write_failed(self) -> None:
        """Go on reading: an answer may have come before the connection broke."""
        if not self.gone:
            self.resume()
            self.relieved()

    def discard(self) -> None:
        """Close without telling the user."""
        self.user = None
        self.drop()

    def _has_peer(self) -> bool:
        try:
            self.socket.getpeername()
        except OSError:
            return False
        return True

    def _refused(self, reason: str) -> None:
        user = self.user
        self.discard()
        if user is not None:
            user.upstream_refused(reason)
