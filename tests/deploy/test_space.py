"""How C{deploy.space} counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from haloy.deploy.space import Disk, Space, disk_of
from haloy.errors import InsufficientStorage


def free(path: Path) -> int:
    return Space(0).room([(path, 0)]).available


def test_reserve_counts_once_a_file_system(tmp_path: Path) -> None:
    """Three needs on one disk: their sum and one reserve; missing folders count."""
    space = Space(reserve_bytes=1000)
    room = space.room([(tmp_path, 1), (tmp_path / "a" / "b", 2), (tmp_path, 4)])
    assert room.required == 1007
    assert room.path == str(tmp_path)
    assert room.ok


def test_parallel_uploads_see_each_other(tmp_path: Path) -> None:
    """A8: what one upload was promised is not free for the next."""
    space = Space(reserve_bytes=0)
    half = free(tmp_path) * 2 // 3
    with space.promise(tmp_path, half):
        second = space.promise(tmp_path, half)
        with pytest.raises(InsufficientStorage, match="insufficient disk space"):
            second.__enter__()
        assert not space.room([(tmp_path, half)]).ok
    with space.promise(tmp_path, half):
        pass


def test_promise_ends_with_a_failure(tmp_path: Path) -> None:
    """A broken upload gives its room back."""
    space = Space(reserve_bytes=0)
    most = free(tmp_path) * 2 // 3
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"), space.promise(tmp_path, most):
            raise ValueError("broken")


def test_a_real_disk(tmp_path: Path) -> None:
    """A part is kept for root; how full it is counts for us."""
    found = disk_of(tmp_path)
    assert 0 < found.ours <= found.free < found.size
    assert Disk(1000, 300, 150).percent_used == 85
    assert Disk(0, 0, 0).percent_used == 0
