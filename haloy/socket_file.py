"""The file by which a unix socket is found, which others may take away.

A cleaner of old files, a hand, a folder made anew: whoever removes it takes the socket
from those who come next, and what is connected goes on. So it is looked at.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from haloy.errors import HaloyError

#: How often the file is looked at.
LOOK_S: Final = 2.0


def make_way(path: Path) -> None:
    """Remove the socket that a crash left at C{path}; nothing else is ever removed.

    @raise OSError: no socket can be made there, C{strerror} says why.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "what is there is no socket, and is left alone")
    path.unlink(missing_ok=True)


class SocketFile:
    """Has C{listen} called again when the file at C{path} is not the one it made.

    C{listen} raises L{HaloyError} where it cannot, and nothing is changed then.
    """

    _log = Logger()

    def __init__(self, path: Path, listen: Callable[[], None]) -> None:
        """Listen. @raise HaloyError: as C{listen}."""
        self._path = path
        self._listen = listen
        self._told = ""
        self._round: LoopingCall | None = None
        listen()
        self._made = _identity(path)

    def watch(self, clock: Any) -> None:
        """Look from now on, each L{LOOK_S} seconds."""
        self._round = LoopingCall(self._look)
        self._round.clock = clock
        self._round.start(LOOK_S, now=False).addErrback(
            lambda failure: self._log.failure("looking at a socket", failure)
        )

    def remove(self) -> None:
        """Look no more, and leave no file; another's stays."""
        if self._round is not None and self._round.running:
            self._round.stop()
        if self._is_there():
            with suppress(OSError):  # the folder may be another's by now
                self._path.unlink()

    def _is_there(self) -> bool:
        return self._made is not None and _identity(self._path) == self._made

    def _look(self) -> None:
        if self._is_there():
            return
        try:
            self._listen()
        except HaloyError as problem:
            if str(problem) != self._told:
                self._told = str(problem)
                self._log.error(
                    "the socket {path} was removed: {problem}; this goes on trying",
                    path=str(self._path),
                    problem=self._told,
                )
            return
        self._made = _identity(self._path)
        self._told = ""
        self._log.warn(
            "the socket {path} was removed, and is made again", path=str(self._path)
        )


def _identity(path: Path) -> tuple[int, int] | None:
    """Return which file is at C{path}, C{None}: none that can be seen.

    Its number is given to no other one while the socket listens, which holds it.
    """
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
