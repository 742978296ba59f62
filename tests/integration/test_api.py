"""The API on a real Docker: what is read, run, sent, cut, and refused."""

from __future__ import annotations

import hashlib
import io
import json
import re
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from haloy.api.terminal import COMMAND_LIMIT_BYTES
from tests.integration.site import Server, identifier, server
from tests.integration.talk import API, HEAD, ask, plain, read_all, read_head
from tests.support.dockerd import PrivateDocker
from tests.support.waiting import wait_until

pytestmark = pytest.mark.docker

LOG_BYTES = 200_000_000
MEMORY_KIB = 30 * 1024


@pytest.fixture
def site(tmp_path: Path, docker: PrivateDocker) -> Iterator[Server]:
    """Give a server whose API has a domain."""
    try:
        with server(tmp_path, docker, api={"domain": API}) as made:
            yield made
    finally:
        docker.clear(("app:one", "app:two"))


def memory_kib(pid: int, key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


def runs(site: Server, container: str, words: str) -> bool:
    """Return whether a command with C{words} runs in a container."""
    return words in site.docker.docker("top", container)


# --- logs -------------------------------------------------------------------------


@pytest.mark.slow
def test_much_output_of_a_terminal(site: Server) -> None:
    """A21: 200 MB of a container with a TTY cost no memory; every byte comes."""
    script = (
        'head -c 16000 /dev/zero | tr "\\\\000" x > /line; echo >> /line; n=0; '
        # What is waited for must not stand in the command of the shell itself.
        "while [ $n -lt 12500 ]; do cat /line; n=$((n+1)); done; sleep $((n-11900))"
    )
    labels = [
        f"--label=dev.haloy.{one}"
        for one in ("appName=loud", "deployment-id=manual-001")
    ]
    site.docker.docker(
        "run", "-dt", "--name", "loud", "--network", "none", *labels,
        "app:one", "sh", "-c", script,
    )  # fmt: skip
    wait_until(lambda: runs(site, "loud", "sleep 600"), site.daemon.log_text, 120)
    pid = site.daemon.pid
    before = memory_kib(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    with plain(site) as connection:
        path = "/v1/logs/loud?tail=100000&follow=false"
        connection.sendall(f"GET {path} HTTP/1.1\r\n{HEAD}\r\n".encode())
        head, rest = read_head(connection)
        assert " 200 " in head
        count = rest.count(b"x")
        while not rest.endswith(b"\r\n0\r\n\r\n"):
            piece = connection.recv(1 << 20)
            assert piece
            count += piece.count(b"x")
            rest = rest[-16:] + piece
    assert count >= LOG_BYTES
    assert memory_kib(pid, "VmHWM") - before < MEMORY_KIB


# --- exec -------------------------------------------------------------------------


def test_command_whose_client_leaves(site: Server) -> None:
    """A9: it is killed, with what it has started; so is one that writes for ever."""
    site.deploy(identifier(0), "app:one")
    container = f"shop-{identifier(0)}"
    for command, words in (
        (["sh", "-c", "sleep 456 & sleep 456"], "sleep 456"),
        (["sh", "-c", "while true; do echo 789; done"], "echo 789"),
    ):
        body = json.dumps({"command": command})
        with plain(site) as connection:
            connection.sendall(
                f"POST /v1/exec/shop HTTP/1.1\r\n{HEAD}"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            read_head(connection)
            wait_until(lambda w=words: runs(site, container, w), site.daemon.log_text)  # type: ignore[misc]  # a default argument
        wait_until(
            lambda w=words: not runs(site, container, w),  # type: ignore[misc]  # the same
            site.daemon.log_text,
        )


def test_longest_command(site: Server) -> None:
    """Docker takes what is let through; a much longer one hangs it and the status."""
    site.deploy(identifier(0), "app:one")
    words = ["true", "x" * (COMMAND_LIMIT_BYTES - 6)]
    status, text = site.daemon.api("POST", "/v1/exec/shop", {"command": words})
    assert (status, json.loads(text)["results"][0]["exitCode"]) == (200, 0)
    words[1] += "x"
    assert site.daemon.api("POST", "/v1/exec/shop", {"command": words})[0] == 400
    assert site.daemon.api("GET", "/v1/status/shop")[0] == 200


# --- tunnels ----------------------------------------------------------------------


def test_tunnel_half_closed(site: Server) -> None:
    """The end of what a client sends reaches the app; its answer comes back whole."""
    site.deploy(identifier(0), "app:one")
    with plain(site) as connection:
        connection.sendall(
            f"POST /v1/tunnel/shop HTTP/1.1\r\n{HEAD}"
            "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
        )
        head, rest = read_head(connection)
        assert head.startswith("HTTP/1.1 101 ")
        connection.sendall(b"GET /version HTTP/1.0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection, rest).endswith(b"one\n")


# --- uploads ----------------------------------------------------------------------


def form(archive: bytes) -> tuple[bytes, str]:
    head = (
        b'--cut\r\nContent-Disposition: form-data; name="image"; '
        b'filename="image.tar"\r\nContent-Type: application/octet-stream\r\n\r\n'
    )
    return head + archive + b"\r\n--cut--\r\n", "multipart/form-data; boundary=cut"


def saved(site: Server, folder: Path, ref: str) -> Path:
    path = folder / "saved.tar"
    site.docker.docker("save", "-o", str(path), ref)
    return path


def new_layout(old: Path, ref: str) -> bytes:
    """Return the same image as newer Dockers save it: everything below C{blobs/}."""
    made = io.BytesIO()
    with tarfile.open(old) as source, tarfile.open(fileobj=made, mode="w") as target:
        member = source.extractfile("manifest.json")
        assert member is not None
        (entry,) = json.load(member)

        def put(name: str, data: bytes) -> None:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            target.addfile(header, io.BytesIO(data))

        def blob(name: str) -> str:
            part = source.extractfile(name)
            assert part is not None
            data = part.read()
            path = f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
            put(path, data)
            return path

        manifest = {
            "Config": blob(entry["Config"]),
            "RepoTags": [ref],
            "Layers": [blob(one) for one in entry["Layers"]],
        }
        put("manifest.json", json.dumps([manifest]).encode())
    return made.getvalue()


def test_both_layouts_of_an_archive(site: Server, tmp_path: Path) -> None:
    """What old and what new Dockers save arrives through the proxy, and runs."""
    site.docker.docker("tag", "app:one", "sent:old")
    old = saved(site, tmp_path, "sent:old")
    for number, (ref, archive) in enumerate(
        (("sent:old", old.read_bytes()), ("sent:new", new_layout(old, "sent:new")))
    ):
        site.docker.docker("rmi", "sent:old") if ref == "sent:old" else None
        body, kind = form(archive)
        status, text = ask(site, "POST", "/v1/images/upload", body, Content_Type=kind)
        assert (status, ref.encode() in text) == (202, True), text
        end = site.deploy(identifier(number), ref)
        assert end["isDeploymentSuccess"], end
    assert list((site.daemon.data / "tmp").iterdir()) == []


def test_killed_in_an_upload(site: Server) -> None:
    """E12: kill -9 in mid-body, and nothing is left after the next start."""
    data = site.daemon.data
    digest = "sha256:" + "0" * 64
    with plain(site) as layer, plain(site) as archive:
        layer.sendall(
            f"POST /v1/images/layers HTTP/1.1\r\n{HEAD}X-Layer-Digest: {digest}\r\n"
            "Content-Type: application/octet-stream\r\n"
            "Content-Length: 5000000\r\n\r\n".encode()
            + b"x" * 1_000_000
        )
        archive.sendall(
            f"POST /v1/images/upload HTTP/1.1\r\n{HEAD}"
            "Content-Type: multipart/form-data; boundary=cut\r\n"
            "Transfer-Encoding: chunked\r\n\r\nf4240\r\n".encode()
            + b"x" * 1_000_000
        )
        wait_until(
            lambda: len(list((data / "tmp").glob("haloy-upload-*"))) == 2,
            site.daemon.log_text,
        )
        site.daemon.kill()
    site.daemon.start()
    wait_until(lambda: not list((data / "tmp").iterdir()), site.daemon.log_text)
    assert (
        not list((data / "layers").glob("*/*")) if (data / "layers").exists() else True
    )


# --- Docker is away ---------------------------------------------------------------


def test_docker_is_away(site: Server) -> None:
    """503 with the reason where it is needed; the rest of the API answers."""
    site.deploy(identifier(0), "app:one")
    site.docker.kill()
    try:
        for method, path, body in (
            ("GET", "/v1/status/shop", None),
            ("GET", "/v1/apps", None),
            ("GET", "/v1/logs/shop", None),
            ("POST", "/v1/exec/shop", {"command": ["true"]}),
            ("POST", "/v1/stop/shop", None),
        ):
            status, text = site.daemon.api(method, path, body)
            assert (status, "Docker" in text) == (503, True), (path, text)
        assert site.daemon.api("GET", "/health")[0] == 200
        status, text = site.daemon.api("GET", "/health/ready")
        assert (status, json.loads(text)["ready"]) == (503, False)
        assert json.loads(text)["docker"] != "ok"
        assert json.loads(text)["database"] == "ok"
        assert site.daemon.api("GET", "/v1/deployments")[0] == 200
    finally:
        site.docker.start()
    wait_until(site.daemon.ready, site.daemon.log_text, 60)
