"""HPACK (RFC 7541): a complete decoder, and an encoder that keeps no state.

The encoder never uses the dynamic table, so there is nothing that two sides could
disagree on; it costs some 60 octets for each answer. Short strings and fields that
were met before are looked up, within bounds.
"""

from __future__ import annotations

from typing import Final

from haloy.proxy.http2 import huffman

Field = tuple[bytes, bytes]

TABLE_BYTES: Final = 4096
FIELD_OVERHEAD_BYTES: Final = 32
_STATIC_SIZE: Final = 62
_NUMBER_BITS: Final = 28
# Cookies come in many pieces; what more there is counts as too long.
_FIELDS_LIMIT: Final = 512
_STRING_LIMIT_BYTES: Final = 65536

# What is looked up is shared by all connections: nothing private is in it.
_PRIVATE: Final = frozenset((b"cookie", b"authorization", b"set-cookie"))
_KNOWN_LIMIT: Final = 4096
_KNOWN_STRING_BYTES: Final = 256
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

_known_strings: dict[bytes, bytes] = {}
_known_fields: dict[Field, bytes] = {}


class BadBlock(Exception):
    """A header block that cannot be decoded: the connection cannot go on."""


class ListTooLong(Exception):
    """The header list is longer than is taken; the decoder's state is in order."""


def _string(coded: bytes, *, private: bool) -> bytes:
    """Return the string that C{coded} is the Huffman form of."""
    found = _known_strings.get(coded)
    if found is None:
        try:
            found = huffman.decode(coded)
        except huffman.BadString as error:
            raise BadBlock(str(error)) from error
        if not private and len(coded) <= _KNOWN_STRING_BYTES:
            if len(_known_strings) >= _KNOWN_LIMIT:
                _known_strings.clear()
            _known_strings[coded] = found
    return found


class Decoder:
    """Decodes the blocks of one direction of one connection, all of them, in order."""

    __slots__ = ("_block", "_capacity", "_fields", "_limit_bytes", "_position", "_size")

    def __init__(self, limit_bytes: int) -> None:
        """Take header lists up to C{limit_bytes}, counted as RFC 7541 4.1 does."""
        self._limit_bytes = limit_bytes
        self._fields: list[Field] = []
        self._size = 0
        self._capacity = TABLE_BYTES
        self._block = b""
        self._position = 0

    def decode(self, block: bytes) -> list[Field]:
        """Return the fields in C{block}.

        @raise BadBlock: it cannot be decoded, or is made to grow beyond measure.
        @raise ListTooLong: it was decoded, and is longer than the limit.
        """
        self._block = block
        self._position = 0
        try:
            return self._decode(len(block))
        except IndexError:
            raise BadBlock("a field that ends too early, or an unknown index") from None

    def _decode(self, size: int) -> list[Field]:
        block = self._block
        found: list[Field] = []
        limit_bytes = self._limit_bytes
        total = 0
        long = False
        while self._position < size:
            octet = block[self._position]
            self._position += 1
            if octet & 0x80:
                index = octet & 0x7F
                if index == 0x7F:
                    index = self._number(0x7F)
                field = self._at(index)
            elif octet & 0xE0 == 0x20:
                if total:
                    raise BadBlock("a table size in the middle of a block")
                self._resize(octet & 0x1F)
                continue
            else:
                field = self._literal(octet)
            total += FIELD_OVERHEAD_BYTES + len(field[0]) + len(field[1])
            if total <= limit_bytes and len(found) < _FIELDS_LIMIT:
                found.append(field)
                continue
            long = True
            if total > 2 * limit_bytes:
                raise BadBlock("a header list beyond measure")
        if long:
            raise ListTooLong
        return found

    def _at(self, index: int) -> Field:
        if index < _STATIC_SIZE:
            if not index:
                raise BadBlock("index 0")
            return STATIC[index]
        return self._fields[index - _STATIC_SIZE]

    def _literal(self, octet: int) -> Field:
        indexed = octet & 0x40
        mask = 0x3F if indexed else 0x0F
        index = octet & mask
        if index == mask:
            index = self._number(mask)
        name = self._at(index)[0] if index else self._text(private=False)
        field = (name, self._text(private=name in _PRIVATE))
        if indexed:
            self._size += FIELD_OVERHEAD_BYTES + len(name) + len(field[1])
            self._fields.insert(0, field)
            if self._size > self._capacity:
                self._evict()
        return field

    def _resize(self, size: int) -> None:
        if size == 0x1F:
            size = self._number(0x1F)
        if size > TABLE_BYTES:
            raise BadBlock("a table larger than allowed")
        self._capacity = size
        self._evict()

    def _evict(self) -> None:
        fields = self._fields
        while self._size > self._capacity:
            name, value = fields.pop()
            self._size -= FIELD_OVERHEAD_BYTES + len(name) + len(value)

    def _number(self, prefix: int) -> int:
        block = self._block
        value = prefix
        for shift in range(0, _NUMBER_BITS, 7):
            octet = block[self._position]
            self._position += 1
            value += (octet & 0x7F) << shift
            if not octet & 0x80:
                return value
        raise BadBlock("a number beyond measure")

    def _text(self, *, private: bool) -> bytes:
        block = self._block
        octet = block[self._position]
        self._position += 1
        size = octet & 0x7F
        if size == 0x7F:
            size = self._number(0x7F)
        start = self._position
        end = start + size
        if end > len(block) or size > _STRING_LIMIT_BYTES:
            raise BadBlock("a string longer than its block")
        self._position = end
        text = block[start:end]
        return _string(text, private=private) if octet & 0x80 else text


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


def encode_field(name: bytes, value: bytes) -> bytes:
    """Return one field: indexed statically, or as a literal that is never indexed."""
    field = (name, value)
    found = _known_fields.get(field)
    if found is None:
        found = _encode(field)
        if len(found) <= _KNOWN_FIELD_BYTES and name not in _PRIVATE:
            if len(_known_fields) >= _KNOWN_LIMIT:
                _known_fields.clear()
            _known_fields[field] = found
    return found


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
