r"""The text of C{.env} files: C{NAME=value}, C{export}, quotes, comments, C{${NAME}}.

A reader of our own because the files are shared with other programs that write
C{\$} and C{\!} inside double quotes and take single quotes as they are; the
C{python-dotenv} package does neither, and it looks into the process environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from attrs import field, frozen

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_START = re.compile(rf"[ \t]*(?:export[ \t]+)?({_NAME})[ \t]*[=:][ \t]*")
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_LINE = re.compile(r"[^\n]*\n?")
_DOUBLE = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_SINGLE = re.compile(r"'([^']*)'")
_PLAIN = re.compile(r"(?![\"'])((?:[^\n#]|(?<=\S)#)*)")
_IN_DOUBLE = re.compile(rf"\\(.)|\$\{{({_NAME})\}}|\$({_NAME})", re.DOTALL)
_IN_PLAIN = re.compile(rf"\\(\$)|\$\{{({_NAME})\}}|\$({_NAME})")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")


@frozen
class Assignment:
    """One variable: C{start} and C{end} are offsets of its whole lines."""

    name: str
    value: str = field(repr=lambda _: "***")
    start: int
    end: int


@frozen
class EnvText:
    """What a file says; C{bad_lines} count from 1 and were left out."""

    assignments: tuple[Assignment, ...]
    bad_lines: tuple[int, ...] = ()

    @property
    def values(self) -> Mapping[str, str]:
        """Return the variables; the last assignment of a name counts."""
        return {one.name: one.value for one in self.assignments}


def parse_env(text: str) -> EnvText:
    """Return the assignments in C{text}.

    C{$NAME} and C{${NAME}} stand for an earlier variable of the same text; other
    names stay as they are, so that a password with a C{$} survives.
    """
    text = text.replace("\r\n", "\n")
    found: list[Assignment] = []
    bad: list[int] = []
    for start, assignment in _scan(text, {}):
        if assignment is None:
            bad.append(text.count("\n", 0, start) + 1)
        else:
            found.append(assignment)
    return EnvText(tuple(found), tuple(bad))


def _scan(text: str, known: dict[str, str]) -> Iterator[tuple[int, Assignment | None]]:
    at = 0
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at = blank.end()
            continue
        start = at
        found = _assignment(text, start, known)
        if found is None:
            line = _LINE.match(text, start)
            at = line.end() if line else len(text)
        else:
            at = found.end
            known[found.name] = found.value
        yield start, found


def _assignment(text: str, start: int, known: Mapping[str, str]) -> Assignment | None:
    head = _START.match(text, start)
    if head is None:
        return None

    def replaced(match: re.Match[str]) -> str:
        if match[1] is not None:
            return {"n": "\n", "r": "\r", "t": "\t"}.get(match[1], match[1])
        return known.get(match[2] or match[3], match[0])

    if quoted := _DOUBLE.match(text, head.end()):
        value = _IN_DOUBLE.sub(replaced, quoted[1])
    elif quoted := _SINGLE.match(text, head.end()):
        value = quoted[1]
    elif quoted := _PLAIN.match(text, head.end()):
        value = _IN_PLAIN.sub(replaced, quoted[1].strip())
    else:
        return None
    rest = _LINE.match(text, quoted.end())
    return Assignment(head[1], value, start, rest.end() if rest else len(text))


def set_in(text: str, name: str, value: str | None) -> str:
    """Return C{text} with C{name} set, or without it for C{None}.

    Everything else, comments and order included, stays as it is.
    """
    text = text.replace("\r\n", "\n")
    if text and not text.endswith("\n"):
        text += "\n"
    line = None if value is None else f"{name}={quoted(value)}\n"
    result, at = "", 0
    for one in parse_env(text).assignments:
        if one.name == name:
            result += text[at : one.start] + (line or "")
            at, line = one.end, None
    return result + text[at:] + (line or "")


def quoted(value: str) -> str:
    """Return C{value} as it stands behind C{NAME=}: integers bare, else in quotes."""
    if _INTEGER.fullmatch(value):
        return value
    escaped = re.sub(r'([\\"$`!])', r"\\\1", value)
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r") + '"'
