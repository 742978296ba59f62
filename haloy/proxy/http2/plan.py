"""What was done for a plain request, kept for those like it.

It hangs at the fields that a connection repeats (L{haloy.proxy.http2.decoder.Rest}),
so it goes with them, and no other client can learn of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haloy.proxy.body import NO_BODY
from haloy.proxy.http2.decoder import HeaderList
from haloy.proxy.http2.head import Meaning
from haloy.proxy.short_way import plan_of

if TYPE_CHECKING:
    from haloy.proxy.head import RequestHead
    from haloy.proxy.origin import Origin
    from haloy.proxy.switch import Target


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
    line = b"GET " + request.target
    if (
        isinstance(meaning, Meaning)
        and not meaning.named
        and request.framing == NO_BODY
        and not request.expect
        and not target.h2c
        and origin.is_usual(request, target)
        and head.startswith(line + b" ")
    ):
        meaning.plan = plan_of(line, request, target, head)
