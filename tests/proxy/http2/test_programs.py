"""Programs of others as clients: nghttp, curl, and a real browser."""

from __future__ import annotations

import base64
import re
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from tests.proxy.conftest import Running, Starter
from tests.proxy.support import OneContext, Peer, backend, in_thread, parse_head
from tests.support.tools import need

IMAGES = 100
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
PAGE = (
    "<!doctype html><title>images</title><link rel=icon href=/i/icon>"
    "<script>addEventListener('load', () => {"
    "const all = performance.getEntriesByType('resource');"
    "const images = [...document.images].filter((one) => one.naturalWidth === 1);"
    "const second = all.filter((one) => one.nextHopProtocol === 'h2');"
    "document.body.dataset.seen = `${images.length} of ${second.length}`;});</script>"
    + "".join(f'<img src="/i/{number}">' for number in range(IMAGES))
).encode()
LARGE = bytes(range(256)) * 40960


def site(peer: Peer) -> None:
    """Serve the page and its images; tell the digest of what is sent here."""
    while head := peer.head():
        fields = parse_head(b"x 1\r\n" + head)[1]
        path = head.split(b" ")[1]
        kind, body = b"text/html", PAGE
        if path.startswith(b"/i/"):
            kind, body = b"image/gif", GIF
        elif path == b"/large":
            kind, body = b"application/octet-stream", LARGE
        elif path == b"/up":
            sent = peer.exactly(int(fields["content-length"]))
            kind, body = b"text/plain", sha256(sent).hexdigest().encode()
        elif path == b"/early":
            peer.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
            return
        peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (kind, len(body), body)
        )


async def run(*command: str | Path, limit_s: float = 50) -> str:
    """Return what C{command} says; it must end well."""
    done = await in_thread(
        lambda: subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=limit_s,
        )
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def start(start_proxy: Starter, folder: Path) -> Running:
    return start_proxy(plain=False, contexts=OneContext(folder, ("h2", "http/1.1")))


@pytest.mark.slow
async def test_nghttp_loads_a_page(start_proxy: Starter, tmp_path: Path) -> None:
    """With its hundred images, on one connection; then a body of 10 MiB up."""
    nghttp = need("nghttp")
    running = start(start_proxy, tmp_path)
    upload = tmp_path / "upload"
    upload.write_bytes(LARGE)
    with backend(site) as app:
        await running.serve(app, domain="localhost")
        url = f"https://localhost:{running.https}"
        said = await run(nghttp, "-nas", f"{url}/")
        answered = re.findall(r"^ *\d+ .* 200 +\S+ /\S*$", said, re.MULTILINE)
        assert len(answered) >= IMAGES + 1, said
        # Tests of HTTP/2 come from one address: what a connection is, the log tells.
        assert {one.protocol for one in running.records} == {"HTTP/2.0"}
        said = await run(nghttp, "-d", upload, f"{url}/up")
        assert sha256(LARGE).hexdigest() in said


@pytest.mark.slow
async def test_curl_moves_large_bodies(start_proxy: Starter, tmp_path: Path) -> None:
    """Both ways, to the last octet; an answer before the upload's end arrives."""
    curl = need("curl")
    running = start(start_proxy, tmp_path)
    upload, download = tmp_path / "upload", tmp_path / "download"
    upload.write_bytes(LARGE)
    with backend(site) as app:
        await running.serve(app, domain="localhost")
        url = f"https://localhost:{running.https}"
        common = (curl, "--http2", "-sSk", "-w", "%{http_version} %{http_code}")
        said = await run(*common, "-o", download, f"{url}/large")
        assert said == "2 200"
        assert download.read_bytes() == LARGE
        said = await run(*common, "-T", upload, f"{url}/up")
        assert said == sha256(LARGE).hexdigest() + "2 200"
        assert await run(*common, "-T", upload, f"{url}/early") == "no2 403"


@pytest.mark.slow
async def test_a_browser_loads_a_page(start_proxy: Starter, tmp_path: Path) -> None:
    """A real Chromium shows a hundred images that came over HTTP/2.

    It runs where Chromium is: C{./test} installs its half gigabyte in CI alone.
    """
    chromium = need("chromium")
    running = start(start_proxy, tmp_path)
    with backend(site) as app:
        await running.serve(app, domain="localhost")
        said = await run(
            *(chromium, "--headless=new", "--no-sandbox", "--disable-gpu"),
            *("--ignore-certificate-errors", "--disable-dev-shm-usage"),
            *("--no-first-run", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--virtual-time-budget=20000", "--dump-dom"),
            f"https://localhost:{running.https}/",
        )
    seen = re.search(r'data-seen="(\d+) of (\d+)"', said)
    assert seen is not None, said[-2000:]
    assert int(seen[1]) == IMAGES
    assert int(seen[2]) >= IMAGES
    asked = {one.target for one in running.records if one.protocol == "HTTP/2.0"}
    assert asked >= {f"/i/{number}" for number in range(IMAGES)}
    assert all(one.status == 200 for one in running.records)
