"""C{haloy server}: what is kept of the servers a person has added."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from haloy.cli.server import server_
from haloy.errors import ConfigError, HaloyError
from tests.support.certificates import DAY, make_pem

TOKEN = "t" * 64


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the command a folder of the test's own."""
    monkeypatch.setenv("HALOY_CONFIG_DIR", str(tmp_path / "client"))
    return tmp_path / "client"


def _haloy(*arguments: str) -> Result:
    return CliRunner().invoke(server_, arguments, catch_exceptions=True)


def test_a_server_is_added(folder: Path) -> None:
    """The token goes into a file of one's own, never on the screen."""
    done = _haloy("add", "https://haloy.example.com/", TOKEN)
    assert done.exit_code == 0
    assert TOKEN not in done.output
    assert "HALOY_API_TOKEN_HALOY_EXAMPLE_COM" in done.output
    assert TOKEN in (folder / ".env").read_text()
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600


def test_a_known_server_wants_force(folder: Path) -> None:
    """A token is not replaced by mistake."""
    _haloy("add", "haloy.example.com", TOKEN)
    refused = _haloy("add", "haloy.example.com", "u" * 64)
    assert isinstance(refused.exception, HaloyError)
    assert TOKEN in (folder / ".env").read_text()
    assert _haloy("add", "-f", "haloy.example.com", "u" * 64).exit_code == 0
    assert TOKEN not in (folder / ".env").read_text()


def test_a_server_is_deleted_with_its_token(folder: Path) -> None:
    """CLI section 8: nothing of it stays; another server does."""
    _haloy("add", "one.example.com", TOKEN)
    _haloy("add", "two.example.com", "u" * 64)
    assert _haloy("delete", "one.example.com").exit_code == 0
    assert TOKEN not in (folder / ".env").read_text()
    assert "u" * 64 in (folder / ".env").read_text()
    assert isinstance(_haloy("delete", "one.example.com").exception, HaloyError)


def test_the_list_shows_whether_there_is_a_token(folder: Path) -> None:
    """As a table for people, as JSON for programs; sorted; no token in either."""
    assert "No server is known yet" in _haloy("list").output
    _haloy("add", "two.example.com", TOKEN)
    _haloy("add", "one.example.com", TOKEN)
    lines = (folder / ".env").read_text().splitlines()
    (folder / ".env").write_text("\n".join(line for line in lines if "ONE" in line))
    assert json.loads(_haloy("list", "--json").output) == [
        {
            "server": "one.example.com",
            "tokenEnv": "HALOY_API_TOKEN_ONE_EXAMPLE_COM",
            "hasToken": True,
        },
        {
            "server": "two.example.com",
            "tokenEnv": "HALOY_API_TOKEN_TWO_EXAMPLE_COM",
            "hasToken": False,
        },
    ]
    table = _haloy("list").output
    assert "one.example.com" in table
    assert TOKEN not in table


def test_a_file_to_trust_is_looked_at_first(folder: Path, tmp_path: Path) -> None:
    """When the server is added, not at the first deploy."""
    refused = _haloy("add", "haloy.example.com", TOKEN, "--ca-file", "nowhere.pem")
    assert refused.exit_code == 2
    (tmp_path / "ca.pem").write_text("")
    refused = _haloy(
        "add", "haloy.example.com", TOKEN, "--ca-file", str(tmp_path / "ca.pem")
    )
    assert isinstance(refused.exception, ConfigError)
    assert "holds no certificate" in str(refused.exception)
    assert not (folder / ".env").exists()
    made = make_pem("ca.example", since=datetime.now(UTC) - DAY, life=90 * DAY)
    (tmp_path / "ca.pem").write_bytes(made)
    done = _haloy(
        "add", "haloy.example.com", TOKEN, "--ca-file", str(tmp_path / "ca.pem")
    )
    assert done.exit_code == 0
    assert str(tmp_path / "ca.pem") in (folder / "client.yaml").read_text()
