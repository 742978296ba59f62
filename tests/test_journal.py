"""What the journal is sent."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from twisted.logger import Logger

from haloy.journal import JournalObserver, encode, is_journal
from haloy.observers import journal_observer, text_observer


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    """Give the journal's end of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "socket"))
        one.settimeout(10)
        yield one


def test_named_fields_stay_fields(journal: socket.socket) -> None:
    """C{journalctl APP=shop} finds them; the message is the whole text."""
    observer = journal_observer(StringIO(), False, str(journal.getsockname()))
    Logger(namespace="haloy.test", observer=observer).warn(
        "{app} has {count} replicas", app="shop", count=2
    )
    assert journal.recv(4096).decode().splitlines() == [
        "MESSAGE=shop has 2 replicas",
        "PRIORITY=4",
        "SYSLOG_IDENTIFIER=haloyd",
        "LOGGER=haloy.test",
        "APP=shop",
        "COUNT=2",
    ]


def test_several_lines_are_one_value() -> None:
    """A traceback does not become fields of its own choosing."""
    found = encode({"message": "a\nPRIORITY=0"})
    assert found == b"MESSAGE\n" + struct.pack("<Q", 12) + b"a\nPRIORITY=0\n"


def test_names_are_made_fit() -> None:
    """The journal takes capitals, digits and underscores, no trusted C{_} names."""
    assert encode({"_pid": "1", "up-time": "2", "9": "3", "": "4"}) == (
        b"PID=1\nUP_TIME=2\n"
    )


def test_a_very_long_message_arrives(journal: socket.socket) -> None:
    """As a file in memory: a datagram would not hold it."""
    observer = journal_observer(StringIO(), False, str(journal.getsockname()))
    Logger(observer=observer).info("{text}", text="x" * 1_000_000)
    _, files, _, _ = socket.recv_fds(journal, 16, 1)
    with os.fdopen(files[0], "rb") as content:
        content.seek(0)
        assert content.read().startswith(b"MESSAGE=" + b"x" * 1_000_000)


def test_without_a_journal_the_stream_gets_it(tmp_path: Path) -> None:
    """Nothing is lost when journald is away."""
    stream = StringIO()
    observer = JournalObserver(
        lambda event: ("text", {}), text_observer(stream, False), str(tmp_path / "no")
    )
    Logger(observer=observer).info("not lost")
    assert "not lost" in stream.getvalue()


def test_debug_needs_debug(journal: socket.socket) -> None:
    """As in the other forms."""
    observer = journal_observer(StringIO(), False, str(journal.getsockname()))
    log = Logger(observer=observer)
    log.debug("hidden")
    log.info("shown")
    assert b"MESSAGE=shown" in journal.recv(4096)


def test_whose_output_it_is(tmp_path: Path) -> None:
    """C{JOURNAL_STREAM} is inherited by children whose output goes elsewhere."""
    with (tmp_path / "log").open("w") as file:
        found = os.fstat(file.fileno())
        assert is_journal(f"{found.st_dev}:{found.st_ino}", file.fileno())
        assert not is_journal("1:2", file.fileno())
        descriptor = file.fileno()
    assert not is_journal("1:2", descriptor)
