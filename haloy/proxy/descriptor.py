"""A non-blocking stream socket on the reactor.

Reads and writes at once and buffers only what the kernel refuses. TLS is the
standard library's C{ssl} on the descriptor itself. Knows nothing of HTTP.

Rules that keep it free of surprises: L{Descriptor.send} never calls back into its
owner, so a state machine can send in the middle of a step; a failed write shows
itself later as a lost connection; L{Descriptor.drop} is safe at any time.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from mypy_extensions import mypyc_attr
from twisted.python.failure import Failure

from haloy.proxy.keepalive import is_over
from haloy.proxy.timer_wheel import NEVER, TimerWheel
from haloy.proxy.tls.intake import RECORD_BYTES
from haloy.proxy.tls.records import send_close_notify, send_records

# Above this many buffered bytes the other side stops being read, below the low
# mark it goes on. With one read's worth on top a stalled client holds 156 KiB at most.
HIGH_MARK_BYTES: Final = 32768
LOW_MARK_BYTES: Final = 8192
READ_BYTES: Final = 65536

_RECORDS_AT_ONCE: Final = 7

# Of upstreams more is read at once: answers up to this size need one read. Just below
# what C's malloc would get from the kernel and give back for each read.
BULK_READ_BYTES: Final = 126976
# More pieces than this are joined before they are sent: they are small.
_MANY: Final = 128

_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Watched(Protocol):
    """What reactors call: Twisted's C{IReadWriteDescriptor}.

    Said as a protocol, as a compiled class takes no decorator of zope's.
    """

    def fileno(self) -> int:
        """Return the descriptor's number, -1 when it is closed."""

    def logPrefix(self) -> str:
        """Return the name in the log."""

    def doRead(self) -> None:
        """Read what has come."""

    def doWrite(self) -> None:
        """Write what is buffered."""

    def connectionLost(self, reason: Failure) -> None:
        """Take the reactor's word that the socket is dead."""


class Reactor(Protocol):
    """What descriptors need of a reactor."""

    def addReader(self, reader: Watched) -> None:  # noqa: N802 - Twisted's
        """Watch for readability."""

    def removeReader(self, reader: Watched) -> None:  # noqa: N802 - Twisted's
        """Stop watching for readability."""

    def addWriter(self, writer: Watched) -> None:  # noqa: N802 - Twisted's
        """Watch for writability."""

    def removeWriter(self, writer: Watched) -> None:  # noqa: N802 - Twisted's
        """Stop watching for writability."""

    def callLater(self, delay: float, callable: object, *args: object) -> object:  # noqa: A002, N802 - Twisted's
        """Call later."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Descriptor:
    """One socket; subclasses give the events a meaning.

    @ivar unsent: bytes that the kernel has not taken, C{None} when there are none.
    @ivar broken: writing has failed; what is sent from now on is thrown away.
    @ivar was_reset: a write was told so; reading would find what looks like an end.
    @ivar gone: the socket is closed.
    """

    __slots__ = (
        "__weakref__",
        "_fileno",
        "_reading",
        "_told_end",
        "_writing",
        "broken",
        "congested",
        "due_s",
        "gone",
        "reactor",
        "slot",
        "socket",
        "tls",
        "unsent",
        "was_reset",
        "wheel",
    )

    def __init__(
        self, reactor: Reactor, wheel: TimerWheel, connection: socket.socket
    ) -> None:
        self.reactor = reactor
        self.wheel = wheel
        self.socket = connection
        self.tls: ssl.SSLSocket | None = None
        self._fileno = connection.fileno()
        self._reading = False
        self._writing = False
        self.unsent: bytearray | None = None
        self.congested = False
        self.broken = False
        self.was_reset = False
        self._told_end = False
        self.gone = False
        self.due_s = NEVER
        self.slot = 0

    # What subclasses answer to.

    def received(self, data: bytes) -> None:
        """Learn that bytes have come."""
        raise NotImplementedError

    def ended(self) -> None:
        """Learn that the peer will send nothing more; again until reading stops."""
        raise NotImplementedError

    def lost(self) -> None:
        """Learn, once, that the connection is unusable or was dropped."""
        raise NotImplementedError

    def flushed(self) -> None:
        """Learn that all that was buffered is with the kernel."""

    def relieved(self) -> None:
        """Learn that after congestion the buffer is below the low mark."""

    def expired(self) -> None:
        """Learn that a deadline has passed."""
        raise NotImplementedError

    # What the reactor calls.

    def fileno(self) -> int:
        """Return the descriptor's number, -1 when it is closed."""
        return -1 if self.gone else self._fileno

    def logPrefix(self) -> str:
        """Return the name in the log."""
        return "proxy"

    def doRead(self) -> None:
        """Read what has come."""
        try:
            data = self.socket.recv(READ_BYTES)
        except _WOULD_BLOCK:
            return
        except OSError:
            self.drop()
            return
        if not data:
            self._read_ended()
        elif len(data) == RECORD_BYTES and self.tls is not None:
            self._read_records(data)
        else:
            self.received(data)

    def _read_records(self, first: bytes) -> None:
        """Read on after a full record of TLS: one call gives one record.

        They are taken together, so that a large body has few turns.
        """
        records = [first]
        end: Callable[[], None] | None = None
        while len(records) <= _RECORDS_AT_ONCE and len(records[-1]) == RECORD_BYTES:
            try:
                data = self.socket.recv(READ_BYTES)
            except _WOULD_BLOCK:
                break
            except OSError:
                end = self.drop
                break
            if not data:
                end = self._read_ended
                break
            records.append(data)
        self.received(b"".join(records))
        if end is not None and not self.gone:
            end()

    def _read_ended(self) -> None:
        """Tell the end of what the peer says from that of the connection."""
        if self.tls is not None and not self._told_end and is_over(self.socket):
            self.drop()
        else:
            self.ended()

    def doWrite(self) -> None:
        """Write what is buffered."""
        unsent = self.unsent
        if unsent is not None:
            try:
                if unsent:
                    del unsent[: self._write(unsent)]
            except _WOULD_BLOCK:
                pass
            except OSError as error:
                self._write_failed(error)
                return
            self.progressed()
            if self.congested and len(unsent) <= LOW_MARK_BYTES:
                self.congested = False
                self.relieved()
                unsent = self.unsent
            if unsent:
                return
            self.unsent = None
        self._stop_writing()
        if not self.gone:
            self.flushed()

    def progressed(self) -> None:
        """Learn that the peer has taken some of what was buffered."""

    def connectionLost(self, reason: Failure) -> None:
        """Take the reactor's word that the socket is dead."""
        self.drop()

    def readConnectionLost(self, reason: Failure) -> None:
        """Take the reactor's word that nothing more comes."""
        self.drop()

    # What owners call.

    def send(self, data: bytes | memoryview) -> None:
        """Send C{data}; what the kernel refuses is buffered. Never calls back."""
        if self.gone or self.broken or not data:
            return
        if self.unsent is not None:
            self._keep(data)
            return
        try:
            sent = self._write(data)
        except _WOULD_BLOCK:
            sent = 0
        except OSError as error:
            self._write_failed(error)
            return
        if sent != len(data):
            self._keep(memoryview(data)[sent:])

    def send_all(self, pieces: Sequence[bytes | memoryview]) -> None:
        """As L{send} of all C{pieces}: large ones are put together by the kernel."""
        if self.gone or self.broken:
            return
        if self.unsent is not None or self.tls is not None or len(pieces) > _MANY:
            self.send(b"".join(pieces))
            return
        try:
            sent = self.socket.sendmsg(pieces)
        except _WOULD_BLOCK:
            sent = 0
        except OSError as error:
            self._write_failed(error)
            return
        if sent != sum([len(piece) for piece in pieces]):
            self._keep(memoryview(b"".join(pieces))[sent:])

    def _keep(self, data: bytes | memoryview) -> None:
        """Buffer what the kernel has refused, behind what waits already."""
        unsent = self.unsent
        if unsent is None:
            unsent = self.unsent = bytearray(data)
            self._start_writing()
        else:
            unsent += data
        if len(unsent) > HIGH_MARK_BYTES:
            self.congested = True

    def _write(self, data: bytes | bytearray | memoryview) -> int:
        """Give C{data} to the kernel; return how much it has taken."""
        if self.tls is None or len(data) <= RECORD_BYTES:
            return self.socket.send(data)
        return send_records(self.tls, data)

    def _write_failed(self, error: OSError) -> None:
        """Stop writing; the peer's end shows itself to the reader, or to nobody."""
        self.broken = True
        self.was_reset |= isinstance(error, ConnectionResetError)
        self.unsent = None
        self.congested = False
        self._stop_writing()
        self.reactor.callLater(0, self.write_failed)

    def write_failed(self) -> None:
        """Learn, outside of any step, that a write has failed."""
        self.drop()

    def pause(self) -> None:
        """Stop reading."""
        if self._reading:
            self._reading = False
            self.reactor.removeReader(self)

    def resume(self) -> None:
        """Go on reading."""
        if not self._reading and not self.gone:
            self._reading = True
            self.reactor.addReader(self)

    def call_when_writable(self) -> None:
        """Call C{flushed} when the kernel takes bytes again."""
        self._start_writing()

    def _start_writing(self) -> None:
        if not self._writing and not self.gone:
            self._writing = True
            self.reactor.addWriter(self)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self.reactor.removeWriter(self)

    def half_close(self) -> bool:
        """Tell the peer that nothing more comes, and go on reading.

        Call it when nothing is buffered. False: it cannot be told.
        """
        if self.gone or self.broken:
            return False
        if self._told_end:
            return True
        self._told_end = True
        try:
            if self.tls is not None:
                send_close_notify(self.tls, self._fileno)
            # SSLSocket.shutdown would forget its session: what comes then would be
            # taken for plain bytes.
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
        except OSError:
            return False
        return True

    def say_goodbye(self) -> None:
        """Tell the peer that nothing more comes; what it still sends is lost."""
        if self.gone or self.broken or self._told_end:
            return
        self._told_end = True
        try:
            if self.tls is not None:
                self.tls.unwrap()
        except (OSError, ValueError):
            # Its answer has not come, or bytes have come in its place.
            return

    def reset_on_close(self) -> None:
        """Make the coming close a reset, so that the peer sees that it was cut."""
        with suppress(OSError):
            self.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"
            )

    def surrender(self) -> socket.socket:
        """Give the socket away: this one has nothing to do with it any more."""
        self.pause()
        self._stop_writing()
        self.gone = True
        self.due_s = NEVER
        return self.socket

    def drop(self) -> None:
        """Close the socket now."""
        if self.gone:
            return
        self.pause()
        self._stop_writing()
        self.gone = True
        self.unsent = None
        self.wheel.forget(self)  # its memory is for the next one, now
        self.socket.close()
        self.lost()
