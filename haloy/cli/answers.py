"""What several targets or servers answered, told in one way by every command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from haloy.cli.context import Selected, failed_of
from haloy.cli.exits import exit_code_of_several
from haloy.cli.output import Output
from haloy.errors import HaloyError

Shape = Callable[[Any], Mapping[str, Any]]
Show = Callable[[Selected, Any, str], None]
Who = Callable[[Selected], Mapping[str, str]]


def of_target(one: Selected) -> dict[str, str]:
    """Return what names a target in C{--json}."""
    return {"target": one.name, "app": one.app, "server": one.server}


def of_server(one: Selected) -> dict[str, str]:
    """Return what names a server in C{--json}."""
    return {"server": one.server}


def tell_answers(
    chosen: Sequence[Selected],
    answers: Sequence[Any],
    output: Output,
    shape: Shape,
    show: Show,
    who: Who = of_target,
) -> int:
    """Print the answers; return the exit code that they give.

    @param answers: one for each of C{chosen}; a L{HaloyError} is its problem.
    @param shape: what an answer is in C{--json}, beside its name.
    @param show: prints an answer for people, the last argument in front of its lines.
    @param who: what names an answer in C{--json}; the first of it names it for people
        where there are several.
    """
    pairs = [*zip(chosen, answers, strict=True)]
    if output.as_json:
        output.json([_told(one, found, shape, who) for one, found in pairs])
    several = len(chosen) > 1
    for one, found in pairs:
        prefix = next(iter(who(one).values())) if several else ""
        if isinstance(found, HaloyError):
            output.problem(found, prefix)
        elif not output.as_json:
            show(one, found, prefix)
    return exit_code_of_several(failed_of(answers), len(chosen))


def _told(one: Selected, found: Any, shape: Shape, who: Who) -> dict[str, Any]:
    if isinstance(found, HaloyError):
        return {**who(one), "error": str(found), "code": found.code}
    return {**who(one), **shape(found)}
