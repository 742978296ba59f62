"""Header fields: what becomes of each, and the grammar that all heads share.

Says which fields stop at this hop (RFC 9110 section 7.6.1), which a client must not
forge, which steer the connection and are taken apart by L{haloy.proxy.head} and
L{haloy.proxy.response_head}. Remembers, within limits, what it has found out.
"""

from __future__ import annotations

import re
from typing import Final

HEAD_LIMIT_BYTES: Final = 65536
FIELDS_LIMIT: Final = 100
TARGET_LIMIT_BYTES: Final = 8192

# What happens to a field; KEEP is 0 so that the common case is a false value.
KEEP: Final = 0
DROP: Final = 1
HOST: Final = 2
CONTENT_LENGTH: Final = 3
TRANSFER_ENCODING: Final = 4
CONNECTION: Final = 5
UPGRADE: Final = 6
EXPECT: Final = 7
TE: Final = 8
USER_AGENT: Final = 9
REQUEST_ID: Final = 10
FORWARDED_FOR: Final = 11
FORWARDED_HOST: Final = 12
FORWARDED_PROTO: Final = 13
PRIVATE: Final = 14
TRACEPARENT: Final = 15

_REQUEST_FIELDS: Final[dict[bytes, int]] = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"te": TE,
    b"user-agent": USER_AGENT,
    b"x-request-id": REQUEST_ID,
    b"traceparent": TRACEPARENT,
    b"authorization": PRIVATE,
    b"cookie": PRIVATE,
    b"x-forwarded-for": FORWARDED_FOR,
    b"x-forwarded-host": FORWARDED_HOST,
    b"x-forwarded-proto": FORWARDED_PROTO,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"proxy-authenticate": DROP,
    b"proxy-authorization": DROP,
    b"trailer": DROP,
    b"http2-settings": DROP,
    # Fields by which other proxies name the client; an app would believe them.
    b"forwarded": DROP,
    b"x-forwarded": DROP,
    b"forwarded-for": DROP,
    b"x-real-ip": DROP,
    b"x-client-ip": DROP,
    b"x-cluster-client-ip": DROP,
    b"true-client-ip": DROP,
    b"cf-connecting-ip": DROP,
    b"fastly-client-ip": DROP,
    b"x-rewrite-url": DROP,
}
_FORGED_PREFIXES: Final = (b"x-forwarded-", b"x-original-")

_RESPONSE_FIELDS: Final[dict[bytes, int]] = {
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"set-cookie": PRIVATE,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"proxy-authenticate": DROP,
    b"te": DROP,
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
_LINES_LIMIT: Final = 2048
_LINE_LIMIT_BYTES: Final = 128

# Control characters that may stand nowhere in a head, and CR and LF, which may only end
# its lines.
_CONTROLS: Final = bytes(
    code for code in (*range(0x20), 0x7F) if code not in (0x09, 0x0A, 0x0D)
)
_CONTROLS_AND_ENDS: Final = _CONTROLS + b"\r\n"

_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")


class BadHead(Exception):
    """A head that breaks the rules; C{status} is what a client is told."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Actions:
    """What becomes of the fields of requests, or of responses.

    @ivar by_name: actions of names met before, in the spelling met.
    @ivar kept: whole lines that were found to be kept, short and with nothing
        private in them: most lines of most heads have been here a moment ago.
    """

    __slots__ = ("_known", "by_name", "kept")

    def __init__(self, known: dict[bytes, int]) -> None:
        """Know C{known}: names in lower case to actions."""
        self._known = known
        self.by_name: dict[bytes, int] = {}
        self.kept: set[bytes] = set()

    def learn(self, name: bytes) -> int:
        """Return the action for a name not met before, -1 when it is no token."""
        if _token.match(name) is None:
            return -1
        lower = name.lower()
        action = self._known.get(lower, KEEP)
        if self._known is _REQUEST_FIELDS:
            action = _unless_forged(lower, action)
        if len(self.by_name) < _LEARNED_LIMIT:
            self.by_name[name] = action
        return action

    def keep_in_mind(self, line: bytes) -> None:
        """Remember that C{line} is kept as it is."""
        if len(line) <= _LINE_LIMIT_BYTES:
            if len(self.kept) >= _LINES_LIMIT:
                self.kept.clear()
            self.kept.add(line)


def _unless_forged(lower: bytes, action: int) -> int:
    # CGI-like apps read X_Real_IP as X-Real-IP: names that differ from a special
    # one by an underscore only are dropped.
    dashed = lower.replace(b"_", b"-")
    if dashed != lower and dashed in _REQUEST_FIELDS and dashed != b"user-agent":
        return DROP
    if action == KEEP and dashed.startswith(_FORGED_PREFIXES):
        return DROP
    return action


IN_REQUESTS: Final = Actions(_REQUEST_FIELDS)
IN_RESPONSES: Final = Actions(_RESPONSE_FIELDS)


def split_head(block: bytes, status: int) -> list[bytes]:
    """Return the lines of a head, refusing what lenient parsers disagree on.

    C{status} is that of the L{BadHead}: 400 for requests, 502 for responses.
    """
    lines = block.split(b"\r\n")
    breaks = len(lines) - 1
    if len(block) - len(block.translate(None, _CONTROLS_AND_ENDS)) != 2 * breaks:
        if block.count(b"\n") != breaks or block.count(b"\r") != breaks:
            raise BadHead(status, "bare CR or LF in the head")
        raise BadHead(status, "control character in the head")
    if breaks > FIELDS_LIMIT:
        raise BadHead(431 if status == 400 else status, "too many fields")
    return lines


def parse_length(value: bytes, status: int) -> int:
    """Return the value of Content-Length."""
    # isdigit of bytes is ASCII only; 18 digits are an exabyte.
    if not value.isdigit() or len(value) > 18:
        raise BadHead(status, "malformed Content-Length")
    return int(value)


def tokens_of(value: bytes) -> list[bytes]:
    """Return the members of a list in lower case."""
    return [part.strip(b" \t") for part in value.lower().split(b",")]


def without(fields: list[bytes], tokens: list[bytes]) -> list[bytes]:
    """Return the fields that Connection's C{tokens} do not take away."""
    named = [token for token in tokens if token not in _PROTECTED]
    if not named:
        return fields
    return [line for line in fields if field_name(line) not in named]


def field_name(line: bytes) -> bytes:
    """Return the name of a field line in lower case."""
    return line.partition(b":")[0].lower()


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


def is_token(name: bytes) -> bool:
    """Tell whether C{name} is a token (RFC 9110 section 5.6.2)."""
    return _token.match(name) is not None
