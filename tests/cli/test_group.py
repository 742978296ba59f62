"""Groups of commands that load what is called."""

from __future__ import annotations

from click.testing import CliRunner

from haloy.cli.group import LazyGroup


class _Lazy(LazyGroup):
    commands_by_name = {"version": ("version", "Print it.")}  # noqa: RUF012


def test_a_module_is_loaded_when_called() -> None:
    """The list needs none of them."""
    group = _Lazy("lazy")
    assert "Print it." in CliRunner().invoke(group, ["--help"]).output
    assert CliRunner().invoke(group, ["version"]).exit_code == 0
    assert CliRunner().invoke(group, ["nothing"]).exit_code == 2
