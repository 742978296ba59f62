"""The API as it is reached from far away: its domain, TLS, the proxy in both forms."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from tests.integration.site import Server, identifier, server
from tests.integration.talk import (
    API,
    HEAD,
    Terminal,
    ask,
    read_all,
    read_head,
    secure,
)
from tests.integration.test_api import runs
from tests.support.dockerd import PrivateDocker
from tests.support.ports import free_port
from tests.support.proxy import running_proxy
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow]

MUCH = 10_000_000
LAYER_BYTES = 30_000_000


@pytest.fixture(scope="module", params=["embedded", "split"])
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    docker: PrivateDocker,
) -> Iterator[Server]:
    """Give a server with one app, and a proxy in its process or in one of its own."""
    folder = tmp_path_factory.mktemp("by-domain")
    try:
        if request.param == "embedded":
            with server(folder, docker, api={"domain": API}) as made:
                made.deploy(identifier(0), "app:one")
                yield made
            return
        http, https = (f"127.0.0.1:{free_port()}" for _ in range(2))
        where = ("--http", http, "--https", https, "--stop-limit", "3")
        settings = {"mode": "split", "control": str(folder / "proxy.sock")}
        settings |= {"http": http, "https": https}
        with (
            running_proxy(folder, *where) as _,
            server(folder, docker, proxy=settings, api={"domain": API}) as made,
        ):
            made.deploy(identifier(0), "app:one")
            yield made
    finally:
        docker.clear(("app:one", "app:two"))


# --- commands ---------------------------------------------------------------------


def test_terminal(site: Server) -> None:
    """A terminal of the size that was asked for: input, output, exit code."""
    with secure(site) as connection:
        terminal = Terminal(connection)
        terminal.start("sh", tty=True, columns=99)
        terminal.pump(b"stty size; echo $VERSION; exit 5\n")
    assert terminal.until("exit")["code"] == 5
    assert b"24 99" in terminal.output
    assert b"one" in terminal.output


def test_much_through_a_pipe(site: Server) -> None:
    """10 MB go in and come back while the command dawdles; its code is told."""
    sent = bytes(range(256)) * (MUCH // 256)
    with secure(site) as connection:
        terminal = Terminal(connection)
        terminal.start("sh", "-c", "sleep 1; cat; exit 3")
        terminal.pump(sent)
    assert terminal.until("exit")["code"] == 3
    assert bytes(terminal.output) == sent


def test_reader_that_takes_its_time(site: Server) -> None:
    """What a command wrote comes whole, though it ended long before it is read."""
    with secure(site) as connection:
        terminal = Terminal(connection)
        terminal.start("sh", "-c", f"head -c {MUCH} /dev/zero; exit 4")
        # Ten times as long as another command takes.
        for _ in range(10):
            path, body = "/v1/exec/shop", json.dumps({"command": ["true"]})
            assert ask(site, "POST", path, body.encode())[0] in {200, 429}
        assert terminal.until("exit")["code"] == 4
    assert len(terminal.output) == MUCH


def test_command_whose_client_leaves(site: Server) -> None:
    """A9: it is killed."""
    container = f"shop-{identifier(0)}"
    with secure(site) as connection:
        Terminal(connection).start("sleep", "654")
        wait_until(lambda: runs(site, container, "sleep 654"), site.daemon.log_text)
    wait_until(lambda: not runs(site, container, "sleep 654"), site.daemon.log_text)


# --- tunnels ----------------------------------------------------------------------


def test_tunnel(site: Server) -> None:
    """Bytes both ways; a port on which nobody listens is 502, nobody's address."""
    upgrade = f"{HEAD}Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    with secure(site) as connection:
        connection.sendall(f"POST /v1/tunnel/shop HTTP/1.1\r\n{upgrade}".encode())
        head, rest = read_head(connection)
        assert head.startswith("HTTP/1.1 101 ")
        connection.sendall(b"GET /version HTTP/1.0\r\n\r\n")
        assert read_all(connection, rest).endswith(b"one\n")
    for query, status in (("port=1", 502), ("port=127.0.0.1:22", 400)):
        found, text = ask(site, "POST", f"/v1/tunnel/shop?{query}")
        assert found == status
        assert b"172." not in text


# --- streams and bodies -----------------------------------------------------------


def stream(site: Server, path: str, seen: str = "") -> tuple[str, bytes]:
    """Return head and body of a stream that ends, or its first piece."""
    last = f"Last-Event-ID: {seen}\r\n" if seen else ""
    with secure(site) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\n{HEAD}{last}\r\n".encode())
        head, rest = read_head(connection)
        while b"isDeploymentComplete" not in rest and b'"seq":' not in rest:
            piece = connection.recv(65536)
            assert piece
            rest += piece
        return head, rest


def test_streams_come_at_once_and_are_taken_up(site: Server) -> None:
    """Events pass the proxy unbuffered, and so does C{Last-Event-ID}."""
    path = f"/v1/deploy/{identifier(0)}/logs"
    head, whole = stream(site, path)
    assert "text/event-stream" in head
    numbers = [one[4:] for one in whole.split(b"\n") if one.startswith(b"id: ")]
    _, rest = stream(site, path, numbers[1].decode())
    later = [one[4:] for one in rest.split(b"\n") if one.startswith(b"id: ")]
    assert later == numbers[2:]
    _, events = stream(site, "/v1/events", "0")
    assert b"data: " in events


def test_large_layer(site: Server) -> None:
    """A body of 30 MB without a length arrives whole, and is known by its digest."""
    data = bytes(range(256)) * (LAYER_BYTES // 256)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with secure(site) as connection:
        connection.sendall(
            f"POST /v1/images/layers HTTP/1.1\r\n{HEAD}X-Layer-Digest: {digest}\r\n"
            "Content-Type: application/octet-stream\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        for at in range(0, len(data), 1 << 20):
            piece = data[at : at + (1 << 20)]
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        head, _ = read_head(connection)
    assert head.startswith("HTTP/1.1 201 ")
    asked = json.dumps({"digests": [digest]}).encode()
    status, text = ask(site, "POST", "/v1/images/layers/check", asked)
    assert (status, json.loads(text)["missing"]) == (200, None)


def test_refused_body_is_told(site: Server) -> None:
    """Much more JSON than is taken: the client hears 413, not a broken connection."""
    with secure(site) as connection:
        connection.sendall(
            f"POST /v1/images/prune HTTP/1.1\r\n{HEAD}"
            f"Content-Length: {1 << 30}\r\n\r\n".encode()
        )
        head, _ = read_head(connection)
    assert head.startswith("HTTP/1.1 413 ")
