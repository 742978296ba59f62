"""Where C{certs.solving} shows challenges."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred

from haloy.certs.acme import Solver
from haloy.certs.solving import Solving
from haloy.errors import CertificateError
from haloy.model.certificate import Challenge, ChallengeKind
from haloy.model.names import DomainName
from tests.certs.support import Front

HTTP, TLS, DNS = (
    ChallengeKind.HTTP_01,
    ChallengeKind.TLS_ALPN_01,
    ChallengeKind.DNS_01,
)


@define
class Records:
    """A DNS provider in memory."""

    log: list[tuple[str, str, str]] = field(factory=list)
    stuck: bool = False

    async def add(self, name: str, value: str) -> None:
        self.log.append(("add", name, value))

    async def remove(self, name: str, value: str) -> None:
        if self.stuck:
            raise CertificateError("no")
        self.log.append(("remove", name, value))


def show(solver: Solver, kind: ChallengeKind) -> None:
    challenge = Challenge(kind, DomainName("*.example.com"), "token", "token.print")

    async def both() -> None:
        await solver.present(challenge)
        await solver.withdraw(challenge)

    problems: list[Any] = []
    Deferred.fromCoroutine(both()).addErrback(problems.append)
    for problem in problems:
        problem.raiseException()


def test_another_kind_comes_first_after_each_failure() -> None:
    """Where port 80 is closed, 443 is open, or the other way round."""
    solving = Solving(Front())
    assert [solving.solver(count).kinds for count in range(3)] == [
        (HTTP, TLS),
        (TLS, HTTP),
        (HTTP, TLS),
    ]


def test_dns_is_used_only_where_it_is_set_up() -> None:
    """And then by the order of the settings."""
    assert Solving(Front(), (DNS, HTTP)).solver(0).kinds == (HTTP,)
    assert Solving(Front(), (DNS, HTTP), Records()).solver(0).kinds == (DNS, HTTP)
    assert Solving(Front(), (DNS,)).solver(0).kinds == ()


def test_dns_challenge_goes_to_the_provider_and_no_other() -> None:
    """The value is the digest, not the key authorization."""
    front, records = Front(), Records()
    solver = Solving(front, (DNS, HTTP), records).solver(0)
    show(solver, DNS)
    name, value = "_acme-challenge.example.com", records.log[0][2]
    assert records.log == [("add", name, value), ("remove", name, value)]
    assert front.presented == []
    show(solver, HTTP)
    assert len(front.presented) == len(front.withdrawn) == 1


def test_dns_challenge_without_a_provider_is_an_error() -> None:
    """Said before the CA is asked to look."""
    with pytest.raises(CertificateError, match="DNS-01"):
        show(Solving(Front()).solver(0), DNS)


def test_record_that_stays_behind_does_not_fail_an_order() -> None:
    """The certificate may have been issued all the same."""
    records = Records(stuck=True)
    show(Solving(Front(), (DNS,), records).solver(0), DNS)
    assert [what for what, _, _ in records.log] == ["add"]
    front = Front(away=True)
    show(Solving(front).solver(0), HTTP)
    assert front.presented
    assert not front.withdrawn
