"""The Python prompt inside the daemon, by its socket and by a real ssh."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from haloy.config.operations import ManholeSettings
from haloy.daemon.manhole import ManholeService


@pytest.fixture
def reactor() -> Any:
    from twisted.internet import reactor  # noqa: PLC0415, TID251  (once installed)

    return reactor


def service(reactor: Any, folder: Path, **settings: Any) -> ManholeService:
    return ManholeService(
        reactor,
        ManholeSettings(**settings),
        folder / "manhole.sock",
        folder / "host_key",
        {"engine": "the engine"},
    )


async def test_off_is_off(reactor: Any, tmp_path: Path) -> None:
    """By default there is no socket, no key, no port."""
    one = service(reactor, tmp_path)
    await one.start()
    assert await deferToThread(lambda: list(tmp_path.iterdir())) == []
    await one.stop()


async def test_the_socket_is_its_owners(reactor: Any, tmp_path: Path) -> None:
    """A file that a crash left is no hindrance, and none is left afterwards."""
    path = tmp_path / "manhole.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    one = service(reactor, tmp_path, mode="unix")
    await one.start()
    assert path.is_socket()
    assert path.stat().st_mode & 0o777 == 0o600
    await one.stop()
    assert not path.exists()


@pytest.mark.filterwarnings("ignore:'(spwd|crypt)' is deprecated")
async def test_ssh_with_a_key_of_the_file(reactor: Any, tmp_path: Path) -> None:
    """And with no other key; the server's own key stays the same."""
    if shutil.which("ssh") is None:
        pytest.skip("there is no ssh here")
    for name in ("mine", "other"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name)
    keys = tmp_path / "authorized_keys"
    keys.write_text("# who may\n" + (tmp_path / "mine.pub").read_text())
    one = service(
        reactor,
        tmp_path,
        mode="ssh",
        listen="127.0.0.1:0",
        authorized_keys=str(keys),
    )
    await one.start()
    try:
        allowed = await deferToThread(_ssh, one.port, tmp_path / "mine")
        refused = await deferToThread(_ssh, one.port, tmp_path / "other")
    finally:
        await one.stop()
    assert "the engine!" in allowed.stdout, allowed.stderr
    assert "Permission denied" in refused.stderr
    kept = (tmp_path / "host_key").read_bytes()
    assert (tmp_path / "host_key").stat().st_mode & 0o777 == 0o600
    again = service(
        reactor, tmp_path, mode="ssh", listen="127.0.0.1:0", authorized_keys=str(keys)
    )
    await again.start()
    await again.stop()
    assert (tmp_path / "host_key").read_bytes() == kept


async def test_what_cannot_be_opened_holds_up_nobody(
    reactor: Any, tmp_path: Path, logged_failures: list[Failure]
) -> None:
    """Requests are served all the same; the log says why."""
    one = service(reactor, tmp_path / "none", mode="unix")
    await one.start()
    assert len(logged_failures) == 1
    logged_failures.clear()
    await one.stop()


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, timeout=30)


def _ssh(port: int, key: Path) -> subprocess.CompletedProcess[str]:
    options = {
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "ConnectTimeout": "20",
    }
    flags = [
        part for name, value in options.items() for part in ("-o", f"{name}={value}")
    ]
    return subprocess.run(
        [
            "ssh",
            "-F",
            "none",
            "-tt",
            "-p",
            str(port),
            "-i",
            str(key),
            *flags,
            "x@127.0.0.1",
        ],
        input="print(engine + '!')\n\x04",
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )
