"""The access log as haloyd looks after it, for itself or for workers."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from haloy.config.operations import LogSettings
from haloy.daemon.logs import LogRecord, ServerLog
from haloy.daemon.requests import CHECK_S, RequestLog
from haloy.proxy.control.protocol import AccessLog
from tests.proxy.test_metrics import visit

AT = datetime(2026, 11, 24, 10, tzinfo=UTC)
ON = LogSettings(access="json", access_max_size=1000)


class Workers:
    """Those of the split form: they write to what they have."""

    def __init__(self) -> None:
        self.told: list[AccessLog] = []

    def take(self, log: AccessLog) -> None:
        self.told.append(log)

    def write(self, text: bytes) -> None:
        os.write(self.told[-1].descriptor, text)


def made(tmp_path: Path, log: LogSettings) -> tuple[RequestLog, Workers, Clock]:
    """Return one for the split form, started."""
    clock, workers = Clock(), Workers()
    default = tmp_path / "logs" / "access.log"
    requests = RequestLog(clock, default, log, ServerLog(), lambda: AT)
    requests.hand_on = workers.take
    requests.start()
    return requests, workers, clock


def test_workers_get_the_file(tmp_path: Path) -> None:
    """It is made, its owner's alone, and closed here at the end; haloyd writes none."""
    requests, workers, clock = made(tmp_path, ON)
    path = tmp_path / "logs" / "access.log"
    assert path.stat().st_mode & 0o777 == 0o600
    (told,) = workers.told
    assert told.settings is not None
    assert (told.settings.form, *told.settings.redact) == ("json", "query")
    assert not requests.wanted
    requests.record(visit())
    workers.write(b"x\n")
    requests.close()
    assert path.read_bytes() == b"x\n"
    assert len(workers.told) == 1
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(told.descriptor)
    assert not clock.getDelayedCalls()


def test_room_is_made(tmp_path: Path) -> None:
    """At its size the file is renamed, and workers get the next one."""
    requests, workers, clock = made(tmp_path, ON)
    path = tmp_path / "logs" / "access.log"
    for text in (b"a" * 1000, b"b" * 1000, b"c" * 999):
        workers.write(text)
        clock.advance(CHECK_S)
    assert len(workers.told) == 3
    assert path.read_bytes() == b"c" * 999
    assert (path.parent / "access.log.1").read_bytes() == b"b" * 1000
    requests.close()


def test_the_file_of_somebody_else_is_not_moved(tmp_path: Path) -> None:
    """Logrotate has renamed ours and made a new one: that is begun, and kept."""
    requests, workers, clock = made(tmp_path, ON)
    path = tmp_path / "logs" / "access.log"
    workers.write(b"a" * 1000)
    path.rename(path.parent / "theirs")
    path.write_bytes(b"new\n")
    clock.advance(CHECK_S)
    workers.write(b"line\n")
    assert path.read_bytes() == b"new\nline\n"
    assert sorted(one.name for one in path.parent.iterdir()) == ["access.log", "theirs"]
    requests.close()


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """It is tried again, told once a minute; workers keep what they have."""
    requests, workers, clock = made(tmp_path, ON)
    told: list[LogEvent] = []
    globalLogPublisher.addObserver(told.append)  # type: ignore[arg-type]  # a plain call
    folder = tmp_path / "logs"
    folder.rename(tmp_path / "away")
    folder.write_text("a file where the folder should be")
    try:
        for _ in range(3):
            requests.reopen()
            clock.advance(1.0)
    finally:
        globalLogPublisher.removeObserver(told.append)  # type: ignore[arg-type]
    assert len(told) == 1
    workers.write(b"on\n")
    folder.unlink()
    requests.reopen()
    workers.write(b"again\n")
    assert (folder / "access.log").read_bytes() == b"again\n"
    assert (tmp_path / "away" / "access.log").read_bytes() == b"on\n"
    requests.close()


def test_it_is_configured_anew(tmp_path: Path) -> None:
    """Off, on and otherwise, while workers run."""
    requests, workers, _ = made(tmp_path, LogSettings())
    assert workers.told == []
    requests.configure(ON)
    requests.configure(evolve(ON, access="combined"))
    forms = [one.settings.form for one in workers.told if one.settings is not None]
    assert forms == ["json", "combined"]
    requests.configure(LogSettings())
    assert workers.told[-1] == AccessLog()
    requests.close()


@pytest.mark.parametrize("kind", ["output", "pipe"])
def test_what_could_block_is_written_here(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    """Standard output and pipes: workers tell haloyd of requests, as for readers."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDWR)
    where = "-" if kind == "output" else str(pipe)
    requests, workers, _ = made(tmp_path, evolve(ON, access_file=where))
    assert workers.told == []
    assert requests.wanted
    requests.record(visit(target="/seen"))
    requests.close()
    text = capfd.readouterr().out.encode() if where == "-" else os.read(reading, 9999)
    assert json.loads(text)["target"] == "/seen"
    assert requests.lost == 0
    os.close(reading)


def test_who_follows_sees_what_is_not_redacted(tmp_path: Path) -> None:
    """In either form, whether a file is written or not."""
    server_log = ServerLog()
    seen: list[LogRecord] = []
    log = LogSettings(access_redact=("query",))
    requests = RequestLog(Clock(), tmp_path / "a", log, server_log, lambda: AT)
    requests.start()
    wanted = [requests.wanted]
    leave = server_log.subscribe(seen.append)
    wanted.append(requests.wanted)
    assert wanted == [False, True]
    requests.record(visit(target="/?secret"))
    requests.configure(evolve(log, access_redact=()))
    requests.record(visit(target="/?open"))
    leave()
    assert [one.fields["path"] for one in seen] == ["/?***", "/?open"]
    assert not (tmp_path / "a").exists()
