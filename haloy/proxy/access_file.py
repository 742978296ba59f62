"""Where visits are written: a file of bounded size, some lines at a time.

Visits of a second are gathered, made into lines and written together, which costs
less than one by one; nothing waits for the disk but the page cache. A disk that is
full costs lines, counted and told, and no request. In the embedded form haloyd has the
file; in the split form each worker writes to one that haloyd has opened.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from haloy.clock import Seldom
from haloy.proxy.access_lines import Lines, lines_of
from haloy.proxy.access_log import Gathering, Sink, Visit
from haloy.proxy.interface import AccessSettings

# Few enough to stay in the processor's cache until they are written.
FLUSH_VISITS: Final = 128
TELL_EVERY_S: Final = 60.0
_NEWLINE: Final = 0x0A


class Place(Protocol):
    """Where text goes: whole lines, in one piece."""

    def write(self, content: bytes, max_bytes: int) -> None:
        """Append C{content}. @raise OSError: not all of it could be."""

    def close(self) -> None:
        """Let go of it; what is written later opens it again, if it can."""


class Appending:
    """Appends to a descriptor: one write, so that lines of several writers keep whole.

    Of a line that a full disk has cut, the rest is lost; the next one begins anew.
    """

    __slots__ = ("_cut",)

    def __init__(self) -> None:
        self._cut = False

    def append(self, descriptor: int, content: bytes) -> None:
        """Append C{content}. @raise OSError: not all of it could be."""
        if self._cut:
            content = b"\n" + content
        done = 0
        try:
            while done < len(content):
                done += os.write(descriptor, content[done:] if done else content)
        finally:
            if done:
                self._cut = content[done - 1] != _NEWLINE


class Output:
    """Standard output: for containers and the journal."""

    def __init__(self) -> None:
        self._appending = Appending()

    def write(self, content: bytes, max_bytes: int) -> None:
        """See L{Place.write}."""
        self._appending.append(1, content)

    def close(self) -> None:
        """Leave it to everybody else."""


class OwnFile:
    """A file that this process opens, and renames when it has its size."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._appending = Appending()
        self._file = -1
        self._size = 0

    def write(self, content: bytes, max_bytes: int) -> None:
        """See L{Place.write}."""
        if self._file < 0:
            self._open()
        if max_bytes and self._size + len(content) > max_bytes:
            make_room(self._path)
            self.close()
            self._open()
        try:
            self._appending.append(self._file, content)
        except OSError:
            self.close()
            raise
        self._size += len(content)

    def close(self) -> None:
        """See L{Place.close}; a file that was renamed is begun anew."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        self._file = open_log(self._path)
        self._size = os.fstat(self._file).st_size


class GivenFile:
    """A file that was handed to this process, which can neither open nor rename it.

    Who has opened it makes room. If that is away, twice the size is the end: of what
    fills disks there is one limit, whoever lives.
    """

    def __init__(self, descriptor: int) -> None:
        self._file = descriptor
        self._appending = Appending()

    def write(self, content: bytes, max_bytes: int) -> None:
        """See L{Place.write}."""
        if max_bytes and os.fstat(self._file).st_size >= 2 * max_bytes:
            raise OSError(
                errno.EFBIG, "it is full, and haloyd is not there to rename it"
            )
        self._appending.append(self._file, content)

    def close(self) -> None:
        """Let go of it, for good."""
        os.close(self._file)


@define(eq=False)
class Unwritten:
    """Counts visits that nobody writes, as it is not known yet where to and how."""

    _failed: int = field(default=0, init=False)
    _others: int = field(default=0, init=False)

    def __call__(self, visit: Visit) -> None:
        """Take note of a visit."""
        if visit[0].failed:
            self._failed += 1
        else:
            self._others += 1

    def lines(self, settings: AccessSettings) -> int:
        """Return how many lines there would be of them."""
        return self._failed + self._others * settings.percent // 100


def open_log(path: Path) -> int:
    """Return a descriptor that appends to the file at C{path}, made if need be.

    It is its owner's alone. @raise OSError: it cannot be opened.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def make_room(path: Path) -> None:
    """Rename the file to C{NAME.1}, in the place of the one before."""
    path.replace(path.with_name(f"{path.name}.1"))


@define(eq=False)
class AccessFile:
    """Text for a place, of the visits that its sink takes.

    @ivar note: the sink.
    @ivar lost: how many lines could not be written.
    """

    _reactor: IReactorTime
    _place: Place
    _settings: AccessSettings
    _now: Callable[[], datetime] = lambda: datetime.now(UTC)
    note: Sink = field(init=False)
    lost: int = field(default=0, init=False)
    _log: Logger = field(factory=Logger, init=False)
    _form: Lines = field(init=False)
    _time_format: str = field(init=False)
    _gathering: Gathering = field(init=False)
    _second: IDelayedCall | None = field(default=None, init=False)
    _stamp: str = field(default="", init=False)
    _telling: Seldom = field(factory=lambda: Seldom(TELL_EVERY_S), init=False)

    def __attrs_post_init__(self) -> None:
        self._gathering = Gathering(FLUSH_VISITS, self._begin_second, self.flush)
        # Not a method that calls it: it is done for each request.
        self.note = self._gathering.note
        self.configure(self._settings)

    def configure(self, settings: AccessSettings) -> None:
        """Write by C{settings} from now on."""
        self.flush()
        self._settings = settings
        self._gathering.percent = settings.percent
        self._form, self._time_format = lines_of(settings.form, settings.redact)
        self._forget_second()

    def reopen(self) -> None:
        """Write to a new file if somebody has renamed ours (logrotate)."""
        self.flush()
        self._place.close()

    def move(self, place: Place) -> None:
        """Write to C{place} from now on."""
        self.reopen()
        self._place = place

    def close(self) -> None:
        """Write what waits, and no more."""
        self.flush()
        self._forget_second()
        self._place.close()

    def flush(self) -> None:
        """Write what waits."""
        visits = self._gathering.take()
        if not visits:
            return
        content = self._form.text(visits, self._stamp).encode("utf-8", "replace")
        try:
            self._place.write(content, self._settings.max_bytes)
        except OSError as problem:
            self.lost += len(visits)
            self._tell(problem)

    def _begin_second(self) -> None:
        """Note the present second; what is of it is written when it ends."""
        now = self._now()
        self._stamp = now.strftime(self._time_format)
        left_s = 1 - now.microsecond / 1e6
        self._second = self._reactor.callLater(left_s, self._end_second)

    def _end_second(self) -> None:
        self._second = None
        self._gathering.begun = False
        self.flush()

    def _forget_second(self) -> None:
        if self._second is not None:
            self._second.cancel()
            self._second = None
            self._gathering.begun = False

    def _tell(self, problem: OSError) -> None:
        if self._telling.is_time(self._reactor.seconds()):
            self._log.error(
                "the access log cannot be written: {problem}; "
                "{lost} lines are lost so far",
                problem=str(problem),
                lost=self.lost,
            )
