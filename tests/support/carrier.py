"""What stands between two programs of a test, and carries bytes both ways."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from attrs import define, field


@define(eq=False)
class Carrier:
    """Takes connections, in threads of its own."""

    _listening: socket.socket = field(init=False)
    _open: list[socket.socket] = field(factory=list, init=False)
    _threads: list[threading.Thread] = field(factory=list, init=False)

    def reach(self) -> socket.socket:
        """Return the other end for a connection."""
        raise NotImplementedError

    def carry(self, near: socket.socket, far: socket.socket) -> None:
        """Have both ways carried, each by L{run}."""
        raise NotImplementedError

    def listen(self, listening: socket.socket) -> None:
        """Take what comes on C{listening}."""
        self._listening = listening
        self.run(self._accept)

    def stop(self) -> None:
        """Close everything."""
        for one in (self._listening, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for one in (self._listening, *self._open):
            one.close()

    def run(self, doing: Callable[..., None], *arguments: object) -> None:
        """Do it in a thread, which L{stop} waits for."""
        thread = threading.Thread(target=doing, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = self.reach()
                self._open += near, far
                self.carry(near, far)
