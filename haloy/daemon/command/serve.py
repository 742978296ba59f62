"""C{haloyd serve}: the short form of C{twistd -n haloyd}."""

from __future__ import annotations

import sys

import click
from twisted.scripts.twistd import run

from haloy.daemon.command.options import directory_options


@click.command()
@directory_options
@click.option("--debug", is_flag=True, help="Log more (HALOY_DEBUG=true).")
def serve(config_dir: str | None, data_dir: str | None, debug: bool) -> None:
    """Run the daemon in the foreground, as `twistd -n haloyd` does."""
    arguments = ["--nodaemon", "--pidfile=", "haloyd"]
    if config_dir is not None:
        arguments += ["--config-dir", config_dir]
    if data_dir is not None:
        arguments += ["--data-dir", data_dir]
    if debug:
        arguments.append("--debug")
    sys.argv = ["twistd", *arguments]
    run()
