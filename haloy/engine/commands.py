"""Commands in containers: run to their end, or with somebody at their input.

Docker's API has no call that ends a command nobody waits for (A9), so each carries a
mark in its environment, by which it and whatever it started are found and killed.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from haloy.engine.http import Body, EngineHttp, Hijacked
from haloy.engine.interface import ExecResult, Output, Stream, TerminalSize
from haloy.engine.stream import FrameDecoder, RawDecoder
from haloy.errors import EngineError, EngineUnavailable, HaloyError

MARK = "HALOY_EXEC"
PROCESSES = Path("/proc")
RESIZE_TRIES = 5
#: How long Docker may take to know how a command ended whose output has ended.
EXIT_TRIES = 8
#: What a terminal takes for the end of its input (termios(3), VEOF).
END_OF_FILE = b"\x04"

#: For who may not signal the processes of others: done by the container's root.
_KILL = (
    "for found in $(grep -ls '{mark}' /proc/[0-9]*/environ); do "
    "pid=${{found#/proc/}}; kill -KILL ${{pid%/environ}}; done"
)


@define
class _Made:
    """A command that Docker knows of; C{mark} is in its environment."""

    container: str
    id: str
    mark: str


async def _make(
    http: EngineHttp, container_id: str, command: tuple[str, ...], **options: Any
) -> _Made:
    mark = f"{MARK}={secrets.token_hex(16)}"
    environment = [mark, *options.pop("Env", ())]
    made = await http.call(
        "POST",
        f"/containers/{container_id}/exec",
        body={
            "AttachStdout": True,
            "AttachStderr": True,
            "Cmd": list(command),
            "Env": environment,
            **options,
        },
    )
    return _Made(container_id, str(made["Id"]), mark)


async def execute(
    http: EngineHttp,
    container_id: str,
    command: tuple[str, ...],
    limit_s: float,
    limit_bytes: int,
) -> ExecResult:
    """Run C{command}; output beyond C{limit_bytes} a stream is dropped and told."""
    made = await _make(http, container_id, command)
    _, body = await http.stream(
        "POST", f"/exec/{made.id}/start", body={"Detach": False, "Tty": False}
    )
    kept: dict[Stream, list[bytes]] = {Stream.OUT: [], Stream.ERR: []}
    sizes = {Stream.OUT: 0, Stream.ERR: 0}
    reading = Deferred.fromCoroutine(_collect(body, kept, sizes, limit_bytes))
    reading.addTimeout(limit_s, http.reactor)
    ended = False
    try:
        await reading
        ended = True
    except defer.TimeoutError:
        raise EngineUnavailable(
            f"the command did not end within {limit_s:g} s and was killed"
        ) from None
    finally:
        body.close()
        if not ended:
            await kill(http, made)
    return ExecResult(
        exit_code=await _exit_code(http, made),
        stdout=b"".join(kept[Stream.OUT]),
        stderr=b"".join(kept[Stream.ERR]),
        truncated=any(size > limit_bytes for size in sizes.values()),
    )


async def _collect(
    body: Body,
    kept: dict[Stream, list[bytes]],
    sizes: dict[Stream, int],
    limit_bytes: int,
) -> None:
    decoder = FrameDecoder()
    while data := await body.read():
        for output in decoder.feed(data):
            room = limit_bytes - sizes[output.stream]
            if room > 0:
                kept[output.stream].append(output.data[:room])
            sizes[output.stream] += len(output.data)


async def _exit_code(http: EngineHttp, made: _Made) -> int:
    """Return how a command ended. @raise EngineError: it has not; it is killed."""
    for attempt in range(EXIT_TRIES):
        found = await http.call("GET", f"/exec/{made.id}/json")
        code = found.get("ExitCode")
        if code is not None and not found.get("Running"):
            return int(code)
        await deferLater(http.reactor, 0.02 * 2**attempt)
    await kill(http, made)
    raise EngineError("the command went on after its output; it was killed")


# --- with input -------------------------------------------------------------------


@define(eq=False)
class CommandSession:
    """Implements L{haloy.engine.interface.Session}."""

    _http: EngineHttp
    _made: _Made
    _connection: Hijacked
    _terminal: bool
    _in_line: bool = field(default=False, init=False)

    def write(self, data: bytes) -> None:
        """Give it input."""
        if data:
            self._in_line = not data.endswith((b"\n", b"\r"))
            self._connection.write(data)

    def end_input(self) -> None:
        """Say that no more input comes.

        A terminal is told by its own character, twice behind an unfinished line:
        Docker takes the end of the connection for the end of both ways there.
        """
        if self._terminal:
            self._connection.write(END_OF_FILE * (2 if self._in_line else 1))
        else:
            self._connection.end_input()

    def paused_by(self, producer: Any) -> None:
        """Pause C{producer} while input waits to be taken."""
        self._connection.paused_by(producer)

    async def resize(self, size: TerminalSize) -> None:
        """Tell its terminal how large it is; one that has just started takes a while.

        @raise HaloyError: it has ended.
        """
        query = {"w": size.columns, "h": size.rows}
        path = f"/exec/{self._made.id}/resize"
        for attempt in range(RESIZE_TRIES):
            try:
                await self._http.call("POST", path, query)
            except HaloyError:
                if attempt + 1 == RESIZE_TRIES:
                    raise
                await deferLater(self._http.reactor, 0.05 * 2**attempt)
            else:
                return

    async def run(self, consume: Callable[[Output], Awaitable[None]]) -> int:
        """Give its output to C{consume}; return the exit code."""
        decoder = RawDecoder() if self._terminal else FrameDecoder()
        ended = False
        try:
            while data := await self._connection.read():
                for output in decoder.feed(data):
                    await consume(output)
            ended = True
        finally:
            self._connection.close()
            if not ended:
                await kill(self._http, self._made)
        return await _exit_code(self._http, self._made)


async def session(
    http: EngineHttp,
    container_id: str,
    command: tuple[str, ...],
    terminal: TerminalSize | None,
) -> CommandSession:
    """Start C{command} with its input open."""
    tty = terminal is not None
    made = await _make(
        http,
        container_id,
        command,
        AttachStdin=True,
        Tty=tty,
        Env=["TERM=xterm-256color"] if tty else [],
    )
    connection = await http.hijack(
        f"/exec/{made.id}/start", {"Detach": False, "Tty": tty}
    )
    begun = CommandSession(http, made, connection, tty)
    if terminal is not None:
        with suppress(HaloyError):  # a command may have ended by now
            await begun.resize(terminal)
    return begun


# --- ending -----------------------------------------------------------------------


async def kill(http: EngineHttp, made: _Made) -> None:
    """End a command nobody waits for, and what it has started."""
    with suppress(HaloyError, OSError):
        found = await http.call("GET", f"/exec/{made.id}/json")
        pids = {*_marked(made.mark)}
        if found.get("Running") and found.get("Pid"):
            pids.add(int(found["Pid"]))
        try:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        except PermissionError:
            await _kill_inside(http, made)


def _marked(mark: str) -> list[int]:
    """Return the processes with C{mark} in their environment that we may look at."""
    wanted, found = mark.encode(), []
    for folder in PROCESSES.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


async def _kill_inside(http: EngineHttp, made: _Made) -> None:
    """Have the container's root do it, where the image has a shell."""
    command = ["/bin/sh", "-c", _KILL.format(mark=made.mark)]
    killer = await http.call(
        "POST",
        f"/containers/{made.container}/exec",
        body={"Cmd": command, "User": "0", "AttachStdout": True},
    )
    _, body = await http.stream(
        "POST", f"/exec/{killer['Id']}/start", body={"Detach": False, "Tty": False}
    )
    while await body.read():
        pass
