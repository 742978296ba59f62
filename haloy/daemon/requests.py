"""What becomes of requests: lines of the access log, and of what people follow live.

In the embedded form they are written here. In the split form each worker writes its
own to a file that is opened here: lines go on while haloyd is away, and haloy-proxy
gets at nothing but that file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from attrs import define, field
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from haloy.clock import Seldom
from haloy.config.operations import LogSettings
from haloy.daemon.logs import LogRecord, ServerLog
from haloy.proxy.access_file import (
    TELL_EVERY_S,
    AccessFile,
    Output,
    OwnFile,
    make_room,
    open_log,
)
from haloy.proxy.access_log import AccessRecord, Visit, record_of, redacted
from haloy.proxy.control.protocol import AccessLog
from haloy.proxy.interface import AccessSettings

#: How often the size of a file is looked at that others write.
CHECK_S: Final = 1.0


@define(eq=False)
class SharedFile:
    """The access log that workers write: opened, handed to them and renamed here.

    After a rename they write to the old file until they have the new one, so no line
    is lost or torn.
    """

    _reactor: Any
    _path: Path
    _settings: AccessSettings
    _hand_on: Callable[[AccessLog], None]
    _log: Logger = field(factory=Logger, init=False)
    _file: int = field(default=-1, init=False)
    _rounds: LoopingCall = field(init=False)
    _telling: Seldom = field(factory=lambda: Seldom(TELL_EVERY_S), init=False)

    def start(self) -> None:
        """Open it, hand it on, and look after its size."""
        self._rounds = LoopingCall(self._check)
        self._rounds.clock = self._reactor
        self._rounds.start(CHECK_S).addErrback(
            lambda failure: self._log.failure("looking after the access log", failure)
        )

    def configure(self, settings: AccessSettings) -> None:
        """Let lines be written by C{settings}."""
        self._settings = settings
        if self._file >= 0:
            self._hand_on(AccessLog(settings, self._file))

    def reopen(self) -> None:
        """Hand on a new file if somebody has renamed ours (logrotate)."""
        self._try(self._renew)

    def close(self) -> None:
        """Look after it no more; who has it writes on."""
        if self._rounds.running:
            self._rounds.stop()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def end(self) -> None:
        """Let nothing more be written."""
        self._hand_on(AccessLog())
        self.close()

    def _check(self) -> None:
        if self._file < 0:
            self._try(self._renew)
        elif 0 < self._settings.max_bytes <= os.fstat(self._file).st_size:
            self._try(self._rotate)

    def _rotate(self) -> None:
        if self._is_there():
            make_room(self._path)
        self._renew()

    def _is_there(self) -> bool:
        """Return whether the file at the path is still ours."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _renew(self) -> None:
        former, self._file = self._file, open_log(self._path)
        self._hand_on(AccessLog(self._settings, self._file))
        if former >= 0:
            os.close(former)

    def _try(self, what: Callable[[], None]) -> None:
        """Do C{what}; why it cannot be done is told once a minute."""
        try:
            what()
        except OSError as problem:
            if self._telling.is_time(self._reactor.seconds()):
                self._log.error(
                    "the access log cannot be opened: {problem}", problem=str(problem)
                )


@define(eq=False)
class RequestLog:
    """Writes requests, or has them written, and tells those who follow.

    @param default: where the file is if nobody says otherwise.
    @ivar hand_on: tells the workers of the split form; C{None}: there are none.
    """

    _reactor: Any
    _default: Path
    _log: LogSettings
    _server_log: ServerLog
    _now: Callable[[], datetime]
    hand_on: Callable[[AccessLog], None] | None = field(default=None, init=False)
    _own: AccessFile | None = field(default=None, init=False)
    _shared: SharedFile | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin to write, if requests are to be written."""
        log = self._log
        if log.access == "off":
            return
        path = Path(log.access_file or self._default)
        to_output = log.access_file == "-"
        if self.hand_on is not None and not to_output and _may_be_shared(path):
            settings = _access_settings(log)
            self._shared = SharedFile(self._reactor, path, settings, self.hand_on)
            self._shared.start()
            return
        place = Output() if to_output else OwnFile(path)
        self._own = AccessFile(self._reactor, place, _access_settings(log), self._now)

    @property
    def wanted(self) -> bool:
        """Whether anybody here is told of requests: a file of ours, or a reader."""
        return self._own is not None or self._server_log.followed

    @property
    def lost(self) -> int:
        """How many lines could not be written here."""
        return 0 if self._own is None else self._own.lost

    def record(self, visit: Visit) -> None:
        """Write a request, and tell those who follow."""
        if self._own is not None:
            self._own.note(visit)
        if self._server_log.followed:
            record = redacted(record_of(visit), self._log.access_redact)
            self._server_log.record(log_record(record, self._now()))

    def configure(self, log: LogSettings) -> None:
        """Go on as C{log} says; another file counts from the next start."""
        self._log = log
        written = self._own or self._shared
        if written is None:
            self.start()
        elif log.access != "off":
            written.configure(_access_settings(log))
        else:
            if self._shared is not None:
                self._shared.end()
            self.close()

    def reopen(self) -> None:
        """Write to a new file if somebody has renamed ours (logrotate)."""
        written = self._own or self._shared
        if written is not None:
            written.reopen()

    def close(self) -> None:
        """Write what waits, and no more; workers write on."""
        written = self._own or self._shared
        if written is not None:
            written.close()
        self._own = self._shared = None


def _may_be_shared(path: Path) -> bool:
    """Return whether a plain file is there, or will be: nothing else never blocks."""
    return path.is_file() or not path.exists()


def _access_settings(log: LogSettings) -> AccessSettings:
    return AccessSettings(
        log.access,
        log.access_percent,
        frozenset(log.access_redact),
        log.access_max_size,
    )


def log_record(record: AccessRecord, at: datetime) -> LogRecord:
    """Return a request as a line of the server log (C{spec/api.md} 3.5)."""
    fields: Mapping[str, str] = {
        "method": record.method,
        "host": record.host,
        "path": record.target,
        "status": str(record.status),
        "duration_ms": f"{record.total_s * 1000:.0f}",
        "first_byte_ms": f"{record.head_s * 1000:.0f}",
        "bytes_in": str(record.bytes_in),
        "bytes_out": str(record.bytes_out),
        "outcome": record.outcome,
        "remote_addr": record.client,
        "app": record.app,
        "replica": record.upstream[:12],
        "request_id": record.request_id,
        "traceparent": record.traceparent,
        "tls": record.tls,
    }
    return LogRecord("INFO", "request", at, {k: v for k, v in fields.items() if v})
