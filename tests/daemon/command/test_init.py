"""What `haloyd init` makes, and what it leaves alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from haloy.config.daemon_file import parse_daemon_file
from haloy.daemon.command.init import initialise, refuse_existing
from haloy.daemon.paths import Directories
from haloy.errors import Conflict

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def chosen(tmp_path: Path) -> Directories:
    return Directories(tmp_path / "config", tmp_path / "data")


def test_new_server(chosen: Directories) -> None:
    """Directories 0700, token 0600, a configuration that parses."""
    made = initialise(chosen, "api.example.com", override=False, now=NOW)
    assert len(made.token) == 64
    assert made.token in chosen.env_file.read_text()
    assert chosen.env_file.stat().st_mode & 0o777 == 0o600
    for path in (chosen.config, chosen.data, chosen.certificates):
        assert path.stat().st_mode & 0o777 == 0o700
    text = chosen.config_file.read_text()
    file = parse_daemon_file(text, "haloyd.yaml")
    assert file.api.domain == "api.example.com"
    assert file.policy.bind_mounts == "refuse"


def test_existing_server_is_refused(chosen: Directories) -> None:
    """Nothing is overwritten by accident."""
    initialise(chosen, "", override=False, now=NOW)
    with pytest.raises(Conflict, match="--override"):
        refuse_existing(chosen, override=False)
    refuse_existing(chosen, override=True)


def test_override_moves_aside(chosen: Directories) -> None:
    """Nothing surprising is ever deleted."""
    first = initialise(chosen, "", override=False, now=NOW)
    (chosen.data / "db" / "haloy.db").write_text("precious")
    second = initialise(chosen, "", override=True, now=NOW)
    assert first.token != second.token
    old_config, old_data = second.moved
    assert first.token in (old_config / ".env").read_text()
    assert (old_data / "db" / "haloy.db").read_text() == "precious"
    assert not (chosen.data / "db" / "haloy.db").exists()


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    """What was made is taken back, and the place is named."""
    (tmp_path / "file").write_text("in the way")
    chosen = Directories(tmp_path / "config", tmp_path / "file" / "data")
    with pytest.raises(Conflict, match="cannot write"):
        initialise(chosen, "", override=False, now=NOW)
    assert not chosen.config.exists()
