"""What a service tells its manager, as systemd hears it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

LIMIT_S = 30.0


@frozen
class Manager:
    """The manager's end of C{NOTIFY_SOCKET}."""

    address: str
    _socket: socket.socket

    def wait_for(self, wanted: str, times: int = 1) -> None:
        """Return when C{wanted} was said so often from now on."""
        self._forget()
        deadline = time.monotonic() + LIMIT_S
        while times:
            assert time.monotonic() < deadline, f"{wanted} was not said"
            try:
                times -= wanted in self._socket.recv(4096).decode()
            except TimeoutError:
                continue

    def _forget(self) -> None:
        self._socket.setblocking(False)
        try:
            while True:
                self._socket.recv(4096)
        except BlockingIOError:
            self._socket.settimeout(1)


@contextmanager
def manager(folder: Path) -> Iterator[Manager]:
    """Listen in C{folder}."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(folder / "notify"))
        yield Manager(str(folder / "notify"), one)
