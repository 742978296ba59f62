"""The connections to one upstream: idle ones, those in use, and who waits for one.

Reuse is newest first, so that the rest can age out. Knows when nothing runs any
more, which is what a drain waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from haloy.model.app import Address, UnixAddress
from haloy.proxy.balance import Backoff
from haloy.proxy.upstream import UpstreamConnection

if TYPE_CHECKING:
    from haloy.proxy.http2.reading import ReadQueue
    from haloy.proxy.http2.trunk import Trunk

IDLE_LIMIT: Final = 128
IDLE_TIMEOUT_S: Final = 60.0
# For how long an app that does not speak HTTP/2 is not offered it again.
DECLINED_S: Final = 60.0
QUEUE_LIMIT: Final = 1024

# A request that must not arrive twice goes out on a pooled connection only if that
# was in use a moment ago: an upstream may be closing an older one right now.
FRESH_S: Final = 1.0
# For how long an upstream that does close one as soon as that gets none of them.
HASTY_S: Final = 60.0
# For how long one is read in turn whose answers take long to read.
TURNS_S: Final = 60.0


class Waiter(Protocol):
    """A request that waits for one of the connections in use."""

    def seek(self) -> None:
        """Try again: a connection has become free, or the upstream is gone."""


class Pool:
    """Connections to one upstream.

    @ivar outstanding: exchanges under way. C{tunnels}: upgraded connections.
    @ivar limit: how many exchanges may be under way. Tunnels do not count: they
        are mostly idle, and an app has as many as it has clients.
    @ivar ejected_until: monotonic seconds; it refused connections a moment ago.
    @ivar full_share_at: monotonic seconds; before, it gets less than its turn.
    @ivar h2c: it speaks HTTP/2 without TLS, on C{trunks}.
    @ivar declined_until: monotonic seconds; it was offered HTTP/2 for a call of gRPC
        a moment ago and does not speak it.
    @ivar hasty_until: monotonic seconds; it closed a connection just after an answer
        that did not say so, and may be closing others.
    @ivar turns: when its connections are read, C{None}: as soon as anything comes. What
        it answered a moment ago, in very small pieces, took long to read.
    @ivar retired: it is no longer in the table: nothing new goes there.
    """

    __slots__ = (
        "_backoff",
        "_turns_until_s",
        "address",
        "declined_until",
        "ejected_until",
        "full_share_at",
        "h2c",
        "hasty_until",
        "idle",
        "key",
        "limit",
        "on_quiet",
        "outstanding",
        "retired",
        "trunks",
        "tunnels",
        "turns",
        "waiting",
    )

    def __init__(self, key: str, address: Address | UnixAddress, limit: int) -> None:
        self.key = key
        self.address = address
        self.limit = limit
        self.idle: list[UpstreamConnection] = []
        self.waiting: dict[Waiter, None] = {}
        self.outstanding = 0
        self.tunnels = 0
        self.h2c = False
        self.declined_until = 0.0
        self.hasty_until = 0.0
        self.trunks: list[Trunk] = []
        self.ejected_until = 0.0
        self.full_share_at = 0.0
        self.turns: ReadQueue | None = None
        self._turns_until_s = 0.0
        self.retired = False
        self.on_quiet: list[Callable[[], None]] = []
        self._backoff = Backoff()

    @property
    def full(self) -> bool:
        """Whether as many exchanges as may be are under way."""
        return self.outstanding >= self.limit

    @property
    def idle_count(self) -> int:
        """How many connections nobody uses."""
        return len(self.idle)

    @property
    def waiting_count(self) -> int:
        """How many requests wait for one."""
        return len(self.waiting)

    def take_idle(self, now_s: float, *, fresh: bool) -> UpstreamConnection | None:
        """Return the newest idle connection.

        @param fresh: only one that was used just now, and that is open as far as is
            known: what goes there must not arrive twice.
        """
        idle = self.idle
        if not idle:
            return None
        if not fresh:
            return idle.pop()
        if now_s < self.hasty_until or now_s - idle[-1].idle_since_s > FRESH_S:
            return None
        newest = idle.pop()
        if not newest.has_ended():
            return newest
        self.closed_early(now_s)
        newest.drop()
        return None

    def began(self) -> None:
        """Count one exchange more."""
        self.outstanding += 1

    def finished(self) -> None:
        """Count one exchange less, and let the next waiting request try."""
        self.outstanding -= 1
        if self.waiting or self.on_quiet:
            self._freed()

    def tunnelled(self) -> None:
        """Count an exchange as a tunnel from now on."""
        self.outstanding -= 1
        self.tunnels += 1
        if self.on_quiet:
            self._tell()

    def tunnel_finished(self) -> None:
        """Count one tunnel less."""
        self.tunnels -= 1
        self._freed()

    def keep(self, connection: UpstreamConnection, now_s: float) -> None:
        """Take a connection back that can be used again; the oldest one may go."""
        if self.retired:
            connection.drop()
            return
        connection.idle_since_s = now_s
        self.idle.append(connection)
        if len(self.idle) > IDLE_LIMIT:
            self.idle.pop(0).drop()

    def forget(self, connection: UpstreamConnection, now_s: float) -> None:
        """Take out an idle connection that has died."""
        if connection in self.idle:
            self.idle.remove(connection)
            if now_s - connection.idle_since_s <= FRESH_S:
                self.closed_early(now_s)

    def closed_early(self, now_s: float) -> None:
        """Note that it closed a connection that it had just used."""
        self.hasty_until = now_s + HASTY_S

    def take_turns(self, turns: ReadQueue, now_s: float) -> None:
        """Have its connections read by C{turns} for a while."""
        self.turns = turns
        self._turns_until_s = now_s + TURNS_S

    def age(self, now_s: float) -> None:
        """Close what has been idle for too long."""
        if now_s > self._turns_until_s:
            self.turns = None
        idle = self.idle
        while idle and now_s - idle[0].idle_since_s > IDLE_TIMEOUT_S:
            idle.pop(0).drop()
        for trunk in tuple(self.trunks):
            trunk.age(now_s, IDLE_TIMEOUT_S)

    def close_idle(self) -> None:
        """Close all idle connections."""
        if self.idle:
            idle, self.idle = self.idle, []
            for connection in idle:
                connection.drop()
        if self.trunks:
            for trunk in tuple(self.trunks):
                trunk.close_if_idle()

    def move(self, address: Address | UnixAddress) -> None:
        """Use C{address} from now on."""
        former = self.address
        if address is not former and address != former:
            self.address = address
            self.close_idle()

    def retire(self) -> None:
        """Send nothing new there; who waits for it tries elsewhere."""
        self.retired = True
        self.close_idle()
        if self.waiting:
            waiting, self.waiting = self.waiting, {}
            for waiter in waiting:
                waiter.seek()

    def readmit(self) -> None:
        """Take new exchanges: it is in the table again."""
        self.retired = False

    def enqueue(self, waiter: Waiter) -> bool:
        """Let C{waiter} wait for a connection; false: too many do."""
        if len(self.waiting) >= QUEUE_LIMIT:
            return False
        self.waiting[waiter] = None
        return True

    def failed(self, now_s: float) -> None:
        """Leave it alone for a while: it did not take a connection."""
        self.ejected_until = now_s + self._backoff.after_failure()

    def declined(self, now_s: float) -> None:
        """Note that it does not speak HTTP/2; it is offered again after a while."""
        self.declined_until = now_s + DECLINED_S
        for trunk in tuple(self.trunks):
            trunk.close_if_idle()

    def answered(self) -> None:
        """Note that it took a connection."""
        if self.ejected_until:
            self.ejected_until = 0.0
            self._backoff.after_success()

    def _freed(self) -> None:
        while self.waiting and not self.full:
            waiter = next(iter(self.waiting))
            del self.waiting[waiter]
            waiter.seek()
        if self.on_quiet:
            self._tell()

    def _tell(self) -> None:
        for notify in tuple(self.on_quiet):
            notify()
