"""A command's coroutine on the reactor: its result, its error, and Ctrl+C.

A reactor runs once in a process, so each of these has a process of its own.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

START = """\
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from haloy.cli.running import run, together
from haloy.errors import NotFound
"""


def _start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START + program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(program: str) -> tuple[int, str, str]:
    with _start(program) as process:
        try:
            out, err = process.communicate(timeout=50)
        finally:
            process.kill()
    return process.returncode, out, err


def test_the_result_comes_back() -> None:
    """What the coroutine returns is returned, and the command goes on."""
    program = """
async def ask(reactor):
    return await deferLater(reactor, 0.01, lambda: 42)
print(run(ask) + 1)
"""
    assert _run(program) == (0, "43\n", "")


def test_an_error_comes_back() -> None:
    """It is raised where the command can say it, and nobody prints a traceback."""
    program = """
async def ask(reactor):
    await deferLater(reactor, 0.01)
    raise NotFound("no such app")
try:
    run(ask)
except NotFound as problem:
    print(problem)
"""
    assert _run(program) == (0, "no such app\n", "")


def _interrupted(program: str) -> tuple[int, str, str]:
    """Send Ctrl+C when C{program} says "waiting"; return its code and later words."""
    with _start(program) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=50)
        finally:
            process.kill()
    return process.returncode, out, err


def test_ctrl_c_ends_it() -> None:
    """Exit code 130, as shells expect, and no traceback."""
    program = """
async def ask(reactor):
    await deferLater(reactor, 0.01)  # by then the reactor has the signals
    print("waiting", flush=True)
    await Deferred()
run(ask)
print("not reached")
"""
    code, out, err = _interrupted(program)
    assert (code, out) == (130, "")
    assert "Traceback" not in err


def test_ctrl_c_is_no_error_of_the_server() -> None:
    """A connection that breaks off because of it is not told."""
    program = """
async def ask(reactor):
    await deferLater(reactor, 0.01)
    print("waiting", flush=True)
    try:
        await Deferred()
    except Exception:
        raise NotFound("the connection broke off") from None
run(ask)
"""
    code, out, err = _interrupted(program)
    assert (code, out) == (130, "")
    assert "broke off" not in err


@pytest.mark.parametrize(
    "ending", ["raise NotFound('the build failed')", "return 1", "await Deferred()"]
)
def test_ctrl_c_while_something_blocks(ending: str) -> None:
    """A build that ends by it has not failed; one that goes on is no success."""
    program = f"""
import os, signal
async def ask(reactor):
    await deferLater(reactor, 0.01)
    os.kill(os.getpid(), signal.SIGINT)  # as while a child runs
    {ending}
run(ask)
print("not reached")
"""
    assert _run(program) == (130, "", "")


def test_all_run_together() -> None:
    """One that fails ends no other; what is no error of ours ends the command."""
    program = """
async def good(reactor):
    return await deferLater(reactor, 0.02, lambda: 1)
async def bad(reactor):
    raise NotFound("gone")
async def ask(reactor):
    return await together([bad(reactor), good(reactor)])
print([str(one) for one in run(ask)])
"""
    assert _run(program) == (0, "['gone', '1']\n", "")
