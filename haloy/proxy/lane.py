"""The short way of a plain request: what was done for one like it, done again.

A client that keeps its connection repeats its fields word for word, and an app its
answer's. The general machine (L{haloy.proxy.forwarding}) has worked out once what a
block of fields becomes on the way up, a L{Plan}, and what a block becomes on the way
down, an L{Answer}; both are remembered here and put around what differs. Nothing is
parsed, and no L{Exchange} is made.

A request goes this way if it is a GET in origin form of HTTP/1.1 whose block is
known, is all that has come, and asks for nothing but its answer; its answer if its
block is known and its body is there to the last byte. In all other cases
L{Lane.take} has changed nothing, or L{Lane.general} makes the L{Forwarding} that
would stand at this moment and hands over to it. So there is one machine and one
set of rules; C{tests/proxy/test_lane.py} compares both ways.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from haloy.proxy.access_log import TARGET_LIMIT, USER_AGENT_LIMIT, AccessRecord
from haloy.proxy.exchange import COMPLETE, Exchange
from haloy.proxy.fields import TARGET_LIMIT_BYTES
from haloy.proxy.forwarding import Forwarding
from haloy.proxy.head import RequestHead
from haloy.proxy.head_cache import take_over
from haloy.proxy.upstream import UpstreamConnection, User

if TYPE_CHECKING:
    from haloy.proxy.downstream import Downstream
    from haloy.proxy.switch import Switch, Target

PLANS_LIMIT: Final = 512
ANSWERS_LIMIT: Final = 256
BLOCK_LIMIT_BYTES: Final = 2048

# A request line that needs no second look: L{haloy.proxy.head} would take it as it
# is, and L{haloy.proxy.dispatch} would not answer it with a challenge.
_line = re.compile(
    rb"GET (?!/\.well-known/acme-challenge/)(/[\x21\x22\x24-\x7e]*) HTTP/1\.1(?=\r\n)"
)
_END: Final = b"\r\n\r\n"

# From this size on a copy less is worth a view.
_LARGE_BYTES: Final = 16384
_TRACE: Final = b"\r\ntraceparent: "


class Plan:
    """What becomes of a block of fields, from one client and for one table.

    C{middle} is what the app gets between request line and the request's id.
    """

    __slots__ = ("middle", "name", "request", "target", "user_agent")

    def __init__(self, request: RequestHead, target: Target, middle: bytes) -> None:
        self.request = request
        self.target = target
        self.middle = middle
        self.name = request.name
        self.user_agent = request.user_agent[:USER_AGENT_LIMIT].decode("latin-1")


class Answer:
    """What becomes of an answer's block: C{head}, before C{size_bytes} of body."""

    __slots__ = ("head", "size_bytes", "status")

    def __init__(self, head: bytes, size_bytes: int, status: int) -> None:
        self.head = head
        self.size_bytes = size_bytes
        self.status = status


class Lanes:
    """What one worker has learned.

    Plans are kept by client, as nobody shall learn from the time that an answer
    takes what others have sent; answers by the fields that we add to them.
    """

    __slots__ = ("_plans_limit", "answers", "plans")

    def __init__(self, plans_limit: int = PLANS_LIMIT) -> None:
        """Keep up to C{plans_limit} plans; with 0 every request goes the whole way."""
        self._plans_limit = plans_limit
        self.plans: dict[tuple[str, bytes], Plan] = {}
        self.answers: dict[tuple[bytes, bytes], Answer] = {}

    def clear(self) -> None:
        """Forget the plans: there is another table."""
        self.plans.clear()

    def learn_plan(
        self, peer: str, block: bytes, request: RequestHead, target: Target, head: bytes
    ) -> bool:
        """Remember what became of a request with C{block}; false: it is not plain.

        C{peer} is the client's address, C{head} is what the app got.
        """
        line = b"GET %b HTTP/1.1" % request.target
        tail = request.request_id + _TRACE + request.traceparent + _END
        fields = block[len(line) :] + _END
        if (
            request.length_bytes
            or request.framing
            or request.close
            or request.expect
            or request.upgrade
            or target.h2c
            or len(fields) > BLOCK_LIMIT_BYTES
            or not block.startswith(line)
            or not head.startswith(line)
            or not head.endswith(tail)
            or not self._plans_limit
        ):
            return False
        if len(self.plans) >= self._plans_limit:
            self.plans.clear()
        middle = head[len(line) : -len(tail)]
        self.plans[peer, fields] = Plan(request, target, middle)
        return True

    def learn_answer(
        self, extra: bytes, data: bytes, passed: bytes, exchange: Exchange
    ) -> None:
        """Remember what became of C{data}, if that was a whole answer: C{passed}.

        What is private to one client is not kept.
        """
        end = data.find(_END) + len(_END)
        size_bytes = len(data) - end
        if (
            exchange.response != COMPLETE
            or exchange.response_bytes != size_bytes
            or not exchange.keep_client
            or not exchange.keep_upstream
            or end > BLOCK_LIMIT_BYTES
            or b"set-cookie" in data[:end].lower()
        ):
            return
        if len(self.answers) >= ANSWERS_LIMIT:
            self.answers.clear()
        head = passed[: len(passed) - size_bytes]
        self.answers[extra, data[:end]] = Answer(head, size_bytes, exchange.status)


@mypyc_attr(allow_interpreted_subclasses=True)
class Lane(User):
    """The short way of one connection's requests, one after the other."""

    __slots__ = (
        "_answers",
        "_client",
        "_lanes",
        "_peer",
        "_plan",
        "_plans",
        "_request_id",
        "_sent",
        "_switch",
        "_target",
        "_traceparent",
        "_upstream",
    )

    def __init__(self, client: Downstream, lanes: Lanes) -> None:
        self._client = client
        self._switch: Switch = client.switch
        self._lanes = lanes
        self._plans = lanes.plans
        self._answers = lanes.answers
        self._peer = client.origin.peer
        # Of the request under way; without meaning between two.
        self._plan: Plan | None = None
        self._target = b""
        self._request_id = b""
        self._traceparent = b""
        self._sent = b""
        self._upstream: UpstreamConnection | None = None

    # The way up.

    def take(self, data: bytes) -> bool:
        """Forward C{data} if it is a request of this kind; false: nothing is done.

        Call it where a request is expected, with the first bytes of it.
        """
        match = _line.match(data)
        if match is None:
            return False
        end = match.end()
        plan = self._plans.get((self._peer, data[end:]))
        if plan is None or end > TARGET_LIMIT_BYTES:
            return False
        client = self._client
        switch = self._switch
        asked = client.origin.server_name
        if switch.retiring or (asked is not None and asked != plan.name):
            return False
        client.set_off(self)
        switch.requests_total += 1
        request_id = self._request_id = switch.next_request_id()
        traceparent = self._traceparent = switch.next_traceparent()
        self._plan = plan
        self._target = match[1]
        self._sent = sent = b"".join(
            (data[:end], plan.middle, request_id, _TRACE, traceparent, _END)
        )
        target = plan.target
        now_s = switch.wheel.now_s
        pool = target.only or target.pick(now_s, ())
        if pool is None or not pool.idle or pool.outstanding >= pool.limit:
            driver = self.general()
            if not driver.try_at(pool):
                driver.seek()
            return True
        self._upstream = upstream = pool.idle.pop()
        pool.outstanding += 1
        upstream.user = self
        upstream.send(sent)
        switch.wheel.arm(client, target.response_timeout_s)
        return True

    # The way down.

    def upstream_received(self, data: bytes) -> None:
        """Answer with C{data} if it is a whole answer of a known kind."""
        end = data.find(_END) + 4
        plan = self._plan
        upstream = self._upstream
        if plan is None or upstream is None:
            return
        extra = plan.target.extra
        answer = self._answers.get((extra, data[:end]))
        if answer is None or len(data) - end != answer.size_bytes:
            driver = self.general()
            passed = driver.pass_down(data)
            self._lanes.learn_answer(extra, data, passed, driver.exchange)
            return
        client = self._client
        if end + answer.size_bytes < _LARGE_BYTES:
            client.send(answer.head + data[end:])
        else:
            client.send(b"".join((answer.head, memoryview(data)[end:])))
        self._plan = None
        self._upstream = None
        self._sent = b""
        upstream.user = None
        pool = upstream.pool
        if upstream.broken:
            upstream.drop()
        else:
            upstream.resume()
            upstream.reused = True
            pool.keep(upstream, self._switch.wheel.now_s)
        self._log(plan, answer, pool.key)
        pool.finished()
        client.finished(keep=True, complete=True)

    def _log(self, plan: Plan, answer: Answer, key: str) -> None:
        """Write the record that L{haloy.proxy.origin.Origin.log} would write."""
        switch = self._switch
        sink = switch.sink
        if sink is None:
            return
        origin = self._client.origin
        took_s = switch.wheel.clock() - self._client.started_s
        values = (
            self._request_id.decode("ascii"),
            origin.peer,
            "GET",
            plan.name,
            self._target[:TARGET_LIMIT].decode("ascii"),
            "HTTP/1.1",
            origin.secure,
            answer.status,
            "done",
            plan.target.app,
            key,
            0,
            answer.size_bytes,
            took_s,
            took_s,
            plan.user_agent,
            origin.tls,
            self._traceparent.decode("ascii"),
        )
        # Not by the constructor, which names all of them once more.
        sink(tuple.__new__(AccessRecord, values))

    # What else may happen meanwhile is for the general way.

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

    def client_flushed(self) -> None:
        """Learn that the client has taken everything."""

    def client_progressed(self) -> None:
        """Learn that the client has taken something."""

    def client_relieved(self) -> None:
        """Learn that the client takes bytes again."""

    def client_ended(self) -> None:
        """Learn that the client sends nothing more: its request is complete."""

    def client_lost(self) -> None:
        """Learn that the client is gone."""
        self.general().client_lost()

    def expired(self) -> None:
        """Learn that the answer has not come in its time."""
        self.general().expired()

    def general(self) -> Forwarding:
        """Hand over to the driver that the general way would have by now."""
        plan = self._plan
        if plan is None:
            raise ValueError("no request is under way")
        client = self._client
        target = plan.target
        request = RequestHead(b"GET", self._target, False)
        take_over(request, plan.request)
        request.request_id = self._request_id
        request.traceparent = self._traceparent
        exchange = Exchange(
            request,
            extra=target.extra,
            replaced=target.replaced,
            max_body_bytes=target.max_body_bytes,
        )
        driver = Forwarding(client, target, exchange, self._sent, fresh=False)
        upstream = self._upstream
        if upstream is not None:
            driver.upstream = upstream
            driver.upstream_key = upstream.pool.key
            upstream.user = driver
        self._plan = None
        self._upstream = None
        self._sent = b""
        if client.driver is self:
            client.driver = driver
        return driver
