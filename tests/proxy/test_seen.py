"""What comes again is told from what comes once."""

from __future__ import annotations

from haloy.proxy.seen import SEEN_LIMIT, Seen


def test_the_second_time_is_one_too_many() -> None:
    """Equal things are one, whatever comes between them."""
    seen = Seen()
    assert [seen.before(key) for key in (b"a", b"b", (b"a", 1))] == [False] * 3
    assert [seen.before(bytes([97])), seen.before(b"b")] == [True, True]


def test_what_came_long_ago_is_new() -> None:
    """The memory for it is bounded."""
    seen = Seen()
    for number in range(SEEN_LIMIT):
        assert not seen.before(number)
    assert seen.before(0)
    assert not seen.before(SEEN_LIMIT)
    assert not seen.before(0)
