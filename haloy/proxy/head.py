"""Request heads: strict in, written anew from the parsed form.

Knows the grammar and the limits of RFC 9112 sections 2, 3 and 6. Knows nothing of
routes, bodies or sockets.

A field line whose name is harmless is passed on as it came: the whole block is
checked for bare CR, LF and control characters first and the name is a token, so
there is only one way to read it.
"""

from __future__ import annotations

import re
from typing import Final

from mypy_extensions import mypyc_attr

from haloy.proxy.body import CHUNKED, LENGTH, NO_BODY
from haloy.proxy.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    DROP,
    EXPECT,
    FORWARDED_FOR,
    FORWARDED_HOST,
    HEAD_LIMIT_BYTES,
    HOST,
    IN_REQUESTS,
    KEEP,
    PRIVATE,
    REQUEST_ID,
    TARGET_LIMIT_BYTES,
    TE,
    TRACEPARENT,
    TRANSFER_ENCODING,
    UPGRADE,
    USER_AGENT,
    BadHead,
    is_token,
    parse_length,
    split_head,
    tokens_of,
    without,
)

_NAMES_LIMIT: Final = 4096
_names: dict[bytes, str] = {}  # valid Host fields met before

# Several fields of these names are one list (RFC 9110 section 5.3).
_LISTS: Final = (CONNECTION, UPGRADE, TE)

_USUAL_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE"))
_target = re.compile(rb"[\x21\x22\x24-\x7e]+\Z")
_version = re.compile(rb"HTTP/[0-9]\.[0-9]\Z")
_absolute = re.compile(rb"https?://([^/?]*)([/?].*)?\Z", re.IGNORECASE | re.DOTALL)
_host = re.compile(
    rb"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]{2,45}\])"
    rb"(?::[0-9]{1,5})?\Z"
)
# W3C Trace Context: version, trace, parent, flags; neither of zeros alone.
_traceparent = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z"
)
_request_id = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}\Z")


@mypyc_attr(allow_interpreted_subclasses=True)
class RequestHead:
    """A request head in parsed form; nobody changes it after L{parse_request}.

    C{host} is the field as it came, C{name} the same in lower case without port
    and trailing dot. C{target} is in origin form, or C{*}. C{framing} is one of
    L{haloy.proxy.body}'s kinds. C{fields} are the lines that go on, without
    Host, framing and forwarding fields. C{upgrade} is the protocol asked for in
    lower case when Connection names it too, else empty. C{request_id} and
    C{traceparent} are those of the client, where they are well formed.
    """

    __slots__ = (
        "close",
        "expect",
        "fields",
        "forwarded_for",
        "forwarded_host",
        "forwarded_proto",
        "framing",
        "host",
        "http10",
        "length_bytes",
        "method",
        "name",
        "request_id",
        "target",
        "traceparent",
        "upgrade",
        "user_agent",
    )

    def __init__(self, method: bytes, target: bytes, http10: bool) -> None:
        self.method = method
        self.target = target
        self.http10 = http10
        self.host = b""
        self.name = ""
        self.framing: int = NO_BODY
        self.length_bytes = 0
        self.close = http10
        self.expect = False
        self.upgrade = b""
        self.request_id = b""
        self.traceparent = b""
        self.user_agent = b""
        self.forwarded_for = b""
        self.forwarded_host = b""
        self.forwarded_proto = b""
        self.fields: list[bytes] = []


def canonical_name(host: bytes) -> str:
    """Return a valid Host value in lower case, without port and trailing dot."""
    name = host.lower()
    if name[:1] == b"[":
        name = name[: name.find(b"]") + 1]
    else:
        colon = name.find(b":")
        if colon >= 0:
            name = name[:colon]
        if name[-1:] == b".":
            name = name[:-1]
    return name.decode("ascii")


def parse_request(block: bytes) -> RequestHead:
    """Return the request head in C{block}, which ends before the empty line.

    @raise BadHead: 400, 405, 414, 417, 431 or 505, as RFC 9110 names them.
    """
    lines = split_head(block, 400)
    head = parse_request_line(lines[0])
    action_of = IN_REQUESTS.by_name
    kept = IN_REQUESTS.kept
    fields = head.fields
    host: bytes | None = None
    lists: dict[int, bytes] = {}
    for index in range(1, len(lines)):
        line = lines[index]
        if line in kept:
            fields.append(line)
            continue
        name, colon, value = line.partition(b":")
        action = action_of.get(name, -1) if colon else -1
        if action < 0 and colon:
            action = IN_REQUESTS.learn(name)
        if action == KEEP:
            fields.append(line)
            IN_REQUESTS.keep_in_mind(line)
        elif action == PRIVATE:
            fields.append(line)
        elif action == HOST:
            if host is not None:
                raise BadHead(400, "several Host fields")
            host = value.strip(b" \t")
        elif action == USER_AGENT:
            head.user_agent = value.strip(b" \t")
            fields.append(line)
        elif action < 0:
            raise BadHead(400, "malformed field line")
        elif action in _LISTS:
            before = lists.get(action)
            value = value.strip(b" \t")
            lists[action] = before + b"," + value if before else value
        elif action != DROP:
            _take(head, action, value.strip(b" \t"))
    settle_host(head, host)
    if lists:
        _settle_lists(head, lists)
    return head


def _take(head: RequestHead, action: int, value: bytes) -> None:
    """Note a field that frames the body, or that names the request or its client.

    @raise BadHead: 400 or 417.
    """
    if action == CONTENT_LENGTH:
        if head.framing == LENGTH:
            raise BadHead(400, "several Content-Length fields")
        length_bytes = parse_length(value, 400)
        if head.framing == CHUNKED:
            raise BadHead(400, "Content-Length with Transfer-Encoding")
        head.framing = LENGTH
        head.length_bytes = length_bytes
    elif action == TRANSFER_ENCODING:
        if head.framing == CHUNKED or value.lower() != b"chunked" or head.http10:
            raise BadHead(400, "unsupported Transfer-Encoding")
        if head.framing == LENGTH:
            raise BadHead(400, "Content-Length with Transfer-Encoding")
        head.framing = CHUNKED
    elif action == EXPECT:
        if value.lower() != b"100-continue":
            raise BadHead(417, "unsupported expectation")
        head.expect = not head.http10
    else:
        remember(head, action, value)


def render_request(head: RequestHead, upgrade: bytes, forwarding: bytes) -> bytes:
    """Return the head as it goes to the upstream.

    C{forwarding} is the block of fields that we set, each line with its end;
    C{upgrade} the protocol to ask for, usually empty.
    """
    lines = [b"%b %b HTTP/1.1\r\nHost: %b" % (head.method, head.target, head.host)]
    lines += head.fields
    if head.framing == LENGTH:
        lines.append(b"Content-Length: %d" % head.length_bytes)
    elif head.framing == CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    if head.expect:
        lines.append(b"Expect: 100-continue")
    if upgrade:
        lines.append(b"Connection: Upgrade\r\nUpgrade: " + upgrade)
    lines.append(forwarding)
    return b"\r\n".join(lines) + b"\r\n"


class HeadReader:
    """Collects the bytes of one head after the other.

    C{rest} is what came behind the head that L{take} returned; the caller takes
    it away before it feeds more.
    """

    __slots__ = ("_held", "_status", "rest")

    def __init__(self, *, of_requests: bool) -> None:
        self._held = b""
        self._status = 400 if of_requests else 502
        self.rest = b""

    @property
    def waiting(self) -> bool:
        """Whether a head has begun and is not complete."""
        return bool(self._held)

    def take(self, data: bytes) -> bytes | None:
        """Return the block before the empty line, or C{None} when more is needed.

        One empty line before a request is skipped (RFC 9112 section 2.2).

        @raise BadHead: the head is too long, or has a bare CR or LF already.
        """
        if self._held:
            data = self._held + data
            self._held = b""
        if self._status == 400 and data[:2] == b"\r\n":
            data = data[2:]
        end = data.find(b"\r\n\r\n")
        if 0 < end <= HEAD_LIMIT_BYTES:
            if len(data) != end + 4:
                self.rest = data[end + 4 :]
            return data[:end]
        self._check(data, end)
        self._held = data
        return None

    def _check(self, data: bytes, end: int) -> None:
        if end == 0 or data.count(b"\n") != data.count(b"\r\n"):
            raise BadHead(self._status, "bare LF or empty head")
        if len(data) <= HEAD_LIMIT_BYTES:
            return
        if self._status != 400:
            raise BadHead(502, "head too long")
        if 0 <= data.find(b"\r\n") <= TARGET_LIMIT_BYTES + 64:
            raise BadHead(431, "head too long")
        raise BadHead(414, "request target too long")


def parse_request_line(line: bytes) -> RequestHead:
    """Return a head with what its first line says, without fields.

    @raise BadHead: 400, 405, 414 or 505.
    """
    parts = line.split(b" ")
    if len(parts) != 3:
        raise BadHead(400, "malformed request line")
    method, target, version = parts
    http10 = False
    if version != b"HTTP/1.1":
        if _version.match(version) is None:
            raise BadHead(400, "malformed request line")
        if version != b"HTTP/1.0":
            raise BadHead(505, "unsupported protocol version")
        http10 = True
    if method not in _USUAL_METHODS:
        if not is_token(method):
            raise BadHead(400, "malformed method")
        if method in (b"CONNECT", b"TRACE"):
            raise BadHead(405, "method not allowed")
    if len(target) > TARGET_LIMIT_BYTES:
        raise BadHead(414, "request target too long")
    if _target.match(target) is None:
        raise BadHead(400, "malformed request target")
    return RequestHead(method, target, http10)


def remember(head: RequestHead, action: int, value: bytes) -> None:
    """Note a field that names the request, or the client behind a proxy."""
    if action == REQUEST_ID:
        if _request_id.match(value) is not None:
            head.request_id = value
    elif action == TRACEPARENT:
        # One that is malformed, or a second one, begins the trace anew.
        valid = not head.traceparent and _traceparent.match(value) is not None
        head.traceparent = value if valid else b""
    elif action == FORWARDED_FOR:
        head.forwarded_for = (
            head.forwarded_for + b", " + value if head.forwarded_for else value
        )
    elif action == FORWARDED_HOST:
        head.forwarded_host = value
    else:
        head.forwarded_proto = value.lower()


def settle_host(head: RequestHead, host: bytes | None) -> None:
    """Check Host, and bring the target into origin form (RFC 9112 section 3.2).

    @raise BadHead: always with status 400.
    """
    if host is None:
        raise BadHead(400, "missing Host")
    head.host = host
    head.name = _names.get(host) or _parse_host(host)
    target = head.target
    if target[:1] == b"/" or (target == b"*" and head.method == b"OPTIONS"):
        return
    match = _absolute.match(target)
    if match is None:
        raise BadHead(400, "malformed request target")
    if match.group(1).lower() != host.lower():
        raise BadHead(400, "request target and Host differ")
    rest: bytes | None = match.group(2)
    if rest is None:
        head.target = b"*" if head.method == b"OPTIONS" else b"/"
    else:
        head.target = b"/" + rest if rest[:1] == b"?" else rest


def _parse_host(host: bytes) -> str:
    if _host.match(host) is None or b".." in host:
        raise BadHead(400, "malformed Host")
    name = canonical_name(host)
    if len(_names) >= _NAMES_LIMIT:
        _names.clear()
    _names[host] = name
    return name


def _settle_lists(head: RequestHead, lists: dict[int, bytes]) -> None:
    """Do what the fields say that steer the connection, by their actions."""
    tokens = tokens_of(lists.get(CONNECTION, b""))
    if b"close" in tokens:
        head.close = True
    elif head.http10 and b"keep-alive" in tokens:
        head.close = False
    if b"upgrade" in tokens and not head.http10 and not head.length_bytes:
        upgrade = lists.get(UPGRADE, b"").lower()
        head.upgrade = upgrade if head.framing != CHUNKED else b""
    head.fields = without(head.fields, tokens)
    if b"trailers" in tokens_of(lists.get(TE, b"")):
        head.fields.append(b"TE: trailers")
