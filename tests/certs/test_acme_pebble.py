"""The ACME client against a real CA: what the service does not do by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from josepy.json_util import decode_b64jose
from treq.client import HTTPClient
from twisted.web.client import Agent

from haloy.certs.acme import AcmeClient, AcmeError, Binding, OrderWish, Solver
from haloy.certs.acme_http import AcmeHttp
from haloy.certs.jose import AccountKey, key_pem, new_certificate_key
from haloy.certs.pem import obtained
from haloy.config.trust import trusting
from haloy.model.certificate import Certificate, ChallengeKind, Secret
from haloy.model.names import DomainName
from tests.certs.conftest import need_pebble
from tests.certs.support import Front, real_now
from tests.support.pebble import Pebble, running_pebble

pytestmark = pytest.mark.acme

MAC_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def client_of(reactor: Any, pebble: Pebble, key: AccountKey) -> AcmeClient:
    agent = Agent(reactor, contextFactory=trusting(pebble.ca_file))
    http = AcmeHttp(reactor, HTTPClient(agent), pebble.directory_url, real_now)
    return AcmeClient(reactor, http, key, real_now)


async def order(client: AcmeClient, front: Front, name: str) -> Certificate:
    key = new_certificate_key()
    solver = Solver((ChallengeKind.HTTP_01,), front.present, front.withdraw)
    chain = await client.obtain(OrderWish((DomainName(name),), key), solver)
    return obtained(name, key_pem(key) + b"\n" + chain, client.directory_url)


async def test_account_is_found_again_by_its_key(reactor: Any, pebble: Pebble) -> None:
    """RFC 8555 section 7.3.1."""
    key = AccountKey.generate()
    first = client_of(reactor, pebble, key)
    await first.register("me@example.com")
    again = client_of(reactor, pebble, key)
    await again.register("")
    assert again.account_url == first.account_url != ""


async def test_external_binding_is_needed_once(reactor: Any, tmp_path: Path) -> None:
    """RFC 8555 section 7.3.4: for a new account, never to find it again."""
    need_pebble()
    settings: dict[str, Any] = {
        "externalAccountBindingRequired": True,
        "externalAccountMACKeys": {"kid-1": MAC_KEY},
    }
    with running_pebble(tmp_path / "pebble", **settings) as pebble:
        key = AccountKey.generate()
        client = client_of(reactor, pebble, key)
        with pytest.raises(AcmeError, match="external account"):
            await client.register("")
        wrong = Binding("kid-1", Secret(b"0" * 32))
        with pytest.raises(AcmeError):
            await client.register("", wrong)
        await client.register("", Binding("kid-1", Secret(decode_b64jose(MAC_KEY))))
        again = client_of(reactor, pebble, key)
        await again.register("")
        assert again.account_url == client.account_url
