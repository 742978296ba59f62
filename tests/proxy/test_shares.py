"""Workers that accept from the same sockets see what the others have."""

from __future__ import annotations

import os

from haloy.proxy.shares import Share, Shares, given_share, whole_share


def of(shares: Shares, place: int) -> Share:
    """Return the share of the worker at C{place}, as its process maps it."""
    return given_share({"HALOY_SHARE": f"{os.dup(shares.fileno())}:{place}"})


def two() -> tuple[Shares, Share, Share]:
    """Return the memory and the shares of two workers."""
    shares = Shares()
    return shares, of(shares, shares.take()), of(shares, shares.take())


def test_who_has_more_has_enough() -> None:
    """From five more on than the one who has least; that one never has."""
    shares, one, other = two()
    other.note(10)
    assert not one.is_ample(14)
    assert one.is_ample(15)
    assert not other.is_ample(10)
    shares.close()


def test_of_many_more_is_allowed() -> None:
    """An eighth: thousands of connections are not counted one by one."""
    shares, one, other = two()
    other.note(800)
    assert not one.is_ample(900)
    assert one.is_ample(901)
    shares.close()


def test_who_does_not_accept_does_not_count() -> None:
    """Neither one that was not there yet, nor one that has left, nor one that died."""
    shares, one, other = two()
    assert not one.is_ample(1000)
    other.note(0)
    assert one.is_ample(1000)
    other.leave()
    assert not one.is_ample(1000)
    other.note(0)
    shares.give_back(1)
    assert not one.is_ample(1000)
    shares.close()


def test_a_place_is_given_once_and_again() -> None:
    """The next worker gets the one that has become free."""
    shares = Shares()
    assert [shares.take() for _ in range(3)] == [0, 1, 2]
    shares.give_back(1)
    assert [shares.take(), shares.take()] == [1, 3]
    shares.close()


def test_more_workers_than_places() -> None:
    """They share the last one; none gets a number outside of the memory."""
    shares = Shares()
    places = [shares.take() for _ in range(300)]
    assert max(places) == 255
    first, last = (of(shares, place) for place in (places[0], places[-1]))
    last.note(7)
    assert not first.is_ample(11)
    assert first.is_ample(12)
    shares.close()


def test_alone() -> None:
    """Without others nobody is waited for, whatever there is."""
    for share in (whole_share(), given_share({})):
        share.note(0)
        assert not share.is_ample(100000)
