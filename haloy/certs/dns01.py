"""Who writes the TXT records of DNS-01: a command, RFC 2136, or dns-lexicon.

Each waits until the record can be seen, up to a limit, and then leaves the judgement
to the CA.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import dns.exception
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.tsigkeyring
import dns.update
from attrs import define, field, frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from haloy.certs.lookup import nameserver
from haloy.certs.solving import DnsProvider
from haloy.config.acme_settings import AcmeDnsSettings
from haloy.config.client_file import split_server
from haloy.errors import CertificateError, ConfigError

COMMAND_LIMIT_S: Final = 120.0
QUERY_LIMIT_S: Final = 10.0
POLL_S: Final = 2.0
TTL_S: Final = 60
OUTPUT_LIMIT_BYTES: Final = 4096

#: Runs a blocking function in a thread.
Run = Callable[..., Awaitable[Any]]


def make_provider(
    reactor: Any, run: Run, settings: AcmeDnsSettings, resolvers: tuple[str, ...]
) -> DnsProvider:
    """Return the provider that C{settings} name.

    @param resolvers: asked whether a record can be seen; none: the system's.
    @raise ConfigError: it is one of dns-lexicon's, which is not installed.
    """
    seen = Seen(reactor, run, resolvers, settings.wait_s)
    if settings.provider == "exec":
        return Command(reactor, settings.command, seen)
    if settings.provider == "rfc2136":
        return Updates(run, settings)
    if importlib.util.find_spec("lexicon") is None:
        raise ConfigError(
            f"acme.dns.provider: {settings.provider!r} needs dns-lexicon; "
            "install haloy[dns]"
        )
    return Lexicon(reactor, settings, seen)


# --- waiting ----------------------------------------------------------------------


@frozen
class Seen:
    """Waits until a record can be seen, C{limit_s} at most."""

    reactor: Any
    run: Run
    resolvers: tuple[str, ...]
    limit_s: float

    async def wait(self, name: str, value: str) -> None:
        """Return when C{name} answers C{value}, or the time is up."""
        end_s = self.reactor.seconds() + self.limit_s
        while self.reactor.seconds() < end_s:
            if value in await self.run(texts_of, name, self.resolvers):
                return
            left_s = end_s - self.reactor.seconds()
            await deferLater(self.reactor, min(POLL_S, max(left_s, 0.0)))


def texts_of(name: str, resolvers: tuple[str, ...]) -> frozenset[str]:
    """Return the TXT records of C{name}; none when nobody knows. Blocks."""
    try:
        resolver = dns.resolver.Resolver(configure=not resolvers)
        if resolvers:
            resolver.nameservers = [nameserver(one) for one in resolvers]
        resolver.lifetime = QUERY_LIMIT_S
        answer = resolver.resolve(dns.name.from_text(name), "TXT", search=False)
    except (dns.exception.DNSException, OSError):
        return frozenset()
    return frozenset(
        b"".join(record.strings).decode("ascii", "replace") for record in answer
    )


# --- a command --------------------------------------------------------------------


@define(eq=False)
class Command:
    """C{COMMAND present|cleanup NAME VALUE}; success is exit status 0."""

    _reactor: Any
    _command: tuple[str, ...]
    _seen: Seen

    async def add(self, name: str, value: str) -> None:
        """See L{DnsProvider.add}."""
        await self._call("present", name, value)
        await self._seen.wait(name, value)

    async def remove(self, name: str, value: str) -> None:
        """See L{DnsProvider.remove}."""
        await self._call("cleanup", name, value)

    async def _call(self, what: str, name: str, value: str) -> None:
        # With the dot: the name is whole.
        arguments = [*self._command, what, f"{name}.", value]
        try:
            await carried_out(self._reactor, arguments, os.environ)
        except OSError as problem:
            raise CertificateError(
                f"{arguments[0]} {what} {name}: {problem}", domain=name
            ) from problem


async def carried_out(
    reactor: Any,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stdin: bytes = b"",
) -> None:
    """Run a program to its end; killed after a while, or when cancelled.

    @raise OSError: it ended with another status than 0, or not in time; with what it
        said.
    """
    process = _Output(stdin)
    reactor.spawnProcess(process, arguments[0], arguments, env=dict(environment))
    process.done.addTimeout(COMMAND_LIMIT_S, reactor)
    try:
        await process.done
    except defer.TimeoutError:
        raise OSError(f"no end after {COMMAND_LIMIT_S:g} s") from None


class _Output(ProcessProtocol):
    """Waits for the end of a command and keeps what it says, up to a limit."""

    def __init__(self, stdin: bytes) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self._kill())
        self._stdin = stdin
        self._output = b""

    def connectionMade(self) -> None:
        """Give it what it reads, and no more."""
        if self.transport is not None:
            self.transport.write(self._stdin)
            self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:  # noqa: N802  (Twisted)
        """Keep the beginning."""
        self._output = (self._output + data)[:OUTPUT_LIMIT_BYTES]

    errReceived = outReceived  # noqa: N815  (Twisted)

    def processEnded(self, reason: Failure) -> None:  # noqa: N802  (Twisted)
        """Tell how it ended."""
        if self.done.called:
            return
        if reason.check(ProcessDone):
            self.done.callback(None)
            return
        said = self._output.decode(errors="replace").strip()
        ended = reason.value
        if isinstance(ended, ProcessTerminated) and ended.exitCode is not None:
            how = f"exit status {ended.exitCode}"
        else:
            how = reason.getErrorMessage()
        self.done.errback(OSError(f"{how}: {said}" if said else how))

    def _kill(self) -> None:
        if self.transport is not None:
            self.transport.signalProcess("KILL")


# --- RFC 2136 ---------------------------------------------------------------------


@define(eq=False)
class Updates:
    """Dynamic updates to the zone's own server, signed by TSIG (RFC 8945).

    The server answers when it has the record, so nothing is waited for.
    """

    _run: Run
    _settings: AcmeDnsSettings

    async def add(self, name: str, value: str) -> None:
        """See L{DnsProvider.add}."""
        await self._run(self._update, name, value, True)

    async def remove(self, name: str, value: str) -> None:
        """See L{DnsProvider.remove}."""
        await self._run(self._update, name, value, False)

    def _update(self, name: str, value: str, present: bool) -> None:
        settings = self._settings
        host, port = split_server(settings.server)
        try:
            keyring = None
            if settings.key_name:
                keyring = dns.tsigkeyring.from_text(
                    {settings.key_name: settings.key_secret}
                )
            update = dns.update.UpdateMessage(
                settings.zone, keyring=keyring, keyalgorithm=settings.key_algorithm
            )
            absolute = dns.name.from_text(name)
            if present:
                update.add(absolute, TTL_S, "TXT", value)
            else:
                update.delete(absolute, "TXT", value)
            answer = dns.query.tcp(update, host, QUERY_LIMIT_S, port or 53)
        except (dns.exception.DNSException, OSError, ValueError) as problem:
            raise CertificateError(
                f"{settings.server} does not take {name}: {problem}", domain=name
            ) from problem
        if answer.rcode() != dns.rcode.NOERROR:
            raise CertificateError(
                f"{settings.server} refuses {name}: "
                f"{dns.rcode.to_text(answer.rcode())}",
                domain=name,
            )


# --- dns-lexicon ------------------------------------------------------------------

#: Which part of a name is registered is looked up in the list that comes with it; it
#: would fetch a newer one from the network each time, and wait for it without limit.
_OFFLINE: Final = {
    "TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS": "",
    "TLDEXTRACT_CACHE_PATH": "",
}


@define(eq=False)
class Lexicon:
    """One of dns-lexicon's providers, in a process of its own (L{haloy.certs.lexicon}).

    One call after the other: at many providers a record is added by reading all of a
    name and writing them back, and of two at once one would be lost.
    """

    _reactor: Any
    _settings: AcmeDnsSettings
    _seen: Seen
    _one: DeferredLock = field(factory=DeferredLock, init=False)

    async def add(self, name: str, value: str) -> None:
        """See L{DnsProvider.add}."""
        await self._call("create", name, value)
        await self._seen.wait(name, value)

    async def remove(self, name: str, value: str) -> None:
        """See L{DnsProvider.remove}."""
        await self._call("delete", name, value)

    async def _call(self, action: str, name: str, value: str) -> None:
        provider = self._settings.provider
        asked = {
            "action": action,
            "name": name,
            "value": value,
            "config": self._configuration(name),
        }
        program = [sys.executable, "-P", "-m", "haloy.certs.lexicon"]
        environment = {**os.environ, **_OFFLINE}
        await self._one.acquire()
        try:
            await carried_out(
                self._reactor, program, environment, json.dumps(asked).encode()
            )
        except OSError as problem:
            raise CertificateError(
                f"{provider} cannot {action} {name}: {problem}", domain=name
            ) from problem
        finally:
            self._one.release()

    def _configuration(self, name: str) -> dict[str, Any]:
        settings = self._settings
        found: dict[str, Any] = {
            "provider_name": settings.provider,
            "domain": name.removeprefix("_acme-challenge."),
            settings.provider: dict(settings.options),
        }
        if settings.zone:
            found["delegated"] = settings.zone
        return found
