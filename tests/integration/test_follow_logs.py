"""C{haloy logs} as it is watched: through deployments, as long as somebody reads."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.integration.command import LIMIT_S, Command
from tests.integration.site import Server

pytestmark = [pytest.mark.docker, pytest.mark.slow]

#: Beside the app's own output: a line that the log alone has.
SAY = "echo {} > /proc/1/fd/1"


def test_logs_go_on(haloy: Command, haloyd: Server) -> None:
    """With the next deployment's container, with one started again: each line once."""
    haloy.configure()
    haloy("deploy", "--quiet")

    def say(word: str) -> None:
        haloy("exec", "--", "/bin/sh", "-c", SAY.format(word))

    with haloy.start("logs") as following:
        assert following.stdout is not None
        try:
            following.stdout.readline()  # that it streams
            say("first")
            assert following.stdout.readline() == "first\n"
            haloy("deploy", "--quiet")
            say("second")
            assert following.stdout.readline() == "second\n"
            (container,) = haloyd.containers("shop", running=True)
            haloyd.docker.docker("restart", "-t", "1", container)
            say("third")
            assert following.stdout.readline() == "third\n"
            following.send_signal(signal.SIGINT)
            out, err = following.communicate(timeout=LIMIT_S)
        finally:
            following.kill()
    assert (following.returncode, out) == (130, "")
    assert err == "● shop: a container has ended; waiting for the next one\n" * 2


def test_logs_of_all_go_on(haloy: Command, haloyd: Server) -> None:
    """With one that is started again, while the other goes on."""
    haloy.configure(replicas=2)
    haloy("deploy", "--quiet")
    with haloy.start("logs", "--all-containers") as following:
        assert following.stdout is not None
        try:
            following.stdout.readline()  # that it streams
            for word in ("first", "second"):
                say = ("/bin/sh", "-c", SAY.format(word))
                haloy("exec", "--all-containers", "--", *say)
                lines = [following.stdout.readline() for _ in range(2)]
                assert [line.split()[1] for line in lines] == [word] * 2
                container, _ = haloyd.containers("shop", running=True)
                haloyd.docker.docker("restart", "-t", "1", container)
        finally:
            following.kill()


def test_nobody_reads_any_more(haloy: Command) -> None:
    """Both kinds of logs end with their reader, though nothing is written."""
    haloy.configure()
    haloy("deploy", "--quiet")
    program = f"{sys.executable} -m haloy.cli.main"
    for command in ("logs", f"server logs --server {haloy.server}"):
        subprocess.run(
            ["sh", "-c", f"{program} {command} | head -n 1"],
            cwd=haloy.folder,
            env=haloy.environment,
            stdout=subprocess.DEVNULL,
            timeout=LIMIT_S / 3,
            check=True,
        )
