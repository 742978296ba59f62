"""The short way of a plain request: what was done for one like it, done again.

A client repeats its fields on a connection, and an app those of its answers. What the
general machine (L{haloy.proxy.http2.stream}) has sent up for a list of fields is kept
beside that list as a L{Plan}; what an answer's head becomes is known to
L{haloy.proxy.http2.exchange}. A GET whose fields have a plan goes this way, and so does
its answer if its head is known and its body is there to the last byte and fits the
windows. For everything else L{ShortRequest.general} makes the general machine as it
would stand at this moment and hands over, so there is one set of rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haloy.proxy.access_log import TARGET_LIMIT, AccessRecord
from haloy.proxy.dispatch import CHALLENGE_PREFIX
from haloy.proxy.fields import BadHead
from haloy.proxy.http2 import head as heads
from haloy.proxy.http2.decoder import HeaderList
from haloy.proxy.http2.exchange import known_answer
from haloy.proxy.http2.plan import END, TRACE, Plan
from haloy.proxy.http2.sender import Stream
from haloy.proxy.http2.stream import StreamClient
from haloy.proxy.upstream import UpstreamConnection, User
from haloy.proxy.wheel import NEVER

if TYPE_CHECKING:
    from haloy.proxy.http2.downstream import Http2Downstream
    from haloy.proxy.http2.forwarding import StreamForwarding


def take(connection: Http2Downstream, stream: Stream, fields: HeaderList) -> bool:
    """Send a request without a body up, if it is of this kind; false: nothing is done.

    Else C{stream} has an owner.
    """
    meaning = fields.rest.meaning
    if not isinstance(meaning, heads.Meaning):
        return False
    plan = meaning.plan
    if not isinstance(plan, Plan):
        return False
    try:
        start = heads.start_of(fields)
    except (heads.Malformed, BadHead):
        return False
    target = plan.target
    switch = connection.switch
    if (
        start.method != b"GET"
        or start.authority != plan.authority
        or target.table is not switch.table
        or start.target.startswith(CHALLENGE_PREFIX)
    ):
        return False
    switch.requests_total += 1
    request = ShortRequest(connection, stream, fields, plan, start.target)
    stream.owner = request
    pool = target.only or target.pick(switch.wheel.now_s, ())
    if pool is None or pool.full or not pool.idle:
        driver = request.general()
        if pool is None or pool.full or not driver.send_to(pool, fresh=False):
            driver.seek()
        return True
    request.send_on(pool.idle.pop())
    return True


class ShortRequest(User):
    """A request under way by the short way, and its client."""

    __slots__ = (
        "_connection",
        "_fields",
        "_plan",
        "_request_id",
        "_sent",
        "_started_s",
        "_stream",
        "_target",
        "_traceparent",
        "_upstream",
        "due_s",
        "slot",
    )

    def __init__(
        self,
        connection: Http2Downstream,
        stream: Stream,
        fields: HeaderList,
        plan: Plan,
        target: bytes,
    ) -> None:
        switch = connection.switch
        self._connection = connection
        self._stream = stream
        self._fields = fields
        self._plan = plan
        self._target = target
        self._request_id = request_id = switch.next_request_id()
        self._traceparent = traceparent = switch.next_traceparent()
        self._sent = b"".join(
            (b"GET ", target, plan.middle, request_id, TRACE, traceparent, END)
        )
        self._started_s = switch.wheel.clock()
        self._upstream: UpstreamConnection | None = None
        self.due_s = NEVER
        self.slot = 0

    def send_on(self, upstream: UpstreamConnection) -> None:
        """Send it on an idle connection, which is taken out of its pool."""
        self._upstream = upstream
        upstream.pool.began()
        upstream.user = self
        upstream.send(self._sent)
        self._connection.wheel.arm(self, self._plan.target.response_timeout_s)

    def upstream_received(self, data: bytes) -> None:
        """Answer with C{data} if it is a whole answer of a known kind."""
        end = data.find(END)
        upstream = self._upstream
        known = known_answer(self._plan.target.extra, data, end)
        connection = self._connection
        if (
            known is None
            or upstream is None
            or not known.whole(len(data) - end - 4)
            or not connection.has_room_for(None)
            or not connection.engine.whole(self._stream, known.block, data[end + 4 :])
        ):
            self.general().upstream_received(data)
            return
        self._stream.owner = None
        connection.mark()
        connection.wheel.forget(self)
        self._upstream = None
        upstream.user = None
        pool = upstream.pool
        if upstream.broken:
            upstream.drop()
        else:
            upstream.resume()
            upstream.reused = True
            pool.keep(upstream, connection.wheel.now_s)
        self._log(known.status, known.length_bytes, pool.key)
        pool.finished()

    def _log(self, status: int, size_bytes: int, key: str) -> None:
        """Write the record that L{haloy.proxy.origin.Origin.log} would write."""
        connection = self._connection
        sink = connection.switch.sink
        if sink is None:
            return
        origin = connection.origin
        took_s = connection.wheel.clock() - self._started_s
        plan = self._plan
        values = (
            self._request_id.decode("ascii"),
            origin.peer,
            "GET",
            plan.name,
            self._target[:TARGET_LIMIT].decode("ascii"),
            origin.protocol,
            origin.secure,
            status,
            "done",
            plan.target.app,
            key,
            0,
            size_bytes,
            took_s,
            took_s,
            plan.user_agent,
            origin.tls,
            self._traceparent.decode("ascii"),
        )
        # Not by the constructor, which names all of them once more.
        sink(tuple.__new__(AccessRecord, values))

    def general(self) -> StreamForwarding:
        """Hand over to the driver that the general way would have by now."""
        connection = self._connection
        wheel = connection.wheel
        left_s = self.due_s - wheel.now_s
        wheel.forget(self)
        request = heads.request_of(self._fields, end=True)
        request.request_id = self._request_id
        request.traceparent = self._traceparent
        client = StreamClient(connection, self._stream)
        self._stream.owner = client
        upstream, self._upstream = self._upstream, None
        driver = client.go_on(
            request, self._plan.target, self._sent, upstream, self._started_s
        )
        if left_s < NEVER:
            wheel.arm(client, left_s)
        return driver

    # What else may happen meanwhile is for the general way.

    def lost(self) -> None:
        """Learn that the client has taken the request back, or is gone."""
        self.general()
        self._stream.owner.lost()

    def expired(self) -> None:
        """Learn that the answer has not come in its time."""
        self.general().expired()

    def body_came(self) -> None:
        """Learn that a body comes, which it does not."""

    def body_ended(self, trailers: object) -> None:
        """Learn that the request has ended, which it had."""

    def upstream_connected(self) -> None:
        """Learn that the connection stands, which it did."""

    def upstream_refused(self, reason: str) -> None:
        """Learn that the connection did not come about, which it has."""

    def upstream_readable(self) -> bool:
        """Take bytes by L{upstream_received}."""
        return False

    def upstream_ended(self) -> None:
        """Learn that the upstream will send nothing more."""
        self.general().upstream_ended()

    def upstream_lost(self) -> None:
        """Learn that the connection broke."""
        self.general().upstream_lost()

    def upstream_flushed(self) -> None:
        """Learn that the request is with the kernel."""

    def upstream_relieved(self) -> None:
        """Learn that the upstream takes bytes again."""
