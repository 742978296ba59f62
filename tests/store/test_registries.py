"""What C{store.registries} keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from haloy.errors import ConfigError
from haloy.store.registries import RegistryFile


def test_file_of_a_go_daemon(tmp_path: Path) -> None:
    """A server that switches keeps its logins."""
    path = tmp_path / "registries.yaml"
    path.write_text(
        "registries:\n  GHCR.example:\n    server: GHCR.example\n"
        "    username: {value: bob}\n    password: {value: p}\n"
    )
    file = RegistryFile(path)
    assert file.logins() == {"ghcr.example": ("bob", "p")}
    file.put("docker.io", "ann", "q")
    assert file.logins().keys() == {"ghcr.example", "docker.io"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert file.drop("ghcr.example")
    assert not file.drop("ghcr.example")


@pytest.mark.parametrize("text", ["registries: {a: {}}", "registries: {a: 5}"])
def test_bad_file_names_the_line(tmp_path: Path, text: str) -> None:
    """A hand-written mistake is told, not guessed at."""
    path = tmp_path / "registries.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"registries\.yaml:1"):
        RegistryFile(path).logins()


def test_missing_and_empty_file(tmp_path: Path) -> None:
    """No logins."""
    path = tmp_path / "registries.yaml"
    assert RegistryFile(path).logins() == {}
    path.write_text("")
    assert RegistryFile(path).logins() == {}
