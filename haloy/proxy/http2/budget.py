"""What a client may make us do for nothing: tokens that everything cheap to send costs.

They come back with time, with finished requests, with what the client takes of us and
with the bytes of bodies that it sends. So a page left with a hundred images under way,
pings in a stream that lasts for days, and a gigabyte in either direction are paid for,
and floods are not.
"""

from __future__ import annotations

from typing import Final

BURST: Final = 1000.0
PER_SECOND: Final = 33.0

#: grpc-go sends one for each piece that it gets, to measure the way.
PING: Final = 0.1
SETTINGS: Final = 4.0
#: SETTINGS that moves the windows of all streams, for each of them.
SETTINGS_STREAM: Final = 0.05
PRIORITY: Final = 0.5
WINDOW_UPDATE: Final = 0.1
RESET: Final = 1.0
#: We had to reset a stream for what the client did (CVE-2025-8671).
RESET_BY_US: Final = 2.0
REFUSED: Final = 5.0
#: A header list longer than is taken: it had to be decoded.
LONG_LIST: Final = 50.0
#: For a stream that is closed, or a frame that means nothing to us.
USELESS: Final = 0.5
#: For a stream that we have reset: it was under way.
LATE: Final = 0.05
EMPTY_DATA: Final = 1.0
SMALL_DATA: Final = 0.02
#: Where small pieces are the business, as in gRPC.
SMALL_DATA_CHATTY: Final = 0.002
SMALL_DATA_BYTES: Final = 64
#: Even there, less than what a message of gRPC begins with is no business.
MESSAGE_BYTES: Final = 5

EARNED_BY_STREAM: Final = 1.0
EARNED_BY_DATA: Final = 0.4
EARNED_BY_BYTE: Final = 0.1 / 4096


class Budget:
    """The tokens of one connection."""

    __slots__ = ("_at_s", "tokens")

    def __init__(self, now_s: float) -> None:
        self.tokens = BURST
        self._at_s = now_s

    def spend(self, cost: float, now_s: float) -> bool:
        """Take C{cost}; false: there is nothing left."""
        self.tokens -= cost
        if self.tokens >= 0.0:
            return True
        self.earn((now_s - self._at_s) * PER_SECOND)
        self._at_s = now_s
        return self.tokens >= 0.0

    def earn(self, tokens: float) -> None:
        """Give some back, up to the burst."""
        tokens += self.tokens
        self.tokens = tokens if tokens < BURST else BURST
