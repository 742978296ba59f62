"""C{twistd haloy-proxy}: its options, its signals, and what it refuses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from twisted.application.service import IServiceMaker
from twisted.internet.task import deferLater
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError

from haloy.proxy.control.client import RemoteProxy
from haloy.proxy.split.supervisor import Supervisor
from haloy.proxy_tap import Options, makeService
from haloy.turns import SHARED_TURN_NS, turn_ns
from tests.proxy.support import answering, backend, connect, get, in_thread, table_of
from tests.support import twistd
from tests.support.ports import free_port
from tests.support.proxy import running_proxy
from tests.support.waiting import wait_until

#: No TLS, and a quick end.
PLAIN = ("--https", "", "--stop-limit", "2")


def _options(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(list(arguments))
    return options


def test_twistd_knows_it() -> None:
    """The plugin names the module that has these options and this service."""
    (found,) = [
        one for one in getPlugins(IServiceMaker) if one.tapname == "haloy-proxy"
    ]
    assert found.options is Options
    assert found.makeService is makeService


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--workers", "0"), "--workers 0"),
        (("--workers", "many"), "--workers many"),
        (("--http", "80"), "not HOST:PORT"),
        (("--http", "", "--https", ""), "nothing to listen on"),
    ],
)
def test_mistakes_are_refused(arguments: tuple[str, ...], reason: str) -> None:
    """Twistd prints the sentence."""
    with pytest.raises(UsageError, match=reason):
        makeService(_options(*arguments))


def test_a_worker_for_each_core() -> None:
    """Unless it is said."""
    assert isinstance(makeService(_options()), Supervisor)
    assert isinstance(makeService(_options("--workers", "3")), Supervisor)


def status(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as found:
            return int(found.status)
    except urllib.error.HTTPError as refused:
        return refused.code


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_a_signal_replaces_the_workers(tmp_path: Path, number: int) -> None:
    """On the same sockets: nobody is refused; in the end all are gone."""
    port = free_port()
    with running_proxy(tmp_path, *PLAIN, "--http", f"127.0.0.1:{port}") as proxy:
        before = proxy.workers()
        parent = int(Path(f"/proc/{before[0]}/stat").read_text().split()[3])
        os.kill(parent, number)
        while len(proxy.workers()) < 4:
            assert status(port) == 404
        wait_until(
            lambda: not any(Path(f"/proc/{pid}").exists() for pid in before),
            proxy.log.read_text,
        )
        assert status(port) == 404
    assert not any(Path(f"/proc/{pid}").exists() for pid in proxy.workers())
    assert not (tmp_path / "proxy.sock").exists()
    assert "Traceback" not in proxy.log.read_text()


def test_workers_go_first(tmp_path: Path) -> None:
    """The supervisor lets them use the CPU, also those that come later."""
    port = free_port()
    with running_proxy(tmp_path, *PLAIN, "--http", f"127.0.0.1:{port}") as proxy:
        if not turn_ns():
            pytest.skip("this kernel has no turns that can be chosen (Linux 6.12)")
        parent = int(Path(f"/proc/{proxy.workers()[0]}/stat").read_text().split()[3])
        assert turn_ns(parent) == SHARED_TURN_NS
        proxy.kill_worker()
        first, _, newest = proxy.workers()
        assert turn_ns(first) == turn_ns(newest) == turn_ns()


SYSTEMD = """
import os, socket, sys
one = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.dup2(one.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="x")
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_sockets_of_systemd_are_used(tmp_path: Path) -> None:
    """As C{haloy-proxy.socket} gives them: descriptor 3, told by the environment."""
    port = free_port()
    prefix = (sys.executable, "-c", SYSTEMD, str(port))
    with running_proxy(tmp_path, *PLAIN, "--http", f":{port}", prefix=prefix) as proxy:
        assert status(port) == 404
        environment = Path(f"/proc/{proxy.workers()[0]}/environ").read_text()
        assert "LISTEN_" not in environment


async def test_descriptors_run_out(tmp_path: Path, reactor: Any) -> None:
    """Idle clients take all that workers may open: tables still come, and are served.

    What is refused is accepting alone; with room again it goes on by itself.
    """
    port = free_port()
    few = ("prlimit", "--nofile=128:128")
    where = ("--http", f"127.0.0.1:{port}")
    remote = RemoteProxy(reactor, str(tmp_path / "proxy.sock"), {}, lambda _: None)
    with (
        running_proxy(tmp_path, *PLAIN, *where, prefix=few) as proxy,
        backend(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as one,
    ):
        remote.startService()
        try:
            idle = [connect(port) for _ in range(200)]
            while "accepting pauses" not in proxy.log.read_text():
                await deferLater(reactor, 0.05)
            await remote.replace_table(table_of(one))
            assert (await remote.traffic()).workers == 2
            for peer in idle:
                peer.close()
            peer = connect(port)
            peer.send(get())
            assert (await in_thread(peer.response))[0] == 200
        finally:
            await remote.stopService()


def test_what_cannot_be_bound_is_one_line(tmp_path: Path) -> None:
    """The command ends with 1, and without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        tried = subprocess.run(
            [
                *twistd.COMMAND,
                *("--nodaemon", "--pidfile=", "--logfile=/dev/null", "haloy-proxy"),
                *("--control", str(tmp_path / "s"), "--http", f"127.0.0.1:{port}"),
                *("--https", "", "--state-dir", str(tmp_path / "state")),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert tried.returncode == 1
    assert tried.stderr.startswith("haloy-proxy: cannot listen on 127.0.0.1:")
    assert tried.stderr.count("\n") == 1


@pytest.fixture
def everyones() -> Iterator[Path]:
    """Give a folder that every user gets to: pytest's is closed by the next pytest."""
    with TemporaryDirectory(prefix="haloyt-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another")
@pytest.mark.usefixtures("unmeasured")  # nobody may not write what it measures
def test_it_keeps_no_privilege(everyones: Path) -> None:
    """Started by root it binds, becomes its user, and can get nothing back.

    Where that user may not even start Python (it is below a home directory), this is
    said and tried again.
    """
    port = free_port()
    where = ("--http", f"127.0.0.1:{port}", "--user", "nobody")
    with running_proxy(everyones, *PLAIN, *where, until="worker") as proxy:
        text = proxy.log.read_text()
        assert "cannot" in text or "Permission denied" in text or " serves" in text
        (pid,) = [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if str(everyones / "proxy.sock").encode() in path.read_bytes()
        ]
        text = Path(f"/proc/{pid}/status").read_text()
        found = dict(
            line.split(":\t", 1) for line in text.splitlines() if ":\t" in line
        )
        assert found["Uid"].split() == ["65534"] * 4
        assert found["Groups"].strip() == ""
        kinds = ("Inh", "Prm", "Eff", "Bnd", "Amb")
        assert {kind: int(found[f"Cap{kind}"], 16) for kind in kinds} == dict.fromkeys(
            kinds, 0
        )
        assert found["NoNewPrivs"] == "1"
    assert (everyones / "state").stat().st_uid == 65534
