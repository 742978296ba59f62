"""Pushing to a real registry that asks for a password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from haloy.cli.output import Output
from haloy.cli.push import push_image
from haloy.config.app_file import ImageConfig, Registry, ValueSource
from haloy.errors import ConfigError, HaloyError
from tests.support.docker import build_image, cleaned, require_docker, unique
from tests.support.registry import private_registry

pytestmark = pytest.mark.docker


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run a registry for user C{me}; yield its host and port."""
    require_docker()
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with private_registry(tmp_path) as address:
        yield address


def image(registry: str, name: str, password: str | None) -> ImageConfig:
    login = Registry(
        server=registry,
        username=ValueSource("me"),
        password=ValueSource(password),
    )
    return ImageConfig(repository=f"{registry}/{name}", tag="1", registry=login)


def test_push(
    registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It logs in and pushes; the second time nothing is left to send."""
    name = unique("push")
    with cleaned(f"{registry}/{name}"):
        build_image(f"{registry}/{name}:1", tmp_path / "context", "true")
        push_image(image(registry, name, "secret"), Output())
        assert "2 layers pushed, 0 were there already" in capsys.readouterr().out
        push_image(image(registry, name, "secret"), Output())
        assert "0 layers pushed, 2 were there already" in capsys.readouterr().out


def test_wrong_password(registry: str) -> None:
    """Told before anything is pushed; the password is not in the text (CLI 4.3)."""
    with pytest.raises(HaloyError, match=r"docker login .* failed") as told:
        push_image(image(registry, "x", "not-the-one"), Output())
    assert "not-the-one" not in str(told.value)


def test_empty_password(registry: str) -> None:
    """An empty secret is a mistake of the configuration."""
    with pytest.raises(ConfigError, match=r"image\.registry\.password is empty"):
        push_image(image(registry, "x", ""), Output())


def test_not_logged_in(registry: str, tmp_path: Path) -> None:
    """The next step is in the text."""
    name = unique("push")
    with cleaned(f"{registry}/{name}"):
        build_image(f"{registry}/{name}:1", tmp_path / "context", "true")
        with pytest.raises(HaloyError, match="log in with `docker login`"):
            push_image(ImageConfig(repository=f"{registry}/{name}", tag="1"), Output())
