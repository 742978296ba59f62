"""Where visits are written: a file of bounded size, some lines at a time.

Visits of a second are gathered, made into lines and written together, which costs
less than one by one; nothing waits for the disk but the page cache. A disk that is
full costs lines, counted and told, and no request.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from haloy.proxy.access_lines import Lines, lines_of
from haloy.proxy.access_log import Visit

# Few enough to stay in the processor's cache until they are written.
FLUSH_VISITS: Final = 128
TOLD_EVERY_S: Final = 60.0


@frozen
class AccessSettings:
    """What is written.

    C{form} is C{json} or C{combined}; C{percent} of the requests that went well are
    written and all others; C{redact} names what is left out; at C{max_bytes} the
    file is renamed to C{NAME.1} and begun anew, 0: never.
    """

    form: str
    percent: int = 100
    redact: frozenset[str] = frozenset()
    max_bytes: int = 0


@define(eq=False)
class AccessFile:
    """A sink of visits. C{path} C{None} is standard output."""

    _reactor: IReactorTime
    _path: Path | None
    _settings: AccessSettings
    _now: Callable[[], datetime] = lambda: datetime.now(UTC)
    lost: int = field(default=0, init=False)
    _log: Logger = field(factory=Logger, init=False)
    _file: int = field(default=-1, init=False)
    _size: int = field(default=0, init=False)
    _form: Lines = field(init=False)
    _time_format: str = field(init=False)
    _visits: list[Visit] = field(factory=list, init=False)
    _second: IDelayedCall | None = field(default=None, init=False)
    _share: int = field(default=0, init=False)
    _stamp: str = field(default="", init=False)
    _told_s: float = field(default=-TOLD_EVERY_S, init=False)

    def __attrs_post_init__(self) -> None:
        self.configure(self._settings)

    def __call__(self, visit: Visit) -> None:
        """Write a visit, soon."""
        percent = self._settings.percent
        if percent < 100 and not visit.kind.failed:
            self._share += percent
            if self._share < 100:
                return
            self._share -= 100
        if self._second is None:
            self._begin_second()
        visits = self._visits
        visits.append(visit)
        if len(visits) >= FLUSH_VISITS:
            self.flush()

    def configure(self, settings: AccessSettings) -> None:
        """Write by C{settings} from now on."""
        self.flush()
        self._settings = settings
        self._form, self._time_format = lines_of(settings.form, settings.redact)
        self._forget_second()

    def reopen(self) -> None:
        """Write to a new file if somebody has renamed ours (logrotate)."""
        self.flush()
        self._close()

    def close(self) -> None:
        """Write what waits, and no more."""
        self.flush()
        self._forget_second()
        self._close()

    def flush(self) -> None:
        """Write what waits."""
        if not self._visits:
            return
        visits, self._visits = self._visits, []
        content = self._form.text(visits, self._stamp).encode("utf-8", "replace")
        try:
            self._open()
            self._write(content)
        except OSError as problem:
            self.lost += len(visits)
            self._close()
            self._tell(problem)

    def _begin_second(self) -> None:
        """Note the present second; what is of it is written when it ends."""
        now = self._now()
        self._stamp = now.strftime(self._time_format)
        left_s = 1 - now.microsecond / 1e6
        self._second = self._reactor.callLater(left_s, self._end_second)

    def _end_second(self) -> None:
        self._second = None
        self.flush()

    def _forget_second(self) -> None:
        if self._second is not None:
            self._second.cancel()
            self._second = None

    def _open(self) -> None:
        if self._path is None or self._file >= 0:
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._file).st_size

    def _write(self, content: bytes) -> None:
        limit = self._settings.max_bytes
        if self._path is not None and limit and self._size + len(content) > limit:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._close()
            self._open()
        descriptor = 1 if self._path is None else self._file
        while content:
            written = os.write(descriptor, content)
            self._size += written
            content = content[written:]

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _tell(self, problem: OSError) -> None:
        now_s = self._reactor.seconds()
        if now_s - self._told_s >= TOLD_EVERY_S:
            self._told_s = now_s
            self._log.error(
                "the access log cannot be written: {problem}; "
                "{lost} lines are lost so far",
                problem=str(problem),
                lost=self.lost,
            )
