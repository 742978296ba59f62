"""C{haloyd verify} says of every check whether it passes, and what to do if not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.daemon.command.conftest import Haloyd
from tests.support.docker_api import DockerApi


def _checks(text: str) -> dict[str, dict[str, Any]]:
    report = json.loads(text)
    assert report["ok"] is all(not one["problem"] for one in report["checks"])
    return {one["name"].partition(" /")[0]: one for one in report["checks"]}


def test_a_server_that_is_not_set_up(haloyd: Haloyd) -> None:
    """Every check fails with a next step, and so does the command."""
    done = haloyd("verify", "--json")
    assert done.returncode == 1
    checks = _checks(done.stdout)
    assert checks["configuration directory"]["next"] == "run `haloyd init`"
    assert checks["data directory"]["problem"] == "does not exist"
    assert "haloyd init" in checks["API token"]["next"]
    assert "DOCKER_HOST" in checks["Docker"]["next"]


def test_after_init_only_the_daemon_is_missing(
    haloyd: Haloyd, docker: DockerApi, tmp_path: Path
) -> None:
    """Directories, files, token, Docker and network are right; the API is not up."""
    haloyd("init", docker=docker.host)
    (tmp_path / "config" / "haloyd.yaml").write_text("api: {listen: '127.0.0.1:1'}\n")
    done = haloyd("verify", "--json", docker=docker.host)
    checks = _checks(done.stdout)
    checks.pop("room for")  # of whoever runs the tests
    wrong = [one for one in checks.values() if one["problem"]]
    assert [one["name"] for one in wrong] == ["API at 127.0.0.1:1"]
    assert wrong[0]["next"] == ("`systemctl start haloyd`, then `journalctl -u haloyd`")
    assert done.returncode == 1


def test_a_missing_network_is_found(
    haloyd: Haloyd, docker: DockerApi, tmp_path: Path
) -> None:
    """Docker answers but knows no network C{haloy}."""
    haloyd("init", docker=docker.host)
    docker.networks.clear()
    done = haloyd("verify", "--json", docker=docker.host)
    assert _checks(done.stdout)["network haloy"]["next"] == "run `haloyd init`"


def test_a_data_directory_that_others_may_read(
    haloyd: Haloyd, docker: DockerApi, tmp_path: Path
) -> None:
    """The mode is named, and how to set it."""
    haloyd("init", docker=docker.host)
    (tmp_path / "data").chmod(0o755)
    done = haloyd("verify", docker=docker.host)
    assert "has mode 0755, wanted 0700" in done.stdout
    assert f"chmod 700 {tmp_path / 'data'}" in done.stdout
    assert done.returncode == 1


def test_a_mistake_in_the_configuration_has_file_and_line(
    haloyd: Haloyd, docker: DockerApi, tmp_path: Path
) -> None:
    """D23: a typing error is not passed over in silence."""
    haloyd("init", docker=docker.host)
    file = tmp_path / "config" / "haloyd.yaml"
    file.write_text("api:\n  domian: api.example.com\n")
    done = haloyd("verify", docker=docker.host)
    assert f"{file}:2" in done.stdout
    assert "domain" in done.stdout
    assert done.returncode == 1


def test_what_the_daemon_says_of_its_parts(
    haloyd: Haloyd, docker: DockerApi, tmp_path: Path
) -> None:
    """A daemon that answers and cannot reach its proxy is not passed as well."""
    haloyd("init", docker=docker.host)
    told = {"ready": False, "docker": "ok", "proxy": "it is away", "database": "ok"}
    with answering(json.dumps(told).encode()) as port:
        settings = f"api: {{listen: '127.0.0.1:{port}'}}\n"
        (tmp_path / "config" / "haloyd.yaml").write_text(settings)
        done = haloyd("verify", "--json", docker=docker.host)
    checks = _checks(done.stdout)
    assert done.returncode == 1
    assert not checks[f"API at 127.0.0.1:{port}"]["problem"]
    assert not checks["haloyd's database"]["problem"]
    assert checks["haloyd's proxy"]["problem"] == "it is away"
    assert "haloy-proxy" in checks["haloyd's proxy"]["next"]


@contextmanager
def answering(content: bytes) -> Iterator[int]:
    """Answer one request with 503 and C{content}."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                head = f"HTTP/1.1 503 x\r\nContent-Length: {len(content)}\r\n\r\n"
                connection.sendall(head.encode() + content)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(10)


def test_a_disk_that_fills_up(
    haloyd: Haloyd, docker: DockerApi, tmp_path: Path
) -> None:
    """By the mark at which the daemon prunes."""
    haloyd("init", docker=docker.host)
    (tmp_path / "config" / "haloyd.yaml").write_text(
        "api: {listen: '127.0.0.1:1'}\ndisk: {warn_percent: 1, prune_percent: 1}\n"
    )
    room = _checks(haloyd("verify", "--json", docker=docker.host).stdout)["room for"]
    assert "% full" in room["problem"]
    assert "prune-images" in room["next"]
