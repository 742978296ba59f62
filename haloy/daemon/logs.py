"""What the daemon says: to the terminal or journal, and to people who follow it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from attrs import define, field, frozen
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
)
from zope.interface import implementer

from haloy.observers import LEVELS, fields_of, is_wanted, message_of

REPLAY = 100


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
        if not is_wanted(event, self._debug):
            return
        level = event.get("log_level", LogLevel.info)
        self.record(
            LogRecord(
                level=LEVELS.get(level, "INFO"),
                message=message_of(event),
                at=datetime.fromtimestamp(event["log_time"], UTC),
                fields=fields_of(event),
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
