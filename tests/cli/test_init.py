"""C{haloy init}: a file that works, without a question where none can be asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from haloy.cli.init import init_
from haloy.config.client_file import add_server
from haloy.config.load import load_app_document
from haloy.errors import Conflict, InvalidValue


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go into an empty folder with a name that no app may have."""
    monkeypatch.setenv("HALOY_CONFIG_DIR", str(tmp_path / "client"))
    folder = tmp_path / "My Shop!"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def _init(*arguments: str) -> Result:
    return CliRunner().invoke(init_, arguments)


def test_everything_is_found_out(here: Path) -> None:
    """Name by the folder, port by EXPOSE, the only server; the file is valid."""
    (here / "Dockerfile").write_text("FROM scratch\nEXPOSE 3000\n")
    add_server(here.parent / "client", "haloy.example.com", "t", ca_file="")
    done = _init()
    assert done.exit_code == 0, done.output
    assert "Dockerfile exposes port 3000" in done.output
    (target,) = load_app_document(here).targets().values()
    assert (target.name, target.port, target.server) == (
        "my-shop",
        "3000",
        "haloy.example.com",
    )
    assert "# " in (here / "haloy.yaml").read_text()


def test_everything_is_said(here: Path) -> None:
    """Options are answers; --json tells what was written."""
    done = _init(
        *("--name", "shop", "--server", "https://s.example.com/", "--json"),
        *("--domain", "shop.example.com", "--image", "nginx:1", "--port", "80"),
        *("--replicas", "3"),
    )
    assert json.loads(done.stdout) == {
        "file": "haloy.yaml",
        "name": "shop",
        "port": 80,
    }
    (target,) = load_app_document(here).targets().values()
    assert (target.server, target.replicas) == ("s.example.com", 3)
    assert [one.domain for one in target.domains or ()] == ["shop.example.com"]
    assert target.image is not None
    assert target.image.repository == "nginx:1"


def test_nothing_is_overwritten(here: Path) -> None:
    """--force replaces haloy.yaml, never a file of another kind."""
    assert _init().exit_code == 0
    before = (here / "haloy.yaml").read_text()
    refused = _init("--name", "other")
    assert isinstance(refused.exception, Conflict)
    assert (here / "haloy.yaml").read_text() == before
    assert _init("--name", "other", "--force").exit_code == 0
    (here / "haloy.yaml").rename(here / "haloy.toml")
    assert isinstance(_init("--force").exception, Conflict)


def test_the_next_step_fits(here: Path) -> None:
    """Of several servers one must be chosen; to add another is of no use then."""
    assert "Next: haloy server add URL TOKEN, then haloy deploy" in _init().output
    for server in ("a.example.com", "b.example.com"):
        add_server(here.parent / "client", server, "t", ca_file="")
    told = _init("--force").output
    assert "put server: into haloy.yaml (you have added a.example.com, b.exam" in told


@pytest.mark.parametrize(
    "arguments", [("--name", "a b"), ("--domain", "no_domain"), ("--server", "a b")]
)
def test_what_is_not_right_is_not_written(
    here: Path, arguments: tuple[str, ...]
) -> None:
    """It is refused first."""
    assert isinstance(_init(*arguments).exception, InvalidValue)
    assert not (here / "haloy.yaml").exists()


def test_an_image_that_is_none(here: Path) -> None:
    """It is refused by its option's name, not by a line of a file that is not there."""
    done = _init("--image", "no image::")
    assert isinstance(done.exception, InvalidValue)
    assert str(done.exception).startswith("--image: 'no image::' is not an image")
    assert not (here / "haloy.yaml").exists()
