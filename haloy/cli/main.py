"""C{haloy}: deploy containers to your own servers.

Commands are loaded when they are called, so that help and completion are fast.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from haloy.groups import LazyGroup

_AS_JSON = "haloy.as_json"

#: command -> where it is under C{haloy.cli}, and the help shown in the list.
COMMANDS = {
    "init": ("init:init_", "Write a haloy.yaml for this folder."),
    "deploy": ("deploy:deploy_", "Build, upload and deploy."),
    "status": (
        "status:status_",
        "Show the state of an app, or of all apps on a server.",
    ),
    "logs": ("logs:logs_", "Show the output of an app's containers."),
    "deployments": (
        "deployments:deployments_",
        "List past deployments and how they ended.",
    ),
    "diff": ("deployments:diff_", "Show what changed between two deployments."),
    "cancel": ("deployments:cancel_", "Cancel a deployment that is waiting."),
    "rollback": ("rollback:rollback_", "Go back to an earlier deployment."),
    "rollback-targets": (
        "rollback:rollback_targets_",
        "List the deployments to roll back to.",
    ),
    "stop": ("stop:stop_", "Stop an app."),
    "exec": ("execute:exec_", "Run a command in an app's container."),
    "tunnel": ("tunnel:tunnel_", "Reach a container's port from this machine."),
    "apps": ("apps:apps_", "List the apps on a server."),
    "targets": ("targets:targets_", "List the targets of haloy.yaml."),
    "prune-images": (
        "prune:prune_images_",
        "Remove an app's old images from its server.",
    ),
    "validate-config": ("validate:validate_config_", "Check haloy.yaml."),
    "doctor": ("doctor:doctor_", "Find out why something does not work."),
    "server": (
        "server:server_",
        "Add, list and delete servers; their logs and registries.",
    ),
    "tokens": ("tokens:tokens_", "List, create and revoke a server's API tokens."),
    "certs": ("certs:certs_", "List, show, renew and import a server's certificates."),
    "completion": (
        "completion:completion_",
        "Print the completion script for a shell.",
    ),
    "version": ("version:version_", "Print the version."),
}

_IN_ENV = "`env` in haloy.yaml names values and secrets (docs/guide/secrets.md)."
#: What people look for who come from other tools.
ELSEWHERE = {
    "env": _IN_ENV,
    "secret": _IN_ENV,
    "secrets": _IN_ENV,
    "login": "`haloy server add URL TOKEN` logs in.",
    "ps": "`haloy status` shows what runs.",
    "restart": "`haloy deploy` starts new containers.",
    "scale": "`replicas` in haloy.yaml says how many run; then `haloy deploy`.",
    "shell": "`haloy exec -it -- sh` opens one.",
    "ssh": "`haloy exec -it -- sh` opens a shell.",
}


class _Main(LazyGroup):
    """Turns every problem into one red line and an exit code."""

    package = "haloy.cli"
    commands_by_name = COMMANDS
    elsewhere = ELSEWHERE

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember what was asked, for the answer to be in JSON if that was."""
        ctx.meta[_AS_JSON] = _wants_json(args)
        if os.environ.get("NO_COLOR"):  # https://no-color.org; rich knows it, click not
            ctx.color = False
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; never show a traceback."""
        # Nothing of this is needed where nothing goes wrong: help is there at once.
        as_json = bool(ctx.meta[_AS_JSON])
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            from haloy.cli.exits import INTERRUPTED  # noqa: PLC0415

            sys.exit(INTERRUPTED)
        except (click.exceptions.Exit, click.Abort):
            raise
        except click.UsageError as problem:
            if as_json:
                from haloy.cli.failing import fail_usage  # noqa: PLC0415

                fail_usage(problem)
            raise
        except click.ClickException:
            raise
        except Exception as problem:
            if isinstance(problem, OSError) and problem.errno == errno.EPIPE:
                raise
            sys.exit(_failed(problem, as_json))


def _wants_json(arguments: Sequence[str]) -> bool:
    """Return whether C{--json} is given to us, not to the command of an exec."""
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in ours


def _failed(problem: Exception, as_json: bool) -> int:
    from haloy.cli.failing import fail, fail_unexpectedly  # noqa: PLC0415
    from haloy.errors import HaloyError  # noqa: PLC0415

    if isinstance(problem, HaloyError):
        return fail(problem, as_json)
    return fail_unexpectedly(problem, bool(os.environ.get("HALOY_DEBUG")), as_json)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from haloy.cli.version import installed  # noqa: PLC0415

        click.echo(installed())
        ctx.exit()


@click.group(
    cls=_Main,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version.",
)
def main() -> None:
    """Deploy containers to your own servers, without losing a request.

    A first deploy: haloy server add URL TOKEN, haloy init, haloy deploy.
    """


if os.environ.get("_HALOY_COMPLETE", "").startswith("powershell"):
    import haloy.cli.completion  # noqa: F401  (registers what click does not know)


if __name__ == "__main__":
    from haloy.cli.entry import main as begin

    begin()
