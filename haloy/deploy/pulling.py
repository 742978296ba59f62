"""A pull: how far it is, whether Docker's disk suffices, and what its errors mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from attrs import define, field

from haloy.config.units import show_size
from haloy.deploy.space import RESERVE_BYTES, Disk, disk_of
from haloy.engine.interface import Credentials, Engine, Image
from haloy.engine.pulls import Arriving, PullProgress, needed_bytes
from haloy.engine.stream import disk_full
from haloy.errors import (
    DeployFailed,
    EngineUnavailable,
    HaloyError,
    InsufficientStorage,
    NotFound,
    Unauthorized,
)

#: What is told about a pull, at most, for each of so many bytes.
PROGRESS_STEP_BYTES = 16 << 20


class Say(Protocol):
    """Writes a line into a deployment's log."""

    def __call__(
        self, message: str, fields: Mapping[str, str], level: str = "INFO"
    ) -> None:
        """Write it."""


@define(eq=False)
class DockerDisk:
    """How to look at Docker's disk, how full is too full, and what is being pulled.

    @ivar look: returns the disk of a folder, C{None}: it cannot be seen.
    @ivar warn_percent: from how much used on a pull begins with a warning.
    """

    look: Callable[[str], Disk | None]
    warn_percent: Callable[[], int] = lambda: 100
    _pulls: list[_Pull] = field(factory=list, init=False)

    @contextmanager
    def pulling(self, ref: str, folder: str) -> Iterator[_Pull]:
        """Count with what a pull needs, for the length of the block.

        @param folder: where Docker's images are, C{""}: not known.
        """
        pull = _Pull(self, ref, folder)
        self._pulls.append(pull)
        try:
            yield pull
        finally:
            self._pulls.remove(pull)

    def needed(self) -> int:
        """Return what all pulls need yet, in bytes; a layer of several counts once."""
        layers: dict[str, Arriving] = {}
        for pull in self._pulls:
            layers.update(pull.arriving)
        return needed_bytes(layers.values())


#: For where nothing is known of Docker's disk.
UNSEEN = DockerDisk(lambda _: None)


def disk_at(folder: str) -> Disk | None:
    """Return the disk of C{folder}, C{None} when it cannot be seen."""
    try:
        return disk_of(Path(folder))
    except OSError:
        return None


def fullness(disk: Disk, warn_percent: int) -> str:
    """Return what to say of a disk that is nearly full, C{""}: it is not."""
    used = 100 - disk.free * 100 // disk.size if disk.size else 100
    if used < warn_percent and disk.free >= RESERVE_BYTES:
        return ""
    return f"Docker's disk has {show_size(disk.free)} left: {used} % are used"


def refuse_too_large(ref: str, needed: int, disk: Disk, others: int = 0) -> None:
    """@raise InsufficientStorage: so many bytes more do not fit on C{disk}.

    @param others: what other pulls will take of it besides.
    """
    if needed + others > disk.free:
        promised = f", other pulls take {show_size(others)} of it" if others else ""
        raise disk_full(
            f"pulling {ref} needs at least {show_size(needed)} more, "
            f"{show_size(disk.free)} are free{promised}"
        )


@define(eq=False)
class _Pull:
    """One pull, and Docker's disk as it sees it.

    @ivar arriving: its layers on their way, as far as Docker has told.
    """

    _disk: DockerDisk
    _ref: str
    _folder: str
    arriving: Mapping[str, Arriving] = field(factory=dict, init=False)

    def before(self, say: Say) -> None:
        """Say when the disk is nearly full."""
        found = self._disk.look(self._folder) if self._folder else None
        text = found and fullness(found, self._disk.warn_percent())
        if text:
            say(text, {}, "WARN")

    def check(self, step: PullProgress) -> None:
        """@raise InsufficientStorage: what is to come cannot fit, with other pulls'."""
        self.arriving = step.arriving
        needed = step.bytes_needed
        if self._folder and needed:
            found = self._disk.look(self._folder)
            if found is not None:
                others = self._disk.needed() - needed
                refuse_too_large(self._ref, needed, found, max(others, 0))


async def pull_image(
    engine: Engine, ref: str, login: Credentials | None, say: Say, disk: DockerDisk
) -> Image:
    """Return the image C{ref}, pulled.

    The pull is ended as soon as Docker tells of more bytes than its disk has left:
    a disk that is full hurts everything on it.

    @raise DeployFailed: C{image-not-found}, C{bad-credentials}, C{pull}.
    @raise InsufficientStorage: Docker's disk is full, or too small for the image.
    """
    folder = (await engine.info()).image_dir
    with disk.pulling(ref, folder) as pull:
        pull.before(say)
        say("Pulling image", {"image": ref, "auth": "registry" if login else "none"})
        try:
            return await engine.pull(ref, login, _telling(pull, ref, say))
        except NotFound as problem:
            raise DeployFailed(str(problem), failure="image-not-found") from problem
        except Unauthorized as problem:
            raise DeployFailed(str(problem), failure="bad-credentials") from problem
        except (EngineUnavailable, InsufficientStorage):
            raise
        except HaloyError as problem:
            raise DeployFailed(_naming(ref, str(problem)), failure="pull") from problem


def _telling(pull: _Pull, ref: str, say: Say) -> Callable[[PullProgress], None]:
    """Return what hears how far a pull is: checks it, and tells of every piece."""
    told = 0

    def progress(step: PullProgress) -> None:
        nonlocal told
        pull.check(step)
        if step.bytes_done - told >= PROGRESS_STEP_BYTES:
            told = step.bytes_done
            of = f"{step.bytes_done >> 20} of {step.bytes_total >> 20} MiB"
            say(f"Pulled {of}", {"image": ref})

    return progress


def _naming(ref: str, problem: str) -> str:
    """Return C{problem} with the image's name, which most have already."""
    return problem if ref in problem else f"pulling {ref} failed: {problem}"
