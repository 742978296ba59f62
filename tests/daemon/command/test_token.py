"""C{haloyd token} and C{haloyd certs} while no daemon runs; with one: see below."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from haloy.daemon.command.main import main
from haloy.store.database import migrations


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a server whose daemon does not run."""
    (tmp_path / "haloyd.yaml").write_text("api: {listen: '127.0.0.1:1'}\n")
    (tmp_path / ".env").write_text("HALOY_API_TOKEN=abc\n")
    return tmp_path


def test_without_the_token_itself(folder: Path, database: sqlite3.Connection) -> None:
    """Where only the hash is kept the database is asked, while no daemon runs."""
    (folder / ".env").write_text(f"HALOY_API_TOKEN_SHA256={'0' * 64}\n")
    made = run(folder, "token", "create", "ci", "--json")
    assert made.exit_code == 0, made.output
    assert database.execute("SELECT name FROM token").fetchall() == [("ci",)]


@pytest.fixture
def database(folder: Path) -> Iterator[sqlite3.Connection]:
    path = folder / "data" / "db" / "haloy.db"
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    for _, script in migrations():
        connection.executescript(script)
    yield connection
    connection.close()


def run(folder: Path, *arguments: str) -> Result:
    where = ["--config-dir", str(folder), "--data-dir", str(folder / "data")]
    return CliRunner().invoke(main, [*arguments[:2], *where, *arguments[2:]])


def test_the_life_of_a_token(folder: Path, database: sqlite3.Connection) -> None:
    """Shown once, kept as a hash, revoked at once."""
    made = run(
        folder,
        *("token", "create", "ci", "--scope", "read", "--app", "shop"),
        *("--expires", "90d", "--json"),
    )
    assert made.exit_code == 0, made.output
    token = json.loads(made.output)["token"]
    assert token.startswith("haloy_")
    assert token not in "".join(database.iterdump())
    (listed,) = json.loads(run(folder, "token", "list", "--json").output)["tokens"]
    assert (listed["name"], listed["scopes"], listed["apps"]) == (
        "ci",
        ["read"],
        ["shop"],
    )
    assert listed["expiresAt"]
    again = run(folder, "token", "create", "ci")
    assert (again.exit_code, "already" in again.output) == (1, True)
    assert run(folder, "token", "revoke", "ci").output == "ci is revoked.\n"
    assert "revoked" in run(folder, "token", "list").output
    wrong = run(folder, "token", "revoke", "nobody")
    assert (wrong.exit_code, "no token named" in wrong.output) == (1, True)


def test_before_the_first_start(folder: Path) -> None:
    """The database is made by the daemon; it is said what to do."""
    done = run(folder, "token", "list")
    assert done.exit_code == 1
    assert "start haloyd once" in done.output


def test_a_name_that_is_taken_by_the_environment(
    folder: Path, database: sqlite3.Connection
) -> None:
    """C{env} is the token of C{.env}."""
    assert run(folder, "token", "create", "env").exit_code == 1
