"""C{haloyd init} makes a server, once, and destroys nothing."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from haloy.api.auth import token_hash
from haloy.config.daemon_file import parse_daemon_file
from haloy.daemon.command.init import initialise, refuse_existing
from haloy.daemon.paths import Directories
from haloy.daemon.settings import read_token, read_token_hash
from haloy.errors import ConfigError, Conflict
from haloy.model.names import DEFAULT_NETWORK
from tests.daemon.command.conftest import Haloyd
from tests.support.docker_api import DockerApi

NOW = datetime(2026, 11, 24, 11, 30, tzinfo=UTC)


@pytest.fixture
def chosen(tmp_path: Path) -> Directories:
    return Directories(tmp_path / "config", tmp_path / "data")


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_server(haloyd: Haloyd, docker: DockerApi, chosen: Directories) -> None:
    """Directories, files, token and network are there, and readable by nobody else."""
    done = haloyd(
        "init", "--api-domain", "api.example.com", "--json", docker=docker.host
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["apiDomain"] == "api.example.com"
    assert re.fullmatch("[0-9a-f]{64}", told["apiToken"])
    assert f'HALOY_API_TOKEN="{told["apiToken"]}"' in chosen.env_file.read_text()
    file = parse_daemon_file(chosen.config_file.read_text(), "haloyd.yaml")
    assert file.api.domain == "api.example.com"
    assert file.policy.bind_mounts == "refuse"
    for folder in (chosen.config, chosen.data, chosen.database.parent):
        assert _mode(folder) == 0o700
    assert _mode(chosen.env_file) == 0o600
    assert docker.networks == [DEFAULT_NETWORK]


def test_only_the_hash_is_kept(
    haloyd: Haloyd, docker: DockerApi, chosen: Directories
) -> None:
    """The token is printed and is nowhere on the server; the daemon starts by it."""
    done = haloyd("init", "--no-env-token", "--json", docker=docker.host)
    token = json.loads(done.stdout)["apiToken"]
    written = b"".join(
        path.read_bytes()
        for folder in (chosen.config, chosen.data)
        for path in folder.rglob("*")
        if path.is_file()
    )
    assert token.encode() not in written
    assert read_token_hash(chosen) == token_hash(token)
    with pytest.raises(ConfigError, match="only its hash"):
        read_token(chosen)


def test_the_text_shows_the_next_command(haloyd: Haloyd, docker: DockerApi) -> None:
    """What to type on the developer's machine is printed, token and all."""
    done = haloyd("init", "--api-domain", "api.example.com", docker=docker.host)
    assert re.search(
        r"^ +haloy server add api\.example\.com [0-9a-f]{64}$",
        done.stdout,
        re.MULTILINE,
    )


def test_an_existing_network_is_taken(haloyd: Haloyd, docker: DockerApi) -> None:
    """A second network of the same name is never made."""
    docker.networks.append(DEFAULT_NETWORK)
    assert haloyd("init", docker=docker.host).returncode == 0
    assert docker.networks == [DEFAULT_NETWORK]


def test_a_second_time_changes_nothing(
    haloyd: Haloyd, docker: DockerApi, chosen: Directories
) -> None:
    """A server that is set up is refused with exit code 1 and one line."""
    haloyd("init", docker=docker.host)
    before = chosen.env_file.read_text()
    done = haloyd("init", docker=docker.host)
    assert done.returncode == 1
    assert "is set up already" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert chosen.env_file.read_text() == before


def test_without_docker_nothing_is_written(haloyd: Haloyd, chosen: Directories) -> None:
    """Docker is asked first: a server that cannot run apps is not half set up."""
    done = haloyd("init")
    assert done.returncode == 1
    assert "Docker does not answer" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not chosen.config.exists()
    assert not chosen.data.exists()


def test_a_wrong_domain_is_refused_before_anything(
    haloyd: Haloyd, docker: DockerApi, chosen: Directories
) -> None:
    """The option is named, nothing is made."""
    done = haloyd("init", "--api-domain", "not a domain", docker=docker.host)
    assert done.returncode == 1
    assert "--api-domain" in done.stderr
    assert docker.networks == []
    assert not chosen.config.exists()


def test_override_moves_aside_and_deletes_nothing(chosen: Directories) -> None:
    """What was there is found again under a name with the time."""
    first = initialise(chosen, "", False, NOW)
    (chosen.data / "db" / "haloy.db").write_text("precious")
    second = initialise(chosen, "", True, NOW)
    assert second.token != first.token
    assert {path.name for path in second.moved} == {
        "config.old-20261124T113000Z",
        "data.old-20261124T113000Z",
    }
    kept = chosen.data.with_name("data.old-20261124T113000Z")
    assert (kept / "db" / "haloy.db").read_text() == "precious"


def test_an_existing_set_up_is_replaced_only_when_told(chosen: Directories) -> None:
    """The refusal says what to do instead."""
    refuse_existing(chosen, override=False)
    initialise(chosen, "", False, NOW)
    with pytest.raises(Conflict, match="haloyd verify"):
        refuse_existing(chosen, override=False)
    refuse_existing(chosen, override=True)


def test_what_cannot_be_written_is_undone(chosen: Directories) -> None:
    """A data directory that is a file: the configuration is not left behind."""
    chosen.data.write_text("in the way")
    with pytest.raises(Conflict, match="cannot write"):
        initialise(chosen, "", False, NOW)
    assert not chosen.config.exists()
    assert chosen.data.read_text() == "in the way"
