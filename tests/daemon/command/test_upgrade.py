"""C{haloyd upgrade}: what is switched, and what is switched back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import define, field
from click.testing import CliRunner

from haloy.daemon.command import upgrade as module
from haloy.daemon.command.main import main
from haloy.daemon.command.upgrade import (
    Environments,
    check,
    healthy,
    switch,
    verify_wheel,
    version_of,
)
from haloy.daemon.paths import Directories
from haloy.errors import Conflict, HaloyError, InsufficientStorage, InvalidValue
from tests.support.disks import small_disk


def environment(prefix: Path, name: str, version: str, good: bool = True) -> Path:
    """Make what looks like an environment with a version in it."""
    path = prefix / "venvs" / name
    (path / "bin").mkdir(parents=True)
    program = path / "bin" / "haloyd"
    program.write_text(
        "#!/bin/sh\n"
        f'case $1 in version) echo \'{{"version": "{version}", '
        f'"proxy_form": "form of {version}"}}\'; '
        'echo asked >>"$0.log" ;;\n'
        f"*) {'echo ok' if good else 'echo no such key >&2; exit 1'} ;; esac\n"
    )
    program.chmod(0o755)
    return path


@define(eq=False)
class Scene:
    prefix: Path
    restarts: list[Path] = field(factory=list)
    sick: set[str] = field(factory=set)

    def restart(self) -> None:
        self.restarts.append((self.prefix / "venv").resolve())

    def healthy(self, version: str) -> str:
        return "it answers with an error" if version in self.sick else ""


def go_over(scene: Scene, new: Path, restart: Callable[[], None] | None = None) -> None:
    """Switch from what is in use."""
    place = Environments(scene.prefix)
    before, after = version_of(place.current()), version_of(new)
    switch(place, before, after, restart or scene.restart, scene.healthy)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    old = environment(tmp_path, "1", "1.0")
    (tmp_path / "venv").symlink_to(old)
    return Scene(tmp_path)


def test_a_good_version_is_switched_to(scene: Scene) -> None:
    """The link is replaced at once, the version before is kept."""
    new = environment(scene.prefix, "2", "2.0")
    place = Environments(scene.prefix)
    go_over(scene, new)
    assert scene.restarts == [new]
    assert place.current() == new


def test_a_version_that_is_not_healthy_is_switched_back(scene: Scene) -> None:
    """By itself; the command fails and says which version runs."""
    new = environment(scene.prefix, "2", "2.0")
    scene.sick = {"2.0"}
    with pytest.raises(HaloyError, match=r"2\.0 did not become.*1\.0 runs again"):
        go_over(scene, new)
    assert [one.name for one in scene.restarts] == ["2", "1"]
    assert Environments(scene.prefix).current().name == "1"


def test_when_neither_is_healthy(scene: Scene) -> None:
    """It is said: Docker may be the reason, not the version."""
    new = environment(scene.prefix, "2", "2.0")
    scene.sick = {"1.0", "2.0"}
    with pytest.raises(HaloyError, match=r"1\.0, too: it answers"):
        go_over(scene, new)


def test_a_start_that_fails_is_a_version_that_is_not_healthy(scene: Scene) -> None:
    """As when systemd says that the unit did not come up."""
    new = environment(scene.prefix, "2", "2.0")

    def restart() -> None:
        scene.restart()
        if len(scene.restarts) == 1:
            raise HaloyError("systemctl restart haloyd failed")

    with pytest.raises(HaloyError, match=r"restart haloyd failed; haloyd 1\.0"):
        go_over(scene, new, restart)
    assert Environments(scene.prefix).current().name == "1"


def test_a_version_that_refuses_the_configuration_is_never_started(
    scene: Scene, tmp_path: Path
) -> None:
    """Its own check reads the file of this server first."""
    new = environment(scene.prefix, "2", "2.0", good=False)
    with pytest.raises(HaloyError, match="no such key"):
        check(new, Directories(tmp_path, tmp_path))
    check(environment(scene.prefix, "3", "3.0"), Directories(tmp_path, tmp_path))


def test_what_is_no_version(scene: Scene) -> None:
    """An environment without haloyd is told as such."""
    with pytest.raises(HaloyError, match="No such file"):
        version_of(scene.prefix / "venvs" / "none")


def test_old_ones_go(scene: Scene) -> None:
    """Two stay: the one in use, and the one before. What was begun later is no use."""
    for number in "234":
        environment(scene.prefix, number, "x")
    (scene.prefix / "venvs" / "5").mkdir()
    Environments(scene.prefix).forget(scene.prefix / "venvs" / "3")
    assert sorted(os.listdir(scene.prefix / "venvs")) == ["1", "3"]


def test_what_runs_stays(scene: Scene) -> None:
    """The proxy may run from one that is older than those that are kept."""
    for number in "2345":
        environment(scene.prefix, number, "x")
    maps = scene.prefix / "proc" / "7" / "maps"
    maps.parent.mkdir(parents=True)
    maps.write_text(f"7f-80 r-xp 0 fe:00 1 {scene.prefix}/venvs/3/lib/_x.so\n")
    before = scene.prefix / "venvs" / "5"
    Environments(scene.prefix).forget(before, scene.prefix / "proc")
    assert sorted(os.listdir(scene.prefix / "venvs")) == ["1", "3", "5"]


def test_only_what_install_sh_has_made(tmp_path: Path) -> None:
    """A pip install elsewhere is upgraded by pip."""
    (tmp_path / "venv").mkdir()
    with pytest.raises(Conflict, match=r"install\.sh"):
        Environments(tmp_path).fresh(datetime.now(UTC))


def test_no_room_for_another(scene: Scene) -> None:
    """Told before anything is made: where, and how much is needed."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    venvs = scene.prefix / "venvs"
    shutil.rmtree(venvs)
    with small_disk(venvs):
        (venvs / "1").mkdir()
        with pytest.raises(InsufficientStorage, match=r"16 MiB left.* needs 200 MiB"):
            Environments(scene.prefix).fresh(datetime.now(UTC))


def test_the_wheel_is_the_one_that_is_meant(tmp_path: Path) -> None:
    """By its hash, before anything is installed."""
    wheel = tmp_path / "haloy-1-py3-none-any.whl"
    with pytest.raises(InvalidValue, match="No such file"):
        verify_wheel(str(wheel), None)
    wheel.write_bytes(b"wheel")
    verify_wheel(str(wheel), hashlib.sha256(b"wheel").hexdigest().upper())
    with pytest.raises(InvalidValue, match="not the wheel"):
        verify_wheel(str(wheel), "0" * 64)
    verify_wheel("haloy==2.0", None)
    with pytest.raises(InvalidValue, match="for a wheel"):
        verify_wheel("haloy==2.0", "0" * 64)


def test_nobody_answers(tmp_path: Path) -> None:
    """The wait has an end and a reason."""
    (tmp_path / "haloyd.yaml").write_text("api: {listen: '127.0.0.1:1'}\n")
    wait = healthy(Directories(tmp_path, tmp_path / "data"), limit_s=0.3)
    assert "does not answer at 127.0.0.1:1" in wait("1.0")


def test_the_command(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the wheel to the switch; each version is asked once, what fails goes."""

    def install(new: Path, what: str, find_links: str | None) -> None:
        if what == "haloy==bad":
            new.mkdir()
            raise HaloyError("pip: no such version")
        environment(scene.prefix, new.name, "2.0")

    # What would need an index and systemd; both are tried by tests/install.
    monkeypatch.setattr(module, "install", install)
    monkeypatch.setattr(module, "healthy", lambda chosen: scene.healthy)
    common = [
        *("upgrade", "--prefix", str(tmp_path), "--restart", "true"),
        *("--config-dir", str(tmp_path), "--json"),
    ]
    done = CliRunner().invoke(main, [*common, "haloy==2.0"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    old = scene.prefix / "venvs" / "1"
    assert told == {
        "before": "1.0",
        "after": "2.0",
        "beforeForm": "form of 1.0",
        "afterForm": "form of 2.0",
        "kept": str(old),
    }
    for used in (old, (scene.prefix / "venv").resolve()):
        assert (used / "bin" / "haloyd.log").read_text() == "asked\n"
    before = sorted(os.listdir(scene.prefix / "venvs"))
    bad = CliRunner().invoke(main, [*common, "haloy==bad"])
    assert (bad.exit_code, "no such version" in bad.output) == (1, True)
    assert sorted(os.listdir(scene.prefix / "venvs")) == before
    split = "proxy: {mode: split}\n"
    (tmp_path / "haloyd.yaml").write_text(split)
    again = CliRunner().invoke(main, [*common[:-1], "haloy==2.0"])
    assert "haloyd 2.0 (form of 2.0 proxy) runs" in again.output
    assert "`systemctl reload haloy-proxy`" in again.output


def test_one_upgrade_at_a_time(scene: Scene) -> None:
    """Each would take the other's environment for what an interrupted one has left."""
    program = (
        "import sys; from pathlib import Path\n"
        "from haloy.daemon.command.upgrade import Environments\n"
        "with Environments(Path(sys.argv[1])).alone():\n"
        "    print('alone', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(scene.prefix)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"alone\n"
        with (
            pytest.raises(Conflict, match="another upgrade is under way"),
            Environments(scene.prefix).alone(),
        ):
            pytest.fail("two at once")
        other.communicate()
    with Environments(scene.prefix).alone():
        pass
