"""One HTTP/2 connection to a replica, and the requests on it.

Each of them is a L{Branch} (L{haloy.proxy.http2.upstream}).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from haloy.proxy.http2 import frames
from haloy.proxy.http2.control import (
    ANSWER,
    BODY,
    END,
    FAILED,
    LEAVING,
    RESET,
    ROOM,
    Event,
)
from haloy.proxy.http2.engine import Engine
from haloy.proxy.http2.hpack import Field
from haloy.proxy.http2.reading import FEW, LITTLE_BYTES, come_bytes
from haloy.proxy.http2.sender import PROCESS_HIGH_BYTES
from haloy.proxy.http2.shedding import ROOM_BYTES
from haloy.proxy.upstream import UpstreamConnection, User

if TYPE_CHECKING:
    from haloy.proxy.http2.upstream import Branch
    from haloy.proxy.pool import Pool
    from haloy.proxy.switch import Switch


class TrunkConnection(UpstreamConnection):
    """The socket of a trunk, read when it is its turn.

    An app may say in a read what keeps us busy for 30 ms, in frames of one octet, and
    on as many connections as it wants us to have: it takes turns with clients, and all
    connections to one replica count as one of them.
    """

    __slots__ = ("_switch",)

    def __init__(self, switch: Switch, pool: Pool) -> None:
        super().__init__(switch.reactor, switch.wheel, pool)
        self._switch = switch

    def doRead(self) -> None:
        """Read, now or when it is its turn."""
        reading = self._switch.reading
        if not reading.full:
            self._read()
        elif not self.waits_to_read:
            reading.wait(self, come_bytes(self.fileno()))


class Trunk(User):
    """One connection to a replica, and the requests on it."""

    __slots__ = (
        "_blocked",
        "_busy_at_s",
        "_dirty",
        "_held_bytes",
        "_pool",
        "_switch",
        "_waiting",
        "connection",
        "engine",
    )

    def __init__(self, switch: Switch, pool: Pool) -> None:
        """Make a socket. @raise OSError: no descriptor is left."""
        self._switch = switch
        self._pool = pool
        self.connection = TrunkConnection(switch, pool)
        self.connection.user = self
        self.engine = Engine(client=True, now_s=switch.wheel.now_s)
        self._waiting: list[Branch] = []
        self._blocked: dict[Branch, None] = {}
        self._dirty = False
        self._held_bytes = 0
        # When something was seen to be under way here.
        self._busy_at_s = switch.wheel.now_s

    def open(self) -> str:
        """Begin to connect; return why it failed at once, or C{""}."""
        reason = self.connection.open()
        if not reason:
            self._pool.trunks.append(self)
            self.connection.notice_loss()
            self.mark()
        return reason

    @property
    def has_room(self) -> bool:
        """Whether one more request may go out here."""
        engine = self.engine
        return (
            not engine.leaving
            and not engine.failed
            and len(engine.streams) + len(self._waiting) < engine.peer_streams
        )

    @property
    def stands(self) -> bool:
        """Whether requests may go out: its SETTINGS have come.

        Before, nobody knows how many the app takes, nor whether it speaks HTTP/2; what
        it could take for HTTP/1.1 is the preface alone.
        """
        return self.connection.connected and self.engine.greeted

    @property
    def ready(self) -> bool:
        """Whether one more request may go out here at once, and its body."""
        connection = self.connection
        engine = self.engine
        return (
            connection.connected
            and not connection.congested
            and engine.greeted
            and not engine.leaving
            and not engine.failed
            and len(engine.streams) + len(self._waiting) < engine.peer_streams
        )

    def take(self, branch: Branch) -> None:
        """Send the request of C{branch} as soon as the connection stands."""
        if self.stands:
            branch.begin()
        else:
            self._waiting.append(branch)

    def forget(self, branch: Branch) -> None:
        """Take back a request; close where it was the last and nobody comes again."""
        self._blocked.pop(branch, None)
        if branch in self._waiting:
            self._waiting.remove(branch)
        if branch.stream is not None:
            self.engine.reset(branch.stream, frames.CANCEL)
            branch.stream.owner = None
            self.mark()
            self._count_held()
        self.left(self._pool)

    def left(self, pool: Pool) -> None:
        """Learn that a request has ended: close if it was the last one of all."""
        engine = self.engine
        if pool.retired or engine.leaving or not engine.peer_streams:
            self.close_if_idle()

    def close_if_idle(self) -> None:
        """Close if nothing is under way."""
        if not self.engine.streams and not self._waiting:
            self.close()

    def age(self, now_s: float, limit_s: float) -> None:
        """Close if nothing was under way for C{limit_s}; asked now and then."""
        if self.engine.streams or self._waiting:
            self._busy_at_s = now_s
        elif now_s - self._busy_at_s > limit_s:
            self.engine.shut_down(now=True)
            self.flush()
            self.close()

    def close(self) -> None:
        """Close now."""
        if self in self._pool.trunks:
            self._pool.trunks.remove(self)
        self.connection.discard()
        self._count_held()

    def block(self, branch: Branch) -> None:
        """Tell C{branch} when there is room again."""
        self._blocked[branch] = None

    def mark(self) -> None:
        """Flush at the end of this turn."""
        if not self._dirty and not self.connection.gone:
            self._dirty = True
            self._switch.turn.mark(self)

    def flush(self) -> None:
        """Write what has collected."""
        self._dirty = False
        self._count_held()
        if not self.connection.gone:
            self.connection.send(self.engine.take())

    def _count_held(self) -> None:
        """Count answers that clients have not taken with what waits in the process."""
        held_bytes = 0 if self.connection.gone else self.engine.held_bytes
        if held_bytes != self._held_bytes:
            self._switch.waits += held_bytes - self._held_bytes
            self._held_bytes = held_bytes

    def drop(self) -> None:
        """End now, with everything on it."""
        self.connection.drop()

    # What the connection says.

    def upstream_connected(self) -> None:
        """Wait for the app's SETTINGS."""

    def _begin(self) -> None:
        """Send what waits, as much as the app takes here."""
        waiting, self._waiting = self._waiting, []
        for branch in waiting:
            if self.has_room:
                branch.begin()
                branch.tell_connected()
            elif self.engine.streams:
                branch.move()
            else:
                branch.refused("takes no requests")

    def upstream_refused(self, reason: str) -> None:
        """Let the requests try elsewhere."""
        self.close()
        waiting, self._waiting = self._waiting, []
        for branch in waiting:
            branch.refused(reason)

    def upstream_received(self, data: bytes) -> None:
        """Act on what has come."""
        engine = self.engine
        switch = self._switch
        waits = switch.waits
        if waits > ROOM_BYTES:
            switch.shedding.make_room()
            if self.connection.gone:
                return
        engine.may_grow = waits < PROCESS_HIGH_BYTES
        reading = switch.reading
        began_s = reading.clock() if len(data) > LITTLE_BYTES else 0.0
        events = engine.receive(data, switch.wheel.now_s)
        for event in events:
            self._act(event)
        if began_s or len(events) > FEW:
            reading.did(began_s, len(events))
        self._count_held()
        if self._waiting and self.stands and not engine.failed:
            self._begin()
        if engine.queued_bytes:
            self.mark()

    def upstream_readable(self) -> bool:
        """Take bytes in the usual way only."""
        return False

    def upstream_ended(self) -> None:
        """End everything: the replica has closed."""
        self.close()
        self._lose()

    def upstream_lost(self) -> None:
        """End everything."""
        self.close()
        self._lose()

    def upstream_flushed(self) -> None:
        """Let bodies go on."""
        self._room()

    def upstream_relieved(self) -> None:
        """Let bodies go on."""
        self._room()

    def _act(self, event: Event) -> None:
        kind, stream, what = event
        # A Branch, or a GrpcFastCall; of the connection's own business nobody.
        branch: Any = stream.owner
        if kind == ROOM:
            self._room()
        elif branch is None:
            self._act_alone(event)
        elif kind == ANSWER:
            # With its type: compiled, what has none is taken apart by its iterator.
            answer: tuple[list[Field], bytes, list[Field]] = what
            branch.answered(answer[0], answer[1], answer[2])
        elif kind == BODY:
            branch.body_came()
        elif kind == END:
            branch.ended_by_peer(what)
        elif kind == RESET:
            branch.lost_by_peer(what)
        else:
            branch.head_came(what)

    def _act_alone(self, event: Event) -> None:
        """Act on what concerns no request, or one that nobody waits for."""
        kind, stream, _ = event
        if kind == BODY:
            self.engine.credit(stream, len(self.engine.take_body(stream)))
        elif kind == FAILED:
            self.flush()
            self.upstream_lost()
        elif kind == LEAVING:
            if self in self._pool.trunks:
                self._pool.trunks.remove(self)
            self.close_if_idle()

    def _room(self) -> None:
        if not self._blocked:
            return
        blocked, self._blocked = self._blocked, {}
        for branch in blocked:
            branch.pump()

    def _lose(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting and not self._pool.h2c:
            self._pool.declined(self._switch.wheel.now_s)
        for branch in waiting:
            branch.refused("does not speak HTTP/2")
        for stream in tuple(self.engine.streams.values()):
            owner, stream.owner = stream.owner, None
            if owner is not None:
                owner.lost_by_peer(frames.CANCEL)
        self.engine.streams.clear()
