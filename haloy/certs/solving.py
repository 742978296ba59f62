"""Which challenge is answered where: by the proxy, or in DNS."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field
from twisted.logger import Logger

from haloy.certs.acme import Solver
from haloy.certs.challenge import dns_value, record_name
from haloy.certs.interface import Presenter
from haloy.errors import CertificateError, HaloyError
from haloy.model.certificate import Challenge, ChallengeKind

BY_PROXY = (ChallengeKind.HTTP_01, ChallengeKind.TLS_ALPN_01)


class DnsProvider(Protocol):
    """Who can write TXT records."""

    async def add(self, name: str, value: str) -> None:
        """Have C{name} (no dot at the end) answer C{value} too; return when it does.

        @raise CertificateError: it does not.
        """

    async def remove(self, name: str, value: str) -> None:
        """Take C{value} away from C{name} again.

        @raise CertificateError: it stays.
        """


@define(eq=False)
class Solving:
    """Shows challenges where their kind wants them.

    @ivar _kinds: those allowed, the preferred one first.
    """

    _presenter: Presenter
    _kinds: tuple[ChallengeKind, ...] = BY_PROXY
    _dns: DnsProvider | None = None
    _log: Logger = field(factory=Logger, init=False)

    def solver(self, failures: int) -> Solver:
        """Return who shows challenges for an order that has failed so many times.

        After each failure another kind comes first: where port 80 is closed, 443 is
        open, or the other way round.
        """
        kinds = [
            kind
            for kind in self._kinds
            if kind is not ChallengeKind.DNS_01 or self._dns is not None
        ]
        turn = failures % len(kinds) if kinds else 0
        return Solver((*kinds[turn:], *kinds[:turn]), self._present, self._withdraw)

    async def _present(self, challenge: Challenge) -> None:
        if challenge.kind is not ChallengeKind.DNS_01:
            await self._presenter.present(challenge)
            return
        if self._dns is None:
            raise CertificateError("DNS-01 is not set up", domain=challenge.name)
        await self._dns.add(*_record(challenge))

    async def _withdraw(self, challenge: Challenge) -> None:
        try:
            if challenge.kind is not ChallengeKind.DNS_01:
                await self._presenter.withdraw(challenge)
            elif self._dns is not None:
                await self._dns.remove(*_record(challenge))
        except HaloyError as problem:
            # The order is not worse for it.
            self._log.warn(
                "a challenge for {name} stays behind: {problem}",
                name=challenge.name,
                problem=str(problem),
            )


def _record(challenge: Challenge) -> tuple[str, str]:
    return record_name(challenge.name), dns_value(challenge.key_authorization)
