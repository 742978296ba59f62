"""The short way of a plain request: what was done for one like it, done again.

A client repeats its fields on a connection, and an app those of its answers. What the
general machine (L{haloy.proxy.http2.stream}) has sent up for a list of fields is kept
beside that list as a L{Plan}; what an answer's head becomes is known to
L{haloy.proxy.http2.exchange}. A GET whose fields have a plan goes this way, and so does
its answer if its head is known and its body is there to the last byte and fits the
windows. For everything else L{Http2FastRequest.general} makes the general machine as it
would stand at this moment and hands over, so there is one set of rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haloy.proxy.dispatch import CHALLENGE_PREFIX
from haloy.proxy.fast_request import END, FastRequest, Plan
from haloy.proxy.fields import BadHead
from haloy.proxy.http2 import head as heads
from haloy.proxy.http2.decoder import HeaderList
from haloy.proxy.http2.exchange import known_answer
from haloy.proxy.http2.plan import Ready
from haloy.proxy.http2.stream import StreamClient
from haloy.proxy.http2.stream_state import Stream
from haloy.proxy.timer_wheel import NEVER

if TYPE_CHECKING:
    from haloy.proxy.http2.downstream import Http2Downstream
    from haloy.proxy.http2.forwarding import StreamForwarding
    from haloy.proxy.target import Target
    from haloy.proxy.upstream import UpstreamConnection


def take(connection: Http2Downstream, stream: Stream, fields: HeaderList) -> bool:
    """Send a request without a body up, if it is of this kind; false: nothing is done.

    Else C{stream} has an owner.
    """
    ready = ready_for(connection, fields, b"GET")
    if ready is None:
        return False
    request = Http2FastRequest(connection, stream, fields, ready)
    stream.owner = request
    request.begin()
    return True


def ready_for(
    connection: Http2Downstream, fields: HeaderList, method: bytes
) -> Ready | None:
    """Return what is ready for a request by C{method}, C{None}: there is no plan."""
    ready = fields.ready
    if (
        isinstance(ready, Ready)
        and ready.epoch == connection.switch.epoch
        and ready.plan.request.method == method
    ):
        return ready
    meaning = fields.rest.meaning
    plan = meaning.plan if isinstance(meaning, heads.Meaning) else None
    if not isinstance(plan, Plan):
        return None
    try:
        start = heads.start_of(fields)
    except (heads.Malformed, BadHead):
        return None
    target = start.target
    if (
        start.method != method
        or plan.request.method != method
        or start.authority != plan.authority
        or not _holds(plan, connection)
        or target.startswith(CHALLENGE_PREFIX)
    ):
        return None
    line = method + b" " + target
    fields.ready = ready = Ready(connection.switch.epoch, plan, line, target)
    return ready


def _holds(plan: Plan, connection: Http2Downstream) -> bool:
    """Tell whether the present table has C{plan}'s requests go where they went."""
    asked = connection.origin.server_name
    if asked is not None and asked != plan.name:
        # Whether a name may come on the connection of another is said by the table.
        return plan.epoch == connection.switch.epoch
    return connection.switch.serves(plan.target)


class FastStream(FastRequest):
    """A request on a stream under way by a short way, and its client."""

    __slots__ = (
        "_connection",
        "_fields",
        "_ready",
        "_started_s",
        "_stream",
        "due_s",
        "slot",
    )

    def __init__(
        self,
        connection: Http2Downstream,
        stream: Stream,
        fields: HeaderList,
        ready: Ready,
    ) -> None:
        super().__init__(connection.switch)
        self._connection = connection
        self._stream = stream
        self._fields = fields
        self._ready = ready
        self._started_s = connection.wheel.clock()
        self.due_s = NEVER
        self.slot = 0

    def _hand_over(
        self,
        target: Target,
        upstream: UpstreamConnection | None,
        *,
        end: bool,
        sent_bytes: int = 0,
    ) -> StreamForwarding:
        """Let the driver go on that the general way would have by now.

        C{upstream} has the request, with C{sent_bytes} of a body; C{end}: there is
        no body.
        """
        connection = self._connection
        wheel = connection.wheel
        left_s = self.due_s - wheel.now_s
        wheel.forget(self)
        request = heads.request_of(self._fields, end=end)
        request.request_id = self._request_id
        request.traceparent = self._traceparent
        client = StreamClient(connection, self._stream)
        self._stream.owner = client
        driver = client.go_on(
            request, target, self._sent, upstream, self._started_s, sent_bytes
        )
        if left_s < NEVER:
            wheel.arm(client, left_s)
        return driver

    def lost(self) -> None:
        """Learn that the client has taken the request back, or is gone."""
        self.general()
        self._stream.owner.lost()


class Http2FastRequest(FastStream):
    """A request without a body, whose answer comes in one piece."""

    __slots__ = ()

    def begin(self) -> None:
        """Send it up."""
        ready = self._ready
        plan = self._plan = ready.plan
        self._name()
        self._write(ready.line, plan)
        if self._send(plan):
            self._connection.wheel.arm(self, plan.target.response_timeout_s)

    def upstream_received(self, data: bytes) -> None:
        """Answer with C{data} if it is a whole answer of a known kind."""
        end = data.find(END)
        plan = self._plan
        upstream = self._upstream
        if plan is None or upstream is None:
            return
        known = known_answer(plan.target.extra, data, end)
        connection = self._connection
        if (
            known is None
            or not known.whole(len(data) - end - 4)
            or not connection.has_room_for(None)
            or not connection.engine.whole(self._stream, known.block, data[end + 4 :])
        ):
            self.general().upstream_received(data)
            return
        self._stream.owner = None
        connection.mark()
        connection.wheel.forget(self)
        pool = self._give_back(upstream)
        self._log(
            plan,
            connection.origin,
            self._started_s,
            known.status,
            known.length_bytes,
            pool.key,
            self._ready.shown,
        )
        pool.finished()

    def general(self) -> StreamForwarding:
        """Hand over to the driver that the general way would have by now."""
        plan = self._plan
        if plan is None:
            raise ValueError("no request is under way")
        upstream, self._upstream = self._upstream, None
        return self._hand_over(plan.target, upstream, end=True)

    # What else may happen meanwhile is for the general way.

    def body_came(self) -> None:
        """Learn that a body comes, which it does not."""

    def body_ended(self, trailers: object) -> None:
        """Learn that the request has ended, which it had."""
