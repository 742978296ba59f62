"""What C{--json} prints is what is published; everybody who runs commands looks."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

from jsonschema import Draft202012Validator

from haloy.cli.output_schema import BY_LINE, PRINTED, command_schema


@functools.cache
def validator(command: str) -> Draft202012Validator:
    """Return what tells whether an output is as described, with no key more."""
    return Draft202012Validator(command_schema(command))


def command_of(arguments: Sequence[str]) -> str:
    """Return the command's words, which come first: C{server list}."""
    for count in (3, 2, 1):
        name = " ".join(arguments[:count])
        if name in PRINTED:
            return name
    return ""


def check_printed(arguments: Sequence[str], out: str) -> None:
    """@raise AssertionError: JSON was asked for, and this is not as published."""
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    command = command_of(arguments)
    if "--json" not in ours or not command:
        return
    texts = (
        out.splitlines() if command in BY_LINE and '"error": {' not in out else [out]
    )
    for text in texts:
        check_document(command, json.loads(text))


def check_document(command: str, value: Any) -> None:
    """@raise AssertionError: it is not what the command prints."""
    found = [
        f"{problem.json_path}: {problem.message[:400]}"
        for problem in _leaves(validator(command).iter_errors(value))
    ]
    assert not found, f"haloy {command} --json: {found}"


def _leaves(problems: Any) -> Any:
    for problem in problems:
        yield problem
        yield from _leaves(problem.context or ())
