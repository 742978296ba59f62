"""What C{certs.need} decides."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from haloy.certs.budget import Limits
from haloy.certs.memory import Attempt, Failures, Memory, Window
from haloy.certs.need import (
    LADDER,
    Decision,
    Policy,
    after_failure,
    choose,
    covers,
    decide,
    identifier,
    renew_at,
    serving,
    wanted_names,
)
from haloy.model.certificate import Certificate
from haloy.model.names import DomainName
from tests.certs.support import domain
from tests.support.certificates import DAY, NOW, make

CA = "https://ca.example/dir"
OTHER = "https://other.example/dir"
POLICY = Policy((CA,))
SHOP = domain("shop.example.com", "www.shop.example.com")
NAMES = wanted_names(SHOP)


def held(*certificates: Certificate) -> dict[DomainName, Certificate]:
    return {one.name: one for one in certificates}


def failures(**changes: Any) -> Failures:
    first = Failures(1, NOW, "refused", NAMES, NOW + LADDER[0], "validation", "", CA)
    return evolve(first, **changes)


def deciding(
    *certificates: Certificate,
    memory: Memory | None = None,
    policy: Policy = POLICY,
    now: datetime = NOW,
) -> Decision:
    return decide(SHOP, held(*certificates), memory or Memory(), policy, now)


# --- when ---------------------------------------------------------------------


def test_nothing_held_is_ordered_at_once() -> None:
    """Canonical name and aliases are on one certificate."""
    found = deciding()
    assert (found.names, found.due, found.directory) == (NAMES, NOW, CA)
    assert not found.renewal


@pytest.mark.parametrize(
    ("life_days", "left_days"), [(6, 2), (45, 15), (64, 64 / 3), (90, 30), (365, 30)]
)
def test_renewal_comes_with_a_third_or_30_days_left(
    life_days: float, left_days: float
) -> None:
    """Whichever is shorter; spread by a tenth of it, later and never earlier."""
    one = make(*NAMES, life=life_days * DAY, directory=CA)
    least = one.not_after - left_days * DAY
    assert least <= renew_at(one) <= least + 0.1 * left_days * DAY
    before = deciding(one, now=renew_at(one) - timedelta(seconds=1))
    assert before.due == renew_at(one)
    assert before.certificate == one
    after = deciding(one, now=renew_at(one))
    assert (after.due, after.renewal) == (renew_at(one), True)


def test_instant_of_renewal_does_not_move_by_itself() -> None:
    """100 restarts order nothing: chance is in the certificate, not in the process."""
    one, other = make(*NAMES, directory=CA), make(*NAMES, directory=CA)
    assert renew_at(one) == renew_at(evolve(one))
    assert renew_at(one) != renew_at(other)


def test_added_alias_is_ordered_for_and_removed_one_is_not() -> None:
    """A certificate that covers more than is wanted is as good."""
    assert deciding(make("shop.example.com", directory=CA)).due == NOW
    more = make(*NAMES, "old.example.com", directory=CA)
    assert deciding(more).due == renew_at(more)


def test_wildcard_covers_one_label() -> None:
    """RFC 6125 section 6.4.3."""
    star = make("*.example.com")
    assert covers(star, (DomainName("a.example.com"),))
    assert not covers(star, (DomainName("b.a.example.com"),))
    assert not covers(star, (DomainName("example.com"),))


def test_another_ca_in_the_settings_means_another_certificate() -> None:
    """From a test CA to the real one, nobody has to delete files."""
    one = make(*NAMES, directory=OTHER)
    assert deciding(one).due == NOW
    assert deciding(one, policy=Policy((CA, OTHER))).due == renew_at(one)


def test_certificates_of_the_go_daemon_go_on_unless_they_are_test_ones() -> None:
    """Its staging CA says so in the issuer's name."""
    old = evolve(make(*NAMES), manual=False)
    assert deciding(old).due == renew_at(old)
    staging = evolve(old, issuer="CN=(STAGING) Wannabe Watercress R11,C=US")
    assert deciding(staging).due == NOW


# --- put there by hand --------------------------------------------------------


def test_certificate_put_there_by_hand_is_served_to_its_end() -> None:
    """No order is made for names that it covers, however little is left."""
    one = make(*NAMES)
    late = one.not_after - timedelta(minutes=1)
    assert deciding(one, now=late).due == one.not_after
    assert deciding(one, now=one.not_after).due == one.not_after
    assert deciding(one, now=one.not_after).directory == CA


def test_one_for_another_name_that_covers_is_enough() -> None:
    """C{*.example.com.pem} serves every app below it."""
    star = make("*.example.com", "*.shop.example.com")
    assert deciding(star).certificate == star
    assert deciding(star).due == star.not_after


def test_aliases_left_out_by_hand_get_one_of_their_own() -> None:
    """The one put there by hand is never replaced while it is valid."""
    one = make("shop.example.com")
    found = deciding(one)
    assert found.names == ("www.shop.example.com",)
    assert found.due == NOW


def test_own_name_goes_before_one_that_only_covers() -> None:
    """And a valid one before one that has ended."""
    star = make("*.example.com", "*.shop.example.com", life=365 * DAY)
    own = make(*NAMES)
    assert serving(NAMES, held(star, own), NOW) == own
    assert serving(NAMES, held(star, own), own.not_after) == star
    assert serving(NAMES, held(own), own.not_after) is None


def test_one_for_the_canonical_name_is_better_than_none() -> None:
    """The alias waits for its own; the app is not locked out meanwhile."""
    one = make("shop.example.com", directory=CA)
    star = make("*.shop.example.com")
    assert serving(NAMES, held(one, star), NOW) == one
    assert serving(NAMES, held(star), NOW) is None
    longer = make("*.example.com", life=365 * DAY)  # nor is it for www.shop
    assert serving(NAMES, held(one, longer), NOW) == one


# --- names nobody issues for --------------------------------------------------


@pytest.mark.parametrize("name", ["localhost", "*.example.com"])
def test_unprovable_names_are_never_ordered(name: str) -> None:
    """C{localhost} by nobody, wildcards not without DNS-01."""
    assert decide(domain(name), {}, Memory(), POLICY, NOW).due is None


def test_wildcards_are_ordered_with_dns_01() -> None:
    """Where a provider is set up."""
    policy = Policy((CA,), wildcards=True)
    assert decide(domain("*.example.com"), {}, Memory(), policy, NOW).due == NOW


# --- failures -----------------------------------------------------------------


def test_ladder_is_climbed_and_spread_by_a_tenth() -> None:
    """1 min, 10 min, 1 h, 6 h, then 24 h for ever (D16)."""
    found: Failures | None = None
    steps = []
    for _ in range(7):
        found = after_failure(found, failures(), None, 0.0)
        steps.append(found.not_before - found.last)
    assert steps == [*LADDER, LADDER[-1], LADDER[-1]]
    early = after_failure(None, failures(), None, -1.0)
    late = after_failure(None, failures(), None, 1.0)
    assert early.not_before - NOW == timedelta(seconds=54)
    assert late.not_before - NOW == timedelta(seconds=66)


def test_longer_retry_after_counts() -> None:
    """And a shorter one does not hurry us."""
    assert after_failure(None, failures(), 3600.0, 0).not_before == NOW + timedelta(
        hours=1
    )
    assert after_failure(None, failures(), 1.0, 0).not_before == NOW + LADDER[0]


def test_failure_waits_and_an_edited_configuration_does_not() -> None:
    """The ladder belongs to exactly these names."""
    memory = Memory().failed(NAMES[0], failures())
    found = deciding(memory=memory)
    assert (found.due, found.waits_for) == (NOW + LADDER[0], "failure")
    other = Memory().failed(NAMES[0], failures(names=NAMES[:1]))
    assert deciding(memory=other).due == NOW
    assert (
        after_failure(failures(count=4), failures(names=NAMES[:1]), None, 0).count == 1
    )


def test_pause_of_the_account_holds_every_order() -> None:
    """429 and 503 are about us, not about one name."""
    until = NOW + timedelta(hours=2)
    found = deciding(memory=Memory().pausing(CA, until))
    assert (found.due, found.waits_for) == (until, "pause")
    longer = Memory().pausing(CA, until).pausing(CA, NOW)
    assert longer.paused[CA] == until


def test_limits_of_the_ca_hold_orders_back() -> None:
    """Failed validations of a name in an hour, whatever resets the ladder."""
    attempt = Attempt(NOW - timedelta(minutes=30), NAMES, CA, issued=False)
    memory = Memory(attempts=(attempt,) * 4)
    policy = Policy((CA,), limits=Limits(failed_per_name_hour=4))
    found = deciding(memory=memory, policy=policy)
    assert (found.due, found.waits_for) == (NOW + timedelta(minutes=30), "limit")


def test_clock_that_went_back_holds_nothing_up() -> None:
    """What is remembered from the future is not believed."""
    year = 365 * DAY
    failed = failures(last=NOW + year, not_before=NOW + year + DAY)
    attempt = Attempt(NOW + year, NAMES, CA, issued=False)
    memory = Memory(attempts=(attempt,) * 9).pausing(CA, NOW + year)
    assert deciding(memory=memory.failed(NAMES[0], failed)).due == NOW


def test_short_lived_certificates_are_no_loop() -> None:
    """Renewals in the second half of a life are not held back as duplicates."""
    limits = Limits(same_names_week=1)
    attempt = Attempt(NOW, NAMES, CA, issued=True)
    memory, policy = Memory(attempts=(attempt,)), Policy((CA,), limits=limits)
    fresh = make("shop.example.com", since=NOW, directory=CA)
    assert deciding(fresh, memory=memory, policy=policy).waits_for == "limit"
    old = make(*NAMES, since=NOW, life=DAY, directory=CA)
    later = old.not_after - timedelta(hours=1)
    assert deciding(old, memory=memory, policy=policy, now=later).due == later


# --- the second CA ------------------------------------------------------------


@pytest.mark.parametrize("kind", ["transport", "rate", "timeout", "rejected"])
def test_trouble_of_a_ca_leads_to_the_next_one(kind: str) -> None:
    """And back again from there."""
    failed = failures(kind=kind)
    assert choose((CA, OTHER), failed, {}, NOW) == OTHER
    back = evolve(failed, directory=OTHER)
    assert choose((CA, OTHER), back, {}, NOW) == CA
    assert choose((CA,), failed, {}, NOW) == CA


@pytest.mark.parametrize("kind", ["validation", "dns"])
def test_trouble_of_a_name_stays_with_the_ca(kind: str) -> None:
    """Another one would see the same."""
    assert choose((CA, OTHER), failures(kind=kind), {}, NOW) == CA


def test_paused_ca_is_passed_over() -> None:
    """Of two paused ones the first that is free again."""
    later = NOW + timedelta(hours=1)
    assert choose((CA, OTHER), None, {CA: later}, NOW) == OTHER
    assert choose((CA, OTHER), None, {CA: later, OTHER: later + DAY}, NOW) == CA
    assert choose((CA, OTHER), None, {CA: NOW - DAY}, NOW) == CA


# --- renewal information ------------------------------------------------------


def window(certificate: Certificate, chosen: datetime) -> Memory:
    mark = identifier(certificate)
    return Memory().suggested(
        certificate.name, Window(mark, NOW, NOW + DAY, chosen, NOW + DAY)
    )


def test_window_of_the_ca_wins() -> None:
    """RFC 9773: earlier than a third, also when it is about to be revoked."""
    one = make(*NAMES, directory=CA)
    assert deciding(one, memory=window(one, NOW + 3 * DAY)).due == NOW + 3 * DAY
    assert deciding(one, memory=window(one, NOW - DAY)).due == NOW


def test_window_that_is_too_late_does_not_let_one_end() -> None:
    """A tenth of the lifetime is kept for the unexpected."""
    one = make(*NAMES, life=90 * DAY, directory=CA)
    found = deciding(one, memory=window(one, one.not_after + DAY))
    assert found.due == one.not_after - 9 * DAY


def test_window_of_the_certificate_before_is_not_used() -> None:
    """It is about that one."""
    before, one = make(*NAMES, directory=CA), make(*NAMES, directory=CA)
    assert deciding(one, memory=window(before, NOW)).due == renew_at(one)


# --- whatever happens ---------------------------------------------------------

INSTANTS = st.integers(-160, 160).map(lambda hours: NOW + timedelta(hours=hours))


@given(
    now=INSTANTS,
    not_before=INSTANTS,
    pause=INSTANTS,
    count=st.integers(1, 9),
    kind=st.sampled_from(["transport", "validation", "dns", "rate"]),
    has=st.booleans(),
)
def test_no_order_before_its_time(
    now: datetime,
    not_before: datetime,
    pause: datetime,
    count: int,
    kind: str,
    has: bool,
) -> None:
    """What is due now waits neither for the ladder nor for the CA."""
    failed = failures(last=now, not_before=not_before, count=count, kind=kind)
    memory = Memory().failed(NAMES[0], failed).pausing(CA, pause)
    found = deciding(*([ONE] if has else []), memory=memory, now=now)
    assert found.due is not None
    if found.due <= now:
        assert now >= not_before
        assert now >= pause
        assert not has or now >= renew_at(ONE)
    else:
        assert now < max(not_before, pause, renew_at(ONE) if has else now)


ONE = make(*NAMES, since=NOW - 60 * DAY, directory=CA)
