"""haloyd's certificates through its whole life: taken over, killed, restarted."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from treq.client import HTTPClient
from twisted.web.client import Agent

from haloy.certs.acme import AcmeClient
from haloy.certs.acme_http import AcmeHttp
from haloy.certs.jose import AccountKey
from haloy.certs.pem import render_pem
from haloy.config.trust import trusting
from tests.certs.conftest import need_pebble
from tests.certs.support import real_now
from tests.support.certificates import DAY, make
from tests.support.disks import filled, small_disk
from tests.support.docker import require_docker
from tests.support.haloyd import TOKEN, RunningDaemon, running_daemon
from tests.support.pebble import Pebble, running_pebble
from tests.support.ports import free_port
from tests.support.proxy import running_proxy
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.acme, pytest.mark.slow]

NAME = "api.haloytest.localhost"


@pytest.fixture(autouse=True)
def installed() -> None:
    """Skip where the programs are not."""
    require_docker()
    need_pebble()


@contextmanager
def authority(
    folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Pebble]:
    """Run a CA that validates at two free ports."""
    ports = free_port(), free_port()
    with running_pebble(folder / "pebble", *ports, environment) as pebble:
        yield pebble


@contextmanager
def site(folder: Path, pebble: Pebble, **proxy: str) -> Iterator[RunningDaemon]:
    """Run haloyd, which wants a certificate for its own domain."""
    with running_daemon(
        folder,
        api={"domain": NAME},
        proxy={**listeners(pebble), **proxy},
        acme={"directory": pebble.directory_url, "ca_file": pebble.ca_file},
        dns={"resolvers": [pebble.dns]},
    ) as daemon:
        yield daemon


def listeners(pebble: Pebble) -> dict[str, str]:
    return {
        "http": f"127.0.0.1:{pebble.http_port}",
        "https": f"127.0.0.1:{pebble.tls_port}",
    }


def served(daemon: RunningDaemon) -> x509.Certificate:
    """Return what a visitor is shown, whoever has signed it."""
    trust = ssl.create_default_context()
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", daemon.https_port), 10) as plain,
        trust.wrap_socket(plain, server_hostname=NAME) as tls,
    ):
        return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")


def status(daemon: RunningDaemon) -> dict[str, Any]:
    code, text = daemon.api("GET", f"/v1/certificates/{NAME}")
    while code == 429:  # asked too often, as an order takes its time
        time.sleep(1)
        code, text = daemon.api("GET", f"/v1/certificates/{NAME}")
    found: dict[str, Any] = json.loads(text)
    return found


def until_from(daemon: RunningDaemon, pebble: Pebble) -> x509.Certificate:
    """Wait for a certificate of the CA; return it."""

    def issued() -> bool:
        try:
            found = served(daemon)
        except OSError:
            return False
        return "Pebble" in found.issuer.rfc4514_string()

    wait_until(issued, daemon.log_text)
    return served(daemon)


def memory(daemon: RunningDaemon) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(
            (daemon.data / "certs" / "state.json").read_text()
        )
    except FileNotFoundError:
        return {"attempts": []}
    return found


# --- a Go daemon's -------------------------------------------------------------------


async def registered(reactor: Any, pebble: Pebble, key: AccountKey) -> str:
    """Make an account as the Go daemon did long ago; return its URL."""
    agent = Agent(reactor, contextFactory=trusting(pebble.ca_file))
    http = AcmeHttp(reactor, HTTPClient(agent), pebble.directory_url, real_now)
    client = AcmeClient(reactor, http, key, real_now)
    await client.register("")
    return client.account_url


def go_directory(folder: Path, url: str, key: AccountKey, age_days: int) -> bytes:
    """Write what a Go daemon leaves of certificates; return its certificate."""
    (folder / "accounts").mkdir(mode=0o700, parents=True, exist_ok=True)
    account = {"url": url, "private_key": base64.b64encode(key.to_pem()).decode()}
    (folder / "accounts" / "account.json").write_text(json.dumps(account))
    pem = render_pem(make(NAME, since=real_now() - age_days * DAY))
    (folder / f"{NAME}.pem").write_bytes(pem)
    return pem


def old(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(pem)[0]


async def test_certificates_and_account_of_a_go_daemon_go_on(
    tmp_path: Path, reactor: Any
) -> None:
    """Served at once, nothing ordered before its time, then with the same account.

    Its own files are as it left them.
    """
    key = AccountKey.generate()
    with authority(tmp_path) as pebble:
        url = await registered(reactor, pebble, key)
        go_on(tmp_path, pebble, url, key)


def go_on(folder: Path, pebble: Pebble, url: str, key: AccountKey) -> None:
    left = folder / "data" / "cert-storage"
    pem = go_directory(left, url, key, age_days=10)
    account = (left / "accounts" / "account.json").read_bytes()
    with site(folder, pebble) as daemon:
        wait_until(lambda: served(daemon) == old(pem), daemon.log_text)
        found = status(daemon)
        assert (found["state"], "nextTry" in found) == ("valid", True)
        daemon.stop()
        daemon.start()
        wait_until(lambda: served(daemon) == old(pem), daemon.log_text)
        assert memory(daemon)["attempts"] == []
        daemon.stop()
        # Due: 80 of 90 days old.
        due = go_directory(left, url, key, age_days=80)
        daemon.start()
        until_from(daemon, pebble)
        (kept,) = (daemon.data / "certs" / "accounts").iterdir()
        assert json.loads(kept.read_text())["url"] == url
        assert [one["issued"] for one in memory(daemon)["attempts"]] == [True]
        assert (left / f"{NAME}.pem").read_bytes() == due
        assert (left / "accounts" / "account.json").read_bytes() == account
        # The next start finds the newer one, beside the old one.
        daemon.stop()
        daemon.start()
        until_from(daemon, pebble)
        assert len(memory(daemon)["attempts"]) == 1
        # Damaged while it was away: moved aside, and ordered anew.
        daemon.stop()
        (daemon.data / "certs" / f"{NAME}.pem").write_bytes(b"\0" * 4096)
        daemon.start()
        until_from(daemon, pebble)
        (aside,) = (daemon.data / "certs").glob(f"{NAME}.pem.corrupt-*")
        assert aside.read_bytes() == b"\0" * 4096


# --- killed --------------------------------------------------------------------------

SLOW = {"PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": "5"}


def kill_in_the_order(daemon: RunningDaemon, pebble_log: Path) -> None:
    """Kill haloyd while the CA is about to look at the challenge."""
    wait_until(lambda: "Sleeping for" in pebble_log.read_text(), daemon.log_text)
    daemon.kill()
    assert [one["issued"] for one in memory(daemon)["attempts"]] == [False]


def test_killed_in_the_middle_of_an_order(tmp_path: Path) -> None:
    """The next start orders once more, by the same account, and counts both."""
    with authority(tmp_path, SLOW) as pebble, site(tmp_path, pebble) as daemon:
        kill_in_the_order(daemon, tmp_path / "pebble" / "pebble.log")
        daemon.start()
        until_from(daemon, pebble)
        wait_until(
            lambda: any(one["issued"] for one in memory(daemon)["attempts"]),
            daemon.log_text,
        )
        issued = [one["issued"] for one in memory(daemon)["attempts"]]
        assert issued == [False, True]
        assert len(list((daemon.data / "certs" / "accounts").iterdir())) == 1
        told_everywhere(daemon)


def told_everywhere(daemon: RunningDaemon) -> None:
    """In metrics and events as well."""
    metrics = daemon.api("GET", "/metrics")[1]
    assert f'haloy_certificate_held{{name="{NAME}"}} 1\n' in metrics
    request = urllib.request.Request(
        f"http://127.0.0.1:{daemon.api_port}/v1/events",
        headers={"Authorization": f"Bearer {TOKEN}", "Last-Event-ID": "0"},
    )
    with urllib.request.urlopen(request, timeout=20) as stream:
        for line in stream:
            event = json.loads(line[6:]) if line.startswith(b"data: ") else {}
            if (event.get("kind"), event.get("state")) == ("certificate", "valid"):
                assert event["subject"] == NAME
                return


def test_killed_in_the_middle_of_an_order_beside_a_proxy(tmp_path: Path) -> None:
    """The proxy serves what there is; the next haloyd gets the certificate."""
    split = {"mode": "split", "control": str(tmp_path / "proxy.sock")}
    with authority(tmp_path, SLOW) as pebble:
        where = listeners(pebble)
        options = ("--http", where["http"], "--https", where["https"])
        with (
            running_proxy(tmp_path, *options, "--stop-limit", "3"),
            site(tmp_path / "haloyd", pebble, **split) as daemon,
        ):
            kill_in_the_order(daemon, tmp_path / "pebble" / "pebble.log")
            assert "haloy" in served(daemon).issuer.rfc4514_string()
            daemon.start()
            issued = until_from(daemon, pebble)
            daemon.kill()
            assert [served(daemon) for _ in range(12)] == [issued] * 12


def test_a_full_disk_keeps_the_certificate(tmp_path: Path) -> None:
    """What comes while the disk is full is served, and written when there is room.

    The file of the one before stays whole meanwhile; an import is refused with the
    reason, and taken later.
    """
    own = render_pem(make(NAME, since=real_now() - DAY)).decode()
    path, data = f"/v1/certificates/{NAME}", tmp_path / "data"
    pem = data / "certs" / f"{NAME}.pem"
    with (
        small_disk(data),
        authority(tmp_path, SLOW) as pebble,
        site(tmp_path, pebble) as daemon,
    ):
        first = until_from(daemon, pebble)
        wait_until(lambda: status(daemon)["state"] == "valid", daemon.log_text)
        ca_log = tmp_path / "pebble" / "pebble.log"
        said = ca_log.stat().st_size
        assert daemon.api("POST", f"{path}/renew")[0] == 202
        wait_until(lambda: "order" in ca_log.read_text()[said:], daemon.log_text)
        with filled(data):
            code, text = daemon.api("POST", path, {"pem": own})
            assert (code, "disk space" in text) == (507, True), text
            wait_until(lambda: served(daemon) != first, daemon.log_text)
            second = until_from(daemon, pebble)
            told = "the disk has not taken it yet"
            wait_until(lambda: told in json.dumps(status(daemon)), daemon.log_text)
            assert old(pem.read_bytes()) == first
        # It is looked at every minute; whoever asks for something need not wait.
        assert daemon.api("POST", f"{path}/renew")[0] == 202
        wait_until(lambda: old(pem.read_bytes()) == second, daemon.log_text)
        assert [*pem.parent.glob(".*.tmp")] == []
        assert "No space left" in daemon.log_text()
        assert "Traceback" not in daemon.log_text()
        assert daemon.api("POST", path, {"pem": own})[0] == 200
        assert served(daemon) == old(own.encode())
