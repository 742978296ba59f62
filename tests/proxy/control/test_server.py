"""The control socket: who is let in."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater

from haloy.proxy.control.client import RemoteProxy
from haloy.proxy.control.protocol import (
    PROTOCOL,
    Hello,
    Meaning,
    Message,
    Refused,
    Serve,
    pack,
    unpack,
)
from haloy.proxy.routes import RouteTable
from tests.proxy.conftest import SplitStarter
from tests.proxy.support import Peer, in_thread


def dial(path: Path) -> Peer:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(path))
    return Peer(connection)


def say(peer: Peer, message: Message) -> Message:
    frame = pack(Meaning.QUESTION, 1, message)
    peer.send(len(frame).to_bytes(4, "big") + frame)
    size = int.from_bytes(peer.exactly(4), "big")
    return unpack(peer.exactly(size))[2]


async def test_it_stays_for_its_group(start_split: SplitStarter) -> None:
    """Nothing that happens later opens the file to others."""
    split = await start_split()
    await split.proxy.replace_table(RouteTable(1))
    assert stat.S_IMODE(os.stat(split.plan.control).st_mode) == 0o660


async def test_an_old_release_is_refused_clearly(start_split: SplitStarter) -> None:
    """Both sides say which releases do not fit and what to do; nothing changes."""
    split = await start_split()
    await split.proxy.stopService()

    def client() -> Message:
        return say(dial(split.plan.control), Hello(PROTOCOL - 1, "0.0.1"))

    while isinstance(answer := await in_thread(client), Refused):
        if "another haloyd" not in answer.reason:
            break
    assert isinstance(answer, Refused)
    assert "release 0.0.1" in answer.reason
    assert "restart the other side" in answer.reason


async def test_a_second_haloyd_is_refused(
    start_split: SplitStarter, reactor: Any
) -> None:
    """It could take the routes of the first one away; it comes in when that is gone."""
    split = await start_split()
    await split.proxy.replace_table(RouteTable(3))
    second = RemoteProxy(reactor, str(split.plan.control), {})
    second.startService()
    while "another haloyd is connected" not in second.trouble:
        await deferLater(reactor, 0.02)
    assert split.proxy.trouble == ""
    await split.proxy.stopService()
    await second.replace_table(RouteTable(4))
    assert second.trouble == ""
    await second.stopService()


async def test_orders_without_a_greeting(start_split: SplitStarter) -> None:
    """The version is compared before anything is done; odd orders are refused."""
    split = await start_split()

    def client(first: Message) -> Message:
        return say(dial(split.plan.control), first)

    answer = await in_thread(client, Serve())
    assert answer == Refused("the first message must be a greeting")
    await split.proxy.stopService()

    def greeted() -> Message:
        peer = dial(split.plan.control)
        while isinstance(say(peer, Hello(PROTOCOL, "x")), Refused):
            pass
        return say(peer, Serve())

    assert await in_thread(greeted) == Refused("the proxy is not asked for Serve")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another")
async def test_a_stranger_is_turned_away(
    start_split: SplitStarter, tmp_path: Path
) -> None:
    """Even where the file's mode would let it in: the kernel says who it is."""
    split = await start_split()
    loosened(tmp_path, split.plan.control)
    code = (
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(20)\n"
        "os.chdir(sys.argv[1]); os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "s.connect('proxy.sock')\n"
        "raise SystemExit(0 if s.recv(1) == b'' else 1)"
    )
    assert await in_thread(run_python, code, str(tmp_path)) == 0


def loosened(folder: Path, control: Path) -> None:
    folder.chmod(0o755)
    control.chmod(0o666)


def run_python(code: str, argument: str) -> int:

    return subprocess.run(
        [sys.executable, "-c", code, argument], check=False
    ).returncode
