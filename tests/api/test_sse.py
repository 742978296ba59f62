"""How C{api.sse} writes and reads events."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from haloy.api.sse import LINE_LIMIT_BYTES, EventReader, event


def test_event_with_number() -> None:
    """A number lets a reader come back behind it."""
    assert event({"a": "ü"}, 7) == 'id: 7\ndata: {"a":"ü"}\n\n'.encode()
    assert event({"a": 1}) == b'data: {"a":1}\n\n'


def test_long_texts_keep_their_newest_part() -> None:
    """The Go client aborts at 64 KiB a line; the end of a log matters most."""
    found = event({"message": "m", "fields": {"logs": "x" * 200_000 + "END"}, "n": 1})
    assert len(found) <= LINE_LIMIT_BYTES + 16
    data = json.loads(found[6:])
    assert data["fields"]["logs"].endswith("END")
    assert (data["message"], data["n"]) == ("m", 1)


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20)), max_size=6),
    st.lists(st.integers(1, 30), max_size=20),
)
def test_any_split_reads_the_same(sent: list[dict[str, str]], cuts: list[int]) -> None:
    """However the bytes arrive."""
    data = b": keepalive\n\n" + b"".join(event(one, 3) for one in sent)
    reader, seen, position = EventReader(), list[dict[str, str] | None](), 0
    for cut in (*cuts, len(data)):
        seen += reader.feed(data[position : position + cut])
        position += cut
    assert seen == [None, *sent]
    assert reader.last_id == ("3" if sent else "")


def test_reader_takes_lines_of_any_length_and_skips_nonsense() -> None:
    """CLI: no line limit of ours; what is no object is passed over."""
    reader = EventReader()
    long = json.dumps({"a": "x" * 300_000}).encode()
    found = reader.feed(b"event: x\ndata: nope\ndata: [1]\r\ndata: " + long + b"\n")
    assert [len(str(one)) > 300_000 for one in found] == [True]
