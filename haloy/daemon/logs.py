"""What the daemon says: to the terminal or journal, and to people who follow it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TextIO

from attrs import define, field, frozen
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatEventAsClassicLogText,
)
from zope.interface import implementer

from haloy.daemon.journal import JOURNAL, JournalObserver, is_journal

REPLAY = 100

_LEVELS = {
    LogLevel.debug: "DEBUG",
    LogLevel.info: "INFO",
    LogLevel.warn: "WARN",
    LogLevel.error: "ERROR",
    LogLevel.critical: "ERROR",
}


@frozen
class LogRecord:
    """One line of the server log, as C{GET /v1/server-logs} gives it.

    C{message} of a request is exactly C{request}, as the Go client expects
    (C{spec/api.md} 3.5); C{fields} are texts.
    """

    level: str
    message: str
    at: datetime
    fields: Mapping[str, str] = field(factory=dict)

    @property
    def access(self) -> bool:
        """Whether it tells of a request rather than of the daemon."""
        return self.message == "request"


@implementer(ILogObserver)
@define(eq=False)
class ServerLog:
    """Keeps the newest lines and gives every line to those who follow.

    A follower must not block; one that is slow is its own problem: it gets every
    line by a plain call and decides what to drop.
    """

    _debug: bool = False
    _recent: deque[LogRecord] = field(factory=lambda: deque(maxlen=REPLAY), init=False)
    _followers: list[Callable[[LogRecord], None]] = field(factory=list, init=False)

    def __call__(self, event: LogEvent) -> None:
        """Take one event of C{twisted.logger}."""
        level = event.get("log_level", LogLevel.info)
        if level is LogLevel.debug and not self._debug:
            return
        self.record(
            LogRecord(
                level=_LEVELS.get(level, "INFO"),
                message=_message(event),
                at=datetime.fromtimestamp(event["log_time"], UTC),
                fields=_fields(event),
            )
        )

    def record(self, record: LogRecord) -> None:
        """Keep one line and pass it on."""
        if not record.access:
            self._recent.append(record)
        for follower in tuple(self._followers):
            follower(record)

    def recent(self) -> tuple[LogRecord, ...]:
        """Return the newest lines, oldest first, at most L{REPLAY}; no requests."""
        return tuple(self._recent)

    def subscribe(self, follower: Callable[[LogRecord], None]) -> Callable[[], None]:
        """Call C{follower} with every line from now on; returns how to end that."""
        self._followers.append(follower)

        def unsubscribe() -> None:
            if follower in self._followers:
                self._followers.remove(follower)

        return unsubscribe

    @property
    def followers(self) -> int:
        """How many follow."""
        return len(self._followers)

    @property
    def followed(self) -> bool:
        """Whether anybody follows: requests need not be told otherwise."""
        return bool(self._followers)


def text_observer(stream: TextIO, debug: bool) -> ILogObserver:
    """Return the observer for people: one line an event, with tracebacks."""
    return _filtered(FileLogObserver(stream, formatEventAsClassicLogText), debug)


def json_observer(stream: TextIO, debug: bool) -> ILogObserver:
    """Return the observer for machines: one JSON object an event and line."""
    return _filtered(FileLogObserver(stream, _as_json), debug)


def journal_observer(stream: TextIO, debug: bool, path: str = JOURNAL) -> ILogObserver:
    """Return the observer for the journal; C{stream} gets what it does not take."""
    plain = FileLogObserver(stream, formatEventAsClassicLogText)
    return _filtered(JournalObserver(_described, plain, path), debug)


def choose_observer(
    form: str, stream: TextIO, debug: bool, environment: Mapping[str, str]
) -> ILogObserver:
    """Return the observer for C{log.format} of haloyd.yaml.

    C{auto} is the journal where C{stream} goes there anyway, else text.
    """
    if form == "auto":
        journal = environment.get("JOURNAL_STREAM", "")
        form = "journal" if journal and is_journal(journal, stream.fileno()) else "text"
    if form == "json":
        return json_observer(stream, debug)
    if form == "journal":
        return journal_observer(stream, debug)
    return text_observer(stream, debug)


def _described(event: LogEvent) -> tuple[str, dict[str, str]]:
    failure = event.get("log_failure")
    fields = _fields(event)
    if failure is not None:
        fields["traceback"] = failure.getTraceback()
    return _message(event), fields


def _filtered(observer: ILogObserver, debug: bool) -> ILogObserver:
    levels = LogLevelFilterPredicate(LogLevel.debug if debug else LogLevel.info)
    if not debug:
        # Factories and ports that start and stop are news to nobody.
        for namespace in ("twisted", "log_legacy"):
            levels.setLogLevelForNamespace(namespace, LogLevel.warn)
    return FilteringLogObserver(observer, [levels])


def _as_json(event: LogEvent) -> str:
    line = {
        "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(),
        "level": _LEVELS.get(event.get("log_level", LogLevel.info), "INFO"),
        "logger": event.get("log_namespace", ""),
        "message": _message(event),
        **_fields(event),
    }
    return json.dumps(line, ensure_ascii=False) + "\n"


def _message(event: LogEvent) -> str:
    text = formatEvent(event)
    failure = event.get("log_failure")
    if failure is not None:
        text = (
            f"{text}: {failure.getErrorMessage()}" if text else failure.getTraceback()
        )
    return text


def _fields(event: LogEvent) -> dict[str, str]:
    """Return the named fields as texts, without the logger's own C{log_*}."""
    return {
        key: str(value)
        for key, value in event.items()
        if not key.startswith("log_")
        and key not in {"format", "isError", "time"}
        and not key.startswith("_")
    }
