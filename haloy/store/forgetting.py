"""Old deployments: no longer to be gone back to, then forgotten, here and for Go."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

_UNSHARE = (
    "UPDATE deployments SET rolled_back_from = NULL WHERE rolled_back_from IN "
    "(SELECT id FROM deployments WHERE app_name = ? AND id = ?)",
    "DELETE FROM deployments WHERE app_name = ? AND id = ?",
)


def give_up_targets(cursor: sqlite3.Cursor, app: str, ids: Iterable[str]) -> None:
    """Let nobody go back to these, here or in the shared table; their logs stay."""
    mark = "UPDATE deployment SET image_ref = '' WHERE app = ? AND id = ?"
    keys = [(app, one) for one in ids]
    for statement in (mark, *_UNSHARE):
        cursor.executemany(statement, keys)


def forget_deployments(cursor: sqlite3.Cursor, app: str, ids: Iterable[str]) -> None:
    """Drop old deployments of C{app} with their logs, here and in the shared table."""
    keys = [(app, one) for one in ids]
    for statement in (
        "DELETE FROM deployment WHERE app = ? AND id = ?",
        "DELETE FROM deploy_log WHERE app = ? AND deployment = ?",
        *_UNSHARE,
    ):
        cursor.executemany(statement, keys)
