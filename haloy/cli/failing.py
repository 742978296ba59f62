"""How what went wrong is shown: what, where with the line, and a code for machines."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from haloy.cli.echo import echo
from haloy.cli.exits import ERROR, exit_code
from haloy.config.excerpt import shown_line
from haloy.errors import ConfigError, HaloyError, refused_by_machine

#: What the API calls a value, and what people call it on the command line.
_OPTIONS = {"containerId": "--container", "limit": "--limit"}


def said(problem: HaloyError) -> str:
    """Return the sentence, with the names of options in place of the API's."""
    text = str(problem)
    name, colon, reason = text.partition(": ")
    return f"{_OPTIONS[name]}: {reason}" if colon and name in _OPTIONS else text


def show_problem(problem: HaloyError, prefix: str = "") -> None:
    """Tell on stderr what went wrong, one thing after another."""
    name = f"{click.style(prefix, bold=True)} " if prefix else ""
    for text in problem_texts(problem):
        first, *rest = text.split("\n")
        echo(f"{click.style('✖', fg='red')} {name}{first}", err=True)
        for line in rest:
            echo(f"  {line}", err=True)


def problem_texts(problem: HaloyError) -> Iterator[str]:
    """Yield a text for each thing that is wrong; the lines of a file are shown."""
    if not isinstance(problem, ConfigError):
        yield said(problem)
        return
    for one in (problem, *problem.others):
        place = ":".join(str(part) for part in (one.path, one.line, one.column) if part)
        text = f"{place}: {one.reason}" if place else one.reason
        shown = "" if "\n" in one.reason else _excerpt(one)
        yield f"{text}\n{shown}" if shown else text


def _excerpt(problem: ConfigError) -> str:
    """Return the line of the file, with a mark under the column; C{""}: unknown."""
    if not problem.line:
        return ""
    try:
        text = Path(problem.path).read_text(encoding="utf-8-sig", errors="replace")
        line = shown_line(text.split("\n")[problem.line - 1]).replace("\t", " ")
    except (OSError, IndexError):
        return ""
    head = f"{problem.line:5} | "
    if not problem.column or problem.column > len(line) + 1:
        return head + line
    return f"{head}{line}\n{' ' * 5} | {' ' * (problem.column - 1)}^"


def problem_json(problem: HaloyError, code: int) -> dict[str, Any]:
    """Return what C{--json} prints when a command cannot do its work."""
    told: dict[str, Any] = {
        "code": problem.code,
        "message": said(problem),
        "exitCode": code,
    }
    if isinstance(problem, ConfigError) and problem.path:
        told |= {
            "file": problem.path,
            "line": problem.line or None,
            "column": problem.column or None,
        }
    return {"error": told}


def fail(problem: HaloyError, as_json: bool) -> int:
    """Tell what went wrong; return the exit code."""
    code = exit_code(problem)
    if as_json:
        with suppress(OSError):  # it may be stdout's disk that is full
            echo(json.dumps(problem_json(problem, code), indent=2))
    show_problem(problem)
    return code


def fail_usage(problem: click.UsageError) -> None:
    """Print the JSON of a command line that is not right; click tells the rest."""
    told = {
        "code": "usage",
        "message": problem.format_message(),
        "exitCode": problem.exit_code,
    }
    echo(json.dumps({"error": told}, indent=2))


def fail_unexpectedly(problem: Exception, debug: bool, as_json: bool) -> int:
    """Tell of what nobody has thought of; its traceback only when asked for."""
    what = traceback.format_exception_only(problem)[-1].strip()
    if isinstance(problem, OSError):
        return fail(refused_by_machine(problem), as_json)
    if debug:
        traceback.print_exception(problem, file=sys.stderr)
    told = HaloyError(
        f"haloy itself has failed ({what}); that is a mistake in haloy. "
        "HALOY_DEBUG=1 shows where; please report it with that text"
    )
    fail(told, as_json)
    return ERROR
