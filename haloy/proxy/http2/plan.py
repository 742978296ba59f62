"""What was done for a plain request, kept for those like it.

It hangs at the fields that a connection repeats (L{haloy.proxy.http2.decoder.Rest}),
so it goes with them, and no other client can learn of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haloy.proxy.access_log import TARGET_LIMIT
from haloy.proxy.body import NO_BODY
from haloy.proxy.fast_request import Plan, plan_of
from haloy.proxy.http2.decoder import HeaderList
from haloy.proxy.http2.head import Meaning
from haloy.proxy.http2.hpack import Field, encode_field, literal_name
from haloy.proxy.http2.upstream import passed

if TYPE_CHECKING:
    from haloy.proxy.head import RequestHead
    from haloy.proxy.origin import Origin
    from haloy.proxy.target import Target


class Met:
    """The head and the trailers of an answer, and the blocks that they become.

    An app's connection that repeats them repeats the lists themselves.

    @ivar block: of the head. C{last_block}: of the trailers.
    """

    __slots__ = ("block", "fields", "last_block", "status", "trailers")

    def __init__(
        self,
        fields: list[Field],
        trailers: list[Field],
        block: bytes,
        last_block: bytes,
    ) -> None:
        self.fields = fields
        self.trailers = trailers
        self.block = block
        self.last_block = last_block
        self.status = int(fields[0][1])


class CallPlan(Plan):
    """What becomes of a call, for an app that speaks HTTP/2.

    @ivar start: the block before the path. C{fields}: the block behind it, to the
        request's id, whose name in it C{id_name} is.
    @ivar met: the last answer to such a call.
    """

    __slots__ = ("fields", "id_name", "met", "start")

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.request, plan.target, plan.middle)
        lines = plan.middle.split(b"\r\n")
        self.start = encode_field(b":method", b"POST") + encode_field(
            b":scheme", b"http"
        )
        self.fields = encode_field(b":authority", plan.authority) + passed(lines[2:-1])
        self.met: Met | None = None
        self.id_name = literal_name(lines[-1].partition(b":")[0].lower())


class Ready:
    """A request for whose fields there is a plan, which is good by one table.

    A client that repeats all of it repeats the list of fields itself, where it is kept.

    @ivar epoch: of the table. C{line}: how the request line begins.
    @ivar shown: the target, for the log.
    @ivar block: of a call: what the app gets before the request's id.
    """

    __slots__ = ("block", "epoch", "line", "plan", "shown", "target")

    def __init__(self, epoch: int, plan: Plan, line: bytes, target: bytes) -> None:
        self.epoch = epoch
        self.plan = plan
        self.line = line
        self.target = target
        self.shown = target[:TARGET_LIMIT].decode("ascii")
        self.block = b""
        if isinstance(plan, CallPlan):
            path = encode_field(b":path", target)
            self.block = b"".join((plan.start, path, plan.fields, plan.id_name))


def learn(
    origin: Origin,
    fields: HeaderList,
    request: RequestHead,
    target: Target,
    head: bytes,
) -> None:
    """Note what became of a request with C{fields}: C{head}, if it is plain.

    What a client calls its request is no part of what is alike.
    """
    meaning = fields.rest.meaning
    line = request.method + b" " + request.target
    if (
        not isinstance(meaning, Meaning)
        or meaning.named
        or request.expect
        or not origin.is_usual(request, target)
        or not head.startswith(line + b" ")
    ):
        return
    if request.method == b"GET":
        if request.framing == NO_BODY and not target.h2c:
            meaning.plan = plan_of(line, request, target, head)
    elif target.h2c:
        plan = plan_of(line, request, target, head)
        meaning.plan = CallPlan(plan) if plan is not None else None
