"""Killed in the middle of a stream of tables, under load: the processes as they are."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from haloy.model.app import Address
from tests.proxy.apps import OK
from tests.proxy.support import answering, backend
from tests.support import dying
from tests.support.proxy import RunningProxy, begun_proxy, running_proxy
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

#: As systemd does: the socket is not ours, and outlives us.
SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="x")
os.execv(sys.argv[2], sys.argv[2:])
"""
CLIENTS = 3

_SPLIT = "haloy.proxy.split"
#: While it starts; then while it is told a table; at last in a reload.
MOMENTS = (
    f"{_SPLIT}.supervisor:Supervisor._restore:before",
    f"{_SPLIT}.passing:Passing.hear:before",
    f"{_SPLIT}.worker_pool:spawn_worker:after",
    f"{_SPLIT}.passing:Passing.take:after",
    f"{_SPLIT}.worker_pool:WorkerPool._feed:before",
    "haloy.config.private:os.fsync:after",
    f"{_SPLIT}.worker_pool:WorkerPool._retire:before",
)


@define(eq=False)
class Load:
    """Asks all the time, on a new connection each."""

    port: int
    answers: int = 0
    failures: list[str] = field(factory=list)
    _over: threading.Event = field(factory=threading.Event)

    def run(self) -> None:
        while not self._over.wait(0.01):
            try:
                status = ask(self.port, "app.example.com")[0]
            except (OSError, http.client.HTTPException) as problem:
                self.failures.append(repr(problem))
                continue
            if status != 200:
                self.failures.append(str(status))
            self.answers += 1

    def end(self) -> None:
        self._over.set()


def ask(port: int, host: str) -> tuple[int, str]:
    """Return status and where it leads to."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/", headers={"Host": host, "Connection": "close"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Location", "")
    finally:
        connection.close()


@contextmanager
def load(port: int) -> Iterator[Load]:
    """Ask C{port} until the block ends."""
    made = Load(port)
    threads = [threading.Thread(target=made.run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: made.answers > 0, lambda: str(made.failures))
        yield made
    finally:
        made.end()
        for thread in threads:
            thread.join(60)


@define(eq=False)
class Place:
    """A proxy on a socket that stays, and who swaps its tables."""

    folder: Path
    listening: socket.socket
    app: int

    @property
    def port(self) -> int:
        return int(self.listening.getsockname()[1])

    @property
    def _options(self) -> tuple[str, ...]:
        where = ("--http", f"127.0.0.1:{self.port}", "--https", "")
        return (*where, "--stop-limit", "3")

    @property
    def _how(self) -> Any:
        number = self.listening.fileno()
        prefix = (sys.executable, "-c", SYSTEMD, str(number))
        return {"prefix": prefix, "given": (number,)}

    @contextmanager
    def proxy(self) -> Iterator[RunningProxy]:
        with running_proxy(self.folder, *self._options, **self._how) as made:
            yield made

    def begun(self) -> RunningProxy:
        """Start one, which may not live until it serves."""
        return begun_proxy(self.folder, *self._options, **self._how)

    @contextmanager
    def swapper(self) -> Iterator[Swapper]:
        told = self.folder / "swapper.log"
        control = str(self.folder / "proxy.sock")
        command = [sys.executable, "-m", "tests.support.swapper", control]
        with told.open("wb") as output:
            process = subprocess.Popen([*command, str(self.app)], stdout=output)
        made = Swapper(process, told)
        try:
            made.go_on()
            yield made
        finally:
            made.kill()

    def served(self) -> int:
        """Return the number of the table that is served."""
        status, location = ask(self.port, "which.example.com")
        assert 300 <= status < 400, (status, location)
        return int(location.split("//g")[1].split(".")[0])

    def settled(self) -> int:
        """Return the same once all workers agree: connections go to any of them."""
        seen: set[int] = set()

        def agreed() -> bool:
            seen.clear()
            seen.update(self.served() for _ in range(20))
            return len(seen) == 1

        wait_until(agreed, lambda: str(seen))
        return seen.pop()


@define(eq=False)
class Swapper:
    """See L{tests.support.swapper}."""

    process: subprocess.Popen[bytes]
    told: Path

    @property
    def acknowledged(self) -> int:
        """Return the number of the newest table that was acknowledged."""
        lines = self.told.read_text().rpartition("\n")[0].split()
        return int(lines[-1]) if lines else 0

    def go_on(self) -> None:
        """Wait for some more tables."""
        until = self.acknowledged + 5
        wait_until(
            lambda: self.acknowledged >= until,
            lambda: f"{self.acknowledged} of {until}",
            limit_s=90.0,
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Give a listening socket and an app."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1024) as listening,
        backend(answering(OK)) as app,
    ):
        assert isinstance(app.address, Address)
        yield Place(tmp_path, listening, app.address.port)


def test_a_worker_is_killed(place: Place) -> None:
    """What it held is lost, one request of each client at most, and nothing else."""
    kills = 2
    with place.proxy() as proxy, place.swapper() as swapper:
        with load(place.port) as clients:
            for _ in range(kills):
                proxy.kill_worker()
                swapper.go_on()
        swapper.kill()
        assert place.settled() >= swapper.acknowledged
        assert clients.answers > CLIENTS * kills
        assert len(clients.failures) <= CLIENTS * kills, clients.failures


def test_the_supervisor_is_killed(place: Place) -> None:
    """No request fails: what is open is answered, and the socket is systemd's.

    Who swaps tables goes on by itself.
    """
    with place.proxy() as first, place.swapper() as swapper:
        with load(place.port) as clients:
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
            with place.proxy():
                swapper.go_on()
                swapper.kill()
                assert place.settled() >= swapper.acknowledged
                clients.end()
        assert clients.failures == []


def test_the_supervisor_at_every_moment(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request fails, the next one starts, and nothing is left of those before.

    It dies at its start, with workers that have just begun, within a table, before that
    is acknowledged, with a file half written, with two generations of workers.
    """
    moments = dying.prepare(tmp_path / "dying", MOMENTS, monkeypatch)
    with place.proxy() as proxy, place.swapper() as swapper:
        with load(place.port) as clients:
            proxy.process.kill()
            proxy.process.wait()
            for moment in MOMENTS:
                moments.arm(moment)
                proxy = place.begun()
                if "_retire" in moment:
                    swapper.go_on()
                    proxy.process.send_signal(signal.SIGHUP)
                assert proxy.process.wait(90) == -signal.SIGKILL, moment
                assert not moments.armed, moment
            with place.proxy():
                swapper.go_on()
                swapper.kill()
                assert place.settled() >= swapper.acknowledged
                clients.end()
                left = [path.name for path in (place.folder / "state").iterdir()]
                assert left == ["table.json"]
        assert clients.failures == []
    wait_until(lambda: not watching(tmp_path / "dying"), lambda: "a worker stays")


def watching(folder: Path) -> list[Path]:
    """Return the processes that were to die at a moment, and live."""
    wanted = f"{dying.VARIABLE}={folder}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended
            if wanted in path.read_bytes().split(b"\0"):
                found.append(path)
    return found


def test_haloyd_is_killed(place: Place) -> None:
    """No request fails, and what was acknowledged last stays; the next one goes on.

    A second later the proxy itself may be killed, too: it is served from the disk.
    """
    kept = place.folder / "state" / "table.json"
    with place.proxy() as first, place.swapper() as swapper:
        with load(place.port) as clients:
            swapper.kill()
            assert place.served() >= swapper.acknowledged
            with place.swapper() as following:
                following.kill()
                served = place.settled()
                assert served >= following.acknowledged
            wait_until(
                lambda: f'"generation":{served},' in kept.read_text(), kept.read_text
            )
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
            with place.proxy():
                assert place.settled() == served
                clients.end()
        assert clients.failures == []
