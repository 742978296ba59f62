"""A pull: how far it is, whether Docker's disk suffices, and what its errors mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Protocol

from attrs import frozen

from haloy.config.units import show_size
from haloy.deploy.space import RESERVE_BYTES
from haloy.engine.interface import Credentials, Engine, Image, PullProgress
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


@frozen
class Disk:
    """A disk at one moment: its size and what is free for root, in bytes."""

    size: int
    free: int


@frozen
class DockerDisk:
    """How to look at Docker's disk, and how full is too full.

    @ivar look: returns the disk of a folder, C{None}: it cannot be seen.
    @ivar warn_percent: from how much used on a pull begins with a warning.
    """

    look: Callable[[str], Disk | None]
    warn_percent: Callable[[], int] = lambda: 100


#: For where nothing is known of Docker's disk.
UNSEEN = DockerDisk(lambda _: None)


def disk_at(folder: str) -> Disk | None:
    """Return the disk of C{folder}, C{None} when it cannot be seen."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return Disk(found.f_blocks * found.f_frsize, found.f_bfree * found.f_frsize)


def fullness(disk: Disk, warn_percent: int) -> str:
    """Return what to say of a disk that is nearly full, C{""}: it is not."""
    used = 100 - disk.free * 100 // disk.size if disk.size else 100
    if used < warn_percent and disk.free >= RESERVE_BYTES:
        return ""
    return f"Docker's disk has {show_size(disk.free)} left: {used} % are used"


def refuse_too_large(ref: str, needed: int, disk: Disk) -> None:
    """@raise InsufficientStorage: so many bytes more do not fit on C{disk}."""
    if needed > disk.free:
        raise disk_full(
            f"pulling {ref} needs at least {show_size(needed)} more, "
            f"{show_size(disk.free)} are free"
        )


@frozen
class _Room:
    """Docker's disk as one pull sees it."""

    _disk: DockerDisk
    _folder: str

    def before(self, say: Say) -> None:
        """Say when the disk is nearly full."""
        found = self._disk.look(self._folder) if self._folder else None
        text = found and fullness(found, self._disk.warn_percent())
        if text:
            say(text, {}, "WARN")

    def check(self, ref: str, step: PullProgress) -> None:
        """@raise InsufficientStorage: what is to come cannot fit."""
        if self._folder and step.bytes_needed:
            found = self._disk.look(self._folder)
            if found is not None:
                refuse_too_large(ref, step.bytes_needed, found)


async def pull_image(
    engine: Engine, ref: str, login: Credentials | None, say: Say, disk: DockerDisk
) -> Image:
    """Return the image C{ref}, pulled.

    The pull is ended as soon as Docker tells of more bytes than its disk has left:
    a disk that is full hurts everything on it.

    @raise DeployFailed: C{image-not-found}, C{bad-credentials}, C{pull}.
    @raise InsufficientStorage: Docker's disk is full, or too small for the image.
    """
    room = _Room(disk, (await engine.info()).image_dir)
    room.before(say)
    say("Pulling image", {"image": ref, "auth": "registry" if login else "none"})
    told = 0

    def progress(step: PullProgress) -> None:
        nonlocal told
        room.check(ref, step)
        if step.bytes_done - told >= PROGRESS_STEP_BYTES:
            told = step.bytes_done
            of = f"{step.bytes_done >> 20} of {step.bytes_total >> 20} MiB"
            say(f"Pulled {of}", {"image": ref})

    try:
        return await engine.pull(ref, login, progress)
    except NotFound as problem:
        raise DeployFailed(str(problem), failure="image-not-found") from problem
    except Unauthorized as problem:
        raise DeployFailed(str(problem), failure="bad-credentials") from problem
    except (EngineUnavailable, InsufficientStorage):
        raise
    except HaloyError as problem:
        raise DeployFailed(
            f"pulling {ref} failed: {problem}{_hint(str(problem))}", failure="pull"
        ) from problem


def _hint(problem: str) -> str:
    text = problem.lower()
    if "toomanyrequests" in text or "rate limit" in text:
        return "; log in with `haloy server registry login`, or wait"
    return ""
