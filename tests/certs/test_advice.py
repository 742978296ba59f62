"""What C{certs.advice} tells those who deploy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from attrs import define, field

from haloy.certs.advice import LOOKED_AT, Advice
from haloy.certs.interface import CertificateStatus
from haloy.certs.lookup import View
from haloy.certs.need import Policy
from haloy.certs.shelf import Shelf
from haloy.model.app import Domain
from haloy.model.certificate import Certificate
from haloy.model.names import DomainName
from tests.certs.support import domain
from tests.certs.test_acme_http import result
from tests.fakes.certificates import status
from tests.support.certificates import DAY, NOW, make

SHOP = domain("shop.example.com", "www.shop.example.com")
ELSEWHERE = View(("203.0.113.7",), warning="points to 203.0.113.7")
UNKNOWN = View(problem="does not exist in DNS")


@define(eq=False)
class Names:
    """What DNS says, and who was asked for."""

    views: dict[str, View] = field(factory=dict)
    asked: list[str] = field(factory=list)

    async def look(self, name: DomainName) -> View:
        self.asked.append(name)
        return self.views.get(name, View(("192.0.2.1",)))


def advice(
    names: Names, *held: Certificate, known: tuple[CertificateStatus, ...] = ()
) -> Advice:
    shelf = Shelf({one.name: one for one in held})
    return Advice(shelf, names, Policy(("ca",)), lambda: NOW, lambda: known)


def told(here: Advice, *domains: Domain) -> Any:
    return result(here.look_ahead(domains))


def test_names_without_a_certificate_are_looked_at() -> None:
    """A plain reason each, the same one once."""
    views = {"shop.example.com": ELSEWHERE, "www.shop.example.com": UNKNOWN}
    names = Names(views)
    assert told(advice(names), SHOP, SHOP) == (ELSEWHERE.warning, UNKNOWN.problem)
    assert names.asked == list(views)


def test_names_with_a_certificate_are_left_alone() -> None:
    """Behind a CDN a warning with each deployment would be noise."""
    names = Names({"shop.example.com": ELSEWHERE})
    here = advice(names, make("shop.example.com", since=NOW, life=DAY))
    assert told(here, SHOP) == ()
    assert names.asked == ["www.shop.example.com"]
    ended = make("shop.example.com", since=NOW - 2 * DAY, life=DAY)
    assert told(advice(names, ended), SHOP) == (ELSEWHERE.warning,)


def test_wildcard_that_nobody_proves_is_told() -> None:
    """Unless one was put there by hand."""
    star = domain("*.example.com")
    (text,) = told(advice(Names()), star)
    assert "*.example.com gets no certificate: a wildcard needs DNS-01" in text
    assert told(advice(Names(), make("*.example.com")), star) == ()


def test_many_names_do_not_take_for_ever() -> None:
    """Each look has a limit of seconds, and their number has one."""
    names = Names()
    told(advice(names), *(domain(f"a{i}.example.com") for i in range(100)))
    assert len(names.asked) == LOOKED_AT


def test_what_is_not_there_at_the_end_is_told_with_its_reason() -> None:
    """With what to type next; a failure is a warning, waiting is none."""
    failed = status(
        "shop.example.com", "failed", None, failures=1, reason="connection refused"
    )
    here = advice(Names(), known=(failed,))
    (first, second) = here.missing((SHOP, domain("new.example.com")))
    assert first[0] == "WARN"
    assert "shop.example.com is not there: connection refused" in first[1]
    assert "`haloy certs show shop.example.com`" in first[1]
    assert second[0] == "INFO"
    assert "new.example.com is not there yet" in second[1]


def test_what_is_there_is_no_news() -> None:
    """Canonical name and aliases, until it ends."""
    one = make("shop.example.com", "www.shop.example.com", since=NOW, life=DAY)
    here = advice(Names(), one)
    assert here.missing((SHOP,)) == ()
    later = Advice(
        Shelf({one.name: one}), Names(), Policy(()), lambda: NOW + timedelta(2), tuple
    )
    assert len(later.missing((SHOP,))) == 1
