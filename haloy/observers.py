"""Where log lines go: a terminal, JSON for machines, or the journal with its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Final, TextIO

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    formatEvent,
    formatEventAsClassicLogText,
)

from haloy.journal import JOURNAL, JournalObserver, is_journal

LEVELS: Final = {
    LogLevel.debug: "DEBUG",
    LogLevel.info: "INFO",
    LogLevel.warn: "WARN",
    LogLevel.error: "ERROR",
    LogLevel.critical: "ERROR",
}


def text_observer(stream: TextIO, debug: bool) -> ILogObserver:
    """Return the observer for people: one line an event, with tracebacks."""
    return _filtered(FileLogObserver(stream, formatEventAsClassicLogText), debug)


def json_observer(stream: TextIO, debug: bool) -> ILogObserver:
    """Return the observer for machines: one JSON object an event and line."""
    return _filtered(FileLogObserver(stream, _as_json), debug)


def journal_observer(
    stream: TextIO, debug: bool, path: str = JOURNAL, name: str = "haloyd"
) -> ILogObserver:
    """Return the observer for the journal; C{stream} gets what it does not take."""
    plain = FileLogObserver(stream, formatEventAsClassicLogText)
    return _filtered(JournalObserver(_described, plain, path, name), debug)


def choose_observer(
    form: str,
    stream: TextIO,
    debug: bool,
    environment: Mapping[str, str],
    name: str = "haloyd",
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
        return journal_observer(stream, debug, name=name)
    return text_observer(stream, debug)


def _described(event: LogEvent) -> tuple[str, dict[str, str]]:
    failure = event.get("log_failure")
    fields = fields_of(event)
    if failure is not None:
        fields["traceback"] = failure.getTraceback()
    return message_of(event), fields


def is_wanted(event: LogEvent, debug: bool) -> bool:
    """Return whether an event is one for people."""
    return _levels(debug)(event) is not PredicateResult.no


def _filtered(observer: ILogObserver, debug: bool) -> ILogObserver:
    return FilteringLogObserver(observer, [_levels(debug)])


@cache
def _levels(debug: bool) -> LogLevelFilterPredicate:
    levels = LogLevelFilterPredicate(LogLevel.debug if debug else LogLevel.info)
    if not debug:
        # Factories and ports that start and stop are news to nobody.
        for namespace in ("twisted", "log_legacy"):
            levels.setLogLevelForNamespace(namespace, LogLevel.warn)
    return levels


def _as_json(event: LogEvent) -> str:
    line = {
        "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(),
        "level": LEVELS.get(event.get("log_level", LogLevel.info), "INFO"),
        "logger": event.get("log_namespace", ""),
        "message": message_of(event),
        **fields_of(event),
    }
    return json.dumps(line, ensure_ascii=False) + "\n"


def message_of(event: LogEvent) -> str:
    """Return an event's text, with the reason of its failure."""
    text = formatEvent(event)
    failure = event.get("log_failure")
    if failure is not None:
        text = (
            f"{text}: {failure.getErrorMessage()}" if text else failure.getTraceback()
        )
    return text


def fields_of(event: LogEvent) -> dict[str, str]:
    """Return the named fields as texts, without the logger's own C{log_*}."""
    return {
        key: str(value)
        for key, value in event.items()
        if not key.startswith("log_")
        and key not in {"format", "isError", "time"}
        and not key.startswith("_")
    }
