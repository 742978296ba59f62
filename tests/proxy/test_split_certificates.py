"""Certificates in the split form: a real CA, a supervisor with two workers."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import maybeDeferred

from haloy.certs.interface import Presenter
from haloy.certs.renewal import CertificateService
from haloy.model.certificate import Certificate, Challenge
from haloy.model.names import AppName, DomainName
from haloy.proxy.routes import RoutedApp, build_table
from tests.certs.conftest import need_pebble
from tests.certs.support import domain, service_for, until
from tests.proxy.conftest import SplitStarter
from tests.proxy.support import connect_tls, in_thread
from tests.support.pebble import Pebble, running_pebble

pytestmark = pytest.mark.acme

SHOP = DomainName("shop.example.com")
ALIAS = DomainName("www.shop.example.com")
VISITS = 16


def told(port: int, token: str) -> list[str]:
    """Ask for a token by many new connections: each worker gets some.

    Return what each was told, C{""}: nothing.
    """
    found = []
    for _ in range(VISITS):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        path = f"/.well-known/acme-challenge/{token}"
        connection.request("GET", path, headers={"Host": SHOP})
        answer = connection.getresponse()
        found.append(answer.read().decode() if answer.status == 200 else "")
        connection.close()
    return found


def served(port: int) -> list[bytes]:
    """Return the certificates that many new connections are shown."""
    found = []
    for _ in range(VISITS):
        peer = connect_tls(port, SHOP)
        assert isinstance(peer.socket, ssl.SSLSocket)
        found.append(peer.socket.getpeercert(binary_form=True) or b"")
        peer.socket.close()
    return found


@define(eq=False)
class Checking:
    """The proxy, asked itself before and after the CA is."""

    proxy: Presenter
    port: int
    answered: list[set[str]] = field(factory=list)
    after: list[set[str]] = field(factory=list)

    async def present(self, challenge: Challenge) -> None:
        await self.proxy.present(challenge)
        self.answered.append(set(await in_thread(told, self.port, challenge.token)))

    async def withdraw(self, challenge: Challenge) -> None:
        await self.proxy.withdraw(challenge)
        self.after.append(set(await in_thread(told, self.port, challenge.token)))

    async def replace_certificates(self, certificates: tuple[Certificate, ...]) -> None:
        await self.proxy.replace_certificates(certificates)


async def test_every_worker_answers_and_every_worker_serves_the_new_one(
    start_split: SplitStarter, reactor: Any, tmp_path: Path
) -> None:
    """No challenge is told to the CA before all have it, none is left behind."""
    need_pebble()
    with running_pebble(tmp_path / "pebble") as pebble:
        split = await start_split(plain=False, **ports(pebble))
        app = RoutedApp(AppName("shop"), (domain(SHOP, ALIAS),), ())
        await split.proxy.replace_table(build_table(1, None, [app])[0])
        checking = Checking(split.proxy, split.http)
        service = service_for(reactor, pebble, tmp_path, checking)
        try:
            await service.start()
            service.want((domain(SHOP, ALIAS),))
            await until(reactor, lambda: obtained(service, ""))
            (first,) = set(await in_thread(served, split.https))
            service.renew(SHOP)
            before = service.status()[0].fingerprint
            await until(reactor, lambda: obtained(service, before))
            (second,) = set(await in_thread(served, split.https))
        finally:
            await maybeDeferred(service.stop)
    assert first != second
    assert len(checking.answered) == 4
    assert all(len(one) == 1 and "" not in one for one in checking.answered)
    assert checking.after == [{""}] * 4


async def test_tls_alpn_is_answered_by_every_worker(
    start_split: SplitStarter, reactor: Any, tmp_path: Path
) -> None:
    """RFC 8737 with port 80 closed: the CA looks three times for each name."""
    need_pebble()
    with running_pebble(tmp_path / "pebble") as pebble:
        where = ports(pebble)
        split = await start_split(plain=False, **{**where, "http": ""})
        app = RoutedApp(AppName("shop"), (domain(SHOP, ALIAS),), ())
        await split.proxy.replace_table(build_table(1, None, [app])[0])
        service = service_for(
            reactor, pebble, tmp_path, split.proxy, challenges=("tls-alpn-01",)
        )
        try:
            await service.start()
            service.want((domain(SHOP, ALIAS),))
            await until(reactor, lambda: obtained(service, ""))
            assert service.status()[0].failures == 0
            assert len(set(await in_thread(served, split.https))) == 1
        finally:
            await maybeDeferred(service.stop)


def obtained(service: CertificateService, before: str) -> bool:
    """Return whether there is another one than C{before}, with the proxy too."""
    (found,) = service.status()
    return found.fingerprint not in {"", before} and not found.ordering


def ports(pebble: Pebble) -> dict[str, str]:
    return {
        "http": f"127.0.0.1:{pebble.http_port}",
        "https": f"127.0.0.1:{pebble.tls_port}",
    }
