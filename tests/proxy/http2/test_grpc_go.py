"""grpc-go as client and as server: it measures its connections by pings.

Built from the sources that Debian packages (golang-google-grpc-dev), without a network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from haloy.model.app import Address, Protocol, ProxyOptions
from haloy.proxy.routes import Upstream
from tests.proxy.conftest import Starter
from tests.proxy.support import in_thread

OURS = Path(__file__).parent / "go" / "grpctalk"
SOURCES = Path(os.environ.get("HALOY_TEST_GOPATH", "/usr/share/gocode"))


@pytest.fixture(scope="module")
def grpctalk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the program; Go keeps what it compiles, so the next time is quick."""
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None or not (SOURCES / "src/google.golang.org/grpc").is_dir():
        pytest.skip("needs Go and its sources of gRPC (golang-google-grpc-dev)")
    folder = tmp_path_factory.mktemp("go")
    (folder / "src").mkdir()
    shutil.copytree(OURS, folder / "src" / "grpctalk")
    made = folder / "grpctalk"
    subprocess.run(
        [go, "build", "-o", made, "grpctalk"],
        env={
            **os.environ,
            "GO111MODULE": "off",
            "GOTOOLCHAIN": "local",
            "GOPATH": f"{folder}:{SOURCES}",
        },
        check=True,
        timeout=600,
    )
    return made


@contextmanager
def serving(program: Path) -> Iterator[int]:
    """Run a server; give its port."""
    with subprocess.Popen(
        [program, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "count", "size"),
    [
        ("unary", 3000, 0),
        ("talk", 3000, 2),
        ("down", 100_000, 3),
        ("down", 100, 100_000),
        ("up", 100_000, 3),
        ("up", 100, 100_000),
        ("cancel", 300, 2),
        ("deadline", 3, 0),
    ],
)
async def test_calls_of_all_kinds(
    start_http2: Starter, grpctalk: Path, what: str, count: int, size: int
) -> None:
    """Each as long as it likes, on one connection on either side."""
    running = start_http2()
    with serving(grpctalk) as port:
        await running.serve(
            Upstream("replica", Address("127.0.0.1", port)),
            options=ProxyOptions(protocol=Protocol.H2C),
        )
        command = [grpctalk, str(running.https), what, str(count), str(size)]
        done = await in_thread(
            lambda: subprocess.run(
                [str(part) for part in command],
                capture_output=True,
                text=True,
                timeout=55,
            )
        )
        assert done.returncode == 0, done.stderr[:2000]
        (pool,) = running.proxy._switch.pools.values()
        assert len(pool.trunks) == 1
        assert pool.outstanding == 0
