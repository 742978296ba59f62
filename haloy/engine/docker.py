"""Engine on Docker: short calls by the C{docker} package in threads of their own.

Streams and calls that take long go over the reactor (C{engine.http}), so that a
hung Docker blocks neither the reactor nor more than the eight threads, and those
only until their socket time-out.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import requests
from attrs import define, field
from docker import APIClient
from docker.errors import APIError, DockerException
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from haloy.engine import commands, streams
from haloy.engine.away import unreachable
from haloy.engine.calls import CALL_LIMIT_S, attach, create
from haloy.engine.endings import Endings
from haloy.engine.http import EngineHttp, engine_error
from haloy.engine.inspecting import Inspecting
from haloy.engine.interface import (
    Container,
    ContainerSpec,
    Credentials,
    EngineEvent,
    EngineInfo,
    ExecResult,
    Image,
    Output,
    Session,
    TerminalSize,
)
from haloy.engine.pulls import PullProgress
from haloy.engine.values import auth_config, image_from, info_from
from haloy.errors import (
    Conflict,
    EngineError,
    EngineUnavailable,
    NotFound,
    Unauthorized,
)
from haloy.model.places import without_places
from haloy.tasks import gathered

THREADS = 8
#: How many threads inspect containers at a time, and how many each does at least:
#: more of them would only wait for one another, and hold up the reactor.
INSPECTORS, SOME = 3, 16
WAIT_LIMIT_S = 25.0
DEFAULT_HOST = "unix:///var/run/docker.sock"

T = TypeVar("T")


@define(eq=False)
class DockerEngine:
    """Implements L{haloy.engine.interface.Engine}.

    C{host} is as C{DOCKER_HOST} has it (C{unix://} or C{tcp://}); C{None} takes
    that variable or the usual socket.
    """

    _reactor: Any
    _host: str | None = None
    _pool: ThreadPool = field(init=False)
    _client: APIClient | None = field(default=None, init=False)
    _choosing: Lock = field(factory=Lock, init=False)
    _info: EngineInfo | None = field(default=None, init=False)
    _networks: DeferredLock = field(factory=DeferredLock, init=False)
    _endings: Endings = field(factory=Endings, init=False)
    _inspecting: Inspecting = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start the threads."""
        self._host = self._host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
        self._inspecting = Inspecting(self._host)
        self._pool = ThreadPool(0, THREADS, "docker")
        self._pool.start()

    async def close(self) -> None:
        """End the threads; a call that hangs is left to its time-out."""
        if self._client is not None:
            self._client.close()
        # Joining waits for a call that hangs: not on the reactor.
        self._reactor.callInThread(self._pool.stop)

    # --- about -------------------------------------------------------------

    async def ping(self) -> None:
        """Return when the engine answers."""
        await self._call(lambda client: client.ping())

    async def info(self) -> EngineInfo:
        """Return what the engine says of itself."""
        here = str(self._host).startswith("unix://")
        self._info = info_from(await self._call(lambda client: client.info()), here)
        return self._info

    # --- containers --------------------------------------------------------

    async def containers(
        self, labels: Mapping[str, str | None]
    ) -> tuple[Container, ...]:
        """Return all containers that carry all C{labels}."""
        wanted = [
            key if value is None else f"{key}={value}" for key, value in labels.items()
        ]
        listed = await self._call(
            lambda client: client.containers(all=True, filters={"label": wanted})
        )
        ids = [str(one["Id"]) for one in listed]
        size = max(SOME, -(-len(ids) // INSPECTORS))
        asked = [
            Deferred.fromCoroutine(
                self._call(self._inspecting.all_of(ids[start : start + size]))
            )
            for start in range(0, len(ids), size)
        ]
        found = await gathered(asked)
        return tuple(self._endings.complete(one) for some in found for one in some)

    async def container(self, container_id: str) -> Container:
        """Return one container by id or name."""
        found = await self._call(self._inspecting.one(container_id))
        return self._endings.complete(found)

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container and return its full id."""
        info = self._info or await self.info()

        return await self._call(create(spec, info.log_driver))

    async def start(self, container_id: str) -> None:
        """Start it; a running one stays."""
        await self._call(lambda client: client.start(container_id))

    async def stop(self, container_id: str, grace_s: int) -> None:
        """SIGTERM, then SIGKILL after C{grace_s}; returns when it has ended."""
        http = await self._http()
        with _removal_goes_on():
            await http.call(
                "POST",
                f"/containers/{container_id}/stop",
                {"t": grace_s},
                answer_limit_s=grace_s + CALL_LIMIT_S,
            )

    async def rename(self, container_id: str, name: str) -> None:
        """Give it another name."""
        await self._call(lambda client: client.rename(container_id, name))

    async def remove(self, container_id: str) -> None:
        """Remove it by force; an unknown one is fine."""
        with suppress(NotFound), _removal_goes_on():
            await self._call(
                lambda client: client.remove_container(container_id, v=True, force=True)
            )

    # --- images ------------------------------------------------------------

    async def image(self, ref: str) -> Image | None:
        """Return a local image, C{None} when absent."""
        try:
            return image_from(
                await self._call(lambda client: client.inspect_image(ref))
            )
        except NotFound:
            return None

    async def images(self, repository: str) -> tuple[Image, ...]:
        """Return the local images with a tag in C{repository}."""
        listed = await self._call(
            lambda client: client.images(filters={"reference": f"{repository}:*"})
        )
        found = [await self.image(one["Id"]) for one in listed]
        return tuple(one for one in found if one is not None)

    async def pull(
        self,
        ref: str,
        credentials: Credentials | None,
        progress: Callable[[PullProgress], None],
        idle_s: float = 60.0,
    ) -> Image:
        """Pull C{ref}."""
        http = await self._http()
        await streams.pull(http, ref, credentials, progress, idle_s)
        image = await self.image(ref)
        if image is None:
            raise NotFound(f"{ref} was pulled and is gone again")
        return image

    async def registry_digest(self, ref: str, credentials: Credentials | None) -> str:
        """Return the digest the registry has for C{ref} now."""
        login = None if credentials is None else auth_config(credentials)
        found = await self._call(
            lambda client: client.inspect_distribution(ref, auth_config=login)
        )
        return str(found["Descriptor"]["digest"])

    async def login(self, credentials: Credentials) -> None:
        """Try credentials at their registry."""
        server = auth_config(credentials)["serveraddress"]
        user, secret = credentials.username, credentials.password
        try:
            await self._call(
                lambda client: client.login(user, secret, registry=server, reauth=True)
            )
        except EngineUnavailable:
            raise
        except EngineError as problem:
            raise Unauthorized(
                f"{credentials.server} refused the login: "
                f"{without_places(str(problem))}"
            ) from problem

    async def tag(self, ref: str, target: str) -> None:
        """Give image C{ref} the name C{target} too."""
        repository, _, tag = target.rpartition(":")
        await self._call(lambda client: client.tag(ref, repository, tag, force=True))

    async def untag(self, ref: str) -> None:
        """Remove the name C{ref}; unknown is fine."""
        with suppress(NotFound):
            await self._call(
                lambda client: client.remove_image(ref, force=True, noprune=True)
            )

    async def load(self, archive: Path, offset: int = 0) -> tuple[str, ...]:
        """Load a C{docker save} archive; return the references it brought."""
        return await streams.load(await self._http(), archive, offset)

    # --- networks and volumes ----------------------------------------------

    async def ensure_network(self, name: str) -> None:
        """Create the bridge network C{name} unless it exists; never two of one name."""
        async with self._networks:
            if not await self.has_network(name):
                with suppress(Conflict):  # somebody else was quicker
                    await self._call(
                        lambda client: client.create_network(
                            name, driver="bridge", attachable=True, check_duplicate=True
                        )
                    )

    async def has_network(self, name: str) -> bool:
        """Return whether there is a network C{name}."""
        listed = await self._call(lambda client: client.networks(names=[name]))
        return any(one["Name"] == name for one in listed)

    async def attach(self, container_id: str, network: str) -> None:
        """Put a container on C{network} anew, whether it runs or not."""
        await self._call(attach(container_id, network))

    async def ensure_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Create the named volume unless it exists (then untouched)."""

        def ensure(client: APIClient) -> None:
            try:
                client.inspect_volume(name)
            except APIError as problem:
                if problem.status_code != 404:
                    raise
                client.create_volume(name, labels=dict(labels))

        await self._call(ensure)

    async def volumes(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names of volumes that carry all C{labels}."""
        labelled = {"label": [f"{key}={value}" for key, value in labels.items()]}
        listed = await self._call(lambda client: client.volumes(labelled))
        return tuple(one["Name"] for one in listed.get("Volumes") or ())

    async def remove_volume(self, name: str) -> None:
        """Remove a volume; unknown is fine."""
        with suppress(NotFound):
            await self._call(lambda client: client.remove_volume(name))

    # --- streams -----------------------------------------------------------

    async def logs(
        self,
        container_id: str,
        tail: int,
        follow: bool,
        consume: Callable[[Output], Awaitable[None]],
        since_s: float = 0.0,
    ) -> None:
        """Give the container's output to C{consume}, oldest first."""
        http, found = await self._http(), await self.container(container_id)
        await streams.logs(http, found, tail, follow, consume, since_s)

    async def exec(
        self,
        container_id: str,
        command: tuple[str, ...],
        limit_s: float,
        limit_bytes: int,
    ) -> ExecResult:
        """Run C{command} without TTY or input; killed on time-out or cancelling."""
        http = await self._http()
        return await commands.execute(http, container_id, command, limit_s, limit_bytes)

    async def session(
        self,
        container_id: str,
        command: tuple[str, ...],
        terminal: TerminalSize | None,
    ) -> Session:
        """Start C{command} with its input open."""
        http = await self._http()
        return await commands.session(http, container_id, command, terminal)

    async def events(
        self,
        labels: Mapping[str, str | None],
        consume: Callable[[EngineEvent], None],
    ) -> None:
        """Give container events to C{consume}; raises when the stream ends."""

        def told(event: EngineEvent) -> None:
            self._endings.note(event)
            consume(event)

        await streams.events(await self._http(), labels, told)

    # --- calling -----------------------------------------------------------

    async def _http(self) -> EngineHttp:
        version = await self._call(lambda client: str(client.api_version))
        return EngineHttp(self._reactor, str(self._host), version)

    async def _call(self, ask: Callable[[APIClient], T]) -> T:
        """Run C{ask} in a thread and return what it returns.

        @raise EngineUnavailable: all threads wait for a Docker that hangs.
        """
        asked: Deferred[T] = deferToThreadPool(
            self._reactor, self._pool, self._in_thread, ask
        )
        asked.addTimeout(WAIT_LIMIT_S, self._reactor)
        try:
            return await asked
        except defer.TimeoutError:
            raise EngineUnavailable(
                f"Docker did not answer within {WAIT_LIMIT_S:g} s"
            ) from None

    def _connect(self) -> APIClient:
        """Return the client, made by whichever thread comes first."""
        made = APIClient(
            base_url=self._host,
            version="auto",
            timeout=CALL_LIMIT_S,
            num_pools=2,
            max_pool_size=THREADS,
        )
        # Not locked while it asks for the version: a hung Docker would hold up all.
        with self._choosing:
            if self._client is None:
                self._client = made
        if self._client is not made:
            made.close()
        return self._client

    def _in_thread(self, ask: Callable[[APIClient], T]) -> T:
        try:
            return ask(self._client or self._connect())
        except APIError as problem:
            reason = problem.explanation or str(problem)
            raise engine_error(problem.status_code or 0, str(reason)) from None
        except requests.exceptions.Timeout:
            raise EngineUnavailable(
                f"Docker did not answer within {CALL_LIMIT_S:g} s"
            ) from None
        except (DockerException, requests.exceptions.RequestException) as problem:
            raise unreachable(problem) from None


@contextmanager
def _removal_goes_on() -> Iterator[None]:
    """Be content when the container is being removed already, by whoever it is."""
    try:
        yield
    except Conflict as problem:
        if "already in progress" not in problem.reason:
            raise
