"""The name of a haloyd."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from haloy.store.instance import instance_name

FRESH, OTHER = "0123456789abcdef", "fedcba9876543210"


def test_kept(tmp_path: Path) -> None:
    """The first name stays, in a file for its owner only."""
    path = tmp_path / "instance-id"
    assert instance_name(path, FRESH) == FRESH
    assert instance_name(path, OTHER) == FRESH
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"\xff\xfe", b"0123456789ABCDEF"]
)
def test_damaged(tmp_path: Path, content: bytes) -> None:
    """A file with anything else in it is replaced."""
    path = tmp_path / "instance-id"
    path.write_bytes(content)
    assert instance_name(path, OTHER) == OTHER
    assert instance_name(path, FRESH) == OTHER
