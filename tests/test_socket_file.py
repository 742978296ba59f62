"""The file of a unix socket: looked at, made again, removed by who made it."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import define, field
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from haloy.errors import ConfigError
from haloy.socket_file import LOOK_S, SocketFile


@define(eq=False)
class Listener:
    """Makes the file, unless it has a reason not to."""

    path: Path
    problem: str = ""
    made: int = field(default=0)

    def listen(self) -> None:
        if self.problem:
            raise ConfigError(self.problem)
        self.path.unlink(missing_ok=True)
        self.made += 1
        self.path.write_text(str(self.made))


@pytest.fixture
def listener(tmp_path: Path) -> Listener:
    return Listener(tmp_path / "a.sock")


@pytest.fixture
def watched(listener: Listener) -> tuple[SocketFile, Clock]:
    file, clock = SocketFile(listener.path, listener.listen), Clock()
    file.watch(clock)
    return file, clock


def test_what_was_removed_is_made_again(
    listener: Listener, watched: tuple[SocketFile, Clock]
) -> None:
    """At the next look, each time; what is there is left alone."""
    file, clock = watched
    clock.advance(LOOK_S)
    assert listener.made == 1
    for made in (2, 3):
        listener.path.unlink()
        clock.advance(LOOK_S)
        assert listener.made == made
        assert listener.path.exists()
    file.remove()
    assert not listener.path.exists()
    assert not clock.getDelayedCalls()


def test_what_cannot_be_made_is_tried_again(
    listener: Listener, watched: tuple[SocketFile, Clock]
) -> None:
    """It is said once for each reason, and once when it works."""
    file, clock = watched
    listener.path.unlink()
    with capturedLogs() as events:
        for listener.problem in ("no folder", "no folder", "no right", ""):
            clock.advance(LOOK_S)
    assert listener.made == 2
    told = f"the socket {listener.path} was removed"
    assert [formatEvent(event) for event in events] == [
        f"{told}: no folder; this goes on trying",
        f"{told}: no right; this goes on trying",
        f"{told}, and is made again",
    ]
    file.remove()


def test_anothers_file_stays(
    listener: Listener, watched: tuple[SocketFile, Clock]
) -> None:
    """Who took the place keeps it when we end."""
    file, _ = watched
    listener.path.rename(listener.path.with_suffix(".old"))
    listener.path.write_text("another's")
    file.remove()
    assert listener.path.read_text() == "another's"


def test_a_start_that_fails(listener: Listener) -> None:
    """It is told to who starts."""
    listener.problem = "no folder"
    with pytest.raises(ConfigError, match="no folder"):
        SocketFile(listener.path, listener.listen)
