"""What is given up, tried in processes of their own; and who connects."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from haloy.errors import ConfigError
from haloy.proxy.privileges import (
    Peer,
    become,
    give_up_privileges,
    group_id,
    may_control,
    peer_of,
)

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another")


def status_after(code: str) -> dict[str, str]:
    """Return C{/proc/self/status} of a process that has run C{code}."""
    text = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}\nprint(open('/proc/thread-self/status').read())",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_no_new_privileges() -> None:
    """A set-uid program started by us would stay what we are."""
    found = status_after(
        "from haloy.proxy.privileges import give_up_privileges as g; g()"
    )
    assert found["NoNewPrivs"] == "1"
    assert callable(give_up_privileges)


@root
def test_a_user_of_its_own(tmp_path: Path) -> None:
    """No capability in any set, no group but its own, and its folder is its own."""
    (tmp_path / "file").touch()
    found = status_after(
        "from pathlib import Path\n"
        "from haloy.proxy.privileges import become, give_up_privileges\n"
        "import ctypes, os; prctl = ctypes.CDLL(None).prctl\n"
        "os.setgroups([4242])\n"
        f"become('nobody', Path({str(tmp_path)!r}))\n"
        "prctl(4, 1, 0, 0, 0)  # as in a program that began as that user\n"
        "give_up_privileges(); assert prctl(3, 0, 0, 0, 0) == 0"  # no core
    )
    assert found["Uid"].split() == ["65534"] * 4
    assert found["Groups"].strip() == ""
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"):
        assert int(found[name], 16) == 0, name
    assert (tmp_path / "file").stat().st_uid == 65534


def test_a_user_that_is_not_there(tmp_path: Path) -> None:
    """The text names it."""
    with pytest.raises(ConfigError, match="no user nobody-at-all"):
        become("nobody-at-all", tmp_path)


@root
def test_who_is_no_root_becomes_nobody_else(tmp_path: Path) -> None:
    """It is told so, rather than by a traceback."""
    code = (
        "import os; from pathlib import Path\n"
        "from haloy.proxy.privileges import become\n"
        "os.setuid(65534)\n"
        f"become('nobody', Path({str(tmp_path)!r}))\n"
        "try:\n become('root', Path('/'))\n"
        "except Exception as e: assert 'only root' in str(e)\n"
        "else: raise SystemExit(1)"
    )
    status_after(code)


def test_the_kernel_says_who_connects() -> None:
    """Process, user and all groups, not what the peer claims."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = peer_of(ours)
    assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())
    assert peer.groups >= {os.getegid(), *os.getgroups()}


@pytest.mark.parametrize(
    ("peer", "may"),
    [
        (Peer(1, 0, frozenset()), True),
        (Peer(1, 5, frozenset()), True),
        (Peer(1, 6, frozenset({7})), True),
        (Peer(1, 6, frozenset({8})), False),
    ],
)
def test_who_may_control(peer: Peer, may: bool) -> None:
    """Root, the proxy's own user, and members of the group."""
    assert may_control(peer, 5, 7) is may
    assert may_control(Peer(1, 6, frozenset({7})), 5, None) is False


def test_groups_by_name() -> None:
    """One that is not there is none."""
    assert group_id("root") == 0
    assert group_id("no-such-group") is None


def test_the_kernel_says_all_groups_of_who_connects(tmp_path: Path) -> None:
    """Haloyd may control the proxy by a group that is not its first."""
    if os.geteuid() != 0:
        pytest.skip("only root can take groups")
    path = str(tmp_path / "control")
    program = (
        "import os, socket, sys\n"
        "os.setgroups([65534, 65533]); os.setgid(65532)\n"
        "with socket.socket(socket.AF_UNIX) as one:\n"
        "    one.connect(sys.argv[1])\n"
        "    one.recv(1)\n"
    )
    with socket.socket(socket.AF_UNIX) as listening:
        listening.settimeout(30)
        listening.bind(path)
        listening.listen()
        with subprocess.Popen([sys.executable, "-c", program, path]) as other:
            connection, _ = listening.accept()
            with connection:
                groups = peer_of(connection).groups
            other.wait(30)
    assert groups == {65532, 65533, 65534}
