"""What is most likely meant where a file is no YAML, with the lines around it. Pure."""

from __future__ import annotations

import re

import yaml

from haloy.config.excerpt import shown_line
from haloy.errors import ConfigError

CONTEXT_LINES = 1

#: What git leaves of two versions that it could not merge, the first line of it.
_CONFLICT = re.compile(r"^<{7}(?: .*)?$", re.MULTILINE)

_QUOTES = "put values with special characters in quotes"


def yaml_mistake(problem: yaml.YAMLError, text: str, path: str) -> ConfigError:
    """Return C{problem} of the file C{path} as people can act on it."""
    if isinstance(problem, yaml.reader.ReaderError):
        line = text.count("\n", 0, problem.position) + 1
        reason = f"the character U+{problem.character:04X} is not allowed in YAML"
        return ConfigError(reason, path=path, line=line)
    if not isinstance(problem, yaml.MarkedYAMLError):
        return ConfigError(str(problem), path=path)
    reason = problem.problem or str(problem)
    mark = problem.problem_mark
    is_syntax = isinstance(problem, yaml.scanner.ScannerError | yaml.parser.ParserError)
    if is_syntax and (conflict := _CONFLICT.search(text)):
        line = text.count("\n", 0, conflict.start())
        return _at(line, 0, "a merge conflict of git is not resolved", text, path)
    if reason.startswith("could not find expected ':'"):
        mark = problem.context_mark or mark
    if "end of stream" in reason or "<stream end>" in reason:
        if problem.context == "while parsing a flow node":
            # The mark is the end of the file; what is open stands before it.
            line = text.rstrip().count("\n")
            return _at(line, 0, "a [ or { is never closed", text, path)
        mark = problem.context_mark or mark
        reason = "what begins here is never closed"
    elif reason.endswith("found another document"):
        reason = "a second document begins here; there may be one"
    elif "constructor for the tag" in reason:
        reason = (
            f"a tag ({reason.rpartition(' ')[2]}) is not taken; write a plain value"
        )
    elif is_syntax and mark is not None:
        reason += _hint(reason, text, mark.line)
    if mark is None:
        return ConfigError(reason, path=path)
    return _at(mark.line, mark.column, reason, text, path)


def context(text: str, line: int) -> str:
    """Return the lines around C{line} (from 0) with their numbers."""
    rows = text.splitlines()
    first, last = max(0, line - CONTEXT_LINES), min(len(rows), line + CONTEXT_LINES + 1)
    return "\n".join(
        f"{'>' if number == line else ' '} {number + 1:4} | {shown_line(rows[number])}"
        for number in range(first, last)
    )


def _at(line: int, column: int, reason: str, text: str, path: str) -> ConfigError:
    return ConfigError(
        f"{reason}\n{context(text, line)}", path=path, line=line + 1, column=column + 1
    )


def _hint(reason: str, text: str, line: int) -> str:
    """Return what is most likely meant, for the mistakes that people make."""
    rows = [*text.splitlines(), ""]
    here = rows[min(line, len(rows) - 1)]
    above = next((row for row in reversed(rows[:line]) if row.strip()), "")
    if "\t" in here[: len(here) - len(here.lstrip())]:
        return " (indent with spaces, not tabs)"
    if "'\\t'" in reason:
        return " (write a space, not a tab)"
    if reason.startswith("mapping values") and above and ":" not in above:
        return " (is a colon missing in the line above?)"
    if reason.startswith("mapping values") and re.search(r":\s.*:(\s|$)", here):
        return f" ({_QUOTES})"
    if here.lstrip().startswith("- ") and reason.startswith("expected <block end>"):
        return " (items of one list begin at the same column)"
    if re.fullmatch(r"\s*[\w-]+(\s[^:]*)?", here):
        return " (is a colon missing?)"
    if re.search(r"(:|-)\s+[@`%&*!|>]", here):
        return f" ({_QUOTES})"
    return " (is the indentation the same as above?)"
