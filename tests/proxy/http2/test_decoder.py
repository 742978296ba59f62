"""Decoding HPACK, held to the C{hpack} package."""

from __future__ import annotations

import hpack as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haloy.proxy.http2 import decoder as module
from haloy.proxy.http2 import hpack
from haloy.proxy.http2.decoder import BadBlock, Decoder, HeaderList, ListTooLong

names = st.one_of(
    st.sampled_from([name for name, _ in hpack.STATIC[1:]] + [b"x-a", b"x-b"]),
    st.binary(min_size=1, max_size=40),
)
values = st.one_of(
    st.sampled_from([b"", b"GET", b"200", b"gzip, deflate", b"same"]),
    st.binary(max_size=200),
)
lists = st.lists(st.tuples(names, values), max_size=12)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(lists, st.booleans(), st.none() | st.integers(0, 4096)), max_size=6
    )
)
def test_what_hpack_encodes_is_decoded(
    rounds: list[tuple[list[tuple[bytes, bytes]], bool, int | None]],
) -> None:
    """Any lists, with and without Huffman, with tables of any size in between."""
    encoder = oracle.Encoder()
    decoder = Decoder(65536)
    for fields, huffman, size in rounds:
        if size is not None:
            encoder.header_table_size = size
        assert decoder.decode(encoder.encode(fields, huffman=huffman)) == fields


some_lists = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from([b":path", b":method"]), values)),
        lists,
    ),
    min_size=1,
    max_size=4,
)
# Which list comes, whether the table may take its fields, and a new size of the table.
some_rounds = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.none() | st.integers(0, 300)),
    max_size=12,
)


@settings(max_examples=200)
@given(
    some_lists,
    some_rounds,
)
def test_what_is_remembered_of_requests_follows_the_table(
    known: list[tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]],
    rounds: list[tuple[int, bool, int | None]],
) -> None:
    """The same few lists again and again, while the table moves under them."""
    encoder = oracle.Encoder()
    decoder = Decoder(65536)
    for number, indexed, size in rounds:
        if size is not None:
            encoder.header_table_size = size
        pseudo, rest = known[number % len(known)]
        kind = oracle.HeaderTuple if indexed else oracle.NeverIndexedHeaderTuple
        block = encoder.encode([kind(*field) for field in pseudo + rest])
        found = decoder.decode_request(block)
        whole = found.pseudo + found.rest.fields
        assert whole == pseudo + rest
        assert all(name[:1] == b":" for name, _ in found.pseudo)
        assert not found.rest.fields or found.rest.fields[0][0][:1] != b":"


def test_a_request_that_was_repeated_is_read_anew_by_another_table() -> None:
    """However often the same octets came before."""
    decoder = Decoder(65536)
    for value in (b"1", b"2"):
        decoder.decode_request(b"\x83\x40\x01a\x01" + value)
        for _ in range(3):
            found = decoder.decode_request(b"\x83\xbe")
            assert found.rest.fields == [(b"a", value)]


def test_repeated_fields_are_the_same_object() -> None:
    """Behind another path too; not after an entry was added."""
    encoder = oracle.Encoder()
    decoder = Decoder(65536)

    def decoded(path: bytes, *more: tuple[bytes, bytes]) -> HeaderList:
        start = oracle.NeverIndexedHeaderTuple(b":path", path)
        fields = [start, (b"accept", b"*/*"), (b"x-a", b"1"), *more]
        return decoder.decode_request(encoder.encode(fields))

    decoded(b"/")
    first = decoded(b"/1")
    assert decoded(b"/1") is first
    other = decoded(b"/2")
    assert other.rest is first.rest
    assert other.pseudo == [(b":path", b"/2")]
    decoded(b"/2", (b"x-new", b"1"))
    assert decoded(b"/1").rest is not first.rest
    for n in range(100):
        decoded(b"/%d" % n, (b"x-new", b"%d" % n))
        decoded(b"/%d" % n, (b"x-new", b"%d" % n))
    assert len(decoder._known) <= 8
    assert len(decoder._rests) <= 8


@settings(max_examples=200)
@given(
    st.lists(lists, min_size=1, max_size=4),
    some_rounds,
)
def test_what_is_remembered_of_answers_follows_the_table(
    known: list[list[tuple[bytes, bytes]]],
    rounds: list[tuple[int, bool, int | None]],
) -> None:
    """As for requests."""
    encoder = oracle.Encoder()
    decoder = Decoder(65536)
    for number, indexed, size in rounds:
        if size is not None:
            encoder.header_table_size = size
        fields = known[number % len(known)]
        kind = oracle.HeaderTuple if indexed else oracle.NeverIndexedHeaderTuple
        block = encoder.encode([kind(*field) for field in fields])
        assert decoder.decode(block) == fields
        assert len(decoder._lists) <= 8


def test_a_repeated_answer_is_the_same_list() -> None:
    """Not after an entry was added, and not when it is long."""
    decoder = Decoder(65536)
    block = hpack.encode([(b":status", b"200"), (b"x-a", b"1")])
    first = decoder.decode(block)
    assert decoder.decode(block) is first
    decoder.decode(b"\x40\x01a\x01b")
    assert decoder.decode(block) is not first
    for n in range(40):
        decoder.decode(hpack.encode([(b"x-a", b"%d" % n)]))
        assert 0 < len(decoder._lists) <= 8
    long = hpack.encode([(b"x-a", b"1" * 500)] * 10)
    assert decoder.decode(long) is not decoder.decode(long)


def test_what_is_remembered_is_bounded() -> None:
    """Many paths before many endings, while the table stays as it is."""
    encoder = oracle.Encoder()
    decoder = Decoder(65536)
    for n in range(40):
        path = oracle.NeverIndexedHeaderTuple(b":path", b"/%d" % n)
        field = oracle.NeverIndexedHeaderTuple(b"x-a", b"%d" % n)
        found = decoder.decode_request(encoder.encode([path, field]))
        assert found.pseudo + found.rest.fields == [path, field]
        assert 0 < len(decoder._known) <= 8
        assert 0 < len(decoder._rests) <= 8


def test_what_is_long_is_not_remembered() -> None:
    """And refused each time."""
    decoder = Decoder(1000)
    rest = hpack.encode([(b"x-a", b"1" * 500)] * 2)
    start = hpack.encode([(b":path", b"/")])
    for _ in range(3):
        with pytest.raises(ListTooLong):
            decoder.decode_request(start + rest)
    short = hpack.encode([(b"x-a", b"1" * 900)])
    decoder.decode_request(start + short)
    decoder.decode_request(start + short)
    with pytest.raises(ListTooLong):
        decoder.decode_request(hpack.encode([(b":path", b"/" + b"a" * 100)]) + short)
    large = Decoder(65536)
    many = hpack.encode([(b"x-a", b"1" * 500)] * 10)
    large.decode_request(start + many)
    assert not large._known
    assert not large._rests


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    """Nothing but BadBlock and ListTooLong comes out; hpack agrees on what is good."""
    try:
        found = Decoder(65536).decode(data)
    except BadBlock:
        found = None
    theirs: list[tuple[bytes, bytes]] | None
    try:
        theirs = [(bytes(n), bytes(v)) for n, v in oracle.Decoder().decode(data, True)]
    except oracle.HPACKError:
        theirs = None
    # Ours also refuses numbers beyond measure; theirs what only makes no sense.
    if found is not None and theirs is not None:
        assert found == theirs


@pytest.mark.parametrize(
    "data",
    [
        b"\x80",  # index 0
        b"\xff\x80\x80\x80\x80\x80\x01",  # a number of more than 28 bits
        b"\xbe",  # a dynamic entry that is not there
        b"\x00\x05ab",  # a string longer than its block
        b"\x00\x82\xff\xff\x00",  # a Huffman string of EOS
        b"\x00",  # no name
        b"\x3f\xe2\x1f",  # a table of 4097
        b"\x82\x20",  # a size after a field
        b"\x20\x20\x20",  # three sizes: no more than two mean anything
        b"\xff",  # a number that does not end
        # A small number in more than 28 bits, which makes sense otherwise.
        b"\x00\x7f\x80\x80\x80\x80\x00" + b"a" * 127 + b"\x00",
    ],
)
def test_bad_blocks_are_refused(data: bytes) -> None:
    """Each way in which a block can be wrong."""
    with pytest.raises(BadBlock):
        Decoder(65536).decode(data)


def test_a_string_is_held_to_a_limit() -> None:
    """Of 64 KiB, whatever the list may have."""
    for size, refused in ((65536, False), (65537, True)):
        length = size - 127
        coded = bytes((length & 127 | 128, length >> 7 & 127 | 128, length >> 14))
        block = b"\x00\x01a\x7f" + coded + b"b" * size
        decoder = Decoder(1_000_000)
        if refused:
            with pytest.raises(BadBlock):
                decoder.decode(block)
        else:
            assert decoder.decode(block) == [(b"a", b"b" * size)]


def test_an_entry_takes_32_octets_more_of_the_table() -> None:
    """So 120 entries of two octets fit into 4,096, and no more."""
    decoder = Decoder(65536)
    for _ in range(130):
        decoder.decode(b"\x40\x01a\x01b")
    oldest = 62 + 119 - 127
    assert decoder.decode(bytes((0xFF, oldest))) == [(b"a", b"b")]
    with pytest.raises(BadBlock):
        decoder.decode(bytes((0xFF, oldest + 1)))


def test_what_is_remembered_counts_as_much_as_when_it_came() -> None:
    """A longer path before the same fields may be too long."""
    decoder = Decoder(300)
    rest = (b"\x00\x01a\x32" + b"b" * 50) * 2
    short = b"\x04\x0a" + b"/" * 10 + rest
    assert len(decoder.decode_request(short).rest.fields) == 2
    with pytest.raises(ListTooLong):
        decoder.decode_request(b"\x04\x7f\x09" + b"/" * 136 + rest)


def test_a_long_list_leaves_the_table_in_order() -> None:
    """It is refused, each field counted with 32 octets more; the next is right."""
    encoder = oracle.Encoder()
    decoder = Decoder(200)
    long = [(b"x-a", b"a" * 60), (b"x-b", b"b" * 60), (b"x-c", b"c" * 60)]
    with pytest.raises(ListTooLong):
        decoder.decode(encoder.encode(long))
    assert decoder.decode(encoder.encode(long[1:])) == long[1:]


def test_a_table_may_have_been_smaller_for_a_while() -> None:
    """Two sizes before the first field (RFC 7541 section 4.2)."""
    decoder = Decoder(65536)
    assert decoder.decode(b"\x20\x3f\xe1\x1f\x82") == [(b":method", b"GET")]


def test_many_fields_are_a_long_list() -> None:
    """513 fields are too many, whatever their size."""
    with pytest.raises(ListTooLong):
        Decoder(65536).decode(b"\x82" * 513)
    assert len(Decoder(65536).decode(b"\x82" * 512)) == 512


def test_a_bomb_is_not_decoded_to_its_end() -> None:
    """One entry of 4 KiB called up again and again."""
    bomb = b"\x40\x01a\x7f\x80\x1e" + b"a" * 3967 + b"\xbe" * 16000
    with pytest.raises(BadBlock, match="measure"):
        Decoder(65536).decode(bomb)


def test_memory_of_what_was_met_is_bounded() -> None:
    """Thousands of different strings and fields leave no more than a table each."""
    for n in range(5000):
        text = b"%d" % n
        hpack.encode([(b"x-number", text)])
        Decoder(65536).decode(oracle.Encoder().encode([(b"x-number", text)]))
    assert len(module._known_strings) <= 4096
    assert len(hpack._known_fields) <= 4096
    for name in (b"cookie", b"authorization", b"set-cookie"):
        secret = [(name, b"secret" + b"x" * 40)]
        data = oracle.Encoder().encode(secret)
        assert Decoder(65536).decode(data) == secret
        hpack.encode(secret)
    assert not any(b"secret" in text for text in module._known_strings.values())
    assert not any(b"secret" in value for _, value in hpack._known_fields)


def test_long_strings_are_not_kept() -> None:
    """A long string is decoded each time."""
    long = [(b"x-long", b"y" * 3000)]
    data = oracle.Encoder().encode(long)
    assert Decoder(65536).decode(data) == long
    assert oracle.Decoder().decode(hpack.encode(long), True) == long
    assert not any(len(text) > 1024 for text in module._known_strings.values())


def test_an_entry_larger_than_the_table_empties_it() -> None:
    """RFC 7541 section 4.4."""
    decoder = Decoder(65536)
    decoder.decode(oracle.Encoder().encode([(b"x-a", b"1")]))
    big = b"\x40\x01a\x7f\x80\x3e" + b"b" * (127 + 0x3E * 128)
    assert decoder.decode(big)[0][0] == b"a"
    with pytest.raises(BadBlock):
        decoder.decode(b"\xbe")
