"""Whose files the commands write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from haloy.daemon.command.owner import become_owner, owner_of
from haloy.daemon.paths import Directories


def test_who_owns_a_folder(tmp_path: Path) -> None:
    """A number without an account is nobody to become."""
    assert owner_of(tmp_path) == os.getuid()
    assert owner_of(tmp_path / "none") is None


def test_nothing_changes_for_ones_own_folder(tmp_path: Path) -> None:
    """Whoever set a server up goes on as such."""
    become_owner(Directories(tmp_path, tmp_path))
    become_owner(Directories(tmp_path, tmp_path / "none"))
    assert owner_of(tmp_path) == os.getuid()


def test_root_acts_as_the_daemons_user(tmp_path: Path) -> None:
    """What it writes then belongs to that user: the daemon can read it."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    os.chown(tmp_path, 65534, 65534)
    program = (
        "import os; from pathlib import Path\n"
        "from haloy.daemon.paths import Directories\n"
        "from haloy.daemon.command.owner import become_owner\n"
        f"path = Path({str(tmp_path)!r})\n"
        "become_owner(Directories(path, path))\n"
        "print(os.getuid(), os.geteuid(), os.umask(0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.split() == ["65534", "65534", str(0o077)]
