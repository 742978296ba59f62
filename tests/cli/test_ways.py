"""Ways to a server: one's own certificate authority, and a proxy that takes CONNECT."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define, field

from tests.integration.site import write_certificate
from tests.support.replay import go_daemon

#: Known to nobody but the proxy.
NAME = "go.example.test"
#: This machine, and yet spoken to by TLS.
NEAR = "127.0.0.2"
TOKEN = "t" * 64


@define(eq=False)
class Proxy:
    """Leads every CONNECT to one port of this machine, and keeps what was asked."""

    heads: list[str] = field(factory=list)
    port: int = 0


@contextmanager
def connect_proxy(to: int) -> Iterator[Proxy]:
    """Give a proxy as companies have them (RFC 9110 section 9.3.6)."""
    proxy = Proxy()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = self.rfile.readline()
                if not line:
                    return
                head += line
            proxy.heads.append(head.decode())
            with socket.create_connection((NEAR, to)) as there:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=copy, args=(there, self.connection))
                back.start()
                copy(self.connection, there)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        proxy.port = int(server.server_address[1])
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            serving.join()


def copy(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@define(eq=False)
class Way:
    """A command in a folder, a daemon behind TLS, a proxy before it."""

    folder: Path
    port: int
    proxy: Proxy

    @property
    def ca_file(self) -> str:
        return str(self.folder / "certs" / f"{NAME}.pem")

    def __call__(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        known = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and name != "SSL_CERT_FILE"
        }
        done = subprocess.run(
            [sys.executable, "-m", "haloy.cli.main", *arguments],
            cwd=self.folder,
            env={**known, "HALOY_CONFIG_DIR": str(self.folder / "client"), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def way(tmp_path: Path) -> Iterator[Way]:
    write_certificate(tmp_path / "certs", NAME, NEAR)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "certs" / f"{NAME}.pem")
    with go_daemon(context, NEAR) as daemon, connect_proxy(daemon.port) as proxy:
        yield Way(tmp_path, daemon.port, proxy)


def test_by_a_proxy_and_an_authority_of_ones_own(way: Way) -> None:
    """HTTPS_PROXY with SSL_CERT_FILE or --ca-file; the name is known to none here."""
    by = {"HTTPS_PROXY": f"http://me:pass@127.0.0.1:{way.proxy.port}"}
    assert way("server", "add", NAME, TOKEN)[0] == 0
    code, _, err = way("server", "version", "--server", NAME, **by)
    assert (code, "certificate" in err) == (5, True), err
    trust = {**by, "SSL_CERT_FILE": way.ca_file}
    code, out, err = way("server", "version", "--server", NAME, **trust)
    assert (code, "haloyd dev" in out) == (0, True), err
    assert way.proxy.heads[-1].startswith(f"CONNECT {NAME}:443 HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic bWU6cGFzcw==" in way.proxy.heads[-1]
    added = way("server", "add", NAME, TOKEN, "--force", "--ca-file", way.ca_file)
    assert added[0] == 0, added
    where = ("--server", NAME, "--app", "hello")
    code, out, err = way("status", *where, **by)
    assert (code, "running" in out) == (0, True), err
    assert way("exec", *where, "--", "echo", "hi", **by)[:2] == (0, "hi\n")
    code, _, err = way("status", *where, **by, NO_PROXY=NAME)
    assert code == 5, "not by the proxy, and no name"


def test_what_doctor_says_of_it(way: Way) -> None:
    """Behind a proxy only that and haloyd count; a wrong one has its next step."""
    way("server", "add", NAME, TOKEN, "--ca-file", way.ca_file)
    by = {"HTTPS_PROXY": f"http://127.0.0.1:{way.proxy.port}"}
    code, out, err = way("doctor", "--server", NAME, "--json", **by)
    told = {one["check"]: one["state"] for one in json.loads(out)["checks"]}
    assert (told["proxy"], told["haloyd"], told["token"]) == ("ok", "ok", "ok"), err
    assert "DNS" not in told
    assert code == 0
    code, out, _ = way("doctor", "--server", NAME, HTTPS_PROXY="http://127.0.0.1:1")
    assert (code, "NO_PROXY" in out) == (1, True)


def test_doctor_looks_at_certificates(way: Way) -> None:
    """One that nobody vouches for says how to trust it; a trusted one its end."""
    server = f"{NEAR}:{way.port}"
    way("server", "add", server, TOKEN)

    def look() -> dict[str, tuple[str, str, str]]:
        _, out, _ = way("doctor", "--server", server, "--json")
        return {
            one["check"]: (one["state"], one["text"], one["next"] or "")
            for one in json.loads(out)["checks"]
        }

    told = look()
    state, text, then = told["certificate"]
    assert (state, "self-signed" in text, "--ca-file" in then) == ("fail", True, True)
    assert told["DNS"][0] == told["port"][0] == "ok"
    way("server", "add", server, TOKEN, "--force", "--ca-file", way.ca_file)
    told = look()
    state, text, _ = told["certificate"]
    assert (state, "valid until" in text) == ("ok", True), text
    assert told["token"][0] == "ok"
