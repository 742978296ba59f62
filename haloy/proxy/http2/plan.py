"""What was done for a plain request, kept for those like it.

It hangs at the fields that a connection repeats (L{haloy.proxy.http2.decoder.Rest}),
so it goes with them, and no other client can learn of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haloy.proxy.access_log import USER_AGENT_LIMIT
from haloy.proxy.body import NO_BODY
from haloy.proxy.http2.decoder import HeaderList
from haloy.proxy.http2.head import Meaning

if TYPE_CHECKING:
    from haloy.proxy.head import RequestHead
    from haloy.proxy.origin import Origin
    from haloy.proxy.switch import Switch, Target

TRACE: Final = b"\r\ntraceparent: "
END: Final = b"\r\n\r\n"


class Plan:
    """What becomes of fields, on one connection and for one table.

    C{middle} is what the app gets between the target and the request's id.
    """

    __slots__ = ("authority", "middle", "name", "target", "user_agent")

    def __init__(self, request: RequestHead, target: Target, middle: bytes) -> None:
        self.authority = request.host
        self.name = request.name
        self.target = target
        self.middle = middle
        self.user_agent = request.user_agent[:USER_AGENT_LIMIT].decode("latin-1")


def learn(
    switch: Switch,
    origin: Origin,
    fields: HeaderList,
    request: RequestHead,
    target: Target,
    head: bytes,
) -> None:
    """Note what became of a request with C{fields}: C{head}, if it is plain.

    What a client calls its request is no part of what is alike. A trusted peer
    speaks for others: each of its requests is looked at.
    """
    meaning = fields.rest.meaning
    known = switch.secure_targets if origin.secure else switch.plain_targets
    line = b"GET " + request.target
    tail = request.request_id + TRACE + request.traceparent + END
    if (
        isinstance(meaning, Meaning)
        and not meaning.named
        and request.framing == NO_BODY
        and not request.expect
        and not origin.trusted
        and not target.h2c
        and known.get(request.host) is target
        and head.startswith(line + b" ")
        and head.endswith(tail)
    ):
        middle = head[len(line) : -len(tail)]
        meaning.plan = Plan(request, target, middle)
