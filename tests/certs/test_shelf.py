"""What C{certs.shelf} gives to the proxy."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from haloy.certs.need import wanted_names
from haloy.certs.shelf import Shelf
from haloy.model.certificate import Certificate
from haloy.model.names import DomainName
from tests.certs.support import domain
from tests.support.certificates import DAY, NOW, make

SHOP = domain("shop.example.com", "www.shop.example.com")


def shelf(*certificates: Certificate) -> Shelf:
    return Shelf({one.name: one for one in certificates})


def names(served: tuple[Certificate, ...] | None) -> set[DomainName]:
    return {name for one in served or () for name in one.names}


def test_what_is_valid_is_served_and_what_has_ended_is_not() -> None:
    """Wanted or not: a name may come back."""
    good, ended = make("a.example.com"), make("b.example.com", life=DAY)
    found = shelf(good, ended).to_serve((), NOW + 2 * DAY)
    assert found == (good,)


def test_nothing_new_is_said_once() -> None:
    """The proxy is not told the same every minute."""
    here = shelf(make("a.example.com"))
    here.served = here.to_serve((), NOW)
    assert here.to_serve((), NOW) is None
    assert Shelf().to_serve((), NOW) == ()


def test_wanted_names_without_any_get_a_self_signed_one() -> None:
    """P16: for names that are routed and no others; the same one until it ages."""
    here = shelf(make("shop.example.com"))
    first = here.to_serve((SHOP,), NOW)
    assert names(first) == {"shop.example.com", "www.shop.example.com"}
    here.served = first
    assert here.to_serve((SHOP,), NOW + 5 * DAY) is None
    later = here.to_serve((SHOP,), NOW + 6 * DAY)
    assert later is not None
    assert later != first
    assert min(one.not_after for one in later) > NOW + 6 * DAY


def test_one_that_has_ended_is_better_than_none() -> None:
    """The clock may be wrong; for wanted names only, and never before a valid one."""
    ended = make("shop.example.com", life=DAY)
    here = shelf(ended, make("other.example.com", life=DAY))
    later = NOW + 2 * DAY
    served = here.to_serve((SHOP,), later)
    assert served is not None
    assert served[-1] == ended
    assert names(served) == {"shop.example.com", "www.shop.example.com"}
    assert here.to_serve((), later) == ()
    star = make("*.example.com", "*.shop.example.com")
    assert shelf(ended, star).to_serve((SHOP,), later) == (star,)


def test_self_signed_one_makes_place() -> None:
    """As soon as there is a real one."""
    here = shelf()
    here.served = here.to_serve((SHOP,), NOW)
    real = make("shop.example.com", "www.shop.example.com")
    here.replace({real.name: real})
    assert here.to_serve((SHOP,), NOW) == (real,)


def test_file_that_is_gone_is_served_until_there_is_another() -> None:
    """A damaged file was moved aside: nobody is locked out."""
    before = make("shop.example.com")
    here = shelf(before)
    here.served = here.to_serve((), NOW)
    here.replace({})
    assert here.to_serve((), NOW) is None
    assert here.all() == {before.name: before}
    assert here.held == {}
    after = make("shop.example.com")
    here.held[after.name] = after
    assert here.to_serve((), NOW) == (after,)
    here.replace({})
    assert here.all() == {after.name: after}


def test_what_is_about_a_name_is_found_by_any_of_its_names() -> None:
    """By file name, by wildcard, by alias; what is gone from the disk on demand."""
    own, wild = make("shop.example.com"), make("*.example.com", "example.com")
    other, gone = make("other.org"), make("old.org", "www.shop.example.com")
    here = shelf(gone)
    here.replace({one.name: one for one in (own, wild, other)})
    asked = wanted_names(SHOP)
    assert here.about(asked) == {own.name: own, wild.name: wild}
    assert here.about(asked, kept=True).keys() == {own.name, wild.name, gone.name}
    newer = make("www.shop.example.com")
    here.put(newer)
    assert here.about(asked)[newer.name] is newer


class Counted(frozenset[DomainName]):
    """Names that count how often somebody looked."""

    looks = 0

    def __contains__(self, name: object) -> bool:
        Counted.looks += 1
        return super().__contains__(name)


def test_hundreds_of_certificates_are_not_searched_for_each_name() -> None:
    """The reactor that does this also answers requests."""
    many = [DomainName(f"app-{number}.example.com") for number in range(500)]
    one = make(many[0])

    def held(some: Iterable[DomainName]) -> Shelf:
        return shelf(*(evolve(one, name=n, names=Counted({n})) for n in some))

    here = held(many[::2])
    Counted.looks = 0
    for name in many:
        assert bool(here.about((name,))) == (name in here.held)
    # A name without any looks for one that has ended, in all.
    held(many[10:]).to_serve(tuple(domain(name) for name in many), NOW)
    assert Counted.looks < 20 * len(many)


def test_file_by_a_name_that_it_is_not_for_takes_nobody_s_place() -> None:
    """All are called differently: the split form keeps them by their names."""
    odd = evolve(make("other.org"), name=DomainName("shop.example.com"))
    here = shelf(odd)
    served = here.to_serve((SHOP, domain("other.org")), NOW)
    assert served is not None
    assert names(served) == {"other.org", "shop.example.com", "www.shop.example.com"}
    assert len({one.name for one in served}) == len(served)
