"""How the command speaks: markers, streams, colours, JSON (C{spec/cli.md} 1.4).

Information goes to stdout, warnings and errors to stderr. Colours go when the
stream is no terminal or NO_COLOR is set; the markers stay.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from haloy.cli.echo import echo
from haloy.cli.failing import show_problem
from haloy.errors import HaloyError

_MARKS = {
    "info": ("●", "blue", False),
    "success": ("●", "green", False),
    "debug": ("◆", "magenta", False),
    "warn": ("⚠", "yellow", True),
    "error": ("✖", "red", True),
}


class Output:
    """Where a command's words go.

    @ivar as_json: print one JSON document and nothing else on stdout.
    @ivar quiet: leave information out.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        """Know what is wanted."""
        self.as_json = as_json
        self.quiet = quiet

    @property
    def is_live(self) -> bool:
        """Whether what is shown may be drawn again: in a terminal that can."""
        plain = self.as_json or self.quiet or os.environ.get("TERM") == "dumb"
        return sys.stdout.isatty() and not plain

    def info(self, text: str, prefix: str = "") -> None:
        """Tell what happens."""
        if not self.quiet:
            self._say("info", text, prefix)

    def success(self, text: str, prefix: str = "") -> None:
        """Tell that something worked."""
        if not self.quiet:
            self._say("success", text, prefix)

    def debug(self, text: str, prefix: str = "") -> None:
        """Tell a detail."""
        if not self.quiet:
            self._say("debug", text, prefix)

    def warn(self, text: str, prefix: str = "") -> None:
        """Tell what may be wrong."""
        self._say("warn", text, prefix)

    def error(self, text: str, prefix: str = "") -> None:
        """Tell what went wrong."""
        self._say("error", text, prefix)

    def note(self, text: str) -> None:
        """Tell something beside what scripts read: on stderr."""
        if not self.quiet:
            echo(f"{click.style('●', fg='blue')} {text}", err=True)

    def line(self, text: str, prefix: str = "", colour: str = "") -> None:
        """Print bare text: what scripts read; C{prefix} says where it comes from."""
        if not self.as_json:
            head = f"{click.style(prefix, fg=colour or None)} " if prefix else ""
            echo(head + text)

    def heading(self, text: str) -> None:
        """Print a title with a rule under it."""
        self.line(click.style(text, bold=True))
        self.line("─" * min(len(text), shutil.get_terminal_size().columns))

    def problem(self, problem: HaloyError, prefix: str = "") -> None:
        """Tell a problem, with the line of the file where there is one."""
        show_problem(problem, prefix)

    def json(self, value: object) -> None:
        """Print the one JSON document."""
        echo(json.dumps(value, indent=2, ensure_ascii=False))

    def json_line(self, value: object) -> None:
        """Print one JSON document of many, on a line of its own."""
        echo(json.dumps(value, ensure_ascii=False))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table; nothing when JSON is wanted."""
        if self.as_json:
            return
        from haloy.tables import print_table  # noqa: PLC0415  (rich takes a while)

        print_table(columns, rows)

    def _say(self, kind: str, text: str, prefix: str) -> None:
        mark, colour, is_problem = _MARKS[kind]
        head = click.style(mark, fg=colour)
        if prefix:
            head += " " + click.style(prefix, bold=True)
        for line in text.splitlines():
            if line.strip():
                shown = click.style(line, bold=True) if kind == "success" else line
                echo(f"{head} {shown}", err=is_problem or self.as_json)


def show_entry(output: Output, entry: Mapping[str, Any], prefix: str = "") -> None:
    """Show one line of the daemon's log (C{spec/cli.md} 1.5)."""
    fields = entry.get("fields") or {}
    text = str(entry.get("message") or "")
    if text == "request" and fields.get("method") and fields.get("host"):
        text = (
            f"{fields['method']} {fields['host']}{fields.get('path', '')} → "
            f"{fields.get('status', '')} ({fields.get('duration_ms', '')} ms)"
        )
    if fields.get("error"):
        text += f": {fields['error']}"
    if fields.get("logs"):
        text += str(fields["logs"])
    domains = entry.get("domains") or []
    level = str(entry.get("level") or "").upper()
    if level == "INFO" and entry.get("isDeploymentSuccess"):
        urls = ", ".join(f"https://{domain}" for domain in domains)
        output.success(f"{text} → {urls}" if urls else text, prefix)
    elif level == "INFO":
        shown = f"{text} (domains: {', '.join(domains)})" if domains else text
        output.info(shown, prefix)
    else:
        say = {"ERROR": output.error, "WARN": output.warn, "DEBUG": output.debug}
        say.get(level, output.info)(text, prefix)
