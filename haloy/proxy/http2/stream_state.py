"""What is known of one stream of HTTP/2: its windows, what came, and who drives it."""

from __future__ import annotations

from typing import Any, Final

from haloy.proxy.http2 import budget, frames

# What a peer may send of a stream before the other side has taken anything. The
# protocol's own start is an octet less: whoever fills that has a frame of its own for
# the next octet, and none that is full from there on.
WINDOW_BYTES: Final = 4 * frames.FRAME_BYTES

#: A piece of a body; a view is good for a moment only (L{haloy.proxy.http2.bodies}).
Piece = bytes | memoryview


class Stream:
    """One stream of one connection.

    @ivar receiving: the peer may send more. C{sending}: we may.
    @ivar left_bytes: to come of a body whose length was told, -1 when it was not.
    @ivar inbox: pieces of the body that came and nobody has taken yet.
    @ivar answered: the head of the final answer has come (as a client).
    @ivar advanced_bytes: the connection's window got them back before they were taken.
    @ivar begun: which of its read's events its head is (as a server).
    @ivar number: C{id}, as frames have it.
    @ivar small_price: tokens that a small piece of its body costs.
    @ivar at_once: its owner takes a whole answer as one event.
    @ivar owner: whoever drives it.
    """

    __slots__ = (
        "advanced_bytes",
        "answered",
        "at_once",
        "begun",
        "grown_bytes",
        "id",
        "inbox",
        "left_bytes",
        "number",
        "owed_bytes",
        "owner",
        "receive_window",
        "receiving",
        "send_window",
        "sending",
        "small_price",
        "window_bytes",
    )

    def __init__(self, stream_id: int, send_window: int) -> None:
        self.id = stream_id
        self.number = stream_id.to_bytes(4, "big")
        self.send_window = send_window
        self.receive_window = WINDOW_BYTES
        self.window_bytes = WINDOW_BYTES
        self.grown_bytes = 0
        self.owed_bytes = 0
        self.advanced_bytes = 0
        self.receiving = True
        self.sending = True
        self.left_bytes = -1
        self.inbox: list[Piece] = []
        self.answered = False
        self.small_price = budget.SMALL_DATA
        self.at_once = False
        self.begun = 0
        self.owner: Any = None


def content_bytes(stream: Stream) -> int:
    """Return how much has come of a body and was not taken."""
    return sum([len(piece) for piece in stream.inbox])


def content(stream: Stream) -> bytes:
    """Return what has come of a body, and leave it there."""
    inbox = stream.inbox
    if len(inbox) != 1:
        return b"".join(inbox)
    # Not always by bytes(), which is a call of a type: compiled, it costs as much as
    # to join.
    (piece,) = inbox
    return piece if isinstance(piece, bytes) else bytes(piece)
