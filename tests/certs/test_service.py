"""What C{certs.service} makes of the settings."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from haloy.certs.dns01 import Command
from haloy.certs.renewal import CertificateService
from haloy.certs.service import certificate_service
from haloy.config.acme_settings import (
    AcmeDnsSettings,
    AcmeSettings,
    AuthoritySettings,
    EabSettings,
)
from haloy.config.daemon_file import DnsSettings
from haloy.errors import ConfigError
from haloy.model.certificate import ChallengeKind
from tests.certs.support import Front, domain, real_now
from tests.support.certificates import make_pem

ONE, TWO = "https://127.0.0.1:9/one", "https://127.0.0.1:9/two"


def made(reactor: Any, folder: Path, front: Front, **acme: Any) -> CertificateService:
    return certificate_service(
        reactor=reactor,
        folder=folder / "certs",
        acme=AcmeSettings(**{"directory": ONE, **acme}),
        dns=DnsSettings(("127.0.0.1:9",)),
        presenter=front,
        now=real_now,
        random=random.Random(1),
    )


async def test_files_are_served_and_threads_end(reactor: Any, tmp_path: Path) -> None:
    """Also where nothing is ordered: a wildcard without DNS-01."""
    front = Front()
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "a.example.com.pem").write_bytes(
        make_pem("a.example.com", since=real_now())
    )
    service = made(reactor, tmp_path, front)
    await service.start()
    assert front.names == {"a.example.com"}
    service.want((domain("*.example.org"),))
    assert "DNS-01" in service.status()[0].reason
    await service.stop()
    await service.stop()


def test_everything_in_the_settings_is_used(reactor: Any, tmp_path: Path) -> None:
    """Both authorities, the account outside, the provider, the challenges."""
    service = made(
        reactor,
        tmp_path,
        Front(),
        profile="shortlived",
        email="a@b.c",
        eab=EabSettings("kid", b"key"),
        challenges=("dns-01", "http-01"),
        fallback=AuthoritySettings(TWO),
        dns=AcmeDnsSettings("exec", command=("/bin/dns",)),
    )
    first, second = service._authorities
    assert (first.directory, second.directory) == (ONE, TWO)
    assert vars_of(first) == ("a@b.c", "kid", "shortlived")
    assert vars_of(second) == ("", "", "")
    assert service._policy.wildcards
    assert service._solving.solver(0).kinds == (
        ChallengeKind.DNS_01,
        ChallengeKind.HTTP_01,
    )
    assert isinstance(service._solving._dns, Command)


def vars_of(authority: Any) -> tuple[str, str, str]:
    binding = authority.binding
    return authority.email, binding.kid if binding else "", authority.profile


def test_trust_that_cannot_be_used_is_told_at_the_start(
    reactor: Any, tmp_path: Path
) -> None:
    """Not at the first order."""
    with pytest.raises(ConfigError, match="cannot be used"):
        made(reactor, tmp_path, Front(), ca_file=str(tmp_path / "none.pem"))
