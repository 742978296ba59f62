"""Ctrl+C is quiet from the first import to the last: no time is awaited for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from haloy.cli import entry
from haloy.cli.exits import INTERRUPTED

#: The command, which interrupts itself at an import, told by Python's audit events.
PROGRAM = """
import os, signal, sys
from haloy.cli.entry import main
left = {count}
def heard(event, values):
    global left
    if event == "import":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGINT)
sys.argv = ["haloy", *{arguments}]
sys.addaudithook(heard)
main()
"""
AT_THE_END = """
import atexit, os, signal, sys
from haloy.cli.entry import main
atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.argv = ["haloy", "version", "--quiet"]
main()
"""

#: What `haloy deploy` needs, without what it only might need.
IMPORTS = """
import sys
import haloy.cli.main, haloy.cli.deploy, haloy.api.agent, haloy.api.client
unneeded = {"treq", "hyperlink", "rich", "docker", "requests", "haloy.api.terminal"}
print(*sorted(unneeded & sys.modules.keys()))
"""
COLLECTIONS = """
import gc, os, sys
os.environ["HALOY_API_TOKEN"] = "a" * 64
began = []
gc.callbacks.append(lambda phase, _: began.append(phase))
from haloy.cli.entry import main
sys.argv = ["haloy", "tokens", "list", "--server", "127.0.0.1:1"]
before = len(began)
try:
    main()
except SystemExit as ended:
    print(ended.code, len(began) - before, gc.get_freeze_count() > 0)
"""


def run(program: str, folder: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "HALOY_CONFIG_DIR": str(folder / "client")},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("count", [1, 2, 8, 30, 100, 250])
def test_ctrl_c_at_an_import(count: int, tmp_path: Path) -> None:
    """The first, one within click, one within the command's module, Twisted's."""
    arguments = ["tokens", "list", "--server", "127.0.0.1:1"]
    program = PROGRAM.format(count=count, arguments=arguments)
    assert run(program, tmp_path) == (INTERRUPTED, "", "")


def test_ctrl_c_while_python_ends(tmp_path: Path) -> None:
    """What was printed stays printed."""
    code, out, err = run(AT_THE_END, tmp_path)
    assert (code, err) == (INTERRUPTED, "")
    assert out.strip()


@pytest.mark.parametrize("arguments", [["--help"], ["version", "--json"], ["version"]])
def test_a_full_disk_under_stdout(arguments: list[str]) -> None:
    """A sentence and exit code 1: a file that lacks its end is no success."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "haloy.cli.main", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("✖ this machine refuses it: ")
    assert done.stderr.count("\n") == 1


def test_a_command_puts_away_what_it_holds() -> None:
    """Once it runs, Ctrl+C is an exception again; who ignores it goes on doing so."""
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        entry.leave_at_once()
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        entry.leave_orderly()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        entry.leave_at_once()
        entry.leave_orderly()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert entry.INTERRUPTED == INTERRUPTED


def test_the_installed_command_begins_there() -> None:
    """Not at the command itself."""
    (script,) = entry_points(group="console_scripts", name="haloy")
    assert script.load() is entry.main


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_a_stream_that_is_closed(closed: str, tmp_path: Path) -> None:
    """C{haloy … >&-}: what would be printed is lost, and that is no failure of ours."""
    haloy = Path(sys.executable).with_name("haloy")
    done = subprocess.run(
        ["bash", "-c", f"exec {haloy} server list {closed}>&-"],
        env={**os.environ, "HALOY_CONFIG_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) is (closed != "1")


def test_a_deployment_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    """Each of these takes tens of milliseconds, of a second and a half for all."""
    assert run(IMPORTS, tmp_path) == (0, "\n", "")


def test_no_garbage_is_looked_for_while_a_command_starts(tmp_path: Path) -> None:
    """A sixth of its time, and as much at its end."""
    code, out, err = run(COLLECTIONS, tmp_path)
    assert code == 0, err
    assert out.splitlines()[-1] == "5 0 True"
