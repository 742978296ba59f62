"""C{haloy exec -i} in a pipe: every byte both ways, whoever is slow, and the code."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time

import pytest

from tests.integration.command import LIMIT_S, Command
from tests.integration.site import Server
from tests.support.tty import ENTER, INTERRUPT, Tty

pytestmark = [pytest.mark.docker, pytest.mark.slow]

MUCH = 10 << 20
#: More than all sockets and pipes on the way hold.
ENOUGH = 3 << 20


@pytest.fixture
def deployed(haloy: Command) -> Command:
    """Give the command line of an app that runs."""
    haloy.configure()
    haloy("deploy", "--quiet")
    return haloy


def piped(haloy: Command, *command: str, data: bytes) -> tuple[int, bytes]:
    """Run C{command} in the container with C{data} at its input."""
    done = subprocess.run(
        [sys.executable, "-m", "haloy.cli.main", "exec", "-i", "--", *command],
        cwd=haloy.folder,
        env=haloy.environment,
        input=data,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_input_by_a_pipe(deployed: Command) -> None:
    """Few bytes, none, ten megabytes there and back, streams apart, the exit code."""
    assert piped(deployed, "cat", data=b"hi\n") == (0, b"hi\n")
    assert piped(deployed, "cat", data=b"") == (0, b"")
    sent = secrets.token_bytes(MUCH)
    assert piped(deployed, "cat", data=sent) == (0, sent)
    sent = sent[:ENOUGH]
    count = piped(deployed, "sh", "-c", "sleep 1; wc -c", data=sent)
    assert count == (0, b"%d\n" % ENOUGH)
    failing = piped(deployed, "sh", "-c", "cat >/dev/null; exit 7", data=sent)
    assert failing == (7, b"")
    assert piped(deployed, "sh", "-c", "echo oops >&2", data=b"") == (0, b"oops\n")
    assert piped(deployed, "head", "-c", "4", data=sent) == (0, sent[:4])
    assert piped(deployed, "true", data=sent) == (0, b"")


def test_a_terminal(deployed: Command) -> None:
    """A prompt, keys, Ctrl+C for the command there, another size, the exit code."""
    variables = {**deployed.environment, "NO_COLOR": ""}
    with Tty(deployed.folder, variables, "exec", "-it", "--", "sh") as tty:
        tty.until("#")
        tty.press("stty size; echo re'ady'" + ENTER)
        assert "24 80" in tty.until("ready")
        tty.resize(100, 30)
        tty.press("sleep 0.5; stty size; echo resi'zed'" + ENTER)
        assert "30 100" in tty.until("resized")
        tty.press("echo be'gun'; sleep 1000" + ENTER)
        tty.until("begun")
        tty.press(INTERRUPT)
        tty.press("echo st'ill' here" + ENTER)
        tty.until("still here")
        tty.press("exit 7" + ENTER)
        assert tty.end() == 7


def test_files_and_slow_readers(deployed: Command) -> None:
    """A file is input; who is slow to read gets all; who leaves ends the command."""
    there = f"{sys.executable} -m haloy.cli.main exec -i --"
    file = deployed.folder / "dump"
    file.write_bytes(b"x" * ENOUGH)

    def shell(text: str) -> str:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", text],
            cwd=deployed.folder,
            env=deployed.environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return f"{done.returncode} {done.stdout}".strip()

    assert shell(f"{there} wc -c < dump") == f"0 {ENOUGH}"
    assert shell(f"{there} cat < /dev/null") == "0"
    # Longer than a goodbye waits for its answer, with more than sockets hold.
    assert shell(f"{there} cat < dump | (sleep 7; wc -c)") == f"0 {ENOUGH}"
    before = time.monotonic()
    assert shell(f"{there} sh -c 'yes' < /dev/null | head -n 1") == "1 y"
    assert time.monotonic() - before < 30


def test_a_stopped_haloyd_kills_what_it_runs(deployed: Command, haloyd: Server) -> None:
    """No command goes on that nobody could end; both clients hear why."""
    variables = {**deployed.environment, "NO_COLOR": ""}
    sleep = ("--", "sh", "-c", "printf begun; sleep 4321")
    with (
        Tty(deployed.folder, variables, "exec", "-it", *sleep) as tty,
        deployed.start("exec", *sleep) as waiting,
    ):
        tty.until("begun")
        (container,) = haloyd.containers("shop")
        shown = ("exec", container, "ps")
        deadline = time.monotonic() + LIMIT_S
        while haloyd.docker.docker(*shown).count(" sleep 4321") < 2:
            assert time.monotonic() < deadline, haloyd.docker.docker(*shown)
        haloyd.daemon.stop()
        assert "sleep 4321" not in haloyd.docker.docker(*shown)
        assert tty.end() == 5
        lines = tty.shown().splitlines()
        told = "✖ haloyd is being stopped, so the command was killed"
        assert lines[-2:] == ["begun", told]
        _, err = waiting.communicate(timeout=LIMIT_S)
    assert waiting.returncode == 1
    assert told in err
    haloyd.daemon.start()
