"""What requests are called: their ids, and the traces that begin with them."""

from __future__ import annotations

from typing import Final

#: How long each beginning of a trace is.
TRACEPARENT_BYTES: Final = 55

_OCTETS: Final = tuple([b"%02x" % octet for octet in range(256)])


class Names:
    """The names of one worker's requests, by their number.

    256 requests in a row differ in two digits: the others are made once for them.
    """

    __slots__ = ("_begun", "_id", "_middle", "_prefix", "_trace")

    def __init__(self, prefix: str) -> None:
        """Begin all names with C{prefix}: 12 hexadecimal digits of this worker."""
        self._prefix = prefix.encode("ascii")
        self._begin(0)

    def request_id(self, number: int) -> bytes:
        """Return a name for a request, unique in this worker and unlikely elsewhere."""
        if number >> 8 != self._begun:
            self._begin(number >> 8)
        return self._id + _OCTETS[number & 0xFF]

    def traceparent(self, number: int) -> bytes:
        """Return the beginning of a trace (W3C Trace Context), to be sampled.

        An app's tracing follows what it is told: C{00} would switch it off.
        """
        if number >> 8 != self._begun:
            self._begin(number >> 8)
        octet = _OCTETS[number & 0xFF]
        return b"".join((self._trace, octet, self._middle, octet, b"-01"))

    def both(self, number: int) -> tuple[bytes, bytes]:
        """Return L{request_id} and L{traceparent} of a request."""
        if number >> 8 != self._begun:
            self._begin(number >> 8)
        octet = _OCTETS[number & 0xFF]
        trace = b"".join((self._trace, octet, self._middle, octet, b"-01"))
        return self._id + octet, trace

    def _begin(self, begun: int) -> None:
        """Make what is alike in the names from number C{begun} * 256 on."""
        self._begun = begun
        self._id = b"%b%06x" % (self._prefix, begun)
        self._trace = b"00-%b%018x" % (self._prefix, begun)
        self._middle = b"-%014x" % begun
