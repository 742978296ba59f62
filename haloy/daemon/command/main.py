"""C{haloyd}: set a server up, check it, and start the daemon."""

from __future__ import annotations

import errno
import sys
from contextlib import suppress
from typing import NoReturn

import click

from haloy.daemon.command.adopt import adopt
from haloy.daemon.command.backup import backup, restore
from haloy.daemon.command.certs import certs
from haloy.daemon.command.config import config
from haloy.daemon.command.init import init
from haloy.daemon.command.manhole import manhole
from haloy.daemon.command.output import tell
from haloy.daemon.command.serve import serve
from haloy.daemon.command.token import token
from haloy.daemon.command.uninstall import uninstall
from haloy.daemon.command.upgrade import upgrade
from haloy.daemon.command.verify import verify
from haloy.daemon.command.version import version
from haloy.errors import HaloyError
from haloy.groups import SuggestingGroup

_AS_JSON = "haloyd.as_json"


class _Group(SuggestingGroup):
    """Turns what a person can act on into one line and exit code 1."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember whether the answer is to be JSON, when there is none, too."""
        ctx.meta[_AS_JSON] = "--json" in args
        return super().parse_args(ctx, args)

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
            _fail(HaloyError(f"this machine refuses it: {problem}"), ctx.meta[_AS_JSON])


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


main.add_command(init)
main.add_command(verify)
main.add_command(verify, "doctor")
main.add_command(config)
main.add_command(token)
main.add_command(certs)
main.add_command(backup)
main.add_command(restore)
main.add_command(adopt)
main.add_command(upgrade)
main.add_command(uninstall)
main.add_command(serve)
main.add_command(manhole)
main.add_command(version)

if __name__ == "__main__":
    main()
