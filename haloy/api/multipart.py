"""The one multipart form that is sent to us: an archive as field C{image}.

The body is in a file already; this finds where the archive begins and cuts what
stands behind it, so that nothing is copied. Only the first part is looked at
(C{spec/api.md} 4.7).
"""

from __future__ import annotations

import os
import re
from email.message import Message
from pathlib import Path

from haloy.errors import InvalidValue

HEAD_LIMIT_BYTES = 16 * 1024


def archive_offset(path: Path, content_type: str) -> int:
    """Return where the archive in C{path} begins; what follows it is cut off.

    @raise InvalidValue: no such form, another field, or not named C{*.tar}.
    """
    boundary = _boundary(content_type)
    delimiter = b"\r\n--" + boundary
    with path.open("r+b") as file:
        head = file.read(HEAD_LIMIT_BYTES)
        end = head.find(b"\r\n\r\n")
        if not head.startswith(b"--" + boundary + b"\r\n") or end < 0:
            raise InvalidValue("is not a multipart form", field="body")
        _check_part(head[len(boundary) + 4 : end])
        offset = end + 4
        file.truncate(_last(file.fileno(), delimiter, offset))
    return offset


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if not boundary or not boundary.isascii():
        raise InvalidValue("is not a multipart form", field="Content-Type")
    return boundary.encode()


def _check_part(head: bytes) -> None:
    text = head.decode("utf-8", "replace")
    name = re.search(r'\bname="([^"]*)"', text)
    file_name = re.search(r'filename="([^"]*)"', text)
    if name is None or name[1] != "image" or file_name is None:
        raise InvalidValue(
            "the form's first field must be the file image", field="body"
        )
    if not file_name[1].endswith(".tar"):
        raise InvalidValue("File must be a .tar archive", field="image")


def _last(descriptor: int, delimiter: bytes, offset: int) -> int:
    """Return where the closing delimiter begins: near the end, by what follows it."""
    size = os.fstat(descriptor).st_size
    window = min(size - offset, HEAD_LIMIT_BYTES)
    tail = os.pread(descriptor, window, size - window)
    found = tail.rfind(delimiter + b"--")
    if found < 0:
        raise InvalidValue("the form is not complete", field="body")
    return size - window + found
