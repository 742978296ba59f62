"""Parts of files and bytes, read one after another as one file."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import BinaryIO

from attrs import define, field, frozen


@frozen
class Section:
    """C{size} bytes of a file from C{offset} on."""

    file: BinaryIO
    offset: int
    size: int


def section_of(data: bytes) -> Section:
    """Return C{data} as a section."""
    return Section(io.BytesIO(data), 0, len(data))


@define(eq=False)
class Sections:
    """What a request sends: a file to read once, of known size.

    Files are read at their offsets, so that several may read one at once.
    """

    _sections: list[Section]
    _at: int = field(default=0, init=False)
    _told: list[Callable[[int], None]] = field(factory=list, init=False)

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return sum(one.size for one in self._sections)

    def on_read(self, told: Callable[[int], None]) -> None:
        """Call C{told} with the number of bytes of every read."""
        self._told.append(told)

    def read(self, size: int) -> bytes:
        """Return at most C{size} bytes, C{b""} at the end.

        @raise EOFError: a file is shorter than it was.
        """
        before = 0
        for one in self._sections:
            inside = self._at - before
            before += one.size
            if inside < one.size:
                data = _read(one, inside, min(size, one.size - inside))
                self._at += len(data)
                for told in self._told:
                    told(len(data))
                return data
        return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go elsewhere, as files do."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}
        self._at = start[whence] + offset
        return self._at

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._at

    def close(self) -> None:
        """Leave the files to whoever opened them."""


def _read(section: Section, inside: int, size: int) -> bytes:
    section.file.seek(section.offset + inside)
    data = section.file.read(size)
    if not data:
        raise EOFError("the file has become shorter while it was sent")
    return data
