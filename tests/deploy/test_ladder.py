"""Back-off by key."""

from __future__ import annotations

from haloy.deploy.ladder import Ladder


def test_waits_double() -> None:
    """Each try doubles the wait, up to the longest."""
    ladder = Ladder(1, 4)
    assert [ladder.may_try("a", at) for at in (0, 0.9, 1, 2.9, 3, 6.9, 7, 10.9)] == [
        True,
        False,
        True,
        False,
        True,
        False,
        True,
        False,
    ]
    assert ladder.may_try("a", 11)


def test_begins_anew() -> None:
    """After the longest wait without a try the first step is short again."""
    ladder = Ladder(1, 4)
    for at in (0, 1, 3):
        assert ladder.may_try("a", at)
    assert ladder.may_try("a", 20)
    assert ladder.may_try("a", 21)


def test_keys_are_apart() -> None:
    """One key does not hold up another."""
    ladder = Ladder(1, 4)
    assert ladder.may_try("a", 0)
    assert ladder.may_try("b", 0)


def test_what_is_left_to_wait() -> None:
    """It is known when the next try may be."""
    ladder = Ladder(1, 4)
    assert ladder.wait_s("a", 0) == 0
    ladder.may_try("a", 0)
    assert [ladder.wait_s("a", at) for at in (0, 0.75, 1, 9)] == [1, 0.25, 0, 0]
