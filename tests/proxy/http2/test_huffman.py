"""The Huffman code, held to that of the C{hpack} package."""

from __future__ import annotations

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from haloy.proxy.http2 import huffman

ORACLE = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def test_every_octet_comes_back() -> None:
    """All 256 symbols, alone and together."""
    for octet in range(256):
        text = bytes([octet])
        assert huffman.decode(ORACLE.encode(text)) == text
    everything = bytes(range(256))
    assert huffman.decode(ORACLE.encode(everything)) == everything
    assert huffman.decode(b"") == b""


@given(st.binary(max_size=300))
def test_any_string_comes_back(text: bytes) -> None:
    """What hpack encodes is decoded."""
    assert huffman.decode(ORACLE.encode(text)) == text


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",  # EOS
        b"\xff",  # padding of a whole octet
        b"\x1f\xff",  # 'a', then more than seven ones
        b"\x18",  # 'a', then zeros
        b"\xfe",
    ],
)
def test_bad_ends_are_refused(data: bytes) -> None:
    """EOS, padding longer than 7 bits, and padding with zeros (RFC 7541 5.2)."""
    with pytest.raises(huffman.BadString):
        huffman.decode(data)
