"""Unkind clients, files, apps and names at a whole haloyd on a real Docker.

Rows D and E name the observation that each test would fail on.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.integration.site import (
    Server,
    body,
    identifier,
    load,
    server,
    write_certificate,
)
from tests.integration.traffic import WebSocket, build_busy, mounts
from tests.support.dockerd import PrivateDocker
from tests.support.haloyd import TOKEN, running_daemon
from tests.support.pebble import running_pebble
from tests.support.waiting import wait_until

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"
READERS, TUNNELS = 16, 60
BODY_BYTES = OUTPUT_BYTES = 100_000_000
MEMORY_MIB = 40
#: Between two requests to the API, so as not to be told that there were too many.
PAUSE_S = 0.3


def memory_mib(pid: int) -> float:
    """Return the most memory that a process has had since its mark was reset."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) / 1024


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


# --- requests ---------------------------------------------------------------------


def test_incomplete_requests(haloyd: Server) -> None:
    """D9: each is refused by name, and the next deployment works."""
    whole = body(identifier(0), "app:one")
    target = whole["targetConfig"]
    image = target["image"]
    oddities: tuple[object, ...] = (
        {},
        [],
        None,
        {"deploymentID": identifier(0)},
        {**whole, "targetConfig": None},
        {**whole, "targetConfig": {}},
        {**whole, "deploymentID": ""},
        {**whole, "deploymentID": "../../etc"},
        {**whole, "targetConfig": {**target, "name": None}},
        {**whole, "targetConfig": {**target, "image": {**image, "repository": 1}}},
        {**whole, "targetConfig": {**target, "domains": [None]}},
        {**whole, "targetConfig": {**target, "replicas": -1}},
    )
    for odd in oddities:
        time.sleep(PAUSE_S)
        status, text = haloyd.daemon.api("POST", "/v1/deploy", odd)
        assert (status, text.count("\n")) == (400, 1), (odd, text)
    for path in ("/v1/rollback", "/v1/exec/shop", "/v1/registries/login"):
        status, text = haloyd.daemon.api("POST", path, {})
        assert 400 <= status < 500, (path, text)
    assert haloyd.deploy(identifier(0), "app:one")["isDeploymentSuccess"]
    assert haloyd.get(SHOP) == (200, "one")


def test_a_hundred_megabytes_of_json(haloyd: Server) -> None:
    """E9: refused before it is in memory."""
    pid = haloyd.daemon.pid
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before = memory_mib(pid)
    with socket.create_connection(("127.0.0.1", haloyd.daemon.api_port), 30) as one:
        one.sendall(
            f"POST /v1/deploy HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\n"
            f"Content-Length: {BODY_BYTES}\r\n\r\n".encode()
        )
        # It may stop to listen at any moment.
        with contextlib.suppress(OSError):
            one.sendall(b'{"deploymentID": "')
            for _ in range(BODY_BYTES // 1_000_000):
                one.sendall(b"x" * 1_000_000)
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(100).startswith(b"HTTP/1.1 413 ")
    assert memory_mib(pid) - before < MEMORY_MIB
    assert haloyd.daemon.ready()


def test_output_without_end(haloyd: Server) -> None:
    """E9: a command that writes 100 MB costs no memory; its output is cut."""
    haloyd.deploy(identifier(0), "app:one")
    pid = haloyd.daemon.pid
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before = memory_mib(pid)
    command = ["sh", "-c", f"yes | head -c {OUTPUT_BYTES}"]
    api = http.client.HTTPConnection("127.0.0.1", haloyd.daemon.api_port, timeout=90)
    with contextlib.closing(api):
        sent = json.dumps({"command": command})
        api.request("POST", "/v1/exec/shop", sent, {"Authorization": f"Bearer {TOKEN}"})
        answer = api.getresponse()
        text = answer.read()
    assert answer.status == 200
    assert b"was cut" in text[-1000:]
    assert len(text) < OUTPUT_BYTES
    assert memory_mib(pid) - before < MEMORY_MIB
    assert haloyd.get(SHOP) == (200, "one")


def test_readers_of_the_servers_log(haloyd: Server) -> None:
    """E8: many of them while deployments are logged, some of which do not read."""
    readers: list[socket.socket] = []
    with contextlib.ExitStack() as kept:
        for _ in range(READERS):
            time.sleep(PAUSE_S)
            one = socket.create_connection(("127.0.0.1", haloyd.daemon.api_port), 30)
            readers.append(kept.enter_context(one))
            one.sendall(
                f"GET /v1/server-logs HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
            )
            assert one.recv(12) == b"HTTP/1.1 200"
        for number in range(4):
            tag = ("one", "two")[number % 2]
            end = haloyd.deploy(identifier(number), f"app:{tag}")
            assert end["isDeploymentSuccess"], end
        told, until_s = b"", time.monotonic() + 10
        while told.count(b"is healthy") < 4:
            assert time.monotonic() < until_s, told
            told += readers[0].recv(65536)
    assert haloyd.daemon.ready()
    assert haloyd.get(SHOP) == (200, "two")


# --- apps -------------------------------------------------------------------------


def test_deployed_during_a_round_of_checks(haloyd: Server) -> None:
    """D11: what a round began with says nothing about who came during it.

    An app that hangs keeps every round going for a second; deployments come in the
    middle of several.
    """
    haloyd.deploy(identifier(0), "app:one", name="hung")
    haloyd.deploy(identifier(1), "app:one")
    haloyd.docker.docker("exec", f"hung-{identifier(0)}", "kill", "-STOP", "-1")
    with load(haloyd, SHOP) as clients:
        for number in range(2, 8):
            tag = ("one", "two")[number % 2]
            end = haloyd.deploy(identifier(number), f"app:{tag}")
            assert end["isDeploymentSuccess"], end
            # Until the rounds that knew the one before are over.
            until_s = time.monotonic() + 1.5
            while time.monotonic() < until_s:
                assert haloyd.get(SHOP) == (200, tag)
    assert clients.failures == []


def test_tunnels_that_the_app_ends(haloyd: Server, tmp_path: Path) -> None:
    """E10: clients are told at once, and when they go nothing stays open in haloyd."""
    build_busy(haloyd.docker, tmp_path)
    haloyd.deploy(identifier(0), "busy:one", volumes=mounts())
    haloyd.until_serves(SHOP, "one")
    pid = haloyd.daemon.pid
    before = descriptors(pid)
    tunnels = [WebSocket(haloyd, SHOP) for _ in range(TUNNELS)]
    assert descriptors(pid) >= before + 2 * TUNNELS - 10
    haloyd.docker.docker("restart", "-t", "0", f"shop-{identifier(0)}")
    for one in tunnels:
        one.until_ended()
        one.close()
    wait_until(
        lambda: descriptors(pid) <= before + 10,
        lambda: f"{before} before, {descriptors(pid)} now",
    )
    haloyd.until_serves(SHOP, "one")


# --- names and files --------------------------------------------------------------


def served_names(haloyd: Server, name: str) -> set[str]:
    """Return the names in the certificate that is served for C{name}."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    port = haloyd.daemon.https_port
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        found = secure.getpeercert(binary_form=True)
    assert found is not None
    made = x509.load_der_x509_certificate(found)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(names.value.get_values_for_type(x509.DNSName))


def test_a_domain_in_upper_case(tmp_path: Path, docker: PrivateDocker) -> None:
    """D17: its certificate is found and served, however either is written."""
    write_certificate(tmp_path / "data" / "certs", "App.Example.Com")
    try:
        with server(tmp_path, docker) as haloyd:
            end = haloyd.deploy(
                identifier(0), "app:one", domains=[{"domain": "APP.example.Com"}]
            )
            assert end["isDeploymentSuccess"], end
            for name in ("app.example.com", "App.Example.COM"):
                assert haloyd.get(name) == (200, "one")
                assert served_names(haloyd, name) == {"App.Example.Com"}
    finally:
        docker.clear(("app:one", "app:two"))


def test_a_mistake_in_the_configuration(tmp_path: Path, docker: PrivateDocker) -> None:
    """D23: haloyd does not start, and names the key and its line."""
    for key, value in (("api_domain", "api.example.com"), ("helth_monitor", {})):
        with (
            pytest.raises(AssertionError, match=rf"haloyd\.yaml:\d+.*{key}"),
            running_daemon(tmp_path / key, docker.environment, **{key: value}),
        ):
            pass


@pytest.mark.acme
@pytest.mark.slow
def test_a_name_that_fails(tmp_path: Path, docker: PrivateDocker) -> None:
    """D16: nothing that happens beside it makes haloyd ask the authority again."""
    with running_pebble(tmp_path / "pebble") as pebble:
        pebble.challenge("add-a", {"host": f"{SHOP}.", "addresses": ["127.0.0.9"]})
        log = tmp_path / "pebble" / "pebble.log"
        acme = {"directory": pebble.directory_url, "ca_file": pebble.ca_file}
        settings = {"acme": acme, "dns": {"resolvers": [pebble.dns]}}
        try:
            with running_daemon(tmp_path, docker.environment, **settings) as daemon:
                haloyd = Server(daemon, docker)
                haloyd.deploy(identifier(0), "app:one")
                wait_until(lambda: orders(log) >= 1 and failed(haloyd), daemon.log_text)
                asked = orders(log)
                for number in range(1, 4):
                    assert haloyd.deploy(identifier(number), "app:one")[
                        "isDeploymentSuccess"
                    ]
                haloyd.docker.docker("restart", "-t", "0", f"shop-{identifier(3)}")
                daemon.stop()
                daemon.start()
                time.sleep(3)
                assert orders(log) == asked
        finally:
            docker.clear(("app:one", "app:two"))


def orders(log: Path) -> int:
    """Return how many orders a pebble has taken."""
    return log.read_text().count("POST /order-plz")


def failed(haloyd: Server) -> bool:
    status, text = haloyd.daemon.api("GET", "/v1/certificates")
    assert status == 200, text
    return any(one.get("state") == "failed" for one in _entries(text))


def _entries(text: str) -> Iterator[dict[str, str]]:
    found = json.loads(text)
    yield from found["certificates"] if isinstance(found, dict) else found


# --- hanging ----------------------------------------------------------------------


def test_a_replica_that_hangs(tmp_path: Path, docker: PrivateDocker) -> None:
    """It runs and answers nothing: another one takes its place, the rest stays."""
    health = {"interval": "1s", "timeout": "1s", "fall": 2, "rise": 1}
    health_monitor = health | {"replace_after": "2s"}
    hung, well = (f"shop-{identifier(0)}-r{number}" for number in (1, 2))
    try:
        with server(tmp_path, docker, health_monitor=health_monitor) as haloyd:
            haloyd.deploy(identifier(0), "app:one", replicas=2)
            before = {one: container_id(docker, one) for one in (hung, well)}
            docker.docker("exec", hung, "kill", "-STOP", "-1")
            wait_until(
                lambda: verdicts(haloyd)[hung] == "unhealthy", haloyd.daemon.log_text
            )
            time.sleep(2.5)
            # A hint to look now, and not within half a minute.
            docker.docker("update", "--restart", "unless-stopped", well)
            wait_until(
                lambda: container_id(docker, hung) not in ("", before[hung]),
                haloyd.daemon.log_text,
                60,
            )
            wait_until(
                lambda: verdicts(haloyd) == {hung: "healthy", well: "healthy"},
                haloyd.daemon.log_text,
            )
            assert container_id(docker, well) == before[well]
            assert {haloyd.get(SHOP) for _ in range(6)} == {(200, "one")}
            haloyd.until_containers("shop", [hung, well])
    finally:
        docker.clear(("app:one", "app:two"))


def container_id(docker: PrivateDocker, name: str) -> str:
    """Return the id of a container, C{""} while there is none of that name."""
    named = ("--no-trunc", "--filter", f"name=^/{name}$")
    return docker.docker("ps", "-aq", *named)


def verdicts(haloyd: Server) -> dict[str, str]:
    """Return what is thought of each replica of the app C{shop}."""
    time.sleep(PAUSE_S)
    status, text = haloyd.daemon.api("GET", "/v1/status/shop")
    assert status == 200, text
    return {
        one["name"]: one.get("health", {}).get("verdict", "")
        for one in json.loads(text)["replicas"]
    }
