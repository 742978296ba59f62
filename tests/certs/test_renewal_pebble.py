"""The certificate service against a real CA: pebble, strict, rejecting nonces."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.task import deferLater

from haloy.certs.files import CertificateFiles
from haloy.certs.memory import Memory
from haloy.certs.need import renew_at
from haloy.certs.pem import leaf, parse_pem, render_pem
from haloy.certs.renewal import CertificateService
from haloy.config.acme_settings import (
    AcmeDnsSettings,
    AcmeSettings,
    AuthoritySettings,
)
from haloy.model.certificate import Certificate, ChallengeKind
from haloy.model.names import DomainName, parse_domain_name
from tests.certs.conftest import need_pebble
from tests.certs.support import (
    Front,
    answering,
    domain,
    real_now,
    service_for,
    until,
)
from tests.support.certificates import DAY, make
from tests.support.pebble import Pebble, running_pebble
from tests.support.powerdns import TOKEN, running_powerdns

pytestmark = pytest.mark.acme

SHOP = DomainName("shop.example.com")
MANY = 99


def states(service: CertificateService) -> dict[str, str]:
    return {one.name: one.state for one in service.status()}


def held(folder: Path) -> dict[DomainName, Certificate]:
    return CertificateFiles(folder / "certs").load(real_now())


async def obtained(
    reactor: Any,
    service: CertificateService,
    *names: str,
    limit_s: float = 40.0,
    step_s: float = 0.02,
) -> None:
    """Return when all C{names} have a certificate."""

    def there() -> bool:
        found = states(service)
        return all(found.get(name) == "valid" for name in names)

    await until(reactor, there, limit_s, step_s)


async def test_canonical_and_aliases_are_on_one_certificate(
    reactor: Any, pebble: Pebble, tmp_path: Path
) -> None:
    """HTTP-01; the file has mode 0600, the chain leads to the CA's root."""
    front = Front()
    service = service_for(reactor, pebble, tmp_path, front)
    await service.start()
    with answering(front, pebble.http_port):
        # As somebody may write it; on the wire it is xn--bcher-kva.
        idna = parse_domain_name("BÜCHER.example.com", "domain")
        service.want((domain(SHOP, "www.shop.example.com", idna),))
        await obtained(reactor, service, SHOP)
    await service.stop()
    path = tmp_path / "certs" / "shop.example.com.pem"
    found = parse_pem(SHOP, path.read_bytes())
    assert found.names == {
        SHOP,
        "www.shop.example.com",
        "xn--bcher-kva.example.com",
    }
    assert found.directory == pebble.directory_url
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not front.answers
    chain = x509.load_pem_x509_certificates(found.chain)
    root = x509.load_pem_x509_certificate(pebble.root())
    chain[-1].verify_directly_issued_by(root)
    chain[0].verify_directly_issued_by(chain[1])
    assert front.contexts.has("WWW.shop.example.com")
    assert front.contexts.has("Xn--Bcher-Kva.example.com")


async def test_restart_orders_nothing_and_an_alias_orders_for_its_own(
    reactor: Any, pebble: Pebble, tmp_path: Path
) -> None:
    """The account goes on; the other certificate stays as it is."""
    front = Front()
    other = DomainName("other.example.com")
    first = service_for(reactor, pebble, tmp_path, front)
    with answering(front, pebble.http_port):
        await first.start()
        first.want((domain(SHOP), domain(other)))
        await obtained(reactor, first, SHOP, other)
        await first.stop()
        before = held(tmp_path)
        shown = len(front.presented)
        again = service_for(reactor, pebble, tmp_path, front)
        await again.start()
        again.want((domain(SHOP), domain(other)))
        await obtained(reactor, again, SHOP, other)
        assert len(front.presented) == shown
        again.want((domain(SHOP, "new.example.com"), domain(other)))
        await until(reactor, lambda: len(held(tmp_path)[SHOP].names) == 2)
        await again.stop()
    assert held(tmp_path)[other] == before[other]
    assert len(list((tmp_path / "certs" / "accounts").iterdir())) == 1


async def test_failing_name_holds_up_no_other(
    reactor: Any, pebble: Pebble, tmp_path: Path
) -> None:
    """D16: what the CA saw is in its status, with the next try."""
    broken = DomainName("broken.example.com")
    # Nobody listens there.
    pebble.challenge("add-a", {"host": f"{broken}.", "addresses": ["127.0.0.9"]})
    front = Front()
    service = service_for(reactor, pebble, tmp_path, front)
    with answering(front, pebble.http_port):
        await service.start()
        service.want((domain(broken), domain("one.example.com"), domain(SHOP)))
        await obtained(reactor, service, SHOP, "one.example.com")
        await until(reactor, lambda: states(service)[broken] == "failed")
        found = next(one for one in service.status() if one.name == broken)
        await service.stop()
    assert found.failures == 1
    assert found.next_try is not None
    assert found.next_try > real_now() + timedelta(seconds=30)
    assert "127.0.0.9" in found.reason
    assert found.problem


async def test_tls_alpn_works_when_port_80_is_closed(
    reactor: Any, pebble: Pebble, tmp_path: Path
) -> None:
    """RFC 8737, by the proxy's own contexts; visitors never see the answer."""
    front = Front()
    service = service_for(reactor, pebble, tmp_path, front, challenges=("tls-alpn-01",))
    with answering(front, pebble.http_port, pebble.tls_port):
        await service.start()
        service.want((domain(SHOP, "www.shop.example.com"),))
        await obtained(reactor, service, SHOP)
        await service.stop()
    assert {one.kind for one in front.presented} == {ChallengeKind.TLS_ALPN_01}
    assert front.seen == []


SCRIPT = """\
#!/bin/sh
# challtestsrv clears all values of a name at once: the last one to leave does it.
echo "$@" >> LOG
if [ "$1" = present ]; then
    exec curl -sf -d "{\\"host\\": \\"$2\\", \\"value\\": \\"$3\\"}" URL/set-txt
fi
if [ "$(grep -c cleanup LOG)" = 2 ]; then
    exec curl -sf -d "{\\"host\\": \\"$2\\"}" URL/clear-txt
fi
"""


async def test_wildcard_and_apex_are_proven_in_dns(
    reactor: Any, pebble: Pebble, tmp_path: Path
) -> None:
    """Two values under one name at the same time; both are taken away again."""
    front = Front()
    script, log = tmp_path / "dns", tmp_path / "log"
    script.write_text(
        SCRIPT.replace("LOG", str(log)).replace("URL", pebble.challenges_url)
    )
    script.chmod(0o700)
    service = service_for(
        reactor,
        pebble,
        tmp_path,
        front,
        challenges=("dns-01",),
        provider=AcmeDnsSettings("exec", command=(str(script),), wait_s=10),
    )
    await service.start()
    service.want((domain("*.example.org", "example.org"),))
    await obtained(reactor, service, "*.example.org")
    await service.stop()
    path = tmp_path / "certs" / "*.example.org.pem"
    assert parse_pem("*.example.org", path.read_bytes()).names == {
        "*.example.org",
        "example.org",
    }
    calls = [line.split()[:2] for line in log.read_text().splitlines()]
    assert sorted(calls) == [
        ["cleanup", "_acme-challenge.example.org."],
        ["cleanup", "_acme-challenge.example.org."],
        ["present", "_acme-challenge.example.org."],
        ["present", "_acme-challenge.example.org."],
    ]
    assert front.contexts.has("any.example.org")


async def test_wildcard_and_apex_by_lexicon(
    reactor: Any, pebble: Pebble, tmp_path: Path
) -> None:
    """dns-lexicon itself; the records are where the CA looks, and gone after."""
    seen: list[list[str]] = []

    def changed(name: str, texts: list[str]) -> None:
        seen.append(texts)
        pebble.challenge("clear-txt", {"host": name})
        for text in texts:
            pebble.challenge("set-txt", {"host": name, "value": text})

    with running_powerdns("example.org", changed) as powerdns:
        service = service_for(
            reactor,
            pebble,
            tmp_path,
            Front(),
            challenges=("dns-01",),
            provider=AcmeDnsSettings(
                "powerdns",
                options={"auth_token": TOKEN, "pdns_server": powerdns.url},
                wait_s=10,
            ),
        )
        await service.start()
        service.want((domain("*.example.org", "example.org"),))
        await obtained(reactor, service, "*.example.org")
        await service.stop()
    assert max(len(texts) for texts in seen) == 2
    assert seen[-1] == []


async def test_renewal_comes_in_time(reactor: Any, tmp_path: Path) -> None:
    """Certificates of 15 seconds: renewed before their end, several times over."""
    need_pebble()
    front = Front()
    ends = set()
    with (
        running_pebble(tmp_path / "pebble", certificateValidityPeriod=15) as pebble,
        answering(front, pebble.http_port),
    ):
        service = service_for(reactor, pebble, tmp_path, front, tick_s=0.5)
        await service.start()
        service.want((domain(SHOP),))
        await obtained(reactor, service, SHOP)

        def renewed() -> bool:
            found = service.status()[0]
            assert found.state == "valid"
            ends.add(found.not_after)
            return len(ends) == 3

        await until(reactor, renewed, 55)
        await service.stop()


async def test_ca_that_dies_in_the_middle_disturbs_nothing(
    reactor: Any, tmp_path: Path
) -> None:
    """The old certificate is served on, its file is the same; the state says why."""
    need_pebble()
    front = Front()
    with running_pebble(
        tmp_path / "pebble", environment={"PEBBLE_VA_NOSLEEP": "0"}
    ) as pebble:
        old = make(SHOP, since=real_now() - 80 * DAY, directory=pebble.directory_url)
        folder = tmp_path / "certs"
        folder.mkdir()
        path = folder / "shop.example.com.pem"
        path.write_bytes(render_pem(old))
        service = service_for(reactor, pebble, tmp_path, front)
        with answering(front, pebble.http_port):
            await service.start()
            service.want((domain(SHOP),))
            await until(reactor, lambda: bool(front.presented))
            pebble.kill()
            await until(reactor, lambda: bool(service.status()[0].failures))
            found = service.status()[0]
            await service.stop()
    assert found.state == "valid"
    assert "cannot be reached" in found.reason
    assert path.read_bytes() == render_pem(old)
    assert front.served[-1] == (old,)
    assert not front.answers


async def test_second_ca_issues_while_the_first_is_away(
    reactor: Any, pebble: Pebble, tmp_path: Path
) -> None:
    """Two real ones, each with its own account; the first has been killed."""
    need_pebble()
    front = Front()
    with running_pebble(tmp_path / "pebble") as first:
        first.kill()
        settings = AcmeSettings(
            directory=first.directory_url,
            ca_file=first.ca_file,
            fallback=AuthoritySettings(pebble.directory_url, pebble.ca_file),
        )
        service = service_for(
            reactor, pebble, tmp_path, front, acme=settings, tick_s=0.5
        )
        with answering(front, pebble.http_port):
            await service.start()
            service.want((domain(SHOP),))
            await until(reactor, lambda: bool(service.status()[0].failures))
            ledger = service._ledger  # let the minute have passed
            failures = ledger.memory.failures[SHOP]
            ledger.memory = ledger.memory.failed(
                SHOP, evolve(failures, not_before=failures.last)
            )
            await obtained(reactor, service, SHOP)
            await service.stop()
    assert held(tmp_path)[SHOP].directory == pebble.directory_url


async def test_slow_validation_reuse_and_long_chains(
    reactor: Any, tmp_path: Path
) -> None:
    """Polling; an authorization that is valid already; every link of the chain."""
    need_pebble()
    front = Front()
    environment = {
        "PEBBLE_VA_NOSLEEP": "0",
        "PEBBLE_VA_SLEEPTIME": "2",
        "PEBBLE_AUTHZREUSE": "100",
        "PEBBLE_CHAIN_LENGTH": "3",
    }
    with (
        running_pebble(tmp_path / "pebble", environment=environment) as pebble,
        answering(front, pebble.http_port),
    ):
        service = service_for(reactor, pebble, tmp_path, front)
        await service.start()
        service.want((domain(SHOP),))
        await obtained(reactor, service, SHOP)
        shown = len(front.presented)
        service.renew(SHOP)
        await until(reactor, lambda: len({*front.served}) == 3)
        await service.stop()
    assert len(front.presented) == shown
    chain = x509.load_pem_x509_certificates(held(tmp_path)[SHOP].chain)
    assert len(chain) >= 4


async def test_cancelled_order_leaves_nothing_behind(
    reactor: Any, tmp_path: Path
) -> None:
    """A shutdown in the middle: no token shown, no failure kept."""
    need_pebble()
    front = Front()
    with (
        running_pebble(
            tmp_path / "pebble", environment={"PEBBLE_VA_NOSLEEP": "0"}
        ) as pebble,
        answering(front, pebble.http_port),
    ):
        service = service_for(reactor, pebble, tmp_path, front)
        await service.start()
        service.want((domain(SHOP, "www.shop.example.com"),))
        await until(reactor, lambda: len(front.presented) == 2)
        await service.stop()
        await deferLater(reactor, 0.05)  # the cut connections are closed in a turn
    assert not front.answers
    assert len(front.withdrawn) == 2
    memory = CertificateFiles(tmp_path / "certs").load_memory(real_now())
    assert memory.failures == {}


@pytest.mark.slow
async def test_many_domains_at_once_with_one_broken(
    reactor: Any, pebble: Pebble, tmp_path: Path
) -> None:
    """All others of a hundred get theirs, four orders at a time."""
    front = Front()
    names = [f"app{number}.example.com" for number in range(MANY)]
    broken = DomainName("refusing.example.com")
    # Nobody listens there.
    pebble.challenge("add-a", {"host": f"{broken}.", "addresses": ["127.0.0.9"]})
    service = service_for(reactor, pebble, tmp_path, front)
    with answering(front, pebble.http_port):
        await service.start()
        try:
            service.want((domain(broken), *(domain(name) for name in names)))
            await obtained(reactor, service, *names, limit_s=100, step_s=0.5)
            await until(reactor, lambda: states(service)[broken] == "failed")
        finally:
            await service.stop()
    assert len(held(tmp_path)) == MANY
    assert not front.answers
    assert len(front.withdrawn) == len(front.presented)


# --- what only a newer pebble knows ------------------------------------------------

PROFILES = {
    "default": {"description": "as ever", "validityPeriod": 90 * 86400},
    "shortlived": {"description": "six days", "validityPeriod": 6 * 86400},
}


async def test_window_of_the_ca_moves_the_renewal(
    reactor: Any, tmp_path: Path, newer_pebble: Path
) -> None:
    """RFC 9773: asked for, kept, obeyed, and the order says what it replaces."""
    front = Front()
    with (
        running_pebble(
            tmp_path / "pebble", program=str(newer_pebble), profiles=PROFILES
        ) as pebble,
        answering(front, pebble.http_port),
    ):
        files = CertificateFiles(tmp_path / "certs")
        first = service_for(reactor, pebble, tmp_path, front, tick_s=0.2)
        await first.start()
        first.want((domain(SHOP),))
        await until(reactor, lambda: bool(files.load_memory(real_now()).windows))
        await first.stop()
        window = files.load_memory(real_now()).windows[SHOP]
        one = held(tmp_path)[SHOP]
        assert one.not_before < window.start < window.end < one.not_after
        assert window.start <= window.chosen <= window.end
        past = {
            "start": (real_now() - DAY).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "end": (real_now() - DAY / 2).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        pebble.post(
            f"{pebble.management_url}/set-renewal-info/",
            {
                "certificate": leaf(one).public_bytes(Encoding.PEM).decode(),
                "ariResponse": json.dumps({"suggestedWindow": past}),
            },
        )
        files.save_memory(Memory())
        again = service_for(reactor, pebble, tmp_path, front, tick_s=0.2)
        await again.start()
        again.want((domain(SHOP),))
        await until(reactor, lambda: held(tmp_path)[SHOP] != one)
        await until(reactor, lambda: bool(files.load_memory(real_now()).windows))
        await again.stop()
    assert len(files.load_memory(real_now()).attempts) == 1


async def test_profile_is_what_was_asked_for(
    reactor: Any, tmp_path: Path, newer_pebble: Path
) -> None:
    """Six days: renewed with two left."""
    front = Front()
    with (
        running_pebble(
            tmp_path / "pebble", program=str(newer_pebble), profiles=PROFILES
        ) as pebble,
        answering(front, pebble.http_port),
    ):
        service = service_for(reactor, pebble, tmp_path, front, profile="shortlived")
        await service.start()
        service.want((domain(SHOP),))
        await obtained(reactor, service, SHOP)
        await service.stop()
    one = held(tmp_path)[SHOP]
    assert timedelta(days=5.9) < one.not_after - one.not_before < timedelta(days=6.1)
    left = one.not_after - renew_at(one)
    assert timedelta(days=1.7) < left < timedelta(days=2.1)
