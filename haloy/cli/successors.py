"""What C{haloy logs} follows when the containers that it followed have ended.

A deployment puts new containers in their place, and one that crashes is started again;
the server ends the stream in both cases (C{spec/api.md} 4.14).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import frozen
from twisted.internet.task import deferLater

from haloy.errors import NotFound

LOOK_S = 0.5
#: A crashed container is started again, later each time; a stopped app is not.
WAIT_S = 60.0


@frozen
class Run:
    """One run of a container, from its start on (seconds of the epoch)."""

    container: str
    since_s: float


def runs_of(status: Mapping[str, Any]) -> frozenset[Run]:
    """Return what runs of an app; nothing where a server does not say since when."""
    return frozenset(
        Run(str(one["containerId"]), _epoch(str(one["startedAt"])))
        for one in status.get("replicas") or ()
        if one.get("state") == "running" and one.get("startedAt")
    )


async def successors(
    reactor: Any, client: Any, app: str, known: frozenset[Run]
) -> frozenset[Run]:
    """Return what runs now and is not in C{known}, as soon as something does.

    Nothing when nothing does for C{WAIT_S}, or will not: the app is gone, or the server
    is a Go haloyd, which does not say since when a container runs.

    @raise HaloyError: the server does not answer.
    """
    until = reactor.seconds() + WAIT_S
    while True:
        try:
            status = await client.status(app)
        except NotFound:
            return frozenset()
        fresh = runs_of(status) - known
        if fresh or "replicas" not in status or reactor.seconds() > until:
            return fresh
        await deferLater(reactor, LOOK_S)


def _epoch(text: str) -> float:
    """Return a time, no later than it is: Docker is asked by milliseconds."""
    return datetime.fromisoformat(text).timestamp() - 0.001
