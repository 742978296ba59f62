"""A header list as a request: what HTTP/2 asks of it, then what HTTP/1.1 does.

The list goes straight into a L{RequestHead}, the same that an HTTP/1.1 head becomes,
so everything behind it is one code. What could be read differently there is refused
(RFC 9113 section 8.2 and 8.3): a malformed request reaches nobody.
"""

from __future__ import annotations

import re
from typing import Final

from haloy.proxy.body import CHUNKED, LENGTH
from haloy.proxy.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    DROP,
    EXPECT,
    FIELDS_LIMIT,
    HOST,
    IN_REQUESTS,
    KEEP,
    PRIVATE,
    TARGET_LIMIT_BYTES,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    USER_AGENT,
    BadHead,
    parse_length,
)
from haloy.proxy.head import RequestHead, remember, settle_host
from haloy.proxy.http2.decoder import HeaderList
from haloy.proxy.http2.hpack import Field

_LEARNED_LIMIT: Final = 4096
_LEARNED_BYTES: Final = 256

_name = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
_method = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_target = re.compile(rb"[\x21\x22\x24-\x7e]+\Z")
# What values are made of: no end of line, no other control.
_IN_VALUES: Final = bytes((9, *range(32, 127), *range(128, 256)))
_USUAL_METHODS: Final = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
)
_TRAILERS: Final = b"TE: trailers"
# CONNECT has :method and :authority alone (RFC 9113 section 8.5).
_PROXY_FIELDS: Final = 1 | 8
# gRPC by its own name; gRPC-Web is ordinary HTTP.
_call = re.compile(rb"content-type: *application/grpc *(?:[+;]|\Z)", re.IGNORECASE)
_BETWEEN_HOPS: Final = frozenset((CONNECTION, TRANSFER_ENCODING, UPGRADE))
_FORBIDDEN: Final = frozenset((b"keep-alive", b"proxy-connection"))

# Fields met before: what becomes of them, and their line.
_learned: dict[Field, tuple[int, bytes]] = {}


class Malformed(Exception):
    """A request that is reset: it is not even wrong enough for an answer."""


class Meaning:
    """What ordinary fields say, whatever request they belong to.

    @ivar head: the lines that go on, and what names the request or its client.
    @ivar named: there is such a name.
    @ivar plan: what was done for such a request (L{haloy.proxy.http2.fast_path}).
    """

    __slots__ = ("expect", "head", "host", "length", "named", "plan")

    def __init__(self) -> None:
        self.head = RequestHead(b"", b"", False)
        self.host: bytes | None = None
        self.length: bytes | None = None
        self.expect = False
        self.named = False
        self.plan: object = None


class Start:
    """What pseudo-header fields say."""

    __slots__ = ("authority", "method", "target")

    def __init__(self, method: bytes, target: bytes, authority: bytes) -> None:
        self.method = method
        self.target = target
        self.authority = authority


def request_of(fields: HeaderList | None, *, end: bool) -> RequestHead:
    """Return the request that C{fields} make; C{end}: it has no body.

    C{None} stands for more fields than are taken.

    @raise Malformed: it breaks the rules of HTTP/2.
    @raise BadHead: it breaks those of HTTP; its status is the answer.
    """
    if fields is None:
        raise BadHead(431, "header list too long")
    start = start_of(fields)
    rest = fields.rest
    meaning = rest.meaning
    if not isinstance(meaning, Meaning):
        meaning = rest.meaning = _ordinary_fields(rest.fields)
    known = meaning.head
    head = RequestHead(start.method, start.target, False)
    head.fields = known.fields
    head.user_agent = known.user_agent
    if meaning.named:
        head.request_id = known.request_id
        head.traceparent = known.traceparent
        head.forwarded_for = known.forwarded_for
        head.forwarded_host = known.forwarded_host
        head.forwarded_proto = known.forwarded_proto
    head.expect = meaning.expect and not end
    if meaning.length is not None or not end:
        _frame(head, meaning.length, end=end)
    _check(head, start.authority, meaning.host)
    return head


def is_call(request: RequestHead) -> bool:
    """Tell whether this is a call of gRPC, which needs HTTP/2 all the way."""
    return (
        request.method == b"POST"
        and _TRAILERS in request.fields
        and any(_call.match(line) is not None for line in request.fields)
    )


def start_of(fields: HeaderList) -> Start:
    """Return what the pseudo-header fields say.

    @raise Malformed, BadHead: as L{request_of}.
    """
    start = fields.start
    if not isinstance(start, Start):
        start = fields.start = _pseudo_fields(fields.pseudo)
    return start


def _ordinary_fields(fields: list[Field]) -> Meaning:
    meaning = Meaning()
    head = meaning.head
    lines = head.fields
    crumbs: list[bytes] = []
    for field in fields:
        action, line = _learned.get(field) or _learn(field)
        if action == KEEP:
            lines.append(line)
            continue
        if action == DROP:
            continue
        name, value = field
        if action == PRIVATE:
            if name == b"cookie":
                # It comes in pieces, and is one field again (section 8.2.3).
                if value or crumbs:
                    crumbs.append(value)
            else:
                lines.append(line)
        elif action == USER_AGENT:
            head.user_agent = value
            lines.append(line)
        elif action == HOST:
            if meaning.host is not None:
                raise Malformed("several Host fields")
            meaning.host = value
        elif action == CONTENT_LENGTH:
            if meaning.length is not None:
                raise Malformed("several Content-Length fields")
            meaning.length = value
        elif action == EXPECT:
            if value.lower() != b"100-continue":
                raise BadHead(417, "unsupported expectation")
            meaning.expect = True
        elif action == TE:
            if value.lower() != b"trailers":
                raise Malformed("TE")
            lines.append(_TRAILERS)
        else:
            remember(head, action, value)
            meaning.named = True
    if crumbs:
        lines.append(b"Cookie: " + b"; ".join(crumbs))
    if len(lines) > FIELDS_LIMIT:
        raise BadHead(431, "too many fields")
    return meaning


def _pseudo_fields(fields: list[Field]) -> Start:
    method = target = scheme = authority = b""
    seen = 0
    for name, value in fields:
        if name == b":method":
            method = value
            seen |= 1
        elif name == b":path":
            target = value
            seen |= 2
        elif name == b":scheme":
            scheme = value
            seen |= 4
        elif name == b":authority":
            authority = value
            seen |= 8
        else:
            raise Malformed("pseudo-header field")
    if len(fields) != seen.bit_count():
        raise Malformed("a pseudo-header field twice")
    if method not in _USUAL_METHODS and _method.match(method) is None:
        raise Malformed("method")
    if method == b"CONNECT" and seen == _PROXY_FIELDS and authority:
        raise BadHead(405, "method not allowed")
    if not target or not scheme:
        raise Malformed("no path or no scheme")
    if method in (b"CONNECT", b"TRACE"):
        raise BadHead(405, "method not allowed")
    if len(target) > TARGET_LIMIT_BYTES:
        raise BadHead(414, "request target too long")
    if target[:1] != b"/" and (target != b"*" or method != b"OPTIONS"):
        raise Malformed("path")
    if _target.match(target) is None:
        raise BadHead(400, "malformed request target")
    return Start(method, target, authority)


def _well_formed(name: bytes, value: bytes) -> bool:
    """Tell whether a field is one: a name in lower case, a value without controls.

    And none with blanks around it. Values are long, and an expression takes a hundred
    times as long to look at them.
    """
    return (
        _name.match(name) is not None
        and not value.translate(None, _IN_VALUES)
        and value == value.strip(b" \t")
    )


def _learn(field: Field) -> tuple[int, bytes]:
    """Check a field that was not met before; return what becomes of it."""
    name, value = field
    if not _well_formed(name, value):
        raise Malformed("field")
    action = IN_REQUESTS.by_name.get(name, -1)
    if action < 0:
        action = IN_REQUESTS.learn(name)
    if action in _BETWEEN_HOPS or name in _FORBIDDEN:
        raise Malformed("a field of the connection")
    found = (action, name + b": " + value)
    if action != PRIVATE and len(found[1]) <= _LEARNED_BYTES:
        if len(_learned) >= _LEARNED_LIMIT:
            _learned.clear()
        _learned[field] = found
    return found


def _frame(head: RequestHead, length: bytes | None, *, end: bool) -> None:
    """Say how long the body is: there is one, or C{length} was told."""
    if length is not None:
        if not length.isdigit():
            raise Malformed("Content-Length")
        head.length_bytes = parse_length(length, 400)
        head.framing = LENGTH
        if end and head.length_bytes:
            raise Malformed("a body that does not come")
    else:
        head.framing = CHUNKED


def _check(head: RequestHead, authority: bytes, host: bytes | None) -> None:
    if authority:
        if host is not None and host.lower() != authority.lower():
            raise Malformed("Host differs from :authority")
        host = authority
    settle_host(head, host)


def trailer_lines(fields: list[Field]) -> list[bytes]:
    """Return trailers as lines, those that are well formed."""
    return [name + b": " + value for name, value in fields if _well_formed(name, value)]
