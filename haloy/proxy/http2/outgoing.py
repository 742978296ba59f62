"""The answer to one request of HTTP/2: what waits, and how it gets into the windows."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from haloy.proxy.http2 import frames
from haloy.proxy.http2.exchange import StreamExchange
from haloy.proxy.http2.forwarding import StreamForwarding
from haloy.proxy.http2.sender import PROCESS_HIGH_BYTES
from haloy.proxy.http2.stream_state import Stream
from haloy.proxy.timer_wheel import NEVER, STALLED_S
from haloy.proxy.tls.bulk import FRAME_BYTES, piece_bytes

if TYPE_CHECKING:
    from haloy.proxy.http2.downstream import Http2Downstream

# More than this waits in one stream: its upstream is not read. A bit more than one
# read, which is gone before the next one where the client takes everything.
HIGH_BYTES: Final = 131072
LOW_BYTES: Final = 16384
# When a connection, or all of them, hold more than this, that is less.
CONNECTION_HIGH_BYTES: Final = 1048576
SHORT_HIGH_BYTES: Final = LOW_BYTES

# A client that has taken less than this in its time is stalled: 1 KiB/s.
PROGRESS_BYTES: Final = 61440
# How long the rest of an upload is taken after the answer has been given.
DRAIN_S: Final = 5.0

# Stands for "something waits" where drivers ask.
_SOMETHING: Final = bytearray(b"?")


class Outgoing:
    """Half of the client of one request: its answer.

    @ivar unsent: not C{None}: something waits. C{congested}: too much.
    @ivar driver: who forwards it, C{None} before and after.
    @ivar waits: how many bytes of the answer wait.
    @ivar gone: the answer is written, or never will be.
    """

    __slots__ = (
        "_cut_short",
        "_exchange",
        "_finished",
        "_pending",
        "_progress_bytes",
        "congested",
        "connection",
        "driver",
        "due_s",
        "gone",
        "slot",
        "stream",
        "switch",
        "unsent",
        "waits",
        "wheel",
    )

    def __init__(self, connection: Http2Downstream, stream: Stream) -> None:
        self.connection = connection
        self.stream = stream
        self.switch = connection.switch
        self.wheel = connection.wheel
        self.due_s = NEVER
        self.slot = 0
        self.unsent: bytearray | None = None
        self.congested = False
        self.gone = False
        self.driver: StreamForwarding | None = None
        self.waits = 0
        self._exchange: StreamExchange | None = None
        self._pending: list[bytes | memoryview] = []
        self._finished = False
        # What waits still goes out, and then the client is told that it is not all.
        self._cut_short = False
        self._progress_bytes = 0

    def expired(self) -> None:
        """Learn that a deadline has passed."""
        raise NotImplementedError

    def reset(self, code: int) -> None:
        """End the stream now."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        """Send a piece of the answer's body, after the heads that the exchange has."""
        if self.gone:
            return
        if data:
            self._pending.append(data)
            size = len(data)
            self.waits += size
            self.connection.waits += size
            self.switch.waits += size
            if self.waits > SHORT_HIGH_BYTES and self.waits > self._high_bytes():
                self.congested = True
        self.unsent = _SOMETHING
        self.connection.has_output(self)

    def carry(self, source: socket.socket, most_bytes: int) -> int:
        """Send at once what C{source} has of the answer's body.

        Only while nothing else waits for the client: what goes this way is next.
        """
        connection = self.connection
        exchange = self._exchange
        if (
            self.gone
            or self._pending
            or exchange is None
            or exchange.heads
            or not connection.has_room_for(self)
        ):
            return 0
        engine = connection.engine
        stream = self.stream
        room = min(engine.room(stream), most_bytes)
        if room < FRAME_BYTES or not connection.write_queued():
            return 0
        room = min(room, piece_bytes(connection.socket))
        size, data = self.switch.tls_bulk.fill_frames(source, room, stream.id)
        if size:
            engine.carried(stream, size)
            connection.send(data)
        return size

    def heads_came(self) -> None:
        """Learn that the exchange has heads to send and nothing else yet."""
        self.connection.has_output(self)

    def _high_bytes(self) -> int:
        if (
            self.connection.waits > CONNECTION_HIGH_BYTES
            or self.switch.waits > PROCESS_HIGH_BYTES
        ):
            return SHORT_HIGH_BYTES
        return HIGH_BYTES

    def write(self, quantum_bytes: int) -> bool:
        """Write what the windows let through, and no more than C{quantum_bytes}.

        True: there is more and room for it.
        """
        if self.gone:
            return False
        engine = self.connection.engine
        stream = self.stream
        exchange = self._exchange
        pending = self._pending
        trailers = exchange.trailers if exchange is not None else b""
        if exchange is not None and exchange.heads:
            heads = exchange.heads
            last = self._finished and not pending and not trailers
            for block in heads[:-1]:
                engine.headers(stream, block, end=False)
            engine.headers(stream, heads[-1], end=last)
            heads.clear()
            if last:
                self._written()
                return False
        room = min(engine.room(stream), quantum_bytes)
        while pending and room > 0:
            piece = pending[0]
            size = len(piece)
            if size > room:
                view = memoryview(piece)
                pending[0] = view[room:]
                piece = view[:room]
                size = room
            else:
                del pending[0]
            room -= size
            self._took(size)
            last = self._finished and not pending and not trailers
            engine.data(stream, piece, end=last)
            if last:
                self._written()
                return False
        if pending:
            return engine.room(stream) > 0
        if self._finished:
            if trailers:
                engine.headers(stream, trailers, end=True)
            else:
                engine.data(stream, b"", end=True)
            self._written()
            return False
        if self._cut_short:
            self.reset(frames.INTERNAL_ERROR)
            return False
        self._relieve()
        return False

    def _write_at_once(self) -> bool:
        """Write an answer that is there as a whole; false: it has to wait its turn."""
        connection = self.connection
        exchange = self._exchange
        pending = self._pending
        if (
            exchange is None
            or len(pending) != 1
            or len(exchange.heads) != 1
            or exchange.trailers
            or not connection.has_room_for(self)
            or not connection.engine.whole(self.stream, exchange.heads[0], pending[0])
        ):
            return False
        connection.forget(self)
        self._forget(len(pending[0]))
        exchange.heads.clear()
        pending.clear()
        self._written()
        return True

    def _took(self, size: int) -> None:
        self._forget(size)
        self._progress_bytes += size
        if self._progress_bytes < PROGRESS_BYTES:
            return
        self._progress_bytes = 0
        if self.driver is not None:
            self.driver.client_progressed()
        elif self._finished or self._cut_short:
            self.wheel.arm(self, STALLED_S)

    def _forget(self, size: int) -> None:
        self.waits -= size
        self.connection.waits -= size
        self.switch.waits -= size

    def _relieve(self) -> None:
        """Tell the driver that nothing waits any more."""
        self.unsent = None
        driver = self.driver
        if self.congested:
            self.congested = False
            if driver is not None:
                driver.client_relieved()
        if driver is not None:
            driver.client_flushed()

    @property
    def blocked(self) -> bool:
        """Whether it waits for the client to open a window."""
        return bool(self._pending)

    def relieve(self) -> None:
        """Read the upstream again if little enough waits."""
        if self.congested and self.waits <= LOW_BYTES and self._pending:
            self.congested = False
            if self.driver is not None:
                self.driver.client_relieved()

    def _written(self) -> None:
        """Note that the whole answer is written."""
        self.unsent = None
        self.gone = True
        if self.stream.receiving:
            # Cutting the upload at once would cost some clients the answer.
            self.wheel.arm(self, DRAIN_S)
        else:
            self._over()

    def _over(self) -> None:
        """Know the stream no more: nothing comes or goes on it.

        Two that hold each other are left for the next look for garbage. Of thousands
        that have waited together, that look takes longer than anybody may wait.
        """
        self.wheel.forget(self)
        self.stream.owner = None
