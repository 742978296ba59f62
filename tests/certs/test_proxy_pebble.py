"""The certificate service, the real proxy and a real CA together."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve
from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThread

from haloy.certs.renewal import CertificateService
from haloy.model.app import Domain
from haloy.model.names import AppName, DomainName
from haloy.proxy.embedded import EmbeddedProxy
from haloy.proxy.routes import RoutedApp, build_table
from haloy.proxy.settings import Settings
from tests.certs.support import domain, service_for, until
from tests.support.pebble import Pebble

pytestmark = pytest.mark.acme

SHOP = DomainName("shop.example.com")


@define
class Site:
    """A proxy with certificates."""

    proxy: EmbeddedProxy
    service: CertificateService


@asynccontextmanager
async def site(
    reactor: Any, pebble: Pebble, folder: Path, *domains: Domain, http: str
) -> AsyncIterator[Site]:
    """Run both at the ports where C{pebble} validates."""
    proxy = EmbeddedProxy(
        reactor, Settings(http=http, https=f"127.0.0.1:{pebble.tls_port}")
    )
    proxy.startService()
    service = service_for(reactor, pebble, folder, proxy)
    try:
        table, _ = build_table(1, None, [RoutedApp(AppName("shop"), domains, ())])
        await proxy.replace_table(table)
        await service.start()
        service.want(domains)
        yield Site(proxy, service)
    finally:
        await service.stop()
        await maybeDeferred(proxy.stopService)


@define
class Got:
    """What a visitor got; C{names} are those of the certificate."""

    status: int
    names: set[str]
    serial: str


def visit(pebble: Pebble, name: str, host: str = "") -> Got:
    """Ask for C{/} as a browser that trusts pebble's root."""
    trust = ssl.create_default_context(cadata=pebble.root().decode())
    with (
        socket.create_connection(("127.0.0.1", pebble.tls_port), 5) as plain,
        trust.wrap_socket(plain, server_hostname=name) as tls,
    ):
        certificate: Any = tls.getpeercert()
        tls.sendall(f"GET / HTTP/1.1\r\nHost: {host or name}\r\n\r\n".encode())
        answer = http.client.HTTPResponse(tls)
        answer.begin()
        names = {value for _, value in certificate["subjectAltName"]}
        return Got(answer.status, names, certificate["serialNumber"])


def ask_plain(pebble: Pebble, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", pebble.http_port, timeout=5)
    connection.request("GET", path, headers={"Host": SHOP})
    status = connection.getresponse().status
    connection.close()
    return status


def state(service: CertificateService) -> str:
    """Return how it stands when all orders are over: then the proxy serves it."""
    found = service.status()
    if any(one.ordering for one in found):
        return "ordering"
    return " ".join(sorted({one.state for one in found}))


async def test_first_certificate_and_the_next_one_on_the_same_port(
    reactor: Any, pebble: Pebble, tmp_path: Path
) -> None:
    """HTTP-01 before the redirect; canonical and alias verify; a swap needs nothing."""
    wanted = domain(SHOP, "www.shop.example.com")
    plain = f"127.0.0.1:{pebble.http_port}"
    async with site(reactor, pebble, tmp_path, wanted, http=plain) as running:
        await until(reactor, lambda: state(running.service) == "valid")
        first = await deferToThread(visit, pebble, SHOP)
        alias = await deferToThread(visit, pebble, "WWW.shop.example.com")
        assert first.names == alias.names == {SHOP, "www.shop.example.com"}
        assert (first.status, alias.status) == (503, 301)
        path = tmp_path / "certs" / f"{SHOP}.pem"
        before = path.read_bytes()
        running.service.renew(SHOP)
        await until(reactor, lambda: path.read_bytes() != before)
        await until(reactor, lambda: not running.service.status()[0].reason)
        again = await deferToThread(visit, pebble, SHOP)
        assert again.serial != first.serial
        # P7: our own tokens and nothing else.
        place = "/.well-known/acme-challenge/"
        for rest in ("", "unknown", "../../admin", "x/y"):
            assert await deferToThread(ask_plain, pebble, place + rest) in {400, 404}


async def test_port_80_may_be_closed(
    reactor: Any, pebble: Pebble, tmp_path: Path
) -> None:
    """HTTP-01 fails, TLS-ALPN-01 follows a minute later, through the same proxy."""
    async with site(reactor, pebble, tmp_path, domain(SHOP), http="") as running:
        await until(reactor, lambda: state(running.service) == "failed")
        assert running.service.status()[0].problem == "connection"
        running.service._ledger.memory = evolve_not_before(running.service)
        running.service.reload()
        await until(reactor, lambda: state(running.service) == "valid")
        got = await deferToThread(visit, pebble, SHOP)
    assert got.names == {SHOP}


def evolve_not_before(service: CertificateService) -> Any:
    """Let the minute have passed."""
    memory = service._ledger.memory
    failures = memory.failures[SHOP]
    return memory.failed(SHOP, evolve(failures, not_before=failures.last))


async def test_strangers_and_wrong_hosts(
    reactor: Any, pebble: Pebble, tmp_path: Path
) -> None:
    """P8: 421 for another app's host; P16: an alert for a name nobody has."""
    other = domain("other.example.com")
    plain = f"127.0.0.1:{pebble.http_port}"
    async with site(reactor, pebble, tmp_path, domain(SHOP), other, http=plain) as two:
        table, _ = build_table(
            2,
            None,
            [
                RoutedApp(AppName("shop"), (domain(SHOP),), ()),
                RoutedApp(AppName("other"), (other,), ()),
            ],
        )
        await two.proxy.replace_table(table)
        await until(reactor, lambda: state(two.service) == "valid")
        wrong = await deferToThread(visit, pebble, SHOP, "other.example.com")
        assert wrong.status == 421
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            await deferToThread(visit, pebble, "stranger.example.com")
