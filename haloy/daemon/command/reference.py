"""The reference of C{haloyd} and C{twistd haloyd}, written from the commands.

C{python -m haloy.daemon.command.reference docs/reference} writes it anew; a test
fails when it is not what would be written.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

from haloy.daemon.command.main import main as haloyd
from haloy.groups import commands_of

NAME = "haloyd.md"

_HEAD = """\
# haloyd

The command that sets up a server and looks after it. The daemon itself is
`twistd haloyd`; its options are at the end. Every command takes `--config-dir` and
`--data-dir` (or `HALOY_CONFIG_DIR`, `HALOY_DATA_DIR`) where it needs them. With
`--json` it prints one JSON object; a command that cannot do its work prints
`{"error": {"code": …, "message": …, "exitCode": …}}`, as `haloy` does. Keys are written
as in `exitCode`, except where they are older than that: `haloyd version` has
`required_proxy_generation` and the like, `haloyd config get` the keys of `haloyd.yaml`.

Run as root, a command acts as the user who owns the data directory, so that the daemon
can read what it writes. Exit code 0 is success, 1 a problem, told in one line, 2 a
mistake on the command line.

While haloyd runs, `token` and `certs` ask it over its API on loopback, with the token
in its `.env`; otherwise they look at the files themselves.
"""

_TAIL = """
## Signals

| signal | does |
|---|---|
| SIGTERM, SIGINT | takes no new requests, lets those under way end (30 s), and exits |
| SIGHUP | reads `haloyd.yaml` again, if it is valid, and reopens log files |

SIGHUP puts these keys into force at once: `health_monitor`, `policy`, `disk`,
`metrics`, `trusted_proxies`, `log.access` and what belongs to it. For any other key
that has changed, the log says that it takes effect at the next start.
"""


def render() -> str:
    """Return the reference as Markdown."""
    return _HEAD + "".join(_commands(haloyd, "haloyd")) + _twistd() + _TAIL


def _commands(group: click.Group, path: str) -> Iterator[str]:
    seen: set[int] = set()
    for name, command in commands_of(group):
        called = f"{path} {name}"
        if id(command) in seen:
            yield f"\n## {called}\n\nThe same as `{path} {command.name}`.\n"
            continue
        seen.add(id(command))
        if isinstance(command, click.Group):
            yield from _commands(command, called)
        else:
            yield _command(command, called)


def _command(command: click.Command, called: str) -> str:
    arguments = " ".join(
        one.make_metavar(click.Context(command))
        for one in command.params
        if isinstance(one, click.Argument)
    )
    text = inspect.cleandoc(command.help or "")
    rows = "".join(
        f"| {_flags(one)} | {_meaning(one)} |\n"
        for one in command.params
        if isinstance(one, click.Option)
        and one.name not in ("config_dir", "data_dir", "as_json")
    )
    table = f"\n| option | meaning |\n|---|---|\n{rows}" if rows else ""
    line = f"{called} {arguments}".strip()
    return f"\n## {called}\n\n`{line}`\n\n{text}\n{table}"


def _flags(option: click.Option) -> str:
    shown = ", ".join(f"`{flag}`" for flag in option.opts)
    return shown if option.is_flag else f"{shown} `{_metavar(option)}`"


def _metavar(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return " or ".join(str(one) for one in option.type.choices)
    return option.metavar or option.type.name.upper()


def _meaning(option: click.Option) -> str:
    text = (option.help or "").strip()
    if option.show_default and option.default not in (None, False):
        shown = option.default
        if isinstance(shown, tuple):
            shown = " ".join(str(one) for one in shown)
        text = f"{text} Default: `{shown}`.".strip()
    return text


def _twistd() -> str:
    # By the plugin, as twistd finds it: what stands above us is not imported here.
    (plugin,) = [one for one in getPlugins(IServiceMaker) if one.tapname == "haloyd"]
    options: Any = plugin.options
    rows = []
    for long, short, _, text, *_ in options.optParameters:
        flags = f"`--{long}`" + (f", `-{short}`" if short else "")
        rows.append(f"| {flags} | {text} |\n")
    for long, short, text in options.optFlags:
        flags = f"`--{long}`" + (f", `-{short}`" if short else "")
        rows.append(f"| {flags} | {text} |\n")
    return (
        "\n## twistd haloyd\n\n`twistd --nodaemon --pidfile= haloyd`\n\n"
        f"{options.longdesc}\n\n| option | meaning |\n|---|---|\n{''.join(rows)}"
    )


def main(folder: str) -> None:
    """Write the file into C{folder}."""
    (Path(folder) / NAME).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
