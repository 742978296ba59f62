"""The file that access records are written to."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from haloy.proxy.access_file import (
    FLUSH_VISITS,
    AccessFile,
    Appending,
    GivenFile,
    Output,
    OwnFile,
    open_log,
)
from haloy.proxy.interface import AccessSettings
from tests.proxy.test_metrics import visit

AT = datetime(2026, 11, 24, 10, tzinfo=UTC)


def _file(path: Path | None, **values: Any) -> tuple[AccessFile, Clock]:
    clock = Clock()
    settings = evolve(AccessSettings("json"), **values)
    place = Output() if path is None else OwnFile(path)
    return AccessFile(clock, place, settings, lambda: AT), clock


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_written_within_a_second(tmp_path: Path) -> None:
    """The folder is made, the file is its owner's alone."""
    path = tmp_path / "logs" / "access.log"
    log, clock = _file(path)
    log.note(visit())
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
        log.note(visit())
    assert len(_lines(path)) == FLUSH_VISITS
    log.close()
    assert not clock.getDelayedCalls()


def test_some_of_what_went_well_and_all_that_did_not(tmp_path: Path) -> None:
    """One in four is exactly one in four."""
    path = tmp_path / "access.log"
    log, _ = _file(path, percent=25)
    for _ in range(100):
        log.note(visit())
    for _ in range(3):
        log.note(visit(status=500))
    log.close()
    statuses = [one["status"] for one in _lines(path)]
    assert (statuses.count(200), statuses.count(500)) == (25, 3)


def test_none_of_what_went_well(tmp_path: Path) -> None:
    """0 percent is a log of errors."""
    path = tmp_path / "access.log"
    log, _ = _file(path, percent=0)
    log.note(visit())
    log.note(visit(outcome="cut"))
    log.close()
    assert [one["outcome"] for one in _lines(path)] == ["cut"]


def test_redaction_and_the_combined_form(tmp_path: Path) -> None:
    """What is configured anew counts from the next request."""
    path = tmp_path / "access.log"
    log, _ = _file(path, redact=frozenset({"query"}))
    log.note(visit(target="/?secret"))
    log.configure(AccessSettings("combined"))
    log.note(visit())
    log.close()
    first, second = path.read_text().splitlines()
    assert json.loads(first)["target"] == "/?***"
    assert second.startswith("192.0.2.1 - - [24/Nov/2026:10:00:00 +0000]")


def test_the_file_does_not_fill_the_disk(tmp_path: Path) -> None:
    """At its size it makes room; one older file is kept."""
    path = tmp_path / "access.log"
    log, _ = _file(path, max_bytes=1000)
    for _ in range(20):
        log.note(visit())
        log.flush()
    log.close()
    assert path.stat().st_size <= 1000
    assert (tmp_path / "access.log.1").stat().st_size <= 1000
    assert len(list(tmp_path.iterdir())) == 2


def test_logrotate(tmp_path: Path) -> None:
    """After a rename and SIGHUP lines go to a new file."""
    path = tmp_path / "access.log"
    log, _ = _file(path)
    log.note(visit())
    log.flush()
    path.rename(tmp_path / "old")
    log.reopen()
    log.note(visit())
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
            log.note(visit())
            clock.advance(1.0)
    finally:
        globalLogPublisher.removeObserver(told.append)  # type: ignore[arg-type]
    assert log.lost == 3
    assert len(told) == 1
    (tmp_path / "logs").unlink()
    log.note(visit())
    log.close()
    assert len(_lines(tmp_path / "logs" / "access.log")) == 1


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    """For containers and for the journal."""
    log, _ = _file(None)
    log.note(visit())
    log.close()
    assert json.loads(capfd.readouterr().out)["host"] == "a.example"
    os.fstat(1)  # it is still open


def test_a_file_that_was_given(tmp_path: Path) -> None:
    """What waits goes to the one before; a descriptor is closed when it is left."""
    first, second = tmp_path / "first", tmp_path / "second"
    given = open_log(first)
    clock = Clock()
    log = AccessFile(clock, GivenFile(given), AccessSettings("json"), lambda: AT)
    log.note(visit(target="/a"))
    log.move(GivenFile(open_log(second)))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(given)
    log.note(visit(target="/b"))
    log.close()
    assert [one["target"] for one in (*_lines(first), *_lines(second))] == ["/a", "/b"]


def test_a_given_file_ends_at_twice_its_size(tmp_path: Path) -> None:
    """It cannot be renamed from here; what is too much is counted."""
    path = tmp_path / "access.log"
    clock = Clock()
    settings = AccessSettings("json", max_bytes=1000)
    log = AccessFile(clock, GivenFile(open_log(path)), settings, lambda: AT)
    for _ in range(20):
        log.note(visit())
        log.flush()
    log.close()
    assert log.lost > 0
    assert len(_lines(path)) + log.lost == 20
    assert 2000 <= path.stat().st_size < 3000


def test_several_append_whole_lines(tmp_path: Path) -> None:
    """What one writes never stands within what another does."""
    path = tmp_path / "access.log"
    texts = [
        b"".join(b"%d-%03d-" % (n, i) + b"x" * 900 + b"\n" for i in range(50))
        for n in range(4)
    ]

    def write(text: bytes) -> None:
        place = GivenFile(open_log(path))
        for _ in range(20):
            place.write(text, 0)
        place.close()

    threads = [threading.Thread(target=write, args=(one,)) for one in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = path.read_bytes()
    assert len(content) == 4 * 20 * len(texts[0])
    step = len(texts[0])
    blocks = [content[at : at + step] for at in range(0, len(content), step)]
    assert all(one in texts for one in blocks)


def test_a_line_that_was_cut_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one behind it is whole."""
    written = b""
    room = 10

    def write(_: int, content: bytes) -> int:
        nonlocal written, room
        if not room:
            raise OSError(28, "No space left on device")
        taken = content[:room]
        written, room = written + taken, room - len(taken)
        return len(taken)

    monkeypatch.setattr(os, "write", write)
    appending = Appending()
    for _ in range(2):  # a second one does not forget it
        with pytest.raises(OSError, match="No space"):
            appending.append(1, b"one line\nanother line\n")
    room = 100
    appending.append(1, b"a third\n")
    appending.append(1, b"a fourth\n")
    assert written == b"one line\na\na third\na fourth\n"
