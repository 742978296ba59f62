"""The status in what an app answers to a probe. Pure."""

from __future__ import annotations

import re
from typing import Final

HEAD_LIMIT_BYTES: Final = 65536
#: Statuses that no app can send.
NOT_HTTP: Final = 0
NO_ANSWER: Final = -1
HTTP2_ALONE: Final = -2

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")


#: An HTTP/2 server speaks first, and its first frame is SETTINGS on stream 0 (RFC 9113
#: section 3.4): three octets of length, type, flags, stream.
_SETTINGS: Final = re.compile(rb"\0..\x04\0\0\0\0\0", re.DOTALL)


class StatusReader:
    """Finds the status line of the final answer; interim answers are passed over."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen = b""

    def feed(self, data: bytes) -> int | None:
        """Return the status once it is there, L{NOT_HTTP} when there is none.

        L{HTTP2_ALONE} from who does not even read what is asked over HTTP/1.1.
        """
        self._seen += data
        if _SETTINGS.match(self._seen) is not None:
            return HTTP2_ALONE
        while (match := _STATUS.match(self._seen)) is not None:
            status = int(match[1])
            if status >= 200:
                return status
            end = self._seen.find(b"\r\n\r\n")
            if end < 0:
                break
            self._seen = self._seen[end + 4 :]
        hopeless = match is None and b"\n" in self._seen
        return NOT_HTTP if hopeless or len(self._seen) > HEAD_LIMIT_BYTES else None
