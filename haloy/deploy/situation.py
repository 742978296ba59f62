"""What is known of one app, and what that is a reason for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from attrs import frozen

from haloy.config.app_file import Target
from haloy.config.wire import target_from_json
from haloy.deploy.discovery import Found, newest_started
from haloy.deploy.networks import is_cut_off
from haloy.engine.interface import ContainerState
from haloy.model.names import DeploymentId
from haloy.store.apps import AppRow
from haloy.store.deployments import DEAD, DeploymentRow

_DOWN = frozenset({ContainerState.CREATED, ContainerState.EXITED, ContainerState.DEAD})


@frozen
class Situation:
    """All about one app, read in its turn; C{adopted}: wanted since just now."""

    members: tuple[Found, ...]
    wanted: AppRow | None
    history: tuple[DeploymentRow, ...]
    adopted: bool = False

    @property
    def ours(self) -> tuple[Found, ...]:
        """The containers that we have made."""
        return tuple(one for one in self.members if one.ours)

    @property
    def active(self) -> DeploymentRow | None:
        """The deployment that should serve."""
        if self.wanted is None:
            return None
        active = self.wanted.active
        return next((row for row in self.history if row.id == active), None)

    def state_of(self, deployment: DeploymentId) -> str:
        """Return the state of a deployment, C{""} for one that has no row."""
        found = (row.state for row in self.history if row.id == deployment)
        return next(found, "")


def is_lost(one: Found) -> bool:
    """Return whether C{one} is down, or runs where nobody reaches it."""
    return one.container.state in _DOWN or is_cut_off(one)


def target_of(row: DeploymentRow) -> Target | None:
    """Return what a deployment was made from, C{None} when that is not known.

    It is not known of what a Go daemon made or of a database that was lost.
    """
    return target_from_json(row.target) if row.target else None


def adoptable(now: Situation) -> tuple[DeploymentId, str] | None:
    """Return deployment and image of what runs of an app that is not known.

    A new database, or the Go daemon's. Of several deployments the newest of our rows
    serves; without rows, the one that was started last. What a dead deployment left
    is not taken over, nor are manual containers.
    """
    running = tuple(
        one
        for one in now.ours
        if one.running and now.state_of(one.labels.deployment) not in DEAD
    )
    known = (
        row.id
        for row in now.history
        if any(one.labels.deployment == row.id for one in running)
    )
    chosen = next(known, newest_started(running))
    if chosen is None:
        return None
    images = (one.container.image for one in running if one.labels.deployment == chosen)
    return chosen, next(images)


def needs_repair(
    members: Iterable[Found],
    wanted: AppRow | None,
    active: DeploymentRow | None,
    draining: Collection[str],
    hangs: Callable[[Found], bool],
) -> bool:
    """Return whether a look at an app gives reason for a closer one."""
    ours = [one for one in members if one.ours]
    if wanted is None:
        return bool(ours)
    if active is None or wanted.stopped:
        return any(one.labels.deployment != wanted.active for one in ours)
    current = [one for one in ours if one.labels.deployment == active.id]
    others = [
        one
        for one in ours
        if one.labels.managed
        and one.labels.deployment != active.id
        and one.container.id not in draining
    ]
    count = int(active.target.get("replicas") or 1) if active.target else len(current)
    return (
        bool(others)
        or len(current) < count
        or active.state != "live"
        or any(is_lost(one) for one in current)
        or any(hangs(one) for one in current)
    )
