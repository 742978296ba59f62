"""Debian's bind9 on a free port, with one zone that takes signed updates."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.exception
import dns.message
import dns.query
from attrs import frozen

from tests.support.ports import free_ports

START_LIMIT_S = 20.0
KEY_NAME = "haloy"
KEY_SECRET = base64.b64encode(bytes(range(32))).decode()
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


@frozen
class Named:
    """Where it is and what it serves."""

    address: str
    zone: str

    def texts(self, name: str) -> set[str]:
        """Return the TXT records of C{name}."""
        host, _, port = self.address.rpartition(":")
        question = dns.message.make_query(name, "TXT")
        answer = dns.query.udp(question, host, timeout=5, port=int(port))
        return {
            record.to_text().strip('"') for rrset in answer.answer for record in rrset
        }


@contextmanager
def running_named(folder: Path, zone: str = "example.org") -> Iterator[Named]:
    """Run it until the block ends."""
    (port,) = free_ports(1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zone").write_text(
        f"$TTL 60\n@ SOA ns.{zone}. root.{zone}. 1 60 60 60 60\n"
        f"@ NS ns.{zone}.\nns A 127.0.0.1\n"
    )
    (folder / "named.conf").write_text(
        f"""
options {{
    directory "{folder}"; pid-file none; session-keyfile none;
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion no; dnssec-validation no; notify no;
}};
controls {{ }};
key {KEY_NAME} {{ algorithm hmac-sha256; secret "{KEY_SECRET}"; }};
zone "{zone}" {{ type primary; file "zone"; allow-update {{ key {KEY_NAME}; }}; }};
"""
    )
    program = shutil.which("named", path=PATH)
    assert program is not None
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-g", "-c", str(folder / "named.conf"), "-n", "1"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    running = Named(f"127.0.0.1:{port}", zone)
    try:
        _wait(running, process, folder)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(running: Named, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            running.texts(running.zone)
        except (dns.exception.DNSException, OSError):
            time.sleep(0.05)
        else:
            return
    raise RuntimeError((folder / "log").read_text(errors="replace")[-3000:])
