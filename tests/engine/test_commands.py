"""Commands in containers of a real dockerd: input, terminals, exit codes, and ends."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from haloy.engine import commands
from haloy.engine.docker import DockerEngine
from haloy.engine.interface import ContainerSpec, Output, Stream, TerminalSize
from haloy.errors import EngineError, NotFound
from tests.engine.test_docker import docker
from tests.support.docker import build_image, cleaned, require_docker, unique

pytestmark = pytest.mark.docker

PREFIX = "haloytest-commands"


@define(eq=False)
class Scene:
    """A running container, and what a session in it has said."""

    reactor: Any
    engine: DockerEngine
    container: str = ""
    seen: dict[Stream, bytes] = field(
        factory=lambda: {Stream.OUT: b"", Stream.ERR: b""}
    )
    running: Deferred[int] | None = None

    async def consume(self, output: Output) -> None:
        self.seen[output.stream] += output.data

    async def begin(self, *command: str, terminal: TerminalSize | None = None) -> Any:
        session = await self.engine.session(self.container, command, terminal)
        self.running = Deferred.fromCoroutine(session.run(self.consume))
        return session

    async def until(self, wanted: bytes) -> None:
        for _ in range(2000):
            if wanted in self.seen[Stream.OUT]:
                return
            await deferLater(self.reactor, 0.01)
        raise AssertionError(self.seen)

    async def sleeping(self) -> int:
        """Return how many C{sleep} of ours run in the container."""
        listed = await docker("exec", self.container, "ps", "-o", "args")
        return sum("sleep 987" in line for line in listed.splitlines())

    async def until_sleeping(self, wanted: bool) -> None:
        for _ in range(100):
            if (await self.sleeping() > 0) is wanted:
                return
            await deferLater(self.reactor, 0.1)
        raise AssertionError("sleeps" if wanted is False else "does not sleep")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_docker()
    with cleaned(PREFIX):
        ref = f"{PREFIX}:latest"
        build_image(ref, tmp_path_factory.mktemp("image"), "exec sleep 600")
        yield ref


@pytest_twisted.async_yield_fixture
async def scene(reactor: Any, image: str) -> AsyncIterator[Scene]:
    engine = DockerEngine(reactor)
    found = Scene(reactor, engine)
    name = unique("commands")
    spec = ContainerSpec(name, image, network="none")
    found.container = await engine.create(spec)
    await engine.start(found.container)
    yield found
    await engine.remove(found.container)
    await engine.close()


async def test_input_and_its_end(scene: Scene) -> None:
    """What is written is read; the end of the input ends the command."""
    session = await scene.begin("sh", "-c", "cat; echo err >&2; exit 3")
    session.write(b"hello\n")
    await scene.until(b"hello")
    session.end_input()
    assert scene.running is not None
    assert await scene.running == 3
    assert scene.seen == {Stream.OUT: b"hello\n", Stream.ERR: b"err\n"}


@define(eq=False)
class Pauses:
    """Who writes input, and how often it has to wait."""

    times: int = 0
    paused: bool = False
    stopped: bool = False

    def pauseProducing(self) -> None:
        self.times, self.paused = self.times + 1, True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.stopped = True


async def test_end_behind_much_input(scene: Scene) -> None:
    """A slow command gets all of it, and the end; who writes is not left waiting."""
    session = await scene.begin("sh", "-c", "sleep 1; cat; exit 3")
    pauses = Pauses()
    session.paused_by(pauses)
    session.write(b"x" * 10_000_000)
    session.end_input()
    assert (pauses.times, pauses.paused) == (1, False)
    assert scene.running is not None
    assert await scene.running == 3
    assert len(scene.seen[Stream.OUT]) == 10_000_000


async def test_who_writes_is_told_of_the_end(scene: Scene) -> None:
    """Input that nobody takes any more keeps nobody waiting."""
    session = await scene.begin("head", "-c", "1")
    pauses = Pauses()
    session.paused_by(pauses)
    session.write(b"x" * 1_000_000)
    assert scene.running is not None
    assert await scene.running == 0
    await deferLater(scene.reactor, 0)
    assert pauses.stopped
    assert scene.seen[Stream.OUT] == b"x"


async def test_input_behind_the_end(scene: Scene) -> None:
    """Whoever writes hears late that the command has ended: nothing happens."""
    session = await scene.begin("true")
    session.paused_by(Pauses())
    assert scene.running is not None
    assert await scene.running == 0
    await deferLater(scene.reactor, 0)
    session.write(b"more")
    session.end_input()


@pytest.mark.parametrize("line", [b"hello\n", b"hello"])
async def test_end_of_a_terminals_input(scene: Scene, line: bytes) -> None:
    """The command is told, and goes on to its own end."""
    command = "cat > /dev/null; sleep 0.5; echo later; exit 3"
    session = await scene.begin("sh", "-c", command, terminal=TerminalSize(80, 24))
    session.write(line)
    await scene.until(b"hello")
    session.end_input()
    assert scene.running is not None
    assert await scene.running == 3
    assert b"later" in scene.seen[Stream.OUT]


async def test_connection_that_breaks_off_is_no_success(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is the command's or there is none; it does not run on."""
    monkeypatch.setattr(commands, "EXIT_TRIES", 3)
    session = await scene.begin("sh", "-c", "sleep 987; true")
    await scene.until_sleeping(True)
    session._connection.close()
    assert scene.running is not None
    with pytest.raises(EngineError, match="killed"):
        await scene.running
    await scene.until_sleeping(False)


async def test_terminal(scene: Scene) -> None:
    """It has the size that was asked for, then another one, and echoes."""
    session = await scene.begin("sh", terminal=TerminalSize(100, 40))
    session.write(b"stty size; echo $TERM\n")
    await scene.until(b"40 100")
    await scene.until(b"xterm-256color")
    await session.resize(TerminalSize(132, 50))
    session.write(b"stty size\n")
    await scene.until(b"50 132")
    session.write(b"exit 7\n")
    assert scene.running is not None
    assert await scene.running == 7


@pytest.mark.parametrize("privileged", [True, False])
async def test_abandoned_command_is_killed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, privileged: bool
) -> None:
    """With all that it has started, also when haloyd is not root (A9)."""
    if not privileged:

        def refuse(pid: int, number: int) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "kill", refuse)
    await scene.begin("sh", "-c", "sleep 987 & sleep 987; true")
    await scene.until_sleeping(True)
    assert scene.running is not None
    scene.running.cancel()
    with pytest.raises(CancelledError):
        await scene.running
    await scene.until_sleeping(False)


async def test_unknown_container(scene: Scene) -> None:
    """There is nothing to run in."""
    with pytest.raises(NotFound):
        await scene.engine.session("no-such-container", ("true",), None)
