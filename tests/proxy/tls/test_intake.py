"""What clients send over TLS, read into one buffer."""

from __future__ import annotations

import os
import ssl
from typing import cast

import pytest

from haloy.proxy.tls.intake import INTAKE_BYTES, RECORD_BYTES, Intake

RECORD = os.urandom(RECORD_BYTES)


class Records:
    """Stands for TLS: each call gives one record, then what is scripted."""

    def __init__(self, script: list[bytes | OSError]) -> None:
        self.script = script
        # Where the session of a real one is.
        self._sslobj = self

    def read(self, _size: int, buffer: memoryview) -> int:
        # The rest of a record would stay where the reactor does not see it.
        assert len(buffer) >= RECORD_BYTES
        one = self.script.pop(0)
        if isinstance(one, OSError):
            raise one
        buffer[: len(one)] = one
        return len(one)


def fill(intake: Intake, source: Records, *, few: bool = False) -> int:
    return intake.fill(cast(ssl.SSLSocket, source), few=few)


@pytest.mark.parametrize(
    ("script", "ended", "broken"),
    [
        ([RECORD, RECORD, b"rest"], False, False),
        ([RECORD, ssl.SSLWantReadError()], False, False),
        ([RECORD, b""], True, False),
        ([RECORD, ssl.SSLEOFError()], True, False),
        ([RECORD, ConnectionResetError()], False, True),
        ([b"short"], False, False),
        ([b""], True, False),
    ],
)
def test_records_are_read_side_by_side(
    script: list[bytes | OSError], *, ended: bool, broken: bool
) -> None:
    """All that is there comes, in order, and what ended it is known."""
    intake = Intake()
    data = b"".join(one for one in script if isinstance(one, bytes))
    source = Records(list(script))
    size = fill(intake, source)
    assert intake.copy(size) == intake.lend(b"", size) == data
    assert intake.lend(b"held", size) == b"held" + data
    assert (intake.ended, intake.broken) == (ended, broken)
    assert source.script == []


def test_no_more_than_fits() -> None:
    """One connection does not hold up the others, however much comes."""
    intake = Intake()
    source = Records([RECORD] * 36)
    assert fill(intake, source) == INTAKE_BYTES
    assert len(source.script) == 4
    assert intake.copy(INTAKE_BYTES) == RECORD * 32


def test_where_others_wait_little_is_read() -> None:
    """The rest stays with the kernel, and goes on later."""
    intake = Intake()
    source = Records([RECORD] * 4)
    assert fill(intake, source, few=True) == 2 * RECORD_BYTES
    assert intake.copy(2 * RECORD_BYTES) == RECORD * 2
    assert len(source.script) == 2


def test_the_longest_beginning_of_a_frame_fits() -> None:
    """It is put before what comes, which stays where it was."""
    intake = Intake()
    held = os.urandom(16384 + 8)
    size = fill(intake, Records([RECORD, b"x"]))
    assert intake.lend(held, size) == held + RECORD + b"x"
