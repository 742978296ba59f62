from __future__ import annotations

from pathlib import Path

import pytest

from haloy.config.reading import read_text
from haloy.errors import ConfigError


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    """Editors of Windows put one there."""
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfa: 1\r\n")
    assert read_text(tmp_path / "f") == "a: 1\n"


def test_what_is_no_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    """The offset of a byte helps nobody to find it."""
    (tmp_path / "f").write_bytes(b"a: 1\nname: caf\xe9\n")
    with pytest.raises(ConfigError, match="is not UTF-8: byte 0xe9") as caught:
        read_text(tmp_path / "f")
    assert (caught.value.path, caught.value.line) == (str(tmp_path / "f"), 2)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """A file that is not there is the caller's matter; a folder is a mistake."""
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "f")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_text(tmp_path)
