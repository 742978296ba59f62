"""The client's side with HTTP/2: one connection, many requests at a time.

Takes over when the handshake has chosen C{h2}. The engine says what the bytes mean,
a L{StreamClient} stands for each request, and everything written in a turn of the
reactor goes out at its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from haloy.proxy.connection import (
    CLOSING,
    GONE,
    LINGERING,
    READING,
    ClientConnection,
)
from haloy.proxy.http2 import budget, fast_path, frames, grpc_fast_path
from haloy.proxy.http2.control import (
    BODY,
    CALL,
    END,
    ENDED_REQUEST,
    FAILED,
    RESET,
    ROOM,
    Event,
)
from haloy.proxy.http2.decoder import HeaderList
from haloy.proxy.http2.engine import Engine
from haloy.proxy.http2.multiplexed import (
    DEAF_BYTES,
    OUT_BYTES,
    QUANTUM_BYTES,
    Multiplexed,
)
from haloy.proxy.http2.outgoing import Outgoing
from haloy.proxy.http2.reading import FEW, LITTLE_BYTES
from haloy.proxy.http2.sender import PROCESS_FULL_BYTES, PROCESS_HIGH_BYTES
from haloy.proxy.http2.shedding import ROOM_BYTES, Held
from haloy.proxy.http2.stream import StreamClient
from haloy.proxy.http2.stream_state import Stream
from haloy.proxy.timer_wheel import STALLED_S
from haloy.proxy.tls.intake import Intake

# How often a connection is looked at, and what is looked for.
WATCH_S: Final = 5.0
GREETING_S: Final = 10.0
BLOCK_S: Final = 10.0
IDLE_S: Final = 180.0
GOODBYE_S: Final = 1.0

# When memory is short, who holds more than this begins nothing; others are served.
_SHARE_BYTES: Final = 65536

# How often the kernel is given more in one turn: others wait meanwhile.
_ROUNDS: Final = 4


class Http2Downstream(Multiplexed):
    """One client connection with HTTP/2.

    @ivar waits: bytes of answers that wait in all its streams.
    """

    __slots__ = (
        "_block_since_s",
        "_blocked",
        "_dirty",
        "_held_bytes",
        "_moved_at_s",
        "_output",
        "_quiet_since_s",
        "_started_s",
        "engine",
        "waits",
    )

    def __init__(self, before: ClientConnection) -> None:
        """Take over the socket of C{before}, whose handshake is done."""
        connection = before.surrender()
        super().__init__(
            before.switch, connection, before.origin.peer, secure=before.origin.secure
        )
        self.tls = before.tls
        self.origin = before.origin
        self.origin.protocol = "HTTP/2.0"
        now_s = self.wheel.now_s
        limit = self.switch.http2_requests_limit
        self.engine = Engine(client=False, now_s=now_s, requests_limit=limit)
        self.waits = 0
        # Who may write, in turn, and who waits for the client to open a window.
        self._output: dict[Outgoing, None] = {}
        self._blocked: dict[Outgoing, None] = {}
        self._dirty = False
        self._held_bytes = 0
        self._started_s = now_s
        self._quiet_since_s = now_s
        self._moved_at_s = now_s
        self._block_since_s = 0.0

    def start(self) -> None:
        """Greet, and begin to read."""
        self.wheel.arm(self, WATCH_S)
        self.resume()
        self.mark()

    def move_bulk(self) -> bool:
        """Never move anything past the engine."""
        return False

    def lent(self, intake: Intake, size: int) -> None:
        """As L{received}, of what is in C{intake} for now."""
        self.received(intake.lend(self.engine.take_held(), size))
        self.engine.keep_lent()

    def received(self, data: bytes | memoryview) -> None:
        """Let the engine read, then act on what has happened."""
        waits = self.switch.waits
        if waits > ROOM_BYTES:
            self.switch.shedding.make_room()
        if self.state != READING:
            return
        engine = self.engine
        engine.may_grow = waits < PROCESS_HIGH_BYTES
        reading = self.switch.reading
        began_s = reading.clock() if len(data) > LITTLE_BYTES else 0.0
        events = engine.receive(data, self.wheel.now_s)
        for event in events:
            self._act(event)
        if began_s or len(events) > FEW:
            reading.did(began_s, len(events))
        self.count_held()
        if engine.queued_bytes or self._output or engine.leaving:
            self.mark()

    def count_held(self) -> None:
        """Count what waits here with what waits in the process.

        Bodies that apps have not taken, and what the kernel has not.
        """
        held_bytes = 0
        if not self.gone:
            held_bytes = self.engine.held_bytes + len(self.unsent or b"")
        if held_bytes != self._held_bytes:
            self.switch.waits += held_bytes - self._held_bytes
            self._held_bytes = held_bytes

    def stalling(self) -> Iterator[Held]:
        """Return what each request holds, and what waits for the kernel."""
        if self.unsent:
            due_s = self._moved_at_s + STALLED_S
            yield Held(due_s, len(self.unsent), self.drop)
        for stream in self.engine.streams.values():
            client = stream.owner
            if isinstance(client, StreamClient) and (size := client.held_bytes):
                yield Held(client.due_s, size, client.give_up)

    def _act(self, event: Event) -> None:
        kind, stream, what = event
        if kind <= CALL:
            if self.engine.streams.get(stream.id) is stream:
                self._request(stream, what, kind)
        elif kind == ROOM:
            self._room(stream)
        elif kind == FAILED:
            self._failed()
        elif stream.owner is None:
            return
        elif kind == BODY:
            stream.owner.body_came()
        elif kind == END:
            stream.owner.body_ended(what)
        elif kind == RESET:
            stream.owner.lost()

    def _room(self, stream: Stream) -> None:
        blocked = self._blocked
        if not stream.id:
            self._output.update(blocked)
            blocked.clear()
        elif stream.owner in blocked:
            del blocked[stream.owner]
            self._output[stream.owner] = None

    def _request(self, stream: Stream, fields: HeaderList | None, kind: int) -> None:
        if (
            self.switch.waits > PROCESS_FULL_BYTES
            and self.waits + self._held_bytes > _SHARE_BYTES
        ):
            self.engine.reset(stream, frames.REFUSED_STREAM)
            return
        if fields is not None:
            if kind == ENDED_REQUEST:
                if fast_path.take(self, stream, fields):
                    return
            elif grpc_fast_path.take(self, stream, fields, whole=kind == CALL):
                return
        client = stream.owner = StreamClient(self, stream)
        client.take(fields, kind)

    def ended(self) -> None:
        """End: an HTTP/2 client that sends nothing more takes nothing either."""
        self.drop()

    def lost(self) -> None:
        """Tell the streams, and be forgotten."""
        self.state = GONE
        self.switch.forget(self)
        self._lose_streams()
        self.count_held()

    def _lose_streams(self) -> None:
        for stream in tuple(self.engine.streams.values()):
            owner, stream.owner = stream.owner, None
            if owner is not None:
                owner.lost()
        self.engine.streams.clear()

    def forget_driver(self) -> None:
        """Let no stream go on: the connection ends."""
        self._lose_streams()

    def progressed(self) -> None:
        """Note that the client has taken something."""
        self._moved_at_s = self.wheel.now_s
        self.count_held()

    def relieved(self) -> None:
        """Write on: little is left with us."""
        if self.state == READING:
            self.resume()
            self.mark()

    def flushed(self) -> None:
        """Write on, or close."""
        self.count_held()
        if self.state == CLOSING:
            self._linger()
        else:
            self.relieved()

    # Writing.

    def mark(self) -> None:
        """Flush at the end of this turn."""
        if not self._dirty and not self.gone:
            self._dirty = True
            self.switch.turn.mark(self)

    def has_output(self, client: Outgoing) -> None:
        """Let C{client} write at the end of this turn."""
        self._output[client] = None
        if not self._dirty:
            self.mark()

    def has_room_for(self, client: Outgoing | None) -> bool:
        """Whether C{client} takes nothing from others by writing right now."""
        output = self._output
        return (
            self.unsent is None
            and self.engine.queued_bytes < OUT_BYTES
            and (not output or (len(output) == 1 and client in output))
        )

    def write_queued(self) -> bool:
        """Give the kernel what is queued, now; true: there is room for more."""
        data = self.engine.take()
        if data:
            self.send(data)
        return self.unsent is None and not self.broken

    def forget(self, client: Outgoing) -> None:
        """Let C{client} write no more."""
        self._output.pop(client, None)
        if self._blocked:
            self._blocked.pop(client, None)

    def flush(self) -> None:
        """Write everything that the windows and the kernel let through."""
        self._dirty = False
        if self.switch.waits > ROOM_BYTES:
            # What the kernel refuses counts from here on.
            self.switch.shedding.make_room()
        if self.gone or self.state == LINGERING:
            return
        for _ in range(_ROUNDS):
            more = self._gather()
            data = self.engine.take()
            if data:
                self.send(data)
            if not more or self.unsent is not None:
                break
        else:
            self.mark()
        self.count_held()
        unsent = self.unsent
        if unsent is not None and len(unsent) > DEAF_BYTES:
            self.pause()
        if self.state == CLOSING:
            if unsent is None:
                self._linger()
        elif self.engine.leaving and not self.engine.streams:
            self.close_after_flush()

    def _gather(self) -> bool:
        """Let streams write in turn; true: there is more than the kernel may take."""
        output = self._output
        engine = self.engine
        room = OUT_BYTES - len(self.unsent or b"")
        while output:
            if engine.queued_bytes >= room:
                return True
            client = next(iter(output))
            del output[client]
            if client.write(QUANTUM_BYTES):
                output[client] = None
            elif client.blocked:
                self._blocked[client] = None
                client.relieve()
        return False

    # Ends.

    def blame(self) -> None:
        """Count a request that was reset for its own fault."""
        engine = self.engine
        if not engine.budget.spend(budget.RESET_BY_US, self.wheel.now_s):
            self._fail(frames.ENHANCE_YOUR_CALM, "too many malformed requests")

    def _fail(self, code: int, reason: str) -> None:
        if not self.engine.failed:
            self.engine.fail(code, reason)
            self._failed()

    def _failed(self) -> None:
        """Send GOAWAY and close."""
        if self.state == READING:
            self.state = CLOSING
            self._lose_streams()
            self.pause()
            self.wheel.arm(self, WATCH_S)
            self.mark()

    @property
    def busy(self) -> bool:
        """Whether the client has not been told goodbye yet, or not all of it is out."""
        return self.state == READING or self.unsent is not None

    def stop(self) -> None:
        """Take no new requests; close when the last one is answered."""
        if self.state == READING:
            self.engine.shut_down()
            self.mark()
            self.wheel.arm(self, GOODBYE_S)

    def expired(self) -> None:
        """Look whether anything takes too long."""
        if self.state != READING:
            self.drop()
            return
        now_s = self.wheel.now_s
        engine = self.engine
        if not (engine.greeted and engine.agreed) and (
            now_s - self._started_s >= GREETING_S
        ):
            self._fail(frames.SETTINGS_TIMEOUT, "no greeting in time")
        elif self._block_stalls(now_s):
            self._fail(frames.ENHANCE_YOUR_CALM, "a header block took too long")
        elif self.unsent is not None and now_s - self._moved_at_s >= STALLED_S:
            self.drop()
        else:
            if engine.streams:
                self._quiet_since_s = now_s
            grpc_fast_path.end_overdue(engine, now_s)
            if self.switch.retiring or now_s - self._quiet_since_s >= IDLE_S:
                engine.shut_down(now=True)
                self.mark()
            self.wheel.arm(self, WATCH_S)
        if self.unsent is None:
            self._moved_at_s = now_s

    def _block_stalls(self, now_s: float) -> bool:
        if not self.engine.inside_block:
            self._block_since_s = 0.0
        elif not self._block_since_s:
            self._block_since_s = now_s
        return bool(self._block_since_s) and now_s - self._block_since_s >= BLOCK_S


def take_over(before: ClientConnection) -> None:
    """Go on with HTTP/2 on the socket of C{before}."""
    switch = before.switch
    switch.clients.discard(before)
    connection = Http2Downstream(before)
    switch.clients.add(connection)
    connection.start()
