"""The certificate service against a real CA."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from haloy.certs.pem import parse_pem
from tests.certs.support import Front, answering, domain, service_for, until
from tests.support.pebble import Pebble

pytestmark = pytest.mark.acme


def states(service: Any) -> dict[str, str]:
    return {one.name: one.state for one in service.status()}


async def test_canonical_and_aliases_are_on_one_certificate(
    reactor: Any, pebble: Pebble, tmp_path: Path
) -> None:
    """HTTP-01; the file has mode 0600, the chain leads to the CA's root."""
    front = Front()
    service = service_for(reactor, pebble, tmp_path, front)
    await service.start()
    with answering(front, pebble.http_port):
        service.want((domain("shop.example.com", "www.shop.example.com"),))
        await until(reactor, lambda: states(service) == {"shop.example.com": "valid"})
    path = tmp_path / "certs" / "shop.example.com.pem"
    found = parse_pem("shop.example.com", path.read_bytes())
    await service.stop()
    assert found.names == {"shop.example.com", "www.shop.example.com"}
    assert found.directory == pebble.directory_url
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not front.answers
    root = x509.load_pem_x509_certificate(pebble.root())
    chain = x509.load_pem_x509_certificates(found.chain)
    chain[-1].verify_directly_issued_by(root)
    assert front.contexts.has("WWW.shop.example.com")
