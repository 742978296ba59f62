"""What C{daemon.logs} shows to people and to those who follow."""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.python.failure import Failure

from haloy.daemon.logs import REPLAY, LogRecord, ServerLog


def logger(observer: ILogObserver) -> Logger:
    return Logger(namespace="haloy.test", observer=observer)


def test_newest_lines_are_kept() -> None:
    """A late follower sees the last hundred lines."""
    server = ServerLog()
    log = logger(server)
    for number in range(REPLAY + 5):
        log.info("line {number}", number=number)
    recent = server.recent()
    assert len(recent) == REPLAY
    assert recent[-1].message == f"line {REPLAY + 4}"
    assert recent[-1].fields == {"number": str(REPLAY + 4)}


def test_followers_get_every_line_until_they_leave() -> None:
    """A4: two followers do not share or cut each other's lines."""
    server = ServerLog()
    log = logger(server)
    one: list[LogRecord] = []
    two: list[LogRecord] = []
    leave = server.subscribe(one.append)
    server.subscribe(two.append)
    log.info("first")
    leave()
    leave()
    log.warn("second")
    assert [record.message for record in one] == ["first"]
    assert [(record.level, record.message) for record in two] == [
        ("INFO", "first"),
        ("WARN", "second"),
    ]
    assert server.followed


def test_requests_are_followed_but_not_kept() -> None:
    """Traffic must not push the daemon's own lines out of the replay."""
    server = ServerLog()
    seen: list[LogRecord] = []
    server.subscribe(seen.append)
    request = LogRecord("INFO", "request", datetime(2026, 11, 24, tzinfo=UTC))
    server.record(request)
    assert seen == [request]
    assert server.recent() == ()


def test_debug_lines_need_debug() -> None:
    """`--debug` changes what is logged and nothing else."""
    quiet, chatty = ServerLog(), ServerLog(debug=True)
    for server in (quiet, chatty):
        logger(server).debug("detail")
    assert quiet.recent() == ()
    assert [record.level for record in chatty.recent()] == ["DEBUG"]


def test_twisteds_own_lines_are_news_to_nobody() -> None:
    """Which factory starts is left out, as in the journal; a warning is not."""
    quiet, chatty = ServerLog(), ServerLog(debug=True)
    for server in (quiet, chatty):
        log = Logger(namespace="twisted.internet.protocol.Factory", observer=server)
        log.info("Starting factory")
        log.warn("odd")
    assert [record.message for record in quiet.recent()] == ["odd"]
    assert [record.message for record in chatty.recent()] == ["Starting factory", "odd"]


def test_failure_is_told_in_one_line() -> None:
    """Followers get the cause; the traceback goes to the journal."""
    server = ServerLog()
    failure = Failure(ValueError("no such port"))
    server(
        {
            "log_level": LogLevel.critical,
            "log_namespace": "haloy.test",
            "log_format": "listening failed",
            "log_failure": failure,
            "log_time": 0.0,
        }
    )
    assert server.recent()[0].message == "listening failed: no such port"
