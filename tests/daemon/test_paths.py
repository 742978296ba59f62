"""Where C{daemon.paths} puts things, and how."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from haloy.config.private import make_directory, write_private
from haloy.daemon.paths import find_directories


def test_option_beats_environment_beats_default() -> None:
    """`--config-dir`, then HALOY_CONFIG_DIR, then /etc/haloy."""
    environment = {"HALOY_CONFIG_DIR": "/from/env"}
    assert find_directories("/opt/c", None, environment).config == Path("/opt/c")
    assert find_directories(None, None, environment).config == Path("/from/env")
    assert find_directories(None, None, {}).config == Path("/etc/haloy")
    assert find_directories(None, None, {}).data == Path("/var/lib/haloy")


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leading ~/ in the environment means the home directory."""
    monkeypatch.setenv("HOME", "/home/ada")
    found = find_directories(None, None, {"HALOY_DATA_DIR": "~/haloy"})
    assert found.data == Path("/home/ada/haloy")


def test_private_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """D19, D20: neither the umask nor an older file widens the mode."""
    old = os.umask(0)
    try:
        path = tmp_path / "db" / "token"
        write_private(path, b"one")
        write_private(path, b"two")
    finally:
        os.umask(old)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["token"]


def test_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    """A full disk costs the new content only."""
    path = tmp_path / "state"
    write_private(path, b"good")
    with pytest.raises(TypeError):
        write_private(path, "not bytes")  # type: ignore[arg-type]  # the point
    assert path.read_bytes() == b"good"
    assert [one.name for one in tmp_path.iterdir()] == ["state"]


def test_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    """Somebody else's directory is not ours to change."""
    path = tmp_path / "shared"
    path.mkdir(mode=0o755)
    make_directory(path)
    assert path.stat().st_mode & 0o777 == 0o755
