"""What HTTP/2 connections of clients do with their socket: much at once."""

from __future__ import annotations

import socket
import ssl
from typing import Final

from haloy.proxy.connection import READING, ClientConnection
from haloy.proxy.http2.reading import come_bytes
from haloy.proxy.tls.intake import RECORD_BYTES, Intake

# While more than this waits for the kernel, bodies wait where they are.
OUT_BYTES: Final = 131072
# While more than this waits, nothing is read either: who does not read is not heard.
DEAF_BYTES: Final = 4 * OUT_BYTES
# How much of one stream goes out before it is the next one's turn.
QUANTUM_BYTES: Final = 32768
# What TLS gets at a time. It takes all of a piece or says that it has taken nothing: a
# slow client of a large piece would look as if it took nothing for minutes.
_PIECE_BYTES: Final = 65536

_FULL: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def write_out(connection: socket.socket, data: bytes | bytearray | memoryview) -> int:
    """Write C{data} until the kernel is full; return how much went.

    @raise OSError: the connection is broken, or no piece went out whole.
    """
    size = len(data)
    if size <= _PIECE_BYTES:
        return connection.send(data)
    done = 0
    view = memoryview(data)
    try:
        while done < size:
            done += connection.send(view[done : done + _PIECE_BYTES])
    except _FULL:
        if not done:
            raise
        return done
    finally:
        view.release()
    return done


class Multiplexed(ClientConnection):
    """A client connection whose reads and writes are few and large."""

    __slots__ = ()

    def lent(self, intake: Intake, size: int) -> None:
        """As L{received}, of C{size} bytes in C{intake}, which others will use."""
        raise NotImplementedError

    def doRead(self) -> None:
        """Read, now or when it is its turn."""
        reading = self.switch.reading
        if self.state != READING or not reading.full:
            self._read(few=False)
        elif not self.waits_to_read:
            reading.wait(self, come_bytes(self._fileno))

    def read_waiting(self) -> None:
        """Read some of what has come while others were read."""
        if self._reading and self.state == READING:
            self._read(few=True)

    def _read(self, *, few: bool) -> None:
        """Read all the records that are there, within bounds."""
        tls = self.tls
        if self.state != READING or tls is None:
            super().doRead()
            return
        intake = self.switch.intake
        size = intake.fill(tls, few=few)
        # Before anything happens that could fill it again.
        broken, ended = intake.broken, intake.ended
        if size >= RECORD_BYTES:
            self.lent(intake, size)
        elif size:
            self.received(intake.copy(size))
        if self.gone:
            return
        if broken:
            self.drop()
        elif ended:
            self.ended()

    def send(self, data: bytes | memoryview) -> None:
        """Send C{data}; what the kernel refuses is buffered. Never calls back."""
        if self.gone or self.broken:
            return
        if self.unsent is not None:
            self.unsent += data
            return
        try:
            sent = write_out(self.socket, data)
        except _FULL:
            sent = 0
        except OSError as error:
            self._write_failed(error)
            return
        if sent < len(data):
            self.unsent = bytearray(memoryview(data)[sent:])
            self._start_writing()

    def doWrite(self) -> None:
        """Write what is buffered."""
        unsent = self.unsent
        if unsent:
            try:
                del unsent[: write_out(self.socket, unsent)]
            except _FULL:
                return
            except OSError as error:
                self._write_failed(error)
                return
            self.progressed()
            if unsent:
                if len(unsent) <= OUT_BYTES // 4:
                    self.relieved()
                return
        self.unsent = None
        self._stop_writing()
        if not self.gone:
            self.flushed()
