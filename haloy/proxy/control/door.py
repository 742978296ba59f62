"""The listening end of the control socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from haloy.errors import ConfigError
from haloy.socket_file import SocketFile, make_way

MODE: Final = 0o660
BACKLOG: Final = 16


@implementer(IReadDescriptor)
class Door:
    """Listens at a path from the start, and takes connections when it is opened.

    Twisted's own port would set the mode of the file anew.
    """

    _listening: socket.socket | None = None
    _reactor: Any = None
    _take: Callable[[socket.socket], None]

    def __init__(self, path: Path, group: int | None) -> None:
        """Listen. @raise ConfigError: as L{open_control}."""
        self._path = path
        self._group = group
        self._file = SocketFile(path, self._listen)

    def open(self, reactor: Any, take: Callable[[socket.socket], None]) -> None:
        """Call C{take} with each connection, which is closed when that returns."""
        self._reactor, self._take = reactor, take
        reactor.addReader(self)
        self._file.watch(reactor)

    def close(self) -> None:
        """Take no more, and leave no file."""
        self._file.remove()
        self._shut()

    def _listen(self) -> None:
        """Listen, anew if need be: who waits at the old socket has to dial again."""
        listening = open_control(self._path, self._group)
        self._shut()
        self._listening = listening
        if self._reactor is not None:
            self._reactor.addReader(self)

    def _shut(self) -> None:
        if self._listening is None:
            return
        if self._reactor is not None:
            self._reactor.removeReader(self)
        self._listening.close()
        self._listening = None

    def fileno(self) -> int:
        """Return the descriptor's number."""
        return -1 if self._listening is None else self._listening.fileno()

    def logPrefix(self) -> str:
        """Return the name in the log."""
        return "control"

    def doRead(self) -> None:
        """Take one connection."""
        if self._listening is None:
            return
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return
        connection.setblocking(False)
        with connection:
            self._take(connection)

    def connectionLost(self, reason: Failure) -> None:
        """Close."""
        self._shut()


def open_control(path: Path, group: int | None) -> socket.socket:
    """Return the listening socket at C{path}: 0660, of C{group} if there is one.

    @raise ConfigError: it cannot be made, or another proxy listens there.
    """
    if _in_use(path):
        raise ConfigError(f"another haloy-proxy listens on {path}")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o177)
    try:
        make_way(path)
        listening.bind(str(path))
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(MODE)
        listening.listen(BACKLOG)
    except OSError as problem:
        listening.close()
        raise ConfigError(
            f"cannot listen on {path}: {problem.strerror or problem}; see to that, or "
            "choose another path by --control and in haloyd.yaml by proxy: control:"
        ) from problem
    finally:
        os.umask(before)
    return listening


def _in_use(path: Path) -> bool:
    """Tell whether somebody listens there, also if they take nothing at present."""
    with socket.socket(
        socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    ) as one:
        try:
            one.connect(str(path))
        except BlockingIOError:  # EAGAIN: as many wait as may (unix(7))
            return True
        except OSError:
            return False
        return True
