"""Does a name exist? Asked before an order, because the CA counts every failure.

Only a plain "no such name" (NXDOMAIN) stops an order; any other trouble with DNS
is left for the CA to judge.
"""

from __future__ import annotations

from typing import Any

import dns.exception
import dns.nameserver
import dns.resolver
from attrs import define
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from haloy.config.client_file import split_server
from haloy.model.names import DomainName

LIMIT_S = 5.0


@define(eq=False)
class DnsCheck:
    """Asks the configured resolvers, or the system's.

    @ivar _resolvers: C{HOST:PORT}; none: the system's.
    """

    _reactor: Any
    _pool: ThreadPool
    _resolvers: tuple[str, ...]

    async def problem(self, name: DomainName) -> str:
        """Return why an order for C{name} cannot work, C{""}: it may."""
        found: str = await deferToThreadPool(
            self._reactor, self._pool, self._look, str(name)
        )
        return found

    def _look(self, name: str) -> str:
        resolver = dns.resolver.Resolver(configure=not self._resolvers)
        if self._resolvers:
            resolver.nameservers = [_nameserver(text) for text in self._resolvers]
        resolver.lifetime = LIMIT_S
        try:
            resolver.resolve(name, "A", raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return (
                f"{name} does not exist in DNS; make it point to this server, "
                "the certificate is then ordered by itself"
            )
        except dns.exception.DNSException:
            return ""
        return ""


def _nameserver(text: str) -> Any:
    host, port = split_server(text)
    return dns.nameserver.Do53Nameserver(host, port or 53)
