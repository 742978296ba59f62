"""What requests are called."""

from __future__ import annotations

import pytest

from haloy.proxy.naming import TRACEPARENT_BYTES, Names

PREFIX = "0123456789ab"


@pytest.mark.parametrize(
    "number", [0, 1, 15, 16, 255, 256, 257, 65535, 65536, 2**32 - 1, 2**32, 2**40 + 7]
)
def test_the_number_is_written_as_it_is(number: int) -> None:
    """The prefix, then the number in hexadecimal digits, in id, trace and span."""
    names = Names(PREFIX)
    assert names.request_id(number) == f"{PREFIX}{number:08x}".encode()
    assert (
        names.traceparent(number)
        == f"00-{PREFIX}{number:020x}-{number:016x}-01".encode()
    )


def test_names_in_any_order_are_different() -> None:
    """What is kept for 256 of them does not get into the names of others."""
    names = Names(PREFIX)
    numbers = [*range(1000), *range(999, -1, -1), 5, 70000, 6]
    assert [names.both(number) for number in numbers] == [
        (names.request_id(number), names.traceparent(number)) for number in numbers
    ]
    ids = [names.request_id(number) for number in numbers]
    traces = [names.traceparent(number) for number in reversed(numbers)][::-1]
    assert ids == [f"{PREFIX}{number:08x}".encode() for number in numbers]
    assert len(set(traces)) == len(set(numbers))
    assert {len(trace) for trace in traces} == {TRACEPARENT_BYTES}
