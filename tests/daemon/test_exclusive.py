"""That C{daemon.exclusive} lets one process use a data directory, and not two."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from haloy.daemon.exclusive import ExclusiveUse
from haloy.errors import Conflict

HOLD = """
import asyncio, pathlib, sys
from haloy.daemon.exclusive import ExclusiveUse
use = ExclusiveUse(pathlib.Path(sys.argv[1]))
asyncio.run(use.take())
print("taken", flush=True)
sys.stdin.read()
"""


def _taken(file: Path) -> None:
    """Take it and give it back."""

    async def take() -> None:
        use = ExclusiveUse(file)
        await use.take()
        await use.give_back()

    asyncio.run(take())


async def test_a_second_one_is_told_who_has_it(tmp_path: Path) -> None:
    """The text names the process, the directory and the way out."""
    file = tmp_path / "data" / "haloyd.lock"
    first, second = ExclusiveUse(file), ExclusiveUse(file)
    await first.take()
    with pytest.raises(Conflict) as refused:
        await second.take()
    assert f"process {os.getpid()}" in str(refused.value)
    assert str(tmp_path / "data") in str(refused.value)
    assert "--data-dir" in str(refused.value)
    await first.give_back()
    await second.take()
    await second.give_back()
    await second.give_back()  # twice does no harm


def test_a_killed_one_leaves_nothing_to_remove(tmp_path: Path) -> None:
    """C{kill -9} gives the directory back at once (E: stale locks)."""
    file = tmp_path / "haloyd.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"taken\n"
        with pytest.raises(Conflict, match=f"process {holder.pid}"):
            _taken(file)
        holder.kill()
        holder.wait()
    _taken(file)


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Nobody makes the daemon truncate another file."""
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "haloyd.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"):
        await ExclusiveUse(tmp_path / "haloyd.lock").take()
    assert (tmp_path / "precious").read_text() == "kept"
