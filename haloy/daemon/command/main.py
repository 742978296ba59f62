"""C{haloyd}: set a server up, check it, and start the daemon."""

from __future__ import annotations

import errno
import gc
import sys
from contextlib import suppress
from typing import Any, NoReturn

import click

from haloy.daemon.command.output import tell
from haloy.errors import HaloyError, refused_by_machine
from haloy.garbage import not_looked_for
from haloy.groups import LazyGroup
from haloy.libraries import damage, not_whole

_AS_JSON = "haloyd.as_json"

#: command -> where it is in this package, and the help shown in the list.
COMMANDS = {
    "init": ("init:init", "Set this server up."),
    "verify": ("verify:verify", "Check this server: files, disk, Docker, haloyd."),
    "doctor": ("verify:verify", "The same as verify."),
    "config": ("config:config", "Show or check haloyd.yaml, or change one key of it."),
    "token": ("token:token", "Create, list and revoke API tokens."),
    "certs": ("certs:certs", "List, renew and import certificates."),
    "backup": ("backup:backup", "Write a backup of configuration and data."),
    "restore": ("backup:restore", "Put a backup in place of what is there."),
    "adopt": ("adopt:adopt", "Take over the containers of a lost haloyd."),
    "upgrade": ("upgrade:upgrade", "Install another version and switch to it."),
    "uninstall": ("uninstall:uninstall", "Remove haloyd from this server."),
    "serve": ("serve:serve", "Run the daemon in the foreground."),
    "manhole": ("manhole:manhole", "Open the Python prompt inside the daemon."),
    "version": ("version:version", "Print the version."),
}


class _Group(LazyGroup):
    """Turns what a person can act on into one line and exit code 1."""

    package = "haloy.daemon.command"
    commands_by_name = COMMANDS

    def __call__(self, *args: Any, **more: Any) -> Any:
        """Be the command of this process, which ends with it."""
        try:
            return super().__call__(*args, **more)
        finally:
            gc.freeze()  # Python's last look for garbage is long, and frees nothing

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember whether the answer is to be JSON, when there is none, too."""
        ctx.meta[_AS_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command; what is cut off is not loaded, which could kill us."""
        if problem := damage():
            raise click.ClickException(not_whole(problem))
        with not_looked_for():
            return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; never show a traceback for a known problem."""
        try:
            return super().invoke(ctx)
        except HaloyError as problem:
            _fail(problem, ctx.meta[_AS_JSON])
        except click.UsageError as problem:
            if ctx.meta[_AS_JSON]:
                _tell_json("usage", problem.format_message(), problem.exit_code)
            raise
        except OSError as problem:
            if problem.errno == errno.EPIPE:  # click ends quietly
                raise
            _fail(refused_by_machine(problem), ctx.meta[_AS_JSON])


def _fail(problem: HaloyError, as_json: bool) -> NoReturn:
    if as_json:
        with suppress(OSError):  # it may be stdout's disk that is full
            _tell_json(problem.code, str(problem), 1)
    click.secho(f"✖ {problem}", fg="red", err=True)
    sys.exit(1)


def _tell_json(code: str, message: str, exit_code: int) -> None:
    """Print what C{haloy --json} prints of a command that cannot do its work."""
    told = {"code": code, "message": message, "exitCode": exit_code}
    tell({"error": told}, (), as_json=True)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Set up, check and run the Haloy daemon on this server."""


if __name__ == "__main__":
    main()
