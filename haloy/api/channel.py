"""One connection to the API: what is no request gets an answer in our form, too.

twisted.web answers what it cannot read with a bare 400, or cuts the connection. The
answer here has a reason, and the connection lives until the client had time to read
it: who closes on what is still being sent takes the answer along.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from haloy.api.heads import (
    BODY_TOO_SLOW,
    FIELDS_LIMIT,
    HEAD_LIMIT_BYTES,
    HEAD_TOO_SLOW,
    MALFORMED,
    TOO_LARGE,
    Refusal,
    field_twice,
    may_come_once,
    origin_form,
    refused_field,
)

#: From a head's first byte to its last (C{spec/api.md} 1).
HEAD_LIMIT_S = 5.0

#: How long what still comes after a refusal is read, for nobody.
LINGER_S = 5.0


class ApiChannel(HTTPChannel):
    """A connection whose every refusal is one line of text with a code."""

    MAX_LENGTH = totalHeadersSize = HEAD_LIMIT_BYTES  # noqa: N815  (Twisted's name)
    maxHeaders = FIELDS_LIMIT  # noqa: N815  (Twisted's name)
    _refused = False
    _head_timer: Any = None
    _linger: Any = None

    def refuse(self, why: Refusal) -> None:
        """Answer at once and end our half; what still comes is thrown away."""
        if self._refused:
            return
        self._refused = True
        self._forget_head()
        self.setTimeout(None)
        transport: Any = self.transport
        transport.write(why.encode())
        transport.unregisterProducer()
        transport.resumeProducing()
        transport.loseWriteConnection()
        self._linger = self.callLater(LINGER_S, transport.loseConnection)

    def dataReceived(self, data: bytes) -> None:
        """Read, and look whether a head has begun or is whole."""
        if self._refused:
            return
        super().dataReceived(data)
        is_begun = bool(self.line_mode and (self._buffer or self._receivedHeaderSize))
        if not is_begun or self._refused:
            self._forget_head()
        elif self._head_timer is None:
            self._head_timer = self.callLater(HEAD_LIMIT_S, self._give_up_head)

    def lineReceived(self, line: bytes) -> None:
        """Take a line of the head; a folded one may be refused (RFC 9112 5.2)."""
        if self._refused:
            return
        if line.startswith((b" ", b"\t")):
            self.refuse(MALFORMED)
        elif self._receivedHeaderSize + len(line) > HEAD_LIMIT_BYTES:
            self.refuse(TOO_LARGE)
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is longer than a whole head may be."""
        self.refuse(TOO_LARGE)

    def headerReceived(self, line: bytes) -> bool:
        """Take a field, unless it makes the request unreadable."""
        if self._refused:
            return False
        name, _, value = line.partition(b":")
        why = refused_field(name, value.strip(b" \t"))
        if self._receivedHeaderCount >= FIELDS_LIMIT:
            why = TOO_LARGE
        elif may_come_once(name) and self.requests[-1].requestHeaders.hasHeader(name):
            why = field_twice(name)
        if why is None:
            return bool(super().headerReceived(line))
        self.refuse(why)
        return False

    def allHeadersReceived(self) -> None:
        """Take the host from the target if it is there (RFC 9112 section 3.2.2)."""
        self._forget_head()
        try:
            self._path, host = origin_form(self._path)
        except ValueError:
            self.refuse(MALFORMED)
            return
        if host is not None:
            self.requests[-1].requestHeaders.setRawHeaders(b"host", [host])
        super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        """Take a piece of a body."""
        if not self._refused:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """Let a request be answered that is whole and has no answer yet."""
        if not self._refused:
            super().allContentReceived()

    def timeoutConnection(self) -> None:
        """Close an idle connection; one that owes a body is told so."""
        if self._receivedHeaderSize:
            self.refuse(BODY_TOO_SLOW)
            return
        # As twisted.web does it, but for its line in the log: an idle connection that
        # ends is no news.
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget what was to come."""
        self._forget_head()
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        super().connectionLost(reason)

    def _give_up_head(self) -> None:
        self._head_timer = None
        self.refuse(HEAD_TOO_SLOW)

    def _forget_head(self) -> None:
        timer, self._head_timer = self._head_timer, None
        if timer is not None:
            timer.cancel()

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802  (Twisted's)
        """Answer what twisted.web calls a bad request."""
        self.refuse(MALFORMED)

    def _send100Continue(self) -> None:  # noqa: N802  (Twisted's name)
        """Ask for the body only of a request that is not refused already."""
        if not self._refused:
            super()._send100Continue()
