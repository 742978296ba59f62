"""Removes what old deployments leave: image tags and rows, and only our own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from twisted.logger import Logger

from haloy.config.app_file import ImageConfig
from haloy.deploy.images import (
    keeps_history,
    kept_deployments,
    kept_tags,
    tags_to_remove,
)
from haloy.engine.interface import Engine
from haloy.errors import HaloyError
from haloy.model.labels import APP
from haloy.model.names import AppName
from haloy.store.database import Database
from haloy.store.deployments import (
    DEAD,
    SERVED,
    UNFINISHED,
    DeploymentRow,
    deployments_of,
)
from haloy.store.forgetting import forget_deployments, give_up_targets

#: Failed deployments are kept for their log, up to so many.
FAILED_KEPT: Final = 10
#: So long the end of any deployment can be read: who asked for it may come late, or
#: again after a lost connection.
TOLD_FOR: Final = timedelta(hours=1)
ROWS_LIMIT: Final = 1000

_log = Logger()


async def apply_retention(
    engine: Engine, database: Database, app: AppName, image: ImageConfig
) -> None:
    """Keep the newest deployments of C{app} by its history; the rest goes.

    Images of other people, other tags of the repository, and images in use stay
    (D22): only the tag C{<app>:<id>} of a deployment of ours is ever removed. What a
    rollback that waits for its turn goes back to stays until it has it.
    """
    rows = await database.run(deployments_of, app, ROWS_LIMIT)
    awaited = {row.rolled_back_from for row in rows if row.state in UNFINISHED}
    served = [row for row in rows if row.state in SERVED and row.id not in awaited]
    dead = [row for row in rows if row.state in DEAD]
    if keeps_history(image):
        going = {row.id for row in (*served[kept_tags(image) :], *dead)}
        used = {one.image_id for one in await engine.containers({APP: None})}
        images = await engine.images(app)
        for ref in tags_to_remove(app, images, going, used):
            try:
                await engine.untag(ref)
            except HaloyError as problem:
                _log.warn(
                    "old image {ref} stays: {problem}", ref=ref, problem=str(problem)
                )
    too_old = served[kept_deployments(image) :]
    targets = [row.id for row in too_old if row.image_ref]
    await database.run(give_up_targets, app, targets)
    told = _told(rows, (*too_old, *dead[FAILED_KEPT:]))
    await database.run(forget_deployments, app, told)


def _told(
    rows: Sequence[DeploymentRow], over: Sequence[DeploymentRow]
) -> tuple[str, ...]:
    """Return which of C{over} ended long before the newest: nobody asks. Pure."""
    ends = [row.finished_at for row in rows if row.finished_at is not None]
    return tuple(
        row.id
        for row in over
        if row.finished_at is None or max(ends) - row.finished_at > TOLD_FOR
    )
