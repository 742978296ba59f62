"""An engine in memory, held to the same contract test as the real one."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from haloy.engine.interface import (
    Attachment,
    Container,
    ContainerSpec,
    ContainerState,
    Credentials,
    EngineEvent,
    EngineInfo,
    ExecResult,
    Image,
    Output,
    Session,
    Stream,
    TerminalSize,
)
from haloy.engine.pulls import Arriving, PullProgress
from haloy.errors import Conflict, EngineError, NotFound, Unauthorized

EPOCH = datetime(2026, 11, 24, tzinfo=UTC)


@define(eq=False)
class FakeSession:
    """A command that gives its input back, and ends with it or with C{exit N}.

    @ivar ends_with_input: else only with C{exit N}.
    """

    command: tuple[str, ...]
    terminal: TerminalSize | None
    killed: bool = field(default=False, init=False)
    producer: Any = field(default=None, init=False)
    ends_with_input: bool = field(default=True, init=False)
    _pending: list[Output | int] = field(factory=list, init=False)
    _wanted: Deferred[None] | None = field(default=None, init=False)

    def say(self, output: Output | int) -> None:
        """Write output, or end with an exit code."""
        self._pending.append(output)
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted.callback(None)

    def write(self, data: bytes) -> None:
        if data.startswith(b"exit "):
            self.say(int(data[5:]))
        else:
            self.say(Output(Stream.OUT, data))

    def end_input(self) -> None:
        if self.ends_with_input:
            self.say(0)

    def paused_by(self, producer: Any) -> None:
        self.producer = producer

    async def resize(self, size: TerminalSize) -> None:
        self.terminal = size

    async def run(self, consume: Callable[[Output], Awaitable[None]]) -> int:
        ended = False
        try:
            while True:
                while not self._pending:
                    self._wanted = Deferred()
                    await self._wanted
                one = self._pending.pop(0)
                if isinstance(one, int):
                    ended = True
                    return one
                await consume(one)
        finally:
            self.killed = not ended


@define(eq=False)
class FakeEngine:
    """Containers, images, networks and volumes as dictionaries.

    @ivar calls: what was done, in order, as C{"start shop-1"}.
    @ivar registry: what can be pulled, by reference.
    @ivar pulled_bytes: what a pull tells, when it begins, that it takes on the disk.
    @ivar failures: errors to raise, by call (C{"create shop-1"}, C{"start"}, …).
    """

    info_value: EngineInfo = field(
        factory=lambda: EngineInfo("20.10", "amd64", "linux", "/var", "json-file")
    )
    calls: list[str] = field(factory=list)
    registry: dict[str, Image] = field(factory=dict)
    pulled_bytes: int = 0
    passwords: dict[str, str] = field(factory=dict)
    failures: dict[str, Exception] = field(factory=dict)
    output: dict[str, bytes] = field(factory=dict)
    since_s: float = 0.0
    sessions: list[FakeSession] = field(factory=list)
    loaded: list[bytes] = field(factory=list)
    specs: dict[str, ContainerSpec] = field(factory=dict)
    _containers: dict[str, Container] = field(factory=dict, init=False)
    _images: dict[str, Image] = field(factory=dict, init=False)
    _networks: set[str] = field(
        factory=lambda: {"haloy", "bridge", "host", "none"}, init=False
    )
    _cut_off: set[str] = field(factory=set, init=False)
    _volumes: dict[str, dict[str, str]] = field(factory=dict, init=False)
    _streams: list[Callable[[EngineEvent], None]] = field(factory=list, init=False)
    _ends: list[Deferred[None]] = field(factory=list, init=False)
    _count: int = field(default=0, init=False)

    # --- what a test arranges ----------------------------------------------

    def have_image(self, ref: str, image_id: str = "", **values: object) -> Image:
        """Make C{ref} a local image."""
        image = Image(
            id=image_id or f"sha256:{ref}",
            tags=(ref,),
            architecture="amd64",
            os="linux",
        )
        image = evolve(image, **values)  # type: ignore[arg-type]  # by name
        self._images[ref] = image
        return image

    def crash(self, container_id: str, exit_code: int = 1, oom: bool = False) -> None:
        """Let a container end by itself, for good."""
        container = self._find(container_id)
        self._put(
            evolve(
                container,
                state=ContainerState.EXITED,
                exit_code=exit_code,
                oom_killed=oom,
                networks={},
            )
        )
        self._emit("oom", container) if oom else None
        self._emit("die", container)

    def vanish(self, container_id: str) -> None:
        """Let a container be removed by somebody else."""
        container = self._containers.pop(self._find(container_id).id)
        self._emit("die", container)
        self._emit("destroy", container)

    def lose_network(self, name: str) -> None:
        """Let a network be removed by somebody else, with all who are on it."""
        self._networks.discard(name)
        for one in tuple(self._containers.values()):
            if one.network_mode == name:
                self._cut_off.add(one.id)
                self._put(evolve(one, networks={}))

    # --- Engine --------------------------------------------------------------

    async def ping(self) -> None:
        self._maybe_fail("ping")

    async def info(self) -> EngineInfo:
        self._maybe_fail("info")
        return self.info_value

    async def containers(
        self, labels: Mapping[str, str | None]
    ) -> tuple[Container, ...]:
        self._maybe_fail("containers")
        return tuple(
            one
            for one in self._containers.values()
            if all(
                key in one.labels and (value is None or one.labels[key] == value)
                for key, value in labels.items()
            )
        )

    async def container(self, container_id: str) -> Container:
        self._maybe_fail("container")
        return self._find(container_id)

    async def create(self, spec: ContainerSpec) -> str:
        self._did("create", spec.name)
        if any(one.name == spec.name for one in self._containers.values()):
            raise Conflict(f"the name {spec.name} is taken")
        image = await self.image(spec.image)
        if image is None:
            raise NotFound(f"no such image: {spec.image}")
        self._count += 1
        container_id = f"{self._count:064x}"
        self.specs[container_id] = spec
        self._put(
            Container(
                id=container_id,
                name=spec.name,
                image=spec.image,
                image_id=image.id,
                labels=dict(spec.labels),
                state=ContainerState.CREATED,
                created_at=EPOCH,
                network_mode=spec.network,
                exposed_ports=image.exposed_ports,
            )
        )
        return container_id

    async def start(self, container_id: str) -> None:
        container = self._find(container_id)
        self._did("start", container.name)
        if container.state is ContainerState.RUNNING:
            return
        self._count += 1
        networks = {}
        if container.id in self._cut_off:
            raise NotFound(f"network {container.network_mode} not found")
        if container.network_mode not in {"host", "none"}:
            networks = {container.network_mode: Attachment(f"172.18.0.{self._count}")}
        self._put(
            evolve(
                container,
                state=ContainerState.RUNNING,
                started_at=EPOCH,
                networks=networks,
                pid=1000 + self._count,
            )
        )
        self._emit("start", container)

    async def stop(self, container_id: str, grace_s: int) -> None:
        container = self._find(container_id)
        self._did("stop", container.name)
        if container.state is not ContainerState.RUNNING:
            return
        self._put(evolve(container, state=ContainerState.EXITED, networks={}, pid=0))
        self._emit("kill", container, signal="15")
        self._emit("die", container)
        self._emit("stop", container)

    async def rename(self, container_id: str, name: str) -> None:
        container = self._find(container_id)
        self._did("rename", f"{container.name} {name}")
        if any(one.name == name for one in self._containers.values()):
            raise Conflict(f"the name {name} is taken")
        self._put(evolve(container, name=name))

    async def remove(self, container_id: str) -> None:
        try:
            container = self._find(container_id)
        except NotFound:
            return
        self._did("remove", container.name)
        del self._containers[container.id]
        if container.state is ContainerState.RUNNING:
            self._emit("die", container)
        self._emit("destroy", container)

    async def image(self, ref: str) -> Image | None:
        self._maybe_fail("image")
        for name, image in self._images.items():
            if ref in (name, image.id):
                return self._with_tags(image)
        return None

    async def images(self, repository: str) -> tuple[Image, ...]:
        found = {
            image.id: self._with_tags(image)
            for ref, image in self._images.items()
            if ref.rpartition(":")[0] == repository
        }
        return tuple(found.values())

    async def pull(
        self,
        ref: str,
        credentials: Credentials | None,
        progress: Callable[[PullProgress], None],
        idle_s: float = 60.0,
    ) -> Image:
        self._did("pull", ref)
        image = self.registry.get(ref)
        if image is None:
            raise NotFound(f"the registry has no image {ref}")
        wanted = self.passwords.get(ref)
        if wanted is not None and (
            credentials is None or credentials.password != wanted
        ):
            raise Unauthorized(f"the registry refused the credentials for {ref}")
        for arriving in ({ref: Arriving(0, self.pulled_bytes)}, {}):
            progress(PullProgress("Downloading 1", 0, 1, 0, 10, arriving))
        self._images[ref] = image
        return self._with_tags(image)

    async def registry_digest(self, ref: str, credentials: Credentials | None) -> str:
        self._did("digest", ref)
        image = self.registry.get(ref)
        if image is None:
            raise NotFound(f"the registry has no image {ref}")
        return image.digests[0].partition("@")[2]

    async def login(self, credentials: Credentials) -> None:
        self._maybe_fail("login")
        if self.passwords.get(credentials.server) != credentials.password:
            raise Unauthorized(f"{credentials.server} refused the login")

    async def tag(self, ref: str, target: str) -> None:
        self._did("tag", f"{ref} {target}")
        image = await self.image(ref)
        if image is None:
            raise NotFound(f"no such image: {ref}")
        self._images[target] = image

    async def untag(self, ref: str) -> None:
        if self._images.pop(ref, None) is not None:
            self._did("untag", ref)

    async def load(self, archive: Path, offset: int = 0) -> tuple[str, ...]:
        self.loaded.append(_content(archive)[offset:])
        self._maybe_fail("load")
        try:
            with tarfile.open(fileobj=io.BytesIO(self.loaded[-1])) as found:
                manifest = found.extractfile("manifest.json")
                assert manifest is not None
                refs = [ref for one in json.load(manifest) for ref in one["RepoTags"]]
        except (tarfile.TarError, KeyError):
            raise EngineError("the archive has no image with a name") from None
        for ref in refs:
            self.have_image(ref)
        return tuple(refs)

    async def ensure_network(self, name: str) -> None:
        self._networks.add(name)

    async def attach(self, container_id: str, network: str) -> None:
        container = self._find(container_id)
        self._did("attach", f"{container.name} {network}")
        if network not in self._networks:
            raise NotFound(f"network {network} not found")
        self._cut_off.discard(container.id)
        if container.state is ContainerState.RUNNING:
            self._count += 1
            on = Attachment(f"172.18.0.{self._count}")
            self._put(evolve(container, networks={**container.networks, network: on}))

    async def has_network(self, name: str) -> bool:
        return name in self._networks

    async def ensure_volume(self, name: str, labels: Mapping[str, str]) -> None:
        self._volumes.setdefault(name, dict(labels))

    async def volumes(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(
            name
            for name, has in self._volumes.items()
            if all(has.get(key) == value for key, value in labels.items())
        )

    async def remove_volume(self, name: str) -> None:
        if self._volumes.pop(name, None) is not None:
            self._did("remove_volume", name)

    async def logs(
        self,
        container_id: str,
        tail: int,
        follow: bool,
        consume: Callable[[Output], Awaitable[None]],
        since_s: float = 0.0,
    ) -> None:
        self.since_s = since_s
        container = self._find(container_id)
        lines = self.output.get(container.name, b"").splitlines(keepends=True)
        for line in lines[-tail:] if tail else ():
            await consume(Output(Stream.OUT, line))

    async def exec(
        self,
        container_id: str,
        command: tuple[str, ...],
        limit_s: float,
        limit_bytes: int,
    ) -> ExecResult:
        container = self._find(container_id)
        self._maybe_fail("exec")
        if container.state is not ContainerState.RUNNING:
            raise Conflict(f"{container.name} is not running")
        return ExecResult(0, " ".join(command).encode()[:limit_bytes], b"")

    async def session(
        self,
        container_id: str,
        command: tuple[str, ...],
        terminal: TerminalSize | None,
    ) -> Session:
        container = self._find(container_id)
        self._maybe_fail("session")
        if container.state is not ContainerState.RUNNING:
            raise Conflict(f"{container.name} is not running")
        made = FakeSession(command, terminal)
        self.sessions.append(made)
        return made

    async def events(
        self,
        labels: Mapping[str, str | None],
        consume: Callable[[EngineEvent], None],
    ) -> None:
        self._maybe_fail("events")
        end: Deferred[None] = Deferred()
        self._streams.append(consume)
        self._ends.append(end)
        try:
            await end
        finally:
            self._streams.remove(consume)

    # --- inside --------------------------------------------------------------

    def _find(self, container_id: str) -> Container:
        for one in self._containers.values():
            if container_id in (one.id, one.name):
                return one
        raise NotFound(f"no such container: {container_id}")

    def _put(self, container: Container) -> None:
        self._containers[container.id] = container

    def _with_tags(self, image: Image) -> Image:
        tags = tuple(ref for ref, one in self._images.items() if one.id == image.id)
        return evolve(image, tags=tags)

    def _did(self, call: str, what: str) -> None:
        self.calls.append(f"{call} {what}")
        self._maybe_fail(call)
        self._maybe_fail(f"{call} {what}")

    def _maybe_fail(self, call: str) -> None:
        problem = self.failures.get(call)
        if problem is not None:
            raise problem

    def _emit(self, action: str, container: Container, **attributes: str) -> None:
        event = EngineEvent(
            action, container.id, {**container.labels, **attributes}, EPOCH
        )
        for consume in tuple(self._streams):
            consume(event)


def _content(path: Path) -> bytes:
    return path.read_bytes()
