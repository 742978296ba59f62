"""The control socket's file: whose it is, and that it is there."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater

from haloy.errors import ConfigError
from haloy.proxy.control.client import RemoteProxy
from haloy.proxy.control.door import open_control
from haloy.proxy.routes import RouteTable
from tests.proxy.conftest import SplitStarter


def test_the_socket_is_for_its_group(tmp_path: Path) -> None:
    """0660, of the group, whatever the umask; a file of a crash is replaced."""
    path = tmp_path / "proxy.sock"
    open_control(path, None).close()
    listening = open_control(path, os.getegid())
    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert found.st_gid == os.getegid()
    with pytest.raises(ConfigError, match=f"another haloy-proxy listens on {path}"):
        open_control(path, None)
    listening.close()


def test_the_socket_of_a_proxy_that_hangs(tmp_path: Path) -> None:
    """It takes no connection and as many wait as may: nobody takes its place."""
    path = tmp_path / "proxy.sock"
    waiting = []
    with open_control(path, None):
        errors = [0]
        while errors[-1] != errno.EAGAIN:
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            errors.append(waiting[-1].connect_ex(str(path)))
        with pytest.raises(ConfigError, match="another haloy-proxy"):
            open_control(path, None)
    for one in waiting:
        one.close()


def test_nothing_but_a_socket_is_removed(tmp_path: Path) -> None:
    """A path that was mistyped costs nobody a file; it is said what to do."""
    file, link, folder = (tmp_path / name for name in ("file", "link", "folder"))
    file.write_text("precious")
    link.symlink_to(file)
    folder.mkdir()
    for path in (file, link, folder):
        with pytest.raises(
            ConfigError, match=f"{path}: what is there is no socket.*--control"
        ):
            open_control(path, None)
    assert file.read_text() == "precious"
    assert link.is_symlink()


def test_places_where_no_socket_can_be(tmp_path: Path) -> None:
    """The path is named, the reason, and the way out."""
    for path, reason in (
        (tmp_path / ("a" * 108), "too long"),
        (tmp_path / "no" / "folder", "No such file"),
    ):
        with pytest.raises(ConfigError, match=f"{path}: .*{reason}.*--control"):
            open_control(path, None)
    assert not os.listdir(tmp_path)


async def test_a_file_that_was_removed_is_made_again(
    start_split: SplitStarter, reactor: Any
) -> None:
    """For its group, as before; who is connected stays so, who comes next finds it."""
    split = await start_split()
    path = split.plan.control
    await split.proxy.replace_table(RouteTable(1))
    path.unlink()
    while not path.exists():
        await deferLater(reactor, 0.02)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert split.proxy.trouble == ""
    await split.proxy.replace_table(RouteTable(2))
    await split.proxy.stopService()
    following = RemoteProxy(reactor, str(path), {})
    following.startService()
    try:
        await following.replace_table(RouteTable(3))
    finally:
        await following.stopService()
    await split.supervisor.stopService()
    assert not path.exists()
