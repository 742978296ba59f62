"""Parts of files as one file."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.api.sections import Section, Sections, section_of


@given(
    st.lists(st.binary(max_size=20), max_size=5), st.integers(min_value=1, max_value=9)
)
def test_all_bytes_in_order(parts: list[bytes], size: int) -> None:
    """Whatever the parts and the size of a read; every byte is told once."""
    body = Sections([section_of(one) for one in parts])
    told: list[int] = []
    body.on_read(told.append)
    pieces = []
    while piece := body.read(size):
        pieces.append(piece)
    assert b"".join(pieces) == b"".join(parts)
    assert sum(told) == body.size == body.tell() == len(b"".join(parts))


def test_a_part_of_a_file() -> None:
    """From its offset, no further than its size; two read one file at once."""
    file = io.BytesIO(b"0123456789")
    one, other = Sections([Section(file, 2, 3)]), Sections([Section(file, 6, 4)])
    assert [one.read(2), other.read(2), one.read(9), other.read(9)] == [
        b"23",
        b"67",
        b"4",
        b"89",
    ]
    assert one.read(1) == b""
    assert one.seek(-2, os.SEEK_END) == 1
    assert (one.seek(1, os.SEEK_CUR), one.read(9)) == (2, b"4")
    one.close()
    assert not file.closed


def test_a_file_that_shrinks() -> None:
    """The end of the file before the end of the section is an error, not a body."""
    body = Sections([Section(io.BytesIO(b"abc"), 0, 5)])
    assert body.read(9) == b"abc"
    with pytest.raises(EOFError):
        body.read(9)
