"""The short way of a plain request: what was done for one like it, done again.

A client that keeps its connection repeats its fields word for word, and an app its
answer's. What a block of fields becomes on the way up, a L{Plan}, and what a block
becomes on the way down, an L{Answer}, are remembered here and put around what differs.
A block that is new is read as everywhere; no L{Exchange} is made for it either.

A request goes this way if it is a GET in origin form of HTTP/1.1 that asks for nothing
but its answer, or for that and the end of the connection; its answer if all of it is
there, and its length says so. Where the last answer was large, only the beginning of
the next one is read, and the kernel moves the rest. In all other cases
L{Http1FastRequest.take} has changed nothing, or L{Http1FastRequest.general} makes the
L{Forwarding} that would stand at this moment and hands over to it. So there is one
machine and one set of rules;
C{tests/proxy/test_fast_path.py} compares both ways.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from haloy.proxy.access_log import TARGET_LIMIT
from haloy.proxy.body import LENGTH, NO_BODY
from haloy.proxy.descriptor import BULK_READ_BYTES
from haloy.proxy.exchange import Exchange
from haloy.proxy.fast_request import END, FastRequest, Plan, plan_of
from haloy.proxy.fields import TARGET_LIMIT_BYTES, BadHead
from haloy.proxy.forwarding import Forwarding
from haloy.proxy.head import RequestHead
from haloy.proxy.head_cache import take_over
from haloy.proxy.response_head import framing_of, parse_response, render_response
from haloy.proxy.seen import Seen
from haloy.proxy.splice import pulled

if TYPE_CHECKING:
    from haloy.proxy.downstream import Downstream
    from haloy.proxy.target import Target
    from haloy.proxy.upstream import UpstreamConnection

PLANS_LIMIT: Final = 512
ANSWERS_LIMIT: Final = 256
BLOCK_LIMIT_BYTES: Final = 2048

# A request line that needs no second look: L{haloy.proxy.head} would take it as it
# is, and L{haloy.proxy.dispatch} would not answer it with a challenge.
_line = re.compile(
    rb"GET (?!/\.well-known/acme-challenge/)(/[\x21\x22\x24-\x7e]*) HTTP/1\.1(?=\r\n)"
)

# Where the head of an answer ends that is read here; what is longer, and an end that is
# not there (C{find} and four), is for the general way.
_FIRST_END: Final = 4
_HEAD_LIMIT_BYTES: Final = 16384

# From this size on a copy less is worth a view.
_LARGE_BYTES: Final = 16384

# A body with so much behind what was read goes through a pipe: two calls more, and two
# copies less. The beginning has to have room for the head.
MOVED_LEAST_BYTES: Final = 65536
FIRST_BYTES: Final = 4096
_TARGETS_LIMIT: Final = 64


class Answer:
    """What becomes of an answer's block: C{head}, before C{size_bytes} of body."""

    __slots__ = ("head", "size_bytes", "status")

    def __init__(self, head: bytes, size_bytes: int, status: int) -> None:
        self.head = head
        self.size_bytes = size_bytes
        self.status = status


class FastPaths:
    """What one worker has learned, of what came twice.

    Plans are kept by client, as nobody shall learn from the time that an answer
    takes what others have sent; answers by the fields that we add to them.
    """

    __slots__ = ("_plans_limit", "_seen", "answers", "plans")

    def __init__(self, plans_limit: int = PLANS_LIMIT) -> None:
        """Keep up to C{plans_limit} plans; with 0 every request goes the whole way."""
        self._plans_limit = plans_limit
        self._seen = Seen()
        self.plans: dict[tuple[str, bytes], Plan] = {}
        self.answers: dict[tuple[bytes, bytes], Answer] = {}

    def learn_plan(
        self, peer: str, block: bytes, request: RequestHead, target: Target, head: bytes
    ) -> Plan | None:
        """Return what becomes of a request with C{block}; C{None}: it is not plain.

        It is remembered if it came before and is not long. C{peer} is the client's
        address, C{head} what the app gets.
        """
        line = b"GET %b HTTP/1.1" % request.target
        fields = block[len(line) :] + END
        if (
            request.length_bytes
            or request.framing
            or request.expect
            or request.upgrade
            or target.h2c
            or not block.startswith(line)
            or not self._plans_limit
        ):
            return None
        plan = plan_of(line, request, target, head)
        if plan is not None and len(fields) <= BLOCK_LIMIT_BYTES:
            key = (peer, fields)
            if self._seen.before(key):
                if len(self.plans) >= self._plans_limit:
                    self.plans.clear()
                self.plans[key] = plan
        return plan

    def read_answer(self, plan: Plan, block: bytes) -> Answer | None:
        """Return what becomes of an answer's head, its empty line included.

        C{None}: there is more to do than to pass on it and its body. What is private to
        one client is not remembered.
        """
        try:
            head = parse_response(block[: -len(END)])
        except BadHead:
            return None
        framing = framing_of(head, b"GET")
        if head.status < 200 or head.close or framing not in (LENGTH, NO_BODY):
            return None
        answer = Answer(
            render_response(head, plan.target.replaced, plan.ours),
            head.length_bytes if framing == LENGTH else 0,
            head.status,
        )
        if not head.private and len(block) <= BLOCK_LIMIT_BYTES:
            key = (plan.ours, block)
            if self._seen.before(key):
                if len(self.answers) >= ANSWERS_LIMIT:
                    self.answers.clear()
                self.answers[key] = answer
        return answer


@mypyc_attr(allow_interpreted_subclasses=True)
class Http1FastRequest(FastRequest):
    """The short way of one connection's requests, one after the other."""

    __slots__ = ("_answers", "_client", "_fast_paths", "_peer", "_plans")

    def __init__(self, client: Downstream, fast_paths: FastPaths) -> None:
        super().__init__(client.switch)
        self._client = client
        self._fast_paths = fast_paths
        self._plans = fast_paths.plans
        self._answers = fast_paths.answers
        self._peer = client.origin.peer

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
        if not switch.serves(plan.target):
            return False
        client.started_s = switch.wheel.clock()
        self._begin(plan, data[:end], match[1])
        self._set_off(plan)
        return True

    def follow(self, plan: Plan, request: RequestHead, head: bytes) -> None:
        """Forward C{request}, which has just been read: the app gets C{head}."""
        self._plan = plan
        self._target = request.target
        self._request_id = request.request_id
        self._traceparent = request.traceparent
        self._sent = head
        self._set_off(plan)

    def _set_off(self, plan: Plan) -> None:
        """Send what was made, and wait for the answer."""
        client = self._client
        client.set_off(self)
        if self._send(plan):
            self._switch.wheel.arm(client, plan.target.response_timeout_s)
            large = plan.large
            if large and self._upstream is not None and hash(self._target) in large:
                self._upstream.read_bytes = FIRST_BYTES

    # The way down.

    def upstream_received(self, data: bytes) -> None:
        """Answer with C{data} if it is a whole answer of a known kind."""
        end = data.find(END) + 4
        plan = self._plan
        upstream = self._upstream
        if plan is None or upstream is None:
            return
        if upstream.read_bytes == FIRST_BYTES:
            upstream.read_bytes = BULK_READ_BYTES
            data = self._begun(plan, upstream, data)
            if not data:
                return
            end = data.find(END) + 4
        block = data[:end]
        answer = self._answers.get((plan.ours, block))
        if answer is None and _FIRST_END < end < _HEAD_LIMIT_BYTES:
            answer = self._fast_paths.read_answer(plan, block)
        if answer is None or len(data) - end != answer.size_bytes:
            self.general().upstream_received(data)
            return
        client = self._client
        if end + answer.size_bytes < _LARGE_BYTES:
            client.send(answer.head + data[end:])
        else:
            client.send_all((answer.head, memoryview(data)[end:]))
            self._note_size(plan, answer.size_bytes)
        self._answered(plan, upstream, answer)

    def _note_size(self, plan: Plan, size_bytes: int) -> None:
        """Note whether the next answer to this is worth a pipe."""
        if size_bytes < MOVED_LEAST_BYTES + FIRST_BYTES or not self._client.spliceable:
            return
        if len(plan.large) >= _TARGETS_LIMIT:
            plan.large.clear()
        plan.large.add(hash(self._target))

    def _begun(self, plan: Plan, upstream: UpstreamConnection, data: bytes) -> bytes:
        """Have the kernel move what is behind C{data}; C{b""}: it is done.

        That is if all of a known answer is there; else what has come is returned, as
        if it had been read at once.
        """
        end = data.find(END) + 4
        client = self._client
        answer = self._answers.get((plan.ours, data[:end]))
        left = answer.size_bytes + end - len(data) if answer is not None else 0
        if answer is None or left < MOVED_LEAST_BYTES or client.unsent is not None:
            return upstream.read_on(data)
        try:
            # One byte more would be one that nobody asked for.
            pipe = pulled(upstream.fileno(), left + 1)
        except OSError:
            upstream.was_reset = True
            return data
        if pipe is None:
            return upstream.read_on(data)
        if pipe.inside != left:
            data += pipe.take()
            pipe.release()
            return data
        client.send(answer.head + data[end:])
        client.send_pipe(pipe)
        pipe.release()
        self._answered(plan, upstream, answer)
        return b""

    def _answered(
        self, plan: Plan, upstream: UpstreamConnection, answer: Answer
    ) -> None:
        """Note that the whole answer is on its way."""
        client = self._client
        pool = self._give_back(upstream)
        self._plan = None
        self._sent = b""
        self._log(
            plan,
            client.origin,
            client.started_s,
            answer.status,
            answer.size_bytes,
            pool.key,
            self._target[:TARGET_LIMIT].decode("ascii"),
        )
        pool.finished()
        client.finished(keep=not plan.close, complete=True)

    # What else may happen meanwhile is for the general way.

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
        if self._upstream is not None:
            self._upstream.read_bytes = BULK_READ_BYTES
            driver.use(self._upstream)
        self._plan = None
        self._upstream = None
        self._sent = b""
        if client.driver is self:
            client.driver = driver
        return driver
