"""Room for a start on a full disk."""

from __future__ import annotations

from pathlib import Path

from haloy.store.ballast import NAME, SIZE_BYTES, take_aboard, throw_off


def test_it_is_held_until_it_is_needed(tmp_path: Path) -> None:
    """Its blocks are there, not only its length; it is given back once."""
    take_aboard(tmp_path)
    take_aboard(tmp_path)
    held = (tmp_path / NAME).stat()
    assert held.st_blocks * 512 >= SIZE_BYTES
    assert held.st_mode & 0o777 == 0o600
    assert throw_off(tmp_path)
    assert not throw_off(tmp_path)


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    """It is no trouble of its own."""
    take_aboard(tmp_path / "none")
    assert not throw_off(tmp_path / "none")
