"""`haloy certs` against the real API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from haloy.errors import CertificateError
from tests.fakes.certificates import FakeCertificates, status
from tests.support.cli import Bench

SHOP = "shop.example.com"
DOCUMENT = '{"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids"}'
ENDS = datetime.now(UTC) + timedelta(days=60, hours=1)


@pytest_twisted.async_yield_fixture
async def bench(reactor: Any, tmp_path: Path) -> AsyncIterator[Bench]:
    known = [
        status(SHOP, not_after=ENDS, aliases=("www.shop.example.com",)),
        status(
            "api.example.com",
            "failed",
            None,
            reason="[api] CAA forbids [/it]",
            problem="caa",
            document=DOCUMENT,
            failures=3,
            next_try=ENDS,
        ),
    ]
    found = Bench(reactor, tmp_path, certificates=FakeCertificates(known))
    await found.start()
    found.configure()
    yield found
    await found.stop()
    await deferLater(reactor, 0.01)


async def test_list(bench: Bench) -> None:
    """Until when, and why not; words of the authority stay as they are."""
    done = await bench.haloy("certs", "list")
    assert done.returncode == 0, done.stderr
    assert f"{ENDS:%Y-%m-%d} (2 months left)" in done.stdout
    assert "www.shop.example.com" in done.stdout
    assert "[api] CAA forbids [/it]" in done.stdout
    done = await bench.haloy("certs", "list", "--json")
    assert [one["state"] for one in json.loads(done.stdout)] == ["valid", "failed"]


async def test_show(bench: Bench) -> None:
    """The whole problem document, for whoever asks the authority for help."""
    done = await bench.haloy("certs", "show", "api.example.com")
    assert done.returncode == 0, done.stderr
    assert "Failures:  3" in done.stdout
    assert json.loads(done.stdout.partition("document:")[2]) == json.loads(DOCUMENT)
    done = await bench.haloy("certs", "show", "unknown.example.com")
    assert done.returncode == 1
    assert "no app has the domain unknown.example.com" in done.stderr


async def test_renew_waits_for_the_new_one(bench: Bench) -> None:
    """Success is a certificate, not a request that was taken."""
    bench.certificates.after_renewal = [
        status(SHOP, not_after=ENDS, fingerprint="new"),
    ]
    done = await bench.haloy("certs", "renew", SHOP)
    assert done.returncode == 0, done.stderr
    assert f"{SHOP} has a new certificate until {ENDS:%Y-%m-%d}" in done.stdout
    assert bench.certificates.renewed == [SHOP]


async def test_renew_that_fails_fails_the_command(bench: Bench) -> None:
    """With the reason on the screen."""
    bench.certificates.after_renewal = [
        status(SHOP, not_after=ENDS, reason="connection refused", failures=1),
    ]
    done = await bench.haloy("certs", "renew", SHOP)
    assert done.returncode == 1
    assert f"no new certificate for {SHOP}: connection refused" in done.stderr
    bench.certificates.refuse = CertificateError("a wildcard needs DNS-01")
    done = await bench.haloy("certs", "renew", "*.example.com")
    assert done.returncode == 1
    assert done.stderr


async def test_renew_that_waits_says_until_when(bench: Bench) -> None:
    """Below the limits of the authority; nobody is told that it is being ordered."""
    waits = status(SHOP, reason="waiting, to stay below the limits", next_try=ENDS)
    bench.certificates.after_renewal = [waits, waits]
    done = await bench.haloy("certs", "renew", SHOP)
    assert done.returncode == 1
    assert f"below the limits; next try at {ENDS:%Y-%m-%d %H:%M} UTC" in done.stderr
    done = await bench.haloy("certs", "renew", SHOP, "--no-wait")
    assert done.returncode == 0
    assert "is not being ordered yet: waiting" in done.stdout + done.stderr
    bench.certificates.after_renewal = [status(SHOP, ordering=True)]
    done = await bench.haloy("certs", "renew", SHOP, "--no-wait")
    assert f"a certificate for {SHOP} is being ordered" in done.stdout


@pytest.mark.parametrize("way", ["files", "env", "both", "secret"])
async def test_import(bench: Bench, way: str) -> None:
    """Key and chain, from files, from variables, one of each, or a secret."""
    vault = {"run": ["printf", "KEY=KEY\\nCHAIN=CHAIN\\n"], "format": "dotenv"}
    bench.configure(secret_providers={"command": {"vault": vault}})
    key, chain = bench.folder / "key.pem", bench.folder / "chain.pem"
    key.write_text("KEY\n")
    chain.write_text("CHAIN\n")
    arguments = {
        "files": [str(key), str(chain)],
        "env": ["--env", "THE_KEY", "--env", "THE_CHAIN"],
        "both": [str(key), "--env", "THE_CHAIN"],
        "secret": ["--secret", "command:vault:KEY", "--secret", "command:vault:CHAIN"],
    }[way]
    done = await bench.haloy(
        *("certs", "import", "Shop.example.com", *arguments),
        environment={"THE_KEY": "KEY", "THE_CHAIN": "CHAIN\n"},
    )
    assert done.returncode == 0, done.stderr
    assert f"{SHOP} is served until {ENDS:%Y-%m-%d}" in done.stdout
    assert bench.certificates.taken == [(SHOP, b"KEY\nCHAIN\n")]


async def test_import_that_is_no_use_says_so(bench: Bench) -> None:
    """Nothing given, a file that is not there, one the server refuses."""
    done = await bench.haloy("certs", "import", SHOP)
    assert done.returncode == 2
    done = await bench.haloy("certs", "import", SHOP, "missing.pem")
    assert done.returncode == 3
    assert "missing.pem: cannot be read: No such file" in done.stderr
    bench.certificates.refuse = CertificateError("holds no private key")
    (bench.folder / "one.pem").write_text("x")
    done = await bench.haloy("certs", "import", SHOP, "one.pem")
    assert done.returncode == 3
    assert "✖ one.pem: holds no private key" in done.stderr
    done = await bench.haloy("certs", "import", SHOP, "--secret", "sops:prod:KEY")
    assert done.returncode == 3
    assert "secret_providers.sops has no source 'prod'" in done.stderr
    bench.certificates.refuse = None
    done = await bench.haloy("certs", "import", "new.example.com", "one.pem")
    assert "no app has this domain yet" in done.stdout
