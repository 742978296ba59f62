"""What C{certs.status} tells a person."""

from __future__ import annotations

from attrs import evolve

from haloy.certs.interface import CertificateStatus
from haloy.certs.memory import Failures, Memory
from haloy.certs.need import Policy, decide, renew_at, wanted_names
from haloy.certs.pem import fingerprint
from haloy.certs.status import status_of
from haloy.model.app import Domain
from haloy.model.certificate import Certificate
from tests.certs.support import domain
from tests.support.certificates import DAY, NOW, make

CA = "https://ca.example/dir"
POLICY = Policy((CA,))
SHOP = domain("shop.example.com", "www.shop.example.com")
NAMES = wanted_names(SHOP)
FAILED = Failures(
    2, NOW, "no answer", NAMES, NOW + DAY, "validation", "unauthorized", CA
)


def status(
    certificate: Certificate | None = None,
    memory: Memory | None = None,
    wanted: Domain = SHOP,
    *,
    ordering: bool = False,
    queued: bool = False,
) -> CertificateStatus:
    kept = memory or Memory()
    held = {} if certificate is None else {certificate.name: certificate}
    decision = decide(wanted, held, kept, POLICY, NOW)
    warnings = dict.fromkeys(NAMES[:1], "points elsewhere")
    return status_of(
        wanted,
        decision,
        certificate,
        kept,
        POLICY,
        warnings,
        NOW,
        ordering=ordering,
        queued=queued,
    )


def test_valid_one_says_until_when_and_when_it_is_renewed() -> None:
    """Nothing else is to be said; a warning about DNS would be noise."""
    one = make(*NAMES, directory=CA)
    found = status(one)
    assert (found.state, found.reason) == ("valid", "")
    assert (found.not_after, found.next_try) == (one.not_after, renew_at(one))
    assert found.directory == CA
    assert "test CA" in found.issuer
    assert found.names == tuple(sorted(NAMES))
    assert found.not_before == one.not_before
    assert found.fingerprint == fingerprint(one)


def test_pending_one_says_what_goes_on() -> None:
    """And what is odd about its name."""
    found = status(ordering=True)
    assert (found.state, found.reason) == ("pending", "being ordered; points elsewhere")
    assert (found.not_after, found.issuer) == (None, "")


def test_failed_one_says_why_and_when_it_is_tried_again() -> None:
    """D6: a state with the CA's own words, not a failed deployment."""
    found = status(memory=Memory().failed(NAMES[0], FAILED))
    assert (found.state, found.failures, found.problem) == ("failed", 2, "unauthorized")
    assert found.reason == "no answer; points elsewhere"
    assert found.next_try == NOW + DAY


def test_failed_renewal_leaves_a_valid_one_valid() -> None:
    """The reason is told all the same."""
    one = make(*NAMES, since=NOW - 80 * DAY, directory=CA)
    found = status(one, Memory().failed(NAMES[0], FAILED))
    assert (found.state, found.failures) == ("valid", 2)
    assert found.reason.startswith("no answer")


def test_failure_of_other_names_is_not_told() -> None:
    """It was about a configuration that is gone."""
    memory = Memory().failed(NAMES[0], evolve(FAILED, names=NAMES[:1]))
    assert status(memory=memory).state == "pending"


def test_one_put_there_by_hand_warns_before_its_end() -> None:
    """Nobody else will renew it."""
    assert status(make(*NAMES)).reason == ""
    late = make(*NAMES, since=NOW - 80 * DAY)
    found = status(late)
    assert found.state == "manual"
    assert found.reason == "put there by hand and ends in 10 days"


def test_waiting_says_for_whom() -> None:
    """A pause is not a failure."""
    found = status(memory=Memory().pausing(CA, NOW + DAY))
    assert found.state == "pending"
    assert found.reason.startswith("the certificate authority has asked for a pause")


def test_names_nobody_issues_for_say_so() -> None:
    """With what to do about it."""
    assert "localhost" in status(wanted=domain("localhost")).reason
    wildcard = status(wanted=domain("*.example.com"))
    assert "DNS-01" in wildcard.reason
    assert wildcard.next_try is None


def test_one_in_memory_only_says_so() -> None:
    """A restart would lose it."""
    one = make(*NAMES, directory=CA)
    held = {one.name: one}
    decision = decide(SHOP, held, Memory(), POLICY, NOW)
    found = status_of(
        SHOP, decision, one, Memory(), POLICY, {}, NOW, ordering=False, unsaved=True
    )
    assert found.reason == "the disk has not taken it yet"


def test_one_that_is_due_waits_for_its_turn() -> None:
    """Who has asked for it sees that it goes on."""
    found = status(queued=True)
    assert (found.ordering, found.reason[:20]) == (True, "waiting for its turn")
