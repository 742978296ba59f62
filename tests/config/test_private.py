from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from haloy.config.private import make_directory, set_aside, write_private


def test_content_is_replaced_whole_and_private(tmp_path: Path) -> None:
    """The file is 0600 whatever it was, and no temporary file stays."""
    path = tmp_path / "a"
    path.write_text("old and longer")
    path.chmod(0o666)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_what_a_crash_has_left_gives_nobody_a_look(tmp_path: Path) -> None:
    """A temporary file that is there already keeps its mode when it is opened."""
    left = tmp_path / f".a.{os.getpid()}.tmp"
    left.touch()
    left.chmod(0o644)
    write_private(tmp_path / "a", b"new")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_the_old_content(tmp_path: Path) -> None:
    """What cannot be put in place is taken away again."""
    path = tmp_path / "a"
    path.mkdir()
    with pytest.raises(OSError, match="directory") as caught:
        write_private(path, b"new")
    assert caught.value.filename == str(path)
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_directories_are_private(tmp_path: Path) -> None:
    """A new one is 0700; an existing one keeps its mode."""
    make_directory(tmp_path / "x")
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o700
    (tmp_path / "x").chmod(0o755)
    make_directory(tmp_path / "x")
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o755


def test_a_damaged_file_is_kept_under_another_name(tmp_path: Path) -> None:
    """Reliability section 4: C{NAME.corrupt-TIME}, with its content."""
    path = tmp_path / "table.json"
    path.write_text("half of i")
    aside = set_aside(path, datetime(2026, 11, 24, 18, 56, tzinfo=UTC))
    assert aside == tmp_path / "table.json.corrupt-20261124T185600Z"
    assert aside.read_text() == "half of i"
    assert not path.exists()


def test_what_was_there_is_never_written_to(tmp_path: Path) -> None:
    """A crash at any moment leaves the old file whole: it is replaced, not changed."""
    path, old = tmp_path / "table.json", tmp_path / "old"
    write_private(path, b"old")
    old.hardlink_to(path)
    write_private(path, b"new")
    assert (path.read_bytes(), old.read_bytes()) == (b"new", b"old")
