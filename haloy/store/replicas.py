"""Containers of ours, as rows. Each function is one transaction's work.

A container is created only after its row exists.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from attrs import frozen

from haloy.model.names import AppName, DeploymentId


@frozen
class ReplicaRow:
    """One container of ours, by its name; C{container_id} is C{""} until created."""

    name: str
    app: AppName
    deployment: DeploymentId
    number: int
    container_id: str
    draining: bool


def add_replica(
    cursor: sqlite3.Cursor, name: str, app: str, deployment: str, number: int
) -> None:
    """Announce a container before it is created."""
    cursor.execute(
        "INSERT OR REPLACE INTO replica (name, app, deployment, number) "
        "VALUES (?, ?, ?, ?)",
        (name, app, deployment, number),
    )


def set_container(cursor: sqlite3.Cursor, name: str, container_id: str) -> None:
    """Remember the id of a created container."""
    cursor.execute(
        "UPDATE replica SET container_id = ? WHERE name = ?", (container_id, name)
    )


def rename_replica(cursor: sqlite3.Cursor, name: str, to: str) -> None:
    """Follow a rename of the container."""
    cursor.execute("UPDATE OR REPLACE replica SET name = ? WHERE name = ?", (to, name))


def set_draining(cursor: sqlite3.Cursor, container_ids: Iterable[str]) -> None:
    """Note that containers only finish what they have."""
    cursor.executemany(
        "UPDATE replica SET draining = 1 WHERE container_id = ?",
        [(one,) for one in container_ids],
    )


def forget_replicas(cursor: sqlite3.Cursor, container_ids: Iterable[str]) -> None:
    """Drop the rows of removed containers."""
    cursor.executemany(
        "DELETE FROM replica WHERE container_id = ?", [(one,) for one in container_ids]
    )


def forget_announced(cursor: sqlite3.Cursor, app: str, deployment: str) -> None:
    """Drop the rows of containers that were announced and never made."""
    cursor.execute(
        "DELETE FROM replica WHERE app = ? AND deployment = ? AND container_id = ''",
        (app, deployment),
    )


def replicas_of(cursor: sqlite3.Cursor, app: str) -> list[ReplicaRow]:
    """Return the containers of C{app} that are ours."""
    cursor.execute(
        "SELECT name, app, deployment, number, container_id, draining FROM replica "
        "WHERE app = ? ORDER BY name",
        (app,),
    )
    return [
        ReplicaRow(
            name, AppName(of), DeploymentId(deployment), number, container, bool(flag)
        )
        for name, of, deployment, number, container, flag in cursor.fetchall()
    ]
