"""The contract on a real dockerd, and what only a real one can show."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from haloy.engine.docker import DockerEngine
from haloy.engine.interface import ContainerSpec, Credentials, Engine, Output
from haloy.errors import EngineUnavailable, NotFound, Unauthorized
from haloy.model.names import DEFAULT_NETWORK
from tests.contracts.engine import EngineContract
from tests.support.docker import build_image, cleaned, require_docker, unique

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_docker()
    with cleaned("haloytest-"):
        ref = f"{unique('sleeper')}:latest"
        command = "trap 'exit 0' TERM; echo out; echo err >&2; sleep 300 & wait"
        build_image(ref, tmp_path_factory.mktemp("image"), command, 8080)
        yield ref


@pytest_twisted.async_yield_fixture
async def engine(reactor: Any) -> AsyncIterator[Engine]:
    require_docker()
    docker = DockerEngine(reactor)
    # Of what has no other; whether somebody has made it before is by chance.
    await docker.ensure_network(DEFAULT_NETWORK)
    yield docker
    await docker.close()


async def docker(*arguments: str) -> str:
    """Return what the docker command prints."""
    done = await deferToThread(
        subprocess.run,
        ["docker", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return str(done.stdout)


class TestDockerEngine(EngineContract):
    """The same promises as the fake's."""

    async def test_removed_by_two_at_once(self, engine: Engine, image: str) -> None:
        """Who comes second, to remove it or to stop it, has what was wanted."""

        async def stop(container: str) -> None:
            with suppress(NotFound):
                await engine.stop(container, 5)

        for _ in range(3):
            one = await engine.create(ContainerSpec(unique("twice"), image))
            await engine.start(one)
            doing = [engine.remove(one), engine.remove(one), stop(one), stop(one)]
            await gatherResults([Deferred.fromCoroutine(do) for do in doing])

    async def test_a_login_that_fails_tells_no_address(self, engine: Engine) -> None:
        """A20: who asked named a registry, not where its name leads or who says so."""
        with pytest.raises(Unauthorized, match="refused the login") as caught:
            await engine.login(Credentials("127.0.0.1:1", "u", "p"))
        assert "dial tcp …: connect" in str(caught.value)

    async def test_a_network_is_made_once(self, engine: Engine) -> None:
        """Docker itself makes several of one name when asked at the same time."""
        name = unique("network")
        try:
            await gatherResults(
                [Deferred.fromCoroutine(engine.ensure_network(name)) for _ in range(8)],
                consumeErrors=True,
            )
            found = await docker("network", "ls", "-q", "--filter", f"name={name}")
        finally:
            await docker("network", "rm", name)
        assert len(found.split()) == 1

    async def test_both_streams_are_told_apart(
        self, engine: Engine, image: str
    ) -> None:
        """Each of the streams comes under its name."""
        made, _ = await self.made(engine, image)
        await engine.start(made)
        seen: dict[str, bytes] = {}

        async def consume(output: Output) -> None:
            name = output.stream.value
            seen[name] = seen.get(name, b"") + output.data

        while len(seen) < 2:
            seen.clear()
            await engine.logs(made, 10, False, consume)
        before = dict(seen)
        await engine.logs(made, 10, False, consume, 4_000_000_000.5)
        assert seen == before, "nothing is that new"
        await engine.remove(made)
        assert seen == {"stdout": b"out\n", "stderr": b"err\n"}

    async def test_exec_gives_output_and_exit_code(
        self, engine: Engine, image: str
    ) -> None:
        """Both streams and the code, and no more than the limit (E9)."""
        made, _ = await self.made(engine, image)
        await engine.start(made)
        command = ("/bin/sh", "-c", "echo out; echo err >&2; exit 7")
        done = await engine.exec(made, command, 10, 1000)
        assert (done.exit_code, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
        flood = ("/bin/sh", "-c", "dd if=/dev/zero bs=1000 count=50")
        much = await engine.exec(made, flood, 10, 1000)
        assert (len(much.stdout), much.truncated) == (1000, True)
        await engine.remove(made)

    async def test_exec_is_killed_at_its_limit(
        self, engine: Engine, image: str
    ) -> None:
        """A9: the process does not go on after the time-out."""
        made, _ = await self.made(engine, image)
        await engine.start(made)
        with pytest.raises(EngineUnavailable, match="killed"):
            await engine.exec(made, ("/bin/sleep", "77"), 0.5, 1000)
        assert "sleep 77" not in await docker("top", made)
        await engine.remove(made)

    async def test_containers_are_confined(self, engine: Engine, image: str) -> None:
        """D21: log limit and no-new-privileges are always there."""
        made, _ = await self.made(engine, image)
        format_ = "{{.HostConfig.LogConfig.Config}} {{.HostConfig.SecurityOpt}}"
        shown = await docker("inspect", "--format", format_, made)
        assert "max-size:10m" in shown
        assert "no-new-privileges" in shown
        await engine.remove(made)

    async def test_cancelled_stream_ends(
        self, engine: Engine, image: str, reactor: Any
    ) -> None:
        """A reader that goes away closes Docker's stream."""
        made, _ = await self.made(engine, image)
        await engine.start(made)
        first: Deferred[None] = Deferred()

        async def consume(output: Output) -> None:
            if not first.called:
                first.callback(None)

        following = Deferred.fromCoroutine(engine.logs(made, 10, True, consume))
        await first
        await deferLater(reactor, 0)
        following.cancel()
        with pytest.raises(CancelledError):
            await following
        await engine.remove(made)


# The docker package drops the socket that could not connect without closing it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_unreachable_docker_is_said_so(tmp_path: Path, reactor: Any) -> None:
    """A short, named error instead of a traceback or a hang."""
    engine = DockerEngine(reactor, f"unix://{tmp_path / 'none.sock'}")
    with pytest.raises(EngineUnavailable, match="unreachable") as caught:
        await engine.ping()
    await engine.close()
    caught.value.__context__ = None
    del caught
    gc.collect()
