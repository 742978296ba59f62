"""Completion: the scripts of four shells, and what they ask the command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from twisted.internet.task import deferLater

from haloy.cli.completing import names
from haloy.cli.completion import SHELLS, completion_
from haloy.config.client_file import add_server
from tests.api.test_server import hello, replica
from tests.support.cli import Bench
from tests.support.tty import Tty

FILE = "targets:\n  web: {image: 'a:1'}\n  worker: {image: 'a:1'}\n  db: {}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go into a folder with targets."""
    monkeypatch.setenv("HALOY_CONFIG_DIR", str(tmp_path / "client"))
    monkeypatch.delenv("HALOY_API_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "haloy.yaml").write_text(FILE)
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(shell: str) -> None:
    """It goes to stdout and asks by _HALOY_COMPLETE."""
    done = CliRunner().invoke(completion_, [shell])
    assert done.exit_code == 0
    assert f"{shell}_complete" in done.output


def test_another_shell_is_refused() -> None:
    """And so is none."""
    assert CliRunner().invoke(completion_, ["tcsh"]).exit_code == 2
    assert CliRunner().invoke(completion_, []).exit_code == 2


def test_bash_completes_targets(here: Path) -> None:
    """The script in a real bash: commands, options, and names of the file."""
    script = CliRunner().invoke(completion_, ["bash"]).output
    (here / "completion").write_text(script)
    asked = """
    source ./completion
    COMP_WORDS=(haloy deploy --targets w); COMP_CWORD=3
    _haloy_completion haloy w --targets; echo "${COMPREPLY[@]}"
    COMPREPLY=(); COMP_WORDS=(haloy rollb); COMP_CWORD=1
    _haloy_completion haloy rollb haloy; echo "${COMPREPLY[@]}"
    """
    folder = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-c", asked],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["web worker", "rollback rollback-targets"]


#: How each shell is started, and how it is given the script in the file C{_haloy}.
SHELLS_HERE = {
    "bash": (("bash", "--norc", "--noprofile", "-i"), "source ./_haloy"),
    "zsh": (
        ("zsh", "-f", "-i"),
        "fpath=($PWD $fpath); autoload -U compinit; compinit -u -d ./dump",
    ),
    "fish": (("fish", "--no-config", "-i"), "source ./_haloy"),
}


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS_HERE)
async def test_tab_in_a_real_shell(reactor: Any, tmp_path: Path, shell: str) -> None:
    """Commands, targets of the file, and apps that are asked of the server."""
    if shutil.which(shell) is None:
        assert not os.environ.get("CI"), f"{shell} is missing: ./test installs it"
        pytest.skip(f"there is no {shell} here")
    bench = Bench(reactor, tmp_path)
    await bench.start()
    bench.configure(targets={"web": {}, "worker": {}})
    bench.deployments.known["hello"] = hello(replica(1))
    script = CliRunner().invoke(completion_, [shell]).output
    (tmp_path / "_haloy").write_text(script)
    program, load = SHELLS_HERE[shell]
    folder = Path(sys.executable).parent

    def type_(tty: Tty) -> None:
        tty.press(f" {load}; echo re'ady'\r")
        tty.until("ready")
        for begun, whole in (
            ("haloy validate-c", "haloy validate-config"),
            ("haloy deploy --targets wo", "haloy deploy --targets worker"),
            ("haloy status --app he", "haloy status --app hello"),
        ):
            tty.press(begun)
            tty.until(begun)
            tty.press("\t")
            tty.until(whole)
            tty.press("\x15")
        tty.press("exit\r")

    try:
        await bench.in_terminal(
            type_,
            program=program,
            columns=120,
            PATH=f"{folder}:{os.environ['PATH']}",
            HOME=str(tmp_path),
        )
    finally:
        await bench.stop()
        await deferLater(reactor, 0.05)


def test_powershell_asks_in_its_way(here: Path) -> None:
    """Words by lines; the answer has type, value and help."""
    haloy = shutil.which("haloy", path=str(Path(sys.executable).parent))
    assert haloy is not None
    variables = {
        "_HALOY_COMPLETE": "powershell_complete",
        "COMP_WORDS": "haloy\ndeploy\n-t\nd",
        "COMP_CWORD": "d",
    }
    done = subprocess.run(
        [haloy],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["plain\tdb\t"]


def test_what_is_completed(here: Path) -> None:
    """Behind a comma too; servers that were added; nothing when anything is wrong."""
    assert names("targets", {}, "w") == ["web", "worker"]
    assert names("targets", {}, "db,w") == ["db,web", "db,worker"]
    assert names("targets", {"config": "nowhere"}, "") == []
    add_server(here / "client", "s.example.com", "t", ca_file="")
    assert names("servers", {}, "") == ["s.example.com"]
    (here / "haloy.yaml").write_text("name: shop\n")
    assert names("targets", {}, "") == ["shop"]
    (here / "haloy.yaml").write_text("a: [\n")
    assert names("targets", {}, "") == []
    assert names("apps", {}, "") == []
