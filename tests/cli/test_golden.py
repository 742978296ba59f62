"""The command line with a Go daemon: what that said is taken, and no more is asked.

C{tests/support/replay.py} answers with the captured bytes.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import define

from tests.support.ports import free_port
from tests.support.replay import GoDaemon, captured, edge, go_daemon

LIMIT_S = 60


@define
class Scene:
    """A folder with the captured app's configuration, and its daemon."""

    folder: Path
    daemon: GoDaemon

    def configure(self, **more: Any) -> None:
        base = {
            "name": "hello",
            "server": f"http://localhost:{self.daemon.port}",
            "image": {"repository": "hello", "build": False, "tag": "1"},
            "domains": [{"domain": "hello.localhost"}],
            "env": [{"name": "GREETING", "value": "hi"}],
            "port": 8080,
            "replicas": 2,
        }
        (self.folder / "haloy.yaml").write_text(yaml.safe_dump({**base, **more}))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "haloy.cli.main", *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "HALOY_CONFIG_DIR": str(self.folder / "client"),
                "HALOY_API_TOKEN": "t" * 64,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command; return exit code, stdout and stderr."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=LIMIT_S)
        assert "Traceback" not in out + err
        return process.returncode, out, err


@pytest.fixture
def haloy(tmp_path: Path) -> Iterator[Scene]:
    """Give the command, in a folder for a Go daemon."""
    with go_daemon() as daemon:
        scene = Scene(tmp_path, daemon)
        scene.configure()
        yield scene


def test_a_deployment(haloy: Scene) -> None:
    """Its log to the end, 0; only keys that the daemon knows are sent."""
    code, out, err = haloy("deploy")
    assert code == 0, err
    assert "● Containers started for hello (2 replicas)" in out
    assert out.splitlines()[-1].startswith("● Deployed hello → https://hello.localhost")
    (sent,) = haloy.daemon.bodies("POST", "/v1/deploy")
    (theirs, *_) = [
        json.loads(one["request"]["body"])
        for one in captured("exchanges")
        if one["request"]["line"].startswith("POST /v1/deploy ")
    ]
    assert sent.keys() == theirs.keys()
    for key in ("targetConfig", "rollbackDeployConfig"):
        assert sent[key].keys() <= theirs[key].keys()


def test_a_failed_deployment(haloy: Scene) -> None:
    """CLI section 9, point 1: the Go daemon's mark of a failure is one."""
    log = edge("GET", "/v1/deploy/ID/logs")
    haloy.daemon.answers[("GET", "/v1/deploy/ID/logs")] = log
    code, _, err = haloy("deploy")
    assert code == 6
    assert "not found locally and image.pull_policy is 'never'" in err


def test_newer_keys_are_refused_before_anything_is_sent(haloy: Scene) -> None:
    """CLI section 9, point 29: what the daemon is too old for is said by name."""
    haloy.configure(deployment_strategy="blue_green")
    code, _, err = haloy("deploy")
    assert (code, "blue_green" in err) == (3, True), err
    assert haloy.daemon.bodies("POST", "/v1/deploy") == []


def test_everyday_commands(haloy: Scene) -> None:
    """Status, logs, exec, rollback, prune, version, registries, stop."""
    code, out, err = haloy("status")
    assert (code, "running" in out, "ba3a" in out or "1206068a7ac3" in out) == (
        0,
        True,
        True,
    ), err
    assert out.count("https://hello.localhost") == 1
    assert haloy("logs", "--no-follow", "--tail", "3")[0] == 0
    assert haloy("exec", "--", "echo", "hi")[:2] == (0, "hi\n")
    code, out, _ = haloy("rollback-targets")
    assert (code, "01m83xb9j8bwez2bj0erpm4y3a" in out) == (0, True)
    code, out, err = haloy("rollback", "--yes", "01m83xb9j8bwez2bj0erpm4y3a")
    assert code == 0, err
    (sent,) = haloy.daemon.bodies("POST", "/v1/rollback")
    assert sent["newTargetConfig"]["image"]["tag"] == "01m83xb9j8bwez2bj0erpm4y3a"
    code, out, _ = haloy("prune-images", "--keep", "1")
    assert (code, "hello:01m83xa5w475wtd2hkz1nvx2m3" in out) == (0, True)
    code, out, _ = haloy("server", "version", "--components")
    assert (code, "haloyd dev" in out) == (0, True)
    haloy.daemon.answers[("GET", "/v1/registries")] = edge("GET", "/v1/registries")
    assert haloy("server", "registry", "list")[0] == 0
    assert haloy("stop", "--remove-containers")[0] == 0
    assert ("POST", "/v1/stop/hello?remove-containers=true", b"") in haloy.daemon.asked


def test_a_tunnel(haloy: Scene) -> None:
    """The 101 of the Go daemon, and bytes both ways."""
    port = free_port()
    with haloy.start("tunnel", str(port)) as process:
        assert process.stdout is not None
        assert "leads to hello" in process.stdout.readline()
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(b"ping")
            assert client.recv(4) == b"ping"
        process.terminate()
        process.communicate(timeout=LIMIT_S)


NEWER = (
    ("apps",),
    ("deployments",),
    ("tokens", "list"),
    ("certs", "list"),
    ("diff",),
    ("cancel", "01m83xb9j8bwez2bj0erpm4y3a"),
    ("exec", "-i", "--", "cat"),
)


@pytest.mark.parametrize("command", NEWER, ids=" ".join)
def test_what_a_go_daemon_cannot(haloy: Scene, command: tuple[str, ...]) -> None:
    """It is told in a sentence that the daemon is too old for it."""
    code, _, err = haloy(*command)
    assert code == 1
    assert err.count("\n") == 1, err
    assert "haloyd" in err, err


@pytest.mark.parametrize(
    ("command", "path", "code"),
    [
        (("status",), ("GET", "/v1/status/unknown", 404), 1),
        (("logs", "--no-follow"), ("GET", "/v1/logs/unknown", 404), 1),
        (("exec", "--", "true"), ("POST", "/v1/exec/unknown", 404), 1),
        (("rollback", "--yes"), ("GET", "/v1/rollback/unknown", 0), 1),
        (("deploy",), ("POST", "/v1/deploy", 400), 3),
        (("server", "version"), ("GET", "/v1/version", 401), 4),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_its_refusals(
    haloy: Scene, command: tuple[str, ...], path: tuple[str, str, int], code: int
) -> None:
    """Each as it was captured; its text is passed on where it has one."""
    method, where, status = path
    answer = edge(method, where, status)
    haloy.daemon.answers[(method, where.replace("unknown", "hello"))] = answer
    got, _, err = haloy(*command)
    assert (got, bool(err)) == (code, True), err


def test_too_many_requests(haloy: Scene) -> None:
    """CLI section 9, point 27: a 429 is waited out, not an error."""
    answers = haloy.daemon.answers
    asked = ("GET", "/v1/status/hello")
    good, busy = answers[asked], edge("GET", "/health", 429)
    answers[asked] = busy
    haloy.daemon.after[asked] = good
    code, out, err = haloy("status")
    assert (code, "running" in out) == (0, True), err
    assert sum(path == asked[1] for _, path, _ in haloy.daemon.asked) == 2
