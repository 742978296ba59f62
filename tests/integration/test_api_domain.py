"""The API over HTTPS: by its domain, through the proxy, with an issued certificate."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.docker import require_docker
from tests.support.haloyd import TOKEN, RunningDaemon, running_daemon
from tests.support.pebble import Pebble, running_pebble
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.acme]

NAME = "api.haloytest.localhost"


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RunningDaemon, Pebble]]:
    require_docker()
    folder = tmp_path_factory.mktemp("api-domain")
    http_port, https_port = free_port(), free_port()
    with (
        running_pebble(
            folder / "pebble", http_port=http_port, tls_port=https_port
        ) as pebble,
        running_daemon(
            folder / "server",
            api={"domain": NAME},
            proxy={
                "http": f"127.0.0.1:{http_port}",
                "https": f"127.0.0.1:{https_port}",
            },
            acme={"directory": pebble.directory_url, "ca_file": pebble.ca_file},
            dns={"resolvers": [pebble.dns]},
        ) as daemon,
    ):
        yield daemon, pebble


def ask(
    daemon: RunningDaemon, pebble: Pebble, path: str, token: str = TOKEN
) -> tuple[int, str]:
    """Ask over TLS that is verified against the CA and the name."""
    context = ssl.create_default_context(cafile=pebble.root_file)
    connection = http.client.HTTPSConnection(NAME, daemon.https_port, timeout=10)
    plain = socket.create_connection(("127.0.0.1", daemon.https_port), 10)
    connection.sock = context.wrap_socket(plain, server_hostname=NAME)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def until_issued(daemon: RunningDaemon, pebble: Pebble) -> None:
    def issued() -> bool:
        try:
            ask(daemon, pebble, "/health")
        except ssl.SSLError:
            return False
        return True

    wait_until(issued, daemon.log_text)


def test_api_is_reached_by_its_domain(server: tuple[RunningDaemon, Pebble]) -> None:
    """The certificate is ordered by itself and verifies; the token is asked for."""
    daemon, pebble = server
    until_issued(daemon, pebble)
    status, text = ask(daemon, pebble, "/v1/version")
    assert (status, json.loads(text)["haloy_proxy_compatible"]) == (200, True)
    assert ask(daemon, pebble, "/v1/version", token="wrong")[0] == 401


def test_limit_counts_the_real_client(server: tuple[RunningDaemon, Pebble]) -> None:
    """A12: guessing through the proxy is limited by the client's own address."""
    daemon, pebble = server
    until_issued(daemon, pebble)
    statuses = {ask(daemon, pebble, "/v1/version", token="x")[0] for _ in range(12)}
    assert statuses == {401, 429}
    assert ask(daemon, pebble, "/v1/version")[0] == 200


def test_command_line_over_https(server: tuple[RunningDaemon, Pebble]) -> None:
    """`server add --ca-file` trusts a CA of one's own."""
    daemon, pebble = server
    until_issued(daemon, pebble)
    name = f"{NAME}:{daemon.https_port}"
    added = daemon.haloy("server", "add", name, TOKEN, "--ca-file", pebble.root_file)
    assert added.returncode == 0, added.stderr
    project = daemon.folder / "project"
    project.mkdir(exist_ok=True)
    config = f"name: nothing\nserver: {name}\nimage: x:1\n"
    (project / "haloy.yaml").write_text(config)
    shown = daemon.haloy("status", cwd=project)
    assert "nothing is not deployed on" in shown.stderr
    assert shown.returncode == 1


def test_restart_orders_nothing(server: tuple[RunningDaemon, Pebble]) -> None:
    """The certificate is served from disk at once."""
    daemon, pebble = server
    until_issued(daemon, pebble)
    stored = Path(daemon.data / "certs" / f"{NAME}.pem").read_bytes()
    daemon.kill()
    daemon.start()
    assert ask(daemon, pebble, "/health")[0] == 200
    assert Path(daemon.data / "certs" / f"{NAME}.pem").read_bytes() == stored
