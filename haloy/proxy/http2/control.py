"""Frames that carry no request: settings, pings, windows, resets, and the goodbye.

Below L{haloy.proxy.http2.engine}, which knows of heads and bodies.
"""

from __future__ import annotations

from typing import Any, Final

from haloy.proxy.http2 import budget, frames
from haloy.proxy.http2.frames import Broken
from haloy.proxy.http2.hpack import Field
from haloy.proxy.http2.sender import Sender
from haloy.proxy.http2.stream_state import Stream

_SHUTDOWN_PING: Final = b"goodbye!"

# What happened. An event is its kind, its stream, and what is said with it.
REQUEST: Final = 0  # its HeaderList (None: too long), a head has come
ENDED_REQUEST: Final = 1  # the same, and no body follows
CALL: Final = 2  # the same, and its body is in the inbox, whole
BODY: Final = 3  # the stream's inbox has something
END: Final = 4  # trailers (an empty list without any): the peer has sent all
RESET: Final = 5  # the code: the stream is over
ROOM: Final = 6  # of the stream, or of all (stream 0): more may be sent
RESPONSE: Final = 7  # fields: the final head has come (client)
INTERIM: Final = 8  # fields: a head before the final one (client)
LEAVING: Final = 9  # the peer takes no new streams
FAILED: Final = 10  # the reason: the connection is over
ANSWER: Final = 11  # head, body and trailers of a whole answer (client)

Event = tuple[int, Stream, Any]


class Control(Sender):
    """A connection's own business.

    @ivar failed: it is over; GOAWAY is written.
    @ivar agreed: the peer has acknowledged our SETTINGS.
    @ivar leaving: the peer takes no new streams (client); we take none (server).
    @ivar peer_streams: how many streams the peer takes at a time.
    """

    def __init__(self, *, client: bool, now_s: float) -> None:
        super().__init__(client=client, now_s=now_s)
        self.failed = False
        self.agreed = False
        self.leaving = False
        self.peer_streams = 100
        self._goodbye_sent = False
        # The newest stream that was looked at, and the newest that was seen at all.
        self._last = 0
        self._highest = 0
        self._next = 1
        self._events: list[Event] = []
        self._all = Stream(0, 0)

    def shut_down(self, *, now: bool = False) -> None:
        """Take no new streams, and say so; those under way go on.

        In two steps, as requests may be on their way (RFC 9113 section 6.8): the
        second comes with the answer to a ping, or C{now}.
        """
        if self.failed or self.leaving:
            return
        if not now:
            if not self._goodbye_sent:
                self._goodbye_sent = True
                self.write(frames.goaway(frames.LAST_STREAM, frames.NO_ERROR))
                self.write(frames.ping(_SHUTDOWN_PING))
            return
        self.leaving = True
        self.write(frames.goaway(self._last, frames.NO_ERROR))

    def _spend(self, cost: float) -> None:
        if not self.budget.spend(cost, self.now_s):
            raise Broken(frames.ENHANCE_YOUR_CALM, "too much for nothing")

    def _idle(self, stream_id: int) -> bool:
        """Tell whether the stream has not begun."""
        opened = self._next - 1 if self.client else self._highest
        return stream_id > opened or not stream_id & 1

    def _abort(self, stream: Stream, code: int) -> None:
        """Reset a stream for what the peer did on it."""
        self.reset(stream, code)
        self._events.append((RESET, stream, code))
        self._spend(budget.RESET_BY_US)

    def _received_all(self, stream: Stream, trailers: list[Field]) -> None:
        stream.receiving = False
        self._events.append((END, stream, trailers))
        if not stream.sending:
            self._forget_untaken(stream)

    def _window_update(self, stream_id: int, body: bytes) -> None:
        if len(body) != 4:
            raise Broken(frames.FRAME_SIZE_ERROR, "WINDOW_UPDATE")
        increment = frames.NUMBER.unpack(body)[0] & 0x7FFFFFFF
        self._spend(budget.WINDOW_UPDATE)
        if not stream_id:
            if not increment:
                raise Broken(frames.PROTOCOL_ERROR, "an increment of 0")
            self.send_window += increment
            if self.send_window > frames.WINDOW_LIMIT:
                raise Broken(frames.FLOW_CONTROL_ERROR, "window too large")
            self._events.append((ROOM, self._all, None))
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._idle(stream_id):
                raise Broken(frames.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
            self._spend(budget.WINDOW_UPDATE)
            return
        if not increment:
            self._abort(stream, frames.PROTOCOL_ERROR)
            return
        stream.send_window += increment
        if stream.send_window > frames.WINDOW_LIMIT:
            self._abort(stream, frames.FLOW_CONTROL_ERROR)
            return
        self._events.append((ROOM, stream, None))

    def _rst_stream(self, stream_id: int, body: bytes) -> None:
        if not stream_id:
            raise Broken(frames.PROTOCOL_ERROR, "RST_STREAM on stream 0")
        if len(body) != 4:
            raise Broken(frames.FRAME_SIZE_ERROR, "RST_STREAM")
        if self._idle(stream_id):
            raise Broken(frames.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        # An app ends with it what was asked of it, no more than that.
        self._spend(budget.LATE if self.client else budget.RESET)
        stream = self.streams.get(stream_id)
        if stream is not None:
            if self.client and not stream.receiving:
                # The answer is complete: only the rest of the request is not wanted
                # (RFC 9113 section 8.1). It may not have been taken yet.
                self._forget_untaken(stream)
            else:
                self._forget(stream)
                self._events.append((RESET, stream, frames.NUMBER.unpack(body)[0]))

    def _priority(self, stream_id: int, body: bytes) -> None:
        if not stream_id:
            raise Broken(frames.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(body) != 5:
            stream = self.streams.get(stream_id)
            if stream is None:
                raise Broken(frames.FRAME_SIZE_ERROR, "PRIORITY")
            self._abort(stream, frames.FRAME_SIZE_ERROR)
            return
        check_dependency(stream_id, body)
        self._spend(budget.PRIORITY)

    # Frames of the connection.

    def _of_connection(
        self, kind: int, flags: int, stream_id: int, body: bytes
    ) -> None:
        if stream_id:
            raise Broken(frames.PROTOCOL_ERROR, "a frame that belongs to stream 0")
        if kind == frames.SETTINGS:
            self._settings(flags, body)
        elif kind == frames.PING:
            self._ping(flags, body)
        else:
            self._goaway(body)

    def _ping(self, flags: int, body: bytes) -> None:
        if len(body) != 8:
            raise Broken(frames.FRAME_SIZE_ERROR, "PING")
        if not flags & frames.ACK:
            self._spend(budget.PING)
            self.write(frames.ping(body, frames.ACK))
        elif body == _SHUTDOWN_PING and self._goodbye_sent:
            self.shut_down(now=True)
        else:
            self._spend(budget.USELESS)

    def _goaway(self, body: bytes) -> None:
        if len(body) < 8:
            raise Broken(frames.FRAME_SIZE_ERROR, "GOAWAY")
        self._spend(budget.USELESS)
        if self.client:
            last = frames.NUMBER.unpack_from(body)[0] & 0x7FFFFFFF
            for stream in [one for one in self.streams.values() if one.id > last]:
                self._forget(stream)
                self._events.append((RESET, stream, frames.REFUSED_STREAM))
        self.leaving = True
        self._events.append((LEAVING, self._all, None))

    def _settings(self, flags: int, body: bytes) -> None:
        if flags & frames.ACK:
            if body:
                raise Broken(frames.FRAME_SIZE_ERROR, "SETTINGS")
            if self.agreed:
                self._spend(budget.USELESS)
            self.agreed = True
            return
        if len(body) % 6:
            raise Broken(frames.FRAME_SIZE_ERROR, "SETTINGS")
        self._spend(budget.SETTINGS)
        for name, value in frames.SETTING.iter_unpack(body):
            if name == frames.INITIAL_WINDOW_SIZE:
                self._move_windows(value)
            elif name == frames.ENABLE_PUSH:
                if value > 1:
                    raise Broken(frames.PROTOCOL_ERROR, "ENABLE_PUSH")
            elif name == frames.MAX_FRAME_SIZE:
                if not frames.FRAME_BYTES <= value <= 0xFFFFFF:
                    raise Broken(frames.PROTOCOL_ERROR, "MAX_FRAME_SIZE")
            elif name == frames.MAX_CONCURRENT_STREAMS:
                self.peer_streams = value
            elif name == frames.HEADER_TABLE_SIZE and value < 4096:
                self._table_emptied = True
        self.write(frames.SETTINGS_ACK)

    def _move_windows(self, size: int) -> None:
        if size > frames.WINDOW_LIMIT:
            raise Broken(frames.FLOW_CONTROL_ERROR, "window too large")
        difference = size - self._peer_window
        self._peer_window = size
        self._spend(budget.SETTINGS_STREAM * len(self.streams))
        for stream in self.streams.values():
            stream.send_window += difference
            if stream.send_window > frames.WINDOW_LIMIT:
                raise Broken(frames.FLOW_CONTROL_ERROR, "window too large")
        if difference > 0:
            self._events.append((ROOM, self._all, None))


def check_dependency(stream_id: int, body: bytes) -> None:
    """Refuse a stream that depends on itself; priorities mean nothing else here.

    @raise Broken: it does.
    """
    if frames.NUMBER.unpack_from(body)[0] & 0x7FFFFFFF == stream_id:
        raise Broken(frames.PROTOCOL_ERROR, "a stream that depends on itself")
