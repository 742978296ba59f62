"""What is wrong with the head of a request, and where it leads. Pure."""

from __future__ import annotations

from http.client import responses

from attrs import frozen

#: Line and fields of one request (C{spec/api.md} 1).
HEAD_LIMIT_BYTES = 1 << 20
FIELDS_LIMIT = 500

#: Fields that are read, and would be read in two ways if they came twice.
_SINGLE = {
    name.lower().encode(): name
    for name in (
        "Authorization",
        "Content-Length",
        "Content-Type",
        "Last-Event-ID",
        "Transfer-Encoding",
        "X-Layer-Digest",
    )
}
#: Digits of a length: more would be no size of anything.
_LENGTH_DIGITS = 18


@frozen
class Refusal:
    """An answer that does not wait for the rest of its request."""

    status: int
    text: str
    code: str
    retry_after: str = ""

    def encode(self) -> bytes:
        """Return the whole answer, in the form of every error of the API."""
        body = f"{self.text}\n".encode()
        head = [
            f"HTTP/1.1 {self.status} {responses[self.status]}",
            "Content-Type: text/plain; charset=utf-8",
            "X-Content-Type-Options: nosniff",
            f"X-Haloy-Error: {self.code}",
            "Connection: close",
            f"Content-Length: {len(body)}",
            *([f"Retry-After: {self.retry_after}"] if self.retry_after else ()),
        ]
        return "\r\n".join([*head, "", ""]).encode() + body


MALFORMED = Refusal(400, "the request is not well-formed HTTP/1.1", "malformed")
TOO_LARGE = Refusal(
    431,
    f"the head has more than {HEAD_LIMIT_BYTES >> 20} MiB or {FIELDS_LIMIT} fields",
    "head-too-large",
)
HEAD_TOO_SLOW = Refusal(408, "the head comes too slowly", "too-slow")
BODY_TOO_SLOW = Refusal(408, "the body comes too slowly", "too-slow")


def may_come_once(name: bytes) -> bool:
    """Return whether a second field of this name makes a request ambiguous."""
    return name.lower() in _SINGLE


def field_twice(name: bytes) -> Refusal:
    """Return the answer to a second field of a name that may come once."""
    return Refusal(400, f"{_SINGLE[name.lower()]}: is given twice", "invalid")


def refused_field(name: bytes, value: bytes) -> Refusal | None:
    """Return why a request with this field cannot be read, if so.

    A coding that is not known has a status of its own (RFC 9112 section 6.1).
    """
    name = name.lower()
    if name == b"transfer-encoding" and value.lower() != b"chunked":
        return Refusal(501, "Transfer-Encoding: only chunked is known", "unsupported")
    is_size = value.isdigit() and len(value) <= _LENGTH_DIGITS
    if name == b"content-length" and not is_size:
        return Refusal(400, "Content-Length: is not a number of bytes", "invalid")
    return None


def origin_form(target: bytes) -> tuple[bytes, bytes | None]:
    """Return path and query of a request's target, and the host if it says one.

    A target in absolute form is a whole URL (RFC 9112 section 3.2.2); C{*} stays.

    @raise ValueError: it is no target.
    """
    if target.startswith(b"/") or target == b"*":
        return target, None
    scheme, found, rest = target.partition(b"://")
    end = min((at for at in map(rest.find, (b"/", b"?")) if at >= 0), default=len(rest))
    host, path = rest[:end], rest[end:]
    if not found or scheme.lower() not in (b"http", b"https"):
        raise ValueError("neither a path nor a URL of HTTP")
    if not host or b"@" in host:
        raise ValueError("a URL without a host, or with a user")
    return (path if path.startswith(b"/") else b"/" + path), host


def clean_path(path: bytes) -> bytes:
    """Return a path without empty segments, C{.} and C{..}; its last slash stays.

    What is percent-encoded is part of a segment. The result begins with exactly one
    slash, and no browser takes it for two.
    """
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    last = b"/" if kept and path.endswith(b"/") else b""
    return b"/" + b"/".join(kept).replace(b"\\", b"%5C") + last
