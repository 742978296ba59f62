"""Large bodies to clients over TLS: read into one buffer, and sealed out of it.

The kernel cannot move those (L{haloy.proxy.splice}). They are read to where TLS takes
them from, one buffer for all, so no piece is an object of its own or copied once more.
For HTTP/2 the kernel puts them between the heads of their frames (C{recvmsg}), and a
frame with its head is just what a record of TLS takes.
"""

from __future__ import annotations

import socket
from typing import Final

from haloy.proxy.http2 import frames
from haloy.proxy.tls.records import room_bytes

# The largest record of TLS.
_RECORD_BYTES: Final = 16384
FRAME_BYTES: Final = _RECORD_BYTES - frames.HEADER_BYTES

# So much goes from one replica to its client before others have their turn, in some
# 0.4 ms. With 2 MiB, who asked beside 40 such downloads waited 3.8 ms in place of 2.5.
# Read in two pieces it costs a tenth more: each read tells the app's kernel to send on.
_RECORDS: Final = 32
CARRIED_BYTES: Final = _RECORDS * _RECORD_BYTES
# So much is read for a client whose kernel has less room, or does not say how much.
CARRIED_LEAST_BYTES: Final = 65536

# The last bytes of a body go the usual way, which knows what to do at its end.
CARRIED_REST_BYTES: Final = 16384


def piece_bytes(client: socket.socket) -> int:
    """Return how much may be read at once for who is behind C{client}.

    No more than its kernel has room for: what that refuses would wait here.
    """
    return max(room_bytes(client), CARRIED_LEAST_BYTES)


class TlsBulk:
    """The buffer. What it was filled with has to be sent before it is filled again."""

    __slots__ = ("_frames", "_space", "_view")

    def __init__(self) -> None:
        self._space = bytearray(CARRIED_BYTES)
        self._view = memoryview(self._space)
        payloads = [
            self._view[start + frames.HEADER_BYTES : start + _RECORD_BYTES]
            for start in range(0, CARRIED_BYTES, _RECORD_BYTES)
        ]
        # Where the payloads of one frame go, of two, and so on.
        self._frames = [payloads[:count] for count in range(_RECORDS + 1)]

    def fill(self, source: socket.socket, most_bytes: int) -> memoryview:
        """Return what C{source} has, and not more than C{most_bytes}.

        @return: nothing if the peer has ended.
        @raise OSError: nothing has come, or the connection is broken.
        """
        size = source.recv_into(self._view, min(most_bytes, CARRIED_BYTES))
        return self._view[:size]

    def fill_frames(
        self, source: socket.socket, most_bytes: int, stream_id: int
    ) -> tuple[int, memoryview]:
        """As L{fill}, as DATA of C{stream_id}.

        @param most_bytes: L{FRAME_BYTES} or more.
        @return: how much has come, and the frames.
        """
        count = min(most_bytes // FRAME_BYTES, _RECORDS)
        size = source.recvmsg_into(self._frames[count])[0]
        pack = frames.HEADER.pack_into
        whole = size // FRAME_BYTES
        for start in range(0, whole * _RECORD_BYTES, _RECORD_BYTES):
            pack(self._space, start, FRAME_BYTES << 8, 0, stream_id)
        end = whole * _RECORD_BYTES
        rest = size - whole * FRAME_BYTES
        if rest:
            pack(self._space, end, rest << 8, 0, stream_id)
            end += frames.HEADER_BYTES + rest
        return size, self._view[:end]
