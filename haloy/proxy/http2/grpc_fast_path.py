"""The short way of a unary call of gRPC: as one like it was done before.

As L{haloy.proxy.http2.fast_path}, for a request that goes to an app over HTTP/2 and
came whole in one read, if its answer comes whole in one read as well. What becomes of
heads and trailers is looked up; there is no HTTP/1.1 between. Everything else, at
whatever moment, is for the general machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haloy.proxy.body import LENGTH
from haloy.proxy.fields import passable_trailers
from haloy.proxy.http2.decoder import HeaderList
from haloy.proxy.http2.exchange import encode_lines, known_answer
from haloy.proxy.http2.fast_path import FastStream, ready_for
from haloy.proxy.http2.frames import FRAME_BYTES
from haloy.proxy.http2.head import trailer_lines
from haloy.proxy.http2.hpack import LENGTHS, Field, literal_name
from haloy.proxy.http2.plan import CallPlan, Met, Ready
from haloy.proxy.http2.stream import StreamClient
from haloy.proxy.http2.stream_state import Stream, content
from haloy.proxy.http2.upstream import Branch, head_text
from haloy.proxy.naming import TRACEPARENT_BYTES
from haloy.proxy.pool import Pool
from haloy.proxy.timer_wheel import NEVER

if TYPE_CHECKING:
    from haloy.proxy.http2.downstream import Http2Downstream
    from haloy.proxy.http2.engine import Engine
    from haloy.proxy.http2.forwarding import StreamForwarding
    from haloy.proxy.http2.trunk import Trunk

_TRACE_NAME: Final = literal_name(b"traceparent") + LENGTHS[TRACEPARENT_BYTES]

# Heads and trailers of answers met before, and their blocks. What tells more than that
# all went well is not kept.
_KNOWN_LIMIT: Final = 512
_KNOWN_FIELDS: Final = 8
_heads: dict[tuple[bytes, tuple[Field, ...]], bytes] = {}
_trailers: dict[tuple[Field, ...], bytes] = {}


def take(
    connection: Http2Downstream, stream: Stream, fields: HeaderList, *, whole: bool
) -> bool:
    """Take a request of which everything has come, if it is of this kind.

    C{whole}: nobody will say that it has ended. False: nothing is done.
    """
    if stream.receiving:
        return False
    ready = ready_for(connection, fields, b"POST")
    if ready is None or not isinstance(ready.plan, CallPlan):
        return False
    call = stream.owner = GrpcFastCall(connection, stream, fields, ready, ready.plan)
    if whole:
        call.body_ended([])
    else:
        connection.engine.chats(stream)
    return True


def end_overdue(engine: Engine, now_s: float) -> None:
    """End calls whose time is over; other requests have timers of their own."""
    for stream in tuple(engine.streams.values()):
        call = stream.owner
        if isinstance(call, GrpcFastCall) and call.due_s <= now_s:
            call.due_s = NEVER
            call.expired()


class GrpcFastCall(FastStream):
    """A call under way by the short way: its client, and who asks the app."""

    __slots__ = (
        "_answer",
        "_asked",
        "_call",
        "_pool",
        "_size_bytes",
        "_trunk",
    )

    def __init__(
        self,
        connection: Http2Downstream,
        stream: Stream,
        fields: HeaderList,
        ready: Ready,
        plan: CallPlan,
    ) -> None:
        super().__init__(connection, stream, fields, ready)
        self._call = plan
        # Of the app's side, from when the request is there.
        self._pool: Pool | None = None
        self._trunk: Trunk | None = None
        self._asked: Stream | None = None
        self._size_bytes = 0
        self._answer: list[Field] = []

    # The request.

    def body_came(self) -> None:
        """Wait for the end, which has come as well."""

    def body_ended(self, trailers: list[Field]) -> None:
        """Send everything up; it goes the general way if it cannot go at once."""
        pool: Pool | None = None
        if not trailers:
            target = self._call.target
            pool = target.only or target.pick(self._switch.wheel.now_s, ())
            if pool is not None and self._ask(pool):
                return
        client = StreamClient(self._connection, self._stream)
        self._stream.owner = client
        client.begin(self._fields, end=False, pool=pool)
        client.body_came()
        client.body_ended(trailers)

    def _ask(self, pool: Pool) -> bool:
        """Ask on a connection that stands; false: there is none with room."""
        for trunk in pool.trunks:
            if trunk.ready:
                break
        else:
            return False
        plan = self._call
        target = plan.target
        connection = self._connection
        body = content(self._stream)
        size = len(body)
        if (
            pool.outstanding >= pool.limit
            or size > FRAME_BYTES
            or (plan.request.framing == LENGTH and size != plan.request.length_bytes)
            or (target.max_body_bytes is not None and size > target.max_body_bytes)
            or not trunk.engine.fits(size)
        ):
            return False
        self._name()
        asked = self._asked = trunk.engine.ask(self._head(), body)
        asked.owner = self
        connection.engine.credit_all(self._stream, size)
        trunk.mark()
        pool.began()
        self._pool = pool
        self._trunk = trunk
        self._size_bytes = size
        # An hour, mostly, of which its connection looks every few seconds whether it is
        # over: a timer for each call would cost more than its answer.
        self.due_s = connection.wheel.now_s + target.stream_idle_s
        return True

    def _head(self) -> bytes:
        """Return the block of the request."""
        request_id, traceparent = self._request_id, self._traceparent
        return b"".join(
            (
                self._ready.block,
                LENGTHS[len(request_id)],
                request_id,
                _TRACE_NAME,
                traceparent,
            )
        )

    # What the app's connection says.

    def upstream_received(self, data: bytes) -> None:
        """Learn nothing: the connection is a trunk, which says what follows."""

    def answered(self, fields: list[Field], body: bytes, trailers: list[Field]) -> None:
        """Answer, if everything is known and fits the windows."""
        if not self._pass_on(fields, body, trailers):
            self.general()
            self._branch.answered(fields, body, trailers)

    def head_came(self, fields: list[Field]) -> None:
        """Keep the head, if the rest has come with it."""
        asked = self._asked
        if asked is None or asked.receiving or fields[0][1][:1] == b"1":
            self.general()
            self._branch.head_came(fields)
        else:
            self._answer = fields

    def ended_by_peer(self, trailers: list[Field]) -> None:
        """Answer with what has come, as L{answered}."""
        asked, trunk = self._asked, self._trunk
        if asked is None or trunk is None:
            return
        body = content(asked)
        if self._pass_on(self._answer, body, trailers):
            trunk.engine.credit_all(asked, len(body))
            return
        self.general()
        branch = self._branch
        branch.head_came(self._answer)
        if body:
            branch.body_came()
        branch.ended_by_peer(trailers)

    def _pass_on(self, fields: list[Field], body: bytes, trailers: list[Field]) -> bool:
        """Write the answer, and be done; false: it cannot be, and nothing is."""
        asked, trunk, pool = self._asked, self._trunk, self._pool
        if asked is None or trunk is None or pool is None:
            return False
        plan = self._call
        connection = self._connection
        stream = self._stream
        size = len(body)
        met = plan.met
        if met is None or met.fields is not fields or met.trailers is not trailers:
            block = _head_block(plan.target.extra, fields)
            if not block:
                return False
            met = plan.met = Met(fields, trailers, block, _trailer_block(trailers))
        if (
            size > FRAME_BYTES
            or not connection.has_room_for(None)
            or not connection.engine.whole(stream, met.block, body, met.last_block)
        ):
            return False
        connection.mark()
        stream.owner = asked.owner = None
        self._log(
            plan,
            connection.origin,
            self._started_s,
            met.status,
            size,
            pool.key,
            self._ready.shown,
            self._size_bytes,
        )
        trunk.left(pool)
        pool.finished()
        return True

    def lost_by_peer(self, code: int) -> None:
        """Learn that there is no answer, or no rest of it."""
        self.general()
        branch = self._branch
        if self._answer:
            branch.head_came(self._answer)
        branch.lost_by_peer(code)

    @property
    def _branch(self) -> Branch:
        """What has taken over the app's side."""
        asked = self._asked
        if asked is None or not isinstance(asked.owner, Branch):
            raise ValueError("the request has not been sent")
        return asked.owner

    # Whatever else happens.

    def general(self) -> StreamForwarding:
        """Hand over to the driver that the general way would have by now."""
        asked, trunk, pool = self._asked, self._trunk, self._pool
        if asked is None or trunk is None or pool is None:
            raise ValueError("the request has not been sent")
        self._write(self._ready.line, self._call)
        branch = Branch(self._switch, pool)
        branch.adopt(trunk, asked)
        return self._hand_over(
            self._call.target, branch, end=False, sent_bytes=self._size_bytes
        )

    def lost(self) -> None:
        """Learn that the client has taken the request back, or is gone."""
        if self._asked is not None:
            super().lost()


def _head_block(extra: bytes, fields: list[Field]) -> bytes:
    """Return what the head of a whole answer becomes, empty when it is not known."""
    key = (extra, tuple(fields))
    block = _heads.get(key)
    if block is not None:
        return block
    text = head_text(fields)
    known = known_answer(extra, text, len(text) - 4)
    if (
        known is None
        or known.length_bytes >= 0
        or known.status in (204, 304)
        or known.head.chunked
    ):
        return b""
    if len(_heads) >= _KNOWN_LIMIT:
        _heads.clear()
    _heads[key] = known.block
    return known.block


def _trailer_block(trailers: list[Field]) -> bytes:
    key = tuple(trailers)
    block = _trailers.get(key)
    if block is None:
        block = encode_lines(passable_trailers(trailer_lines(trailers)))
        if (b"grpc-status", b"0") in key and len(key) <= _KNOWN_FIELDS:
            if len(_trailers) >= _KNOWN_LIMIT:
                _trailers.clear()
            _trailers[key] = block
    return block
