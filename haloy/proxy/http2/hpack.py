"""HPACK (RFC 7541): the static table, and an encoder that keeps no state.

It never uses the dynamic table, so there is nothing that two sides could disagree on;
it costs some 60 octets for each answer. Short fields that were met before are looked
up, within bounds. The decoder is L{haloy.proxy.http2.decoder}.
"""

from __future__ import annotations

from typing import Final

Field = tuple[bytes, bytes]


# What is looked up is shared by all connections: nothing private is in it.
PRIVATE: Final = frozenset((b"cookie", b"authorization", b"set-cookie"))
_KNOWN_LIMIT: Final = 4096
_KNOWN_FIELD_BYTES: Final = 512

# RFC 7541 appendix A.
_STATIC_TEXT: Final = """
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate
"""


def _static() -> list[Field]:
    fields: list[Field] = [(b"", b"")]
    for line in _STATIC_TEXT.split("\n")[1:-1]:
        name, _, value = line.partition(" ")
        fields.append((name.encode("ascii"), value.encode("ascii")))
    return fields


STATIC: Final = _static()
_NAME_INDEX: Final = {field[0]: i for i, field in reversed(list(enumerate(STATIC)))}
_FIELD_INDEX: Final = {field: i for i, field in enumerate(STATIC)}

_known_fields: dict[Field, bytes] = {}


def number(value: int, prefix: int, flags: int) -> bytes:
    """Return C{value} as an integer whose prefix holds up to C{prefix}."""
    if value < prefix:
        return bytes((flags | value,))
    coded = bytearray((flags | prefix,))
    value -= prefix
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    coded.append(value)
    return bytes(coded)


#: How a text begins that is as long as the index says.
LENGTHS: Final = tuple([number(size, 0x7F, 0) for size in range(256)])


def encode_field(name: bytes, value: bytes) -> bytes:
    """Return one field: indexed statically, or as a literal that is never indexed."""
    field = (name, value)
    found = _known_fields.get(field)
    if found is None:
        found = _encode(field)
        if len(found) <= _KNOWN_FIELD_BYTES and name not in PRIVATE:
            if len(_known_fields) >= _KNOWN_LIMIT:
                _known_fields.clear()
            _known_fields[field] = found
    return found


def literal_name(name: bytes) -> bytes:
    """Return how a field begins whose name is none of the static table.

    Its value follows, behind one of L{LENGTHS}: for those that come only once.
    """
    return b"\0" + _encode_text(name)


def encode(fields: list[Field]) -> bytes:
    """Return a whole block."""
    return b"".join([encode_field(name, value) for name, value in fields])


#: Begins the first block after a peer has asked for a smaller table (section 4.2).
TABLE_EMPTY: Final = b"\x20"


def _encode(field: Field) -> bytes:
    name, value = field
    index = _FIELD_INDEX.get(field)
    if index:
        return bytes((0x80 | index,))
    index = _NAME_INDEX.get(name)
    coded = number(index, 0x0F, 0) if index else b"\0" + _encode_text(name)
    return coded + _encode_text(value)


def _encode_text(text: bytes) -> bytes:
    # Plain: the code would save a quarter of some octets and cost more than the rest.
    return number(len(text), 0x7F, 0) + text
