"""What the short ways of HTTP/1.1 and HTTP/2 share: plans, and one request on its way.

A plain request is done as one like it was done before (L{haloy.proxy.fast_path},
L{haloy.proxy.http2.fast_path}). Whatever else may happen to it is for the general
machine, which is made as it would stand at that moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from haloy.proxy.access_log import USER_AGENT_LIMIT, Kind
from haloy.proxy.head import RequestHead
from haloy.proxy.pool import Pool
from haloy.proxy.response_head import LAST_LINE
from haloy.proxy.upstream import UpstreamConnection, User

if TYPE_CHECKING:
    from haloy.proxy.forwarding import Forwarding
    from haloy.proxy.origin import Origin
    from haloy.proxy.switch import Switch
    from haloy.proxy.target import Target

TRACE: Final = b"\r\ntraceparent: "
END: Final = b"\r\n\r\n"

_KINDS_LIMIT: Final = 64


class Plan:
    """What becomes of a request's fields, from one client and for one target.

    C{request} had them; C{middle} is what the app gets between the beginning of the
    request line, which differs, and the request's id. C{close}: the client wants the
    connection to end with the answer. C{epoch}: which table of the worker it was
    learned by. C{ours}: the lines that we add to an answer. C{kinds}: what such
    requests were for the log, by status, replica, version of TLS and bytes of the body;
        C{kind}: the last of them.
    C{large}: hashes of those of their targets whose last answer was large
        (L{haloy.proxy.fast_path}).
    """

    __slots__ = (
        "close",
        "epoch",
        "kind",
        "kinds",
        "large",
        "method",
        "middle",
        "name",
        "ours",
        "request",
        "target",
        "user_agent",
    )

    def __init__(self, request: RequestHead, target: Target, middle: bytes) -> None:
        self.request = request
        self.close = request.close
        self.target = target
        self.ours = LAST_LINE + target.extra if request.close else target.extra
        self.epoch = target.epoch
        self.middle = middle
        self.method = request.method.decode("ascii")
        self.name = request.name
        self.kind: Kind | None = None
        self.kinds: dict[tuple[int, str, str, int], Kind] = {}
        self.large: set[int] = set()
        self.user_agent = request.user_agent[:USER_AGENT_LIMIT].decode("latin-1")

    @property
    def authority(self) -> bytes:
        """The Host field, as the client writes it."""
        return self.request.host


def plan_of(
    line: bytes, request: RequestHead, target: Target, head: bytes
) -> Plan | None:
    """Return the plan for requests like one that the app got as C{head}.

    C{line} is the beginning that differs. C{None}: C{head} is not of this kind.
    """
    tail = request.request_id + TRACE + request.traceparent + END
    if not (head.startswith(line) and head.endswith(tail)):
        return None
    return Plan(request, target, head[len(line) : -len(tail)])


@mypyc_attr(allow_interpreted_subclasses=True)
class FastRequest(User):
    """One request that a plan was there for, as the user of its upstream."""

    __slots__ = (
        "_plan",
        "_request_id",
        "_sent",
        "_switch",
        "_target",
        "_traceparent",
        "_upstream",
    )

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        # Of the request under way; without meaning between two.
        self._plan: Plan | None = None
        self._target = b""
        self._request_id = b""
        self._traceparent = b""
        self._sent = b""
        self._upstream: UpstreamConnection | None = None

    # What subclasses answer to.

    def general(self) -> Forwarding:
        """Hand over to the driver that the general way would have by now."""
        raise NotImplementedError

    # One request.

    def _begin(self, plan: Plan, line: bytes, target: bytes) -> None:
        """Make what the app gets; C{line} is the beginning, C{target} in it."""
        self._plan = plan
        self._target = target
        self._name()
        self._write(line, plan)

    def _name(self) -> None:
        """Count a request, and give it its names."""
        switch = self._switch
        switch.requests_total = number = switch.requests_total + 1
        self._request_id, self._traceparent = switch.names.both(number)

    def _write(self, line: bytes, plan: Plan) -> None:
        """Make the head by HTTP/1.1, whose beginning C{line} is."""
        self._sent = b"".join(
            (line, plan.middle, self._request_id, TRACE, self._traceparent, END)
        )

    def _send(self, plan: Plan) -> bool:
        """Send it on an idle connection of the pool whose turn it is.

        False: there was none, and the general way has taken over.
        """
        target = plan.target
        pool = target.only or target.pick(self._switch.wheel.now_s, ())
        if pool is None or not pool.idle or pool.outstanding >= pool.limit:
            driver = self.general()
            if not driver.try_at(pool):
                driver.seek()
            return False
        upstream = self._upstream = pool.idle.pop()
        pool.outstanding += 1
        upstream.user = self
        upstream.send(self._sent)
        return True

    def _give_back(self, upstream: UpstreamConnection) -> Pool:
        """Let go of the upstream after a whole answer; return its pool.

        The caller tells that it has finished, when everything else is done.
        """
        self._upstream = None
        upstream.give_back(self._switch.wheel.now_s)
        return upstream.pool

    def _log(
        self,
        plan: Plan,
        origin: Origin,
        started_s: float,
        status: int,
        size_bytes: int,
        key: str,
        target: str,
        request_bytes: int = 0,
    ) -> None:
        """Note what L{haloy.proxy.origin.Origin.log} would note."""
        switch = self._switch
        sink = switch.sink
        if sink is None:
            return
        took_s = switch.wheel.clock() - started_s
        kind = plan.kind
        if (
            kind is None
            or kind.status != status
            or kind.bytes_in != request_bytes
            or kind.upstream != key
            or kind.tls != origin.tls
        ):
            kind = plan.kind = self._kind(plan, origin, status, key, request_bytes)
        sink(
            (
                kind,
                self._request_id.decode("ascii"),
                target,
                size_bytes,
                took_s,
                took_s,
                self._traceparent.decode("ascii"),
            )
        )

    def _kind(
        self, plan: Plan, origin: Origin, status: int, key: str, request_bytes: int
    ) -> Kind:
        """Return the kind, which is among the last ones of the plan or of all."""
        known = (status, key, origin.tls, request_bytes)
        kind = plan.kinds.get(known)
        if kind is not None:
            return kind
        if len(plan.kinds) >= _KINDS_LIMIT:
            plan.kinds.clear()
        kind = plan.kinds[known] = self._switch.kinds.of(
            (
                origin.peer,
                plan.method,
                plan.name,
                origin.protocol,
                origin.secure,
                status,
                "done",
                plan.target.app,
                key,
                request_bytes,
                plan.user_agent,
                origin.tls,
            )
        )
        return kind

    # What else may happen meanwhile is for the general way.

    def upstream_connected(self) -> None:
        """Learn that the connection stands, which it did."""

    def upstream_refused(self, reason: str) -> None:
        """Learn that the connection did not come about, which it has."""

    def upstream_readable(self) -> bool:
        """Take bytes by C{upstream_received}."""
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

    def expired(self) -> None:
        """Learn that the answer has not come in its time."""
        self.general().expired()
