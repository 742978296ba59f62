"""Accepted sockets, without the ways that the C{socket} module takes to one.

It makes enumerations of the numbers of family and kind each time that it asks itself
for them, and asks the kernel whether the new socket blocks.
"""

from __future__ import annotations

import _socket
import socket
from typing import Any, Final, cast

#: The kind of a connection of TCP that does not block.
NONBLOCKING: Final = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def family_of(one: socket.socket) -> int:
    """Return the number of its family."""
    return int(_socket.socket.family.__get__(one))


def accept(listening: socket.socket) -> tuple[socket.socket, Any]:
    """As C{listening.accept()}; the new socket does not block.

    @raise OSError: likewise.
    """
    # No interface, the same in CPython 3.11 to 3.13 (docs/decisions/0005).
    descriptor, address = cast(Any, listening)._accept()
    connection = socket.socket(family_of(listening), NONBLOCKING, 0, descriptor)
    connection.setblocking(False)
    return connection, address
