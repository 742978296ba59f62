"""Apps that speak HTTP/2 without TLS: many requests on one connection to a replica.

For a driver each request looks as if it had an HTTP/1.1 connection of its own: a
L{Branch} takes the head and the body that would go there, and gives an answer whose
body ends with the connection. So seeking, retries, deadlines, drain and log are the
same code for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from haloy.proxy.body import ChunkedBody, LengthBody
from haloy.proxy.fields import passable_trailers
from haloy.proxy.http2 import frames
from haloy.proxy.http2.exchange import StreamExchange, encode_line, encode_lines
from haloy.proxy.http2.head import trailer_lines
from haloy.proxy.http2.hpack import Field, encode_field
from haloy.proxy.http2.stream_state import Stream
from haloy.proxy.http2.trunk import Trunk
from haloy.proxy.upstream import UpstreamConnection

if TYPE_CHECKING:
    from haloy.proxy.pool import Pool
    from haloy.proxy.switch import Switch

HIGH_BYTES: Final = 65536
LOW_BYTES: Final = 16384

_NOT_PASSED: Final = (b"host:", b"transfer-encoding:", b"connection:", b"upgrade:")


class Branch(UpstreamConnection):
    """One request on a L{Trunk}, for its driver a connection of its own.

    It has no socket, so nothing of a descriptor's is set up or called.

    @ivar unheard: it ended while it waited for the app to say that it speaks HTTP/2.
    """

    __slots__ = (
        "_body",
        "_end",
        "_ended",
        "_head",
        "_owed_bytes",
        "_paused",
        "_pending",
        "_switch",
        "_trailers",
        "_trunk",
        "_waits",
        "stream",
        "unheard",
    )

    def __init__(self, switch: Switch, pool: Pool) -> None:
        self._switch = switch
        self.pool = pool
        self.user = None
        self.connected = False
        self.reused = False
        self.bulk = False
        # What never goes back into the pool.
        self.broken = True
        self.gone = False
        self.congested = False
        self.unsent = None
        self.stream: Stream | None = None
        self.unheard = False
        self._trunk: Trunk | None = None
        self._head = b""
        self._body: ChunkedBody | LengthBody | None = None
        self._pending: list[bytes] = []
        self._waits = 0
        self._end = False
        self._ended = False
        self._paused = False
        # Passed on, and no credit given for it: the client has not taken it.
        self._owed_bytes = 0
        self._trailers: list[Field] = []

    def open(self) -> str:
        """Find a connection with room, or begin one."""
        trunk = next((one for one in self.pool.trunks if one.has_room), None)
        if trunk is None:
            trunk = Trunk(self._switch, self.pool)
            reason = trunk.open()
            if reason:
                return reason
        self._trunk = trunk
        self.connected = trunk.stands
        return ""

    def move(self) -> None:
        """Wait for another connection: this one takes no more."""
        try:
            reason = self.open()
        except OSError as error:
            self._switch.exhausted(error)
            reason = "no descriptor is left"
        trunk = self._trunk
        if reason or trunk is None:
            self.refused(reason)
            return
        trunk.take(self)
        if self.stream is not None:
            self.tell_connected()

    # What the driver asks for.

    def fileno(self) -> int:
        """Return no number."""
        return -1

    def send(self, data: bytes) -> None:  # type: ignore[override]  # drivers send bytes
        """Take the head, later pieces of the body."""
        if self.gone or not data:
            return
        if not self._head:
            self._take_head(data)
        elif self._body is not None:
            payload = self._body.take(data)
            if payload:
                self._pending.append(payload)
                self._waits += len(payload)
            if self._body.done:
                self._end = True
                if isinstance(self._body, ChunkedBody):
                    lines = passable_trailers(self._body.trailers)
                    self._trailers = [_field(line) for line in lines]
            self.pump()

    def send_all(self, pieces: Sequence[bytes | memoryview]) -> None:
        """As L{send} of all C{pieces}, which are kept while the app takes no more."""
        self.send(b"".join(pieces))

    def _take_head(self, data: bytes) -> None:
        lines = data[:-4].split(b"\r\n")
        method, target, _ = lines[0].split(b" ")
        self._end = True
        for line in lines[2:]:
            lower = line[:20].lower()
            if lower.startswith(b"transfer-encoding:"):
                self._body = ChunkedBody()
                self._end = False
            elif lower.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
                if length:
                    self._body = LengthBody(length)
                    self._end = False
        self._head = b"".join(
            (
                encode_field(b":method", method),
                encode_field(b":scheme", b"http"),
                encode_field(b":path", target),
                encode_field(b":authority", lines[1].partition(b": ")[2]),
                passed(lines[2:]),
            )
        )
        if self._trunk is not None:
            self._trunk.take(self)

    def adopt(self, trunk: Trunk, stream: Stream) -> None:
        """Go on with a request that is on C{stream} of C{trunk}, whole."""
        self.connected = True
        self._trunk = trunk
        self.stream = stream
        stream.owner = self

    def begin(self) -> None:
        """Send the head: the connection stands."""
        trunk = self._trunk
        if trunk is None or self.gone:
            return
        self.connected = True
        self.stream = trunk.engine.open(self._head, end=self._end)
        self.stream.owner = self
        trunk.mark()

    def tell_connected(self) -> None:
        """Tell the driver, which has waited."""
        if self.user is not None:
            self.user.upstream_connected()

    def pump(self) -> None:
        """Send what the windows let through."""
        trunk, stream = self._trunk, self.stream
        if trunk is None or stream is None or not stream.sending:
            return
        engine = trunk.engine
        pending = self._pending
        while pending:
            room = engine.room(stream)
            if room <= 0 or trunk.connection.congested:
                trunk.block(self)
                break
            piece = pending[0]
            if len(piece) > room:
                pending[0] = piece[room:]
                piece = piece[:room]
            else:
                del pending[0]
            self._waits -= len(piece)
            last = self._end and not pending and not self._trailers
            engine.data(stream, piece, end=last)
        if not pending and self._end and stream.sending:
            if self._trailers:
                block = b"".join([encode_field(*field) for field in self._trailers])
                engine.headers(stream, block, end=True)
            else:
                engine.data(stream, b"", end=True)
        trunk.mark()
        if self._waits > HIGH_BYTES:
            self.congested = True
        elif self.congested and self._waits <= LOW_BYTES:
            self.congested = False
            if self.user is not None:
                self.user.upstream_relieved()

    def pause(self) -> None:
        """Let the answer not come for now: no credit is given."""
        self._paused = True

    def resume(self) -> None:
        """Let it come again."""
        if self._paused:
            self._paused = False
            self._pay()
            self._deliver()

    def discard(self) -> None:
        """End the request without telling the driver."""
        self.user = None
        self.drop()

    def drop(self) -> None:
        """End the request."""
        if self.gone:
            return
        self.gone = True
        self._pending.clear()
        trunk, self._trunk = self._trunk, None
        if trunk is not None:
            self.unheard = (
                not self.pool.h2c
                and trunk.connection.connected
                and not trunk.engine.greeted
            )
            trunk.forget(self)

    def half_close(self) -> bool:
        """Not be able to: there are no tunnels."""
        return False

    # What the connection says.

    def refused(self, reason: str) -> None:
        """Let the driver try elsewhere."""
        user = self.user
        self.discard()
        if user is not None:
            user.upstream_refused(reason)

    def head_came(self, fields: list[Field]) -> None:
        """Pass a head on as one of HTTP/1.1."""
        if self.user is not None:
            self.user.upstream_received(head_text(fields))

    def answered(self, fields: list[Field], body: bytes, trailers: list[Field]) -> None:
        """Pass on a whole answer, as if it came piece by piece."""
        trunk, stream = self._trunk, self.stream
        if trunk is None or stream is None:
            return
        trunk.engine.put_back(stream, body)
        self.head_came(fields)
        self.body_came()
        self.ended_by_peer(trailers)

    def body_came(self) -> None:
        """Pass the body on, unless the driver has enough."""
        if not self._paused:
            self._deliver()

    def ended_by_peer(self, trailers: list[Field]) -> None:
        """Pass on the end, behind what waits."""
        self._ended = True
        exchange = getattr(self.user, "exchange", None)
        if trailers and isinstance(exchange, StreamExchange):
            exchange.trailers = encode_lines(passable_trailers(trailer_lines(trailers)))
        if not self._paused:
            self._deliver()

    def _deliver(self) -> None:
        trunk, stream, user = self._trunk, self.stream, self.user
        if trunk is None or stream is None or user is None:
            return
        if stream.inbox:
            engine = trunk.engine
            data = engine.take_body(stream)
            engine.handed_on(stream, len(data))
            self._owed_bytes += len(data)
            trunk.mark()
            user.upstream_received(data)
            # Before, nobody knows whether the client takes them. The connection has
            # its credit since they came: others on it do not wait for this client.
            if not self._paused:
                self._pay()
        if self._ended and not stream.inbox and self.user is user:
            if self._paused:
                return
            user.upstream_ended()

    def _pay(self) -> None:
        """Let the app send as much as has been passed on."""
        trunk, stream = self._trunk, self.stream
        owed, self._owed_bytes = self._owed_bytes, 0
        if owed and trunk is not None and stream is not None:
            trunk.engine.allow(stream, owed)
            trunk.mark()

    def lost_by_peer(self, code: int) -> None:
        """Tell the driver that there is no answer, or no rest of it."""
        if self._ended:
            # All of it is here, and waits for the client.
            return
        user, self.user = self.user, None
        # The replica has not looked at it: it may go out again.
        self.reused = code == frames.REFUSED_STREAM
        self.gone = True
        self._pending.clear()
        trunk, self._trunk = self._trunk, None
        if trunk is not None:
            trunk.forget(self)
        if user is not None:
            user.upstream_lost()


def passed(lines: list[bytes]) -> bytes:
    """Return what the app gets of the lines behind Host, as HPACK."""
    return b"".join(
        [
            encode_line(line)
            for line in lines
            if not line[:20].lower().startswith(_NOT_PASSED)
        ]
    )


def head_text(fields: list[Field]) -> bytes:
    """Return the head of an answer as one of HTTP/1.1."""
    lines = trailer_lines([one for one in fields[1:] if one[0] != b"transfer-encoding"])
    return b"\r\n".join([b"HTTP/1.1 " + fields[0][1] + b" ", *lines, b"", b""])


def _field(line: bytes) -> Field:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t")
