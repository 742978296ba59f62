"""Where does a name lead? Asked before an order, because the CA counts every failure.

Only a plain "no such name" (NXDOMAIN) stops an order; a name that leads elsewhere is
a warning (a CDN, split DNS), and any other trouble is left for the CA to judge.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Protocol

import dns.exception
import dns.name
import dns.nameserver
import dns.resolver
from attrs import define, field, frozen

from haloy.config.client_file import split_server
from haloy.model.names import DomainName

LIMIT_S: Final = 5.0
#: Who is asked how the world sees a name.
PUBLIC: Final = ("1.1.1.1:53", "9.9.9.9:53")

Run = Callable[..., Any]


@frozen
class View:
    """What DNS says of a name.

    C{problem} is why an order cannot work, C{warning} why it may not; both are
    sentences for a person, C{""} when there is nothing to say.
    """

    addresses: tuple[str, ...] = ()
    problem: str = ""
    warning: str = ""


class NameLook(Protocol):
    """A look at a name."""

    async def look(self, name: DomainName) -> View:
        """Return what DNS says of C{name}."""


@frozen
class _Found:
    """An answer: C{exists} is C{None} when there was none."""

    exists: bool | None
    addresses: tuple[str, ...] = ()


@define(eq=False)
class DnsLook:
    """Asks the configured resolvers, or the system's and public ones.

    @ivar _run: runs a blocking function in a thread.
    @ivar _resolvers: C{HOST:PORT}; none: the system's.
    @ivar _public: resolvers of the public view, when there are none of our own.
    @ivar _own: this server's addresses.
    """

    _run: Run
    _resolvers: tuple[str, ...]
    _public: tuple[str, ...] = PUBLIC
    _own: Callable[[], frozenset[str]] = field(default=lambda: own_addresses())

    async def look(self, name: DomainName) -> View:
        """Return what DNS says of C{name}."""
        found: View = await self._run(self._look, name)
        return found

    def _look(self, name: DomainName) -> View:
        asked = name.removeprefix("*.")
        found = ask(asked, self._resolvers)
        if self._public and not self._resolvers:
            public = ask(asked, self._public)
            if found.exists and public.exists is False:
                # Enough for a CA of one's own.
                return View(found.addresses, warning=_private(asked))
            # The CA sees what the world sees.
            found = public if public.exists is not None else found
        if found.exists is False:
            return View(
                problem=f"{asked} does not exist in DNS; make it point to this server, "
                "the certificate is then ordered by itself"
            )
        if not name.startswith("*.") and found.exists:
            return View(found.addresses, warning=mismatch(name, found, self._own()))
        return View(found.addresses)


def _private(name: str) -> str:
    return (
        f"{name} is known to this server's resolver, but not in public DNS; a public "
        "certificate authority cannot see it"
    )


def mismatch(name: DomainName, found: Any, own: frozenset[str]) -> str:
    """Return what is odd about where C{name} leads, C{""}: nothing."""
    shown = ", ".join(found.addresses)
    if not found.addresses:
        return f"{name} has no address in DNS"
    if own & set(found.addresses):
        return ""
    if all(ipaddress.ip_address(one).is_loopback for one in found.addresses):
        return f"{name} points to {shown}, which only this machine can reach"
    public = sorted(one for one in own if ipaddress.ip_address(one).is_global)
    if not public:
        return ""  # behind NAT: who knows
    return (
        f"{name} points to {shown}, this server is {', '.join(public)}; behind a CDN "
        "that is as it should be, otherwise correct the record"
    )


def ask(name: str, resolvers: Iterable[str]) -> _Found:
    """Return what C{resolvers} (none: the system's) say of C{name}. Blocks."""
    servers = tuple(resolvers)
    try:
        resolver = dns.resolver.Resolver(configure=not servers)
        if servers:
            resolver.nameservers = [nameserver(text) for text in servers]
        resolver.lifetime = LIMIT_S
        wanted = dns.name.from_text(name)
        found: list[str] = []
        for kind in ("A", "AAAA"):
            answer = resolver.resolve(
                wanted, kind, raise_on_no_answer=False, search=False
            )
            found += [record.to_text() for record in answer.rrset or ()]
    except dns.resolver.NXDOMAIN:
        return _Found(exists=False)
    except (dns.exception.DNSException, OSError):
        return _Found(exists=None)
    return _Found(exists=True, addresses=tuple(sorted(found)))


def nameserver(text: str) -> Any:
    """Return the name server C{HOST:PORT}, as dnspython wants it."""
    host, port = split_server(text)
    return dns.nameserver.Do53Nameserver(host, port or 53)


# --- our own addresses -----------------------------------------------------------

_V4_LOCAL: Final = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


def own_addresses(proc: Path = Path("/proc/net")) -> frozenset[str]:
    """Return this machine's addresses but loopback and link-local ones."""
    try:
        v4 = _V4_LOCAL.findall((proc / "fib_trie").read_text())
    except OSError:
        v4 = []
    try:
        v6 = [line.split()[0] for line in (proc / "if_inet6").read_text().splitlines()]
    except (OSError, IndexError):
        v6 = []
    parsed = [
        *(ipaddress.ip_address(one) for one in v4),
        *(ipaddress.ip_address(bytes.fromhex(one)) for one in v6),
    ]
    return frozenset(
        str(one) for one in parsed if not one.is_loopback and not one.is_link_local
    )
