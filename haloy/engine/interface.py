"""Engine: the calls we use of a container engine, and their values.

Every call raises L{haloy.errors.EngineUnavailable} when the engine does not
answer within its time-out, L{haloy.errors.NotFound} for an unknown id or name,
L{haloy.errors.EngineError} for any other refusal. Two implementations are held
to one contract test (C{tests/contracts/engine.py}): C{engine.docker.DockerEngine}
and the fake in C{tests/fakes/engine.py}.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from attrs import field, frozen

from haloy.engine.pulls import PullProgress
from haloy.model.names import DEFAULT_NETWORK


class ContainerState(Enum):
    """Docker's words."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


class HealthState(Enum):
    """What the image's own HEALTHCHECK says; C{NONE} when it has none."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@frozen
class Attachment:
    """A container's addresses on one network; C{""} when it has none of that kind."""

    ipv4: str = ""
    ipv6: str = ""


@frozen
class Container:
    """A container as the engine describes it (one inspect).

    @ivar exit_code: of its last run that has ended; C{oom_killed}: for want of memory.
    @ivar memory_limit_bytes: 0 without one.
    """

    id: str
    name: str
    image: str
    image_id: str
    labels: Mapping[str, str]
    state: ContainerState
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    restarts: int = 0
    health: HealthState = HealthState.NONE
    health_output: str = ""
    network_mode: str = ""
    networks: Mapping[str, Attachment] = field(factory=dict)
    exposed_ports: tuple[int, ...] = ()
    tty: bool = False
    pid: int = 0
    memory_limit_bytes: int = 0


@frozen
class Image:
    """A local image. C{digests} are C{repository@sha256:…} references."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    architecture: str = ""
    os: str = ""
    exposed_ports: tuple[int, ...] = ()
    size_bytes: int = 0
    created_at: datetime | None = None


@frozen
class Credentials:
    """A login at a registry; C{server} is a host, C{docker.io} for Docker Hub."""

    server: str
    username: str
    password: str = field(repr=lambda _: "***")


@frozen
class Resources:
    """Limits for one container; C{None} is no limit."""

    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None


@frozen
class ContainerSpec:
    """What to create.

    C{env} are C{NAME=value} strings in order; C{binds} are
    C{source:/target[:options]}; C{network} is a network name, or C{host},
    C{none}, C{container:…} as Docker takes it.

    Log limits (3 files of 10 MB) are set only where the engine's driver is
    json-file or local. C{no-new-privileges} is always set.
    """

    name: str
    image: str
    env: tuple[str, ...] = field(default=(), repr=False)
    labels: Mapping[str, str] = field(factory=dict)
    network: str = DEFAULT_NETWORK
    binds: tuple[str, ...] = ()
    restart: str = "unless-stopped"
    resources: Resources = Resources()


@frozen
class EngineInfo:
    """About the engine. C{architecture} in image terms (C{amd64}, C{arm64}, …).

    @ivar image_dir: where on this machine images are pulled to, C{""}: not known,
        as of an engine elsewhere, and of images that containerd keeps.
    """

    version: str
    architecture: str
    os: str
    root_dir: str
    log_driver: str
    image_dir: str = ""


@frozen
class EngineEvent:
    """A container event: a hint that something changed, never the truth.

    C{network-connect} and C{network-disconnect} are of a container too; they come
    for all containers, without their labels.
    """

    action: str
    container_id: str
    attributes: Mapping[str, str]
    at: datetime

    @property
    def is_network(self) -> bool:
        """Whether the container was put on a network or taken off it."""
        return self.action.startswith("network-")


class Stream(Enum):
    """Which of the two streams bytes came from; a TTY has only C{OUT}."""

    OUT = "stdout"
    ERR = "stderr"


@frozen
class Output:
    """Bytes a container wrote, as they came; not split into lines."""

    stream: Stream
    data: bytes


@frozen
class ExecResult:
    """What a command in a container gave. C{truncated}: output beyond the limit."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    truncated: bool = False


@frozen
class TerminalSize:
    """How large a terminal is, in characters."""

    columns: int
    rows: int


class Session(Protocol):
    """A command that runs in a container, with its input open."""

    def write(self, data: bytes) -> None:
        """Give it input."""

    def end_input(self) -> None:
        """Say that no more input comes."""

    def paused_by(self, producer: Any) -> None:
        """Pause C{producer}, an C{IPushProducer}, while input waits to be taken.

        It is stopped when the command has ended.
        """

    async def resize(self, size: TerminalSize) -> None:
        """Tell its terminal how large it is now."""

    async def run(self, consume: Callable[[Output], Awaitable[None]]) -> int:
        """Give its output to C{consume} as L{Engine.logs} does; return the exit code.

        Cancelling, and an error of C{consume}, kill it.
        """


class Engine(Protocol):
    """What runs containers."""

    async def ping(self) -> None:
        """Return when the engine answers."""

    async def info(self) -> EngineInfo:
        """Return what the engine says of itself."""

    async def containers(
        self, labels: Mapping[str, str | None]
    ) -> tuple[Container, ...]:
        """Return all containers (stopped ones too) that carry all C{labels}.

        A value of C{None} asks only for the key. One that vanishes between list
        and inspect is left out.
        """

    async def container(self, container_id: str) -> Container:
        """Return one container by id or name."""

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container and return its full id; a taken name is L{Conflict}."""

    async def start(self, container_id: str) -> None:
        """Start it; a running one stays."""

    async def stop(self, container_id: str, grace_s: int) -> None:
        """SIGTERM, then SIGKILL after C{grace_s}; returns when it has ended."""

    async def rename(self, container_id: str, name: str) -> None:
        """Give it another name."""

    async def remove(self, container_id: str) -> None:
        """Remove it by force, its anonymous volumes too; an unknown one is fine."""

    async def image(self, ref: str) -> Image | None:
        """Return a local image by reference or id, C{None} when absent."""

    async def images(self, repository: str) -> tuple[Image, ...]:
        """Return the local images with a tag in C{repository} (no tag in the name)."""

    async def pull(
        self,
        ref: str,
        credentials: Credentials | None,
        progress: Callable[[PullProgress], None],
        idle_s: float = 60.0,
    ) -> Image:
        """Pull C{ref}; errors inside the stream are raised.

        @param progress: told of every step; what it raises ends the pull.
        @param idle_s: give up after so many seconds without a sign of life.
        @raise NotFound: the registry has no such image.
        @raise Unauthorized: the registry refused the credentials.
        """

    async def registry_digest(self, ref: str, credentials: Credentials | None) -> str:
        """Return the digest (C{sha256:…}) the registry has for C{ref} now."""

    async def login(self, credentials: Credentials) -> None:
        """Try credentials at their registry; L{Unauthorized} when refused."""

    async def tag(self, ref: str, target: str) -> None:
        """Give image C{ref} the name C{target} too."""

    async def untag(self, ref: str) -> None:
        """Remove the name C{ref}; the image goes with its last. Unknown is fine."""

    async def load(self, archive: Path, offset: int = 0) -> tuple[str, ...]:
        """Load a C{docker save} archive; return the references it brought.

        @param offset: where in the file the archive begins, in bytes.
        """

    async def ensure_network(self, name: str) -> None:
        """Create the bridge network C{name} (attachable) unless it exists."""

    async def has_network(self, name: str) -> bool:
        """Return whether there is a network C{name}."""

    async def attach(self, container_id: str, network: str) -> None:
        """Put a container on C{network} anew, whether it runs or not.

        @raise NotFound: there is no such container or network.
        """

    async def ensure_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Create the named volume with C{labels} unless it exists (then untouched)."""

    async def volumes(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names of volumes that carry all C{labels}."""

    async def remove_volume(self, name: str) -> None:
        """Remove a volume; unknown is fine, one in use is L{Conflict}."""

    async def logs(
        self,
        container_id: str,
        tail: int,
        follow: bool,
        consume: Callable[[Output], Awaitable[None]],
        since_s: float = 0.0,
    ) -> None:
        """Give the container's output to C{consume}, oldest first; return at its end.

        Nothing that was written before C{since_s}, seconds of the epoch.

        The next piece comes when C{consume} is done with the one before, so a slow
        reader slows the engine and costs no memory. Cancelling ends the stream.
        """

    async def exec(
        self,
        container_id: str,
        command: tuple[str, ...],
        limit_s: float,
        limit_bytes: int,
    ) -> ExecResult:
        """Run C{command} without TTY or input; killed on time-out or cancelling."""

    async def session(
        self,
        container_id: str,
        command: tuple[str, ...],
        terminal: TerminalSize | None,
    ) -> Session:
        """Start C{command} with its input open; then call C{run}.

        @param terminal: C{None}: without a terminal, both streams told apart.
        """

    async def events(
        self,
        labels: Mapping[str, str | None],
        consume: Callable[[EngineEvent], None],
    ) -> None:
        """Give container events to C{consume}; raises when the stream ends."""
