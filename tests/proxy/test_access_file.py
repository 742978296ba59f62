"""The file that access records are written to."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from haloy.proxy.access_file import FLUSH_VISITS, AccessFile, AccessSettings
from tests.proxy.test_metrics import visit

AT = datetime(2026, 11, 24, 10, tzinfo=UTC)


def _file(path: Path | None, **values: Any) -> tuple[AccessFile, Clock]:
    clock = Clock()
    settings = evolve(AccessSettings("json"), **values)
    return AccessFile(clock, path, settings, lambda: AT), clock


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_written_within_a_second(tmp_path: Path) -> None:
    """The folder is made, the file is its owner's alone."""
    path = tmp_path / "logs" / "access.log"
    log, clock = _file(path)
    log(visit())
    assert not path.exists()
    clock.advance(1.0)
    (line,) = _lines(path)
    assert (line["time"], line["app"]) == ("2026-11-24T10:00:00Z", "shop")
    assert path.stat().st_mode & 0o777 == 0o600
    log.close()
    assert not clock.getDelayedCalls()


def test_many_lines_do_not_wait(tmp_path: Path) -> None:
    """Memory does not grow with traffic."""
    path = tmp_path / "access.log"
    log, clock = _file(path)
    for _ in range(FLUSH_VISITS):
        log(visit())
    assert len(_lines(path)) == FLUSH_VISITS
    log.close()
    assert not clock.getDelayedCalls()


def test_some_of_what_went_well_and_all_that_did_not(tmp_path: Path) -> None:
    """One in four is exactly one in four."""
    path = tmp_path / "access.log"
    log, _ = _file(path, percent=25)
    for _ in range(100):
        log(visit())
    for _ in range(3):
        log(visit(status=500))
    log.close()
    statuses = [one["status"] for one in _lines(path)]
    assert (statuses.count(200), statuses.count(500)) == (25, 3)


def test_none_of_what_went_well(tmp_path: Path) -> None:
    """0 percent is a log of errors."""
    path = tmp_path / "access.log"
    log, _ = _file(path, percent=0)
    log(visit())
    log(visit(outcome="cut"))
    log.close()
    assert [one["outcome"] for one in _lines(path)] == ["cut"]


def test_redaction_and_the_combined_form(tmp_path: Path) -> None:
    """What is configured anew counts from the next request."""
    path = tmp_path / "access.log"
    log, _ = _file(path, redact=frozenset({"query"}))
    log(visit(target="/?secret"))
    log.configure(AccessSettings("combined"))
    log(visit())
    log.close()
    first, second = path.read_text().splitlines()
    assert json.loads(first)["target"] == "/?***"
    assert second.startswith("192.0.2.1 - - [24/Nov/2026:10:00:00 +0000]")


def test_the_file_does_not_fill_the_disk(tmp_path: Path) -> None:
    """At its size it makes room; one older file is kept."""
    path = tmp_path / "access.log"
    log, _ = _file(path, max_bytes=1000)
    for _ in range(20):
        log(visit())
        log.flush()
    log.close()
    assert path.stat().st_size <= 1000
    assert (tmp_path / "access.log.1").stat().st_size <= 1000
    assert len(list(tmp_path.iterdir())) == 2


def test_logrotate(tmp_path: Path) -> None:
    """After a rename and SIGHUP lines go to a new file."""
    path = tmp_path / "access.log"
    log, _ = _file(path)
    log(visit())
    log.flush()
    path.rename(tmp_path / "old")
    log.reopen()
    log(visit())
    log.close()
    assert len(_lines(path)) == len(_lines(tmp_path / "old")) == 1


def test_a_full_disk_costs_lines_and_is_told_once_a_minute(tmp_path: Path) -> None:
    """And it works again when there is room, without a restart."""
    (tmp_path / "logs").write_text("a file where the folder should be")
    log, clock = _file(tmp_path / "logs" / "access.log")
    told: list[LogEvent] = []
    globalLogPublisher.addObserver(told.append)  # type: ignore[arg-type]  # a plain call
    try:
        for _ in range(3):
            log(visit())
            clock.advance(1.0)
    finally:
        globalLogPublisher.removeObserver(told.append)  # type: ignore[arg-type]
    assert log.lost == 3
    assert len(told) == 1
    (tmp_path / "logs").unlink()
    log(visit())
    log.close()
    assert len(_lines(tmp_path / "logs" / "access.log")) == 1


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    """For containers and for the journal."""
    log, _ = _file(None)
    log(visit())
    log.close()
    assert json.loads(capfd.readouterr().out)["host"] == "a.example"
    os.fstat(1)  # it is still open
