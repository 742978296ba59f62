"""The certificate service from settings: what C{daemon.assemble} calls."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import define, field
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS
from twisted.web.iweb import IAgent

from haloy.certs.acme import Binding
from haloy.certs.acme_http import AcmeHttp
from haloy.certs.authority import AcmeAuthority, Run
from haloy.certs.budget import Limits
from haloy.certs.dns01 import make_provider
from haloy.certs.files import CertificateFiles
from haloy.certs.interface import Presenter
from haloy.certs.lookup import PUBLIC, DnsLook
from haloy.certs.need import Policy
from haloy.certs.renewal import TICK_S, CertificateService
from haloy.certs.solving import Solving
from haloy.config.acme_settings import AcmeSettings, AuthoritySettings
from haloy.config.daemon_file import DnsSettings
from haloy.config.private import make_directory
from haloy.config.trust import trusting
from haloy.model.certificate import ChallengeKind, Secret

CONNECT_LIMIT_S = 10.0


@define(eq=False)
class _Disk:
    """One thread for the disk, started when it is first needed."""

    _reactor: Any
    _pool: ThreadPool = field(
        factory=lambda: ThreadPool(0, 1, "certificates"), init=False
    )

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Return what C{function} returns; calls come one after the other."""
        if not self._pool.started:
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, function, *arguments)

    def close(self) -> None:
        """Wait for what is under way."""
        if self._pool.started:
            self._pool.stop()


def certificate_service(
    *,
    reactor: Any,
    folder: Path,
    acme: AcmeSettings,
    dns: DnsSettings,
    presenter: Presenter,
    now: Callable[[], datetime],
    random: random.Random,
    limits: Limits | None = None,
    tick_s: float = TICK_S,
) -> CertificateService:
    """Return the service for the folder C{certs/}.

    @param folder: C{certs/} itself; a Go daemon's C{cert-storage/} is beside it.
    @param limits: of orders at each CA; C{None}: what is known of it.
    @raise ConfigError: C{ca_file} or the DNS provider cannot be used.
    """

    def in_reactor_threads(function: Callable[..., Any], *arguments: Any) -> Any:
        # Not the disk's: a name server that hangs holds up no file.
        return deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments)

    make_directory(folder)
    files = CertificateFiles(folder)
    disk = _Disk(reactor)
    kinds = tuple(ChallengeKind(one) for one in acme.challenges)
    provider = None
    if acme.dns is not None:
        provider = make_provider(reactor, in_reactor_threads, acme.dns, dns.resolvers)
    authorities = [
        _authority(reactor, one, files, disk.run, now) for one in acme.authorities()
    ]
    return CertificateService(
        reactor,
        files,
        authorities,
        presenter,
        Solving(presenter, kinds, provider),
        DnsLook(in_reactor_threads, dns.resolvers, PUBLIC if dns.public else ()),
        Policy(
            tuple(one.directory for one in authorities),
            provider is not None and ChallengeKind.DNS_01 in kinds,
            limits,
        ),
        now,
        random,
        disk.run,
        disk.close,
        tick_s,
    )


def _authority(
    reactor: Any,
    settings: AuthoritySettings,
    files: CertificateFiles,
    run: Run,
    now: Callable[[], datetime],
) -> AcmeAuthority:
    policy = (
        trusting(settings.ca_file) if settings.ca_file else BrowserLikePolicyForHTTPS()
    )
    agent: IAgent = Agent(
        reactor, contextFactory=policy, connectTimeout=CONNECT_LIMIT_S
    )
    binding = None
    if settings.eab is not None:
        binding = Binding(settings.eab.kid, Secret(settings.eab.hmac_key))
    return AcmeAuthority(
        reactor,
        AcmeHttp(reactor, HTTPClient(agent), settings.directory, now),
        files,
        run,
        now,
        settings.email,
        binding,
        settings.profile,
    )
