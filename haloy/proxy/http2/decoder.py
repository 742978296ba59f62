"""HPACK (RFC 7541): a complete decoder.

Short strings that were met before are looked up, within bounds; so are blocks while
the dynamic table stays as it is.
"""

from __future__ import annotations

from typing import Final

from haloy.proxy.http2 import huffman
from haloy.proxy.http2.hpack import PRIVATE, STATIC, Field

TABLE_BYTES: Final = 4096
FIELD_OVERHEAD_BYTES: Final = 32
_STATIC_SIZE: Final = 62
# Single octets that are an index: into the static table below, into ours from it on.
_FIRST_DYNAMIC: Final = 0x80 | _STATIC_SIZE
_NUMBER_BITS: Final = 28
# The smallest that the table had since the last block, and what it has (section 4.2).
_SIZES_LIMIT: Final = 2
# Cookies come in many pieces; what more there is counts as too long.
_FIELDS_LIMIT: Final = 512
_STRING_LIMIT_BYTES: Final = 65536

_KNOWN_LIMIT: Final = 4096
_KNOWN_STRING_BYTES: Final = 256

# What a decoder remembers of its own connection: lists up to this size, so many.
_REMEMBERED_BYTES: Final = 4096
_REMEMBERED: Final = 8

_known_strings: dict[bytes, bytes] = {}


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


class Rest:
    """The ordinary fields of a header list.

    A client that keeps its connection repeats them octet for octet, so the same
    object stands for them again.

    @ivar size: their size as RFC 7541 section 4.1 counts.
    @ivar meaning: what whoever reads them has made of them (C{None}: nothing yet).
    """

    __slots__ = ("fields", "meaning", "size")

    def __init__(self, fields: list[Field], size: int) -> None:
        self.fields = fields
        self.size = size
        self.meaning: object = None


class HeaderList:
    """The header list of a request: its pseudo-header fields, and the others.

    @ivar start: as L{Rest.meaning}, of the pseudo-header fields. C{ready}: of all.
    """

    __slots__ = ("pseudo", "ready", "rest", "start")

    def __init__(self, pseudo: list[Field], rest: Rest) -> None:
        self.pseudo = pseudo
        self.rest = rest
        self.start: object = None
        self.ready: object = None


class Decoder:
    """Decodes the blocks of one direction of one connection, all of them, in order.

    While the dynamic table stays as it is, equal octets mean equal fields: blocks, and
    what follows the pseudo-header fields in those of requests, are looked up.

    @ivar version: of the dynamic table; another one after each change.
    """

    __slots__ = (
        "_block",
        "_capacity",
        "_changed",
        "_fields",
        "_known",
        "_latest",
        "_latest_block",
        "_limit_bytes",
        "_lists",
        "_position",
        "_rests",
        "_size",
        "_total",
        "version",
    )

    def __init__(self, limit_bytes: int) -> None:
        """Take header lists up to C{limit_bytes}, counted as RFC 7541 4.1 does."""
        self._limit_bytes = limit_bytes
        self._fields: list[Field] = []
        self._size = 0
        self._capacity = TABLE_BYTES
        self._block = b""
        self._position = 0
        self._total = 0
        self._changed = False
        self.version = 0
        # The last of the known ones: most often it comes again.
        self._latest_block = b""
        self._latest: HeaderList | None = None
        # What the present table makes of blocks, and of their ends.
        self._known: dict[bytes, HeaderList] = {}
        self._rests: dict[bytes, Rest] = {}
        self._lists: dict[bytes, list[Field]] = {}

    def decode(self, block: bytes) -> list[Field]:
        """Return the fields in C{block}, in a list that nobody changes.

        @raise BadBlock: it cannot be decoded, or is made to grow beyond measure.
        @raise ListTooLong: it was decoded, and is longer than the limit.
        """
        known = self._lists.get(block)
        if known is not None:
            return known
        self._begin(block)
        found: list[Field] = []
        self._read(found, pseudo=False)
        self._check(len(found))
        if not self._changed and self._total <= _REMEMBERED_BYTES:
            if len(self._lists) >= _REMEMBERED:
                self._lists.clear()
            self._lists[block] = found
        return found

    def known(self, block: bytes) -> list[Field] | None:
        """Return what L{decode} would, if C{block} was met while the table was so."""
        return self._lists.get(block)

    def decode_request(self, block: bytes) -> HeaderList:
        """As L{decode}, for the head of a request."""
        if self._latest is not None and block == self._latest_block:
            return self._latest
        known = self._known.get(block)
        if known is not None:
            self._latest_block = block
            self._latest = known
            return known
        self._begin(block)
        pseudo: list[Field] = []
        start = self._read(pseudo, pseudo=True)
        # An entry that was added has emptied what is known.
        end = block[start:]
        rest = self._rests.get(end) if end else None
        if rest is None:
            before = self._total
            fields: list[Field] = []
            if end:
                fields.append(pseudo.pop())
                before -= _size_of(fields[0])
                self._read(fields, pseudo=False)
            rest = Rest(fields, self._total - before)
        else:
            self._total += rest.size - _size_of(pseudo.pop())
        self._check(len(pseudo) + len(rest.fields))
        found = HeaderList(pseudo, rest)
        if self._total <= _REMEMBERED_BYTES:
            self._remember(found, block, end)
        return found

    def _begin(self, block: bytes) -> None:
        self._block = block
        self._position = 0
        self._total = 0
        self._changed = False

    def _check(self, count: int) -> None:
        if self._total > self._limit_bytes or count > _FIELDS_LIMIT:
            raise ListTooLong

    def _remember(self, found: HeaderList, block: bytes, end: bytes) -> None:
        """Note what C{block} means, if it would mean the same once more."""
        if self._changed:
            return
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[block] = found
        if end and end not in self._rests:
            if len(self._rests) >= _REMEMBERED:
                self._rests.clear()
            self._rests[end] = found.rest

    def _read(self, found: list[Field], *, pseudo: bool) -> int:
        """Add the fields from here on to C{found}, no more of them than are taken.

        C{pseudo}: only up to the first that is no pseudo-header field. Return where
        the last one began.
        """
        try:
            return self._read_on(found, pseudo)
        except IndexError:
            raise BadBlock("a field that ends too early, or an unknown index") from None

    def _read_on(self, found: list[Field], pseudo: bool) -> int:
        block = self._block
        size = len(block)
        table = self._fields
        start = position = self._position
        total = self._total
        most = 2 * self._limit_bytes
        sizes = 0
        while position < size:
            start = position
            octet = block[position]
            position += 1
            if 0x80 < octet < _FIRST_DYNAMIC:
                field = STATIC[octet & 0x7F]
            elif _FIRST_DYNAMIC <= octet < 0xFF:
                field = table[octet - _FIRST_DYNAMIC]
            else:
                self._position = position
                if octet & 0x80:
                    field = self._at(self._number(0x7F) if octet & 0x7F else 0)
                elif octet & 0xE0 == 0x20:
                    sizes += 1
                    if total or sizes > _SIZES_LIMIT:
                        raise BadBlock("a table size too many, or in the middle")
                    self._resize(octet & 0x1F)
                    position = self._position
                    continue
                else:
                    field = self._literal(octet)
                position = self._position
            name, value = field
            total += FIELD_OVERHEAD_BYTES + len(name) + len(value)
            if len(found) <= _FIELDS_LIMIT:
                found.append(field)
            if total > most:
                raise BadBlock("a header list beyond measure")
            if pseudo and name[:1] != b":":
                self._position = position
                self._total = total
                return start
        self._position = position
        self._total = total
        return size

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
        field = (name, self._text(private=name in PRIVATE))
        if indexed:
            self._size += FIELD_OVERHEAD_BYTES + len(name) + len(field[1])
            self._fields.insert(0, field)
            self._forget_known()
            if self._size > self._capacity:
                self._evict()
        return field

    def _resize(self, size: int) -> None:
        if size == 0x1F:
            size = self._number(0x1F)
        if size > TABLE_BYTES:
            raise BadBlock("a table larger than allowed")
        self._capacity = size
        self._forget_known()
        self._evict()

    def _forget_known(self) -> None:
        self._changed = True
        self.version += 1
        self._latest = None
        self._known.clear()
        self._rests.clear()
        self._lists.clear()

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


def _size_of(field: Field) -> int:
    return FIELD_OVERHEAD_BYTES + len(field[0]) + len(field[1])
