"""Where access records are written: a file of bounded size, some lines at a time.

Records of a second are gathered, made into lines and written together, which costs
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
from haloy.proxy.access_log import AccessRecord, redacted

FLUSH_S: Final = 1.0
# Few enough to stay in the processor's cache until they are written.
FLUSH_RECORDS: Final = 128
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
    """A sink of records. C{path} C{None} is standard output."""

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
    _records: list[AccessRecord] = field(factory=list, init=False)
    _flush: IDelayedCall | None = field(default=None, init=False)
    _share: int = field(default=0, init=False)
    _second_ends_s: float = field(default=-1.0, init=False)
    _stamp: str = field(default="", init=False)
    _told_s: float = field(default=-TOLD_EVERY_S, init=False)

    def __attrs_post_init__(self) -> None:
        self.configure(self._settings)

    def __call__(self, record: AccessRecord) -> None:
        """Write a record, soon."""
        settings = self._settings
        if settings.percent < 100 and not record.failed:
            self._share += settings.percent
            if self._share < 100:
                return
            self._share -= 100
        now_s = self._reactor.seconds()
        if now_s >= self._second_ends_s:
            self._begin_second(now_s)
        records = self._records
        records.append(record)
        if len(records) >= FLUSH_RECORDS:
            self.flush()
        elif self._flush is None:
            self._flush = self._reactor.callLater(FLUSH_S, self.flush)

    def configure(self, settings: AccessSettings) -> None:
        """Write by C{settings} from now on."""
        self.flush()
        self._settings = settings
        self._form, self._time_format = lines_of(settings.form)
        self._second_ends_s = -1.0

    def reopen(self) -> None:
        """Write to a new file if somebody has renamed ours (logrotate)."""
        self.flush()
        self._close()

    def close(self) -> None:
        """Write what waits, and no more."""
        self.flush()
        self._close()

    def flush(self) -> None:
        """Write what waits."""
        if self._flush is not None:
            if self._flush.active():
                self._flush.cancel()
            self._flush = None
        if not self._records:
            return
        records, self._records = self._records, []
        content = self._content(records)
        try:
            self._open()
            self._write(content)
        except OSError as problem:
            self.lost += len(records)
            self._close()
            self._tell(problem)

    def _content(self, records: list[AccessRecord]) -> bytes:
        """Return the lines of C{records}, which are of the present second."""
        redact = self._settings.redact
        if redact:
            records = [redacted(record, redact) for record in records]
        line, stamp = self._form.line, self._stamp
        lines = [line(record, stamp) for record in records]
        lines.append("")
        return "\n".join(lines).encode("utf-8", "replace")

    def _begin_second(self, now_s: float) -> None:
        """Write what is of the second before, and note the present one."""
        self.flush()
        now = self._now()
        self._second_ends_s = now_s + 1 - now.microsecond / 1e6
        self._stamp = now.strftime(self._time_format)

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
