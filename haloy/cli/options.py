"""The options that several commands share, and what completes their values."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click
from attrs import frozen

from haloy.cli.entry import leave_orderly
from haloy.cli.numbers import Seconds
from haloy.cli.output import Output

F = TypeVar("F", bound=Callable[..., Any])


@frozen
class Selection:
    """What a command is to work on, as the command line says it."""

    config: str = "."
    names: tuple[str, ...] = ()
    everything: bool = False
    server: str = ""
    app: str = ""
    limit_s: float = 30.0

    @property
    def again(self) -> str:
        """The options that select the same once more, for a hint."""
        said = [
            ("" if self.config == "." else f" --config {self.config}"),
            *(f" --targets {name}" for name in self.names),
            " --all" if self.everything else "",
            f" --server {self.server}" if self.server else "",
            f" --app {self.app}" if self.app else "",
        ]
        return "".join(said)


def output_options(command: F) -> F:
    """Add C{--json} and C{--quiet}; the command takes an C{output}."""

    @functools.wraps(command)
    def wrapper(*args: Any, as_json: bool, quiet: bool, **options: Any) -> Any:
        output = Output(as_json=as_json, quiet=quiet)
        leave_orderly()
        return command(*args, output=output, **options)

    as_json = click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document on stdout."
    )
    quiet = click.option(
        "--quiet", "-q", is_flag=True, help="Print only warnings and errors."
    )
    return cast(F, as_json(quiet(wrapper)))


def target_options(command: F) -> F:
    """Add what selects targets of a configuration; the command takes a C{selection}."""
    return _selecting(command, [_config, _names, _everything, _limit])


def file_options(command: F) -> F:
    """Add what selects targets of a configuration where no server is asked."""
    return _selecting(command, [_config, _names, _everything])


def app_options(command: F) -> F:
    """Add what selects apps: by a configuration, or C{--server} and C{--app}."""
    return _selecting(command, [_config, _names, _everything, _server, _app, _limit])


def server_options(command: F) -> F:
    """Add what selects servers: C{--server}, or those of a configuration."""
    return _selecting(command, [_server, _config, _names, _everything, _limit])


def config_option(command: F) -> F:
    """Add C{--config} alone."""
    return cast(F, _config(command))


def _selecting(command: F, options: list[Callable[[Any], Any]]) -> F:
    @functools.wraps(command)
    def wrapped(*args: Any, **given: Any) -> Any:
        said = {
            name: given.pop(name) for name in list(given) if name in _SELECTION_FIELDS
        }
        return command(*args, selection=Selection(**said), **given)

    done: Any = wrapped
    for option in reversed(options):
        done = option(done)
    return cast(F, done)


_SELECTION_FIELDS = ("config", "names", "everything", "server", "app", "limit_s")


def _split(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    names = tuple(
        part.strip() for value in values for part in value.split(",") if part.strip()
    )
    if values and not names:
        raise click.BadParameter("is empty")
    return names


def _said(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str:
    """Refuse C{""}: a script's variable that is unset selects something else."""
    if value is not None and not value.strip():
        raise click.BadParameter("is empty")
    return value or ""


def _complete(what: str) -> Callable[..., list[str]]:
    """Return what completes a value; nothing that goes wrong is ever told."""

    def complete(
        ctx: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[str]:
        # Only completion pays for reading the configuration.
        from haloy.cli import completing  # noqa: PLC0415

        return completing.names(what, ctx.params, incomplete)

    return complete


def _config(command: Any) -> Any:
    return click.option(
        "-c",
        "--config",
        default=".",
        show_default=True,
        type=click.Path(),
        callback=_said,
        help="Configuration file, or the folder it is in.",
    )(command)


def _names(command: Any) -> Any:
    return click.option(
        "-t",
        "--targets",
        "--target",
        "names",
        multiple=True,
        callback=_split,
        shell_complete=_complete("targets"),
        help="Targets, separated by commas; repeatable.",
    )(command)


def _everything(command: Any) -> Any:
    return click.option("-a", "--all", "everything", is_flag=True, help="All targets.")(
        command
    )


def _server(command: Any) -> Any:
    return click.option(
        "-s",
        "--server",
        metavar="URL",
        callback=_said,
        shell_complete=_complete("servers"),
        help="Use this server; no configuration is read.",
    )(command)


def _app(command: Any) -> Any:
    return click.option(
        "--app",
        metavar="NAME",
        callback=_said,
        shell_complete=_complete("apps"),
        help="Only this app; with --server no configuration is needed.",
    )(command)


def _limit(command: Any) -> Any:
    return click.option(
        "--timeout",
        "limit_s",
        type=Seconds(1, 3600),
        default=30.0,
        show_default=True,
        help="Seconds to wait for an answer.",
    )(command)
