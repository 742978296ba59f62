"""Request and response heads: strict in, written anew from the parsed form.

Knows the grammar and the limits of RFC 9112 sections 2 to 6, which fields stop at
this hop (RFC 9110 section 7.6.1) and which ones a client must not forge. Knows
nothing of routes, bodies or sockets.

A field line whose name is harmless is passed on as it came: the whole block is
checked for bare CR, LF and control characters first and the name is a token, so
there is only one way to read it.
"""

from __future__ import annotations

import re
from typing import Final

from haloy.proxy.body import CHUNKED, LENGTH, NO_BODY

HEAD_LIMIT_BYTES: Final = 65536
FIELDS_LIMIT: Final = 100
TARGET_LIMIT_BYTES: Final = 8192
REQUEST_ID_LIMIT_BYTES: Final = 128

# What happens to a field; KEEP is 0 so that the common case is a false value.
_KEEP: Final = 0
_DROP: Final = 1
_HOST: Final = 2
_CONTENT_LENGTH: Final = 3
_TRANSFER_ENCODING: Final = 4
_CONNECTION: Final = 5
_UPGRADE: Final = 6
_EXPECT: Final = 7
_TE: Final = 8
_USER_AGENT: Final = 9
_REQUEST_ID: Final = 10
_FORWARDED_FOR: Final = 11
_FORWARDED_HOST: Final = 12
_FORWARDED_PROTO: Final = 13
_PRIVATE: Final = 14

_REQUEST_FIELDS: Final[dict[bytes, int]] = {
    b"host": _HOST,
    b"content-length": _CONTENT_LENGTH,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"connection": _CONNECTION,
    b"upgrade": _UPGRADE,
    b"expect": _EXPECT,
    b"te": _TE,
    b"user-agent": _USER_AGENT,
    b"x-request-id": _REQUEST_ID,
    b"authorization": _PRIVATE,
    b"cookie": _PRIVATE,
    b"x-forwarded-for": _FORWARDED_FOR,
    b"x-forwarded-host": _FORWARDED_HOST,
    b"x-forwarded-proto": _FORWARDED_PROTO,
    b"keep-alive": _DROP,
    b"proxy-connection": _DROP,
    b"proxy-authenticate": _DROP,
    b"proxy-authorization": _DROP,
    b"trailer": _DROP,
    b"http2-settings": _DROP,
    # Fields by which other proxies name the client; an app would believe them.
    b"forwarded": _DROP,
    b"x-forwarded": _DROP,
    b"forwarded-for": _DROP,
    b"x-real-ip": _DROP,
    b"x-client-ip": _DROP,
    b"x-cluster-client-ip": _DROP,
    b"true-client-ip": _DROP,
    b"cf-connecting-ip": _DROP,
    b"fastly-client-ip": _DROP,
    b"x-rewrite-url": _DROP,
}
_FORGED_PREFIXES: Final = (b"x-forwarded-", b"x-original-")

_RESPONSE_FIELDS: Final[dict[bytes, int]] = {
    b"content-length": _CONTENT_LENGTH,
    b"transfer-encoding": _TRANSFER_ENCODING,
    b"connection": _CONNECTION,
    b"upgrade": _UPGRADE,
    b"set-cookie": _PRIVATE,
    b"keep-alive": _DROP,
    b"proxy-connection": _DROP,
    b"proxy-authenticate": _DROP,
    b"te": _DROP,
}

# Fields that Connection cannot take away, whatever it names.
_PROTECTED: Final = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"close",
        b"keep-alive",
        b"upgrade",
        b"te",
        b"expect",
        b"x-request-id",
        b"",
    )
)

# Fields that make no sense, or do harm, behind a body (RFC 9110 section 6.5.1).
_NOT_IN_TRAILERS: Final = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"upgrade",
        b"te",
        b"trailer",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"authorization",
        b"set-cookie",
        b"content-encoding",
        b"content-type",
        b"content-range",
        b"location",
        b"cache-control",
        b"expires",
        b"date",
        b"age",
        b"vary",
        b"www-authenticate",
        b"strict-transport-security",
    )
)

_LEARNED_LIMIT: Final = 4096
_request_actions: dict[bytes, int] = {}
_response_actions: dict[bytes, int] = {}

# Whole lines that were found to be kept, short and with nothing private in them:
# most lines of most heads have been here a moment ago.
_LINES_LIMIT: Final = 2048
_LINE_LIMIT_BYTES: Final = 128
_STATUS_LINES_LIMIT: Final = 256
_NAMES_LIMIT: Final = 4096
_status_lines: dict[bytes, tuple[int, bytes, bool]] = {}
_names: dict[bytes, str] = {}  # valid Host fields
_kept_in_requests: set[bytes] = set()
_kept_in_responses: set[bytes] = set()

# Control characters that may stand nowhere in a head; CR and LF are counted instead.
_CONTROLS: Final = bytes(
    code for code in (*range(0x20), 0x7F) if code not in (0x09, 0x0A, 0x0D)
)

_USUAL_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE"))
_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_target = re.compile(rb"[\x21\x22\x24-\x7e]+\Z")
_version = re.compile(rb"HTTP/[0-9]\.[0-9]\Z")
_absolute = re.compile(rb"https?://([^/?]*)([/?].*)?\Z", re.IGNORECASE | re.DOTALL)
_host = re.compile(
    rb"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]{2,45}\])"
    rb"(?::[0-9]{1,5})?\Z"
)
_request_id = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}\Z")
_status_line = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\r\n]*))?\Z")

_NO_CONTENT_STATUSES: Final = frozenset((204, 304))


class BadHead(Exception):
    """A head that breaks the rules; C{status} is what a client is told."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class RequestHead:
    """A request head in parsed form; nobody changes it after L{parse_request}.

    C{host} is the field as it came, C{name} the same in lower case without port
    and trailing dot. C{target} is in origin form, or C{*}. C{framing} is one of
    L{haloy.proxy.body}'s kinds. C{fields} are the lines that go on, without
    Host, framing and forwarding fields. C{upgrade} is the protocol asked for in
    lower case when Connection names it too, else empty.
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
        self.user_agent = b""
        self.forwarded_for = b""
        self.forwarded_host = b""
        self.forwarded_proto = b""
        self.fields: list[bytes] = []


class ResponseHead:
    """A response head in parsed form.

    C{length_bytes} is -1 without Content-Length; C{chunked} and C{upgrade} as
    the fields say. How long the body really is depends on the request too, and
    is decided in L{haloy.proxy.exchange}.
    """

    __slots__ = (
        "chunked",
        "close",
        "fields",
        "http10",
        "length_bytes",
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
    lines = _split(block, 400)
    head = _request_line(lines[0])
    action_of = _request_actions
    fields = head.fields
    host: bytes | None = None
    length: bytes | None = None
    connection = b""
    upgrade = b""
    te = b""
    kept = _kept_in_requests
    for index in range(1, len(lines)):
        line = lines[index]
        if line in kept:
            fields.append(line)
            continue
        name, colon, value = line.partition(b":")
        action = action_of.get(name, -1) if colon else -1
        if action < 0 and colon:
            action = _learn(name, action_of, _REQUEST_FIELDS)
        if action == _KEEP:
            fields.append(line)
            if len(line) <= _LINE_LIMIT_BYTES:
                _keep_in_mind(line, kept)
            continue
        if action == _PRIVATE:
            fields.append(line)
            continue
        if action < 0:
            raise BadHead(400, "malformed field line")
        if action == _DROP:
            continue
        value = value.strip(b" \t")
        if action == _HOST:
            if host is not None:
                raise BadHead(400, "several Host fields")
            host = value
        elif action == _USER_AGENT:
            head.user_agent = value
            fields.append(line)
        elif action == _CONNECTION:
            connection = connection + b"," + value if connection else value
        elif action == _CONTENT_LENGTH:
            if length is not None:
                raise BadHead(400, "several Content-Length fields")
            length = value
            head.length_bytes = _length(value, 400)
        elif action == _TRANSFER_ENCODING:
            if head.framing == CHUNKED or value.lower() != b"chunked" or head.http10:
                raise BadHead(400, "unsupported Transfer-Encoding")
            head.framing = CHUNKED
        elif action == _UPGRADE:
            upgrade = upgrade + b"," + value if upgrade else value
        elif action == _EXPECT:
            if value.lower() != b"100-continue":
                raise BadHead(417, "unsupported expectation")
            head.expect = not head.http10
        elif action == _TE:
            te = te + b"," + value if te else value
        else:
            _remember(head, action, value)
    if length is not None:
        if head.framing == CHUNKED:
            raise BadHead(400, "Content-Length with Transfer-Encoding")
        head.framing = LENGTH
    _settle_host(head, host)
    if connection or upgrade:
        _settle_connection(head, connection, upgrade)
    if te and b"trailers" in [part.strip(b" \t") for part in te.lower().split(b",")]:
        fields.append(b"TE: trailers")
    return head


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


def parse_response(block: bytes) -> ResponseHead:
    """Return the response head in C{block}, which ends before the empty line.

    @raise BadHead: always with status 502.
    """
    lines = _split(block, 502)
    known = _status_lines.get(lines[0])
    status, reason, http10 = known or _parse_status_line(lines[0])
    head = ResponseHead(status, reason, http10)
    action_of = _response_actions
    fields = head.fields
    connection = b""
    upgrade = b""
    kept = _kept_in_responses
    for index in range(1, len(lines)):
        line = lines[index]
        if line in kept:
            fields.append(line)
            continue
        name, colon, value = line.partition(b":")
        action = action_of.get(name, -1) if colon else -1
        if action < 0 and colon:
            action = _learn(name, action_of, _RESPONSE_FIELDS)
        if action == _KEEP:
            fields.append(line)
            if len(line) <= _LINE_LIMIT_BYTES:
                _keep_in_mind(line, kept)
        elif action == _PRIVATE:
            fields.append(line)
        elif action < 0:
            raise BadHead(502, "malformed field line")
        elif action == _CONTENT_LENGTH:
            length_bytes = _length(value.strip(b" \t"), 502)
            # A repeated equal value may be taken as one: RFC 9110 section 8.6.
            if head.length_bytes not in (-1, length_bytes):
                raise BadHead(502, "several Content-Length fields")
            head.length_bytes = length_bytes
        elif action == _TRANSFER_ENCODING:
            if head.chunked or value.strip(b" \t").lower() != b"chunked":
                raise BadHead(502, "unsupported Transfer-Encoding")
            head.chunked = True
        elif action == _CONNECTION:
            value = value.strip(b" \t")
            connection = connection + b"," + value if connection else value
        elif action == _UPGRADE:
            upgrade = value.strip(b" \t").lower()
    if head.chunked and (head.length_bytes >= 0 or head.http10):
        raise BadHead(502, "Transfer-Encoding with Content-Length or HTTP/1.0")
    if connection == b"keep-alive":
        head.close = False
    elif connection:
        tokens = _tokens(connection)
        if b"close" in tokens:
            head.close = True
        elif b"keep-alive" in tokens:
            head.close = False
        if b"upgrade" in tokens:
            head.upgrade = upgrade
        head.fields = _without(fields, tokens)
    return head


def may_have_body(method: bytes, status: int) -> bool:
    """Tell whether a final response has a body at all (RFC 9112 section 6.3)."""
    return method != b"HEAD" and status not in _NO_CONTENT_STATUSES


def passable_trailers(lines: list[bytes]) -> list[bytes]:
    """Return those of a response's trailer lines that may be passed on.

    Lines that are no fields, or name fields that steer framing, routing or
    caching, are left out (RFC 9110 section 6.5.1).
    """
    passed: list[bytes] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or _token.match(name) is None:
            continue
        if len(value) != len(value.translate(None, _CONTROLS)):
            continue
        if name.lower() not in _NOT_IN_TRAILERS:
            passed.append(line)
    return passed


def field_name(line: bytes) -> bytes:
    """Return the name of a field line in lower case."""
    return line.partition(b":")[0].lower()


def _split(block: bytes, status: int) -> list[bytes]:
    """Return the lines of a head, refusing what lenient parsers disagree on."""
    lines = block.split(b"\r\n")
    breaks = len(lines) - 1
    if block.count(b"\n") != breaks or block.count(b"\r") != breaks:
        raise BadHead(status, "bare CR or LF in the head")
    if len(block) != len(block.translate(None, _CONTROLS)):
        raise BadHead(status, "control character in the head")
    if breaks > FIELDS_LIMIT:
        raise BadHead(431 if status == 400 else status, "too many fields")
    return lines


def _learn(name: bytes, actions: dict[bytes, int], known: dict[bytes, int]) -> int:
    """Return what happens to a field not met before, -1 when its name is no token."""
    if _token.match(name) is None:
        return -1
    lower = name.lower()
    action = known.get(lower, _KEEP)
    if known is _REQUEST_FIELDS:
        # CGI-like apps read X_Real_IP as X-Real-IP: names that differ from a
        # special one by an underscore only are dropped.
        dashed = lower.replace(b"_", b"-")
        if (dashed != lower and dashed in known and dashed != b"user-agent") or (
            action == _KEEP and dashed.startswith(_FORGED_PREFIXES)
        ):
            action = _DROP
    if len(actions) < _LEARNED_LIMIT:
        actions[name] = action
    return action


def _keep_in_mind(line: bytes, kept: set[bytes]) -> None:
    if len(kept) >= _LINES_LIMIT:
        kept.clear()
    kept.add(line)


def _request_line(line: bytes) -> RequestHead:
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
        if _token.match(method) is None:
            raise BadHead(400, "malformed method")
        if method in (b"CONNECT", b"TRACE"):
            raise BadHead(405, "method not allowed")
    if len(target) > TARGET_LIMIT_BYTES:
        raise BadHead(414, "request target too long")
    if _target.match(target) is None:
        raise BadHead(400, "malformed request target")
    return RequestHead(method, target, http10)


def _parse_status_line(line: bytes) -> tuple[int, bytes, bool]:
    """Return status, reason and whether it is HTTP/1.0."""
    match = _status_line.match(line)
    if match is None:
        raise BadHead(502, "malformed status line")
    version, status, reason = match.groups()
    parsed = (int(status), reason or b"", version == b"0")
    if len(_status_lines) < _STATUS_LINES_LIMIT and len(line) <= _LINE_LIMIT_BYTES:
        _status_lines[line] = parsed
    return parsed


def _length(value: bytes, status: int) -> int:
    # isdigit of bytes is ASCII only; 18 digits are an exabyte.
    if not value.isdigit() or len(value) > 18:
        raise BadHead(status, "malformed Content-Length")
    return int(value)


def _remember(head: RequestHead, action: int, value: bytes) -> None:
    if action == _REQUEST_ID:
        if _request_id.match(value) is not None:
            head.request_id = value
    elif action == _FORWARDED_FOR:
        head.forwarded_for = (
            head.forwarded_for + b", " + value if head.forwarded_for else value
        )
    elif action == _FORWARDED_HOST:
        head.forwarded_host = value
    else:
        head.forwarded_proto = value.lower()


def _settle_host(head: RequestHead, host: bytes | None) -> None:
    """Check Host, and bring the target into origin form (RFC 9112 section 3.2)."""
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


def _settle_connection(head: RequestHead, connection: bytes, upgrade: bytes) -> None:
    tokens = _tokens(connection)
    if b"close" in tokens:
        head.close = True
    elif head.http10 and b"keep-alive" in tokens:
        head.close = False
    if b"upgrade" in tokens and not head.http10 and not head.length_bytes:
        head.upgrade = upgrade.lower() if head.framing != CHUNKED else b""
    head.fields = _without(head.fields, tokens)


def _tokens(value: bytes) -> list[bytes]:
    return [part.strip(b" \t") for part in value.lower().split(b",")]


def _without(fields: list[bytes], tokens: list[bytes]) -> list[bytes]:
    named = [token for token in tokens if token not in _PROTECTED]
    if not named:
        return fields
    return [line for line in fields if field_name(line) not in named]


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
