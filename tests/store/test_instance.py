"""The name of a haloyd."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from haloy.store.instance import instance_name, kept_name

FRESH, OTHER = "0123456789abcdef", "fedcba9876543210"


def test_kept(tmp_path: Path) -> None:
    """The first name stays, in files for their owner only."""
    path, copy = tmp_path / "instance-id", tmp_path / "db" / "instance-id"
    assert instance_name(path, copy, FRESH) == FRESH
    assert instance_name(path, copy, OTHER) == FRESH
    for one in (path, copy):
        assert stat.S_IMODE(one.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", [None, b"", b"nonsense", b"\xff\xfe", b"0123456789ABCDEF"]
)
def test_damaged(tmp_path: Path, content: bytes | None) -> None:
    """A file with anything else in it is replaced: by the other one's, if that is well.

    Of two that are well and differ, the first counts: it is in backups.
    """
    path, copy = tmp_path / "instance-id", tmp_path / "db" / "instance-id"
    instance_name(path, copy, FRESH)
    path.unlink() if content is None else path.write_bytes(content)
    assert instance_name(path, copy, OTHER) == FRESH
    for one in (path, copy):
        one.unlink() if content is None else one.write_bytes(content)
    assert instance_name(path, copy, OTHER) == OTHER
    copy.write_text(FRESH)
    assert instance_name(path, copy, FRESH) == OTHER
    assert kept_name(copy) == OTHER
