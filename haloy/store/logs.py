"""The logs of deployments, as rows. Each function is one transaction's work."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen

#: The oldest lines of a deployment go beyond so many.
LOG_LINES_LIMIT = 1000


@frozen
class LogRow:
    """One line of a deployment's log; C{seq} is given when it is written."""

    app: str
    deployment: str
    level: str
    message: str
    at: datetime
    domains: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(factory=dict)
    complete: bool = False
    failed: bool = False
    seq: int = 0


def add_log(cursor: sqlite3.Cursor, line: LogRow) -> None:
    """Append a line; the oldest go beyond the limit."""
    cursor.execute(
        "INSERT INTO deploy_log (app, deployment, level, message, at, domains, fields, "
        "complete, failed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            line.app,
            line.deployment,
            line.level,
            line.message,
            line.at.isoformat(),
            json.dumps(line.domains),
            json.dumps(dict(line.fields)),
            line.complete,
            line.failed,
        ),
    )
    cursor.execute(
        "DELETE FROM deploy_log WHERE app = ? AND deployment = ? AND seq <= "
        "(SELECT seq FROM deploy_log WHERE app = ? AND deployment = ? "
        "ORDER BY seq DESC LIMIT 1 OFFSET ?)",
        (line.app, line.deployment, line.app, line.deployment, LOG_LINES_LIMIT),
    )


def last_line(cursor: sqlite3.Cursor) -> int:
    """Return the number of the newest line of all logs; 0: there is none."""
    cursor.execute("SELECT coalesce(max(seq), 0) FROM deploy_log")
    (newest,) = cursor.fetchone()
    return int(newest)


def read_log(
    cursor: sqlite3.Cursor, app: str, deployment: str, after: int
) -> list[LogRow]:
    """Return the lines behind number C{after}, oldest first."""
    cursor.execute(
        "SELECT seq, app, deployment, level, message, at, domains, fields, complete, "
        "failed FROM deploy_log WHERE app = ? AND deployment = ? AND seq > ? "
        "ORDER BY seq",
        (app, deployment, after),
    )
    return [
        LogRow(
            seq=row[0],
            app=row[1],
            deployment=row[2],
            level=row[3],
            message=row[4],
            at=datetime.fromisoformat(row[5]),
            domains=tuple(json.loads(row[6])),
            fields=json.loads(row[7]),
            complete=bool(row[8]),
            failed=bool(row[9]),
        )
        for row in cursor.fetchall()
    ]
