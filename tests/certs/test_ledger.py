"""What C{certs.ledger} writes down, and when."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from attrs import define

from haloy.certs.acme import AcmeError
from haloy.certs.budget import Limits
from haloy.certs.files import CertificateFiles, NotWritten
from haloy.certs.ledger import Ledger
from haloy.certs.need import Decision, Policy, decide
from haloy.errors import CertificateError, HaloyError
from haloy.model.names import DomainName
from tests.certs.support import at_once, domain
from tests.certs.test_acme_http import result
from tests.support.certificates import NOW

CA = "https://ca.example/dir"
SHOP = DomainName("shop.example.com")
POLICY = Policy((CA,), limits=Limits())


@define
class Life:
    """One life of a daemon, begun by reading what the one before has written."""

    folder: Path
    now: datetime = NOW
    authorities: tuple[str, ...] = (CA,)

    def begin(self) -> Ledger:
        ledger = Ledger(
            CertificateFiles(self.folder), at_once, lambda: self.now, random.Random(1)
        )
        result(ledger.load(self.authorities))
        return ledger

    def decision(self, ledger: Ledger) -> Decision:
        return decide(domain(SHOP), {}, ledger.memory, POLICY, self.now)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path / "certs")


def test_daemon_that_is_killed_in_every_order_stays_below_the_limits(
    life: Life,
) -> None:
    """An order counts before it is sent: nobody can tell how far it came."""
    sent = 0
    for _ in range(100):
        ledger = life.begin()
        decision = life.decision(ledger)
        if not decision.waits_for:
            result(ledger.began(decision))
            sent += 1
        life.now += timedelta(seconds=10)
    assert sent == Limits().failed_per_name_hour
    assert life.decision(life.begin()).waits_for == "limit"
    life.now += timedelta(hours=1)
    assert not life.decision(life.begin()).waits_for


def test_order_that_is_taken_back_does_not_count(life: Life) -> None:
    """A hundred restarts are no reason to wait."""
    for _ in range(100):
        ledger = life.begin()
        decision = life.decision(ledger)
        assert not decision.waits_for
        attempt = result(ledger.began(decision))
        result(ledger.cancelled(attempt))
    assert life.begin().memory.attempts == ()


def test_nothing_is_sent_that_the_disk_cannot_keep(life: Life) -> None:
    """The CA would count a certificate that nobody ever gets to see."""
    life.folder.write_text("in the way")
    ledger = life.begin()
    with pytest.raises(NotWritten):
        result(ledger.began(life.decision(ledger)))
    assert ledger.memory.attempts == ()


def test_issued_one_ends_the_ladder(life: Life) -> None:
    """And counts as issued, once."""
    ledger = life.begin()
    decision = life.decision(ledger)
    fail(ledger, decision, AcmeError("no", kind="validation"))
    attempt = result(ledger.began(decision))
    result(ledger.issued(decision, attempt))
    memory = life.begin().memory
    assert memory.failures == {}
    assert [one.issued for one in memory.attempts] == [False, True]


def fail(ledger: Ledger, decision: Decision, problem: HaloyError) -> None:
    attempt = result(ledger.began(decision))
    result(ledger.failed(decision, problem, (), attempt, only_one=True))


@pytest.mark.parametrize(
    ("problem", "kind", "counted"),
    [
        (AcmeError("no", kind="validation"), "validation", 1),
        (AcmeError("no"), "rejected", 1),
        (CertificateError("something else"), "rejected", 1),
        (AcmeError("no", kind="timeout"), "timeout", 1),
        (AcmeError("away", kind="transport"), "transport", 0),
        (AcmeError("many", kind="rate"), "rate", 0),
        (NotWritten("full"), "disk", 0),
    ],
)
def test_failures_count_where_the_ca_counts_them(
    life: Life, problem: HaloyError, kind: str, counted: int
) -> None:
    """A CA that is away has counted nothing."""
    ledger = life.begin()
    fail(ledger, life.decision(ledger), problem)
    assert ledger.memory.failures[SHOP].kind == kind
    memory = life.begin().memory
    assert len(memory.attempts) == counted
    assert bool(memory.paused) == (kind == "rate")


def test_failures_at_a_ca_of_before_hold_nothing_up(life: Life) -> None:
    """Whoever configures another CA waits for nothing, and climbs no ladder further."""
    ledger = life.begin()
    fail(ledger, life.decision(ledger), AcmeError("no", kind="validation"))
    assert life.decision(life.begin()).waits_for == "failure"
    life.authorities = ("https://other.example/dir", CA)
    assert life.begin().memory.failures[SHOP].count == 1
    life.authorities = ("https://other.example/dir",)
    assert life.begin().memory.failures == {}


def test_a_ca_that_was_not_reached_is_asked_by_the_next_start(life: Life) -> None:
    """It may be trusted by now, by another C{ca_file}; nothing was sent to it."""
    ledger = life.begin()
    away = AcmeError("its certificate is not trusted", kind="transport")
    fail(ledger, life.decision(ledger), away)
    assert life.decision(ledger).waits_for == "failure"
    assert life.decision(life.begin()).waits_for == ""


@pytest.mark.parametrize("kind", ["rate", "rejected"])
def test_no_authority_sends_us_away_for_years(life: Life, kind: str) -> None:
    """A C{Retry-After} of its mistake would be a name without a certificate."""
    ledger = life.begin()
    problem = AcmeError("many", kind=kind, retry_after_s=9e9)
    fail(ledger, life.decision(ledger), problem)
    again = life.decision(life.begin()).due
    assert again is not None
    assert timedelta(days=6) < again - NOW <= timedelta(days=7)


def test_problem_document_is_kept_whole(life: Life) -> None:
    """Whoever asks the CA for help needs it."""
    ledger = life.begin()
    document = '{"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids"}'
    problem = AcmeError("CAA forbids", problem="caa", document=document)
    fail(ledger, life.decision(ledger), problem)
    kept = life.begin().memory.failures[SHOP]
    assert (kept.problem, kept.document) == ("caa", document)
