"""Past deployments as people see them, and what each of them changed. Pure."""

from __future__ import annotations

from haloy.config.app_file import Target
from haloy.config.diff import Change, changes
from haloy.config.wire import target_from_json
from haloy.deploy.interface import DeploymentRecord, DeploymentState
from haloy.deploy.rollback import target_part
from haloy.errors import InvalidValue
from haloy.store.deployments import DeploymentRow


def record_of(row: DeploymentRow) -> DeploymentRecord:
    """Return what is remembered of a deployment, without its configuration."""
    return DeploymentRecord(
        seq=row.seq,
        app=row.app,
        id=row.id,
        state=DeploymentState(row.state),
        image_ref=row.image_ref,
        asked_by=row.asked_by,
        rolled_back_from=row.rolled_back_from,
        failure=row.failure,
        reason=row.reason,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def changes_of(
    before: DeploymentRow | None, row: DeploymentRow
) -> tuple[Change, ...] | None:
    """Return what C{row} changed, by the stored configurations, secrets unresolved.

    C{None}: one of the two is missing or was written by another version.
    """
    try:
        old = None if before is None else _stored(before)
        new = _stored(row)
    except InvalidValue:
        return None
    if new is None:
        return None
    return changes(old, new)


def _stored(row: DeploymentRow) -> Target | None:
    values = target_part(row)
    return target_from_json(values) if values else None
