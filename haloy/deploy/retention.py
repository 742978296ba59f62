"""Removes what old deployments leave: image tags and rows, and only our own."""

from __future__ import annotations

from twisted.logger import Logger

from haloy.config.app_file import ImageConfig
from haloy.deploy.images import keeps_history, kept_count, tags_to_remove
from haloy.engine.interface import Engine
from haloy.errors import HaloyError
from haloy.model.labels import APP
from haloy.model.names import AppName
from haloy.store.database import Database
from haloy.store.deployments import deployments_of, forget_deployments

#: Failed deployments are kept for their log, up to so many.
FAILED_KEPT = 10
ROWS_LIMIT = 1000

_log = Logger()


async def apply_retention(
    engine: Engine, database: Database, app: AppName, image: ImageConfig
) -> None:
    """Keep the newest deployments of C{app} by its history; the rest goes.

    Images of other people, other tags of the repository, and images in use stay
    (D22): only the tag C{<app>:<id>} of a deployment of ours is ever removed.
    """
    if not keeps_history(image):
        return
    rows = await database.run(deployments_of, app, ROWS_LIMIT)
    good = [row for row in rows if row.state in {"live", "draining", "retired"}]
    bad = [row for row in rows if row.state in {"failed", "superseded", "interrupted"}]
    keep = {row.id for row in good[: kept_count(image)]}
    over = [row for row in good if row.id not in keep] + bad[FAILED_KEPT:]
    finished = {row.id for row in (*over, *bad)}
    containers = await engine.containers({APP: None})
    used = {one.image_id for one in containers}
    images = await engine.images(app)
    # An image that runs under a kept tag too may lose its old name.
    kept_ids = {
        one.id for one in images if {f"{app}:{tag}" for tag in keep} & set(one.tags)
    }
    for ref in tags_to_remove(app, images, finished, keep, used - kept_ids):
        try:
            await engine.untag(ref)
        except HaloyError as problem:
            _log.warn("old image {ref} stays: {problem}", ref=ref, problem=str(problem))
    await database.run(forget_deployments, app, [row.id for row in over])
