"""What scanners say of the running proxy (C{docs/reference/certificates.md}).

The yardsticks: sslyze finds Mozilla's "intermediate" but for the path of the
certificate, which nobody public has signed; testssl finds nothing from MEDIUM upwards
but for the same.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import DAY, make_pem
from tests.support.tls_site import running_site
from tests.support.tools import SSLYZE, need

pytestmark = pytest.mark.slow

NAME = "shop.example.com"
LIMIT_S = 240

#: What testssl finds because the certificate is one of a test.
OF_TESTS = {"cert_chain_of_trust", "cert_revocation", "DNS_CAArecord", "CAA_record"}
#: testssl's checks, in groups that run side by side.
GROUPS = (("-p", "-s", "-f"), ("-P", "-S", "-h"), ("-U",))


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Give the port of a proxy with one app."""
    pem = tmp_path_factory.mktemp("site") / "site.pem"
    pem.write_bytes(make_pem(NAME, since=datetime.now(UTC) - DAY, life=90 * DAY))
    with running_site(NAME, pem) as found:
        yield found


def test_sslyze_finds_mozillas_intermediate(port: int, tmp_path: Path) -> None:
    """Versions, ciphers, groups, renegotiation, compression; resumption works."""
    program = need(SSLYZE)
    report = tmp_path / "sslyze.json"
    done = subprocess.run(
        [
            program,
            f"--sni={NAME}",
            "--mozilla_config=intermediate",
            *("--early_data", "--resum"),
            f"--json_out={report}",
            f"127.0.0.1:{port}",
        ],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    _, _, verdict = done.stdout.partition("COMPLIANCE AGAINST")
    problems = [
        line.strip()
        for line in verdict.splitlines()
        if line.strip().startswith("* ") and "certificate_path_validation" not in line
    ]
    assert "127.0.0.1" in verdict, done.stdout + done.stderr
    assert problems == []
    (scan,) = json.loads(report.read_text())["server_scan_results"]
    found = {key: one["result"] for key, one in scan["scan_result"].items()}
    assert found["tls_1_3_early_data"]["supports_early_data"] is False
    resumed = found["session_resumption"]
    assert resumed["tls_ticket_resumption_result"] == "FULLY_SUPPORTED"
    groups = found["elliptic_curves"]["supported_curves"]
    assert {one["name"] for one in groups} == {"X25519", "secp256r1", "secp384r1"}


def test_testssl_finds_nothing_of_medium_or_above(port: int, tmp_path: Path) -> None:
    """Protocols, ciphers, server defaults, headers, and every known weakness."""
    program = need("testssl", "testssl.sh")

    def scan(number: int) -> list[dict[str, Any]]:
        report = tmp_path / f"testssl-{number}.json"
        done = subprocess.run(
            [
                program,
                *("--quiet", "--color", "0", "--warnings", "off"),
                *("--nodns", "none", "--ip", "127.0.0.1"),
                *("--jsonfile", str(report)),
                *GROUPS[number],
                f"{NAME}:{port}",
            ],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert report.exists(), done.stdout + done.stderr
        found: list[dict[str, Any]] = json.loads(report.read_text())
        return found

    with ThreadPoolExecutor(len(GROUPS)) as pool:
        found = [one for part in pool.map(scan, range(len(GROUPS))) for one in part]
    said = {one["id"]: one for one in found}
    bad = [
        one
        for one in found
        if one["severity"] in {"MEDIUM", "HIGH", "CRITICAL", "FATAL"}
        and one["id"].split(" ")[0] not in OF_TESTS
    ]
    assert bad == []
    for identifier in ("TLS1", "TLS1_1", "TLS1_2", "TLS1_3", "heartbleed", "ROBOT"):
        assert said[identifier]["severity"] in {"OK", "INFO"}, said[identifier]
    assert said["HSTS_time"]["severity"] == "OK", said["HSTS_time"]
