"""The command itself: help, exit codes, one red line for what goes wrong."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from haloy.cli.main import COMMANDS, ELSEWHERE, main
from tests.support.waiting import slowness


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with nothing in it, and a client folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HALOY_CONFIG_DIR", str(tmp_path / "client"))
    monkeypatch.delenv("HALOY_API_TOKEN", raising=False)
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


def test_help_lists_every_command() -> None:
    """No arguments are a question too."""
    code, shown = run("--help")
    assert code == 0
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    """Each command loads and explains itself."""
    code, shown = run(name, "--help")
    assert (code, "Usage:" in shown) == (0, True)


def test_near_miss_is_suggested() -> None:
    """A typo gets a hint and exit code 2."""
    code, shown = run("deplyo")
    assert code == 2
    assert "did you mean deploy" in shown
    assert "did you mean" not in run("xyzzy")[1]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_words_of_other_tools(name: str) -> None:
    """What is done here is said, not what is spelt alike; it exists."""
    code, shown = run(name)
    assert (code, "did you mean" in shown) == (2, False)
    assert name not in COMMANDS
    (command,) = re.findall(r"`haloy ([\w-]+)", ELSEWHERE[name])[:1] or ["init"]
    assert command in COMMANDS
    for page in re.findall(r"docs/\S+\.md", ELSEWHERE[name]):
        assert (Path(__file__).parents[2] / page).exists()


def test_unknown_subcommand_is_an_error() -> None:
    """CLI 1: not the group's help and exit 0."""
    assert run("server", "bogus")[0] == 2


def test_known_problem_is_one_line(home: Path) -> None:
    """No configuration here: exit code 3, no traceback."""
    code, shown = run("status")
    assert code == 3
    assert "haloy init" in shown or "haloy.yaml" in shown
    assert "Traceback" not in shown


def test_version_is_plain() -> None:
    """What scripts read."""
    code, shown = run("version")
    assert (code, shown.count("\n")) == (0, 1)
    assert '"version"' in run("version", "--json")[1]


def test_help_imports_no_reactor() -> None:
    """Help is there at once: neither Twisted nor rich is loaded for it."""
    script = (
        "import sys; from haloy.cli.main import main; "
        "main(['--help'], standalone_mode=False); "
        "sys.exit('twisted' in sys.modules or 'rich' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_help_is_there_at_once(unmeasured: None) -> None:
    """150 ms of the processor at most, the best of five: others may run too."""

    def took_s() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        asked = [sys.executable, "-m", "haloy.cli.main", "--help"]
        subprocess.run(asked, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        user_s = after.ru_utime - before.ru_utime
        return user_s + after.ru_stime - before.ru_stime

    assert min(took_s() for _ in range(5)) <= 0.150 * slowness()


def test_server_commands(home: Path) -> None:
    """Add, list, refuse, replace, delete; the token file is private."""
    assert "No server is known" in run("server", "list")[1]
    code, shown = run("server", "add", "https://haloy.example.com/x", "tok", "en")
    assert (code, "HALOY_API_TOKEN_HALOY_EXAMPLE_COM" in shown) == (0, True)
    env = home / "client" / ".env"
    assert env.stat().st_mode & 0o777 == 0o600
    before = env.read_text()
    assert '"tok en"' in before
    code, shown = run("server", "add", "haloy.example.com", "other")
    assert (code, "--force" in shown) == (1, True)
    assert env.read_text() == before, "CLI section 9, point 10"
    assert run("server", "add", "--force", "haloy.example.com", "other")[0] == 0
    code, shown = run("server", "list")
    assert "haloy.example.com" in shown
    assert '"hasToken": true' in run("server", "list", "--json")[1]
    assert run("server", "delete", "haloy.example.com")[0] == 0
    assert run("server", "delete", "haloy.example.com")[0] == 1
    assert "other" not in env.read_text()
