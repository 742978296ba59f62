"""Which upstream is next."""

from __future__ import annotations

from collections import Counter

from attrs import define

from haloy.model.app import Balance
from haloy.proxy.balance import SLOW_START_S, Backoff, Rotation


@define
class One:
    key: str
    outstanding: int = 0
    ejected_until: float = 0.0
    full_share_at: float = 0.0
    full: bool = False


def picks(rotation: Rotation, ones: list[One], count: int, now: float = 100.0) -> str:
    chosen = [rotation.pick(ones, now) for _ in range(count)]
    return "".join(one.key for one in chosen if one is not None)


def test_turns_are_fair() -> None:
    """Each upstream gets its turn."""
    ones = [One("a"), One("b"), One("c")]
    assert Counter(picks(Rotation(), ones, 30)) == {"a": 10, "b": 10, "c": 10}


def test_turns_go_on_when_tables_change() -> None:
    """A new table does not start at the first upstream again (spec P12)."""
    rotation = Rotation()
    chosen = "".join(picks(rotation, [One("a"), One("b")], 1) for _ in range(20))
    assert Counter(chosen) == {"a": 10, "b": 10}


def test_one_upstream() -> None:
    """A single upstream is taken whatever is known of it, but not twice."""
    one = One("a", ejected_until=200, full=True)
    assert Rotation().pick([one], 100) is one
    assert Rotation().pick([one], 100, ("a",)) is None


def test_no_upstream() -> None:
    """Nothing comes of nothing."""
    assert Rotation().pick([], 100) is None


def test_ejected_and_full_upstreams_are_left_out() -> None:
    """They are taken only when there is no other."""
    ones = [One("a"), One("b", ejected_until=101), One("c", full=True)]
    assert set(picks(Rotation(), ones, 6)) == {"a"}
    assert set(picks(Rotation(), ones[1:], 6)) == {"c"}
    assert set(picks(Rotation(), [ones[1], One("d", ejected_until=101)], 6)) == {
        "b",
        "d",
    }


def test_all_tried() -> None:
    """An upstream is tried once for each request."""
    ones = [One("a"), One("b")]
    assert Rotation().pick(ones, 100, ("a", "b")) is None
    chosen = Rotation().pick(ones, 100, ("a",))
    assert chosen is ones[1]


def test_least_outstanding() -> None:
    """The one with the fewest exchanges is next, equal ones in turn."""
    ones = [One("a", 5), One("b", 1), One("c", 1)]
    rotation = Rotation()
    chosen = [rotation.pick(ones, 100, (), Balance.LEAST_OUTSTANDING) for _ in range(4)]
    assert Counter(one.key for one in chosen if one) == {"b": 2, "c": 2}


def test_newcomers_start_slowly() -> None:
    """A replica new beside an older one serves its first turn, then grows."""
    rotation = Rotation()
    old, new = One("o"), One("n", full_share_at=100 + SLOW_START_S)
    early = Counter(picks(rotation, [old, new], 100, now=100))
    late = Counter(picks(rotation, [old, new], 100, now=109))
    after = Counter(picks(rotation, [old, new], 100, now=111))
    assert "n" in picks(Rotation(), [old, new], 2, now=100)
    assert early["n"] < late["n"] < after["n"] == 50
    assert early["n"] >= 10


def test_newcomers_start_slowly_by_what_is_outstanding_too() -> None:
    """One that has nothing to do yet does not get everything at once."""

    def shared(now: float) -> Counter[str]:
        """Give out sixty requests that go on; return who has them."""
        ones = [One("o"), One("n", full_share_at=100 + SLOW_START_S)]
        rotation = Rotation()
        for _ in range(60):
            chosen = rotation.pick(ones, now, (), Balance.LEAST_OUTSTANDING)
            assert chosen is not None
            chosen.outstanding += 1
        return Counter({one.key: one.outstanding for one in ones})

    assert shared(100)["n"] == 10
    assert shared(105)["n"] == 20
    assert shared(110)["n"] == 30
    busy, new = One("o", 6), One("n", full_share_at=100 + SLOW_START_S)
    rotation = Rotation()
    assert rotation.pick([busy, new], 100, (), Balance.LEAST_OUTSTANDING) is new


def test_newcomers_among_themselves() -> None:
    """If all are new somebody serves all the same."""
    ones = [One("a", full_share_at=110), One("b", full_share_at=110)]
    rotation = Rotation()
    assert len(picks(rotation, ones, 40)) == 40
    Rotation().forget(("a", "gone"))
    rotation.forget(("a", "gone"))
    assert len(picks(rotation, ones, 4)) == 4


def test_backoff_doubles_to_a_limit() -> None:
    """An upstream that goes on refusing is asked less and less."""
    backoff = Backoff()
    assert [backoff.after_failure() for _ in range(8)] == [1, 2, 4, 8, 16, 30, 30, 30]
    backoff.after_success()
    assert backoff.after_failure() == 1
