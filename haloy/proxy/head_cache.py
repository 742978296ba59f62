"""Header blocks met a moment ago, so that they need not be taken apart again.

A client that keeps its connection repeats its block of fields word for word. What is
remembered has passed L{haloy.proxy.head.parse_request} whole, so a hit means the same
as parsing would; the request line is always parsed. The client's address is a part of
the key: nobody learns from the time that an answer takes what others have sent.
"""

from __future__ import annotations

from typing import Final

from haloy.proxy.head import RequestHead, parse_request, parse_request_line
from haloy.proxy.seen import Seen

HEADS_LIMIT: Final = 1024
BLOCK_LIMIT_BYTES: Final = 4096


class HeadCache:
    """The parsed blocks of one worker, by client and bytes: those that came twice."""

    __slots__ = ("_known", "_limit", "_seen")

    def __init__(self, limit: int = HEADS_LIMIT) -> None:
        self._limit = limit
        self._known: dict[tuple[str, bytes], RequestHead] = {}
        self._seen = Seen()

    def __len__(self) -> int:
        return len(self._known)

    def parse(self, peer: str, block: bytes) -> RequestHead:
        """Return the request head in C{block}, as C{parse_request} does.

        @param peer: the address of the client.
        @raise BadHead: as there.
        """
        end = block.find(b"\r\n")
        if end < 0 or len(block) - end > BLOCK_LIMIT_BYTES:
            return parse_request(block)
        key = (peer, block[end:])
        known = self._known.get(key)
        if known is not None:
            head = parse_request_line(block[:end])
            # Other targets and versions give the fields another meaning.
            if head.target[:1] == b"/" and not head.http10:
                take_over(head, known)
                return head
        head = parse_request(block)
        if known is None and not head.http10 and self._seen.before(key):
            if len(self._known) >= self._limit:
                self._known.clear()
            kept = RequestHead(b"", b"", False)
            take_over(kept, head)
            self._known[key] = kept
        return head


def take_over(head: RequestHead, known: RequestHead) -> None:
    """Give C{head} what the fields say, which nobody changes afterwards."""
    head.host = known.host
    head.name = known.name
    head.framing = known.framing
    head.length_bytes = known.length_bytes
    head.close = known.close
    head.expect = known.expect
    head.upgrade = known.upgrade
    head.request_id = known.request_id
    head.traceparent = known.traceparent
    head.user_agent = known.user_agent
    head.forwarded_for = known.forwarded_for
    head.forwarded_host = known.forwarded_host
    head.forwarded_proto = known.forwarded_proto
    head.fields = known.fields
