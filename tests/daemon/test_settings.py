"""Which configuration and token C{daemon.settings} runs by."""

from __future__ import annotations

from pathlib import Path

import pytest

from haloy.api.auth import token_hash
from haloy.daemon.paths import Directories
from haloy.daemon.settings import (
    read_environment,
    read_settings,
    read_token,
    read_token_hash,
    start_settings,
)
from haloy.errors import ConfigError

GOOD = "api: {domain: api.example.com}\n"


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Directories:
    """Give directories of the test's own, and an environment without a token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HALOY_API_TOKEN", raising=False)
    (tmp_path / "config").mkdir()
    return Directories(tmp_path / "config", tmp_path / "data")


def test_missing_file_is_all_defaults(chosen: Directories) -> None:
    """A server may run without a haloyd.yaml."""
    assert read_settings(chosen).proxy.https == ":443"
    assert start_settings(chosen).problem == ""
    assert not chosen.last_good_config.exists()


def test_good_file_is_kept_as_the_last_good_one(chosen: Directories) -> None:
    """Written with mode 0600 into the data directory."""
    chosen.config_file.write_text(GOOD)
    assert start_settings(chosen).file.api.domain == "api.example.com"
    assert chosen.last_good_config.read_text() == GOOD
    assert chosen.last_good_config.stat().st_mode & 0o777 == 0o600


def test_bad_file_is_left_alone_and_the_last_good_one_runs(
    chosen: Directories,
) -> None:
    """D23: a typo does not stop a server, and is not hidden either."""
    chosen.config_file.write_text(GOOD)
    start_settings(chosen)
    chosen.config_file.write_text("api: {domian: x.example.com}\n")
    found = start_settings(chosen)
    assert found.file.api.domain == "api.example.com"
    assert "haloyd.yaml:1" in found.problem
    assert "domain" in found.problem
    assert "domian" in chosen.config_file.read_text()


def test_bad_file_without_a_good_one(chosen: Directories) -> None:
    """There is nothing to run by: file and line are named."""
    chosen.config_file.write_text("health_monitor: {interval: 0s}\n")
    with pytest.raises(ConfigError, match=r"haloyd\.yaml:1"):
        start_settings(chosen)
    chosen.config_file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        start_settings(chosen)
    chosen.last_good_config.parent.mkdir(exist_ok=True)
    chosen.last_good_config.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"haloyd\.yaml:1: is not UTF-8"):
        start_settings(chosen)


def test_order_of_environment_files(
    chosen: Directories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`.env` fills in, `.env.local` overrides (`spec/daemon.md` 3.3)."""
    monkeypatch.setenv("A", "process")
    (tmp_path / ".env").write_text("A=here\nB=here\n")
    (chosen.config / ".env").write_text("B=config\nC=config\n")
    (chosen.config / ".env.local").write_text("C=local\n")
    found = read_environment(chosen)
    assert (found["A"], found["B"], found["C"]) == ("process", "here", "local")


def test_token(chosen: Directories) -> None:
    """Without one there is no API to protect: say what to do."""
    with pytest.raises(ConfigError, match="haloyd init"):
        read_token(chosen)
    chosen.env_file.write_text('HALOY_API_TOKEN="abc"\n')
    assert read_token(chosen) == "abc"
    assert read_token_hash(chosen) == token_hash("abc")


def test_a_hash_in_the_place_of_the_token(chosen: Directories) -> None:
    """The token counts where both are; what is no hash is told."""
    chosen.env_file.write_text(f"HALOY_API_TOKEN_SHA256={token_hash('abc').hex()}\n")
    assert read_token_hash(chosen) == token_hash("abc")
    chosen.env_file.write_text("HALOY_API_TOKEN_SHA256=abc\n")
    with pytest.raises(ConfigError, match="not a SHA-256"):
        read_token_hash(chosen)
    chosen.env_file.write_text("HALOY_API_TOKEN_SHA256=abc\nHALOY_API_TOKEN=abc\n")
    assert read_token_hash(chosen) == token_hash("abc")
