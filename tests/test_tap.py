"""C{twistd haloyd}: its options, and what it refuses to start with."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

from haloy.daemon.lifecycle import Daemon
from haloy.tap import Options, makeService
from haloy.turns import LONG_TURN_NS, turn_ns

TURNS = """
from haloy.tap import Options, makeService
from haloy.turns import turn_ns
makeService(Options())
print(turn_ns())
"""
TOKEN = 'HALOY_API_TOKEN="' + "a" * 64 + '"\n'


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that C{HALOY_CONFIG_DIR} and C{HALOY_DATA_DIR} are below."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HALOY_API_TOKEN", raising=False)
    monkeypatch.setenv("HALOY_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("HALOY_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / ".env").write_text(TOKEN)
    return tmp_path


def _options(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(list(arguments))
    return options


def _twistd(server: Path) -> subprocess.CompletedProcess[str]:
    """Run the daemon to its end, of which each of these tests expects one soon."""
    return subprocess.run(
        [
            Path(sys.executable).with_name("twistd"),
            "--nodaemon",
            "--pidfile=",
            "haloyd",
        ],
        cwd=server,
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_twistd_knows_it() -> None:
    """The plugin names the module that has these options and this service."""
    (found,) = [one for one in getPlugins(IServiceMaker) if one.tapname == "haloyd"]
    assert found.options is Options
    assert found.makeService is makeService


def test_the_options_of_the_documents_are_there() -> None:
    """Directories, C{--debug} and C{--check}."""
    options = _options("--config-dir", "/c", "--data-dir", "/d", "--debug", "--check")
    assert (options["config-dir"], options["data-dir"]) == ("/c", "/d")
    assert options["debug"]
    assert options["check"]


def test_a_mistake_ends_the_start_with_file_and_line(server: Path) -> None:
    """Without a last good copy nothing runs by guesses (decisions: configuration)."""
    file = server / "config" / "haloyd.yaml"
    file.write_text("proxy:\n  mode: sideways\n")
    with pytest.raises(SystemExit, match=f"{file}:2"):
        makeService(_options())


def test_twistd_says_a_mistake_in_one_line(server: Path) -> None:
    """No traceback: file, line and what is wrong, and an exit code that is not 0."""
    (server / "config" / "haloyd.yaml").write_text("proxi: {}\n")
    ran = _twistd(server)
    assert ran.returncode == 1
    assert "haloyd.yaml:1: proxi: unknown key; did you mean 'proxy'?" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_without_a_token_it_does_not_start(server: Path) -> None:
    """The text says which command makes one."""
    (server / "config" / ".env").unlink()
    with pytest.raises(SystemExit, match="haloyd init"):
        makeService(_options())


def test_check_says_ok_and_starts_nothing(
    server: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """C{--check} ends with 0 for a good file."""
    with pytest.raises(SystemExit) as ended:
        makeService(_options("--check"))
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{server / 'config' / 'haloyd.yaml'}: ok\n"
    assert not (server / "data" / "db").exists()


def test_check_finds_a_mistake_that_the_daemon_would_survive(server: Path) -> None:
    """A last good copy is for starting, not for saying that all is well."""
    (server / "data").mkdir()
    (server / "data" / "haloyd.yaml.last-good").write_text("{}\n")
    (server / "config" / "haloyd.yaml").write_text("acme: {direktory: x}\n")
    with pytest.raises(SystemExit, match="directory"):
        makeService(_options("--check"))


async def test_a_good_server_gives_the_daemon(server: Path) -> None:
    """Directories come by environment when no option names them."""
    service = makeService(_options())
    assert isinstance(service, Daemon)
    assert not service.ready
    await service.stopService()


def test_a_second_haloyd_ends(server: Path) -> None:
    """A start that fails before the reactor runs ends the process, too."""
    (server / "data").mkdir()
    with (server / "data" / "haloyd.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ran = _twistd(server)
    assert ran.returncode == 1
    assert "another haloyd" in ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr


@pytest.mark.parametrize("mode", ["split", "embedded"])
def test_haloyd_lets_haloy_proxy_first(server: Path, mode: str) -> None:
    """One that serves requests itself does not."""
    if not turn_ns():
        pytest.skip("this kernel has no turns that can be chosen (Linux 6.12)")
    (server / "config" / "haloyd.yaml").write_text(f"proxy:\n  mode: {mode}\n")
    ran = subprocess.run(
        [sys.executable, "-c", TURNS], capture_output=True, text=True, check=True
    )
    assert (int(ran.stdout) == LONG_TURN_NS) is (mode == "split")
