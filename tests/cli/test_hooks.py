"""Hooks run one after another, in the folder of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from haloy.cli.hooks import run_hooks
from haloy.cli.output import Output
from haloy.errors import ConfigError, HaloyError


@pytest.fixture(autouse=True)
def shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a shell that is everywhere."""
    monkeypatch.setenv("SHELL", "/bin/sh")


def test_they_run_in_order_with_their_variables(tmp_path: Path) -> None:
    """Folder, environment and HALOY_ variables are there."""
    hooks = ("echo $HALOY_APP_NAME >>told", "pwd >>told")
    run_hooks(hooks, "pre_deploy", tmp_path, {"HALOY_APP_NAME": "shop"}, Output())
    assert (tmp_path / "told").read_text() == f"shop\n{tmp_path}\n"


def test_the_first_failure_ends_it(tmp_path: Path) -> None:
    """Key, number, command and exit code are named; what follows does not run."""
    hooks = ("true", "exit 9", "touch late")
    with pytest.raises(HaloyError) as failed:
        run_hooks(hooks, "post_deploy", tmp_path, {}, Output())
    assert str(failed.value) == "post_deploy[1] `exit 9` failed with exit code 9"
    assert not (tmp_path / "late").exists()


def test_an_empty_command_is_a_mistake(tmp_path: Path) -> None:
    """It is refused by its key and number."""
    with pytest.raises(ConfigError, match=r"global_pre_deploy\[0\]"):
        run_hooks(("  ",), "global_pre_deploy", tmp_path, {}, Output())


def test_no_hooks(tmp_path: Path) -> None:
    """Unset and empty are the same."""
    run_hooks(None, "pre_deploy", tmp_path, {}, Output())
    run_hooks((), "pre_deploy", tmp_path, {}, Output())


def test_without_a_shell_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell of the path is taken."""
    monkeypatch.delenv("SHELL")
    run_hooks(("touch here",), "pre_deploy", tmp_path, {}, Output())
    assert (tmp_path / "here").exists()
