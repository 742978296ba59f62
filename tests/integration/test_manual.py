"""Containers that people start themselves, as the page about labels shows it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.site import Server, build, identifier, load
from tests.support.waiting import wait_until

pytestmark = pytest.mark.docker

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "labels.md"
SHOP = "shop.example.test"


def shown(language: str) -> str:
    """Return the first example of a language, with names that this machine has."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1].replace("example.com", "example.test")


def versions(haloyd: Server, folder: Path) -> None:
    """Make C{shop:latest} and C{shop:next}, with the page that the example asks for."""
    for tag, version in (("latest", "one"), ("next", "two")):
        before = "echo well > /www/health"
        build(haloyd.docker, folder, f"shop:{tag}", version, before)


@contextmanager
def composed(haloyd: Server, folder: Path, project: str, text: str) -> Iterator[None]:
    """Run Debian's docker-compose on C{text}; stop what it has started."""
    file = folder / f"{project}.yml"
    file.write_text(f'version: "3.8"\n{text}')

    def compose(*arguments: str) -> None:
        done = subprocess.run(
            ["docker-compose", "-f", str(file), "-p", project, *arguments],
            env={**os.environ, **haloyd.docker.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    compose("up", "-d")
    try:
        yield
    finally:
        compose("down", "-t", "1")


def test_docker_run(haloyd: Server, tmp_path: Path) -> None:
    """The command of the page: routed, left alone, and no name for a deploy (D18)."""
    versions(haloyd, tmp_path)
    subprocess.run(
        ["/bin/sh", "-ec", shown("sh")],
        env={**os.environ, **haloyd.docker.environment},
        check=True,
        capture_output=True,
    )
    haloyd.until_serves(SHOP, "one")
    status, text = haloyd.try_deploy(identifier(0), "app:two")
    assert (status, "not made by haloy" in text) == (409, True)
    haloyd.docker.docker("stop", "-t", "1", "shop")
    wait_until(lambda: haloyd.get(SHOP)[0] == 503, haloyd.daemon.log_text)
    assert haloyd.containers("shop") == ["shop"]
    haloyd.docker.docker("start", "shop")
    haloyd.until_serves(SHOP, "one")


def test_compose(haloyd: Server, tmp_path: Path) -> None:
    """A new deployment id takes over when it is healthy; the old one is let be.

    Nothing of either is stopped or removed by haloyd, and no request is lost.
    """
    versions(haloyd, tmp_path)
    text = shown("yaml")
    after = text.replace("shop:latest", "shop:next").replace("manual-001", "manual-002")
    with composed(haloyd, tmp_path, "before", text):
        haloyd.until_serves(SHOP, "one")
        with load(haloyd, SHOP) as clients, composed(haloyd, tmp_path, "after", after):
            haloyd.until_serves(SHOP, "two")
            assert {haloyd.get(SHOP) for _ in range(20)} == {(200, "two")}
            assert len(haloyd.containers("shop", running=True)) == 2
            clients.stop()
        assert clients.failures == []
        # The newest one is gone: the one before it is there still.
        haloyd.until_serves(SHOP, "one")


def test_new_version_that_is_sick(haloyd: Server, tmp_path: Path) -> None:
    """While a new deployment id is not healthy, the one before it serves on."""
    versions(haloyd, tmp_path)
    build(haloyd.docker, tmp_path, "shop:sick", "sick")
    text = shown("yaml")
    after = text.replace("shop:latest", "shop:sick").replace("manual-001", "manual-002")
    with composed(haloyd, tmp_path, "before", text):
        haloyd.until_serves(SHOP, "one")
        with load(haloyd, SHOP) as clients, composed(haloyd, tmp_path, "after", after):
            time.sleep(3)  # in which it is asked more than twenty times
            assert "after_shop_1" in haloyd.containers("shop", running=True)
            clients.stop()
        assert clients.failures == []
        assert set(clients.answers) == {"one"}
