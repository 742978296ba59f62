"""Bodies in chunks that clients send: read in turn with all else that may take long.

A read of chunks of one octet keeps us busy for 10 ms, and a client may send them on
as many connections as it may have. Knows nothing of requests.
"""

from __future__ import annotations

import ssl
from typing import Final

from mypy_extensions import mypyc_attr

from haloy.proxy.connection import ClientConnection
from haloy.proxy.descriptor import Descriptor
from haloy.proxy.http2.reading import come_bytes
from haloy.proxy.tls.intake import RECORD_BYTES

_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@mypyc_attr(allow_interpreted_subclasses=True)
class UploadTurns(ClientConnection):
    """A client connection that waits for its turn while chunks come."""

    __slots__ = ()

    # What subclasses answer to.

    @property
    def uploads_chunks(self) -> bool:
        """Whether what comes is chunks of a body that an app takes."""
        raise NotImplementedError

    def feed(self) -> None:
        """Give on what of the body is held."""
        raise NotImplementedError

    # What they call.

    def read_chunks(self) -> None:
        """Read, now or when it is its turn."""
        reading = self.switch.reading
        if not reading.full:
            began_s = reading.clock()
            Descriptor.doRead(self)
            reading.did(began_s, 1)
        elif not self.waits_to_read:
            reading.wait(self, come_bytes(self._fileno))

    def feed_body(self) -> None:
        """Give on what came of a body while there was no upstream.

        If that is chunks, now or when it is its turn; nothing is read before that.
        """
        reading = self.switch.reading
        if not self.held or not self.uploads_chunks:
            self.feed()
        elif not reading.full:
            began_s = reading.clock()
            self.feed()
            reading.did(began_s, 1)
        else:
            self.pause()
            if not self.waits_to_read:
                reading.wait(self, len(self.held))

    def read_waiting(self) -> None:
        """Take some of what has come while others were read."""
        if self.gone:
            return
        if not self.uploads_chunks:
            if self._reading:
                self.doRead()
        elif self.held:
            self.resume()
            self.feed()
        elif self._reading:
            self._read_few()

    def _read_few(self) -> None:
        try:
            data = self.socket.recv(RECORD_BYTES)
        except _WOULD_BLOCK:
            return
        except OSError:
            self.drop()
            return
        if data:
            self.received(data)
        else:
            self._read_ended()
