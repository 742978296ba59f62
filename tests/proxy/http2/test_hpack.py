"""Encoding HPACK, held to the C{hpack} package."""

from __future__ import annotations

import hpack as oracle
from hypothesis import given
from hypothesis import strategies as st

from haloy.proxy.http2 import hpack
from tests.proxy.http2.test_decoder import lists


@given(st.lists(lists, max_size=4))
def test_what_we_encode_is_decoded(rounds: list[list[tuple[bytes, bytes]]]) -> None:
    """And the table of the other side stays empty."""
    decoder = oracle.Decoder()
    for fields in rounds:
        found = decoder.decode(hpack.encode(fields), raw=True)
        assert [(bytes(name), bytes(value)) for name, value in found] == fields
    assert not decoder.header_table.dynamic_entries


def test_the_static_table_is_that_of_the_rfc() -> None:
    """61 entries, as the package has them."""
    assert hpack.STATIC[1:] == list(oracle.table.HeaderTable.STATIC_TABLE)


def test_a_field_in_two_pieces() -> None:
    """It is the same as in one."""
    value = b"0123456789ab00000001"
    pieces = hpack.literal_name(b"x-request-id") + hpack.number(len(value), 0x7F, 0)
    assert pieces + value == hpack.encode_field(b"x-request-id", value)
