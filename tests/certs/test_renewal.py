"""What C{certs.renewal} does over time: driven by a clock, with a CA in memory."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from haloy.certs.acme import AcmeError, Suggestion
from haloy.certs.budget import Limits
from haloy.certs.files import CertificateFiles
from haloy.certs.interface import CertificateStatus
from haloy.certs.lookup import View
from haloy.certs.need import Policy
from haloy.certs.pem import render_pem
from haloy.certs.renewal import PARALLEL, CertificateService
from haloy.certs.solving import Solving
from haloy.errors import CertificateError, NotFound
from haloy.model.app import Domain
from haloy.model.names import DomainName
from tests.certs.support import Front, at_once, domain
from tests.certs.test_acme_http import result
from tests.fakes.acme import DIRECTORY, FakeAuthority
from tests.support.certificates import DAY, NOW, make, make_pem

OTHER = "https://other.example/dir"
SHOP = DomainName("shop.example.com")


@define(eq=False)
class Names:
    """What DNS says, by name; nothing odd unless a test says so."""

    views: dict[str, View] = field(factory=dict)
    asked: list[str] = field(factory=list)

    async def look(self, name: DomainName) -> View:
        self.asked.append(name)
        return self.views.get(name, View(("192.0.2.1",)))


@define(eq=False)
class World:
    """A service and all that it talks to."""

    folder: Path
    clock: Clock = field(factory=Clock)
    front: Front = field(factory=Front)
    names: Names = field(factory=Names)
    tick_s: float = 60.0
    told: list[CertificateStatus] = field(factory=list)
    ahead: timedelta = timedelta()
    limits: Limits | None = None
    first: FakeAuthority = field(init=False)
    second: FakeAuthority | None = None
    service: CertificateService = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.first = FakeAuthority(self.now)
        self.service = self.made()

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.clock.seconds()) + self.ahead

    @property
    def files(self) -> CertificateFiles:
        return CertificateFiles(self.folder)

    def made(self) -> CertificateService:
        authorities = [one for one in (self.first, self.second) if one is not None]
        service = CertificateService(
            self.clock,
            self.files,
            authorities,
            self.front,
            Solving(self.front),
            self.names,
            Policy(tuple(one.directory for one in authorities), limits=self.limits),
            self.now,
            random.Random(1),
            at_once,
            tick_s=self.tick_s,
        )
        service.on_change(self.told.append)
        return service

    def start(self, *domains: Domain) -> None:
        result(self.service.start())
        self.service.want(domains)

    def restart(self) -> None:
        wanted = self.service._wanted
        result(self.service.stop())
        self.service = self.made()
        self.start(*wanted)

    def with_second(self) -> None:
        self.second = FakeAuthority(self.now, OTHER)
        self.service = self.made()

    def wait(self, span: timedelta) -> None:
        """Let time pass, tick by tick."""
        end_s = self.clock.seconds() + span.total_seconds()
        while self.clock.seconds() < end_s:
            self.clock.advance(min(self.tick_s, end_s - self.clock.seconds()))

    def put(self, name: str, pem: bytes) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        path.write_bytes(pem)
        return path

    def status(self, name: str = SHOP) -> CertificateStatus:
        return next(one for one in self.service.status() if one.name == name)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "certs")
    yield made
    result(made.service.stop())
    assert not made.clock.getDelayedCalls()


# --- from need to proxy -------------------------------------------------------


def test_wanted_name_gets_a_certificate(world: World) -> None:
    """Need, order, file, proxy; and nothing more for a day."""
    world.start(domain(SHOP, "www.shop.example.com"))
    assert world.status().state == "valid"
    assert {SHOP, "www.shop.example.com"} <= world.front.names
    assert set(world.files.load(world.now())) == {SHOP}
    world.wait(DAY)
    assert len(world.first.orders) == 1


def test_what_is_on_disk_is_served_before_anything_is_ordered(world: World) -> None:
    """A restart is no outage, even with the CA away."""
    world.put(f"{SHOP}.pem", make_pem(SHOP))
    world.put("old.example.com.pem", make_pem("old.example.com"))
    result(world.service.start())
    assert world.front.names == {SHOP, "old.example.com"}
    assert world.first.orders == []


def test_wanted_name_is_served_while_it_is_ordered(world: World) -> None:
    """By one of our own, for routed names only (P16)."""
    world.first.answers[SHOP] = [Deferred()]
    world.start(domain(SHOP))
    assert world.status().state == "pending"
    assert world.status().reason == "being ordered"
    assert world.front.names == {SHOP}
    world.service.want(())
    assert world.front.names == set()


def test_one_put_there_by_hand_is_served_and_never_ordered_for(world: World) -> None:
    """Until it has ended."""
    world.tick_s = 3600
    world.service = world.made()
    world.put(f"{SHOP}.pem", make_pem(SHOP, life=5 * DAY))
    world.start(domain(SHOP))
    world.wait(4 * DAY)
    assert world.first.orders == []
    assert world.status().state == "manual"
    world.wait(2 * DAY)
    assert len(world.first.orders) == 1
    assert world.status().state == "valid"


def test_reload_finds_what_was_put_there(world: World) -> None:
    """And the failures before are of no interest any more."""
    world.first.always[SHOP] = AcmeError("no", kind="validation")
    world.start(domain(SHOP))
    assert world.status().state == "failed"
    world.put(f"{SHOP}.pem", make_pem(SHOP))
    world.service.reload()
    assert world.status().state == "manual"
    assert world.front.served[-1][-1].manual


def test_names_of_any_kind_without_a_way_to_prove_them_are_told(world: World) -> None:
    """Nothing is ordered."""
    world.start(domain("localhost"), domain("*.example.com"))
    world.wait(DAY / 24)
    assert world.first.orders == []
    assert {one.state for one in world.service.status()} == {"pending"}
    assert world.front.names == {"localhost", "*.example.com"}


# --- failures -----------------------------------------------------------------


def test_ladder_is_climbed_and_survives_restarts(world: World) -> None:
    """D16: 1 min, 10 min, 1 h, 6 h, 24 h; 100 restarts order nothing."""
    world.first.always[SHOP] = AcmeError("no answer on port 80", kind="validation")
    world.start(domain(SHOP))
    for _ in range(100):
        world.restart()
    assert len(world.first.orders) == 1
    world.wait(3 * DAY)
    steps = [at for at, _ in world.first.orders]
    waits = [
        (after - before) / timedelta(minutes=1)
        for before, after in itertools.pairwise(steps)
    ]
    for wait, ladder in zip(waits, (1, 10, 60, 360, 1440, 1440), strict=True):
        assert 0.9 * ladder <= wait <= 1.1 * ladder + 1


def test_failure_is_a_state_with_reason_and_next_try(world: World) -> None:
    """D6: nothing is disturbed; what the CA said is there to read."""
    error = AcmeError("no answer", kind="validation", problem="connection")
    world.first.always[SHOP] = error
    world.names.views[SHOP] = View(("203.0.113.7",), warning="points elsewhere")
    world.start(domain(SHOP), domain("good.example.com"))
    found = world.status()
    assert (found.state, found.problem) == ("failed", "connection")
    assert found.reason == "no answer; points elsewhere"
    assert found.next_try is not None
    assert found.next_try > world.now()
    assert world.status("good.example.com").state == "valid"


def test_failed_renewal_changes_nothing_that_is_served(world: World) -> None:
    """The file is the same to the byte; the certificate goes on to its end."""
    one = make(SHOP, since=NOW - 70 * DAY, directory=DIRECTORY)
    path = world.put(f"{SHOP}.pem", render_pem(one))
    before = path.read_bytes()
    world.first.always[SHOP] = AcmeError("down", kind="transport")
    world.start(domain(SHOP))
    world.wait(DAY)
    assert len(world.first.orders) > 1
    assert path.read_bytes() == before
    assert world.front.served[-1] == (one,)
    assert world.status().state == "valid"
    assert world.status().reason == "down"


def test_429_pauses_every_order_and_that_survives_a_restart(world: World) -> None:
    """The account is asked to rest, not one name."""
    rate = AcmeError("too many", kind="rate", status=429, retry_after_s=7200.0)
    world.first.answers[SHOP] = [rate]
    world.start(domain(SHOP))
    world.service.want((domain(SHOP), domain("b.example.com")))
    world.restart()
    assert [names for _, names in world.first.orders] == [(SHOP,)]
    assert "asked for a pause" in world.status("b.example.com").reason
    world.wait(timedelta(hours=1.9))
    assert len(world.first.orders) == 1
    world.wait(timedelta(hours=0.2))
    assert {names for _, names in world.first.orders[1:]} == {
        (SHOP,),
        ("b.example.com",),
    }


def test_rate_without_a_time_rests_for_an_hour(world: World) -> None:
    """A 503 of a CA that does not know either."""
    world.first.answers[SHOP] = [AcmeError("busy", kind="rate", status=503)]
    world.start(domain(SHOP))
    world.wait(timedelta(minutes=59))
    assert len(world.first.orders) == 1
    world.wait(timedelta(minutes=2))
    assert len(world.first.orders) == 2


def test_edited_configuration_starts_anew(world: World) -> None:
    """Only for the names that were edited."""
    world.first.always[SHOP] = AcmeError("no", kind="validation")
    world.start(domain(SHOP))
    world.service.want((domain(SHOP, "www.shop.example.com"),))
    assert [names for _, names in world.first.orders] == [
        (SHOP,),
        (SHOP, "www.shop.example.com"),
    ]


def test_another_kind_of_challenge_is_tried_after_a_failure(world: World) -> None:
    """Port 80 may be closed."""
    world.first.answers[SHOP] = [AcmeError("no answer on port 80", kind="validation")]
    world.start(domain(SHOP))
    world.wait(timedelta(minutes=3))
    assert [kinds[0].value for kinds in world.first.kinds] == ["http-01", "tls-alpn-01"]
    assert world.status().state == "valid"


def test_second_ca_helps_out(world: World) -> None:
    """While the first is down; the ladder is still climbed."""
    world.with_second()
    world.first.always[SHOP] = AcmeError("down", kind="transport")
    world.start(domain(SHOP))
    world.wait(timedelta(minutes=3))
    assert world.second is not None
    assert len(world.first.orders) == len(world.second.orders) == 1
    assert world.status().directory == OTHER
    # The first one was away: it has not found the preferred challenge wanting.
    assert world.second.kinds[0][0].value == "http-01"


def test_paused_ca_is_replaced_at_once_by_the_second(world: World) -> None:
    """Its pause says nothing about the other one."""
    world.with_second()
    rate = AcmeError("too many", kind="rate", retry_after_s=86400.0)
    world.first.always[SHOP] = rate
    world.start(domain(SHOP))
    world.wait(timedelta(minutes=3))
    assert world.status().directory == OTHER


def test_full_disk_is_a_failure_that_is_tried_again(world: World) -> None:
    """And works again without a restart."""
    world.folder.parent.mkdir(exist_ok=True)
    world.folder.write_text("in the way")
    world.start(domain(SHOP))
    assert "cannot be written" in world.status().reason
    world.folder.unlink()
    world.wait(timedelta(minutes=3))
    assert world.status().state == "valid"


def test_disk_that_fills_up_in_an_order_loses_no_certificate(world: World) -> None:
    """It is served from memory, told, and written when there is room again."""
    in_the_way = world.folder / f"{SHOP}.pem" / "x"
    in_the_way.mkdir(parents=True)
    world.start(domain(SHOP))
    found = world.status()
    assert found.state == "valid"
    assert "the disk has not taken it yet" in found.reason
    world.service.reload()
    world.wait(timedelta(hours=2))
    assert len(world.first.orders) == 1
    assert SHOP in world.front.names
    in_the_way.rmdir()
    in_the_way.parent.rmdir()
    world.wait(timedelta(minutes=1))
    assert world.files.load(world.now())[SHOP].directory == DIRECTORY
    assert world.status().reason == ""
    world.restart()
    assert len(world.first.orders) == 1


def test_mistake_of_ours_is_logged_and_tried_by_the_ladder(
    world: World, logged_failures: list[Failure]
) -> None:
    """Not at once for ever, which the CA would count."""
    world.first.always[SHOP] = RuntimeError("what?")  # not one of ours
    world.start(domain(SHOP))
    world.wait(timedelta(minutes=5))
    assert len(world.first.orders) == len(logged_failures) == 2
    assert "what?" in world.status().reason
    logged_failures.clear()


# --- names --------------------------------------------------------------------


def test_name_that_does_not_exist_is_not_ordered(world: World) -> None:
    """D16: the CA would count it; as soon as it exists, it is ordered."""
    missing = View(problem=f"{SHOP} does not exist in DNS")
    world.names.views[SHOP] = missing
    world.start(domain(SHOP), domain("good.example.com"))
    world.wait(timedelta(hours=3))
    assert [names for _, names in world.first.orders] == [("good.example.com",)]
    assert "does not exist" in world.status().reason
    del world.names.views[SHOP]
    world.wait(timedelta(minutes=2))
    assert world.status().state == "valid"


def test_change_in_dns_resets_the_ladder(world: World) -> None:
    """The person has just corrected the record: they are watching."""
    world.first.answers[SHOP] = [AcmeError("elsewhere", kind="validation")] * 3
    world.start(domain(SHOP))
    world.wait(timedelta(minutes=20))
    assert len(world.first.orders) == 3
    world.names.views[SHOP] = View(("198.51.100.2",))
    world.wait(timedelta(minutes=2))
    assert len(world.first.orders) == 4
    assert world.status().state == "valid"


def test_name_that_changes_all_the_time_does_not_eat_the_budget(world: World) -> None:
    """A round robin: failed validations stay below the CA's limit."""
    world.first.always[SHOP] = AcmeError("elsewhere", kind="validation")
    world.start(domain(SHOP))
    for minute in range(59):
        world.names.views[SHOP] = View((f"198.51.100.{minute}",))
        world.wait(timedelta(minutes=1))
    assert len(world.first.orders) == Limits().failed_per_name_hour


def test_clock_that_jumps_makes_no_storm(world: World) -> None:
    """A year ahead: what was served is served on; a few tries, then it waits."""
    names = [f"app-{number}.example.com" for number in range(20)]
    world.start(*(domain(name) for name in names))
    before = world.front.served[-1]
    made = len(world.first.orders)
    for name in names:
        world.first.always[name] = AcmeError("certificate has ended", kind="rejected")
    world.ahead = timedelta(days=365)
    world.wait(timedelta(minutes=30))
    assert set(world.front.served[-1]) == set(before)
    assert len(world.first.orders) - made <= 3 * len(names)
    world.ahead = timedelta()
    world.wait(timedelta(minutes=30))
    assert {one.state for one in world.service.status()} == {"valid"}


# --- many ---------------------------------------------------------------------


def test_hundred_names_with_one_broken(world: World) -> None:
    """At most four at a time; one failure holds nobody up."""
    broken = "app-50.example.com"
    world.first.always[broken] = AcmeError("no", kind="validation")
    waiting: list[Deferred[None]] = []
    for number in range(4):
        gate: Deferred[None] = Deferred()
        waiting.append(gate)
        world.first.answers[f"app-{number}.example.com"] = [gate]
    world.start(*(domain(f"app-{number}.example.com") for number in range(100)))
    assert world.first.under_way == PARALLEL
    for gate in waiting:
        gate.callback(None)
    found = {one.name: one.state for one in world.service.status()}
    assert found.pop(DomainName(broken)) == "failed"
    assert set(found.values()) == {"valid"}
    assert len(world.first.orders) == 100
    assert world.first.most_under_way == PARALLEL


# --- people -------------------------------------------------------------------


def test_renewal_can_be_asked_for(world: World) -> None:
    """Whatever is held; the ladder starts anew."""
    world.start(domain(SHOP))
    before = world.status().not_after
    world.wait(DAY)
    world.service.renew(SHOP)
    assert len(world.first.orders) == 2
    assert world.status().not_after != before
    assert world.first.replaced[1] is not None
    star = DomainName("*.example.com")
    world.service.want((domain(SHOP), domain(star)))
    with pytest.raises(CertificateError, match="a wildcard needs DNS-01"):
        world.service.renew(star)
    assert len(world.first.orders) == 2
    with pytest.raises(NotFound):
        world.service.renew(DomainName("unknown.example.com"))


@pytest.mark.usefixtures("untraced")
def test_asking_again_and_again_stays_below_the_limits(tmp_path: Path) -> None:
    """A script that renews each minute would lock the names out for a week."""
    world = World(tmp_path / "certs")
    world.limits = Limits()
    world.service = world.made()
    world.start(domain(SHOP))
    for _ in range(20):
        world.wait(timedelta(minutes=1))
        world.service.renew(SHOP)
    assert len(world.first.orders) == Limits().same_names_week
    assert "below the limits" in world.status().reason
    world.wait(8 * DAY)
    assert len(world.first.orders) == Limits().same_names_week + 1
    result(world.service.stop())


def test_asking_does_not_break_the_pause_of_the_ca(world: World) -> None:
    """The CA would only say no again."""
    world.first.answers[SHOP] = [AcmeError("many", kind="rate", retry_after_s=3600.0)]
    world.start(domain(SHOP))
    world.service.renew(SHOP)
    assert len(world.first.orders) == 1
    world.wait(timedelta(minutes=61))
    assert len(world.first.orders) == 2


def test_certificate_can_be_put(world: World) -> None:
    """As if by hand; a wrong one changes nothing."""
    world.start(domain(SHOP))
    found = result(world.service.put(SHOP, make_pem(SHOP, since=NOW, life=9 * DAY)))
    assert found is not None
    assert found.state == "manual"
    assert (
        result(
            world.service.put(DomainName("x.example.com"), make_pem("x.example.com"))
        )
        is None
    )
    for pem, reason in (
        (make_pem("other.example.com"), "is not for"),
        (make_pem(SHOP, since=NOW - 9 * DAY, life=DAY), "has ended"),
        (make_pem(SHOP, since=NOW + DAY), "is not valid before 2026-11-25"),
        (b"nonsense", "no private key"),
    ):
        with pytest.raises(CertificateError, match=reason):
            result(world.service.put(SHOP, pem))
    assert world.status().state == "manual"


def test_one_that_is_put_during_an_order_stays(world: World) -> None:
    """Who has imported a certificate does not find another one a moment later."""
    gate: Deferred[None] = Deferred()
    world.first.answers[SHOP] = [gate]
    world.start(domain(SHOP))
    result(world.service.put(SHOP, make_pem(SHOP, since=NOW)))
    mine = world.status().fingerprint
    gate.callback(None)
    found = world.status()
    assert (found.state, found.fingerprint, found.ordering) == ("manual", mine, False)
    assert [path.name for path in world.folder.glob("*.pem*")] == [f"{SHOP}.pem"]
    world.wait(DAY)
    assert len(world.first.orders) == 1


def test_proxy_that_is_away_fails_no_order(world: World) -> None:
    """What was obtained is served when it is back."""
    gate: Deferred[None] = Deferred()
    world.first.answers[SHOP] = [gate]
    world.start(domain(SHOP))
    world.front.away = True
    gate.callback(None)
    found = world.status()
    assert (found.state, found.failures) == ("valid", 0)
    world.front.away = False
    world.wait(timedelta(minutes=1))
    assert SHOP in {one.name for one in world.front.served[-1] if one.directory}


def test_changes_are_told_once(world: World) -> None:
    """For the deploy stream and events."""
    gate: Deferred[None] = Deferred()
    world.first.answers[SHOP] = [gate]
    world.start(domain(SHOP))
    gate.callback(None)
    world.wait(timedelta(minutes=5))
    assert [one.state for one in world.told] == ["pending", "valid"]


def test_stopping_withdraws_and_leaves_no_failure(world: World) -> None:
    """An order under way is not the CA's fault."""
    world.first.answers[SHOP] = [Deferred()]
    world.start(domain(SHOP))
    assert world.front.answers
    result(world.service.stop())
    assert not world.front.answers
    assert world.files.load_memory(NOW).failures == {}


@pytest.mark.parametrize(
    "told",
    [
        AcmeError("Couldn't find the hostname", kind="transport"),
        AcmeError("too many", kind="rate"),
        CertificateError("the disk does not take it"),
    ],
)
def test_order_that_is_cancelled_has_not_failed(world: World, told: Exception) -> None:
    """Whatever the cancellation turns into on its way up."""
    world.first.answers[SHOP] = [Deferred(lambda step: step.errback(told))]
    world.start(domain(SHOP))
    result(world.service.stop())
    assert not world.front.answers
    memory = world.files.load_memory(NOW)
    assert (memory.failures, memory.paused, memory.attempts) == ({}, {}, ())


# --- damage -------------------------------------------------------------------


def test_damaged_file_is_ordered_anew_while_the_old_one_is_served(world: World) -> None:
    """Nobody is locked out by a bad file."""
    world.start(domain(SHOP))
    first = world.front.served[-1]
    path = world.folder / f"{SHOP}.pem"
    path.write_bytes(path.read_bytes()[:500])
    gate: Deferred[None] = Deferred()
    world.first.answers[SHOP] = [gate]
    world.service.reload()
    assert world.first.under_way == 1
    assert world.front.served[-1] == first
    assert world.status().state == "valid"
    gate.callback(None)
    assert world.front.served[-1] != first
    assert len(list(world.folder.glob("*.corrupt-*"))) == 1


# --- the CA's own windows -----------------------------------------------------


def test_window_of_the_ca_moves_the_renewal(world: World) -> None:
    """RFC 9773; kept on disk, asked again when the CA said."""
    world.tick_s = 3600
    world.service = world.made()
    start = NOW + 10 * DAY
    again = NOW + 2 * DAY
    world.first.suggestions = [Suggestion(start, start + DAY, again)]
    world.start(domain(SHOP))
    world.wait(timedelta(hours=2))
    due = world.status().next_try
    assert due is not None
    assert start <= due <= start + DAY
    world.restart()
    assert world.status().next_try == due
    assert len(world.first.asked) == 1
    world.first.suggestions = [Suggestion(start, start + DAY, again + 60 * DAY)]
    world.wait(3 * DAY)
    assert len(world.first.asked) == 2
    assert world.status().next_try == due
    world.wait(9 * DAY)
    assert len(world.first.orders) == 2
    assert world.first.replaced[1] is not None


def test_ca_without_windows_is_asked_now_and_then(world: World) -> None:
    """And trouble with it is no trouble with the certificate."""
    world.tick_s = 3600
    world.service = world.made()
    world.first.suggestions = [AcmeError("oops"), None]
    world.start(domain(SHOP))
    world.wait(timedelta(hours=13))
    assert 2 <= len(world.first.asked) <= 3
    assert world.status().reason == ""


# --- a year -------------------------------------------------------------------


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("life_days", [6, 45, 64, 90])
def test_year_of_renewals(tmp_path: Path, life_days: int) -> None:
    """None in the first third, none missed, none too many."""
    world = World(tmp_path / "certs", tick_s=3 * 3600)
    world.first.life = timedelta(days=life_days)
    world.start(domain(SHOP))
    for _ in range(365):
        world.wait(DAY)
        assert world.status().state == "valid"
        assert world.status().not_after is not None
    result(world.service.stop())
    times = [at for at, _ in world.first.orders]
    ages = [
        (after - before) / timedelta(days=life_days)
        for before, after in itertools.pairwise(times)
    ]
    assert ages
    assert all(0.6 < age < 0.8 for age in ages)
    assert len(times) <= 365 / (life_days * 0.6) + 1
