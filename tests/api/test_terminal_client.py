"""Interactive commands: client and server on real sockets, a fake engine behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from haloy.api import terminal_client, terminal_server, websocket
from haloy.api.client import ApiClient
from haloy.api.terminal import MESSAGE_LIMIT_BYTES, EndOfInput, Start, encode_asked
from haloy.engine.interface import Output, Stream, TerminalSize
from haloy.errors import (
    EngineError,
    Forbidden,
    HaloyError,
    InvalidValue,
    NotFound,
    ServerUnreachable,
    TooMany,
)
from tests.api.test_client import Scene, answer
from tests.fakes.engine import FakeSession
from tests.support.api import NOW


@define(eq=False)
class Typist:
    """A client at a terminal, and what it has seen."""

    scene: Scene
    client: ApiClient
    seen: dict[str, bytes] = field(factory=lambda: {"stdout": b"", "stderr": b""})

    async def open(self, *command: str, **values: Any) -> Any:
        start = Start(command or ("sh",), **values)
        return await self.client.terminal("hello", start, self.take)

    def take(self, stream: str, data: bytes) -> None:
        self.seen[stream] += data

    async def until(self, reached: Any) -> None:
        for _ in range(1000):
            if reached():
                return
            await deferLater(self.scene.reactor, 0.01)
        raise AssertionError(self.seen)

    @property
    def session(self) -> FakeSession:
        return self.scene.engine.sessions[-1]


@pytest_twisted.async_yield_fixture
async def typist(reactor: Any, tmp_path: Path) -> AsyncIterator[Typist]:
    scene = Scene(reactor)
    await scene.start(tmp_path / "api.sock")
    await scene.running()
    yield Typist(scene, scene.client())
    await scene.hang_up()
    await scene.listener.stop()
    scene.database.close()
    for port in scene.ports:
        await port.stopListening()
    await deferLater(reactor, 0.01)


async def test_command_with_input(typist: Typist) -> None:
    """Input, output by stream, another size, the exit code; it is written down."""
    terminal = await typist.open("sh", "-l", tty=True, columns=100, rows=40)
    await terminal.started
    assert typist.session.command == ("sh", "-l")
    assert typist.session.terminal == TerminalSize(100, 40)
    await terminal.write(b"hello")
    await typist.until(lambda: typist.seen["stdout"] == b"hello")
    typist.session.say(Output(Stream.ERR, b"oops"))
    await typist.until(lambda: typist.seen["stderr"] == b"oops")
    terminal.resize(132, 50)
    await typist.until(lambda: typist.session.terminal == TerminalSize(132, 50))
    await terminal.write(b"exit 7")
    assert await terminal.result() == 7
    assert not typist.session.killed
    (action,) = await typist.client.audit()
    assert (action["action"], action["subject"]) == ("exec.terminal", "hello sh")


async def test_much_output_and_input(typist: Typist) -> None:
    """Messages stay small, nothing is lost, whatever the sizes."""
    terminal = await typist.open()
    await terminal.started
    sent = bytes(range(256)) * 8192
    typist.session.say(Output(Stream.OUT, sent))
    await typist.until(lambda: typist.seen["stdout"] == sent)
    await terminal.write(sent)
    await typist.until(lambda: typist.seen["stdout"] == sent * 2)
    terminal.end_input()
    assert await terminal.result() == 0


async def test_reader_that_takes_its_time(
    typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All output and the exit code come, long after the command has ended."""
    monkeypatch.setattr(websocket, "CLOSE_LIMIT_S", 0.1)
    terminal = await typist.open()
    await terminal.started
    terminal._socket.transport.pauseProducing()
    much = bytes(16 << 20)
    typist.session.say(Output(Stream.OUT, much))
    typist.session.say(7)
    await deferLater(typist.scene.reactor, 0.5)
    assert len(typist.seen["stdout"]) < len(much)
    terminal._socket.transport.resumeProducing()
    assert await terminal.result() == 7
    assert typist.seen["stdout"] == much


async def test_no_input_behind_its_end(typist: Typist) -> None:
    """It would wait in memory; a second end is none."""
    terminal = await typist.open()
    await terminal.started
    typist.session.ends_with_input = False
    terminal.end_input()
    terminal.end_input()
    await terminal.write(b"more")
    with pytest.raises(HaloyError, match="before its end"):
        await terminal.result()
    await typist.until(lambda: typist.session.killed)


async def test_mistake_of_ours_is_told(
    typist: Typist,
    monkeypatch: pytest.MonkeyPatch,
    logged_failures: list[Failure],
) -> None:
    """The connection is not cut without a word, and the command does not run on."""

    def fail(_: object) -> None:
        raise ValueError("a mistake")

    monkeypatch.setattr(FakeSession, "end_input", fail)
    terminal = await typist.open()
    await terminal.started
    terminal.end_input()
    with pytest.raises(HaloyError, match="made a mistake"):
        await terminal.result()
    await typist.until(lambda: typist.session.killed)
    assert [one.type for one in logged_failures] == [ValueError]
    logged_failures.clear()


async def test_client_that_leaves_ends_the_command(typist: Typist) -> None:
    """By a goodbye, or by a cut connection."""
    for leave in (lambda one: one.close(), lambda one: one._socket._abort()):
        terminal = await typist.open()
        await terminal.started
        leave(terminal)
        with pytest.raises(ServerUnreachable):
            await terminal.result()
        await typist.until(lambda: typist.session.killed)


async def test_stopped_haloyd_ends_the_command(typist: Typist) -> None:
    """It is killed before haloyd is gone, and the client hears why."""
    terminal = await typist.open()
    await terminal.started
    await typist.scene.api.end_commands()
    assert typist.session.killed
    with pytest.raises(ServerUnreachable, match="being stopped, so the command was k"):
        await terminal.result()


async def test_client_that_leaves_input_behind(
    typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads that it has left: it is asked, and cannot answer."""
    monkeypatch.setattr(websocket, "PING_S", 0.1)
    terminal = await typist.open()
    await terminal.started
    typist.session.producer.pauseProducing()
    writing = Deferred.fromCoroutine(terminal.write(bytes(8 << 20)))
    await deferLater(typist.scene.reactor, 0.5)
    assert not typist.session.killed
    terminal._socket._abort()
    await typist.until(lambda: typist.session.killed)
    await writing


async def test_revoked_token_ends_the_command(typist: Typist) -> None:
    """At once, and so does its end by time."""
    admin = typist.client
    token = await admin.create_token("ci", ["exec"])
    typist.client = typist.scene.client(token)
    terminal = await typist.open()
    await terminal.started
    await admin.revoke_token("ci")
    with pytest.raises(HaloyError):
        await terminal.result()
    await typist.until(lambda: typist.session.killed)
    until = NOW + timedelta(seconds=0.5)
    token = await admin.create_token("short", ["exec"], expires_at=until)
    typist.client = typist.scene.client(token)
    terminal = await typist.open()
    with pytest.raises(HaloyError):
        await terminal.result()
    await typist.until(lambda: typist.session.killed)


async def test_refusals(typist: Typist) -> None:
    """Before the switch by status, behind it by a message; both in words."""
    with pytest.raises(NotFound):
        await typist.client.terminal("nobody", Start(("sh",)), typist.take)
    token = await typist.client.create_token("reader", ["read"])
    reader = typist.scene.client(token)
    with pytest.raises(Forbidden):
        await reader.terminal("hello", Start(("sh",)), typist.take)
    terminal = await typist.open(container="other")
    with pytest.raises(HaloyError, match="no running container"):
        await terminal.result()
    terminal = await typist.open("a\0")
    with pytest.raises(HaloyError, match="command"):
        await terminal.result()
    typist.scene.engine.failures["session"] = EngineError("no such program")
    terminal = await typist.open()
    with pytest.raises(HaloyError, match="no such program"):
        await terminal.result()


async def test_not_a_websocket(typist: Typist) -> None:
    """A plain GET, or half a handshake, is 400 and says what is wanted."""
    with pytest.raises(InvalidValue, match="WebSocket"):
        await typist.client.transport.get("/v1/exec/hello")
    fields = {"Connection": "Upgrade", "Upgrade": "websocket"}
    with pytest.raises(InvalidValue, match="WebSocket"):
        await typist.client.transport.upgrade(
            "GET",
            "/v1/exec/hello",
            fields,
            websocket.WebSocket(None, None, 1),  # type: ignore[arg-type]  # never used
        )


async def test_server_that_is_none(typist: Typist) -> None:
    """A 101 of something else is told apart by its key."""
    other = typist.scene.scripted(answer(101))
    with pytest.raises(ServerUnreachable):
        await other.terminal("hello", Start(("sh",)), typist.take)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ('{"type": "start", "command": ["sh"]}', "already"),
        ('{"type": "nonsense"}', "must be start"),
        ("x" * (MESSAGE_LIMIT_BYTES + 1), "broke off"),
    ],
)
async def test_odd_messages(typist: Typist, message: str, words: str) -> None:
    """They end the connection, and with it the command."""
    terminal = await typist.open()
    await terminal.started
    terminal._socket.write(message)
    with pytest.raises(HaloyError, match=words):
        await terminal.result()
    await typist.until(lambda: typist.session.killed)


@pytest.mark.parametrize("first", [b"input", '{"type": "end"}'])
async def test_start_comes_first(
    typist: Typist, monkeypatch: pytest.MonkeyPatch, first: Any
) -> None:
    """Nothing else is taken before it."""
    monkeypatch.setattr(terminal_client, "encode_asked", lambda _: first)
    terminal = await typist.open()
    with pytest.raises(HaloyError, match=r"start"):
        await terminal.result()
    assert typist.scene.engine.sessions == []


async def test_terminals_are_counted(
    typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too many is asked to come back."""
    monkeypatch.setattr(terminal_server, "TERMINALS_LIMIT", 1)
    terminal = await typist.open()
    await terminal.started
    with pytest.raises(TooMany):
        await typist.open()
    terminal.close()
    with pytest.raises(ServerUnreachable):
        await terminal.result()
    await typist.until(lambda: typist.session.killed)
    again = await typist.open()
    await again.started
    again.end_input()
    assert await again.result() == 0


async def test_silent_peer_is_cut(
    typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each side asks for signs of life; who gives none is gone."""
    monkeypatch.setattr(websocket, "PING_S", 0.05)
    terminal = await typist.open()
    await terminal.started
    await deferLater(typist.scene.reactor, 0.3)
    assert terminal._socket.open
    monkeypatch.setattr(websocket, "QUIET_ROUNDS", 0)
    with pytest.raises(ServerUnreachable):
        await terminal.result()
    await typist.until(lambda: typist.session.killed)


async def test_start_that_never_comes(
    typist: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is not held for it."""
    monkeypatch.setattr(terminal_server, "START_LIMIT_S", 0.2)
    monkeypatch.setattr(
        terminal_client, "encode_asked", lambda _: encode_asked(EndOfInput())
    )
    monkeypatch.setattr(terminal_server.Terminal, "_take", lambda *_: None)
    terminal = await typist.open()
    with pytest.raises(HaloyError, match="no start came"):
        await terminal.result()
    assert typist.scene.engine.sessions == []
