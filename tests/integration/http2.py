"""A client of HTTP/2 that does what the server says of the end of a connection."""

from __future__ import annotations

from attrs import define, field

from haloy.proxy.http2 import frames
from tests.proxy.http2.clients import RawClient
from tests.proxy.http2.support import Frame, decode, frame, head, number


@define(eq=False)
class Http2:
    """One connection that asks one thing after another.

    @ivar leaving: the server has said that it takes no more requests here.
    """

    name: str
    port: int
    leaving: bool = field(default=False, init=False)
    _raw: RawClient = field(init=False)
    _stream: int = field(default=-1, init=False)
    _credit: int = field(default=frames.DEFAULT_WINDOW, init=False)

    def __attrs_post_init__(self) -> None:
        self._raw = RawClient(self.port, name=self.name)

    def ask(self, path: str, sent: bytes = b"") -> tuple[int, bytes]:
        """Return status and body of the answer.

        @param sent: a body, shorter than the window of a new stream.
        @raise ConnectionError: the connection ends without an answer.
        """
        self._stream += 2
        fields = [(":method", "POST" if sent else "GET"), (":scheme", "https")]
        fields += [(":path", path), (":authority", self.name)]
        if sent:
            fields.append(("content-length", str(len(sent))))
        self._raw.send(head(self._stream, fields, end=not sent))
        self._send(sent)
        status, text = 0, b""
        while True:
            one = self._next()
            if one.stream != self._stream:
                continue
            if one.kind == frames.RST_STREAM:
                raise ConnectionError(f"stream {one.stream} was reset")
            if one.kind == frames.HEADERS:
                status = int(dict(decode(one.body))[":status"])
            elif one.kind == frames.DATA:
                text += one.body
                self._grant(len(one.body))
            if one.kind in (frames.HEADERS, frames.DATA) and (
                one.flags & frames.END_STREAM
            ):
                return status, text

    def close(self) -> None:
        self._raw.peer.close()

    def _send(self, body: bytes) -> None:
        while self._credit < len(body):
            self._next()
        self._credit -= len(body)
        while body:
            piece, body = body[: frames.FRAME_BYTES], body[frames.FRAME_BYTES :]
            flags = 0 if body else frames.END_STREAM
            self._raw.send(frame(frames.DATA, flags, self._stream, piece))

    def _grant(self, size: int) -> None:
        """Let the server send as much again; a stream has enough from the start."""
        if size:
            self._raw.send(frame(frames.WINDOW_UPDATE, 0, 0, number(size)))

    def _next(self) -> Frame:
        found = self._raw.frame()
        if found is None:
            raise ConnectionError("the connection ends")
        if found.kind == frames.GOAWAY:
            self.leaving = True
        elif found.kind == frames.PING and not found.flags & frames.ACK:
            self._raw.send(frame(frames.PING, frames.ACK, 0, found.body))
        elif found.kind == frames.WINDOW_UPDATE and not found.stream:
            self._credit += frames.NUMBER.unpack(found.body)[0]
        return found
