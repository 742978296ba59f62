"""A real haloyd, and what the one who runs it can see and do. No Docker is needed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.haloyd import TOKEN, RunningDaemon, running_daemon
from tests.support.ports import free_port

LIMIT_S = 30.0


def until(true: Callable[[], bool], haloyd: RunningDaemon) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < deadline, haloyd.log_text()
        time.sleep(0.05)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Give what systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.settimeout(LIMIT_S)
        yield one


@pytest.fixture
def haloyd(
    tmp_path: Path, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningDaemon]:
    """Give a haloyd whose Docker is away: nothing here needs one."""
    # It is never all well then, but it serves.
    monkeypatch.setattr(
        RunningDaemon, "ready", lambda one: "is ready" in one.log_text()
    )
    with running_daemon(
        tmp_path,
        {
            "DOCKER_HOST": f"unix://{tmp_path}/no-docker.sock",
            "NOTIFY_SOCKET": str(manager.getsockname()),
            "WATCHDOG_USEC": "1500000",
        },
        log={"access": "json"},
        manhole={"mode": "unix"},
    ) as made:
        yield made


def hear(manager: socket.socket, wanted: str) -> list[str]:
    """Return what is said up to C{wanted}."""
    said: list[str] = []
    while not said or wanted not in said[-1]:
        said.append(manager.recv(4096).decode())
    return said


def ask(haloyd: RunningDaemon, path: str, **headers: str) -> tuple[int, str]:
    """Return status and body of an API call without a token."""
    connection = http.client.HTTPConnection("127.0.0.1", haloyd.api_port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def proxied(haloyd: RunningDaemon, path: str) -> int:
    """Return the status of a plain request to the proxy."""
    connection = http.client.HTTPConnection("127.0.0.1", haloyd.http_port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": "nobody.example.com"})
        return connection.getresponse().status
    finally:
        connection.close()


def samples(text: str) -> dict[str, float]:
    """Return the values by name and labels, read by Prometheus's own parser."""
    return {
        f"{one.name}{sorted(one.labels.items())}": one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def configure(haloyd: RunningDaemon, **changes: Any) -> None:
    settings = {**haloyd.settings, **changes}
    (haloyd.config / "haloyd.yaml").write_text(yaml.safe_dump(settings))


def test_what_systemd_is_told(haloyd: RunningDaemon, manager: socket.socket) -> None:
    """Ready when it is of use, alive by its reactor, reloading, stopping."""
    said = hear(manager, "READY=1")
    assert "serving" in said[-1]
    hear(manager, "WATCHDOG=1")
    os.kill(haloyd.pid, signal.SIGHUP)
    hear(manager, "RELOADING=1")
    hear(manager, "READY=1")
    os.kill(haloyd.pid, signal.SIGTERM)
    hear(manager, "STOPPING=1")
    assert haloyd.process is not None
    haloyd.process.wait(LIMIT_S)


def test_metrics(haloyd: RunningDaemon) -> None:
    """On loopback for everybody there, for others with a token that may read."""
    assert [proxied(haloyd, f"/{number}") for number in range(3)] == [404] * 3
    status, text = ask(haloyd, "/metrics")
    assert status == 200
    seen = samples(text)
    (requests,) = [v for k, v in seen.items() if k.startswith("haloy_requests_total")]
    assert requests == 3
    assert seen["haloy_proxy_workers[]"] == 1
    assert seen["process_open_fds[]"] > 5
    assert any(key.startswith("haloy_disk_free_bytes") for key in seen)
    # Through a proxy a token is asked for; by a foreign name nothing is answered.
    assert ask(haloyd, "/metrics", **{"X-Forwarded-For": "127.0.0.1"})[0] == 401
    assert ask(haloyd, "/metrics", Host="evil.example.com")[0] == 421
    assert haloyd.api("GET", "/metrics")[0] == 200


def test_a_good_configuration_is_put_into_force(haloyd: RunningDaemon) -> None:
    """What can be at once; of the rest the keys are told. Log files are opened anew."""
    assert proxied(haloyd, "/one?secret=1") == 404
    access = haloyd.data / "logs" / "access.log"
    until(access.exists, haloyd)
    old = access.rename(access.with_name("old.log"))
    configure(
        haloyd,
        metrics={"enabled": False},
        log={"access": "combined", "access_redact": ["client", "query"]},
        proxy={**haloyd.settings["proxy"], "public_https": 444},
    )
    os.kill(haloyd.pid, signal.SIGHUP)
    told = "proxy.public_https: in force after a restart of haloyd"
    until(lambda: told in haloyd.log_text(), haloyd)
    assert ask(haloyd, "/metrics")[0] == 404
    assert proxied(haloyd, "/two?secret=2") == 404
    until(access.exists, haloyd)
    assert json.loads(old.read_text())["target"] == "/one?***"
    assert access.read_text().startswith("127.0.0.0 - - [")
    assert '"GET /two?*** HTTP/1.1" 404' in access.read_text()


def test_a_bad_configuration_changes_nothing(haloyd: RunningDaemon) -> None:
    """It is told with its line, and `ready` says so until it is right."""
    before = (haloyd.data / "haloyd.yaml.last-good").read_bytes()
    (haloyd.config / "haloyd.yaml").write_text("metrics: {enabled: maybe}\n")
    os.kill(haloyd.pid, signal.SIGHUP)
    until(lambda: "nothing was changed" in haloyd.log_text(), haloyd)
    assert "haloyd.yaml:1" in haloyd.log_text()
    assert ask(haloyd, "/metrics")[0] == 200
    status, text = haloyd.api("GET", "/health/ready")
    assert (status, "haloyd.yaml:1" in json.loads(text)["config"]) == (503, True)
    assert (haloyd.data / "haloyd.yaml.last-good").read_bytes() == before
    configure(haloyd)
    os.kill(haloyd.pid, signal.SIGHUP)
    until(lambda: "nothing changed" in haloyd.log_text(), haloyd)
    assert json.loads(haloyd.api("GET", "/health/ready")[1])["config"] == "ok"


def test_the_manhole(haloyd: RunningDaemon) -> None:
    """Its socket is its owner's; the prompt knows the parts."""
    path = haloyd.data / "manhole.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as prompt:
        prompt.settimeout(LIMIT_S)
        prompt.connect(str(path))
        seen = b""
        while b">>> " not in seen:
            seen += prompt.recv(4096)
        prompt.sendall(b"print('ports', proxy.https_port, len(routes.intents.apps))\r")
        while b"ports %d 0" % haloyd.https_port not in seen:
            seen += prompt.recv(4096)


def test_requests_are_followed_live(haloyd: RunningDaemon) -> None:
    """`haloy server logs --access-logs` shows them, without what is redacted."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{haloyd.api_port}/v1/server-logs?access-logs=true",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    with urllib.request.urlopen(request, timeout=LIMIT_S) as stream:
        proxied(haloyd, "/seen?password=1")
        for line in stream:
            if b'"message":"request"' in line:
                break
        fields = json.loads(line[6:])["fields"]
    assert fields["path"] == "/seen?***"
    assert fields["status"] == "404"
    assert fields.keys() >= {"request_id", "first_byte_ms", "bytes_out"}


def test_the_api_without_a_domain_is_on_loopback_alone(haloyd: RunningDaemon) -> None:
    """Plain HTTP there, and nowhere else: the proxy does not know it."""
    assert ask(haloyd, "/health")[0] == 200
    assert ask(haloyd, "/v1/apps")[0] == 401
    with socket.socket() as other:
        other.settimeout(5)
        other.bind(("127.0.0.1", free_port()))
        with pytest.raises(OSError):  # noqa: PT011  (refused, or no such address)
            other.connect(("127.0.0.2", haloyd.api_port))
    connection = http.client.HTTPConnection("127.0.0.1", haloyd.http_port, timeout=10)
    connection.request("GET", "/health", headers={"Host": "localhost"})
    assert connection.getresponse().status == 404
    connection.close()


def test_commands_beside_a_running_daemon(haloyd: RunningDaemon) -> None:
    """Tokens count at once; a backup is whole; nothing is restored under it."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        where = ["--config-dir", str(haloyd.config), "--data-dir", str(haloyd.data)]
        return subprocess.run(
            [Path(sys.executable).with_name("haloyd"), *arguments, *where],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    made = run("token", "create", "ci", "--scope", "read", "--json")
    token = json.loads(made.stdout)["token"]
    assert haloyd.api("GET", "/v1/version", token=token)[0] == 200
    assert [
        one["name"]
        for one in json.loads(run("token", "list", "--json").stdout)["tokens"]
    ] == ["ci"]
    assert run("token", "revoke", "ci").returncode == 0
    assert haloyd.api("GET", "/v1/version", token=token)[0] == 401
    assert json.loads(run("certs", "list", "--json").stdout) == {"certificates": []}
    unknown = run("certs", "show", "a.example.com")
    assert (unknown.returncode, "no app has" in unknown.stderr) == (1, True)
    file = str(haloyd.folder / "backup.tar.gz")
    assert (
        "data/db/haloy.db" in json.loads(run("backup", file, "--json").stdout)["files"]
    )
    refused = run("restore", file, "--yes")
    assert (refused.returncode, "stop it first" in refused.stderr) == (1, True)
    haloyd.stop()
    assert run("restore", file, "--yes").returncode == 0
    haloyd.log.unlink()
    haloyd.start()
    kept = json.loads(haloyd.api("GET", "/v1/tokens")[1])["tokens"]
    assert [one["name"] for one in kept] == ["ci"]
