"""C{haloyd uninstall} asks, and keeps what nobody told it to delete."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result
from twisted.internet.defer import Deferred

from haloy.daemon.command import uninstall as module
from haloy.daemon.command.main import main
from haloy.daemon.command.uninstall import remove, remove_containers
from haloy.engine.interface import ContainerSpec
from haloy.errors import HaloyError
from haloy.model.labels import INSTANCE, MANAGED_BY
from tests.fakes.engine import FakeEngine

T = TypeVar("T")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an installed system; the units of this machine are let alone."""
    monkeypatch.setattr(module, "stop_units", lambda: False)
    for name in ("etc/systemd/system/haloyd.service", "opt/haloy/venvs/1/bin/haloyd"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "usr/local/bin").mkdir(parents=True)
    (tmp_path / "usr/local/bin/haloyd").symlink_to("/nowhere/haloyd")
    (tmp_path / "etc/haloy").mkdir()
    (tmp_path / "var/lib/haloy").mkdir(parents=True)
    return tmp_path


def run(root: Path, *rest: str, answer: str = "") -> Result:
    where = [
        *("--root", str(root), "--config-dir", str(root / "etc/haloy")),
        *("--data-dir", str(root / "var/lib/haloy")),
    ]
    return CliRunner().invoke(main, ["uninstall", *where, *rest], input=answer)


def test_the_program_goes_the_data_stay(root: Path) -> None:
    """Links go as links."""
    done = run(root, "--yes", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert [Path(one).name for one in told["removed"]] == [
        "haloyd.service",
        "haloyd",
        "haloy",
    ]
    assert len(told["kept"]) == 2
    assert not (root / "opt/haloy").exists()
    assert (root / "var/lib/haloy").is_dir()


def test_it_shows_what_goes_and_asks(root: Path) -> None:
    """No is no."""
    done = run(root, answer="n\n")
    assert done.exit_code == 1
    assert str(root / "opt/haloy") in done.output
    assert (root / "opt/haloy").exists()


def test_purge(root: Path) -> None:
    """Only when it is told to."""
    assert run(root, "--yes", "--purge").exit_code == 0
    assert not (root / "etc/haloy").exists()
    assert not (root / "var/lib/haloy").exists()


def test_what_cannot_be_removed(tmp_path: Path) -> None:
    """It is said which."""
    with pytest.raises(HaloyError, match="run as root"):
        remove(tmp_path / "none")


def test_a_name_whose_file_is_lost(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its copy says whose the containers are, as it does for the daemon."""
    copy = root / "var/lib/haloy/db/instance-id"
    copy.parent.mkdir()
    copy.write_text("0" * 16 + "\n")
    engine = FakeEngine()
    engine.have_image("app:one")
    labels = {MANAGED_BY: "haloyd", INSTANCE: "0" * 16}
    spec = ContainerSpec("ours", "app:one", labels=labels)
    now(engine.create(spec))
    monkeypatch.setattr(module, "ask_engine", lambda ask: now(ask(engine)))
    done = run(root, "--yes", "--json", "--remove-apps")
    assert json.loads(done.output)["containers"] == ["ours"]


def now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that waits for nothing."""
    found: list[T] = []
    Deferred.fromCoroutine(coroutine).addCallback(found.append)
    return found[0]


async def test_only_containers_of_this_haloyd_go() -> None:
    """By the labels that it gives to what it makes; of another one nothing goes."""
    engine = FakeEngine()
    engine.have_image("app:one")
    for name, labels in {
        "ours": {MANAGED_BY: "haloyd", INSTANCE: "0" * 16},
        "ours-of-old": {MANAGED_BY: "haloyd"},
        "another-haloyd": {MANAGED_BY: "haloyd", INSTANCE: "1" * 16},
        "by-hand": {},
    }.items():
        await engine.create(ContainerSpec(name, "app:one", labels=labels))
    gone = await remove_containers(engine, "0" * 16)
    assert sorted(gone) == ["ours", "ours-of-old"]
    left = {one.name for one in await engine.containers({})}
    assert left == {"another-haloyd", "by-hand"}
