"""Removing old images of one app on request (C{spec/api.md} 4.6).

Only tags of deployments are candidates: a person's own C{myapp:v2} is not (D22).
"""

from __future__ import annotations

from attrs import define, frozen

from haloy.engine.interface import ContainerState, Engine, Image
from haloy.errors import HaloyError
from haloy.model.labels import APP, DEPLOYMENT
from haloy.model.names import deployment_time
from haloy.store import deployments as rows
from haloy.store.database import Database

ROWS_LIMIT = 10_000


@frozen
class Pruned:
    """Ids of running deployments, and tags that went or would go; newest first."""

    running: tuple[str, ...]
    tags: tuple[str, ...]


@define(eq=False)
class Pruning:
    """Removes tags, never images of others."""

    _engine: Engine
    _database: Database

    async def prune(self, app: str, keep: int, apply: bool) -> Pruned:
        """Keep the newest C{keep} deployments' images of C{app}.

        One that a running container uses stays, unless it is kept under another tag.

        @raise HaloyError: tags could not be removed; all were tried.
        """
        containers = await self._engine.containers({APP: app})
        running = [one for one in containers if one.state is ContainerState.RUNNING]
        known = {
            str(row.id)
            for row in await self._database.run(rows.deployments_of, app, ROWS_LIMIT)
        }
        images = await self._engine.images(app)
        tags = removable(app, images, known, keep, {one.image_id for one in running})
        if apply:
            await self._remove(tags)
        ids = {one.labels.get(DEPLOYMENT, "") for one in running}
        return Pruned(tuple(sorted(ids - {""}, reverse=True)), tags)

    async def _remove(self, tags: tuple[str, ...]) -> None:
        problems = []
        for ref in tags:
            try:
                await self._engine.untag(ref)
            except HaloyError as problem:
                problems.append(f"{ref}: {problem}")
        if problems:
            raise HaloyError("; ".join(problems))


def removable(
    app: str,
    images: tuple[Image, ...],
    known: set[str],
    keep: int,
    used: set[str],
) -> tuple[str, ...]:
    """Return the tags of C{app} to remove, newest first. Pure."""
    tags = {
        ref: image.id
        for image in images
        for ref in image.tags
        if ref.rpartition(":")[0] == app
        and _is_deployment(ref.rpartition(":")[2], known)
    }
    ordered = sorted(tags, reverse=True)
    kept = {tags[ref] for ref in ordered[:keep]}
    return tuple(
        ref for ref in ordered[keep:] if tags[ref] not in used or tags[ref] in kept
    )


def _is_deployment(tag: str, known: set[str]) -> bool:
    return tag in known or deployment_time(tag) is not None
