"""What clients send over TLS: records read side by side, into one buffer for all.

A record is a read of its own. Whoever joins them, and then takes frames of HTTP/2 out
of them, has copied every byte of an upload four times before it is on its way; here the
bodies of frames stay where TLS has put them until they are sent, and only what has to
wait is copied.
"""

from __future__ import annotations

import ssl
from typing import Final

from haloy.proxy.http2 import frames
from haloy.proxy.tls.records import reader_of

# The largest record of TLS. There is always room for one, so OpenSSL never keeps
# decrypted bytes that the reactor does not know of.
RECORD_BYTES: Final = 16384
# As many as the windows of two streams let a client send at once
# (L{haloy.proxy.http2.sender}). Each time that it became twice as many, an upload had
# half the turns: a tenth less to do for each byte.
_RECORDS: Final = 32
# Where others wait.
_FEW_RECORDS: Final = 2
INTAKE_BYTES: Final = RECORD_BYTES * _RECORDS
# Room for what is left of the last read: less than the longest frame.
_BEFORE_BYTES: Final = frames.HEADER_BYTES + frames.FRAME_BYTES

_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Intake:
    """The buffer. What it holds is gone when it is filled again.

    @ivar ended: the peer sends nothing more. C{broken}: the connection is dead.
    """

    __slots__ = ("_few", "_spaces", "_view", "broken", "ended")

    def __init__(self) -> None:
        self._view = memoryview(bytearray(_BEFORE_BYTES + INTAKE_BYTES))
        self._spaces = [
            self._view[_BEFORE_BYTES + start :]
            for start in range(0, INTAKE_BYTES, RECORD_BYTES)
        ]
        self._few = self._spaces[:_FEW_RECORDS]
        self.ended = False
        self.broken = False

    def fill(self, source: ssl.SSLSocket, *, few: bool) -> int:
        """Read from C{source} while full records come; return how much came.

        C{few}: no more of them than others can wait for.
        """
        read = reader_of(source)
        self.ended = self.broken = False
        size = 0
        for space in self._few if few else self._spaces:
            try:
                more = read(INTAKE_BYTES, space)
            except _WOULD_BLOCK:
                break
            except ssl.SSLEOFError:
                # As C{suppress_ragged_eofs}.
                self.ended = True
                break
            except OSError:
                self.broken = True
                break
            size += more
            if more != RECORD_BYTES:
                self.ended = not more
                break
        return size

    def copy(self, size: int) -> bytes:
        """Return the C{size} bytes that came, to keep."""
        return bytes(self._spaces[0][:size])

    def lend(self, before: bytes, size: int) -> memoryview:
        """Return the C{size} bytes that came, with C{before} put before them.

        @param before: what an earlier read has left of a frame.
        """
        start = _BEFORE_BYTES - len(before)
        self._view[start:_BEFORE_BYTES] = before
        return self._view[start : _BEFORE_BYTES + size]
