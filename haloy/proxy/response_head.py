"""Response heads: strict in, so that an answer can be read in one way only.

And written anew from the parsed form, as requests are.
"""

from __future__ import annotations

import re
from typing import Final

from haloy.proxy.body import CHUNKED, CLOSE, LENGTH, NO_BODY
from haloy.proxy.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    IN_RESPONSES,
    KEEP,
    PRIVATE,
    TRANSFER_ENCODING,
    UPGRADE,
    BadHead,
    field_name,
    parse_length,
    split_head,
    tokens_of,
    without,
)

#: What a client is told with the last answer of its connection.
LAST_LINE: Final = b"Connection: close\r\n"

_STATUS_LINES_LIMIT: Final = 256
_STATUS_LINE_LIMIT_BYTES: Final = 128
_status_lines: dict[bytes, tuple[int, bytes, bool]] = {}  # those met before

_status_line = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\r\n]*))?\Z")

_NO_CONTENT_STATUSES: Final = frozenset((204, 304))


class ResponseHead:
    """A response head in parsed form.

    C{length_bytes} is -1 without Content-Length; C{chunked} and C{upgrade} as
    the fields say. How long the body really is depends on the request too:
    L{framing_of}. C{private}: it has something that is for one client alone.
    """

    __slots__ = (
        "chunked",
        "close",
        "fields",
        "http10",
        "length_bytes",
        "private",
        "reason",
        "status",
        "upgrade",
    )

    def __init__(self, status: int, reason: bytes, http10: bool) -> None:
        self.status = status
        self.reason = reason
        self.http10 = http10
        self.length_bytes = -1
        self.chunked = False
        self.close = http10
        self.upgrade = b""
        self.private = False
        self.fields: list[bytes] = []


def parse_response(block: bytes) -> ResponseHead:
    """Return the response head in C{block}, which ends before the empty line.

    @raise BadHead: always with status 502.
    """
    lines = split_head(block, 502)
    known = _status_lines.get(lines[0])
    status, reason, http10 = known or _parse_status_line(lines[0])
    head = ResponseHead(status, reason, http10)
    action_of = IN_RESPONSES.by_name
    fields = head.fields
    connection = b""
    upgrade = b""
    kept = IN_RESPONSES.kept
    for index in range(1, len(lines)):
        line = lines[index]
        if line in kept:
            fields.append(line)
            continue
        name, colon, value = line.partition(b":")
        action = action_of.get(name, -1) if colon else -1
        if action < 0 and colon:
            action = IN_RESPONSES.learn(name)
        if action == KEEP:
            fields.append(line)
            IN_RESPONSES.keep_in_mind(line)
        elif action == PRIVATE:
            head.private = True
            fields.append(line)
        elif action < 0:
            raise BadHead(502, "malformed field line")
        elif action == CONTENT_LENGTH:
            length_bytes = parse_length(value.strip(b" \t"), 502)
            # A repeated equal value may be taken as one: RFC 9110 section 8.6.
            if head.length_bytes not in (-1, length_bytes):
                raise BadHead(502, "several Content-Length fields")
            head.length_bytes = length_bytes
        elif action == TRANSFER_ENCODING:
            if head.chunked or value.strip(b" \t").lower() != b"chunked":
                raise BadHead(502, "unsupported Transfer-Encoding")
            head.chunked = True
        elif action == CONNECTION:
            value = value.strip(b" \t")
            connection = connection + b"," + value if connection else value
        elif action == UPGRADE:
            upgrade = value.strip(b" \t").lower()
    if head.chunked and (head.length_bytes >= 0 or head.http10):
        raise BadHead(502, "Transfer-Encoding with Content-Length or HTTP/1.0")
    if connection == b"keep-alive":
        head.close = False
    elif connection:
        tokens = tokens_of(connection)
        if b"close" in tokens:
            head.close = True
        elif b"keep-alive" in tokens:
            head.close = False
        if b"upgrade" in tokens:
            head.upgrade = upgrade
        head.fields = without(fields, tokens)
    return head


def framing_of(head: ResponseHead, method: bytes) -> int:
    """Return how the body of a final answer to C{method} ends.

    One of L{haloy.proxy.body}'s kinds (RFC 9112 section 6.3).
    """
    if not may_have_body(method, head.status):
        return NO_BODY
    if head.length_bytes >= 0:
        return LENGTH
    return CHUNKED if head.chunked else CLOSE


def may_have_body(method: bytes, status: int) -> bool:
    """Tell whether a final response has a body at all (RFC 9112 section 6.3)."""
    return method != b"HEAD" and status not in _NO_CONTENT_STATUSES


def render_response(
    head: ResponseHead, replaced: frozenset[bytes], ours: bytes
) -> bytes:
    """Return a final head as it goes to the client.

    C{ours} are the field lines that we add, each with its end; C{replaced} the names in
    lower case of fields that do not go on for them.
    """
    fields = head.fields
    if replaced:
        fields = [line for line in fields if field_name(line) not in replaced]
    lines = [b"HTTP/1.1 %d %b" % (head.status, head.reason), *fields]
    if head.length_bytes >= 0 and head.status != 204:
        lines.append(b"Content-Length: %d" % head.length_bytes)
    lines.append(ours)
    return b"\r\n".join(lines) + b"\r\n"


def _parse_status_line(line: bytes) -> tuple[int, bytes, bool]:
    """Return status, reason and whether it is HTTP/1.0."""
    match = _status_line.match(line)
    if match is None:
        raise BadHead(502, "malformed status line")
    version, status, reason = match.groups()
    parsed = (int(status), reason or b"", version == b"0")
    if (
        len(_status_lines) < _STATUS_LINES_LIMIT
        and len(line) <= _STATUS_LINE_LIMIT_BYTES
    ):
        _status_lines[line] = parsed
    return parsed
